//! Programs and files of the system that a node needs, and the Debian packages they come from.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::command;
use crate::progress::{Progress, step};

/// What something is needed for; each includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// Downloads and builds: images, programs.
    Build,
    /// Network namespaces with captured traffic.
    Network,
    /// A node that runs pods.
    Node,
}

/// Whether missing packages may be installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Install {
    /// Where this process is root.
    Allowed,
    /// Only say what is missing.
    Forbidden,
}

struct Package {
    name: &'static str,
    /// A program by its name, or a file by its path.
    provides: &'static str,
    need: Need,
}

const PACKAGES: &[Package] = &[
    Package {
        name: "gcc",
        provides: "cc",
        need: Need::Build,
    },
    Package {
        name: "libc6-dev",
        provides: "/usr/include/features.h",
        need: Need::Build,
    },
    Package {
        name: "python3",
        provides: "python3",
        need: Need::Build,
    },
    Package {
        name: "python3-pip",
        provides: "pip3",
        need: Need::Build,
    },
    Package {
        name: "iproute2",
        provides: "ip",
        need: Need::Network,
    },
    Package {
        name: "iptables",
        provides: "iptables",
        need: Need::Network,
    },
    Package {
        name: "nftables",
        provides: "nft",
        need: Need::Network,
    },
    Package {
        name: "util-linux",
        provides: "unshare",
        need: Need::Network,
    },
    Package {
        name: "runc",
        provides: "/usr/sbin/runc",
        need: Need::Node,
    },
    Package {
        name: "containernetworking-plugins",
        provides: "/usr/lib/cni/ptp",
        need: Need::Node,
    },
];

/// The Debian packages that `need` asks for and that are not here.
pub fn missing(need: Need) -> Vec<&'static str> {
    let needed = PACKAGES.iter().filter(|package| package.need <= need);
    needed
        .filter(|package| !is_here(package.provides))
        .map(|package| package.name)
        .collect()
}

/// Installs the packages that are missing.
///
/// # Errors
/// Packages are missing and may not, or can't, be installed: which, and the command that does it.
pub fn ensure(need: Need, install: Install, progress: &dyn Progress) -> Result<()> {
    let absent = missing(need);
    if absent.is_empty() {
        return Ok(());
    }
    let names = absent.join(" ");
    if install == Install::Forbidden || !nix::unistd::geteuid().is_root() {
        bail!("Debian packages are missing: as root, apt-get update && apt-get install {names}");
    }
    step(
        progress,
        &format!("install Debian packages: {names}"),
        || {
            command::output(&mut apt_get(&["update"]))?;
            command::output(apt_get(&["install", "--yes", "--no-install-recommends"]).args(&absent))
        },
    )?;
    let absent = missing(need);
    let files = PACKAGES
        .iter()
        .filter(|package| absent.contains(&package.name))
        .map(|package| package.provides);
    let files: Vec<&str> = files.collect();
    if !files.is_empty() {
        bail!(
            "Debian packages are installed, but these are not found: {}",
            files.join(" ")
        );
    }
    Ok(())
}

fn apt_get(arguments: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    command
        .arg("--quiet")
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive");
    command
}

/// Looks where root's programs are, too: a login of another user may lack `/usr/sbin`.
fn is_here(provides: &str) -> bool {
    if provides.starts_with('/') {
        return Path::new(provides).exists();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories = std::env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(Into::into));
    directories
        .map(|directory| directory.join(provides))
        .any(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_and_files_are_found_where_they_are() {
        assert!(is_here("sh"));
        assert!(is_here("/proc/self/exe"));
        assert!(!is_here("no-such-program"));
        assert!(!is_here("/no/such/file"));
    }
}
