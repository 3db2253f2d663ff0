//! What settings become.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn read(
    args: &[(&str, &str)],
    env: &[(&str, &str)],
) -> Result<(Settings, Vec<String>), SettingsError> {
    let find = |pairs: &[(&str, &str)], name: &str| {
        pairs
            .iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| (*value).to_owned())
    };
    Settings::read(&|name| find(args, name), &|name| find(env, name), None)
}

/// The flags of an injected pod.
const INJECTED: [(&str, &str); 4] = [
    ("istio-service-cidr", "*"),
    ("istio-service-exclude-cidr", ""),
    ("istio-inbound-ports", "*"),
    ("istio-local-exclude-ports", "15090,15021,15020"),
];

fn text(args: &[(&str, &str)], env: &[(&str, &str)]) -> String {
    let (settings, _) = read(args, env).unwrap();
    restore_text(
        &plan(&settings, &Host::default()),
        Family::V4,
        &Leftovers::new(),
    )
}

fn rules_of<'a>(text: &'a str, chain: &str) -> Vec<&'a str> {
    text.lines()
        .filter_map(|line| line.strip_prefix(&format!("-A {chain} ")))
        .collect()
}

#[test]
fn an_injected_pod_gets_the_rules_that_istios_users_know() {
    insta::assert_snapshot!(text(&INJECTED, &[]));
}

#[test]
fn everything_at_once_is_printed_for_each_tool() {
    let args = [
        ("istio-inbound-ports", "80,443"),
        ("istio-inbound-interception-mode", "TPROXY"),
        ("istio-service-cidr", "10.0.0.0/8,2001:db8::/32"),
        ("istio-service-exclude-cidr", "10.1.0.0/16"),
        ("istio-outbound-ports", "5000"),
        ("istio-local-outbound-ports-exclude", "6000"),
        ("istio-exclude-interfaces", "eth7"),
        ("kube-virt-interfaces", "k6t-1,k6t-2"),
        ("redirect-dns", "true"),
        ("drop-invalid", "true"),
    ];
    let env = [("ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE", "202,java")];
    let (settings, _) = read(&args, &env).unwrap();
    let nameservers = vec!["10.96.0.10".parse().unwrap(), "fd00::a".parse().unwrap()];
    let rules = plan(
        &settings,
        &Host {
            ipv6: true,
            nameservers,
        },
    );
    let nothing = Leftovers::new();
    insta::assert_snapshot!("iptables", restore_text(&rules, Family::V4, &nothing));
    insta::assert_snapshot!("ip6tables", restore_text(&rules, Family::V6, &nothing));
    insta::assert_snapshot!("nftables", script(&rules, true));
}

#[test]
fn nothing_is_captured_where_nothing_is_asked_for() {
    let text = text(&[], &[]);
    assert!(rules_of(&text, "PREROUTING").is_empty(), "{text}");
    assert!(!text.contains("-j ISTIO_REDIRECT"), "{text}");
}

#[test]
fn a_flag_wins_over_the_environment() {
    let env = [
        ("ISTIO_INBOUND_PORTS", "80"),
        ("ISTIO_SERVICE_CIDR", "10.0.0.0/8"),
    ];
    let text = text(&[("istio-inbound-ports", "8080")], &env);
    assert!(
        rules_of(&text, "ISTIO_INBOUND").contains(&"-p tcp --dport 8080 -j ISTIO_IN_REDIRECT"),
        "{text}"
    );
    assert!(!text.contains("--dport 80 "), "{text}");
    assert!(
        text.contains("-A ISTIO_OUTPUT -d 10.0.0.0/8 -j ISTIO_REDIRECT"),
        "{text}"
    );
}

#[test]
fn every_wrong_value_is_named_with_its_place_and_what_is_allowed() {
    let args = [
        ("envoy-port", "0"),
        ("istio-inbound-ports", "80,,http"),
        ("istio-service-exclude-cidr", "*"),
        ("istio-exclude-interfaces", "eth0,a-name-of-17-bytes"),
        ("proxy-uid", "1337,-1"),
        ("istio-inbound-interception-mode", "tproxy"),
    ];
    let error = read(
        &args,
        &[("ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR", "10.0.0.0/8")],
    )
    .unwrap_err();
    insta::assert_snapshot!(error.to_string());
}

