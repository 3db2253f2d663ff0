//! Keeps the layers of `docs/architecture.md` true: pure layers name no client, runtime, file system or clock,
//! and a layer names only the layers below it.

use std::path::{Path, PathBuf};

/// A layer, and the modules of this crate that its code may name besides itself.
struct Layer {
    path: &'static str,
    may_use: &'static [&'static str],
    /// Files and folders of the layer that are its I/O edge.
    edge: &'static [&'static str],
}

/// The pure layers, lowest first.
const PURE: &[Layer] = &[
    Layer {
        path: "api",
        may_use: &[],
        edge: &[],
    },
    Layer {
        path: "world",
        may_use: &["api"],
        edge: &[],
    },
    Layer {
        path: "model",
        may_use: &["api", "world"],
        edge: &[],
    },
    Layer {
        path: "gateway",
        may_use: &["api", "world", "model"],
        edge: &[],
    },
    Layer {
        path: "analysis",
        may_use: &["api", "world", "model", "gateway", "inject"],
        edge: &[],
    },
    Layer {
        path: "inject",
        may_use: &["api"],
        edge: &[],
    },
    Layer {
        path: "audit",
        may_use: &["api", "world", "inject"],
        edge: &[],
    },
    Layer {
        path: "capture",
        may_use: &["api"],
        edge: &["apply"],
    },
];

/// What does I/O, waits, or reads a clock.
const IMPURE: &[&str] = &[
    "kube::Client",
    "kube::client",
    "kube::Api",
    "kube::api::Api",
    "kube::runtime",
    "kube::Config",
    "tokio",
    "futures",
    "hyper",
    "hyper_util",
    "axum",
    "std::fs",
    "std::net::Tcp",
    "std::net::Udp",
    "std::process",
    "std::env",
    "std::io::std",
    "std::thread",
    "SystemTime",
    "Instant::now",
    "Timestamp::now",
    "Zoned::now",
];

/// All modules of this crate that are layers.
const MODULES: &[&str] = &[
    "api",
    "world",
    "model",
    "analysis",
    "inject",
    "gateway",
    "audit",
    "capture",
    "kubernetes",
    "webhook",
    "agent",
    "cli",
    "runtime",
];

fn rust_files(path: &Path, files: &mut Vec<PathBuf>) {
    if path.is_file() {
        files.push(path.to_path_buf());
    } else if path.is_dir() {
        for entry in std::fs::read_dir(path).unwrap() {
            rust_files(&entry.unwrap().path(), files);
        }
    }
}

/// The files of a layer, which is `src/<layer>.rs`, a folder of that name, or both.
fn files_of(layer: &Layer) -> Vec<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    for name in [format!("{}.rs", layer.path), layer.path.to_string()] {
        rust_files(&source.join(name), &mut files);
    }
    files.retain(|file| {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        name != "tests.rs"
            && !file.iter().any(|part| part == "tests")
            && !file
                .iter()
                .any(|part| layer.edge.iter().any(|edge| part == *edge))
    });
    assert!(!files.is_empty(), "layer {} has no files", layer.path);
    files
}

/// The lines of a file that are code: without comments, and without the test module at its end.
fn code(file: &Path) -> Vec<(usize, String)> {
    std::fs::read_to_string(file)
        .unwrap()
        .lines()
        .enumerate()
        .take_while(|(_, line)| !line.starts_with("#[cfg(test)]"))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .map(|(number, line)| (number + 1, line.to_string()))
        .collect()
}

#[test]
fn pure_layers_name_no_client_runtime_file_system_or_clock() {
    let mut found = Vec::new();
    for layer in PURE {
        for file in files_of(layer) {
            for (number, line) in code(&file) {
                for word in IMPURE.iter().filter(|word| line.contains(**word)) {
                    found.push(format!(
                        "{}:{number}: {word} in a pure layer: {}",
                        file.display(),
                        line.trim()
                    ));
                }
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn a_layer_names_only_the_layers_below_it() {
    let mut found = Vec::new();
    for layer in PURE {
        for file in files_of(layer) {
            for (number, line) in code(&file) {
                for module in MODULES {
                    let named = line.contains(&format!("crate::{module}::"))
                        || line.contains(&format!("crate::{module};"));
                    if named && *module != layer.path && !layer.may_use.contains(module) {
                        found.push(format!(
                            "{}:{number}: `{}` may not use `{module}`: {}",
                            file.display(),
                            layer.path,
                            line.trim()
                        ));
                    }
                }
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn features_gate_modules_in_lib_rs_and_nowhere_else() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    rust_files(&source, &mut files);
    let gated: Vec<String> = files
        .iter()
        .filter(|file| !file.ends_with("src/lib.rs"))
        .flat_map(|file| {
            code(file)
                .into_iter()
                .map(move |(number, line)| (file, number, line))
        })
        .filter(|(_, _, line)| {
            line.contains("cfg(feature")
                || line.contains("cfg(any(feature")
                || line.contains("cfg(all(feature")
        })
        .map(|(file, number, line)| format!("{}:{number}: {}", file.display(), line.trim()))
        .collect();
    assert!(gated.is_empty(), "{}", gated.join("\n"));
}
