//! The flags of `istio-iptables`, in one table: names, environment, defaults, meaning.

/// A setting of capture: a flag, an environment variable, or both.
#[derive(Debug, Clone, Copy)]
pub struct Flag {
    /// The long name without dashes; empty where there is only an environment variable.
    pub long: &'static str,
    /// The short name.
    pub short: Option<char>,
    /// Environment variables, the first one set counts; the flag itself wins over them.
    pub env: &'static [&'static str],
    /// What counts where nothing is given.
    pub default: &'static str,
    /// It stands for true when given without a value.
    pub switch: bool,
    /// One line for people.
    pub help: &'static str,
}

impl Flag {
    const fn value(
        long: &'static str,
        short: char,
        env: &'static [&'static str],
        default: &'static str,
    ) -> Self {
        Self {
            long,
            short: Some(short),
            env,
            default,
            switch: false,
            help: "",
        }
    }

    /// A value without a short name.
    const fn long(long: &'static str, env: &'static [&'static str], default: &'static str) -> Self {
        Self {
            long,
            short: None,
            env,
            default,
            switch: false,
            help: "",
        }
    }

    const fn switch(long: &'static str, env: &'static [&'static str]) -> Self {
        Self {
            long,
            short: None,
            env,
            default: "false",
            switch: true,
            help: "",
        }
    }

    const fn variable(env: &'static [&'static str], default: &'static str) -> Self {
        Self {
            long: "",
            short: None,
            env,
            default,
            switch: false,
            help: "",
        }
    }

    const fn short(self, short: char) -> Self {
        Self {
            short: Some(short),
            ..self
        }
    }

    const fn help(self, help: &'static str) -> Self {
        Self { help, ..self }
    }
}

pub(super) const PROXY_PORT: Flag = Flag::value("envoy-port", 'p', &[], "15001")
    .help("The proxy's port for connections that leave the pod");
pub(super) const INBOUND_PORT: Flag = Flag::value(
    "inbound-capture-port",
    'z',
    &["INBOUND_CAPTURE_PORT"],
    "15006",
)
.help("The proxy's port for connections that enter the pod");
pub(super) const TUNNEL_PORT: Flag = Flag::value(
    "inbound-tunnel-port",
    'e',
    &["INBOUND_TUNNEL_PORT"],
    "15008",
)
.help("Port of tunnels between proxies, never captured");
pub(super) const PROXY_UID: Flag = Flag::value("proxy-uid", 'u', &["PROXY_UID"], "")
    .help("Users whose connections are not captured: the proxy's own");
pub(super) const PROXY_GID: Flag = Flag::value("proxy-gid", 'g', &["PROXY_GID"], "")
    .help("Groups whose connections are not captured");
pub(super) const MODE: Flag = Flag::value(
    "istio-inbound-interception-mode",
    'm',
    &["ISTIO_INBOUND_INTERCEPTION_MODE"],
    "",
)
.help("How inbound connections are captured: REDIRECT or TPROXY");
pub(super) const INBOUND: Flag =
    Flag::value("istio-inbound-ports", 'b', &["ISTIO_INBOUND_PORTS"], "")
        .help("Inbound ports to capture; * for all, empty for none");
pub(super) const INBOUND_EXCLUDE: Flag = Flag::value(
    "istio-local-exclude-ports",
    'd',
    &["ISTIO_LOCAL_EXCLUDE_PORTS"],
    "",
)
.help("Inbound ports not to capture where all others are");
pub(super) const EXCLUDE_INTERFACES: Flag = Flag::value(
    "istio-exclude-interfaces",
    'c',
    &["ISTIO_EXCLUDE_INTERFACES"],
    "",
)
.help("Interfaces on which nothing is captured");
pub(super) const OUTBOUND: Flag =
    Flag::value("istio-service-cidr", 'i', &["ISTIO_SERVICE_CIDR"], "")
        .help("Networks to which connections are captured; * for all, empty for none");
pub(super) const OUTBOUND_EXCLUDE: Flag = Flag::value(
    "istio-service-exclude-cidr",
    'x',
    &["ISTIO_SERVICE_EXCLUDE_CIDR"],
    "",
)
.help("Networks to which connections are not captured");
pub(super) const OUTBOUND_PORTS: Flag =
    Flag::value("istio-outbound-ports", 'q', &["ISTIO_OUTBOUND_PORTS"], "")
        .help("Ports to which connections are captured whatever the address");
pub(super) const OUTBOUND_PORTS_EXCLUDE: Flag = Flag::value(
    "istio-local-outbound-ports-exclude",
    'o',
    &["ISTIO_LOCAL_OUTBOUND_PORTS_EXCLUDE"],
    "",
)
.help("Ports to which connections are not captured");
pub(super) const REROUTE_INTERFACES: Flag =
    Flag::value("kube-virt-interfaces", 'k', &["KUBE_VIRT_INTERFACES"], "")
        .help("Interfaces of virtual machines: what arrives there counts as outbound");
pub(super) const TPROXY_MARK: Flag = Flag::value(
    "istio-inbound-tproxy-mark",
    't',
    &["ISTIO_INBOUND_TPROXY_MARK"],
    "1337",
)
.help("Mark of packets that TPROXY hands over");
pub(super) const TPROXY_TABLE: Flag = Flag::value(
    "istio-inbound-tproxy-route-table",
    'r',
    &["ISTIO_INBOUND_TPROXY_ROUTE_TABLE"],
    "133",
)
.help("Routing table for marked packets");
pub(super) const REDIRECT_DNS: Flag =
    Flag::switch("redirect-dns", &["REDIRECT_DNS", "ISTIO_META_DNS_CAPTURE"])
        .help("Capture DNS queries to the name servers of /etc/resolv.conf");
