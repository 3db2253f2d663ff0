//! `charts/gateway`: what Helm owns stays Helm's, over upgrades with ports of ours in between.

use outrigger_e2e::cluster::Cluster;

use super::{Namespace, without};

pub const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/gateway");

fn helm(edge: &Namespace, verb: &str, more: &[&str]) -> anyhow::Result<String> {
    let label = format!("labels.istio={}", edge.name);
    let arguments = [
        &[verb, "gateway", CHART, "--namespace", edge.name],
        &["--set", "service.type=NodePort", "--set", &label][..],
        more,
    ]
    .concat();
    edge.cluster.helm(&arguments)
}

/// The ports of the chart and one more, as a list in `values.yaml` that somebody made longer.
const ALL: &str = "service.ports[0].name=status-port,service.ports[0].port=15021,service.ports[1].name=http2,service.ports[1].port=80,\
                   service.ports[1].targetPort=8080,service.ports[2].name=https,service.ports[2].port=443,service.ports[2].targetPort=8443";

#[test]
fn helm_and_gateways_share_a_service_over_upgrades() {
    let edge = Namespace::new("shared-with-helm");
    helm(&edge, "install", &[]).unwrap();
    let installed = edge.ports();
    edge.gateway("shop", &[(80, "HTTP"), (8088, "HTTP")]);
    let with = edge.await_ports(&[80, 443, 8088, 15021]);
    assert_eq!(without(&with, 8088), installed);

    let port = "service.ports[3].name=tcp,service.ports[3].port=9000,service.ports[3].targetPort=9000,service.ports[3].protocol=TCP";
    helm(&edge, "upgrade", &["--set", ALL, "--set", port]).unwrap();
    let upgraded = edge.await_ports(&[80, 443, 8088, 9000, 15021]);
    assert_eq!(upgraded[&8088], with[&8088]);
    assert_eq!(upgraded[&80].node_port, installed[&80].node_port);

    helm(&edge, "upgrade", &[]).unwrap();
    assert_eq!(edge.await_ports(&[80, 443, 8088, 15021]), with);
    edge.delete("gateway/shop");
    assert_eq!(edge.await_ports(&[80, 443, 15021]), installed);
    edge.cluster
        .helm(&["uninstall", "gateway", "--namespace", edge.name])
        .unwrap();
}

#[test]
fn port_that_helm_takes_over_is_helms_and_keeps_its_node_port() {
    let edge = Namespace::new("taken-by-helm");
    helm(&edge, "install", &[]).unwrap();
    edge.gateway("shop", &[(8088, "HTTP")]);
    let ours = edge.await_ports(&[80, 443, 8088, 15021])[&8088].clone();

    let port = "service.ports[3].name=mine,service.ports[3].port=8088,service.ports[3].targetPort=8088,service.ports[3].protocol=TCP";
    let upgrade = ["--set", ALL, "--set", port];
    let error = helm(&edge, "upgrade", &upgrade).unwrap_err();
    assert!(
        format!("{error:#}").contains("outrigger-gateways"),
        "{error:#}"
    );
    assert_eq!(edge.ports()[&8088], ours);

    helm(
        &edge,
        "upgrade",
        &[&upgrade[..], &["--force-conflicts"]].concat(),
    )
    .unwrap();
    edge.delete("gateway/shop");
    // The writer has seen the deletion once it acted on what came after it.
    edge.gateway("other", &[(9090, "TCP")]);
    let theirs = edge.await_ports(&[80, 443, 8088, 9090, 15021])[&8088].clone();
    assert_eq!((&*theirs.name, theirs.node_port), ("mine", ours.node_port));
}
