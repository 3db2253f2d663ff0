//! A captured pod with a peer, and one table for what `explain` says and what packets do.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, MutexGuard, OnceLock};

use outrigger::capture::explain::{self, End, Leg, Origin, Question, Sender};
use outrigger::capture::{Family, Host, Owner, Protocol, RuleSet, Settings, plan};

use super::hand::{Call, Hand, Seen};
use super::pod::Pod;

/// How inbound connections are captured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Redirect,
    Tproxy,
    /// Nothing is applied.
    None,
}

/// What the rules are applied with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    IptablesNft,
    IptablesLegacy,
    Nft,
}

/// Every mode that captures, with every backend; and NONE, which has no backend.
const KINDS: [(Mode, Backend); 7] = [
    (Mode::Redirect, Backend::IptablesNft),
    (Mode::Redirect, Backend::IptablesLegacy),
    (Mode::Redirect, Backend::Nft),
    (Mode::Tproxy, Backend::IptablesNft),
    (Mode::Tproxy, Backend::IptablesLegacy),
    (Mode::Tproxy, Backend::Nft),
    (Mode::None, Backend::IptablesNft),
];

pub const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

/// The user and group of the application, and a group that is excluded from capture.
pub const APPLICATION: (u32, u32) = (1000, 1000);
pub const EXCLUDED_GROUP: u32 = 2002;

/// An address of either family: that of the pod, of its peer, or one that the peer has as well.
#[derive(Debug, Clone, Copy)]
pub enum At {
    Loopback,
    Pod,
    Peer,
    /// The address of a service.
    Service,
    /// A name server.
    NameServer,
    /// In a network that is excluded from capture.
    ExcludedNetwork,
    /// What a virtual machine calls.
    Anywhere,
    /// The pod's and its peer's on an interface that is excluded from capture.
    PodExcludedInterface,
    PeerExcludedInterface,
}

impl At {
    pub fn ip(self, family: Family) -> IpAddr {
        let [v4, v6] = match self {
            Self::Loopback => ["127.0.0.1", "::1"],
            Self::Pod => ["10.77.0.1", "fd77::1"],
            Self::Peer => ["10.77.0.2", "fd77::2"],
            Self::Service => ["10.96.0.7", "fd96::7"],
            Self::NameServer => ["10.96.0.10", "fd96::a"],
            Self::ExcludedNetwork => ["10.78.0.2", "fd78::2"],
            Self::Anywhere => ["10.99.0.9", "fd99::9"],
            Self::PodExcludedInterface => ["10.79.0.1", "fd79::1"],
            Self::PeerExcludedInterface => ["10.79.0.2", "fd79::2"],
        };
        let text = match family {
            Family::V4 => v4,
            Family::V6 => v6,
        };
        text.parse().unwrap()
    }

    pub fn port(self, family: Family, port: u16) -> SocketAddr {
        SocketAddr::new(self.ip(family), port)
    }
}

/// Networks and links beyond those of [`Pod::pair`]: what a service's address, an excluded network and an excluded
/// interface are made of.
const POD_LINKS: &str = "
addr add 10.79.0.1/24 dev eth7
addr add fd79::1/64 dev eth7 nodad
addr add fd77::1/64 dev eth0 nodad
link set eth7 up
route add default via 10.77.0.2
route add default via fd77::2
";
const PEER_LINKS: &str = "
addr add 10.79.0.2/24 dev eth7
addr add fd79::2/64 dev eth7 nodad
addr add fd77::2/64 dev eth0 nodad
addr add 10.96.0.7/32 dev lo
addr add fd96::7/128 dev lo
addr add 10.96.0.10/32 dev lo
addr add fd96::a/128 dev lo
addr add 10.78.0.2/32 dev lo
addr add fd78::2/128 dev lo
link set eth7 up
route add 10.99.0.0/24 via 10.79.0.1
route add fd99::/64 via fd79::1
";

