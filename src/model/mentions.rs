//! Objects by what they name, for what is asked of the thing that is named.

use std::collections::BTreeSet;
use std::sync::Arc;

use imbl::OrdSet;

use crate::api::kind::Kind;
use crate::api::networking::{Delegate, GatewaySpec, ServerTLSSettings, VirtualServiceSpec};
use crate::world::{Object, ObjectKey};

use super::entries::MESH_GATEWAY;
use super::visit;

/// Something that objects name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mention {
    /// A Gateway, in a VirtualService; whether it exists or not.
    Gateway(ObjectKey),
    /// A VirtualService, in another one that delegates to it; whether it exists or not.
    Delegate(ObjectKey),
    /// A certificate, in a server of a Gateway; see [`certificate`].
    Certificate(Arc<str>),
}

/// Which objects name something.
#[derive(Debug, Clone, Default)]
pub struct Mentions {
    entries: OrdSet<(Mention, ObjectKey)>,
}

impl Mentions {
    /// The objects that name it, by namespace and name.
    pub fn of<'a>(&'a self, mention: &Mention) -> impl Iterator<Item = &'a ObjectKey> + use<'a> {
        let mention = mention.clone();
        // The first kind of all, so that no key comes before.
        let first = ObjectKey::new(Kind::VirtualService, Arc::default(), Arc::default());
        self.entries
            .range((mention.clone(), first)..)
            .inspect(|_| visit())
            .take_while(move |(other, _)| *other == mention)
            .map(|(_, key)| key)
    }

    pub(super) fn insert<'m>(
        &mut self,
        key: &ObjectKey,
        mentions: impl IntoIterator<Item = &'m Mention>,
    ) {
        for mention in mentions {
            self.entries.insert((mention.clone(), key.clone()));
        }
    }

    pub(super) fn remove<'m>(
        &mut self,
        key: &ObjectKey,
        mentions: impl IntoIterator<Item = &'m Mention>,
    ) {
        for mention in mentions {
            self.entries.remove(&(mention.clone(), key.clone()));
        }
    }
}

/// The Gateways that a VirtualService names, and those that it delegates to.
pub(super) fn of_virtual_service(
    key: &ObjectKey,
    object: &Object<VirtualServiceSpec>,
) -> BTreeSet<Mention> {
    let gateways = object.spec().into_iter().flat_map(|spec| &spec.gateways);
    let gateways = gateways.filter_map(|written| gateway_key(written, &key.namespace));
    let routes = object.spec().into_iter().flat_map(|spec| &spec.http);
    let delegates = routes.filter_map(|route| route.delegate.as_ref());
    gateways
        .map(Mention::Gateway)
        .chain(delegates.map(|named| Mention::Delegate(delegate_key(named, key))))
        .collect()
}

/// The certificates that a Gateway names.
pub(super) fn of_gateway(object: &Object<GatewaySpec>) -> BTreeSet<Mention> {
    let servers = object.spec().into_iter().flat_map(|spec| &spec.servers);
    servers
        .filter_map(|server| certificate(server.tls.as_ref()?))
        .map(Mention::Certificate)
        .collect()
}

/// The Gateway that an entry of `gateways` names: `namespace/name`, or a name in the object's own namespace, or
/// (in old objects) `name.namespace.svc.…`. `None` for `mesh`.
pub fn gateway_key(written: &str, namespace: &str) -> Option<ObjectKey> {
    if written == MESH_GATEWAY {
        return None;
    }
    let (namespace, name) = match written.split_once('/') {
        Some((".", name)) => (namespace, name),
        Some((other, name)) => (other, name),
        None => match written.split_once('.') {
            Some((name, rest)) => (rest.split('.').next().unwrap_or(rest), name),
            None => (namespace, written),
        },
    };
    Some(ObjectKey::new(Kind::Gateway, namespace, name))
}

/// The VirtualService that a route of `from` delegates to; one without a namespace is in that of `from`.
pub fn delegate_key(delegate: &Delegate, from: &ObjectKey) -> ObjectKey {
    let namespace = match delegate.namespace.as_str() {
        "" => from.namespace.clone(),
        other => other.into(),
    };
    ObjectKey::new(Kind::VirtualService, namespace, delegate.name.as_str())
}

/// What tells the certificate of a server from others (Istio's IST0138 compares these): the name of the credential, or
/// the files of certificate and key.
pub fn certificate(tls: &ServerTLSSettings) -> Option<Arc<str>> {
    if !tls.credential_name.is_empty() {
        return Some(tls.credential_name.as_str().into());
    }
    let (certificate, key) = (&tls.server_certificate, &tls.private_key);
    (!certificate.is_empty() && !key.is_empty()).then(|| format!("{certificate} with {key}").into())
}
