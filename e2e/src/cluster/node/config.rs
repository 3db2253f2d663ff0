//! What the programs of a node are started with: addresses, certificates, files, arguments.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::super::access;
use super::super::api_server::{self, Endpoints};
use super::super::cgroups;
use crate::command;
use crate::tools::Tools;

/// The name of the node.
pub(super) const NODE: &str = "node1";

/// Where the API server is for programs in the node.
const API_INSIDE: &str = "https://127.0.0.1:6443";

const TEMPLATES: &[(&str, &str)] = &[
    ("containerd.toml", include_str!("containerd.toml")),
    ("cni/net.d/10-ptp.conflist", include_str!("cni.json")),
    ("kubelet.yaml", include_str!("kubelet.yaml")),
    ("kube-proxy.yaml", include_str!("kube-proxy.yaml")),
    ("coredns.yaml", include_str!("coredns.yaml")),
    ("resolv.conf", ""),
];

/// The number of a node on this machine, and the names and addresses that follow from it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot(pub u8);

impl Slot {
    /// The control group, in every hierarchy.
    pub fn group(self) -> String {
        format!("outrigger-{}", self.0)
    }

    /// The network link on the caller's side.
    pub fn interface(self) -> String {
        format!("outrigger{}", self.0)
    }

    /// The caller's side of the link.
    pub fn host_address(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 99, self.0, 1)
    }

    /// The node's side of the link.
    pub fn node_address(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 99, self.0, 2)
    }

    /// Fixed ports: the node has its network for itself.
    pub fn endpoints(self) -> Endpoints {
        Endpoints {
            etcd: 2379,
            etcd_peers: 2380,
            address: self.node_address(),
            port: 6443,
        }
    }

    /// Whether nothing else on this machine has the names and addresses of this slot.
    pub fn is_free(self) -> bool {
        let groups = cgroups::paths(&self.group())
            .is_ok_and(|paths| !paths.iter().any(|path| path.exists()));
        let link = Path::new("/sys/class/net").join(self.interface()).exists();
        let network = format!("{}/24", Ipv4Addr::new(10, 99, self.0, 0));
        let routes =
            command::output(Command::new("ip").args(["-4", "route", "show", "root", &network]));
        groups && !link && routes.is_ok_and(|routes| routes.trim().is_empty())
    }
}

/// Writes certificates, kubeconfigs and configuration files.
pub(super) fn write(home: &Path, slot: Slot) -> Result<()> {
    let authority = api_server::certificates(&home.join("pki"), slot.node_address())?;
    authority.server("kubelet-server", &[NODE, &slot.node_address().to_string()])?;
    authority.client(
        "apiserver-kubelet",
        "apiserver-kubelet",
        Some("system:masters"),
    )?;
    let kubelet = format!("system:node:{NODE}");
    let clients = [
        ("controller-manager", "system:kube-controller-manager", None),
        ("scheduler", "system:kube-scheduler", None),
        ("proxy", "system:kube-proxy", None),
        ("kubelet", kubelet.as_str(), Some("system:nodes")),
    ];
    for (name, user, group) in clients {
        authority.client(name, user, group)?;
        access::write_kubeconfig(home, name, API_INSIDE)?;
    }
    let snapshotter = snapshotter(home)?;
    for (name, template) in TEMPLATES {
        let text = template
            .replace("${WORK}", &home.display().to_string())
            .replace("${NODE}", NODE);
        let text = text
            .replace("${GROUP}", &slot.group())
            .replace("${SNAPSHOTTER}", snapshotter);
        let path = home.join(name);
        fs::create_dir_all(path.parent().unwrap_or(home))
            .with_context(|| path.display().to_string())?;
        fs::write(&path, text).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

/// An overlay can't be the upper side of another: in a container whose root is one, layers are copied.
fn snapshotter(home: &Path) -> Result<&'static str> {
    let kind = nix::sys::statfs::statfs(home)
        .context("file system of the state directory")?
        .filesystem_type();
    Ok(if kind == nix::sys::statfs::OVERLAYFS_SUPER_MAGIC {
        "native"
    } else {
        "overlayfs"
    })
}

/// What the scripts and programs of a node need in their environment.
pub(super) fn environment(
    home: &Path,
    slot: Slot,
    tools: &Tools,
) -> Result<Vec<(&'static str, String)>> {
    // containerd finds its shim, kubelet and kube-proxy find iptables.
    let path = std::env::var("PATH").unwrap_or_default();
    let path = format!("{}:{path}:/usr/sbin:/sbin", tools.bin().display());
    Ok(vec![
        ("NODE_ADDRESS", slot.node_address().to_string()),
        ("PATH", path),
        ("HOME", home.display().to_string()),
    ])
}

/// What kube-apiserver of a node has more than one without.
pub(super) fn kube_apiserver(home: &Path) -> Vec<String> {
    let pki = home.join("pki").display().to_string();
    vec![
        "--bind-address=0.0.0.0".into(),
        format!("--kubelet-client-certificate={pki}/apiserver-kubelet.crt"),
        format!("--kubelet-client-key={pki}/apiserver-kubelet.key"),
        format!("--kubelet-certificate-authority={pki}/ca.crt"),
        "--kubelet-preferred-address-types=InternalIP".into(),
    ]
}

pub(super) fn containerd(tools: &Tools, home: &Path) -> Vec<String> {
    let config = home.join("containerd.toml").display().to_string();
    vec![
        tools.path("containerd").display().to_string(),
        "--config".into(),
        config,
        "--log-level=warn".into(),
    ]
}

/// The programs that want the API server to be ready, with their arguments.
pub(super) fn with_api(tools: &Tools, home: &Path, slot: Slot) -> [(&'static str, Vec<String>); 4] {
    let work = home.display();
    let words = |name: &'static str, arguments: Vec<String>| {
        let program = tools.path(name).display().to_string();
        (name, std::iter::once(program).chain(arguments).collect())
    };
    [
        words("kubelet", vec![
            format!("--config={work}/kubelet.yaml"),
            format!("--kubeconfig={work}/kubelet.kubeconfig"),
            format!("--root-dir={work}/kubelet"),
            format!("--cert-dir={work}/kubelet/pki"),
            format!("--hostname-override={NODE}"),
            format!("--node-ip={}", slot.node_address()),
            "--v=1".into(),
        ]),
        words("kube-controller-manager", vec![
            format!("--kubeconfig={work}/controller-manager.kubeconfig"),
            "--use-service-account-credentials=true".into(),
            format!("--service-account-private-key-file={work}/pki/sa.key"),
            format!("--root-ca-file={work}/pki/ca.crt"),
            format!("--cluster-signing-cert-file={work}/pki/ca.crt"),
            format!("--cluster-signing-key-file={work}/pki/ca.key"),
            "--leader-elect=false".into(),
            "--bind-address=127.0.0.1".into(),
            // Its own limit makes the start of the controllers wait for seconds.
            "--kube-api-qps=200".into(),
            "--kube-api-burst=400".into(),
            "--controllers=*,-node-ipam-controller,-node-route-controller,-cloud-node-lifecycle-controller,-service-lb-controller".into(),
        ]),
        words("kube-scheduler", vec![
            format!("--kubeconfig={work}/scheduler.kubeconfig"),
            "--leader-elect=false".into(),
            "--bind-address=127.0.0.1".into(),
        ]),
        words("kube-proxy", vec![format!("--config={work}/kube-proxy.yaml")]),
    ]
}
