//! `istio-iptables` and `istio-clean-iptables`: the facts of the host, and what to do with the rules.

use std::fs;
use std::net::IpAddr;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::ArgMatches;
use tracing::{debug, info, warn};

use super::cli::{switched_on, text};
use crate::capture::apply::{self, Variant};
use crate::capture::{
    DnsCapture, Family, Host, Interception, Leftovers, RuleSet, Settings, plan, restore_text,
    script,
};

/// `istio-iptables`.
pub(super) fn run(matches: &ArgMatches) -> Result<ExitCode> {
    let mut settings = settings(matches)?;
    let dry_run = switched_on(matches, "dry-run");
    if settings.dns != DnsCapture::Off && !dry_run {
        warn!(
            "DNS capture (--redirect-dns, ISTIO_META_DNS_CAPTURE) is not supported yet: queries are left alone"
        );
        settings.dns = DnsCapture::Off;
    }
    let host = host(matches, &settings)?;
    let rules = plan(&settings, &host);
    let nftables = switched_on(matches, "native-nftables");
    if dry_run {
        print_rules(&rules, &host, nftables)?;
        return Ok(ExitCode::SUCCESS);
    }
    for (flag, given) in [
        ("--native-nftables", nftables),
        ("--run-validation", switched_on(matches, "run-validation")),
        ("--cni-mode", switched_on(matches, "cni-mode")),
        (
            "--network-namespace",
            text(matches, "network-namespace").is_some_and(|path| !path.is_empty()),
        ),
        (
            "--istio-inbound-interception-mode (-m) TPROXY",
            settings.interception != Interception::Redirect,
        ),
    ] {
        if given {
            bail!(
                "{flag} is not supported yet; REDIRECT capture with iptables in the pod's own network is"
            );
        }
    }
    if switched_on(matches, "cleanup-only") {
        return take_out(&rules, variant(matches)?);
    }
    if switched_on(matches, "skip-rule-apply") {
        info!("--skip-rule-apply: no rule changed");
        return Ok(ExitCode::SUCCESS);
    }
    if host.ipv6 {
        warn!(
            "this pod has IPv6 addresses, which are not captured yet: only IPv4 connections go through the proxy"
        );
    }
    let applied = apply::apply(&rules, variant(matches)?)?;
    for (table, count) in rules.counts(&[Family::V4]) {
        info!(
            table = table.as_str(),
            rules = count,
            program = applied.program,
            "captured"
        );
    }
    debug!("{}", applied.text);
    Ok(ExitCode::SUCCESS)
}

/// `istio-clean-iptables`.
pub(super) fn clean(matches: &ArgMatches) -> Result<ExitCode> {
    let settings = settings(matches)?;
    let rules = plan(&settings, &Host::default());
    if switched_on(matches, "dry-run") {
        info!("--dry-run: no rule changed");
        return Ok(ExitCode::SUCCESS);
    }
    take_out(&rules, variant(matches)?)
}

fn take_out(rules: &RuleSet, variant: Option<Variant>) -> Result<ExitCode> {
    let done = apply::clean(rules, variant)?;
    if done.is_empty() {
        info!("no rules of ours found");
    }
    for cleaned in done {
        info!(program = cleaned.program, "rules taken out");
        debug!("{}", cleaned.text);
    }
    Ok(ExitCode::SUCCESS)
}

fn settings(matches: &ArgMatches) -> Result<Settings> {
    let env = |name: &str| std::env::var(name).ok();
    let user = std::env::var("ENVOY_USER").unwrap_or_else(|_| "istio-proxy".to_owned());
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let (settings, notices) =
        Settings::read(&|flag| text(matches, flag), &env, user_id(&passwd, &user))?;
    for notice in notices {
        warn!("{notice}");
    }
    Ok(settings)
}

fn variant(matches: &ArgMatches) -> Result<Option<Variant>> {
    match text(matches, "force-iptables-binary").as_deref() {
        None | Some("") => Ok(None),
        Some("legacy") => Ok(Some(Variant::Legacy)),
        Some("nft") => Ok(Some(Variant::Nft)),
        Some(other) => {
            bail!("--force-iptables-binary {other:?}: allowed: legacy, nft, or nothing to try both")
        }
    }
}

