//! What the init program does where something is wrong. Where that can't be had on a machine that has everything, the
//! test's name says how it is simulated.

use outrigger_e2e::command::{self, CommandError};
use outrigger_e2e::requires;

use super::machine::{
    AGENT, LEGACY_VARIANT, NFT_VARIANT, NO_IPV6, NO_LEGACY, NO_NFT, both_families, code, replace,
    state,
};
use super::pod::{APPLICATION, PROXY, Pod};

const USUAL: [&str; 7] = [
    "istio-iptables",
    "-i",
    "*",
    "-b",
    "*",
    "-d",
    "15090,15021,15020",
];

fn run(pod: &Pod, more: &[&str]) -> Result<String, CommandError> {
    pod.agent(&[&USUAL, more].concat())
}

/// It must fail, say all of these, and change nothing.
fn refused(pod: &Pod, more: &[&str], before: &str, said: &[&str]) {
    let error = run(pod, more).unwrap_err();
    assert_eq!(code(&error), Some(1), "{error}");
    for wanted in said {
        assert!(
            error.stderr().contains(wanted),
            "{wanted:?} is not in {error}"
        );
    }
    assert_eq!(state(pod), before, "{error}");
}

#[test]
fn a_pod_without_ipv6_starts_and_its_ipv4_is_captured_simulated_by_disable_ipv6() {
    let Ok(()) = requires::network_namespaces() else {
        return;
    };
    let [pod, _peer] = Pod::pair();
    pod.root(&[
        "sh",
        "-c",
        "echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6",
    ]);
    replace(&pod, NFT_VARIANT, NO_IPV6);
    replace(&pod, LEGACY_VARIANT, NO_IPV6);
    for mode in ["REDIRECT", "TPROXY"] {
        run(&pod, &["--dual-stack", "-m", mode]).unwrap();
        assert!(pod.rules("nat").contains("-A OUTPUT -j ISTIO_OUTPUT\n"));
        assert!(!pod.root(&["ip", "-6", "rule", "show"]).contains("fwmark"));
    }
}

#[test]
fn an_ipv4_pod_starts_on_a_kernel_without_ipv6_tables_simulated_by_masked_programs() {
    let Ok(()) = requires::network_namespaces() else {
        return;
    };
    let [pod, _peer] = Pod::pair();
    replace(&pod, NFT_VARIANT, NO_IPV6);
    replace(&pod, LEGACY_VARIANT, NO_IPV6);
    run(&pod, &[]).unwrap();
    assert!(pod.rules("nat").contains("-A OUTPUT -j ISTIO_OUTPUT\n"));
}

#[test]
fn where_ipv6_fails_ipv4_is_taken_back_and_the_error_says_so_simulated_by_masked_programs() {
    let Ok(()) = requires::network_namespaces() else {
        return;
    };
    let [pod, _peer] = Pod::pair();
    both_families(&pod);
    // Rules of an earlier run and of others: both must be there afterwards, as they were.
    run(&pod, &["-p", "15101"]).unwrap();
    pod.root(&[
        "iptables",
        "-t",
        "nat",
        "-A",
        "OUTPUT",
        "-d",
        "192.0.2.9",
        "-j",
        "RETURN",
    ]);
    let before = state(&pod);
    replace(&pod, NFT_VARIANT, NO_IPV6);
    replace(&pod, LEGACY_VARIANT, NO_IPV6);
    let error = run(&pod, &["--dual-stack", "-m", "TPROXY"]).unwrap_err();
    for wanted in [
        "IPv6: no iptables on this machine takes the rules",
        "ip6table_nat",
        "xt_TPROXY",
        "nft_compat",
        "what was applied before was taken back: IPv4 mangle (iptables-restore), IPv4 nat (iptables-restore)",
        "ip -4 rule add fwmark 1337 lookup 133",
    ] {
        assert!(
            error.stderr().contains(wanted),
            "{wanted:?} is not in {error}"
        );
    }
    assert!(
        !error.stderr().contains("could not be taken back"),
        "{error}"
    );
    pod.root(&["umount", NFT_VARIANT]);
    pod.root(&["umount", LEGACY_VARIANT]);
    assert_eq!(state(&pod), before);
}

#[test]
fn where_only_nft_works_it_is_found_simulated_by_a_masked_program() {
    let Ok(()) = requires::network_namespaces() else {
        return;
    };
    let [pod, _peer] = Pod::pair();
    both_families(&pod);
    replace(&pod, LEGACY_VARIANT, NO_LEGACY);
    run(&pod, &["--dual-stack"]).unwrap();
    for program in ["iptables-nft-save", "ip6tables-nft-save"] {
        let saved = pod.root(&[program]);
        assert!(saved.contains("-A OUTPUT -j ISTIO_OUTPUT\n"), "{saved}");
    }
}

