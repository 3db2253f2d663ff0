//! `--run-validation`: a connection that must be captured, and where it arrives.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::socket::{getsockopt, sockopt};
use tracing::info;

use super::host::{self, Facts};
use crate::capture::{Cidr, Family, Options, OwnerGroups, Ranges, Settings};

/// Between two attempts; rules that others set up may be a moment away.
const PAUSE: Duration = Duration::from_millis(100);

/// Addresses that are nobody's, for connections that must not leave the pod (RFC 5737 and 3849).
const NOBODY: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
];

/// Why capture is not proven.
#[derive(Debug, thiserror::Error)]
pub(super) enum ValidationError {
    /// A port of the proxy is taken.
    #[error(
        "validation failed: listening on {address}: {source}; it must run before the proxy does"
    )]
    Listen {
        address: SocketAddr,
        source: std::io::Error,
    },
    /// The connection did not arrive.
    #[error(
        "validation failed: {family}: a connection to {destination} as user {user} was not captured within \
         {timeout:?}: {why}; the rules of istio-iptables are not in place"
    )]
    NotCaptured {
        family: Family,
        destination: SocketAddr,
        user: u32,
        timeout: Duration,
        why: String,
    },
    /// It arrived at the wrong place.
    #[error(
        "validation failed: {family}: a connection to {destination} arrived on port {port} with original destination \
         {original}; expected were port {expected} and the destination itself"
    )]
    Wrong {
        family: Family,
        destination: SocketAddr,
        port: u16,
        original: String,
        expected: u16,
    },
}

/// A connection that the rules must capture.
struct Probe {
    family: Family,
    destination: SocketAddr,
    /// The port on which it must arrive.
    port: u16,
}

/// A connection that arrived.
struct Arrival {
    peer: SocketAddr,
    port: u16,
    original: Result<SocketAddr, String>,
}

/// Proves for each family that connections are captured and keep their original destination.
pub(super) fn run(
    settings: &Settings,
    options: &Options,
    facts: &Facts,
) -> Result<(), ValidationError> {
    for family in facts.host.families() {
        let Some(probe) = probe(*family, settings, options, facts) else {
            info!("{family}: no connection of this user is to be captured: nothing to prove");
            continue;
        };
        let arrivals = listen(*family, settings)?;
        prove(&probe, options.probe_timeout, &arrivals)?;
        info!(
            destination = probe.destination.to_string(),
            port = probe.port,
            "{family}: capture is proven"
        );
    }
    Ok(())
}

/// As the proxy's user a call to the pod itself, which must enter the proxy as an inbound connection (the rules have
/// this whatever is captured). As any other user one that leaves the pod.
fn probe(family: Family, settings: &Settings, options: &Options, facts: &Facts) -> Option<Probe> {
    let (user, group) = host::own_ids();
    let is_proxy = host::names(&settings.proxy_users, user, "/etc/passwd")
        || host::names(&settings.proxy_groups, group, "/etc/group");
    let (address, port) = if is_proxy {
        (
            own_destination(family, settings, facts)?,
            settings.inbound_port,
        )
    } else {
        (
            outbound_destination(family, settings, options, group)?,
            settings.proxy_port,
        )
    };
    Some(Probe {
        family,
        destination: SocketAddr::new(address, options.probe_port),
        port,
    })
}

/// As Istio does, the address from which the proxy calls the application; the pod's own where that one counts as
/// loopback. Over IPv6 always the pod's own: a call to ::6 also comes from there, by which the rules let it pass.
fn own_destination(family: Family, settings: &Settings, facts: &Facts) -> Option<IpAddr> {
    let source = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 6));
    if family == Family::V6 || settings.loopback.contains(source) {
        host::own_address(&facts.addresses, family)
    } else {
        Some(source)
    }
}

