//! One YAML file a concern: what is said, and the conditions that come of it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;

use imbl::OrdMap;
use jiff::Timestamp;

use super::{objects, world};
use crate::analysis::conditions::desired;
use crate::analysis::examples::{self, EXAMPLES};
use crate::analysis::{RULES, Snapshot, diagnoses};
use crate::api::kind::Kind;
use crate::world::SecretAccess;

fn cases() -> Vec<(String, Snapshot)> {
    let folder: PathBuf = [
        env!("CARGO_MANIFEST_DIR"),
        "src",
        "analysis",
        "tests",
        "cases",
    ]
    .iter()
    .collect();
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let name = |file: &PathBuf| file.file_stem().unwrap().to_string_lossy().into_owned();
    let now: Timestamp = "2030-01-01T00:00:00Z".parse().unwrap();
    let snapshot = |file: &PathBuf| {
        let mut world = world(&std::fs::read_to_string(file).unwrap()).at(now);
        if name(file).ends_with("_not_read") {
            let refused = OrdMap::unit("refused".into(), false);
            world.set_secret_access(SecretAccess::In(refused));
        }
        Snapshot::new(world)
    };
    let examples = EXAMPLES.iter().map(|(code, manifest)| {
        (
            format!("example_{code}"),
            Snapshot::new(world(manifest).at(now)),
        )
    });
    files
        .iter()
        .map(|file| (name(file), snapshot(file)))
        .chain(examples)
        .collect()
}

fn rendered(snapshot: &Snapshot) -> String {
    let mut text = String::new();
    for message in snapshot.all_messages() {
        writeln!(text, "{message}").unwrap();
        if !message.related.is_empty() {
            let others: Vec<String> = message.related.iter().map(ToString::to_string).collect();
            writeln!(text, "  see also {}", others.join(", ")).unwrap();
        }
    }
    for kind in Kind::with_status() {
        for key in snapshot.world().keys(kind) {
            write!(text, "\n{key}:").unwrap();
            for condition in desired(snapshot.messages(&key), &snapshot.standing(&key)) {
                write!(text, " {}={}", condition.kind, condition.status).unwrap();
                if condition.reason != condition.kind {
                    write!(text, "({})", condition.reason).unwrap();
                }
            }
        }
    }
    text
}

#[test]
fn every_case_says_what_is_written_down() {
    for (name, snapshot) in cases() {
        insta::assert_snapshot!(name, rendered(&snapshot));
    }
}

#[test]
fn every_diagnosis_of_every_rule_has_a_case() {
    let seen: BTreeSet<(&str, &str)> = cases()
        .iter()
        .flat_map(|(_, snapshot)| {
            snapshot
                .all_messages()
                .into_iter()
                .map(|it| (it.code, it.reason))
                .collect::<Vec<_>>()
        })
        .collect();
    let missing: Vec<_> = RULES
        .iter()
        .flat_map(|rule| rule.says)
        .map(|diagnosis| (diagnosis.code, diagnosis.reason))
        .filter(|diagnosis| !seen.contains(diagnosis))
        .collect();
    assert!(missing.is_empty(), "no case for {missing:?}");
}

#[test]
fn every_code_has_an_example_that_yields_it() {
    let codes: BTreeSet<&str> = diagnoses::ALL.iter().map(|it| it.code).collect();
    let examples: Vec<&str> = EXAMPLES.iter().map(|(code, _)| *code).collect();
    assert_eq!(examples, Vec::from_iter(codes));
    for (code, manifest) in EXAMPLES {
        let mut world = examples::world();
        for object in objects(manifest) {
            world.apply(&object).unwrap();
        }
        let snapshot = Snapshot::new(world);
        let said = snapshot.all_messages();
        assert!(
            said.iter().any(|message| message.code == *code),
            "the example of {code} yields {said:#?}"
        );
    }
}

#[test]
fn every_diagnosis_says_what_traffic_does_and_what_to_do() {
    for it in diagnoses::ALL {
        for text in [it.means.trim(), it.effect, it.cure] {
            assert!(text.ends_with('.'), "{} {}: {text:?}", it.code, it.reason);
        }
    }
}
