//! What goes into each of Outrigger's images: the one list, for the local cluster and for the Dockerfiles of releases.
//!
//! The local builder takes the programs of Debian's packages from this machine; the Dockerfiles install the packages.

use std::path::Path;

use anyhow::{Context as _, Result};

use super::content::Image;

/// Where Outrigger's own programs are in images.
const PROGRAMS: &str = "/usr/local/bin";

/// The user of the control plane and of bookinfo: nobody in particular.
const NONROOT: &str = "65532:65532";

/// The user of the proxy, by which capture knows its traffic.
const PROXY: &str = "1337:1337";

/// What a Debian package brings into an image.
#[derive(Debug)]
pub struct Package {
    /// Its name.
    pub name: &'static str,
    /// Its programs that are used.
    pub programs: &'static [&'static str],
    /// Its folders of shared objects that these load at run time.
    pub plugins: &'static [&'static str],
    /// Its links to the programs, by those names.
    pub links: &'static [(&'static str, &'static str)],
}

/// The Debian packages of the proxy's image.
pub const PROXY_PACKAGES: [Package; 3] = [
    Package {
        name: "iptables",
        programs: &[
            "/usr/sbin/xtables-nft-multi",
            "/usr/sbin/xtables-legacy-multi",
        ],
        plugins: &["/usr/lib/x86_64-linux-gnu/xtables"],
        links: &[
            ("/usr/sbin/iptables", "xtables-nft-multi"),
            ("/usr/sbin/iptables-save", "xtables-nft-multi"),
            ("/usr/sbin/iptables-restore", "xtables-nft-multi"),
            ("/usr/sbin/iptables-nft", "xtables-nft-multi"),
            ("/usr/sbin/iptables-nft-save", "xtables-nft-multi"),
            ("/usr/sbin/iptables-nft-restore", "xtables-nft-multi"),
            ("/usr/sbin/iptables-legacy", "xtables-legacy-multi"),
            ("/usr/sbin/iptables-legacy-save", "xtables-legacy-multi"),
            ("/usr/sbin/iptables-legacy-restore", "xtables-legacy-multi"),
            ("/usr/sbin/ip6tables", "xtables-nft-multi"),
            ("/usr/sbin/ip6tables-save", "xtables-nft-multi"),
            ("/usr/sbin/ip6tables-restore", "xtables-nft-multi"),
            ("/usr/sbin/ip6tables-nft", "xtables-nft-multi"),
            ("/usr/sbin/ip6tables-nft-save", "xtables-nft-multi"),
            ("/usr/sbin/ip6tables-nft-restore", "xtables-nft-multi"),
            ("/usr/sbin/ip6tables-legacy", "xtables-legacy-multi"),
            ("/usr/sbin/ip6tables-legacy-save", "xtables-legacy-multi"),
            ("/usr/sbin/ip6tables-legacy-restore", "xtables-legacy-multi"),
        ],
    },
    Package {
        name: "nftables",
        programs: &["/usr/sbin/nft"],
        plugins: &[],
        links: &[],
    },
    Package {
        name: "iproute2",
        programs: &["/sbin/ip"],
        plugins: &[],
        links: &[],
    },
];

/// The control plane: a static program and nothing else.
///
/// # Errors
/// When the program can't be read.
pub fn outriggerd(outriggerd: &Path) -> Result<Image> {
    single("outriggerd", outriggerd)
}

/// The sample application: a static program and nothing else.
///
/// # Errors
/// When the program can't be read.
pub fn bookinfo(bookinfo: &Path) -> Result<Image> {
    single("bookinfo", bookinfo)
}

/// The application of the tests of injected pods: a static program and nothing else.
///
/// # Errors
/// When the program can't be read.
pub fn workload(workload: &Path) -> Result<Image> {
    single("workload", workload)
}

fn single(name: &'static str, program: &Path) -> Result<Image> {
    let path = format!("{PROGRAMS}/{name}");
    let mut image = Image::new(name, &path, NONROOT);
    image.program(&path, program)?;
    Ok(image)
}

/// The proxy: Envoy, the agent that starts it, and what the agent programs the kernel with.
///
/// # Errors
/// When a program can't be read, or a package is not installed on this machine.
pub fn proxyv2(envoy: &Path, agent: &Path) -> Result<Image> {
    let mut image = Image::new("proxyv2", &format!("{PROGRAMS}/outrigger-agent"), PROXY);
    image.program(&format!("{PROGRAMS}/envoy"), envoy)?;
    image.program(&format!("{PROGRAMS}/outrigger-agent"), agent)?;
    // Lifecycle hooks of users call the agent by the name that Istio's has.
    image.link(&format!("{PROGRAMS}/pilot-agent"), "outrigger-agent");
    for package in &PROXY_PACKAGES {
        let missing = || format!("the Debian package {} is not installed", package.name);
        for program in package.programs {
            image
                .program(program, Path::new(program))
                .with_context(missing)?;
        }
        for directory in package.plugins {
            image.plugins(Path::new(directory)).with_context(missing)?;
        }
        for (path, target) in package.links {
            image.link(path, target);
        }
    }
    image.text(
        "/etc/passwd",
        "root:x:0:0:root:/:/sbin/nologin\nistio-proxy:x:1337:1337::/:/sbin/nologin\n",
    );
    image.text("/etc/group", "root:x:0:\nistio-proxy:x:1337:\n");
    // The lock of iptables, and Envoy's shared memory and temporary files.
    image.directory("/run", 0o755);
    image.directory("/tmp", 0o1777);
    Ok(image)
}
