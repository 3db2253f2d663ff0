//! The init process, from its start to its exit, in a network namespace of its own; as root:
//! `cargo bench --bench capture`.
//!
//! Prints medians. The tools alone are measured beside it, fed what the agent would feed them: that part of the time
//! is theirs. `OUTRIGGER_AGENT` names another binary than the one that Cargo builds with this.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a measurement that cannot start has nothing better to do"
)]

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const RUNS: usize = 200;
/// Set for the process that is in the namespace.
const INSIDE: &str = "OUTRIGGER_BENCH_INSIDE";

/// The arguments of every injected pod.
const USUAL: &str =
    "istio-iptables -p 15001 -z 15006 -u 1337 -m REDIRECT -i * -b * -d 15090,15021,15020";
/// Every mode and both families at once.
const EVERYTHING: &str = "istio-iptables -m TPROXY -i * -b * -d 15090,15021,15020 --dual-stack --redirect-dns --capture-all-dns";

fn main() {
    // `cargo test` runs benches too, without this.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    if std::env::var_os(INSIDE).is_some() {
        measure();
        return;
    }
    let own = std::env::current_exe().unwrap();
    let mut inside = Command::new("unshare");
    inside.arg("--net").arg(own).arg("--bench").env(INSIDE, "1");
    let status = inside.status().unwrap();
    assert!(status.success(), "it needs root and network namespaces");
}

fn measure() {
    for line in [
        "link set lo up",
        "link add eth0 type veth peer name eth1",
        "link set eth1 up",
        "link set eth0 up",
        "addr add 10.77.0.1/24 dev eth0",
        "addr add fd77::1/64 dev eth0 nodad",
    ] {
        run("ip", line, "");
    }
    let agent = std::env::var("OUTRIGGER_AGENT")
        .unwrap_or_else(|_| env!("CARGO_BIN_EXE_outrigger-agent").to_owned());
    let dry_run = |more: &str| {
        run(
            &agent,
            &format!("{USUAL} --dry-run --host-ipv6=false{more}"),
            "",
        )
    };
    let (restore, script) = (dry_run(""), dry_run(" --native-nftables"));
    println!("median of {RUNS} runs after {} of warming up", RUNS / 10);
    report("iptables-restore alone", true, || {
        run("iptables-restore", "--noflush", &restore)
    });
    report("outrigger-agent, iptables", true, || run(&agent, USUAL, ""));
    report("nft alone", true, || run("nft", "-f -", &script));
    let native = format!("{USUAL} --native-nftables");
    report("outrigger-agent, nftables", true, || {
        run(&agent, &native, "")
    });
    run(&agent, USUAL, "");
    report("outrigger-agent, rules in place", false, || {
        run(&agent, USUAL, "")
    });
    report("outrigger-agent, TPROXY, DNS, dual stack", true, || {
        run(&agent, EVERYTHING, "")
    });
}

/// Times what is given, each time from a kernel without rules where `clean` says so.
fn report(name: &str, clean: bool, work: impl Fn() -> String) {
    let mut times: Vec<Duration> = Vec::new();
    for index in 0..RUNS + RUNS / 10 {
        if clean {
            run("nft", "flush ruleset", "");
        }
        let start = Instant::now();
        work();
        if index >= RUNS / 10 {
            times.push(start.elapsed());
        }
    }
    times.sort_unstable();
    let at = |share: usize| times[(RUNS * share / 100).min(RUNS - 1)].as_secs_f64() * 1e3;
    println!("{name:42} {:6.1} ms   95 %: {:6.1} ms", at(50), at(95));
}

fn run(program: &str, words: &str, input: &str) -> String {
    let mut child = Command::new(program)
        .args(words.split(' '))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "{program} {words}: {}",
        output.status
    );
    String::from_utf8(output.stdout).unwrap()
}
