//! What the kernel holds after a printed text was applied is the rule set that was printed: for random settings, each
//! tool's own listing is read back into the model and compared, rule by rule.

mod iptables;
mod nft;

use std::collections::BTreeMap;

use outrigger::capture::{
    Direction, Family, Host, Leftovers, Match, Protocol, RuleSet, Settings, State, Table, Target,
    plan, restore_text, script,
};
use outrigger_e2e::{command, requires};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::pod::Pod;

/// Seconds, not minutes: a case runs ten programs.
const CASES: u32 = 24;

/// A rule with its matches in an order of their own, for comparing.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Plain {
    matches: Vec<Match>,
    target: Target,
}

impl Plain {
    fn new(mut matches: Vec<Match>, target: Target) -> Self {
        for m in &mut matches {
            match m {
                Match::Address(_, cidr, _) => *cidr = cidr.network(),
                Match::Port(_, ports, _) => {
                    ports.sort_unstable();
                    ports.dedup();
                }
                _ => {}
            }
        }
        // Every address is in a network of no bits: tools leave such a match out.
        matches.retain(|m| !matches!(m, Match::Address(_, cidr, false) if cidr.prefix() == 0));
        matches.sort_by_key(|m| format!("{m:?}"));
        matches.dedup();
        Self { matches, target }
    }
}

/// Rules by table and chain (under its name in iptables), in the order of the chain; chains without a rule left out.
type Rules = BTreeMap<(Table, String), Vec<Plain>>;

fn of_model(rules: &RuleSet, families: &[Family]) -> Rules {
    let mut plain = Rules::new();
    for table in Table::ALL {
        for (chain, rules) in rules.table(table, families) {
            let rules = rules
                .into_iter()
                .map(|rule| Plain::new(rule.matches.clone(), rule.target));
            plain.insert((table, chain.as_str().to_owned()), rules.collect());
        }
    }
    plain
}

/// The flags of a run.
type Flags = BTreeMap<&'static str, String>;

fn list<T: std::fmt::Display + std::fmt::Debug>(
    item: impl Strategy<Value = T>,
) -> impl Strategy<Value = String> {
    prop::collection::vec(item, 0..4).prop_map(|items| {
        let items: Vec<String> = items.iter().map(ToString::to_string).collect();
        items.join(",")
    })
}

fn ports() -> impl Strategy<Value = String> {
    list(1u16..)
}

fn networks() -> impl Strategy<Value = String> {
    let v4 = (any::<[u8; 4]>(), 0u8..=32)
        .prop_map(|(ip, prefix)| format!("{}/{prefix}", std::net::Ipv4Addr::from(ip)));
    let v6 = (any::<[u8; 16]>(), 0u8..=128)
        .prop_map(|(ip, prefix)| format!("{}/{prefix}", std::net::Ipv6Addr::from(ip)));
    list(prop_oneof![v4, v6])
}

fn or_all(some: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    prop_oneof![Just("*".to_owned()), some]
}

fn interfaces() -> impl Strategy<Value = String> {
    list(prop::sample::select(vec![
        "eth0", "eth7", "k6t-net1", "a.b_c",
    ]))
}

fn owners() -> impl Strategy<Value = String> {
    list(0u32..65_535)
}

fn switch() -> impl Strategy<Value = String> {
    any::<bool>().prop_map(|on| on.to_string())
}

