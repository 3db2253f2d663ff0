//! The sidecar: what enters it, where it goes, and how it ends.

use outrigger_e2e::{command, requires, wait};

use super::pod::{APPLICATION, PROXY, Pod, Running, SOON, only_child};

/// Connections taken by the listener for outbound ones, and by the one for inbound ones.
const OUTBOUND: &str = "listener.0.0.0.0_15001.downstream_cx_total";
const INBOUND: &str = "listener.0.0.0.0_15006.downstream_cx_total";
const BLACK_HOLE: &str = "tcp.BlackHoleCluster.downstream_cx_total";

#[test]
fn a_connection_enters_both_proxies_and_arrives_where_it_was_going() {
    let Ok(()) = requires::network_namespaces() else {
        return;
    };
    let [client, server] = Pod::pair();
    let (_server, _unseen) = (server.serve(9080), server.serve(9443));
    client.capture(&[]);
    server.capture(&["-d", "15090,15021,15020,9443"]);
    let _proxies = [
        client.proxy("sidecar", &[], &[]),
        server.proxy("sidecar", &[], &[]),
    ];

    // The server's proxy calls from 127.0.0.6, by which the rules let it pass to the application.
    let answer = client.connect(APPLICATION, &server.address, 9080).unwrap();
    assert_eq!(answer, "from 127.0.0.6 to 10.77.0.2:9080\n");
    assert_eq!((client.counter(OUTBOUND), client.counter(INBOUND)), (1, 0));
    assert_eq!((server.counter(OUTBOUND), server.counter(INBOUND)), (0, 1));
    assert_eq!(
        client.counter("cluster.PassthroughCluster.upstream_cx_total"),
        1
    );
    assert_eq!(
        server.counter("cluster.InboundPassthroughCluster.upstream_cx_total"),
        1
    );

    // A port that is excluded on the server's side enters the client's proxy only.
    let answer = client.connect(APPLICATION, &server.address, 9443).unwrap();
    assert_eq!(answer, "from 10.77.0.1 to 10.77.0.2:9443\n");
    assert_eq!((client.counter(OUTBOUND), server.counter(INBOUND)), (2, 1));
}

#[test]
fn a_connection_to_a_capture_port_itself_ends_and_does_not_loop() {
    let Ok(()) = requires::network_namespaces() else {
        return;
    };
    let [client, server] = Pod::pair();
    client.capture(&[]);
    server.capture(&[]);
    let _proxies = [
        client.proxy("sidecar", &[], &[]),
        server.proxy("sidecar", &[], &[]),
    ];

    let own = server.address.clone();
    for (address, port, listener) in [
        ("127.0.0.1", 15001, OUTBOUND),
        ("127.0.0.1", 15006, INBOUND),
        (own.as_str(), 15001, OUTBOUND),
        (own.as_str(), 15006, INBOUND),
    ] {
        let before = (server.counter(listener), server.counter(BLACK_HOLE));
        assert_eq!(
            server.connect(APPLICATION, address, port).unwrap(),
            "",
            "{address}:{port}"
        );
        let after = (server.counter(listener), server.counter(BLACK_HOLE));
        assert_eq!(after, (before.0 + 1, before.1 + 1), "{address}:{port}");
    }
    // From another pod: its own proxy sees a capture port as the destination and goes no further.
    for port in [15001, 15006] {
        let before = (client.counter(BLACK_HOLE), server.counter(INBOUND));
        assert_eq!(
            client.connect(APPLICATION, &server.address, port).unwrap(),
            "",
            "port {port}"
        );
        assert_eq!(
            (client.counter(BLACK_HOLE), server.counter(INBOUND)),
            (before.0 + 1, before.1),
            "port {port}"
        );
    }
    // And from a pod whose traffic is not captured.
    client.agent(&["istio-clean-iptables"]).unwrap();
    for port in [15001, 15006] {
        let before = (server.counter(BLACK_HOLE), server.counter(INBOUND));
        assert_eq!(
            client.connect(APPLICATION, &server.address, port).unwrap(),
            "",
            "port {port}"
        );
        assert_eq!(
            (server.counter(BLACK_HOLE), server.counter(INBOUND)),
            (before.0 + 1, before.1 + 1),
            "port {port}"
        );
    }
}

