//! The gateway's listeners follow a file.

use outrigger_e2e::{requires, wait};

use super::pod::{Pod, SOON};

const PORTS: &str = "/run/pod/ports";

#[test]
fn listeners_follow_the_list_of_ports_without_a_restart() {
    let Ok(()) = requires::network_namespaces() else {
        return;
    };
    let [client, gateway] = Pod::pair();
    let proxy = gateway.proxy("router", &["--gatewayPorts", PORTS], &[]);
    let envoy = super::pod::only_child(proxy.id()).unwrap();
    assert!(!gateway.listens(15001) && !gateway.listens(15006) && !gateway.listens(8088));

    gateway.write(PORTS, "8080\nnonsense\n8088\n15021\n");
    wait::until_true(SOON, "8080 and 8088 are open", || {
        gateway.listens(8080) && gateway.listens(8088)
    })
    .unwrap();
    assert_eq!(client.http("GET", &gateway.address, 8088, "/any").0, 404);

    gateway.write(PORTS, "8080\n");
    wait::until_true(SOON, "8088 is closed", || !gateway.listens(8088)).unwrap();
    assert!(gateway.listens(8080));
    gateway.root(&["rm", PORTS]);
    wait::until_true(SOON, "8080 is closed", || !gateway.listens(8080)).unwrap();
    assert_eq!(
        super::pod::only_child(proxy.id()).unwrap(),
        envoy,
        "Envoy was started again"
    );
}
