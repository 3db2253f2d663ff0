//! The CustomResourceDefinitions: those checked in, and how an API server takes them.

mod foreign;
mod server;

use std::path::Path;

#[test]
fn checked_in_definitions_equal_the_generated_ones() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("crds");
    let generated = outrigger::cli::crds::files().unwrap();
    let stale: Vec<&str> = generated
        .iter()
        .filter(|(name, text)| std::fs::read_to_string(dir.join(name)).ok().as_ref() != Some(text))
        .map(|(name, _)| name.as_str())
        .collect();
    assert!(
        stale.is_empty(),
        "{stale:?} in crds/ differ from the types; run `cargo run --bin outrigger crds --dir crds`"
    );
    let present = std::fs::read_dir(&dir).unwrap().count();
    assert_eq!(
        present,
        generated.len(),
        "crds/ holds files that no type generates"
    );
}
