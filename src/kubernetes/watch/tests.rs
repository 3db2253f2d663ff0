use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::Router;
use axum::http::{StatusCode, Uri};
use serde_json::json;
use tokio::time::timeout;

use super::*;

/// How long the watches are looked at.
const TIME: Duration = Duration::from_secs(60);

/// An API server that lists no Namespaces and answers each attempt to watch them with `code`; and how many lists it gave.
fn lists_but_refuses(code: u16) -> (Client, Arc<AtomicU32>) {
    let lists = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&lists);
    let answer = move |uri: Uri| async move {
        if uri.query().unwrap_or_default().contains("watch=true") {
            let answer = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure",
                                "message": "no", "reason": "no", "code": code});
            return (StatusCode::from_u16(code).unwrap(), answer.to_string());
        }
        count.fetch_add(1, Ordering::SeqCst);
        let answer = json!({"kind": "NamespaceList", "apiVersion": "v1",
                            "metadata": {"resourceVersion": "7"}, "items": []});
        (StatusCode::OK, answer.to_string())
    };
    let server = Router::new().fallback(answer);
    (Client::new(server, "default"), lists)
}

/// What became of a watch in [`TIME`]: how many lists and errors there were, and what was told of it, step by step.
async fn watched(code: u16) -> (u32, u64, Vec<&'static str>) {
    let (client, lists) = lists_but_refuses(code);
    let (inputs, mut taken) = mpsc::channel(1);
    let states = watch::Sender::new(States::default());
    let metrics = Metrics::default();
    let definitions = Definitions::default();
    let watch = Watch::new(
        client,
        Kind::Namespace,
        inputs,
        states,
        &definitions,
        &metrics,
    );
    let mut told = Vec::new();
    let tell = async {
        while let Some(input) = taken.recv().await {
            told.push(match input {
                Input::Listed(..) => "listed",
                Input::Denied(..) => "denied",
                _ => "else",
            });
        }
    };
    timeout(TIME, async { tokio::join!(watch.watch(), tell) })
        .await
        .unwrap_err();
    let kind = Kind::Namespace.unique_plural();
    let errors = metrics.errors.get_or_create(&Labels { kind }).get();
    told.dedup();
    (lists.load(Ordering::SeqCst), errors, told)
}

#[tokio::test(start_paused = true)]
async fn lists_whose_watch_ends_at_once_follow_each_other_ever_more_seldom_and_are_counted() {
    for code in [404, 410] {
        let (lists, errors, _) = watched(code).await;
        assert!(
            (3..=8).contains(&lists),
            "{lists} lists in a minute after {code}"
        );
        assert!(
            errors + 1 >= u64::from(lists),
            "{errors} errors after {code}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn right_to_list_without_one_to_watch_does_not_make_a_kind_come_and_go() {
    let (lists, errors, told) = watched(403).await;
    assert_eq!((lists, told), (1, vec!["listed", "denied"]));
    assert!((3..=8).contains(&errors), "{errors} attempts in a minute");
}
