//! Certificates of Gateways' servers.

use std::collections::BTreeSet;

use crate::analysis::credentials::{self, Credential, Outcome};
use crate::analysis::diagnoses as say;
use crate::analysis::message::Diagnosis;
use crate::analysis::view::View;
use crate::api::kind::Kind;
use crate::api::networking::{GatewaySpec, Server};
use crate::api::text::enumeration;
use crate::model::{Mention, certificate, selects};
use crate::world::{Certificate, ObjectKey, Readable, SecretProblem, SecretSpec, Validity};

use super::{Inspected, Report};

/// What [`credentials_are_usable`] may say.
pub(super) const SAYS: &[&Diagnosis] = &[
    &say::CREDENTIAL_NOT_FOUND,
    &say::CREDENTIAL_INVALID,
    &say::CREDENTIAL_WITHOUT_KEY,
    &say::CREDENTIAL_EXPIRED,
    &say::CREDENTIAL_NOT_YET_VALID,
    &say::CREDENTIAL_EXPIRES_SOON,
    &say::CREDENTIAL_NOT_READ,
    &say::CREDENTIAL_ELSEWHERE,
    &say::CREDENTIAL_WITHOUT_AUTHORITIES,
    &say::HOST_NOT_IN_CERTIFICATE,
];

/// Every Secret that a server names is where the gateway's pods are, holds a certificate with its key, is valid now and
/// for some time, and covers the server's hosts. Istio: IST0101 (credentialName), IST0161.
pub(super) fn credentials_are_usable(
    view: &View<'_>,
    gateway: &Inspected<'_, GatewaySpec>,
    report: &mut Report<'_>,
) {
    let found = credentials::of_gateway(view, gateway.key, gateway.spec);
    for credential in &found {
        judge(view, gateway.key, credential, report);
    }
    for (index, server) in gateway.spec.servers.iter().enumerate() {
        let mut certificates: Vec<&Certificate> = Vec::new();
        for credential in found.iter().filter(|credential| credential.server == index) {
            if let Outcome::Server(certificate) = &credential.outcome {
                certificates.push(certificate);
            }
        }
        if !certificates.is_empty() {
            hosts_are_covered(index, server, &certificates, report);
        }
    }
}

fn judge(view: &View<'_>, gateway: &ObjectKey, found: &Credential, report: &mut Report<'_>) {
    let secret = &found.secret;
    let is_own = gateway.namespace == secret.namespace;
    let (diagnosis, text) = match &found.outcome {
        Outcome::Server(certificate) => match dates(view, &[certificate]) {
            Some((diagnosis, when)) => (diagnosis, format!("the certificate in {secret} {when}")),
            None => return,
        },
        Outcome::Authorities(certificates) => match dates(view, &that_count(view, certificates)) {
            Some((diagnosis, when)) => (
                diagnosis,
                format!("the certificate of a clients' authority in {secret} {when}"),
            ),
            None => return,
        },
        Outcome::Missing => (&say::CREDENTIAL_NOT_FOUND, missing(view, gateway, secret)),
        Outcome::NoCertificate(problem) => {
            (&say::CREDENTIAL_INVALID, invalid(secret, problem, is_own))
        }
        Outcome::NoPrivateKey(problem) => (
            &say::CREDENTIAL_WITHOUT_KEY,
            invalid(secret, problem, is_own),
        ),
        Outcome::NoAuthorities(problem) => (
            &say::CREDENTIAL_WITHOUT_AUTHORITIES,
            format!(
                "clients' certificates cannot be verified: {}; put the authorities there, or into a Secret of that \
                 name with -cacert at its end",
                invalid(secret, problem, is_own)
            ),
        ),
        Outcome::Elsewhere => (
            &say::CREDENTIAL_ELSEWHERE,
            format!(
                "{secret} is not in the namespace of the gateway's pods, and they get Secrets of their own namespace alone"
            ),
        ),
        Outcome::Unread(readable) => (&say::CREDENTIAL_NOT_READ, unread(secret, *readable)),
    };
    report.say(diagnosis, &found.path, text);
}

/// The authorities by which a bundle is judged: while one is replaced by another, the old one may end or the new one not
/// have begun, and clients are verified by the rest.
fn that_count<'a>(view: &View<'_>, bundle: &'a [Certificate]) -> Vec<&'a Certificate> {
    let is_usable = |certificate: &&Certificate| {
        view.now().is_none_or(|now| {
            let validity = certificate.validity(now);
            matches!(validity, Validity::Valid | Validity::ExpiresSoon)
        })
    };
    let usable: Vec<&Certificate> = bundle.iter().filter(is_usable).collect();
    if usable.is_empty() {
        bundle.iter().collect()
    } else {
        usable
    }
}

