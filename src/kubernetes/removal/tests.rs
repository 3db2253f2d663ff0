use std::sync::{Arc, Mutex};

use axum::{Router, body::to_bytes, extract::Request, http::StatusCode};
use kube::Client;
use serde_json::json;

use super::*;

const TIMEOUT: Duration = Duration::from_secs(30);

/// An API server with Leases and VirtualServices; of all other kinds there is none.
#[derive(Default)]
struct Server {
    leases: BTreeMap<String, Value>,
    routes: BTreeMap<String, Value>,
    /// What a write of the status of `bad` is answered with.
    refusal: u16,
    /// Another process takes this Lease as soon as it was written.
    stolen: Option<&'static str>,
    /// Of a Lease that exists, nothing is answered.
    silent: bool,
    requests: Vec<String>,
}

fn failure(code: u16) -> (u16, Value) {
    let message = format!("refused with {code}");
    let reason = if code == 404 { "NotFound" } else { "" };
    (
        code,
        json!({"kind": "Status", "status": "Failure", "reason": reason, "message": message, "code": code}),
    )
}

fn route(name: &str) -> Value {
    json!({
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
        "metadata": {"namespace": "shop", "name": name, "resourceVersion": "1"},
        "status": {"conditions": [{"type": "Accepted", "status": "True"}, {"type": "Ready", "status": "True"}]},
    })
}

impl Server {
    fn with(routes: &[&str], refusal: u16) -> Arc<Mutex<Self>> {
        let routes = routes.iter().map(|name| ((*name).to_owned(), route(name)));
        Arc::new(Mutex::new(Self {
            routes: routes.collect(),
            refusal,
            ..Self::default()
        }))
    }

    fn count(&self, request: &str) -> usize {
        self.requests.iter().filter(|seen| *seen == request).count()
    }

    /// `None` is never answered.
    fn answer(&mut self, method: &str, path: &str, body: &[u8]) -> Option<(u16, Value)> {
        self.requests.push(format!("{method} {path}"));
        let name = path.trim_end_matches("/status").rsplit('/').next().unwrap();
        if path.contains("/leases") {
            return self.lease(method, name, body);
        }
        Some(match method {
            "PATCH" if name == "bad" => failure(self.refusal),
            "PATCH" => {
                let route = self.routes.get_mut(name).unwrap();
                route.as_object_mut().unwrap().remove("status");
                (200, route.clone())
            }
            _ if self.routes.contains_key(name) => (200, self.routes[name].clone()),
            _ => {
                let all = path.ends_with("/v1/virtualservices");
                let items: Vec<_> = self.routes.values().filter(|_| all).collect();
                (
                    200,
                    json!({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": items}),
                )
            }
        })
    }

    fn lease(&mut self, method: &str, name: &str, body: &[u8]) -> Option<(u16, Value)> {
        if method == "GET" {
            let Some(lease) = self.leases.get_mut(name) else {
                return Some(failure(404));
            };
            if self.silent {
                return None;
            }
            if self.stolen == Some(name) {
                lease["spec"]["holderIdentity"] = json!("another");
            }
            return Some((200, lease.clone()));
        }
        let lease: Value = serde_json::from_slice(body).unwrap();
        let name = lease["metadata"]["name"].as_str().unwrap().to_owned();
        self.leases.insert(name, lease.clone());
        Some((200, lease))
    }
}

fn client(server: &Arc<Mutex<Server>>) -> Client {
    let server = server.clone();
    let answer = move |request: Request| async move {
        let (head, body) = request.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap();
        let answer = server
            .lock()
            .unwrap()
            .answer(head.method.as_str(), head.uri.path(), &body);
        let Some((code, body)) = answer else {
            return std::future::pending().await;
        };
        (StatusCode::from_u16(code).unwrap(), body.to_string())
    };
    Client::new(Router::new().fallback(answer), "shop")
}

async fn uninstall_with(
    server: &Arc<Mutex<Server>>,
    leases: &[&str],
) -> Result<Report, RemovalError> {
    let leases: Vec<LeaseName> = leases
        .iter()
        .map(|name| LeaseName {
            namespace: "system".to_owned(),
            name: (*name).to_owned(),
        })
        .collect();
    let began = Instant::now();
    let report = uninstall(&client(server), &leases, "me", TIMEOUT).await;
    assert!(began.elapsed() <= TIMEOUT, "{:?}", began.elapsed());
    report
}

#[tokio::test(start_paused = true)]
async fn what_always_fails_is_tried_again_alone_and_less_and_less_often() {
    let server = Server::with(&["bad", "good"], 422);
    let leaderships = Leaderships::new(Vec::new());
    let mut removal = Removal::new(client(&server), leaderships, Counters::default());
    let hour = Duration::from_secs(3600);
    let done = tokio::time::timeout(hour, removal.until_nothing_is_left(Instant::now())).await;
    assert!(done.is_err());
    assert_eq!(removal.report.cleared, 1);
    assert_eq!(removal.said.len(), 1, "said once");
    let server = server.lock().unwrap();
    let list = "GET /apis/networking.istio.io/v1/virtualservices";
    assert_eq!(server.count(list), 1);
    let one = "/apis/networking.istio.io/v1/namespaces/shop/virtualservices";
    assert_eq!(server.count(&format!("PATCH {one}/good/status")), 1);
    let tries = server.count(&format!("PATCH {one}/bad/status"));
    assert!((60..70).contains(&tries), "{tries}");
    assert_eq!(removal.counters.failures.get(), tries as u64);
}

#[tokio::test(start_paused = true)]
async fn when_the_time_is_over_it_says_what_fails() {
    let server = Server::with(&["bad", "good"], 500);
    let error = uninstall_with(&server, &["lease"]).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "not done after 30s; 1 objects were cleared, then: writing virtualservices shop/bad: refused with 500"
    );
}

#[tokio::test(start_paused = true)]
async fn what_may_not_be_written_is_not_waited_for() {
    let server = Server::with(&["bad", "good"], 403);
    let error = uninstall_with(&server, &["lease"]).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "1 objects were cleared, others may not be: writing virtualservices shop/bad: refused with 403"
    );
    assert!(matches!(error, RemovalError::Refused { cleared: 1, .. }));
}

#[tokio::test(start_paused = true)]
async fn of_several_leases_none_may_be_lost() {
    for stolen in ["first", "second"] {
        let server = Server::with(&["bad", "good"], 422);
        server.lock().unwrap().stolen = Some(stolen);
        let error = uninstall_with(&server, &["first", "second"])
            .await
            .unwrap_err();
        assert!(
            matches!(error, RemovalError::Displaced { cleared: 1 }),
            "{error}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_is_not_answered_takes_no_time_of_its_own() {
    // It is cleared at once, and the last renewal hangs.
    let server = Server::with(&["good"], 0);
    server.lock().unwrap().silent = true;
    let report = uninstall_with(&server, &["lease"]).await.unwrap();
    assert_eq!(report.cleared, 1);
}