#[test]
fn readiness_and_metrics_are_served_and_only_the_own_pod_may_end_the_proxy() {
    let Ok(()) = requires::network_namespaces() else {
        return;
    };
    let [other, pod] = Pod::pair();
    pod.capture(&[]);
    let mut proxy = pod.proxy(
        "sidecar",
        &[],
        &[("TERMINATION_DRAIN_DURATION_SECONDS", "1")],
    );

    let address = pod.address.as_str();
    for (port, path, status) in [
        (15021, "/healthz/ready", 200),
        (15021, "/quitquitquit", 404),
        (15020, "/healthz/ready", 200),
        (15020, "/stats/prometheus", 200),
        (15020, "/nothing", 404),
        (15090, "/stats/prometheus", 200),
        (15090, "/config_dump", 404),
    ] {
        assert_eq!(
            other.http("GET", address, port, path).0,
            status,
            "{port}{path}"
        );
    }
    assert_eq!(other.http("POST", address, 15020, "/quitquitquit").0, 403);
    assert_eq!(other.http("POST", address, 15020, "/drain").0, 403);
    assert_eq!(pod.http("GET", "127.0.0.1", 15020, "/quitquitquit").0, 405);
    assert_eq!(pod.http("POST", "127.0.0.1", 15020, "/quitquitquit").0, 200);
    assert_eq!(proxy.ended(), 0);
    assert!(!pod.listens(15006));
}

#[test]
fn a_proxy_that_is_told_to_end_drains_first() {
    let Ok(()) = requires::network_namespaces() else {
        return;
    };
    let [_peer, pod] = Pod::pair();
    let mut proxy = pod.proxy(
        "sidecar",
        &[],
        &[("TERMINATION_DRAIN_DURATION_SECONDS", "3")],
    );
    proxy.signal("TERM");
    let said = wait::until(SOON, "the agent drains", || {
        match pod.http("GET", "127.0.0.1", 15020, "/healthz/ready") {
            (503, said) => Ok(said),
            (status, _) => Err(status),
        }
    });
    assert_eq!(said.unwrap(), "draining\n");
    // What the application still calls goes on to work meanwhile.
    assert!(pod.listens(15001));
    assert_eq!(proxy.ended(), 0);
    assert!(!pod.listens(15001));
}

#[test]
fn the_agent_ends_as_envoy_did() {
    let Ok(()) = requires::network_namespaces() else {
        return;
    };
    let [_peer, pod] = Pod::pair();
    let mut proxy = pod.proxy("sidecar", &[], &[]);
    let envoy = only_child(proxy.id()).unwrap();
    command::output(std::process::Command::new("kill").args(["-s", "KILL", &envoy.to_string()]))
        .unwrap();
    assert_eq!(proxy.ended(), 128 + 9);

    let mut failing = pod.start_proxy("sidecar", "/bin/false", &[], &[]);
    assert_eq!(failing.ended(), 1);
}

#[test]
fn probes_of_the_application_reach_it_and_not_the_proxy() {
    let Ok(()) = requires::network_namespaces() else {
        return;
    };
    let [kubelet, pod] = Pod::pair();
    pod.capture(&[]);
    let application = pod.serve_http(8080);
    let probers = r#"{"/app-health/app/livez":{"tcpSocket":{"port":8080}},
        "/app-health/app/readyz":{"httpGet":{"path":"/ready","port":8080}},
        "/app-health/app/startupz":{"httpGet":{"path":"/absent","port":8080}},
        "/app-health/closed/livez":{"tcpSocket":{"port":8081}}}"#;
    let env = [
        ("ISTIO_KUBE_APP_PROBERS", probers),
        ("INSTANCE_IP", pod.address.as_str()),
    ];
    let _proxy = pod.proxy("sidecar", &[], &env);
    let ask = |path: &str| kubelet.http("GET", &pod.address, 15020, path).0;
    assert_eq!(ask("/app-health/app/livez"), 200);
    assert_eq!(ask("/app-health/app/readyz"), 200);
    assert_eq!(ask("/app-health/app/startupz"), 404);
    // A connection to the captured port would succeed: Envoy accepts it.
    assert_eq!(
        kubelet.connect(APPLICATION, &pod.address, 8081).unwrap(),
        ""
    );
    assert_eq!(ask("/app-health/closed/livez"), 500);
    assert_eq!(ask("/app-health/other/livez"), 400);
    assert_eq!(pod.counter(INBOUND), 1);
    drop(application);
}

#[test]
fn a_proxy_that_may_end_when_idle_waits_for_its_connections_and_no_longer() {
    let Ok(()) = requires::network_namespaces() else {
        return;
    };
    let [client, pod] = Pod::pair();
    pod.capture(&[]);
    let _server = pod.serve_silent(9080);
    let env = [
        ("EXIT_ON_ZERO_ACTIVE_CONNECTIONS", "true"),
        ("MINIMUM_DRAIN_DURATION", "0s"),
    ];
    let mut proxy = pod.proxy("sidecar", &["--log_as_json", "--proxyLogLevel=info"], &env);
    let connection = client.hold(&pod.address, 9080);
    wait::until_true(SOON, "the connection enters the proxy", || {
        pod.counter(INBOUND) == 1
    })
    .unwrap();
    proxy.signal("TERM");
    wait::until_true(SOON, "the agent waits", || {
        pod.proxy_log().contains("waiting for open connections")
    })
    .unwrap();
    assert!(pod.listens(15001));
    drop(connection);
    assert_eq!(proxy.ended(), 0);
    let log = pod.proxy_log();
    assert!(
        log.contains("\"scope\":\"envoy main\""),
        "Envoy logged nothing: {log}"
    );
    for line in log.lines() {
        serde_json::from_str::<serde_json::Value>(line)
            .unwrap_or_else(|error| panic!("{line}: {error}"));
    }
}