/// The settings of every stage: an injected pod's, and one of each exclusion.
const FLAGS: [(&str, &str); 8] = [
    ("istio-service-cidr", "*"),
    ("istio-service-exclude-cidr", "10.78.0.0/16,fd78::/64"),
    ("istio-inbound-ports", "*"),
    ("istio-local-exclude-ports", "15090,15021,15020,9999"),
    ("istio-local-outbound-ports-exclude", "9443"),
    ("istio-exclude-interfaces", "eth7"),
    ("redirect-dns", "true"),
    ("drop-invalid", "true"),
];
const VARIABLES: [(&str, &str); 1] = [("ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE", "2002")];

/// What a test sets up besides or instead of [`FLAGS`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Given<'a> {
    pub flags: &'a [(&'a str, &'a str)],
    pub variables: &'a [(&'a str, &'a str)],
}

/// A pod whose traffic is captured, with listeners of its proxy and of its application, and a peer outside.
pub struct Stage {
    pub mode: Mode,
    pub backend: Backend,
    /// Kept for their life.
    _pods: [Pod; 2],
    hand: Hand,
    peer_hand: Hand,
    settings: Settings,
    rules: RuleSet,
    facts: explain::Pod,
}

/// A question from inside the pod or from its peer, for [`Stage::goes`].
pub fn from(origin: Origin, to: SocketAddr) -> Question {
    Question {
        origin,
        protocol: Protocol::Tcp,
        source: None,
        destination: to,
        endpoint: None,
        invalid: false,
    }
}

pub fn from_application(to: SocketAddr) -> Question {
    from(Origin::Application(sender(APPLICATION)), to)
}

pub fn from_peer(family: Family, to: SocketAddr) -> Question {
    Question {
        source: Some(At::Peer.ip(family)),
        ..from(Origin::Outside, to)
    }
}

pub fn over_udp(question: Question) -> Question {
    Question {
        protocol: Protocol::Udp,
        ..question
    }
}

pub fn sender((user, group): (u32, u32)) -> Sender {
    Sender {
        user: Owner::from(user),
        group: Owner::from(group),
    }
}

/// Runs `check` on each of the shared stages, one for each mode and backend, and in each for both families.
pub fn on_every_stage(check: impl Fn(&mut Stage, Family)) {
    static STAGES: OnceLock<Vec<OnceLock<Mutex<Stage>>>> = OnceLock::new();
    let stages = STAGES.get_or_init(|| KINDS.map(|_| OnceLock::new()).into());
    for (slot, (mode, backend)) in stages.iter().zip(KINDS) {
        let stage = slot.get_or_init(|| Mutex::new(Stage::new(mode, backend, Given::default())));
        // A test that failed in it has not harmed it: connections leave nothing behind.
        let mut stage: MutexGuard<'_, Stage> = stage.lock().unwrap_or_else(|e| e.into_inner());
        for family in FAMILIES {
            check(&mut stage, family);
        }
    }
}

/// Runs `check` on fresh stages with settings of their own, one for each mode and backend that captures.
pub fn on_stages_with(given: Given<'_>, check: impl Fn(&mut Stage, Family)) {
    for (mode, backend) in KINDS.into_iter().filter(|(mode, _)| *mode != Mode::None) {
        let mut stage = Stage::new(mode, backend, given);
        for family in FAMILIES {
            check(&mut stage, family);
        }
    }
}

