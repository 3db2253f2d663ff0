//! The command line: `istio-iptables`, `istio-clean-iptables`, `proxy`, `wait`, `request`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command};
use tracing::{error, info};

use crate::capture::{FLAGS, Flag, RUN_FLAGS};
use crate::runtime::logs::{self, LogFormat};

/// Flags of `pilot-agent` that are accepted and have no effect here: the name, and whether a value follows.
///
/// Older versions gave their mesh's settings as flags of `proxy`; today's come as `PROXY_CONFIG`.
const WITHOUT_EFFECT: &[(&str, &str, bool)] = &[
    ("proxy", "applicationPorts", true),
    ("proxy", "availabilityZone", true),
    ("proxy", "connectTimeout", true),
    ("proxy", "controlPlaneAuthPolicy", true),
    ("proxy", "controlPlaneBootstrap", false),
    ("proxy", "customConfigFile", true),
    ("proxy", "disableInternalTelemetry", false),
    ("proxy", "discoveryAddress", true),
    ("proxy", "discoveryRefreshDelay", true),
    ("proxy", "dnsRefreshRate", true),
    ("proxy", "ip", true),
    ("proxy", "kubeAppProberConfig", true),
    ("proxy", "lightstepAccessToken", true),
    ("proxy", "lightstepAddress", true),
    ("proxy", "meshConfig", true),
    ("proxy", "mixerIdentity", true),
    ("proxy", "outlierLogPath", true),
    ("proxy", "parentShutdownDuration", true),
    ("proxy", "pilotIdentity", true),
    ("proxy", "serviceregistry", true),
    ("proxy", "statsdUdpAddress", true),
    ("proxy", "stsPort", true),
    ("proxy", "templateFile", true),
    ("proxy", "tokenManagerPlugin", true),
    ("proxy", "trust-domain", true),
    ("proxy", "zipkinAddress", true),
    ("istio-iptables", "iptables-trace-logging", false),
    ("istio-iptables", "iptables-version", true),
    ("istio-iptables", "restore-format", false),
    ("", "log_caller", true),
    ("", "log_rotate", true),
    ("", "log_rotate_max_age", true),
    ("", "log_rotate_max_backups", true),
    ("", "log_rotate_max_size", true),
    ("", "log_stacktrace_level", true),
    ("", "log_target", true),
    ("", "vklog", true),
];

/// Runs the program with the arguments of this process.
#[must_use]
pub fn main() -> ExitCode {
    let matches = command().get_matches_from(words(std::env::args_os().collect()));
    let json = switched_on(&matches, "log_as_json");
    let level = log_level(matches.get_one::<String>("log_output_level"));
    let format = if json {
        LogFormat::Json
    } else {
        LogFormat::Text
    };
    if let Err(error) = logs::init(format, &level) {
        eprintln!("{error}");
        return ExitCode::FAILURE;
    }
    let Some((name, arguments)) = matches.subcommand() else {
        return ExitCode::FAILURE;
    };
    let ignored: Vec<&str> = without_effect(name)
        .filter(|(_, flag, _)| given(arguments, flag))
        .map(|(_, flag, _)| *flag)
        .collect();
    if !ignored.is_empty() {
        info!(flags = ignored.join(", "), "accepted, without effect");
    }
    let result = match name {
        "istio-iptables" => super::capture::run(arguments),
        "istio-clean-iptables" => super::capture::clean(arguments),
        "proxy" => super::proxy::run(arguments, json),
        "wait" => super::probe::wait(arguments),
        _ => super::probe::request(arguments),
    };
    result.unwrap_or_else(|failure| {
        error!("{failure:#}");
        ExitCode::FAILURE
    })
}

/// Older versions called the two programs of capture by names of their own: then that name is the subcommand.
fn words(mut words: Vec<OsString>) -> Vec<OsString> {
    let program = words.first().map(PathBuf::from);
    let name = program
        .as_deref()
        .and_then(Path::file_name)
        .map(OsString::from)
        .unwrap_or_default();
    if name == "istio-iptables" || name == "istio-clean-iptables" {
        words.insert(1, name);
    }
    words
}

/// The value of a flag, where it was given.
pub(super) fn text(matches: &ArgMatches, flag: &str) -> Option<String> {
    matches.try_get_one::<String>(flag).ok().flatten().cloned()
}