/// Two captured pods with addresses of both families, and their proxies.
fn captured_pair(mode: &str) -> ([Pod; 2], [Running; 2]) {
    let pods = Pod::dual_stack_pair();
    for pod in &pods {
        pod.capture(&["--dual-stack", "-m", mode]);
    }
    let env = [("ISTIO_META_INTERCEPTION_MODE", mode)];
    // With TPROXY the proxy is root, as injection makes it: nobody else may use another's address.
    let user = if mode == "TPROXY" { 0 } else { PROXY };
    let proxies = [&pods[0], &pods[1]].map(|pod| {
        let proxy = pod.start_proxy_as((user, PROXY), "sidecar", &env);
        pod.agent(&["wait"]).unwrap();
        proxy
    });
    (pods, proxies)
}

#[test]
fn an_ipv6_connection_enters_both_proxies_and_arrives_where_it_was_going() {
    let Ok(()) = requires::network_namespaces() else {
        return;
    };
    let ([client, server], _proxies) = captured_pair("REDIRECT");
    let _server = server.serve_on("::", 9080);
    let answer = client.connect(APPLICATION, &server.address_v6, 9080);
    assert_eq!(answer.unwrap(), "from ::6 to fd77::2:9080\n");
    assert_eq!((client.counter(OUTBOUND), client.counter(INBOUND)), (1, 0));
    assert_eq!((server.counter(OUTBOUND), server.counter(INBOUND)), (0, 1));
    // What is not captured is served on IPv6 as well.
    for port in [15020, 15021] {
        let (status, _) = client.http("GET", &server.address_v6, port, "/healthz/ready");
        assert_eq!(status, 200, "port {port}");
    }
}

#[test]
fn a_pod_that_has_ipv6_alone_is_captured_proxied_and_probed() {
    let Ok(()) = requires::network_namespaces() else {
        return;
    };
    let [client, server] = Pod::ipv6_pair();
    let probers = r#"{"/app-health/app/livez":{"tcpSocket":{"port":9080}},
        "/app-health/closed/livez":{"tcpSocket":{"port":9081}}}"#;
    let _proxies = [&client, &server].map(|pod| {
        pod.capture(&[]);
        let env = [
            ("INSTANCE_IP", pod.address_v6.as_str()),
            ("ISTIO_KUBE_APP_PROBERS", probers),
        ];
        pod.proxy("sidecar", &[], &env)
    });
    let _server = server.serve_on("::", 9080);
    let address = &server.address_v6;
    let answer = client.connect(APPLICATION, address, 9080).unwrap();
    assert_eq!(answer, "from ::6 to fd77::2:9080\n");
    assert_eq!((client.counter(OUTBOUND), server.counter(INBOUND)), (1, 1));
    for (path, status) in [
        ("/healthz/ready", 200),
        ("/stats/prometheus", 200),
        ("/app-health/app/livez", 200),
        ("/app-health/closed/livez", 500),
    ] {
        assert_eq!(client.http("GET", address, 15020, path).0, status, "{path}");
    }
    // What the agent itself asks of the application does not go through the proxy.
    assert_eq!(server.counter(INBOUND), 1);
}

#[test]
fn with_tproxy_the_application_sees_the_clients_own_address() {
    let Ok(()) = requires::network_namespaces() else {
        return;
    };
    let ([client, server], _proxies) = captured_pair("TPROXY");
    let _servers = [
        server.serve_on("0.0.0.0", 9080),
        server.serve_on("::", 9081),
    ];
    for (port, address, peer) in [
        (9080, &server.address, &client.address),
        (9081, &server.address_v6, &client.address_v6),
    ] {
        let answer = client.connect(APPLICATION, address, port).unwrap();
        assert_eq!(answer, format!("from {peer} to {address}:{port}\n"));
    }
    assert_eq!((client.counter(OUTBOUND), server.counter(INBOUND)), (2, 2));
    // A call to the own address does not go round.
    let answer = server.connect(APPLICATION, &server.address, 9080).unwrap();
    assert_eq!(answer, "from 10.77.0.2 to 10.77.0.2:9080\n");
    // Without the client's proxy it is the same.
    client.agent(&["istio-clean-iptables"]).unwrap();
    let answer = client.connect(APPLICATION, &server.address, 9080).unwrap();
    assert_eq!(answer, "from 10.77.0.1 to 10.77.0.2:9080\n");
    assert_eq!(server.counter(INBOUND), 3);
    // To a port of capture itself: the proxy ends it.
    for port in [15001, 15006] {
        let ended = client.connect(APPLICATION, &server.address, port).unwrap();
        assert_eq!(ended, "", "port {port}");
    }
}