fn host(matches: &ArgMatches, settings: &Settings) -> Result<Host> {
    let ipv6 = match text(matches, "host-ipv6").as_deref() {
        Some("true") => true,
        Some("false") => false,
        Some(other) => bail!("--host-ipv6 {other:?}: allowed: true, false"),
        None => has_ipv6(&fs::read_to_string("/proc/net/if_inet6").unwrap_or_default()),
    };
    let nameservers = match text(matches, "host-dns") {
        Some(list) => nameserver_list(&list)?,
        None if settings.dns == DnsCapture::Off => Vec::new(),
        None => {
            let text = fs::read_to_string("/etc/resolv.conf")
                .context("reading /etc/resolv.conf for DNS capture")?;
            nameservers(&text)
        }
    };
    Ok(Host { ipv6, nameservers })
}

fn nameserver_list(list: &str) -> Result<Vec<IpAddr>> {
    let mut addresses = Vec::new();
    for (index, item) in list
        .split(',')
        .map(str::trim)
        .enumerate()
        .filter(|(_, item)| !item.is_empty())
    {
        let address = item.parse().with_context(|| {
            format!(
                "--host-dns {list:?}: item {}, {item:?}, cannot be used; allowed: IP addresses",
                index + 1
            )
        })?;
        addresses.push(address);
    }
    Ok(addresses)
}

/// The name servers of a resolv.conf; lines that name none are not our business.
fn nameservers(resolv_conf: &str) -> Vec<IpAddr> {
    let values = resolv_conf.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some("nameserver"))
            .then(|| words.next())
            .flatten()
    });
    values.filter_map(|value| value.parse().ok()).collect()
}

/// The id of a user in the text of /etc/passwd.
fn user_id(passwd: &str, user: &str) -> Option<u32> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(user))
            .then(|| fields.nth(1)?.parse().ok())
            .flatten()
    })
}

/// Whether an interface other than loopback has a global address, from the text of /proc/net/if_inet6
/// (address, index, prefix, scope, flags, name).
fn has_ipv6(if_inet6: &str) -> bool {
    if_inet6.lines().any(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        matches!(fields.as_slice(), [_, _, _, "00", _, name] if *name != "lo")
    })
}

fn print_rules(rules: &RuleSet, host: &Host, nftables: bool) -> Result<()> {
    let nothing = Leftovers::new();
    let mut text = String::new();
    if nftables {
        text.push_str(&format!("# nft\n{}", script(rules, host.ipv6)));
    } else {
        text.push_str(&format!(
            "# iptables-restore\n{}",
            restore_text(rules, Family::V4, &nothing)
        ));
        if host.ipv6 {
            text.push_str(&format!(
                "# ip6tables-restore\n{}",
                restore_text(rules, Family::V6, &nothing)
            ));
        }
    }
    print!("{text}");
    if let Some(path) = std::env::var_os("DRY_RUN_FILE_PATH").filter(|path| !path.is_empty()) {
        fs::write(&path, &text)
            .with_context(|| format!("DRY_RUN_FILE_PATH: writing {}", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proxys_user_is_found_by_name() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nistio-proxy:x:1444:1444::/:/bin/false\n";
        assert_eq!(user_id(passwd, "istio-proxy"), Some(1444));
        assert_eq!(user_id(passwd, "istio"), None);
    }

    #[test]
    fn nameservers_are_read_and_the_rest_of_resolv_conf_is_skipped() {
        let text = "# comment\nsearch a b\nnameserver 10.96.0.10\nnameserver fd00::a\nnameserver nonsense\noptions ndots:5\n";
        let wanted: Vec<IpAddr> = vec!["10.96.0.10".parse().unwrap(), "fd00::a".parse().unwrap()];
        assert_eq!(nameservers(text), wanted);
    }

    #[test]
    fn only_a_global_address_off_loopback_counts_as_ipv6() {
        let loopback = "00000000000000000000000000000001 01 80 10 80       lo\n";
        let link_local = "fe800000000000000042acfffe110002 05 40 20 80     eth0\n";
        let global = "20010db8000000000000000000000002 05 40 00 80     eth0\n";
        assert!(!has_ipv6(&format!("{loopback}{link_local}")));
        assert!(has_ipv6(&format!("{loopback}{link_local}{global}")));
        assert!(!has_ipv6(""));
    }
}