/// Whether a switch was given and does not say false.
pub(super) fn switched_on(matches: &ArgMatches, flag: &str) -> bool {
    text(matches, flag).is_some_and(|value| value != "false")
}

fn given(matches: &ArgMatches, flag: &str) -> bool {
    matches.value_source(flag) == Some(clap::parser::ValueSource::CommandLine)
}

fn without_effect(
    subcommand: &str,
) -> impl Iterator<Item = &'static (&'static str, &'static str, bool)> {
    WITHOUT_EFFECT
        .iter()
        .filter(move |(of, _, _)| of.is_empty() || *of == subcommand)
}

/// The level of our own logs, from Istio's `scope:level` list: the level of `default`, or of no scope at all.
/// Istio's other scopes don't exist here.
fn log_level(given: Option<&String>) -> String {
    let levels = given.map(String::as_str).unwrap_or_default();
    let default = levels
        .split(',')
        .find_map(|item| match item.split_once(':') {
            None => Some(item.trim()),
            Some((scope, level)) => {
                matches!(scope.trim(), "default" | "all").then_some(level.trim())
            }
        });
    match default {
        Some("none") => "off",
        Some("fatal" | "error") => "error",
        Some("warn" | "warning") => "warn",
        Some("debug") => "debug",
        Some("trace") => "trace",
        _ => "info",
    }
    .to_owned()
}

fn value(long: &'static str, help: &'static str) -> Arg {
    Arg::new(long)
        .long(long)
        .help(help)
        .num_args(1)
        .allow_hyphen_values(true)
        .action(ArgAction::Set)
        .global(false)
}

/// A switch as Go's flags know it: `--x`, `--x=true`, `--x=false`.
fn switch(long: &'static str, help: &'static str) -> Arg {
    Arg::new(long)
        .long(long)
        .help(help)
        .num_args(0..=1)
        .require_equals(true)
        .default_missing_value("true")
}

fn command() -> Command {
    let root = Command::new("outrigger-agent")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Captures a pod's traffic and runs its proxy")
        .subcommand_required(true)
        .arg(value("log_output_level", "Levels of logs, as in default:info").global(true))
        .arg(switch("log_as_json", "Logs as JSON").global(true));
    [iptables(), clean_iptables(), proxy(), wait(), request()]
        .into_iter()
        .fold(root, |root, subcommand| {
            let name = subcommand.get_name().to_owned();
            let ignored = without_effect(&name).map(|(_, flag, has_value)| {
                if *has_value {
                    value(flag, "").hide(true)
                } else {
                    switch(flag, "").hide(true)
                }
            });
            root.subcommand(subcommand.args(ignored))
        })
}

fn arguments(flags: &'static [Flag]) -> impl Iterator<Item = Arg> {
    flags
        .iter()
        .filter(|flag| !flag.long.is_empty())
        .map(|flag| {
            let arg = if flag.switch {
                switch(flag.long, flag.help)
            } else {
                value(flag.long, flag.help)
            };
            match flag.short {
                Some(short) => arg.short(short),
                None => arg,
            }
        })
}

fn iptables() -> Command {
    Command::new("istio-iptables")
        .args_override_self(true)
        .about("Programs the rules that send a pod's connections to its proxy")
        .args(arguments(&FLAGS))
        .args(arguments(&RUN_FLAGS))
}

fn clean_iptables() -> Command {
    Command::new("istio-clean-iptables")
        .args_override_self(true)
        .about("Takes out the rules of istio-iptables, whatever flags they were made with")
        .args(arguments(&FLAGS))
        .args(arguments(&RUN_FLAGS))
}