#[test]
fn an_unusable_switch_of_the_environment_is_ignored_and_told() {
    let (settings, notices) = read(&[], &[("INVALID_DROP", "perhaps")]).unwrap();
    assert!(!settings.drop_invalid);
    assert_eq!(
        notices,
        ["INVALID_DROP \"perhaps\" is ignored, \"false\" counts; allowed: true or false"]
    );
    assert!(read(&[("drop-invalid", "perhaps")], &[]).is_err());
}

#[test]
fn groups_are_those_of_the_users_unless_said_otherwise() {
    let (settings, _) = read(&[("proxy-uid", "1,2")], &[]).unwrap();
    assert_eq!(settings.proxy_groups, settings.proxy_users);
    let (settings, _) = Settings::read(&|_| None, &|_| None, Some(1444)).unwrap();
    assert_eq!(settings.proxy_users, [Owner::from(1444)]);
}

#[test]
fn what_an_earlier_run_left_is_replaced_and_the_rest_stays() {
    let saved = "*nat\n:PREROUTING ACCEPT [0:0]\n:ISTIO_OUTPUT - [0:0]\n:ISTIO_OUTPUT_DNS - [0:0]\n:MINE - [0:0]\n\
                 -A OUTPUT -p tcp -m comment --comment \"it is ours\" -j ISTIO_OUTPUT\n-A OUTPUT -j MINE\n\
                 -A ISTIO_OUTPUT -j ISTIO_OUTPUT_DNS\nCOMMIT\n";
    let leftovers = Saved::read(saved).leftovers();
    let found = &leftovers["nat"];
    assert_eq!(found.chains, ["ISTIO_OUTPUT", "ISTIO_OUTPUT_DNS"]);
    assert_eq!(
        found.hooks,
        ["OUTPUT -p tcp -m comment --comment \"it is ours\" -j ISTIO_OUTPUT"]
    );
    let (settings, _) = read(&INJECTED, &[]).unwrap();
    let text = restore_text(&plan(&settings, &Host::default()), Family::V4, &leftovers);
    let place = |line: &str| {
        text.lines()
            .position(|l| l == line)
            .unwrap_or_else(|| panic!("{line} not in {text}"))
    };
    let emptied = place(":ISTIO_OUTPUT - [0:0]");
    let taken_out = place("-D OUTPUT -p tcp -m comment --comment \"it is ours\" -j ISTIO_OUTPUT");
    let added = place("-A OUTPUT -j ISTIO_OUTPUT");
    assert!(emptied < place("-X ISTIO_OUTPUT_DNS") && taken_out < added);
    assert!(!text.contains("MINE"));
    insta::assert_snapshot!(clean_text(&leftovers), @r#"
    *nat
    -D OUTPUT -p tcp -m comment --comment "it is ours" -j ISTIO_OUTPUT
    -F ISTIO_OUTPUT
    -F ISTIO_OUTPUT_DNS
    -X ISTIO_OUTPUT
    -X ISTIO_OUTPUT_DNS
    COMMIT
    "#);
}

#[test]
fn what_others_say_in_a_comment_is_never_taken_for_ours() {
    let saved = "*nat\n:OUTPUT ACCEPT [0:0]\n\
                 -A OUTPUT -p tcp -m comment --comment \"before -j ISTIO_OUTPUT was\" -j ACCEPT\n\
                 -A OUTPUT -m comment --comment \"outrigger canoe\" -j RETURN\n\
                 -A OUTPUT -m comment --comment \"a \\\" -j ISTIO_OUTPUT\" -j RETURN\nCOMMIT\n";
    assert_eq!(Saved::read(saved).leftovers(), Leftovers::new());
    let ours = "*nat\n-A OUTPUT -o eth7 -m comment --comment \"outrigger\" -j RETURN\nCOMMIT\n";
    assert_eq!(Saved::read(ours).leftovers()["nat"].hooks.len(), 1);
}

#[test]
fn an_id_with_zeros_in_front_is_the_same_id_in_decimal() {
    let (settings, _) = read(&[("proxy-uid", "01337")], &[]).unwrap();
    assert_eq!(settings.proxy_users, [Owner::from(1337)]);
}

#[test]
fn the_kernels_own_routing_tables_are_refused() {
    for table in ["0", "253", "254", "255", "main"] {
        let flags = [("istio-inbound-tproxy-route-table", table)];
        let error = read(&flags, &[]).unwrap_err().to_string();
        assert!(error.contains("(-r)") && error.contains(table), "{error}");
    }
    assert!(read(&[("istio-inbound-tproxy-route-table", "256")], &[]).is_ok());
}

#[test]
fn a_list_of_too_many_groups_is_named() {
    let groups: Vec<String> = (0..65).map(|id| id.to_string()).collect();
    for name in [
        "ISTIO_OUTBOUND_OWNER_GROUPS",
        "ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE",
    ] {
        let error = read(&[], &[(name, &groups.join(","))]).unwrap_err();
        let wanted = format!("{name} \"0,1,2,");
        assert!(error.to_string().starts_with(&wanted), "{error}");
        assert!(read(&[], &[(name, &groups[1..].join(","))]).is_ok());
    }
}

#[test]
fn the_modules_are_those_of_each_tool() {
    let flags = [&INJECTED[..], &[("istio-exclude-interfaces", "eth7")]].concat();
    let (settings, _) = read(&flags, &[]).unwrap();
    let modules = modules(&plan(&settings, &Host::default()), &[Family::V4]);
    let older = ["xt_owner", "xt_tcpudp", "xt_REDIRECT", "xt_comment"];
    for name in older {
        assert!(modules.legacy.contains(&name), "{modules:?}");
        assert!(modules.compat.contains(&name), "{modules:?}");
        assert!(!modules.native.contains(&name), "{modules:?}");
    }
    assert!(modules.legacy.contains(&"iptable_nat") && modules.compat.contains(&"nft_compat"));
    assert!(modules.native.contains(&"nft_redir") && modules.native.contains(&"nft_meta"));
}

/// Texts that are often almost right.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        "[0-9a-f.:/,* ]{0,24}",
        "[a-z0-9_.,-]{0,40}",
        "\\PC{0,24}",
        Just("80\n-A OUTPUT -j DROP".to_owned()),
        Just("eth0 -j DROP".to_owned()),
    ]
}