impl Stage {
    pub fn new(mode: Mode, backend: Backend, given: Given<'_>) -> Self {
        let pods = Pod::pair();
        Pod::link(&pods, "eth7");
        let [pod, peer] = pods;
        pod.ip(POD_LINKS);
        peer.ip(PEER_LINKS);
        let nameservers = FAMILIES.map(|family| At::NameServer.ip(family));
        let resolv_conf: String = nameservers
            .iter()
            .map(|ip| format!("nameserver {ip}\n"))
            .collect();
        pod.bind("/etc/resolv.conf", &resolv_conf);
        let flags = flags(mode, given);
        let variables = [&VARIABLES, given.variables].concat();
        let settings = settings(&flags, &variables);
        let host = Host {
            ipv6: true,
            nameservers: nameservers.to_vec(),
        };
        let rules = match mode {
            Mode::None => RuleSet::default(),
            Mode::Redirect | Mode::Tproxy => {
                apply(&pod, backend, &flags, &variables);
                plan(&settings, &host)
            }
        };
        let own = [At::Pod, At::PodExcludedInterface];
        let addresses = own
            .into_iter()
            .flat_map(|at| FAMILIES.map(|family| at.ip(family)));
        let facts = explain::Pod::new(&settings, addresses.collect(), "eth0".parse().unwrap());
        let mut stage = Self {
            hand: Hand::of(&pod, "pod"),
            peer_hand: Hand::of(&peer, "peer"),
            mode,
            backend,
            _pods: [pod, peer],
            settings,
            rules,
            facts,
        };
        stage.listen();
        stage
    }

    /// What listens in an injected pod, and what the peer has to offer.
    fn listen(&mut self) {
        let any: [IpAddr; 2] = ["0.0.0.0".parse().unwrap(), "::".parse().unwrap()];
        let mut of_proxy = Vec::new();
        let mut of_application = Vec::new();
        for (family, any) in FAMILIES.into_iter().zip(any) {
            let loopback = At::Loopback.ip(family);
            of_proxy.extend([15001, 15006, 15008, 15020, 15021, 15090].map(|p| (false, any, p)));
            of_proxy.extend([(false, loopback, 15000), (false, loopback, 15053)]);
            of_proxy.push((true, loopback, 15053));
            of_application.extend([9080, 9443, 9999].map(|port| (false, any, port)));
            of_application.extend([(false, loopback, 8080)]);
            of_application.extend([(true, At::Pod.ip(family), 5000)]);
        }
        let transparent = self.mode == Mode::Tproxy;
        self.hand.serve(self.proxy_ids(), transparent, &of_proxy);
        self.hand.serve(APPLICATION, false, &of_application);
        let mut of_peer = Vec::new();
        for (family, any) in FAMILIES.into_iter().zip(any) {
            of_peer.extend([80, 7000, 9080, 9443, 15012].map(|port| (false, any, port)));
            // Answers of UDP come from the address that was asked only where the listener is bound to it.
            of_peer.extend([At::NameServer, At::Peer].map(|at| (true, at.ip(family), 53)));
            of_peer.extend([At::NameServer, At::Peer].map(|at| (false, at.ip(family), 53)));
        }
        self.peer_hand.serve((0, 0), false, &of_peer);
    }

    fn proxy_ids(&self) -> (u32, u32) {
        ids(&self.facts.proxy)
    }

    /// The end of a connection that capture takes for an inbound one, from outside.
    pub fn inbound(&self) -> End {
        End::Inbound {
            transparent: self.mode == Mode::Tproxy,
        }
    }

    /// What is expected with capture, and without.
    pub fn captured<'a>(&self, with: &'a [End], without: &'a [End]) -> &'a [End] {
        match self.mode {
            Mode::None => without,
            Mode::Redirect | Mode::Tproxy => with,
        }
    }

    /// Checks one entry of the table: `explain` says these ends, and every packet that it speaks of, sent for real,
    /// ends there.
    pub fn goes(&mut self, question: &Question, ends: &[End]) {
        self.goes_on("eth0", question, ends);
    }

    /// The same on another interface than the pod's usual one.
    pub fn goes_on(&mut self, interface: &str, question: &Question, ends: &[End]) {
        let facts = explain::Pod {
            interface: interface.parse().unwrap(),
            ..self.facts.clone()
        };
        let told = explain::explain(&self.settings, &self.rules, &facts, question);
        let words = explain::write(&self.settings, &told, explain::Printer::Iptables);
        let case = format!("{:?} {:?} {question:?}\n{words}", self.mode, self.backend);
        assert_eq!(told.ends(), ends, "told of {case}");
        for leg in &told.legs {
            let seen = self.send(leg, question);
            let seen = seen.unwrap_or_else(|error| panic!("{error}: {leg:?} of {case}"));
            assert_eq!(
                self.end(&seen, leg.destination),
                leg.end,
                "{seen:?} of {case}"
            );
            if let Some(source) = leg.source {
                assert_eq!(seen.peer.ip(), source, "{seen:?} of {case}");
            }
        }
    }

