//! What a pod's kernel holds, and pods whose tools fail.

use outrigger_e2e::command::{self, CommandError};

use super::pod::Pod;

/// The agent, as bound into every pod.
pub const AGENT: &str = "/run/pod/outrigger-agent";

/// Runs the agent as a user of the pod.
pub fn agent_as(pod: &Pod, user: u32, words: &[&str]) -> Result<String, CommandError> {
    command::output(&mut pod.command(user, &[&[AGENT], words].concat()))
}

/// How a program ended.
pub fn code(error: &CommandError) -> Option<i32> {
    match error {
        CommandError::Failed { status, .. } => status.code(),
        _ => None,
    }
}

/// Everything that capture could change, without counters and in one text.
pub fn state(pod: &Pod) -> String {
    let mut text = String::new();
    for family in ["iptables", "ip6tables"] {
        for variant in ["nft", "legacy"] {
            let program = format!("{family}-{variant}-save");
            text.push_str(&format!("{program}\n{}", rules(&pod.root(&[&program]))));
        }
    }
    let native =
        "nft list tables inet | while read -r _ _ name; do nft -s list table inet \"$name\"; done";
    let routing = "for f in -4 -6; do ip $f rule show; ip $f route show table 133 2>/dev/null || true; done; ip -6 addr show dev lo";
    for script in [native, routing] {
        text.push_str(&pod.root(&["sh", "-c", script]));
    }
    text
}

/// Only rules and chains of users: the tools make empty tables by looking at them.
fn rules(saved: &str) -> String {
    let mut table = "";
    let mut text = String::new();
    for line in saved.lines() {
        if let Some(name) = line.strip_prefix('*') {
            table = name;
        } else if line.starts_with("-A ") || (line.starts_with(':') && line.contains(" - ")) {
            let line = line.split(" [").next().unwrap();
            text.push_str(&format!("{table}: {line}\n"));
        }
    }
    text
}

/// Puts a script in the place of a tool. It finds the tool itself as `$real`, to be run under its own name as
/// `exec -a "$0" "$real" "$@"`.
pub fn replace(pod: &Pod, tool: &str, script: &str) {
    let name = tool.rsplit('/').next().unwrap();
    let (real, own) = (format!("/run/pod/real-{name}"), format!("/run/pod/{name}"));
    pod.root(&["cp", tool, &real]);
    pod.write(&own, &format!("#!/bin/bash\nreal={real}\n{script}\n"));
    pod.root(&["chmod", "755", &own]);
    pod.root(&["mount", "--bind", &own, tool]);
}

/// The two programs that all names of iptables and ip6tables stand for.
pub const NFT_VARIANT: &str = "/usr/sbin/xtables-nft-multi";
pub const LEGACY_VARIANT: &str = "/usr/sbin/xtables-legacy-multi";

/// What the variants say on a kernel without their modules.
pub const NO_NFT: &str =
    "echo \"$(basename \"$0\"): Failed to initialize nft: Protocol not supported\" >&2; exit 1";
pub const NO_LEGACY: &str = "echo \"$(basename \"$0\"): can't initialize table: Table does not exist (do you need to insmod?)\" >&2; exit 3";
/// A kernel with tables for IPv4 alone.
pub const NO_IPV6: &str = "case \"$0\" in *ip6tables*) echo \"can't initialize ip6tables table: Table does not exist (do you need to insmod?)\" >&2; exit 3;; esac\nexec -a \"$0\" \"$real\" \"$@\"";

/// Gives the pod an IPv6 address and a way out for both families.
pub fn both_families(pod: &Pod) {
    let address = pod.address.replace("10.77.0.", "fd77::");
    pod.root(&[
        "ip",
        "addr",
        "add",
        &format!("{address}/64"),
        "dev",
        "eth0",
        "nodad",
    ]);
    for (family, gateway) in [("-4", "10.77.0.254"), ("-6", "fd77::fe")] {
        pod.root(&[
            "ip", family, "route", "add", "default", "via", gateway, "dev", "eth0",
        ]);
    }
}
