//! The fuzz targets with their seeds: they compile, and what they check can hold.

#[path = "../fuzz/src/lib.rs"]
mod bodies;

use std::{fs, path::Path};

fn folder(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz")
        .join(name)
}

#[test]
fn every_seed_of_every_fuzz_target_passes() {
    for (name, body) in bodies::TARGETS {
        let entries = fs::read_dir(folder("seeds").join(name)).unwrap();
        let seeds: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        assert!(!seeds.is_empty(), "{name}");
        for seed in seeds {
            eprintln!("{}", seed.display());
            body(&fs::read(seed).unwrap());
        }
    }
}

#[test]
fn every_body_has_its_target() {
    let manifest = fs::read_to_string(folder("Cargo.toml")).unwrap();
    assert_eq!(manifest.matches("[[bin]]").count(), bodies::TARGETS.len());
    for (name, _) in bodies::TARGETS {
        let target = fs::read_to_string(folder(&format!("fuzz_targets/{name}.rs"))).unwrap();
        assert!(target.contains(&format!("outrigger_fuzz::{name}(")));
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
    }
}