#[test]
fn where_only_legacy_works_it_is_found_simulated_by_a_masked_program() {
    let Ok(()) = requires::network_namespaces() else {
        return;
    };
    let [pod, _peer] = Pod::pair();
    both_families(&pod);
    replace(&pod, NFT_VARIANT, NO_NFT);
    for _ in 0..2 {
        run(&pod, &["--dual-stack"]).unwrap();
        for program in ["iptables-legacy-save", "ip6tables-legacy-save"] {
            let saved = pod.root(&[program]);
            assert_eq!(
                saved.matches("-A OUTPUT -j ISTIO_OUTPUT\n").count(),
                1,
                "{saved}"
            );
        }
    }
    pod.agent(&["istio-clean-iptables"]).unwrap();
    assert!(!pod.root(&["iptables-legacy-save"]).contains("ISTIO"));
}

#[test]
fn where_nft_saves_but_takes_no_rules_legacy_does_simulated_by_a_masked_program() {
    let Ok(()) = requires::network_namespaces() else {
        return;
    };
    let [pod, _peer] = Pod::pair();
    let no_restore =
        format!("case \"$0\" in *-restore) {NO_NFT};; esac\nexec -a \"$0\" \"$real\" \"$@\"");
    replace(&pod, NFT_VARIANT, &no_restore);
    run(&pod, &[]).unwrap();
    assert!(
        pod.root(&["iptables-legacy-save"])
            .contains("-A OUTPUT -j ISTIO_OUTPUT\n")
    );
}

#[test]
fn where_nothing_works_one_error_names_the_modules_simulated_by_masked_programs() {
    let Ok(()) = requires::network_namespaces() else {
        return;
    };
    let [pod, _peer] = Pod::pair();
    let before = state(&pod);
    replace(&pod, NFT_VARIANT, NO_NFT);
    replace(&pod, LEGACY_VARIANT, NO_LEGACY);
    replace(&pod, "/usr/sbin/nft", NO_NFT);
    let error = run(&pod, &[]).unwrap_err();
    let told = error.stderr();
    assert_eq!(told.matches("ERROR").count(), 1, "{told}");
    for wanted in [
        "iptable_nat",
        "xt_REDIRECT",
        "nft_compat",
        "NET_ADMIN",
        "nothing was changed",
    ] {
        assert!(told.contains(wanted), "{wanted:?} is not in {told}");
    }
    // With nftables alone the routing of TPROXY is taken back.
    let error = run(&pod, &["--native-nftables", "-m", "TPROXY"]).unwrap_err();
    assert!(error.stderr().contains("nft_tproxy"), "{error}");
    assert!(
        error.stderr().contains("taken back: ip -4 route"),
        "{error}"
    );
    for program in [NFT_VARIANT, LEGACY_VARIANT, "/usr/sbin/nft"] {
        pod.root(&["umount", program]);
    }
    assert_eq!(state(&pod), before);
}

#[test]
fn where_the_second_table_fails_the_first_is_taken_back_simulated_by_a_wrapped_program() {
    let Ok(()) = requires::network_namespaces() else {
        return;
    };
    let [pod, _peer] = Pod::pair();
    run(&pod, &["-m", "TPROXY", "-t", "1400"]).unwrap();
    let before = state(&pod);
    // The first table is committed for real, the rest is refused.
    let first_table = "case \"$0 $*\" in *-restore*--noflush*) awk '{print} /^COMMIT/ {exit}' >/run/pod/first; \
         (exec -a \"$0\" \"$real\" \"$@\") </run/pod/first; echo 'iptables-restore: line 30 failed' >&2; exit 1;; esac\n\
         exec -a \"$0\" \"$real\" \"$@\"";
    replace(&pod, NFT_VARIANT, first_table);
    replace(&pod, LEGACY_VARIANT, NO_LEGACY);
    let error = run(&pod, &["-m", "TPROXY"]).unwrap_err();
    for wanted in [
        "line 30 failed",
        "taken back: IPv4 mangle (iptables-restore)",
    ] {
        assert!(
            error.stderr().contains(wanted),
            "{wanted:?} is not in {error}"
        );
    }
    pod.root(&["umount", NFT_VARIANT]);
    pod.root(&["umount", LEGACY_VARIANT]);
    assert_eq!(state(&pod), before);
}

