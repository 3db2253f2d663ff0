//! What is said about packets, and where they end.

use std::net::{IpAddr, SocketAddr};

use super::*;
use crate::capture::{Host, plan};

/// The flags of an injected pod.
const INJECTED: [(&str, &str); 4] = [
    ("istio-service-cidr", "*"),
    ("istio-service-exclude-cidr", ""),
    ("istio-inbound-ports", "*"),
    ("istio-local-exclude-ports", "15090,15021,15020"),
];

/// A pod with one address of each family, captured with further flags and variables.
struct Captured {
    settings: Settings,
    rules: RuleSet,
    pod: Pod,
}

impl Captured {
    fn with(more: &[(&str, &str)]) -> Self {
        let find = |name: &str| {
            more.iter()
                .chain(&INJECTED)
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        };
        let (settings, _) = Settings::read(&find, &find, None).unwrap();
        let host = Host {
            ipv6: true,
            nameservers: vec!["10.96.0.10".parse().unwrap()],
        };
        let addresses = vec![ip("10.0.0.1"), ip("fd00::1")];
        let pod = Pod::new(&settings, addresses, "eth0".parse().unwrap());
        Self {
            rules: plan(&settings, &host),
            settings,
            pod,
        }
    }

    fn ask(&self, question: &Question) -> Journey {
        explain(&self.settings, &self.rules, &self.pod, question)
    }

    fn said(&self, question: &Question) -> String {
        write(&self.settings, &self.ask(question), Printer::Iptables)
    }