fn flags() -> impl Strategy<Value = Flags> {
    let mode = prop::sample::select(vec!["REDIRECT", "TPROXY"]).prop_map(str::to_owned);
    let of_proxy = (mode, owners(), owners(), 1u32..4_000_000_000, 1u16..);
    let inbound = (or_all(ports()), ports(), interfaces(), interfaces());
    let outbound = (or_all(networks()), networks(), ports(), ports());
    let groups = (or_all(owners()), owners());
    let switches = (switch(), switch(), switch());
    (of_proxy, inbound, outbound, groups, switches).prop_map(
        |(of_proxy, inbound, outbound, groups, switches)| {
            Flags::from([
                ("istio-inbound-interception-mode", of_proxy.0),
                ("proxy-uid", of_proxy.1),
                ("proxy-gid", of_proxy.2),
                ("istio-inbound-tproxy-mark", of_proxy.3.to_string()),
                ("inbound-tunnel-port", of_proxy.4.to_string()),
                ("istio-inbound-ports", inbound.0),
                ("istio-local-exclude-ports", inbound.1),
                ("istio-exclude-interfaces", inbound.2),
                ("kube-virt-interfaces", inbound.3),
                ("istio-service-cidr", outbound.0),
                ("istio-service-exclude-cidr", outbound.1),
                ("istio-outbound-ports", outbound.2),
                ("istio-local-outbound-ports-exclude", outbound.3),
                ("ISTIO_OUTBOUND_OWNER_GROUPS", groups.0),
                ("ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE", groups.1),
                ("redirect-dns", switches.0),
                ("capture-all-dns", switches.1),
                ("drop-invalid", switches.2),
            ])
        },
    )
}

fn rules(flags: &Flags) -> RuleSet {
    let find = |name: &str| flags.get(name).cloned();
    let (settings, _) = Settings::read(&find, &find, None).unwrap();
    let nameservers = ["10.96.0.10", "fd00::a"].map(|ip| ip.parse().unwrap());
    plan(
        &settings,
        &Host {
            ipv6: true,
            nameservers: nameservers.to_vec(),
        },
    )
}

/// Runs `check` for random settings; the smallest that fail it are told.
fn for_random_settings(check: impl Fn(&Pod, &RuleSet)) {
    let Ok(()) = requires::network_namespaces() else {
        return;
    };
    let [pod, _] = Pod::pair();
    let config = Config {
        cases: CASES,
        failure_persistence: None,
        // Each look costs as much as a case.
        max_shrink_iters: 200,
        ..Config::default()
    };
    let outcome = TestRunner::new(config).run(&flags(), |flags| {
        check(&pod, &rules(&flags));
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}

fn read_back_of_iptables(variant: &str) {
    // Given without `--noflush`, these empty the tables first.
    const EMPTY: &str = "*mangle\nCOMMIT\n*nat\nCOMMIT\n*raw\nCOMMIT\n";
    for_random_settings(|pod, rules| {
        for (program, family) in [("iptables", Family::V4), ("ip6tables", Family::V6)] {
            let text = restore_text(rules, family, &Leftovers::new());
            let restore = format!("{program}-{variant}-restore");
            let applied = command::output_with_input(
                &mut pod.command(0, &[&restore]),
                &format!("{EMPTY}{text}"),
            );
            applied.unwrap_or_else(|error| panic!("{error}\n{text}"));
            let saved = pod.root(&[&format!("{program}-{variant}-save")]);
            assert_eq!(
                iptables::read(&saved),
                of_model(rules, &[family]),
                "{saved}"
            );
        }
    });
}

#[test]
fn what_iptables_over_nf_tables_lists_is_what_was_planned() {
    read_back_of_iptables("nft");
}

#[test]
fn what_iptables_over_the_older_interface_lists_is_what_was_planned() {
    read_back_of_iptables("legacy");
}

#[test]
fn what_nft_lists_is_what_was_planned() {
    for_random_settings(|pod, rules| {
        let text = format!("flush ruleset\n{}", script(rules, true));
        let applied = command::output_with_input(&mut pod.command(0, &["nft", "-f", "-"]), &text);
        applied.unwrap_or_else(|error| panic!("{error}\n{text}"));
        let listed = pod.root(&["nft", "-j", "list", "ruleset"]);
        let mut wanted = of_model(rules, &Family::ALL);
        // As in Istio, only TCP is dropped there.
        let invalid = Match::State(&[State::Invalid]);
        for rule in wanted.values_mut().flatten() {
            if rule.matches == [invalid.clone()] {
                rule.matches.insert(0, Match::Protocol(Protocol::Tcp));
            }
        }
        assert_eq!(nft::read(&listed), wanted, "{listed}");
    });
}

/// The listings of a word and the names that mean it in the model.
fn direction(side: &str) -> Direction {
    match side {
        "sport" | "sports" | "saddr" | "-s" => Direction::Source,
        "dport" | "dports" | "daddr" | "-d" => Direction::Destination,
        other => panic!("no side: {other}"),
    }
}