    /// Sends what a leg speaks of, as whoever sends it.
    fn send(&mut self, leg: &Leg, question: &Question) -> Result<Seen, String> {
        let outside = leg.origin == Origin::Outside;
        let first = leg.origin == question.origin;
        // Where the kernel chooses the source, let it.
        let source = if first { question.source } else { leg.source };
        let forged = source.filter(|_| !outside && leg.mark != 0);
        let bound = source.filter(|ip| ip.is_loopback() || is_inbound_source(*ip) || first);
        let call = Call {
            who: leg.sender.as_ref().map_or((0, 0), ids),
            udp: leg.protocol == Protocol::Udp,
            to: leg.destination,
            from: forged.or(bound).map(|ip| SocketAddr::new(ip, 0)),
            mark: leg.mark,
            seconds: 5.0,
        };
        self.call(outside, &call)
    }

    /// Opens a connection, from outside or in the pod.
    pub fn call(&mut self, outside: bool, call: &Call) -> Result<Seen, String> {
        if outside {
            self.peer_hand.call(call)
        } else {
            self.hand.call(call)
        }
    }

    /// What a listener saw, in the words of `explain`.
    fn end(&self, seen: &Seen, destination: SocketAddr) -> End {
        if seen.at == "peer" {
            return End::Leaves(seen.local);
        }
        let end = match seen.port {
            15001 => End::Outbound,
            15006 => End::Inbound {
                transparent: seen.local == destination,
            },
            15053 => End::Dns,
            _ => End::Local(seen.local),
        };
        // Who takes a connection for another must know where it was going.
        if !matches!(end, End::Dns) {
            assert_eq!(seen.original, destination, "{seen:?}");
        }
        end
    }
}

fn is_inbound_source(ip: IpAddr) -> bool {
    ["127.0.0.6", "::6"].contains(&ip.to_string().as_str())
}

fn ids(sender: &Sender) -> (u32, u32) {
    let id = |owner: &Owner| owner.to_string().parse().unwrap();
    (id(&sender.user), id(&sender.group))
}

type Pairs = Vec<(String, String)>;

/// The flags of a stage; later ones win.
fn flags(mode: Mode, given: Given<'_>) -> Pairs {
    let interception = match mode {
        Mode::Tproxy => "TPROXY",
        Mode::Redirect | Mode::None => "REDIRECT",
    };
    let mut flags = Pairs::new();
    let own = [("istio-inbound-interception-mode", interception)];
    for (name, value) in FLAGS.iter().chain(&own).chain(given.flags) {
        flags.retain(|(known, _)| known != name);
        flags.push(((*name).to_owned(), (*value).to_owned()));
    }
    flags
}

fn settings(flags: &Pairs, variables: &[(&str, &str)]) -> Settings {
    let flag = |name: &str| {
        let found = flags.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.clone())
    };
    let variable = |name: &str| {
        let found = variables.iter().rfind(|(known, _)| *known == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    Settings::read(&flag, &variable, None).unwrap().0
}

/// Applies the rules as the init container does.
fn apply(pod: &Pod, backend: Backend, flags: &Pairs, variables: &[(&str, &str)]) {
    let mut words = vec!["istio-iptables".to_owned()];
    words.extend(
        flags
            .iter()
            .map(|(name, value)| format!("--{name}={value}")),
    );
    words.push(
        match backend {
            Backend::IptablesNft => "--force-iptables-binary=nft",
            Backend::IptablesLegacy => "--force-iptables-binary=legacy",
            Backend::Nft => "--native-nftables",
        }
        .to_owned(),
    );
    words.push("--dual-stack".to_owned());
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    pod.agent_with(variables, &words).unwrap();
}