    fn ends(&self, question: &Question) -> Vec<End> {
        self.ask(question).ends()
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn to(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn from(origin: Origin, destination: &str) -> Question {
    Question {
        origin,
        protocol: Protocol::Tcp,
        source: None,
        destination: to(destination),
        endpoint: None,
        invalid: false,
    }
}

fn application(destination: &str) -> Question {
    let sender = Sender {
        user: Owner::from(1000),
        group: Owner::from(1000),
    };
    from(Origin::Application(sender), destination)
}

fn query(question: Question) -> Question {
    Question {
        protocol: Protocol::Udp,
        ..question
    }
}

const INBOUND: End = End::Inbound { transparent: false };
const HANDED: End = End::Inbound { transparent: true };

#[test]
fn a_call_to_another_pod_is_told_step_by_step() {
    insta::assert_snapshot!(Captured::with(&[]).said(&application("10.0.0.5:9080")));
}

#[test]
fn a_call_from_another_pod_is_told_step_by_step() {
    insta::assert_snapshot!(Captured::with(&[]).said(&from(Origin::Outside, "10.0.0.1:9080")));
}

#[test]
fn a_call_to_the_own_service_enters_both_listeners_and_then_the_application() {
    let question = Question {
        endpoint: Some(to("10.0.0.1:9080")),
        ..application("10.96.0.7:80")
    };
    insta::assert_snapshot!(Captured::with(&[]).said(&question));
}

#[test]
fn a_call_that_tproxy_takes_keeps_the_clients_address() {
    let question = Question {
        source: Some(ip("10.0.0.9")),
        ..from(Origin::Outside, "10.0.0.1:9080")
    };
    let captured = Captured::with(&[("istio-inbound-interception-mode", "TPROXY")]);
    insta::assert_snapshot!(captured.said(&question));
}

#[test]
fn a_query_in_the_spelling_of_nftables() {
    let captured = Captured::with(&[("redirect-dns", "true")]);
    let journey = captured.ask(&query(application("10.96.0.10:53")));
    insta::assert_snapshot!(write(&captured.settings, &journey, Printer::Nftables));
}

#[test]
fn a_call_to_a_port_of_capture_itself_ends_in_the_proxy() {
    let captured = Captured::with(&[]);
    let journey = captured.ask(&from(Origin::Outside, "10.0.0.1:15001"));
    assert_eq!(
        (journey.ends(), journey.stop),
        (vec![INBOUND], Some(Stop::CapturePort))
    );
}

#[test]
fn calls_within_the_pod_and_excluded_ones_are_left_alone() {
    let captured = Captured::with(&[
        ("istio-service-exclude-cidr", "10.1.0.0/16"),
        ("istio-local-outbound-ports-exclude", "9443"),
        ("ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE", "202"),
    ]);
    for local in [
        "127.0.0.1:8080",
        "[::1]:8080",
        "10.0.0.1:8080",
        "[fd00::1]:8080",
    ] {
        assert_eq!(captured.ends(&application(local)), [End::Local(to(local))]);
    }
    for away in ["10.1.2.3:80", "10.0.0.5:9443"] {
        assert_eq!(captured.ends(&application(away)), [End::Leaves(to(away))]);
    }
    let group = Origin::Application(Sender {
        user: Owner::from(1000),
        group: Owner::from(202),
    });
    let away = "[fd00::5]:80";
    assert_eq!(captured.ends(&from(group, away)), [End::Leaves(to(away))]);
    assert_eq!(
        captured.ends(&application(away)),
        [End::Outbound, End::Leaves(to(away))]
    );
    assert_eq!(
        captured.ends(&from(Origin::Outside, "10.0.0.1:15020")),
        [End::Local(to("10.0.0.1:15020"))]
    );
}

#[test]
fn a_program_that_runs_as_the_proxys_user_is_not_captured() {
    let proxy = Origin::Application(Sender {
        user: Owner::from(1337),
        group: Owner::from(1000),
    });
    let away = "10.0.0.5:80";
    assert_eq!(
        Captured::with(&[]).ends(&from(proxy, away)),
        [End::Leaves(to(away))]
    );
}

#[test]
fn with_tproxy_a_call_to_the_own_service_is_handed_over_by_the_proxys_mark() {
    let captured = Captured::with(&[("istio-inbound-interception-mode", "TPROXY")]);
    let question = Question {
        endpoint: Some(to("10.0.0.1:9080")),
        ..application("10.96.0.7:80")
    };
    let arrived = End::Local(to("10.0.0.1:9080"));
    assert_eq!(captured.ends(&question), [End::Outbound, HANDED, arrived]);
    assert_eq!(captured.ends(&application("10.0.0.1:9080")), [arrived]);
}

#[test]
fn queries_of_the_application_go_to_the_agent_and_the_agents_own_leave() {
    let captured = Captured::with(&[("redirect-dns", "true")]);
    let server = "10.96.0.10:53";
    assert_eq!(captured.ends(&query(application(server))), [End::Dns]);
    assert_eq!(captured.ends(&application(server)), [End::Dns]);
    assert_eq!(
        captured.ends(&query(from(Origin::Proxy, server))),
        [End::Leaves(to(server))]
    );
    let other = "192.0.2.53:53";
    assert_eq!(
        captured.ends(&query(application(other))),
        [End::Leaves(to(other))]
    );
}

#[test]
fn what_belongs_to_no_connection_is_dropped_only_when_asked_for() {
    let question = Question {
        invalid: true,
        ..from(Origin::Outside, "10.0.0.1:9080")
    };
    let dropping = Captured::with(&[("drop-invalid", "true")]);
    assert_eq!(dropping.ends(&question), [End::Dropped]);
    let local = [End::Local(to("10.0.0.1:9080"))];
    assert_eq!(Captured::with(&[]).ends(&question), local);
}

#[test]
fn traffic_of_a_virtual_machine_counts_as_outbound() {
    let mut captured = Captured::with(&[("kube-virt-interfaces", "k6t-1")]);
    captured.pod.interface = "k6t-1".parse().unwrap();
    let question = from(Origin::Outside, "10.0.0.5:80");
    assert_eq!(captured.ends(&question)[0], End::Outbound);
}

#[test]
fn an_owner_by_name_is_not_guessed() {
    let captured = Captured::with(&[("ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE", "java")]);
    let said = captured.said(&application("10.0.0.5:80"));
    assert!(
        said.contains("a rule names \"java\": whether that is the sender is not known here"),
        "{said}"
    );
}

#[test]
fn where_nothing_was_applied_nothing_is_decided() {
    let mut captured = Captured::with(&[]);
    captured.rules = RuleSet::default();
    let said = captured.said(&application("10.0.0.5:80"));
    assert!(said.contains("no rule decides about it"), "{said}");
    assert!(said.contains("leaves the pod, for 10.0.0.5:80"), "{said}");
}
