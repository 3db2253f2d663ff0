//! What capture must know of the place where it runs.

use std::fs::{self, File};
use std::net::IpAddr;
use std::path::Path;

use anyhow::{Context, Result, bail};
use nix::ifaddrs::getifaddrs;
use nix::sched::{CloneFlags, setns};
use tracing::warn;

use crate::capture::{DnsCapture, Family, Host, Options, Owner, Settings, captures_ipv6};

/// The host's part of a plan, and the addresses it came from.
pub(super) struct Facts {
    pub(super) host: Host,
    pub(super) addresses: Vec<IpAddr>,
}

impl Facts {
    /// Reads them, where `options` do not say them.
    pub(super) fn read(options: &Options, settings: &Settings) -> Result<Self> {
        let addresses = addresses()?;
        let ipv6 = match options.ipv6 {
            Some(ipv6) => ipv6,
            None => ipv6(&addresses, settings)?,
        };
        let nameservers = match &options.nameservers {
            Some(given) => given.clone(),
            None if settings.dns == DnsCapture::Off => Vec::new(),
            None => {
                let text = fs::read_to_string("/etc/resolv.conf")
                    .context("reading /etc/resolv.conf for DNS capture")?;
                nameservers(&text)
            }
        };
        if settings.dns == DnsCapture::NameServers && nameservers.is_empty() {
            warn!("/etc/resolv.conf names no name server: no DNS query is captured");
        }
        let host = Host { ipv6, nameservers };
        Ok(Self { host, addresses })
    }

    /// Whether there is no IPv4 address that anything outside could reach.
    pub(super) fn ipv6_only(&self) -> bool {
        captures_ipv6(&self.addresses, false) == Some(true)
    }
}

fn ipv6(addresses: &[IpAddr], settings: &Settings) -> Result<bool> {
    let Some(ipv6) = captures_ipv6(addresses, settings.dual_stack) else {
        bail!(
            "this network namespace has no address but loopback and link-local ones: is the pod's network set up?"
        );
    };
    if !ipv6 && captures_ipv6(addresses, true) == Some(true) {
        warn!(
            "this pod also has IPv6 addresses: connections over IPv6 are not captured without --dual-stack \
             (ISTIO_DUAL_STACK=true)"
        );
    }
    Ok(ipv6)
}

fn addresses() -> Result<Vec<IpAddr>> {
    let interfaces = getifaddrs().context("listing the addresses of this network namespace")?;
    let addresses = interfaces.filter_map(|interface| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip())))
    });
    Ok(addresses.collect())
}

/// Goes into another network namespace, with all that this process then starts.
pub(super) fn enter(path: &Path) -> Result<()> {
    let said = || format!("--network-namespace {:?}", path.display());
    let file = File::open(path).with_context(said)?;
    setns(file, CloneFlags::CLONE_NEWNET)
        .context("going into that network namespace")
        .with_context(said)
}

/// The id of the proxy's user, where the machine knows it.
pub(super) fn proxy_user() -> Option<u32> {
    let user = std::env::var("ENVOY_USER").unwrap_or_else(|_| "istio-proxy".to_owned());
    id_of(
        &fs::read_to_string("/etc/passwd").unwrap_or_default(),
        &user,
    )
}

/// Refuses users and groups by a name that this machine doesn't know: the tools would.
pub(super) fn check_names(settings: &Settings) -> Result<()> {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let (users, groups) = (read("/etc/passwd"), read("/etc/group"));
    let wrong = settings
        .owners()
        .into_iter()
        .flat_map(|(origin, kind, owners)| {
            let (file, known) = match kind {
                crate::capture::OwnerKind::User => ("/etc/passwd", &users),
                crate::capture::OwnerKind::Group => ("/etc/group", &groups),
            };
            let unknown = move |owner: &Owner| {
                owner.id().is_none() && id_of(known, &owner.to_string()).is_none()
            };
            let positions = owners
                .iter()
                .enumerate()
                .filter(move |(_, owner)| unknown(owner));
            positions.map(move |(index, owner)| {
            format!(
                "{origin}: item {}, \"{owner}\", cannot be used; allowed: ids, or names in {file}",
                index + 1
            )
        })
        });
    let wrong: Vec<String> = wrong.collect();
    if wrong.is_empty() {
        Ok(())
    } else {
        bail!("{}", wrong.join("\n"))
    }
}

/// The ids of this process's user and group, as the rules see them.
pub(super) fn own_ids() -> (u32, u32) {
    (
        nix::unistd::geteuid().as_raw(),
        nix::unistd::getegid().as_raw(),
    )
}

/// Whether a list of users or groups has an id, by number or by name.
pub(super) fn names(owners: &[Owner], id: u32, file: &str) -> bool {
    let known = fs::read_to_string(file).unwrap_or_default();
    owners
        .iter()
        .any(|owner| owner.id().or_else(|| id_of(&known, &owner.to_string())) == Some(id))
}

/// The pod's own address of a family.
pub(super) fn own_address(addresses: &[IpAddr], family: Family) -> Option<IpAddr> {
    let of_family = addresses
        .iter()
        .filter(|address| Family::of(address) == family);
    of_family
        .copied()
        .find(|address| captures_ipv6(&[*address], true).is_some())
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

/// The id of a name in the text of /etc/passwd or /etc/group.
fn id_of(text: &str, name: &str) -> Option<u32> {
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name))
            .then(|| fields.nth(1)?.parse().ok())
            .flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proxys_user_is_found_by_name() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nistio-proxy:x:1444:1444::/:/bin/false\n";
        assert_eq!(id_of(passwd, "istio-proxy"), Some(1444));
        assert_eq!(id_of(passwd, "istio"), None);
    }

    #[test]
    fn nameservers_are_read_and_the_rest_of_resolv_conf_is_skipped() {
        let text = "# comment\nsearch a b\nnameserver 10.96.0.10\nnameserver fd00::a\nnameserver nonsense\noptions ndots:5\n";
        let wanted: Vec<IpAddr> = vec!["10.96.0.10".parse().unwrap(), "fd00::a".parse().unwrap()];
        assert_eq!(nameservers(text), wanted);
    }
}
