//! `outrigger explain capture`: which rule of capture decides about a packet, and where it ends.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail, ensure};
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::init_container::{self, Injected};
use crate::capture::explain::{self, Origin, Pod, Printer, Question, Sender};
use crate::capture::{
    DnsCapture, FLAGS, Family, Host, Interface, Owner, Protocol, RuleSet, Settings, captures_ipv6,
    plan,
};
use crate::cli::cluster::Access;

/// Flags of a pod that was injected without any settings of its own.
const INJECTED: [(&str, &str); 3] = [
    ("istio-service-cidr", "*"),
    ("istio-inbound-ports", "*"),
    ("istio-local-exclude-ports", "15090,15021,15020"),
];

/// Arguments of `outrigger explain capture`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Who sends the packet
    #[arg(long, value_enum)]
    from: From,
    /// Where it goes
    #[arg(long, value_name = "IP:PORT")]
    dst: SocketAddr,
    /// Where it comes from, if that matters
    #[arg(long, value_name = "IP")]
    src: Option<IpAddr>,
    /// Its protocol
    #[arg(long, value_enum, default_value_t = Transport::Tcp)]
    protocol: Transport,
    /// User that the application runs as [default: the pod's, else 1000]
    #[arg(long, value_name = "ID", value_parser = owner)]
    uid: Option<Owner>,
    /// Group that the application runs as [default: the pod's, else that of --uid]
    #[arg(long, value_name = "ID", value_parser = owner)]
    gid: Option<Owner>,
    /// Endpoint that the proxy picks where --dst is a service's address
    #[arg(long, value_name = "IP:PORT")]
    endpoint: Option<SocketAddr>,
    /// Interface of the pod's network, on which packets from outside arrive
    #[arg(long, value_name = "NAME", default_value = "eth0", value_parser = interface)]
    interface: Interface,
    /// The packet belongs to no connection that could exist
    #[arg(long)]
    invalid: bool,
    /// An injected pod, by its name: of --filename, else of the cluster
    #[arg(long, value_name = "POD")]
    pod: Option<String>,
    /// File with the manifest of an injected pod or workload, or `-`
    #[arg(short, long, value_name = "FILE")]
    filename: Option<PathBuf>,
    #[command(flatten)]
    access: Access,
    /// Addresses of the pod, separated by commas [default: those of its status]
    #[arg(long, value_name = "IPS", value_delimiter = ',')]
    pod_ips: Vec<IpAddr>,
    /// Name servers of the pod's /etc/resolv.conf, separated by commas
    #[arg(long, value_name = "IPS", value_delimiter = ',')]
    host_dns: Vec<IpAddr>,
    /// Environment variable of istio-iptables
    #[arg(long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// Chains and rules in the spelling of nft
    #[arg(long)]
    native_nftables: bool,
    // After `access`, whose -i it takes.
    #[command(flatten)]
    flags: CaptureFlags,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum From {
    /// A process of the application
    App,
    /// The proxy or its agent
    Proxy,
    /// Another pod or the node
    Outside,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Transport {
    Tcp,
    Udp,
}

/// The flags of `istio-iptables`, those that were given.
#[derive(Debug, Clone, Default)]
struct CaptureFlags(BTreeMap<String, String>);

impl clap::FromArgMatches for CaptureFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = FLAGS.iter().filter_map(|flag| {
            let value = matches.try_get_one::<String>(flag.long).ok().flatten()?;
            Some((flag.long.to_owned(), value.clone()))
        });
        Ok(Self(given.collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl clap::Args for CaptureFlags {
    fn augment_args(command: Command) -> Command {
        // Here -i is that of istio-iptables; no mesh configuration is read.
        let command = command.mut_arg("istio_namespace", |arg| arg.short(None).hide(true));
        let named = FLAGS.iter().filter(|flag| !flag.long.is_empty());
        named.fold(command, |command, flag| {
            let mut arg = Arg::new(flag.long)
                .long(flag.long)
                .help(flag.help)
                .help_heading("Flags of istio-iptables")
                .action(ArgAction::Set)
                .allow_hyphen_values(true);
            if flag.switch {
                arg = arg
                    .num_args(0..=1)
                    .require_equals(true)
                    .default_missing_value("true");
            }
            command.arg(match flag.short {
                Some(short) => arg.short(short),
                None => arg,
            })
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl Arguments {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let injected = self.injected()?;
        let (settings, notices) = self.settings(&injected)?;
        for notice in notices {
            eprintln!("warning: {notice}");
        }
        let pod = self.pod_facts(&settings, &injected);
        let rules = self.rules(&settings, &injected, &pod);
        let question = self.question(&injected);
        let journey = explain::explain(&settings, &rules, &pod, &question);
        let printer = if self.native_nftables || injected.native_nftables {
            Printer::Nftables
        } else {
            Printer::Iptables
        };
        print!("{}", explain::write(&settings, &journey, printer));
        Ok(ExitCode::SUCCESS)
    }

    /// The pod that was named, or one that has the flags of the command line.
    fn injected(&self) -> anyhow::Result<Injected> {
        let of_pod = match (&self.filename, &self.pod) {
            (Some(path), name) => Some(init_container::of_file(path, name.as_deref())?),
            (None, Some(name)) => {
                let pod = self.access.connect()?.pod(name)?;
                Some(init_container::of_pod(&pod).with_context(|| format!("pod {name:?}"))?)
            }
            (None, None) => None,
        };
        if let Some(injected) = of_pod {
            ensure!(
                self.flags.0.is_empty() && self.env.is_empty(),
                "flags of istio-iptables go without --pod and --filename: the pod's own count"
            );
            return Ok(injected);
        }
        let mut injected = Injected {
            captured: true,
            flags: self.flags.0.clone(),
            ..Injected::default()
        };
        for variable in &self.env {
            let Some((name, value)) = variable.split_once('=') else {
                bail!("--env {variable:?}: allowed: NAME=VALUE");
            };
            injected.env.insert(name.to_owned(), value.to_owned());
        }
        if injected.flags.is_empty() && injected.env.is_empty() {
            eprintln!(
                "no pod and no flags: the rules of a pod that is injected without settings of its own"
            );
            let flags = INJECTED.map(|(name, value)| (name.to_owned(), value.to_owned()));
            injected.flags.extend(flags);
        }
        Ok(injected)
    }

    fn settings(&self, injected: &Injected) -> anyhow::Result<(Settings, Vec<String>)> {
        let flag = |name: &str| injected.flags.get(name).cloned();
        let variable = |name: &str| injected.env.get(name).cloned();
        Ok(Settings::read(&flag, &variable, None)?)
    }

    fn pod_facts(&self, settings: &Settings, injected: &Injected) -> Pod {
        let addresses = if self.pod_ips.is_empty() {
            injected.addresses.clone()
        } else {
            self.pod_ips.clone()
        };
        let mut pod = Pod::new(settings, addresses, self.interface.clone());
        if let Some(proxy) = &injected.proxy {
            pod.proxy = proxy.clone();
        }
        pod
    }

    fn rules(&self, settings: &Settings, injected: &Injected, pod: &Pod) -> RuleSet {
        if !injected.captured {
            eprintln!(
                "the pod has no container that applies rules (istio-init, or istio-validation with a CNI plugin): nothing is captured"
            );
            return RuleSet::default();
        }
        let mut host = Host {
            // Of a pod whose addresses are not known it is assumed.
            ipv6: captures_ipv6(&pod.addresses, settings.dual_stack).unwrap_or(true),
            nameservers: self.host_dns.clone(),
        };
        if !host.ipv6 && Family::of(&self.dst.ip()) == Family::V6 {
            eprintln!(
                "IPv6 is not captured in this pod: it has IPv4 addresses too, and --dual-stack is off, or it has none of IPv6"
            );
            return RuleSet::default();
        }
        let asks_for_dns = self.dst.port() == 53 && settings.dns == DnsCapture::NameServers;
        if asks_for_dns && host.nameservers.is_empty() {
            eprintln!(
                "{} is taken for a name server of the pod's /etc/resolv.conf (--host-dns says which there are)",
                self.dst.ip()
            );
            host.nameservers.push(self.dst.ip());
        }
        plan(settings, &host)
    }

    fn question(&self, injected: &Injected) -> Question {
        let default = || injected.application.clone();
        let user = self
            .uid
            .clone()
            .or(default().map(|sender| sender.user))
            .unwrap_or(Owner::from(1000));
        let group = self
            .gid
            .clone()
            .or(default().map(|sender| sender.group))
            .unwrap_or(user.clone());
        Question {
            origin: match self.from {
                From::App => Origin::Application(Sender { user, group }),
                From::Proxy => Origin::Proxy,
                From::Outside => Origin::Outside,
            },
            protocol: match self.protocol {
                Transport::Tcp => Protocol::Tcp,
                Transport::Udp => Protocol::Udp,
            },
            source: self.src,
            destination: self.dst,
            endpoint: self.endpoint,
            invalid: self.invalid,
        }
    }
}

fn owner(text: &str) -> Result<Owner, &'static str> {
    text.parse().map_err(|()| "allowed: an id or a name")
}

fn interface(text: &str) -> Result<Interface, &'static str> {
    text.parse()
        .map_err(|()| "allowed: the name of an interface, such as eth0")
}