#[test]
fn a_lock_file_that_cannot_be_opened_stops_nothing() {
    let Ok(()) = requires::network_namespaces() else {
        return;
    };
    let [pod, _peer] = Pod::pair();
    pod.root(&["mkdir", "/run/xtables.lock"]);
    run(&pod, &["--force-iptables-binary", "legacy"]).unwrap();
    assert!(
        pod.root(&["iptables-legacy-save"])
            .contains("-A OUTPUT -j ISTIO_OUTPUT\n")
    );
    pod.agent(&["istio-clean-iptables"]).unwrap();
    assert!(!pod.root(&["iptables-legacy-save"]).contains("ISTIO"));
}

#[test]
fn a_run_after_one_that_was_killed_between_two_tables_ends_like_the_first_of_a_pod() {
    let Ok(()) = requires::network_namespaces() else {
        return;
    };
    let [pod, fresh] = Pod::pair();
    let flags = [
        "-m",
        "TPROXY",
        "--redirect-dns",
        "--capture-all-dns",
        "-c",
        "eth7",
    ];
    run(&fresh, &flags).unwrap();
    let text = run(
        &pod,
        &[&flags[..], &["--dry-run", "--host-ipv6=false"]].concat(),
    )
    .unwrap();
    let tables: Vec<&str> = text.split_inclusive("COMMIT\n").collect();
    for done in 1..tables.len() {
        pod.write("/run/pod/part", &tables[..done].concat());
        pod.root(&["sh", "-c", "iptables-restore --noflush </run/pod/part"]);
        run(&pod, &flags).unwrap();
        assert_eq!(state(&pod), state(&fresh), "after {done} tables");
        pod.agent(&["istio-clean-iptables"]).unwrap();
    }
    // Or with chains and no rules in them, as a tool leaves them that adds one rule at a time.
    pod.root(&["sh", "-c", "iptables -t nat -N ISTIO_OUTPUT && iptables -t nat -N ISTIO_REDIRECT && iptables -t nat -A OUTPUT -j ISTIO_OUTPUT"]);
    run(&pod, &flags).unwrap();
    assert_eq!(state(&pod), state(&fresh));
}

#[test]
fn an_application_that_runs_as_the_proxys_user_is_not_captured_and_others_are() {
    let Ok(()) = requires::network_namespaces() else {
        return;
    };
    let [pod, server] = Pod::pair();
    let _server = server.serve(9080);
    run(&pod, &[]).unwrap();
    let answer = "from 10.77.0.1 to 10.77.0.2:9080\n";
    assert_eq!(pod.connect(PROXY, &server.address, 9080).unwrap(), answer);
    pod.connect(APPLICATION, &server.address, 9080).unwrap_err();
    // With another user for the proxy, 1337 is a user like any other.
    run(&pod, &["-u", "2000"]).unwrap();
    pod.connect(PROXY, &server.address, 9080).unwrap_err();
    assert_eq!(pod.connect(2000, &server.address, 9080).unwrap(), answer);
}

#[test]
fn malformed_values_are_all_named_and_nothing_is_applied() {
    let Ok(()) = requires::network_namespaces() else {
        return;
    };
    let [pod, _peer] = Pod::pair();
    let before = state(&pod);
    for (flag, value, said) in [
        (
            "-d",
            "15090,70000",
            "(-d) \"15090,70000\": item 2, \"70000\", cannot be used; allowed: ports from 0 to 65535",
        ),
        ("-o", "80-90", "(-o) \"80-90\": item 1, \"80-90\""),
        ("-q", "1;-j DROP", "(-q) \"1;-j DROP\": item 1"),
        ("-x", "10.0.0.0/33", "(-x) \"10.0.0.0/33\": item 1"),
        ("-x", "*", "(-x) \"*\": item 1"),
        (
            "-i",
            "10.0.0.0/8,10.1",
            "(-i) \"10.0.0.0/8,10.1\": item 2, \"10.1\"",
        ),
        (
            "-c",
            "eth0,a-name-that-is-long",
            "(-c) \"eth0,a-name-that-is-long\": item 2",
        ),
        ("-k", "-j", "(-k) \"-j\": item 1"),
        ("-u", "4294967295", "(-u) \"4294967295\": item 1"),
        (
            "-g",
            "1337,no-such-group",
            "(-g): item 2, \"no-such-group\", cannot be used; allowed: ids, or names in /etc/group",
        ),
        ("-m", "tproxy", "allowed: REDIRECT or TPROXY"),
        ("-p", "0", "(-p) \"0\": allowed: a port from 1 to 65535"),
        (
            "--probe-timeout",
            "soon",
            "--probe-timeout \"soon\": allowed: a duration",
        ),
        (
            "--force-iptables-binary",
            "ipset",
            "allowed: legacy, nft, or nothing to try both",
        ),
    ] {
        refused(&pod, &[flag, value], &before, &[said]);
    }
    refused(
        &pod,
        &["-d", "x", "-c", "1"],
        &before,
        &["(-d) \"x\"", "(-c) \"1\""],
    );
}

