//! The settings of `istio-iptables`.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str,
};

use outrigger::capture::Protocol;
use outrigger::capture::{
    FLAGS, Family, Host, Leftovers, Options, RUN_FLAGS, Saved, Settings, clean_text,
    explain::{self, Origin, Pod, Question},
    plan, restore_text, routing, script,
};

/// The input is a flag a line, `NAME=VALUE`: a long name, a letter or a variable of the environment. A name that
/// is none stands for one.
pub fn capture_flags(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else {
        return;
    };
    let flags = || FLAGS.iter().chain(&RUN_FLAGS);
    let (mut args, mut environment) = (BTreeMap::new(), BTreeMap::new());
    for line in text.lines() {
        let (name, value) = line.split_once('=').unwrap_or((line, "true"));
        if flags().any(|flag| flag.env.contains(&name)) {
            environment.insert(name, value);
            continue;
        }
        let letter = |flag: &&outrigger::capture::Flag| {
            let mut letters = name.chars();
            flag.long == name || (flag.short == letters.next() && letters.next().is_none())
        };
        let sum = name.bytes().map(usize::from).sum::<usize>();
        let flag = flags().find(letter);
        let flag = flag.or_else(|| flags().nth(sum % flags().count()));
        args.insert(flag.map_or("", |flag| flag.long), value);
    }
    let arg = |name: &str| args.get(name).map(|value| (*value).to_owned());
    let env = |name: &str| environment.get(name).map(|value| (*value).to_owned());
    let _ = Options::read(&arg, &env);
    if let Ok((settings, _)) = Settings::read(&arg, &env, None) {
        check(&settings);
    }
}

fn check(settings: &Settings) {
    let host = Host {
        ipv6: true,
        nameservers: vec![
            Ipv4Addr::new(10, 0, 0, 10).into(),
            Ipv6Addr::LOCALHOST.into(),
        ],
    };
    let rules = plan(settings, &host);
    for family in Family::ALL {
        let text = restore_text(&rules, family, &Leftovers::new());
        for line in text.lines() {
            let known = ["*", ":", "-A ", "-I ", "COMMIT", "#"];
            assert!(
                known.iter().any(|start| line.starts_with(start)),
                "{line:?}"
            );
        }
        let saved = Saved::read(&text);
        assert!(
            saved.holds(&rules, family),
            "what is printed is what was planned"
        );
        assert!(clean_text(&saved.leftovers()).lines().count() <= 2 * text.lines().count());
    }
    let nft = script(&rules, host.ipv6);
    assert!(
        nft.bytes()
            .all(|byte| byte == b'\n' || !byte.is_ascii_control())
    );
    for routing in routing(settings, &host) {
        assert!(!routing.command(true).contains('\n'));
    }
    walk(settings, &rules);
}

/// A walk through the rules ends, whatever they are.
fn walk(settings: &Settings, rules: &outrigger::capture::RuleSet) {
    let addresses: [IpAddr; 2] = [
        Ipv4Addr::new(10, 0, 0, 2).into(),
        Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2).into(),
    ];
    let Ok(interface) = "eth0".parse() else {
        return;
    };
    let pod = Pod::new(settings, addresses.to_vec(), interface);
    for origin in [Origin::Outside, Origin::Proxy] {
        for address in addresses {
            for (protocol, port) in [(Protocol::Tcp, 80), (Protocol::Udp, 53)] {
                let question = Question {
                    origin: origin.clone(),
                    protocol,
                    source: None,
                    destination: SocketAddr::new(address, port),
                    endpoint: None,
                    invalid: false,
                };
                let journey = explain::explain(settings, rules, &pod, &question);
                assert!(!journey.ends().is_empty());
            }
        }
    }
}
