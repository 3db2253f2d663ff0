//! The Secrets that a Gateway's servers name, and what they are good for.
//!
//! Istio's rules: a credential is a Secret in the namespace of the gateway's pods, whichever the Gateway's is; the
//! authorities for clients' certificates are in the Secret `<name>-cacert` beside it, else in the same one
//! (`pilot/pkg/credentials/kube`, `pilot/pkg/model/credentials`).

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::api::kind::Kind;
use crate::api::networking::{GatewaySpec, Server, ServerTLSSettings, ServerTLSmode};
use crate::world::{Certificate, ObjectKey, Readable, SecretProblem, SecretSpec};

use super::view::View;

/// Added to a credential's name for its authorities.
const AUTHORITIES_SUFFIX: &str = "-cacert";

/// One Secret that a server needs.
#[derive(Debug, Clone)]
pub struct Credential {
    /// Index of the server.
    pub server: usize,
    /// The field that names it.
    pub path: String,
    /// The Secret.
    pub secret: ObjectKey,
    /// What became of it.
    pub outcome: Outcome,
}

/// What was found under a credential's name.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// The server's certificate.
    Server(Certificate),
    /// The authorities for the certificates of its clients.
    Authorities(Vec<Certificate>),
    /// No such Secret.
    Missing,
    /// A Secret that holds no certificate.
    NoCertificate(SecretProblem),
    /// A Secret whose certificate lacks its private key.
    NoPrivateKey(SecretProblem),
    /// A Secret that holds no authorities, where they are needed.
    NoAuthorities(SecretProblem),
    /// The name is that of a Secret in a namespace other than the pods', which they do not get.
    Elsewhere,
    /// Secrets of the namespace are not read.
    Unread(Readable),
}

/// Every Secret that the servers of a Gateway need, by server.
pub(super) fn of_gateway(
    view: &View<'_>,
    gateway: &ObjectKey,
    spec: &GatewaySpec,
) -> Vec<Credential> {
    let namespaces = namespaces(view, gateway, spec);
    let mut found = Vec::new();
    for (index, server) in spec.servers.iter().enumerate() {
        for namespace in &namespaces {
            of_server(view, index, server, namespace, &mut found);
        }
    }
    found
}

/// The namespaces of the gateway's pods; while there are none, those of its Services, so that a restart changes nothing.
fn namespaces(view: &View<'_>, gateway: &ObjectKey, spec: &GatewaySpec) -> BTreeSet<Arc<str>> {
    let services = view.exposures(gateway).iter();
    let services = services.map(|exposure| Arc::clone(&exposure.service.namespace));
    let confined = view.settings().gateways_stay_in_their_namespace;
    let pods = view
        .pods(&spec.selector)
        .filter(|pod| !confined || pod.namespace == gateway.namespace)
        .map(|pod| Arc::clone(&pod.namespace));
    pods.chain(services).collect()
}

fn of_server(
    view: &View<'_>,
    index: usize,
    server: &Server,
    namespace: &Arc<str>,
    found: &mut Vec<Credential>,
) {
    let Some(tls) = &server.tls else { return };
    let path = |field: &str| format!("spec.servers[{index}].tls.{field}");
    let mut push = |field: &str, secret: ObjectKey, outcome: Outcome| {
        found.push(Credential {
            server: index,
            path: path(field),
            secret,
            outcome,
        });
    };
    let mut first = None;
    for (field, written) in names(tls) {
        let Some(reference) = Reference::read(written, namespace) else {
            continue;
        };
        let outcome = reference.look_up(view, namespace, certificate);
        let is_there = matches!(outcome, Outcome::Server(_) | Outcome::NoCertificate(_));
        push(&field, reference.secret.clone(), outcome);
        if is_there {
            let private_key = reference.look_up(view, namespace, private_key);
            if let Outcome::NoPrivateKey(_) = private_key {
                push(&field, reference.secret.clone(), private_key);
            }
            first.get_or_insert((field, reference));
        }
    }
    if !verifies_clients(tls) {
        return;
    }
    if !tls.ca_cert_credential_name.is_empty() {
        let reference = Reference::read(&tls.ca_cert_credential_name, namespace);
        let outcome = reference
            .as_ref()
            .map(|it| (it, it.look_up(view, namespace, authorities)));
        match outcome {
            // It may as well be a ConfigMap, and those are not read.
            None | Some((_, Outcome::Missing)) => {}
            Some((it, outcome)) => push("caCertCredentialName", it.secret.clone(), outcome),
        }
    } else if let Some((field, reference)) = first {
        let secret = &reference.secret;
        let beside = Reference {
            secret: ObjectKey::new(
                Kind::Secret,
                Arc::clone(&secret.namespace),
                format!("{}{AUTHORITIES_SUFFIX}", secret.name),
            ),
            ..reference
        };
        let (secret, outcome) = match beside.look_up(view, namespace, authorities) {
            Outcome::Missing => (
                reference.secret.clone(),
                reference.look_up(view, namespace, authorities),
            ),
            outcome => (beside.secret, outcome),
        };
        push(&field, secret, outcome);
    }
}