#[test]
fn without_the_right_to_change_the_network_the_error_says_which_right_is_missing() {
    let Ok(()) = requires::network_namespaces() else {
        return;
    };
    let [pod, _peer] = Pod::pair();
    let before = state(&pod);
    let words = [&["setpriv", "--bounding-set=-net_admin", AGENT], &USUAL[..]].concat();
    let error = command::output(&mut pod.command(0, &words)).unwrap_err();
    assert!(
        error
            .stderr()
            .contains("if the container is allowed NET_ADMIN"),
        "{error}"
    );
    assert!(error.stderr().contains("nothing was changed"), "{error}");
    assert_eq!(state(&pod), before);
}

#[test]
fn without_that_right_a_clean_up_does_not_say_that_there_was_nothing() {
    let Ok(()) = requires::network_namespaces() else {
        return;
    };
    let [pod, _peer] = Pod::pair();
    run(&pod, &[]).unwrap();
    let before = state(&pod);
    let words = [
        "setpriv",
        "--bounding-set=-net_admin",
        AGENT,
        "istio-clean-iptables",
    ];
    let error = command::output(&mut pod.command(0, &words)).unwrap_err();
    assert_eq!(code(&error), Some(1), "{error}");
    assert!(error.stderr().contains("nothing was taken out"), "{error}");
    assert_eq!(state(&pod), before);
}

#[test]
fn where_one_variant_keeps_its_rules_the_others_are_cleaned_and_the_error_says_both_simulated_by_a_wrapped_program()
 {
    let Ok(()) = requires::network_namespaces() else {
        return;
    };
    let [pod, _peer] = Pod::pair();
    run(&pod, &["--force-iptables-binary", "legacy"]).unwrap();
    run(&pod, &["--force-iptables-binary", "nft"]).unwrap();
    let no_restore =
        format!("case \"$0\" in *-restore) {NO_NFT};; esac\nexec -a \"$0\" \"$real\" \"$@\"");
    replace(&pod, NFT_VARIANT, &no_restore);
    let error = pod.agent(&["istio-clean-iptables"]).unwrap_err();
    for wanted in [
        "Failed to initialize nft",
        "taken out: iptables-legacy-restore",
    ] {
        assert!(
            error.stderr().contains(wanted),
            "{wanted:?} is not in {error}"
        );
    }
    assert!(!pod.root(&["iptables-legacy-save"]).contains("ISTIO"));
    assert!(pod.root(&["iptables-nft-save"]).contains("ISTIO"));
}

#[test]
fn reconciling_keeps_what_each_family_found_for_itself_simulated_by_masked_programs() {
    let Ok(()) = requires::network_namespaces() else {
        return;
    };
    let [pod, _peer] = Pod::pair();
    both_families(&pod);
    // Over the older interface there is IPv4 alone, over nf_tables IPv6.
    let no_ipv4 =
        format!("case \"$0\" in *ip6tables*) exec -a \"$0\" \"$real\" \"$@\";; *) {NO_NFT};; esac");
    replace(&pod, NFT_VARIANT, &no_ipv4);
    replace(&pod, LEGACY_VARIANT, NO_IPV6);
    for _ in 0..2 {
        run(&pod, &["--dual-stack", "--reconcile"]).unwrap();
        for program in ["iptables-legacy-save", "ip6tables-nft-save"] {
            let saved = pod.root(&[program]);
            assert!(
                saved.contains("-A OUTPUT -j ISTIO_OUTPUT\n"),
                "{program}: {saved}"
            );
        }
    }
}

#[test]
fn a_pod_whose_network_is_not_set_up_is_told_apart() {
    let Ok(()) = requires::network_namespaces() else {
        return;
    };
    let [pod, _peer] = Pod::pair();
    pod.root(&["ip", "addr", "flush", "dev", "eth0"]);
    let before = state(&pod);
    refused(&pod, &[], &before, &["is the pod's network set up?"]);
}