fn proxy() -> Command {
    Command::new("proxy")
        .args_override_self(true)
        .about("Runs Envoy as a sidecar or as a gateway")
        .arg(
            Arg::new("role")
                .help("sidecar: beside an application. router: a gateway.")
                .value_parser(["sidecar", "router"])
                .default_value("sidecar"),
        )
        .arg(value("domain", "DNS domain of the pod's namespace"))
        .arg(value("configPath", "Directory for Envoy's configuration"))
        .arg(value("binaryPath", "Envoy"))
        .arg(value("serviceCluster", "Envoy's cluster name"))
        .arg(value("drainDuration", "How long Envoy drains connections"))
        .arg(value("proxyAdminPort", "Port of Envoy's admin interface"))
        .arg(value(
            "statusPort",
            "Port of the agent's own health and metrics",
        ))
        .arg(value(
            "concurrency",
            "Worker threads of Envoy; 0 for one a core",
        ))
        .arg(value("proxyLogLevel", "Envoy's log level"))
        .arg(value(
            "proxyComponentLogLevel",
            "Envoy's log levels by component",
        ))
        .arg(value(
            "gatewayPorts",
            "File with the ports that a router listens on",
        ))
}

fn wait() -> Command {
    Command::new("wait")
        .about("Waits until the proxy is ready")
        .arg(value("timeoutSeconds", "How long to wait").default_value("60"))
        .arg(value("requestTimeoutMillis", "How long one question may take").default_value("500"))
        .arg(value("periodMillis", "Time between two questions").default_value("500"))
        .arg(value("url", "What to ask").default_value("http://127.0.0.1:15021/healthz/ready"))
}

fn request() -> Command {
    Command::new("request")
        .about("Asks Envoy's admin interface, or the agent with --debug-port=15020")
        .arg(value("debug-port", "Port to ask on this host").default_value("15000"))
        .arg(Arg::new("method").help("GET or POST").required(true))
        .arg(
            Arg::new("path")
                .help("Such as stats or drain")
                .required(true),
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn arguments_of_every_version_of_the_injected_pods_are_accepted() {
        let lines = [
            "proxy sidecar --domain ns.svc.cluster.local --proxyLogLevel=warning \
             --proxyComponentLogLevel=misc:error --log_output_level=default:info",
            "proxy sidecar --domain ns.svc.cluster.local --configPath /etc/istio/proxy --binaryPath /usr/local/bin/envoy \
             --serviceCluster productpage.ns --drainDuration 45s --parentShutdownDuration 1m0s \
             --discoveryAddress istiod.istio-system.svc:15012 --zipkinAddress zipkin.istio-system:9411 \
             --proxyLogLevel=warning --proxyComponentLogLevel=misc:error --connectTimeout 10s --proxyAdminPort 15000 \
             --concurrency 2 --controlPlaneAuthPolicy NONE --dnsRefreshRate 300s --statusPort 15020 \
             --trust-domain=cluster.local --controlPlaneBootstrap=false",
            "proxy --serviceregistry Consul --serviceCluster productpage-v1 --zipkinAddress zipkin:9411 \
             --configPath /var/lib/istio",
            "proxy router --domain ns.svc.cluster.local --log_as_json",
            "istio-iptables -p 15001 -z 15006 -u 1337 -m REDIRECT -i * -x  -b * -d 15090,15021,15020 \
             --log_output_level=default:info",
            "wait",
            "request --debug-port=15020 POST drain",
            "request GET stats",
        ];
        for line in lines {
            // Two blanks stand for an empty argument, as in `-x ""`.
            let words = line.replace(" \u{20}             ", " ");
            let words = ["outrigger-agent"].into_iter().chain(words.split(' '));
            if let Err(error) = command().try_get_matches_from(words) {
                panic!("{line}: {error}");
            }
        }
    }

    #[test]
    fn a_program_called_istio_iptables_is_that_subcommand() {
        let given = |line: &str| words(line.split(' ').map(OsString::from).collect());
        let wanted: Vec<OsString> = [
            "/usr/local/bin/istio-iptables",
            "istio-iptables",
            "-p",
            "15001",
        ]
        .map(OsString::from)
        .into();
        assert_eq!(given("/usr/local/bin/istio-iptables -p 15001"), wanted);
        assert_eq!(given("pilot-agent wait"), ["pilot-agent", "wait"]);
    }

    #[test]
    fn the_default_scope_decides_the_level() {
        for (given, wanted) in [
            ("", "info"),
            ("default:info", "info"),
            ("debug", "debug"),
            ("ads:debug,default:warning", "warn"),
            ("ads:debug", "info"),
            ("default:none", "off"),
            ("nonsense", "info"),
        ] {
            assert_eq!(log_level(Some(&given.to_owned())), wanted, "{given}");
        }
    }
}