pub(super) const ALL_DNS: Flag = Flag::switch("capture-all-dns", &["CAPTURE_ALL_DNS"])
    .help("With --redirect-dns: queries to any server");
pub(super) const DROP_INVALID: Flag =
    Flag::switch("drop-invalid", &["DROP_INVALID", "INVALID_DROP"])
        .help("Drop packets that belong to no connection");
pub(super) const DUAL_STACK: Flag = Flag::switch("dual-stack", &["DUAL_STACK", "ISTIO_DUAL_STACK"])
    .help("The pod has addresses of both families");
pub(super) const OWNER_GROUPS: Flag = Flag::variable(&["ISTIO_OUTBOUND_OWNER_GROUPS"], "*");
pub(super) const OWNER_GROUPS_EXCLUDE: Flag =
    Flag::variable(&["ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE"], "");
pub(super) const LOOPBACK: Flag =
    Flag::variable(&["ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR"], "127.0.0.1/32");

pub(super) const DRY_RUN: Flag = Flag::switch("dry-run", &["DRY_RUN"])
    .short('n')
    .help("Print what the tools would be fed, change nothing");
pub(super) const SKIP_RULE_APPLY: Flag =
    Flag::switch("skip-rule-apply", &["SKIP_RULE_APPLY"]).help("Change nothing");
pub(super) const RUN_VALIDATION: Flag = Flag::switch("run-validation", &["RUN_VALIDATION"])
    .help("Prove with a connection that the rules capture");
pub(super) const PROBE_PORT: Flag =
    Flag::long("iptables-probe-port", &["IPTABLES_PROBE_PORT"], "15002")
        .help("Port that --run-validation calls; nothing listens there");
pub(super) const PROBE_TIMEOUT: Flag =
    Flag::long("probe-timeout", &["PROBE_TIMEOUT"], "5s").help("How long --run-validation tries");
pub(super) const FORCE_APPLY: Flag = Flag::switch("force-apply", &["FORCE_APPLY"])
    .help("Apply the rules even where they are in place");
pub(super) const RECONCILE: Flag = Flag::switch("reconcile", &["RECONCILE"]).help(
    "Let no packet pass while other rules are replaced, and take out rules that other backends hold",
);
pub(super) const CLEANUP_ONLY: Flag = Flag::switch("cleanup-only", &["CLEANUP_ONLY"])
    .help("Take the rules out instead, whatever flags they were made with");
pub(super) const NETWORK_NAMESPACE: Flag =
    Flag::long("network-namespace", &["NETWORK_NAMESPACE"], "")
        .help("Path of the pod's network namespace, where it is not this process's own");
pub(super) const CNI_MODE: Flag = Flag::switch("cni-mode", &["CNI_MODE"])
    .help("Run on the node: take the pod's lock, not the node's");
pub(super) const NATIVE_NFTABLES: Flag =
    Flag::switch("native-nftables", &["NATIVE_NFTABLES"]).help("Rules for nft instead of iptables");
pub(super) const FORCE_IPTABLES_BINARY: Flag =
    Flag::long("force-iptables-binary", &["FORCE_IPTABLES_BINARY"], "")
        .help("The variant of iptables: legacy or nft; empty: the first that takes the rules");
pub(super) const HOST_IPV6: Flag = Flag::long("host-ipv6", &[], "")
    .help("Capture IPv6 too (true or false) whatever addresses this host has");
pub(super) const HOST_DNS: Flag = Flag::long("host-dns", &[], "")
    .help("Name servers instead of those in /etc/resolv.conf, separated by commas");

/// What decides how the rules are used, and is no part of them.
pub const RUN_FLAGS: [Flag; 14] = [
    DRY_RUN,
    SKIP_RULE_APPLY,
    RUN_VALIDATION,
    PROBE_PORT,
    PROBE_TIMEOUT,
    FORCE_APPLY,
    RECONCILE,
    CLEANUP_ONLY,
    NETWORK_NAMESPACE,
    CNI_MODE,
    NATIVE_NFTABLES,
    FORCE_IPTABLES_BINARY,
    HOST_IPV6,
    HOST_DNS,
];

/// Every setting of capture. Those without a long name come from the environment alone.
pub const FLAGS: [Flag; 23] = [
    PROXY_PORT,
    INBOUND_PORT,
    TUNNEL_PORT,
    PROXY_UID,
    PROXY_GID,
    MODE,
    INBOUND,
    INBOUND_EXCLUDE,
    EXCLUDE_INTERFACES,
    OUTBOUND,
    OUTBOUND_EXCLUDE,
    OUTBOUND_PORTS,
    OUTBOUND_PORTS_EXCLUDE,
    REROUTE_INTERFACES,
    TPROXY_MARK,
    TPROXY_TABLE,
    REDIRECT_DNS,
    ALL_DNS,
    DROP_INVALID,
    DUAL_STACK,
    OWNER_GROUPS,
    OWNER_GROUPS_EXCLUDE,
    LOOPBACK,
];
