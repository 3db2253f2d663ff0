//! Flags and environment → how the rules are used.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::flags;
use super::reader::{Lookup, Reader};
use super::settings::SettingsError;
use crate::api::parse::Duration as Given;

/// One of the two implementations of iptables in use, or whichever the machine prefers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// What the plain names stand for on this machine.
    Default,
    /// Over the kernel's nf_tables.
    Nft,
    /// Over the kernel's older interface.
    Legacy,
}

/// The tools that program the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// iptables: the first variant that takes the rules.
    AnyIptables,
    /// iptables in this variant.
    Iptables(Variant),
    /// `nft`.
    Nft,
}

/// How the rules are used. Every value has been checked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "switches of the command line, independent of each other"
)]
pub struct Options {
    /// Print, change nothing.
    pub dry_run: bool,
    /// Change nothing.
    pub skip_apply: bool,
    /// Prove with a connection that the rules capture.
    pub validate: bool,
    /// The port that validation calls.
    pub probe_port: u16,
    /// How long validation tries.
    pub probe_timeout: Duration,
    /// Apply the rules even where they are in place.
    pub force: bool,
    /// Guard the pod while other rules are replaced, and take out what other backends hold.
    pub reconcile: bool,
    /// Take the rules out instead.
    pub cleanup: bool,
    /// The pod's network namespace; none for this process's own.
    pub network_namespace: Option<PathBuf>,
    /// Run on the node, with the pod's own lock.
    pub cni: bool,
    /// The tools.
    pub backend: Backend,
    /// Whether IPv6 is captured; none to find out from the host's addresses.
    pub ipv6: Option<bool>,
    /// The name servers; none for those of `/etc/resolv.conf`.
    pub nameservers: Option<Vec<IpAddr>>,
}

impl Options {
    /// Reads the options, as [`super::Settings::read`] does the settings.
    ///
    /// # Errors
    /// Every option that cannot be used.
    pub fn read(arg: Lookup<'_>, env: Lookup<'_>) -> Result<(Self, Vec<String>), SettingsError> {
        let mut read = Reader::new(arg, env);
        let options = Self {
            dry_run: read.switch(&flags::DRY_RUN),
            skip_apply: read.switch(&flags::SKIP_RULE_APPLY),
            validate: read.switch(&flags::RUN_VALIDATION),
            probe_port: read.port(&flags::PROBE_PORT),
            probe_timeout: read.duration(),
            force: read.switch(&flags::FORCE_APPLY),
            reconcile: read.switch(&flags::RECONCILE),
            cleanup: read.switch(&flags::CLEANUP_ONLY),
            network_namespace: Some(read.value(&flags::NETWORK_NAMESPACE).text)
                .filter(|path| !path.is_empty())
                .map(PathBuf::from),
            cni: read.switch(&flags::CNI_MODE),
            backend: read.backend(),
            ipv6: read.ipv6(),
            nameservers: read.nameservers(),
        };
        read.finish(options)
    }
}

impl Reader<'_> {
    fn duration(&mut self) -> Duration {
        let parsed = self.scalar(
            &flags::PROBE_TIMEOUT,
            "a duration above zero, such as 5s or 500ms",
            |text| {
                let duration = text.parse::<Given>().ok()?.to_std()?;
                (!duration.is_zero()).then_some(duration)
            },
        );
        parsed.unwrap_or_default()
    }

    fn backend(&mut self) -> Backend {
        let variant = self.scalar(
            &flags::FORCE_IPTABLES_BINARY,
            "legacy, nft, or nothing to try both",
            |text| match text {
                "" => Some(Backend::AnyIptables),
                "nft" => Some(Backend::Iptables(Variant::Nft)),
                "legacy" => Some(Backend::Iptables(Variant::Legacy)),
                _ => None,
            },
        );
        if self.switch(&flags::NATIVE_NFTABLES) {
            Backend::Nft
        } else {
            variant.unwrap_or(Backend::AnyIptables)
        }
    }

    fn ipv6(&mut self) -> Option<bool> {
        let known = self.scalar(&flags::HOST_IPV6, "true, false", |text| match text {
            "" => Some(None),
            "true" => Some(Some(true)),
            "false" => Some(Some(false)),
            _ => None,
        });
        known.flatten()
    }

    /// Given and empty is not the same as not given: a host without name servers.
    fn nameservers(&mut self) -> Option<Vec<IpAddr>> {
        let value = self.given(&flags::HOST_DNS)?;
        Some(self.items(&value, "IP addresses, separated by commas"))
    }
}