fn outbound_destination(
    family: Family,
    settings: &Settings,
    options: &Options,
    group: u32,
) -> Option<IpAddr> {
    let group_is_captured = match &settings.owner_groups {
        OwnerGroups::AllBut(groups) => !host::names(groups, group, "/etc/group"),
        OwnerGroups::Only(groups) => host::names(groups, group, "/etc/group"),
    };
    let excluded = |address: &IpAddr| {
        settings
            .outbound_exclude
            .iter()
            .any(|c| c.contains(*address))
    };
    if !group_is_captured
        || settings
            .outbound_ports_exclude
            .contains(&options.probe_port)
    {
        return None;
    }
    let addresses: Vec<IpAddr> = match &settings.outbound {
        Ranges::All => NOBODY.to_vec(),
        Ranges::Only(ranges) => ranges.iter().map(Cidr::address).collect(),
    };
    addresses
        .into_iter()
        .filter(|address| !address.is_loopback() && !address.is_unspecified())
        .find(|address| Family::of(address) == family && !excluded(address))
}

/// Listens on the proxy's ports.
fn listen(family: Family, settings: &Settings) -> Result<Receiver<Arrival>, ValidationError> {
    let loopback = match family {
        Family::V4 => IpAddr::V4(Ipv4Addr::LOCALHOST),
        Family::V6 => IpAddr::V6(Ipv6Addr::LOCALHOST),
    };
    let (sender, arrivals) = mpsc::channel();
    for port in [settings.proxy_port, settings.inbound_port] {
        let address = SocketAddr::new(loopback, port);
        let listener = TcpListener::bind(address)
            .map_err(|source| ValidationError::Listen { address, source })?;
        let sender = sender.clone();
        // Ends with the process, which is soon.
        thread::spawn(move || accept(&listener, port, &sender));
    }
    Ok(arrivals)
}

fn accept(listener: &TcpListener, port: u16, sender: &Sender<Arrival>) {
    while let Ok((stream, peer)) = listener.accept() {
        let arrival = Arrival {
            peer,
            port,
            original: original_destination(&stream),
        };
        if sender.send(arrival).is_err() {
            return;
        }
    }
}

fn original_destination(stream: &TcpStream) -> Result<SocketAddr, String> {
    let is_v4 = stream.local_addr().is_ok_and(|address| address.is_ipv4());
    let found = if is_v4 {
        getsockopt(stream, sockopt::OriginalDst).map(|a| {
            let address = Ipv4Addr::from(u32::from_be(a.sin_addr.s_addr));
            SocketAddr::new(address.into(), u16::from_be(a.sin_port))
        })
    } else {
        getsockopt(stream, sockopt::Ip6tOriginalDst).map(|a| {
            let address = Ipv6Addr::from(a.sin6_addr.s6_addr);
            SocketAddr::new(address.into(), u16::from_be(a.sin6_port))
        })
    };
    found.map_err(|error| error.to_string())
}

/// Calls until it is captured or time is up.
fn prove(
    probe: &Probe,
    timeout: Duration,
    arrivals: &Receiver<Arrival>,
) -> Result<(), ValidationError> {
    let deadline = Instant::now() + timeout;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let why = match attempt(probe, left.min(timeout), arrivals) {
            Ok(arrival) => return check(probe, &arrival),
            Err(why) => why,
        };
        if Instant::now() + PAUSE >= deadline {
            return Err(ValidationError::NotCaptured {
                family: probe.family,
                destination: probe.destination,
                user: host::own_ids().0,
                timeout,
                why,
            });
        }
        thread::sleep(PAUSE);
    }
}

fn attempt(probe: &Probe, left: Duration, arrivals: &Receiver<Arrival>) -> Result<Arrival, String> {
    if left.is_zero() {
        return Err("time is up".to_owned());
    }
    let deadline = Instant::now() + left;
    let stream = TcpStream::connect_timeout(&probe.destination, left).map_err(|e| e.to_string())?;
    let own = stream.local_addr().map_err(|e| e.to_string())?;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match arrivals.recv_timeout(left) {
            // Somebody else may call these ports too.
            Ok(arrival) if arrival.peer != own => {}
            Ok(arrival) => return Ok(arrival),
            Err(_) => return Err("something else accepted it".to_owned()),
        }
    }
}

fn check(probe: &Probe, arrival: &Arrival) -> Result<(), ValidationError> {
    if arrival.port == probe.port && arrival.original.as_ref() == Ok(&probe.destination) {
        return Ok(());
    }
    Err(ValidationError::Wrong {
        family: probe.family,
        destination: probe.destination,
        port: arrival.port,
        original: match &arrival.original {
            Ok(address) => address.to_string(),
            Err(error) => format!("unknown ({error})"),
        },
        expected: probe.port,
    })
}
