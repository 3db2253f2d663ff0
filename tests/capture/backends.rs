//! Every mode through every backend: applied twice, replaced, taken out.

use outrigger_e2e::requires;

use super::machine::{agent_as, both_families, code, state};
use super::pod::{APPLICATION, PROXY, Pod};

/// Settings that use every table, hook and kind of rule.
const EVERYTHING: [&str; 14] = [
    "istio-iptables",
    "-i",
    "*",
    "-x",
    "10.9.0.0/16,2001:db8::/32",
    "-b",
    "*",
    "-d",
    "15090,15021,15020",
    "-c",
    "eth7",
    "-k",
    "k6t-1",
    "--drop-invalid",
];

const BACKENDS: [&[&str]; 3] = [
    &["--force-iptables-binary", "nft"],
    &["--force-iptables-binary", "legacy"],
    &["--native-nftables"],
];

/// What the agent says of a run.
fn run(pod: &Pod, parts: &[&[&str]]) -> String {
    pod.agent(&parts.concat())
        .unwrap_or_else(|error| panic!("{parts:?}: {error}"))
}

#[test]
fn every_mode_goes_in_through_every_backend_and_comes_out_without_its_flags() {
    let Ok(()) = requires::network_namespaces() else {
        return;
    };
    let [pod, _peer] = Pod::pair();
    both_families(&pod);
    let before = state(&pod);
    for backend in BACKENDS {
        for mode in ["REDIRECT", "TPROXY"] {
            for stack in [&[][..], &["--dual-stack"]] {
                let flags = [
                    &EVERYTHING[..],
                    &["-m", mode, "--redirect-dns", "--capture-all-dns"],
                    stack,
                    backend,
                ];
                let what = format!("{backend:?} {mode} {stack:?}");
                run(&pod, &flags);
                let first = state(&pod);
                for wanted in [
                    "15006",
                    "15001",
                    "15053",
                    "zone",
                    "eth7",
                    "k6t-1",
                    "2001:db8::/32",
                ] {
                    let captured = wanted != "2001:db8::/32" || !stack.is_empty();
                    assert_eq!(
                        first.contains(wanted),
                        captured,
                        "{what}: {wanted} in {first}"
                    );
                }
                assert_eq!(
                    first.contains("fwmark 0x539 lookup 133"),
                    mode == "TPROXY",
                    "{what}: {first}"
                );
                assert_eq!(
                    first.contains("::6/128"),
                    !stack.is_empty(),
                    "{what}: {first}"
                );
                run(&pod, &flags);
                assert_eq!(state(&pod), first, "{what}: a second run changed something");
                run(&pod, &[&flags[..], &[&["--force-apply"]]].concat());
                assert_eq!(state(&pod), first, "{what}: a forced run changed something");

                run(&pod, &[&["istio-iptables", "--cleanup-only"]]);
                assert_eq!(state(&pod), before, "{what}: something is left");
            }
        }
    }
}

#[test]
fn a_run_with_other_settings_leaves_nothing_of_the_first() {
    let Ok(()) = requires::network_namespaces() else {
        return;
    };
    let [pod, _peer] = Pod::pair();
    both_families(&pod);
    for backend in BACKENDS {
        let second = [
            &["istio-iptables", "-i", "10.0.0.0/8", "-b", "8080"][..],
            backend,
        ];
        run(&pod, &second);
        let wanted = state(&pod);
        run(&pod, &[&["istio-clean-iptables"]]);

        for reconcile in [&[][..], &["--reconcile"]] {
            run(
                &pod,
                &[
                    &EVERYTHING,
                    &["-m", "REDIRECT", "--redirect-dns", "--capture-all-dns"],
                    backend,
                ],
            );
            run(&pod, &[&second[..], &[reconcile]].concat());
            assert_eq!(state(&pod), wanted, "{backend:?} {reconcile:?}");
        }
        // The family that is captured no more, and the routing of TPROXY, go where that is asked for.
        let first = ["-m", "TPROXY", "-t", "1400", "--dual-stack"];
        run(&pod, &[&EVERYTHING, &first, backend]);
        run(&pod, &[&second[..], &[&["--reconcile"]]].concat());
        assert_eq!(state(&pod), wanted, "{backend:?} after TPROXY");
        run(&pod, &[&["istio-clean-iptables"]]);
    }
}

