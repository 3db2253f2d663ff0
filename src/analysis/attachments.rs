//! Which VirtualServices are bound to which server of a Gateway.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::api::networking::{
    GatewaySpec, HTTPMatchRequest, L4MatchAttributes, Server, ServerTLSmode, TLSMatchAttributes,
    VirtualServiceSpec,
};
use crate::model::{Host, Mention, gateway_key};
use crate::world::ObjectKey;

use super::view::View;

/// What is bound to one server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attached {
    /// The VirtualServices, by namespace and name, each with its routes that can be reached through the server.
    pub by: Vec<(ObjectKey, usize)>,
}

impl Attached {
    /// All routes.
    pub fn routes(&self) -> usize {
        self.by.iter().map(|(_, routes)| routes).sum()
    }
}

/// What is bound to each server of a Gateway. A VirtualService is when it names the Gateway and one of its hosts
/// overlaps with one that the server offers to its namespace.
pub(super) fn of_gateway(
    view: &View<'_>,
    gateway: &ObjectKey,
    spec: &GatewaySpec,
) -> Vec<Attached> {
    let mut attached = vec![Attached::default(); spec.servers.len()];
    for key in view.mentions(Mention::Gateway(gateway.clone())) {
        let object = view.object::<VirtualServiceSpec>(key);
        let Some(routes) = object.and_then(|object| object.spec()) else {
            continue;
        };
        let servers = servers_for(view, gateway, &key.namespace, &routes.hosts, attached.len());
        let all = spec.servers.iter().zip(&mut attached).enumerate();
        for (_, (server, attached)) in all.filter(|(index, _)| servers.contains(index)) {
            let reached = Reached {
                gateway,
                namespace: &key.namespace,
                port: server.port.as_ref().map_or(0, |port| port.number),
            };
            attached
                .by
                .push((key.clone(), reached.count(server, routes)));
        }
    }
    attached
}

/// The servers that offer one of these hosts to VirtualServices of a namespace; not more than there are.
fn servers_for(
    view: &View<'_>,
    gateway: &ObjectKey,
    namespace: &Arc<str>,
    hosts: &[String],
    most: usize,
) -> BTreeSet<usize> {
    let mut servers = BTreeSet::new();
    let offered: Vec<_> = view.offered(gateway, namespace).collect();
    for host in hosts.iter().map(|host| Host::new(host)) {
        for (client, served) in &offered {
            for served in served.around(&host) {
                servers.extend(served.servers(client.as_ref()));
                if servers.len() >= most {
                    return servers;
                }
            }
        }
    }
    servers
}

/// In how many places that are for one namespace alone the routes of an object for a host are compared with others'.
const MOST_PLACES: usize = 8;

/// Where a Gateway takes HTTP requests for a host, for VirtualServices of one namespace.
pub(super) struct Admitted {
    /// Of the places that are not for all namespaces: the server, and the host there.
    places: Vec<(usize, Host)>,
}

impl Admitted {
    /// `None` where it takes none, or in too many places to tell who else is admitted there. A Gateway that is not there
    /// limits nobody.
    pub(super) fn of(
        view: &View<'_>,
        gateway: &ObjectKey,
        namespace: &Arc<str>,
        host: &Host,
    ) -> Option<Admitted> {
        let mut places = Vec::new();
        let object = view.object::<GatewaySpec>(gateway);
        let Some(spec) = object.and_then(|object| object.spec()) else {
            return Some(Admitted { places });
        };
        let is_for_http = |index: &usize| {
            let server = spec.servers.get(*index);
            server.is_some_and(|server| matches!(Followed::by(server), Followed::Http))
        };
        let mut for_all = false;
        for (client, all) in view.offered(gateway, namespace) {
            let all = all.around(host);
            let mut servers = all.flat_map(|served| {
                let servers = served.servers(client.as_ref()).filter(is_for_http);
                servers.map(move |server| (server, narrower(&served.host, host)))
            });
            if client.is_none() {
                for_all = servers.next().is_some();
            } else {
                places.extend(servers.take(MOST_PLACES + 1));
            }
        }
        let is_clear = places.len() <= MOST_PLACES && (for_all || !places.is_empty());
        is_clear.then_some(Admitted { places })
    }

    /// Whether VirtualServices of another namespace are admitted in all of these places as well.
    pub(super) fn includes(&self, view: &View<'_>, gateway: &ObjectKey, other: &Arc<str>) -> bool {
        self.places.iter().all(|(server, host)| {
            view.offered(gateway, other).any(|(client, all)| {
                all.exact(host)
                    .chain(all.above(host))
                    .any(|served| served.servers(client.as_ref()).any(|one| one == *server))
            })
        })
    }
}

/// Of two hosts that overlap, the one that the other covers.
fn narrower(a: &Host, b: &Host) -> Host {
    if a.covers(b) { b } else { a }.clone()
}

/// Where a request comes in.
struct Reached<'a> {
    gateway: &'a ObjectKey,
    /// The VirtualService's, in which it names Gateways.
    namespace: &'a str,
    port: u32,
}

impl Reached<'_> {
    /// The routes of the kind that the server follows, of which some match may come in here.
    fn count(&self, server: &Server, routes: &VirtualServiceSpec) -> usize {
        match Followed::by(server) {
            Followed::Http => self.matching(routes.http.iter().map(|route| &*route.r#match)),
            Followed::Tls => self.matching(routes.tls.iter().map(|route| &*route.r#match)),
            Followed::Tcp => self.matching(routes.tcp.iter().map(|route| &*route.r#match)),
        }
    }

    fn matching<'m, M: Entrance + 'm>(&self, routes: impl Iterator<Item = &'m [M]>) -> usize {
        routes
            .filter(|matches| matches.is_empty() || matches.iter().any(|one| self.admits(one)))
            .count()
    }

    fn admits(&self, entrance: &impl Entrance) -> bool {
        let (gateways, port) = entrance.bounds();
        let names_it = |written: &String| {
            gateway_key(written, self.namespace).is_some_and(|key| key == *self.gateway)
        };
        (gateways.is_empty() || gateways.iter().any(names_it)) && (port == 0 || port == self.port)
    }
}

/// The routes that a server follows, as Istio builds listeners.
enum Followed {
    Http,
    Tls,
    Tcp,
}

impl Followed {
    fn by(server: &Server) -> Followed {
        const TLS: [&str; 2] = ["HTTPS", "TLS"];
        const HTTP: [&str; 5] = ["HTTP", "HTTP2", "GRPC", "GRPC-WEB", "HTTPS"];
        let protocol = server
            .port
            .as_ref()
            .map_or("", |port| port.protocol.as_str());
        let is_one_of =
            |names: &[&str]| names.iter().any(|name| name.eq_ignore_ascii_case(protocol));
        let passes_through = server.tls.as_ref().is_some_and(|tls| {
            matches!(
                tls.mode,
                ServerTLSmode::Passthrough | ServerTLSmode::AutoPassthrough
            )
        });
        if passes_through && is_one_of(&TLS) {
            Followed::Tls
        } else if is_one_of(&HTTP) {
            Followed::Http
        } else {
            Followed::Tcp
        }
    }
}

/// What a match says about where requests come in: Gateways (all when empty) and a port (any when 0).
trait Entrance {
    fn bounds(&self) -> (&[String], u32);
}

macro_rules! entrances {
    ($($of:ty),*) => {$(
        impl Entrance for $of {
            fn bounds(&self) -> (&[String], u32) {
                (&self.gateways, self.port)
            }
        }
    )*};
}
entrances!(HTTPMatchRequest, TLSMatchAttributes, L4MatchAttributes);
