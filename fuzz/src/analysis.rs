//! Manifests: read, analysed, injected.

use std::str;

use jiff::Timestamp;
use outrigger::{
    analysis::{Snapshot, conditions, examples},
    api::{kind::Kind, yaml},
    cli::manifests::documents,
    inject::documents as inject,
};

use super::CONFIG;

/// The input is what `outrigger analyze` reads.
pub fn analyze(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else {
        return;
    };
    let empty = examples::world();
    let mut world = empty.clone();
    let mut updated = Snapshot::new(empty);
    for document in documents("fuzz.yaml", text) {
        let Ok(object) = document.parse() else {
            continue;
        };
        for object in inject::objects(&object) {
            let Ok(Some(change)) = world.apply(object) else {
                continue;
            };
            updated = updated.update(world.clone(), &[change]).0;
        }
    }
    let snapshot = Snapshot::new(world);
    assert_eq!(
        updated.all_messages(),
        snapshot.all_messages(),
        "one by one and all at once"
    );
    for key in Kind::all().flat_map(|kind| snapshot.world().keys(kind)) {
        let (messages, standing) = (snapshot.messages(&key), snapshot.standing(&key));
        for message in messages {
            assert!(!message.text.is_empty() && !message.line().is_empty());
        }
        let live = snapshot.world().status(&key);
        let patch =
            conditions::status_patch(live.as_ref(), 1, messages, &standing, Timestamp::UNIX_EPOCH);
        if let Some(patch) = patch {
            let mut status = live.unwrap_or_default();
            json_patch::merge(&mut status, &patch["status"]);
            let again = conditions::status_patch(
                Some(&status),
                1,
                messages,
                &standing,
                Timestamp::UNIX_EPOCH,
            );
            assert_eq!(again, None, "the status is written for good");
        }
    }
}

/// The input is a YAML document. The reader of its plain part must say what the whole parser says.
pub fn yaml(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else {
        return;
    };
    // A letter beyond ASCII is not of the plain part, and a comment means nothing.
    let whole = yaml::parse(&format!("# ä\n{text}"));
    assert_eq!(yaml::parse(text).ok(), whole.ok());
}

/// The input is what `outrigger inject -f` reads.
pub fn manifests(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else {
        return;
    };
    let Ok(injected) = inject::inject(&CONFIG, text) else {
        return;
    };
    let (before, after) = (yaml::split(text), yaml::split(&injected.text));
    assert_eq!(before.len(), after.len(), "documents");
    for (before, after) in before.iter().zip(&after) {
        let read = yaml::parse(after.text).expect("what is written is YAML");
        let concerned = inject::objects(&read)
            .iter()
            .any(|object| !matches!(inject::Found::of(object), Ok(None)));
        assert!(
            concerned || before.text == after.text,
            "another document stays as it is"
        );
    }
    let again = inject::inject(&CONFIG, &injected.text).expect("what is written can be injected");
    assert_eq!(again.text, injected.text, "injected twice");
}
