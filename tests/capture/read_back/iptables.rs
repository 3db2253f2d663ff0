//! The output of `iptables-save` → rules.

use outrigger::capture::{Chain, Cidr, Match, OwnerKind, Protocol, State, Table, Target};

use super::{Plain, Rules, direction};

pub(super) fn read(saved: &str) -> Rules {
    let mut rules = Rules::new();
    let mut table = Table::Nat;
    for line in saved.lines() {
        if let Some(name) = line.strip_prefix('*') {
            let known = |table: &Table| table.as_str() == name;
            // iptables-save lists tables that nobody touched as well; they are empty.
            table = Table::ALL.into_iter().find(known).unwrap_or(Table::Nat);
        } else if let Some(rule) = line.strip_prefix("-A ") {
            let (chain, rest) = rule.split_once(' ').unwrap();
            let found = rules.entry((table, chain.to_owned())).or_default();
            found.push(one(rest));
        }
    }
    rules
}

fn one(text: &str) -> Plain {
    let mut words = text.split(' ');
    let mut next = || words.next();
    let (mut matches, mut negated, mut module) = (Vec::new(), false, "");
    while let Some(word) = next() {
        let mut value = || next().unwrap_or_else(|| panic!("{word} without a value in {text}"));
        let found = match word {
            "!" => {
                negated = true;
                continue;
            }
            "-m" => {
                module = value();
                continue;
            }
            "-j" => {
                let target = value();
                let options: Vec<&str> = words.collect();
                return Plain::new(matches, self::target(target, &options));
            }
            "--comment" => {
                value();
                continue;
            }
            "-p" => Match::Protocol(protocol(value())),
            "-i" => Match::In(value().parse().unwrap()),
            "-o" => Match::Out(value().parse().unwrap()),
            "-s" | "-d" => Match::Address(direction(word), network(value()), negated),
            "--sport" | "--dport" | "--sports" | "--dports" => {
                let ports = value().split(',').map(|port| port.parse().unwrap());
                Match::Port(direction(&word[2..]), ports.collect(), negated)
            }
            "--uid-owner" => Match::Owner(OwnerKind::User, value().parse().unwrap(), negated),
            "--gid-owner" => Match::Owner(OwnerKind::Group, value().parse().unwrap(), negated),
            "--mark" if module == "connmark" => Match::ConnectionMark(number(value())),
            "--mark" => Match::Mark(number(value()), negated),
            "--ctstate" if value() == "INVALID" => Match::State(&[State::Invalid]),
            "--ctstate" => Match::State(&[State::Related, State::Established]),
            _ => panic!("{word} is not known: {text}"),
        };
        matches.push(found);
        negated = false;
    }
    panic!("a rule without a target: {text}")
}

fn target(name: &str, options: &[&str]) -> Target {
    let option = |wanted: &str| {
        let at = options.iter().position(|option| *option == wanted);
        at.map(|at| options[at + 1])
    };
    let port = |wanted| option(wanted).unwrap().parse().unwrap();
    match name {
        "RETURN" => Target::Return,
        "ACCEPT" => Target::Accept,
        "DROP" => Target::Drop,
        "REDIRECT" => Target::Redirect(port("--to-ports")),
        "TPROXY" => Target::Tproxy {
            port: port("--on-port"),
            mark: number(option("--tproxy-mark").unwrap()),
        },
        "MARK" => Target::SetMark(number(option("--set-xmark").unwrap())),
        "CONNMARK" if options.contains(&"--save-mark") => Target::SaveMark,
        "CONNMARK" if options.contains(&"--restore-mark") => Target::RestoreMark,
        "CT" => Target::Zone(port("--zone")),
        own => Target::Jump(
            Chain::OWN
                .into_iter()
                .find(|chain| chain.as_str() == own)
                .unwrap_or_else(|| panic!("{own} is no target")),
        ),
    }
}

fn protocol(name: &str) -> Protocol {
    match name {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        other => panic!("no protocol: {other}"),
    }
}

/// A network; one address is listed without its prefix by some versions.
fn network(text: &str) -> Cidr {
    text.parse()
        .unwrap_or_else(|()| Cidr::host(text.parse().unwrap()))
}

/// A mark, with a mask of all bits or none.
fn number(text: &str) -> u32 {
    let (value, mask) = text.split_once('/').unwrap_or((text, "0xffffffff"));
    assert_eq!(mask, "0xffffffff", "{text}");
    match value.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16).unwrap(),
        None => value.parse().unwrap(),
    }
}