proptest! {
    #[test]
    fn no_value_of_any_setting_panics_or_adds_words_to_a_rule(
        values in prop::collection::vec(prop::option::of(value()), FLAGS.len()),
    ) {
        let given: BTreeMap<&str, String> = FLAGS
            .iter()
            .zip(values)
            .filter_map(|(flag, value)| {
                let name = if flag.long.is_empty() { flag.env[0] } else { flag.long };
                Some((name, value?))
            })
            .collect();
        let find = |name: &str| given.get(name).cloned();
        if let Ok((settings, _)) = Settings::read(&find, &find, None) {
            let rules = plan(&settings, &Host { ipv6: true, nameservers: vec![] });
            for family in [Family::V4, Family::V6] {
                for line in restore_text(&rules, family, &Leftovers::new()).lines() {
                    let known = line.starts_with("-A ") || line.starts_with(':') || line.starts_with('*') || line == "COMMIT";
                    prop_assert!(known, "{line}");
                    prop_assert!(line.matches(" -j ").count() <= 1, "{line}");
                }
            }
            let _ = script(&rules, true);
        }
    }

    #[test]
    fn a_network_is_printed_as_it_was_given(a in any::<[u8; 4]>(), prefix in 0u8..=32) {
        let text = format!("{}.{}.{}.{}/{prefix}", a[0], a[1], a[2], a[3]);
        prop_assert_eq!(text.parse::<Cidr>().unwrap().to_string(), text);
    }

    #[test]
    fn a_network_with_too_long_a_prefix_is_refused(prefix in 33u16..1000) {
        let text = format!("10.0.0.0/{}", prefix);
        prop_assert!(text.parse::<Cidr>().is_err());
    }
}
