//! The output of `nft -j list ruleset` → rules.

use outrigger::capture::{Chain, Cidr, Match, OwnerKind, Protocol, State, Table, Target};
use serde_json::Value;

use super::{Plain, Rules, direction};

pub(super) fn read(listed: &str) -> Rules {
    let listed: Value = serde_json::from_str(listed).unwrap();
    let mut rules = Rules::new();
    for rule in listed["nftables"].as_array().unwrap() {
        let Some(rule) = rule.get("rule") else {
            continue;
        };
        let table = rule["table"].as_str().unwrap();
        let table = Table::ALL
            .into_iter()
            .find(|known| table == format!("istio-proxy-{}", known.as_str()))
            .unwrap_or_else(|| panic!("{table} is no table of ours"));
        let chain = rule["chain"].as_str().unwrap();
        let found = rules.entry((table, name(chain))).or_default();
        found.push(one(rule["expr"].as_array().unwrap()));
    }
    rules
}

/// The name that a chain has in iptables.
fn name(chain: &str) -> String {
    chain.to_uppercase().replace('-', "_")
}

fn one(expressions: &[Value]) -> Plain {
    let mut matches = Vec::new();
    let mut target = None;
    let mut handed_to = None;
    for expression in expressions {
        let (kind, value) = expression.as_object().unwrap().iter().next().unwrap();
        match (kind.as_str(), &handed_to) {
            ("counter", _) => {}
            ("match", _) => matches.extend(matched(value)),
            ("tproxy", _) => handed_to = Some(port(&value["port"])),
            ("mangle", Some(port)) => {
                target = Some(Target::Tproxy {
                    port: *port,
                    mark: number(&value["value"]),
                });
            }
            // Ends the rule of a packet that was handed over.
            ("accept", Some(_)) => {}
            _ => target = Some(said(kind, value)),
        }
    }
    Plain::new(matches, target.unwrap())
}

fn said(kind: &str, value: &Value) -> Target {
    match kind {
        "return" => Target::Return,
        "accept" => Target::Accept,
        "drop" => Target::Drop,
        "redirect" => Target::Redirect(port(&value["port"])),
        "jump" => {
            let wanted = name(value["target"].as_str().unwrap());
            let own = Chain::OWN.into_iter().find(|own| own.as_str() == wanted);
            Target::Jump(own.unwrap_or_else(|| panic!("{wanted} is no chain of ours")))
        }
        "mangle" => match (key(&value["key"]).as_str(), &value["value"]) {
            ("meta mark", mark) if mark.is_number() => Target::SetMark(number(mark)),
            ("meta mark", mark) if key(mark) == "ct mark" => Target::RestoreMark,
            ("ct mark", mark) if key(mark) == "meta mark" => Target::SaveMark,
            ("ct zone", zone) => Target::Zone(port(zone)),
            (other, _) => panic!("{other} is set to {value}"),
        },
        other => panic!("{other} is not known: {value}"),
    }
}

/// `{"meta": {"key": "mark"}}` → `meta mark`.
fn key(value: &Value) -> String {
    let (kind, key) = value.as_object().unwrap().iter().next().unwrap();
    match kind.as_str() {
        "payload" => format!(
            "{} {}",
            key["protocol"].as_str().unwrap(),
            key["field"].as_str().unwrap()
        ),
        _ => format!("{kind} {}", key["key"].as_str().unwrap()),
    }
}

/// One match of nft may say two things: a port says its protocol.
fn matched(value: &Value) -> Vec<Match> {
    let negated = value["op"] == "!=";
    let right = &value["right"];
    let text = || right.as_str().unwrap();
    let owner = |kind| Match::Owner(kind, right.to_string().parse().unwrap(), negated);
    let key = key(&value["left"]);
    let one = match key.as_str() {
        "meta l4proto" => Match::Protocol(protocol(text())),
        "meta iifname" => Match::In(text().parse().unwrap()),
        "meta oifname" => Match::Out(text().parse().unwrap()),
        "meta skuid" => owner(OwnerKind::User),
        "meta skgid" => owner(OwnerKind::Group),
        "meta mark" => Match::Mark(number(right), negated),
        "ct mark" => Match::ConnectionMark(number(right)),
        "ct state" if right == "invalid" => Match::State(&[State::Invalid]),
        "ct state" => Match::State(&[State::Related, State::Established]),
        _ => {
            let (of, field) = key.split_once(' ').unwrap();
            if of == "ip" || of == "ip6" {
                Match::Address(direction(field), network(right), negated)
            } else {
                let ports = Match::Port(direction(field), ports(right), negated);
                return vec![Match::Protocol(protocol(of)), ports];
            }
        }
    };
    vec![one]
}

fn protocol(name: &str) -> Protocol {
    match name {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        other => panic!("no protocol: {other}"),
    }
}

fn network(value: &Value) -> Cidr {
    let text = match value.get("prefix") {
        Some(prefix) => format!("{}/{}", prefix["addr"].as_str().unwrap(), prefix["len"]),
        None => return Cidr::host(value.as_str().unwrap().parse().unwrap()),
    };
    text.parse().unwrap()
}

fn ports(value: &Value) -> Vec<u16> {
    match value.get("set").and_then(Value::as_array) {
        Some(set) => set.iter().map(port).collect(),
        None => vec![port(value)],
    }
}

fn port(value: &Value) -> u16 {
    value.as_u64().unwrap().try_into().unwrap()
}

fn number(value: &Value) -> u32 {
    value.as_u64().unwrap().try_into().unwrap()
}
