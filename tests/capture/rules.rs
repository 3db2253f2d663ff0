//! What the rules do by themselves.

use outrigger_e2e::requires;

use super::pod::{APPLICATION, PROXY, Pod};

#[test]
fn the_application_is_captured_and_the_proxy_is_not() {
    let Ok(()) = requires::network_namespaces() else {
        return;
    };
    let [client, server] = Pod::pair();
    let _server = server.serve(9080);
    assert_eq!(
        client.connect(APPLICATION, &server.address, 9080).unwrap(),
        "from 10.77.0.1 to 10.77.0.2:9080\n"
    );

    client.capture(&["-o", "9443"]);
    let _excluded = server.serve(9443);
    // Nothing listens on 15001 yet, so what is captured is refused.
    let refused = client
        .connect(APPLICATION, &server.address, 9080)
        .unwrap_err();
    assert!(refused.stderr().contains("refused"), "{refused}");
    assert_eq!(
        client.connect(PROXY, &server.address, 9080).unwrap(),
        "from 10.77.0.1 to 10.77.0.2:9080\n"
    );
    assert_eq!(
        client.connect(APPLICATION, &server.address, 9443).unwrap(),
        "from 10.77.0.1 to 10.77.0.2:9443\n"
    );
    let _own = client.serve(8000);
    assert_eq!(
        client.connect(APPLICATION, "127.0.0.1", 8000).unwrap(),
        "from 127.0.0.1 to 127.0.0.1:8000\n"
    );
}

#[test]
fn a_second_run_changes_nothing_and_other_settings_replace_the_first() {
    let Ok(()) = requires::network_namespaces() else {
        return;
    };
    let [pod, _peer] = Pod::pair();
    let untouched = pod.rules("nat");
    pod.root(&[
        "iptables",
        "-t",
        "nat",
        "-A",
        "OUTPUT",
        "-d",
        "192.0.2.1",
        "-j",
        "RETURN",
    ]);
    let with_others = pod.rules("nat");
    pod.capture(&["-c", "eth7"]);
    let first = pod.rules("nat");
    assert!(
        first.contains("-A ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports 15001\n"),
        "{first}"
    );
    pod.capture(&["-c", "eth7"]);
    assert_eq!(pod.rules("nat"), first);

    pod.capture(&["-c", "eth7", "-p", "15101"]);
    assert_eq!(
        pod.rules("nat"),
        first.replace("--to-ports 15001", "--to-ports 15101")
    );

    pod.agent(&["istio-clean-iptables", "-c", "eth7"]).unwrap();
    assert_eq!(pod.rules("nat"), with_others);
    pod.root(&["iptables", "-t", "nat", "-F", "OUTPUT"]);
    assert_eq!(pod.rules("nat"), untouched);
}

#[test]
fn nothing_is_applied_where_a_value_is_wrong() {
    let Ok(()) = requires::network_namespaces() else {
        return;
    };
    let [pod, _peer] = Pod::pair();
    let before = pod.rules("nat");
    let refused = pod
        .agent(&["istio-iptables", "-b", "80,http", "-i", "*"])
        .unwrap_err();
    let said = "--istio-inbound-ports (-b) \"80,http\": item 2, \"http\", cannot be used; allowed: \"*\", or ports";
    assert!(refused.stderr().contains(said), "{refused}");
    let refused = pod
        .agent(&["istio-iptables", "-b", "*", "-u", "1337,nobody-here"])
        .unwrap_err();
    let said = "--proxy-uid (-u): item 2, \"nobody-here\", cannot be used; allowed: ids, or names in /etc/passwd";
    assert!(refused.stderr().contains(said), "{refused}");
    assert_eq!(pod.rules("nat"), before);
}

#[test]
fn each_variant_of_iptables_takes_the_rules() {
    let Ok(()) = requires::network_namespaces() else {
        return;
    };
    let [pod, _peer] = Pod::pair();
    for variant in ["nft", "legacy"] {
        let program = format!("iptables-{variant}-save");
        pod.capture(&["--force-iptables-binary", variant]);
        let saved = pod.root(&[&program, "-t", "nat"]);
        assert!(
            saved.contains("-A ISTIO_INBOUND -p tcp -j ISTIO_IN_REDIRECT\n"),
            "{saved}"
        );
        pod.agent(&["istio-clean-iptables"]).unwrap();
        let saved = pod.root(&[&program, "-t", "nat"]);
        assert!(!saved.contains("ISTIO"), "{saved}");
    }
}