/// The worst that the dates of some certificates say now.
fn dates(view: &View<'_>, certificates: &[&Certificate]) -> Option<(&'static Diagnosis, String)> {
    let now = view.now()?;
    let of = |validity: Validity| {
        let mut all = certificates.iter();
        all.find(|certificate| certificate.validity(now) == validity)
    };
    let day = |moment: jiff::Timestamp| moment.strftime("%Y-%m-%d");
    if let Some(certificate) = of(Validity::Expired) {
        let text = format!("expired on {}", day(certificate.not_after));
        return Some((&say::CREDENTIAL_EXPIRED, text));
    }
    if let Some(certificate) = of(Validity::NotYet) {
        let text = format!("is not valid before {}", day(certificate.not_before));
        return Some((&say::CREDENTIAL_NOT_YET_VALID, text));
    }
    of(Validity::ExpiresSoon).map(|certificate| {
        let text = format!("expires on {}, within 30 days", day(certificate.not_after));
        (&say::CREDENTIAL_EXPIRES_SOON, text)
    })
}

fn missing(view: &View<'_>, gateway: &ObjectKey, secret: &ObjectKey) -> String {
    let own = ObjectKey::new(Kind::Secret, gateway.namespace.clone(), secret.name.clone());
    let hint = if own != *secret && view.object::<SecretSpec>(&own).is_some() {
        format!(
            "; the one in namespace {} is not the gateway's, whose pods are in {}",
            own.namespace, secret.namespace
        )
    } else {
        "; a gateway's credentials are in the namespace of its pods".to_owned()
    };
    format!("{secret} does not exist{hint}")
}

/// Names of a Secret's keys are told to those alone who may as well look at its namespace's other objects.
fn invalid(secret: &ObjectKey, problem: &SecretProblem, is_own: bool) -> String {
    match problem {
        SecretProblem::KeysMissing { wanted, .. } if !is_own => format!("{secret} has no {wanted}"),
        problem => format!("{secret} {problem}"),
    }
}

fn unread(secret: &ObjectKey, readable: Readable) -> String {
    let namespace = &secret.namespace;
    match readable {
        Readable::Refused => format!(
            "{secret} was not looked at: the API server refuses to list the Secrets of namespace {namespace}; for the control \
             plane, the chart outrigger makes a Role (list, watch) in each of its gateways.credentialNamespaces"
        ),
        _ => format!(
            "{secret} was not looked at: add {namespace} to gateways.credentialNamespaces of the chart outrigger, which makes \
             a Role there that lets the control plane list and watch Secrets"
        ),
    }
}

fn hosts_are_covered(
    index: usize,
    server: &Server,
    certificates: &[&Certificate],
    report: &mut Report<'_>,
) {
    for (place, written) in server.hosts.iter().enumerate() {
        let host = written
            .split_once('/')
            .map_or(written.as_str(), |(_, host)| host);
        let is_covered = certificates
            .iter()
            .any(|certificate| certificate.covers(host));
        if host == "*" || is_covered {
            continue;
        }
        let names: Vec<&String> = certificates.iter().flat_map(|one| &one.names).collect();
        let names = match names.as_slice() {
            [] => "it names none".to_owned(),
            names => format!("it is for {}", enumeration(names)),
        };
        report.say(
            &say::HOST_NOT_IN_CERTIFICATE,
            format!("spec.servers[{index}].hosts[{place}]"),
            format!(
                "clients will not accept the server's certificate for host \"{host}\": {names}"
            ),
        );
    }
}

/// No other Gateway of the same pods has the same certificate: browsers reuse connections between hosts of one
/// certificate, and meet a listener that does not know the other's. Istio: IST0138.
pub(super) fn certificates_are_used_once(
    view: &View<'_>,
    gateway: &Inspected<'_, GatewaySpec>,
    report: &mut Report<'_>,
) {
    let confined = view.settings().gateways_stay_in_their_namespace;
    let own = &gateway.key.namespace;
    let mut told = BTreeSet::new();
    for (index, server) in gateway.spec.servers.iter().enumerate() {
        let Some(used) = server.tls.as_ref().and_then(certificate) else {
            continue;
        };
        for other in view.mentions(Mention::Certificate(used.clone())) {
            let spec = view
                .object::<GatewaySpec>(other)
                .and_then(|other| other.spec());
            let may_share = other != gateway.key && (!confined || other.namespace == *own);
            let Some(spec) = spec.filter(|_| may_share) else {
                continue;
            };
            if selects(&gateway.spec.selector, &spec.selector) && told.insert(other) {
                report.say(
                    &say::CERTIFICATE_SHARED,
                    format!("spec.servers[{index}].tls"),
                    format!(
                        "{other} uses the same certificate ({used}) for the same pods: clients that reuse a connection for hosts \
                         of one certificate get 404 for those of the other Gateway; put the servers into one Gateway"
                    ),
                );
            }
        }
    }
}