/// The fields that name certificates of the server, with what they say.
fn names(tls: &ServerTLSSettings) -> impl Iterator<Item = (String, &str)> {
    let one = Some(tls.credential_name.as_str()).filter(|name| !name.is_empty());
    let several = tls.credential_names.iter().enumerate();
    one.map(|name| ("credentialName".to_owned(), name))
        .into_iter()
        .chain(several.map(|(i, name)| (format!("credentialNames[{i}]"), name.as_str())))
}

fn verifies_clients(tls: &ServerTLSSettings) -> bool {
    let modes = [ServerTLSmode::Mutual, ServerTLSmode::OptionalMutual];
    modes.contains(&tls.mode) && tls.insecure_skip_verify != Some(true)
}

/// A Secret as a credential's name tells it.
#[derive(Clone)]
struct Reference {
    secret: ObjectKey,
    /// Whether the pods get it from any namespace.
    from_anywhere: bool,
}

impl Reference {
    /// Reads a name: `name`, `namespace/name`, or either after `kubernetes://` or (for the Gateway API)
    /// `kubernetes-gateway://`. `None` for names that mean no Secret.
    fn read(written: &str, namespace: &Arc<str>) -> Option<Reference> {
        let (from_anywhere, name) = match written.split_once("://") {
            None | Some(("kubernetes", _)) => (
                false,
                written.strip_prefix("kubernetes://").unwrap_or(written),
            ),
            Some(("kubernetes-gateway", name)) => (true, name),
            Some(_) => return None,
        };
        let (namespace, name) = match name.split_once('/') {
            Some((namespace, name)) => (Arc::from(namespace), name),
            None => (Arc::clone(namespace), name),
        };
        Some(Reference {
            secret: ObjectKey::new(Kind::Secret, namespace, name),
            from_anywhere,
        })
    }

    fn look_up(
        &self,
        view: &View<'_>,
        pods: &Arc<str>,
        outcome: fn(&SecretSpec) -> Outcome,
    ) -> Outcome {
        let namespace = &self.secret.namespace;
        if namespace != pods && !self.from_anywhere {
            return Outcome::Elsewhere;
        }
        match view.secrets_of(namespace) {
            Readable::Yes => {}
            unread => return Outcome::Unread(unread),
        }
        let secret = view.object::<SecretSpec>(&self.secret);
        secret
            .and_then(|secret| secret.spec())
            .map_or(Outcome::Missing, outcome)
    }
}

fn certificate(secret: &SecretSpec) -> Outcome {
    match &secret.server {
        Ok(certificate) => Outcome::Server(certificate.clone()),
        Err(problem) => Outcome::NoCertificate(problem.clone()),
    }
}

fn private_key(secret: &SecretSpec) -> Outcome {
    match &secret.private_key {
        Err(problem) => Outcome::NoPrivateKey(problem.clone()),
        Ok(()) => certificate(secret),
    }
}

fn authorities(secret: &SecretSpec) -> Outcome {
    match &secret.authorities {
        Ok(certificates) => Outcome::Authorities(certificates.clone()),
        Err(problem) => Outcome::NoAuthorities(problem.clone()),
    }
}