#[test]
fn reconciling_takes_out_what_another_backend_holds_and_the_guard_of_a_run_that_was_killed() {
    let Ok(()) = requires::network_namespaces() else {
        return;
    };
    let [pod, _peer] = Pod::pair();
    let settings = &["istio-iptables", "-i", "*", "-b", "*", "--drop-invalid"][..];
    for (index, backend) in BACKENDS.into_iter().enumerate() {
        run(&pod, &[settings, backend]);
        let wanted = state(&pod);
        run(&pod, &[&["istio-clean-iptables"]]);
        let other = BACKENDS[(index + 1) % BACKENDS.len()];
        run(&pod, &[settings, other]);
        run(&pod, &[settings, backend, &["--reconcile"]]);
        assert_eq!(state(&pod), wanted, "{backend:?} after {other:?}");
        // The own rules are in place; what another backend holds goes all the same.
        run(&pod, &[settings, other]);
        run(&pod, &[settings, backend, &["--reconcile"]]);
        assert_eq!(state(&pod), wanted, "{backend:?} beside {other:?}");
        run(&pod, &[&["istio-clean-iptables"]]);
    }

    run(&pod, &[settings]);
    let wanted = state(&pod);
    let guard = "*filter\n:ISTIO_GUARD - [0:0]\n-A ISTIO_GUARD -j DROP\n-I OUTPUT 1 -p tcp -j ISTIO_GUARD\nCOMMIT\n";
    pod.write("/run/pod/guard", guard);
    pod.root(&["sh", "-c", "iptables-restore --noflush </run/pod/guard"]);
    assert_ne!(state(&pod), wanted);
    run(&pod, &[settings]);
    assert_eq!(state(&pod), wanted);
}

#[test]
fn a_run_on_the_node_changes_the_pods_network_and_takes_no_lock_of_the_node() {
    let Ok(()) = requires::network_namespaces() else {
        return;
    };
    let [node, _peer] = Pod::pair();
    let before = state(&node);
    node.root(&["ip", "netns", "add", "pod"]);
    node.root(&["ip", "-n", "pod", "link", "set", "lo", "up"]);
    node.root(&["ip", "-n", "pod", "addr", "add", "10.9.9.9/32", "dev", "lo"]);
    let there = &["--network-namespace", "/run/netns/pod", "--cni-mode"][..];
    for (variant, program) in [
        ("nft", "iptables-nft-save"),
        ("legacy", "iptables-legacy-save"),
    ] {
        let flags = &[
            "istio-iptables",
            "-i",
            "*",
            "-b",
            "*",
            "--force-iptables-binary",
            variant,
        ][..];
        node.root(&["mkdir", "/run/xtables.lock"]);
        run(&node, &[flags, there]);
        node.root(&["rmdir", "/run/xtables.lock"]);
        let rules = node.root(&["ip", "netns", "exec", "pod", program]);
        assert!(
            rules.contains("-A OUTPUT -j ISTIO_OUTPUT\n"),
            "{variant}: {rules}"
        );
        assert_eq!(state(&node), before, "{variant}");
        run(&node, &[&["istio-clean-iptables"], there]);
        let rules = node.root(&["ip", "netns", "exec", "pod", program]);
        assert!(!rules.contains("ISTIO"), "{variant}: {rules}");
    }
    node.root(&["ip", "netns", "del", "pod"]);
}

#[test]
fn validation_proves_capture_for_both_families_as_the_proxy_and_as_another_user() {
    let Ok(()) = requires::network_namespaces() else {
        return;
    };
    let [pod, _peer] = Pod::pair();
    both_families(&pod);
    let check = [
        "istio-iptables",
        "-i",
        "*",
        "-b",
        "*",
        "--dual-stack",
        "--run-validation",
        "--skip-rule-apply",
    ];
    let quick = [&check[..], &["--probe-timeout", "300ms"]].concat();
    for user in [PROXY, APPLICATION] {
        let refused = agent_as(&pod, user, &quick).unwrap_err();
        assert_eq!(code(&refused), Some(126), "{refused}");
        assert!(
            refused.stderr().contains("was not captured within 300ms"),
            "{refused}"
        );
        assert!(
            refused
                .stderr()
                .contains("the rules of istio-iptables are not in place"),
            "{refused}"
        );
    }
    for backend in BACKENDS {
        for mode in ["REDIRECT", "TPROXY"] {
            run(
                &pod,
                &[
                    &[
                        "istio-iptables",
                        "-i",
                        "*",
                        "-b",
                        "*",
                        "-m",
                        mode,
                        "--dual-stack",
                        "--run-validation",
                    ],
                    backend,
                ],
            );
            for user in [PROXY, APPLICATION] {
                let said = agent_as(&pod, user, &[&check[..], &["-m", mode]].concat());
                said.unwrap_or_else(|error| panic!("{backend:?} {mode} as {user}: {error}"));
            }
            run(&pod, &[&["istio-clean-iptables"]]);
        }
    }

    // A port of the proxy that is taken is told, and not mistaken for a proof.
    let _taken = pod.serve(15006);
    let refused = agent_as(&pod, PROXY, &quick).unwrap_err();
    assert_eq!(code(&refused), Some(126), "{refused}");
    assert!(
        refused.stderr().contains("listening on 127.0.0.1:15006"),
        "{refused}"
    );
}
