//! The ways that packets take through an injected pod, one test each. Every test runs for REDIRECT, TPROXY and NONE,
//! for IPv4 and IPv6 in a pod that has both, with iptables over nf_tables, iptables over the older interface and nft;
//! and in every one of them `explain` is asked first and packets are sent then, against one table of where they end.

use outrigger::capture::Family;
use outrigger::capture::explain::{End, Origin, Question};
use outrigger_e2e::requires;

use super::hand::Call;
use super::stage::{
    APPLICATION, At, EXCLUDED_GROUP, Given, Mode, Stage, from, from_application, from_peer,
    on_every_stage, on_stages_with, over_udp, sender,
};

/// A test on every stage, or nothing where no network namespace can be had.
macro_rules! ways {
    ($( $(#[$attribute:meta])* $name:ident => $check:expr; )*) => {$(
        $(#[$attribute])*
        #[test]
        fn $name() {
            let Ok(()) = requires::network_namespaces() else {
                return;
            };
            on_every_stage($check);
        }
    )*};
}

ways! {
    /// A remote service calls the local one: into the proxy, which calls the application from an address that the
    /// rules know; the client's own with TPROXY.
    a_remote_service_calls_the_local_one => |stage, family| {
        let to = At::Pod.port(family, 9080);
        let ends = [stage.inbound(), End::Local(to)];
        let ends = stage.captured(&ends, &ends[1..]);
        stage.goes(&from_peer(family, to), ends);
    };

    /// The local service calls a remote one: into the proxy, which calls an endpoint of it.
    the_local_service_calls_a_remote_one => |stage, family| {
        let (service, endpoint) = (At::Service.port(family, 80), At::Peer.port(family, 9080));
        let question = Question { endpoint: Some(endpoint), ..from_application(service) };
        let ends = [End::Outbound, End::Leaves(endpoint)];
        stage.goes(&question, stage.captured(&ends, &[End::Leaves(service)]));
    };

    /// Prometheus scrapes: the ports of metrics and health are excluded from capture, and the agent then asks the
    /// application over loopback.
    prometheus_scrapes_the_proxy_and_through_the_agent_the_application => |stage, family| {
        for port in [15090, 15020, 15021] {
            let to = At::Pod.port(family, port);
            stage.goes(&from_peer(family, to), &[End::Local(to)]);
        }
        let metrics = At::Loopback.port(family, 8080);
        stage.goes(&from(Origin::Proxy, metrics), &[End::Local(metrics)]);
    };

    /// The local pod calls the local pod through its own service: out through the proxy, which picks this very pod
    /// and so enters itself as any client does.
    the_local_service_calls_itself_through_its_service => |stage, family| {
        let (service, own) = (At::Service.port(family, 80), At::Pod.port(family, 9080));
        let question = Question { endpoint: Some(own), ..from_application(service) };
        let ends = [End::Outbound, stage.inbound(), End::Local(own)];
        stage.goes(&question, stage.captured(&ends, &[End::Leaves(service)]));
    };

    /// The application calls its own pod by address, without a service: not captured.
    the_application_calls_its_own_pod_by_address => |stage, family| {
        let own = At::Pod.port(family, 9080);
        stage.goes(&from_application(own), &[End::Local(own)]);
    };

    /// Processes of the application talk over loopback: not captured.
    the_application_talks_to_itself_over_loopback => |stage, family| {
        for port in [8080, 9080] {
            let to = At::Loopback.port(family, port);
            stage.goes(&from_application(to), &[End::Local(to)]);
        }
    };

    /// Envoy's own processes and its agent talk over loopback, and the application asks Envoy's administration.
    the_proxy_talks_to_itself_over_loopback => |stage, family| {
        let admin = At::Loopback.port(family, 15000);
        stage.goes(&from(Origin::Proxy, admin), &[End::Local(admin)]);
        stage.goes(&from_application(admin), &[End::Local(admin)]);
    };

    /// The sidecar calls the control plane: its own connections leave as they are.
    the_sidecar_calls_the_control_plane => |stage, family| {
        let control_plane = At::Peer.port(family, 15012);
        stage.goes(&from(Origin::Proxy, control_plane), &[End::Leaves(control_plane)]);
    };

    what_the_proxy_sends_from_its_inbound_address_reaches_the_application => |stage, family| {
        if stage.mode == Mode::None {
            return;
        }
        let own = At::Pod.port(family, 9080);
        let source = Some(inbound_source(family));
        stage.goes(&Question { source, ..from(Origin::Proxy, own) }, &[End::Local(own)]);
    };

    ports_that_are_excluded_inbound_and_tunnels_are_not_captured => |stage, family| {
        let excluded = At::Pod.port(family, 9999);
        stage.goes(&from_peer(family, excluded), &[End::Local(excluded)]);
        if stage.mode != Mode::Tproxy {
            let tunnel = At::Pod.port(family, 15008);
            stage.goes(&from_peer(family, tunnel), &[End::Local(tunnel)]);
        }
    };

    ports_networks_and_groups_that_are_excluded_outbound_leave_as_they_are => |stage, family| {
        for to in [At::Peer.port(family, 9443), At::ExcludedNetwork.port(family, 9080)] {
            stage.goes(&from_application(to), &[End::Leaves(to)]);
        }
        let group = Origin::Application(sender((APPLICATION.0, EXCLUDED_GROUP)));
        let to = At::Peer.port(family, 9080);
        stage.goes(&from(group, to), &[End::Leaves(to)]);
    };

    an_interface_that_is_excluded_is_not_captured_in_either_direction => |stage, family| {
        let (pod, peer) = (At::PodExcludedInterface, At::PeerExcludedInterface);
        let out = Question { source: Some(pod.ip(family)), ..from_application(peer.port(family, 9080)) };
        stage.goes_on("eth7", &out, &[End::Leaves(out.destination)]);
        let to = pod.port(family, 9080);
        let into = Question { source: Some(peer.ip(family)), ..from_peer(family, to) };
        stage.goes_on("eth7", &into, &[End::Local(to)]);
    };

    a_program_with_the_proxys_user_is_taken_for_the_proxy => |stage, family| {
        let user = Origin::Application(sender((1337, APPLICATION.1)));
        let group = Origin::Application(sender((APPLICATION.0, 1337)));
        let to = At::Peer.port(family, 9080);
        for origin in [user, group] {
            stage.goes(&from(origin, to), &[End::Leaves(to)]);
        }
    };

    queries_of_the_application_go_to_the_agent_and_the_agents_own_to_the_name_server => |stage, family| {
        let server = At::NameServer.port(family, 53);
        let captured = stage.captured(&[End::Dns], &[End::Leaves(server)]).to_vec();
        stage.goes(&over_udp(from_application(server)), &captured);
        stage.goes(&from_application(server), &captured);
        stage.goes(&over_udp(from(Origin::Proxy, server)), &[End::Leaves(server)]);
        stage.goes(&from(Origin::Proxy, server), &[End::Leaves(server)]);
        // Another server is none of /etc/resolv.conf: over UDP it is left alone, over TCP it is a connection like any.
        let other = At::Peer.port(family, 53);
        stage.goes(&over_udp(from_application(other)), &[End::Leaves(other)]);
        let ends = [End::Outbound, End::Leaves(other)];
        stage.goes(&from_application(other), stage.captured(&ends, &ends[1..]));
    };

    /// The agent may ask a name server from the very port that the application used a moment ago. Tracked in one
    /// zone, its query would be taken for one of the application's, and sent to the agent.
    queries_from_one_port_by_the_application_and_the_agent_are_not_mixed_up => |stage, family| {
        let server = At::NameServer.port(family, 53);
        let port = if family == Family::V4 { 40_053 } else { 40_054 };
        let from = Some(At::Pod.port(family, port));
        let proxy = if stage.mode == Mode::Tproxy { (0, 1337) } else { (1337, 1337) };
        let agent = if stage.mode == Mode::None { "peer" } else { "pod" };
        let mut ask = |who| {
            let call = Call { who, udp: true, to: server, from, mark: 0, seconds: 5.0 };
            stage.call(false, &call).unwrap().at
        };
        for _ in 0..2 {
            let (of_application, of_proxy) = (ask(APPLICATION), ask(proxy));
            assert_eq!(of_proxy, "peer");
            assert_eq!(of_application, agent);
        }
    };

    datagrams_other_than_queries_are_left_alone => |stage, family| {
        let own = At::Pod.port(family, 5000);
        stage.goes(&over_udp(from_peer(family, own)), &[End::Local(own)]);
        stage.goes(&over_udp(from_application(own)), &[End::Local(own)]);
    };
}

fn inbound_source(family: Family) -> std::net::IpAddr {
    match family {
        Family::V4 => "127.0.0.6",
        Family::V6 => "::6",
    }
    .parse()
    .unwrap()
}

#[test]
fn only_what_is_included_is_captured() {
    let Ok(()) = requires::network_namespaces() else {
        return;
    };
    let given = Given {
        flags: &[
            ("istio-service-cidr", "10.96.0.7/32,fd96::7/128"),
            ("istio-outbound-ports", "7000"),
            ("istio-inbound-ports", "9080"),
            ("redirect-dns", "false"),
        ],
        variables: &[],
    };
    on_stages_with(given, |stage, family| {
        let away = |to| [End::Outbound, End::Leaves(to)];
        let (service, other) = (At::Service.port(family, 80), At::Peer.port(family, 9080));
        stage.goes(&from_application(service), &away(service));
        stage.goes(&from_application(other), &[End::Leaves(other)]);
        let port = At::Peer.port(family, 7000);
        stage.goes(&from_application(port), &away(port));
        let server = At::NameServer.port(family, 53);
        stage.goes(&over_udp(from_application(server)), &[End::Leaves(server)]);

        let (listed, not_listed) = (At::Pod.port(family, 9080), At::Pod.port(family, 9443));
        let ends = [stage.inbound(), End::Local(listed)];
        stage.goes(&from_peer(family, listed), &ends);
        stage.goes(&from_peer(family, not_listed), &[End::Local(not_listed)]);
    });
}

#[test]
fn what_a_virtual_machine_sends_counts_as_outbound() {
    let Ok(()) = requires::network_namespaces() else {
        return;
    };
    let given = Given {
        flags: &[
            ("istio-exclude-interfaces", ""),
            ("kube-virt-interfaces", "eth7"),
        ],
        variables: &[],
    };
    on_stages_with(given, |stage, family| {
        let (called, endpoint) = (At::Anywhere.port(family, 9080), At::Peer.port(family, 9080));
        let question = Question {
            source: Some(At::PeerExcludedInterface.ip(family)),
            endpoint: Some(endpoint),
            ..from_peer(family, called)
        };
        // With TPROXY, as in Istio, mangle takes it first, and what comes of that is of no use to anyone.
        if stage.mode == Mode::Redirect {
            let ends = [End::Outbound, End::Leaves(endpoint)];
            stage.goes_on("eth7", &question, &ends);
        }
    });
}

#[test]
fn only_the_groups_that_are_included_are_captured() {
    let Ok(()) = requires::network_namespaces() else {
        return;
    };
    let given = Given {
        flags: &[("capture-all-dns", "true")],
        variables: &[("ISTIO_OUTBOUND_OWNER_GROUPS", "2002")],
    };
    on_stages_with(given, |stage: &mut Stage, family| {
        let to = At::Peer.port(family, 9080);
        stage.goes(&from_application(to), &[End::Leaves(to)]);
        let included = Origin::Application(sender((APPLICATION.0, EXCLUDED_GROUP)));
        let ends = [End::Outbound, End::Leaves(to)];
        stage.goes(&from(included.clone(), to), &ends);
        // With all of DNS captured, any server will do.
        let any_server = At::Peer.port(family, 53);
        stage.goes(&over_udp(from(included, any_server)), &[End::Dns]);
    });
}
