//! The arguments of etcd and kube-apiserver, which both levels run.

use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use super::access::Cluster;
use super::launcher::Launcher;
use super::pki::Authority;
use crate::tools::Tools;

/// Where etcd and kube-apiserver of a cluster are.
#[derive(Debug)]
pub(super) struct Endpoints {
    /// Port of etcd for clients, on loopback.
    pub etcd: u16,
    /// Port of etcd for other members, on loopback; there are none, and it can't be left out.
    pub etcd_peers: u16,
    /// The address that kube-apiserver is reached at.
    pub address: Ipv4Addr,
    /// The port that kube-apiserver listens on.
    pub port: u16,
}

/// The name of kube-apiserver among the programs of a cluster.
pub(super) const NAME: &str = "kube-apiserver";

/// The first address of the Service range: the Service `kubernetes`.
const SERVICE_ADDRESS: &str = "10.96.0.1";

/// Makes the certificates of the control plane: authority, API server, administrator, service accounts.
pub(super) fn certificates(pki: &Path, address: Ipv4Addr) -> Result<Authority> {
    let authority = Authority::new(pki)?;
    let address = address.to_string();
    let services = [
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
    ];
    let mut subjects = vec!["localhost", "127.0.0.1", SERVICE_ADDRESS];
    subjects.extend(services);
    if address != "127.0.0.1" {
        subjects.push(&address);
    }
    authority.server("apiserver", &subjects)?;
    authority.client("admin", "admin", Some("system:masters"))?;
    authority.key_pair("sa")?;
    Ok(authority)
}

/// The command line of etcd: durable enough for a cluster that is never recovered.
pub(super) fn etcd(tools: &Tools, home: &Path, endpoints: &Endpoints) -> Vec<String> {
    let clients = format!("http://127.0.0.1:{}", endpoints.etcd);
    let peers = format!("http://127.0.0.1:{}", endpoints.etcd_peers);
    vec![
        tools.path("etcd").display().to_string(),
        format!("--data-dir={}", home.join("etcd").display()),
        format!("--listen-client-urls={clients}"),
        format!("--advertise-client-urls={clients}"),
        format!("--listen-peer-urls={peers}"),
        format!("--initial-advertise-peer-urls={peers}"),
        format!("--initial-cluster=default={peers}"),
        "--unsafe-no-fsync".into(),
        "--log-level=warn".into(),
    ]
}

/// The command line of kube-apiserver, without what only one level needs.
pub(super) fn kube_apiserver(tools: &Tools, home: &Path, endpoints: &Endpoints) -> Vec<String> {
    let pki = home.join("pki");
    let file = |name: &str| pki.join(name).display().to_string();
    vec![
        tools.path(NAME).display().to_string(),
        format!("--etcd-servers=http://127.0.0.1:{}", endpoints.etcd),
        format!("--secure-port={}", endpoints.port),
        format!("--advertise-address={}", endpoints.address),
        format!("--tls-cert-file={}", file("apiserver.crt")),
        format!("--tls-private-key-file={}", file("apiserver.key")),
        format!("--client-ca-file={}", file("ca.crt")),
        "--service-cluster-ip-range=10.96.0.0/16".into(),
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local".into(),
        format!("--service-account-key-file={}", file("sa.pub")),
        format!("--service-account-signing-key-file={}", file("sa.key")),
        "--authorization-mode=Node,RBAC".into(),
        "--enable-admission-plugins=NodeRestriction".into(),
        "--allow-privileged=true".into(),
        "--profiling=false".into(),
    ]
}

/// Waits until kube-apiserver says that it is ready.
pub(super) fn wait_until_ready(
    launcher: &Launcher,
    cluster: &dyn Cluster,
    endpoints: &Endpoints,
    deadline: Duration,
) -> Result<()> {
    launcher.wait_for(&[NAME, "etcd"], deadline, || {
        // Costs nothing, so it comes before a kubectl.
        TcpStream::connect((endpoints.address, endpoints.port))?;
        Ok(cluster.kubectl(&["get", "--raw", "/readyz"])?)
    })?;
    Ok(())
}
