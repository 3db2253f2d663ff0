//! AuthorizationPolicy.

use crate::api::metadata::Metadata;
use crate::api::parse;
use crate::api::policies::{
    AccessAction, AccessCondition, AccessOperation, AccessRule, AccessSource,
    AuthorizationPolicySpec,
};

use super::Validate;
use super::fields;
use super::policies;
use super::report::Field;

/// The CRD takes no more service accounts in one list.
const MOST_ACCOUNTS: usize = 16;

impl Validate for AuthorizationPolicySpec {
    fn validate(&self, meta: &Metadata, at: &Field<'_>) {
        policies::target(at, self);
        let can_be_tried = matches!(self.action, AccessAction::Allow | AccessAction::Deny);
        policies::dry_run(meta, at, can_be_tried);
        let is_custom = self.action == AccessAction::Custom;
        if self.rules.is_empty() && matches!(self.action, AccessAction::Custom | AccessAction::Deny)
        {
            at.member("rules").invalid(
                "without a rule the policy never applies; an empty one ({}) applies to every request",
            );
        }
        let provider = at.member("provider");
        match &self.provider {
            Some(_) if !is_custom => {
                provider.invalid("is asked with the action CUSTOM only");
            }
            Some(named) if !named.name.is_empty() => {}
            _ if is_custom => provider.member("name").invalid(
                "says who is asked, by the name of an extension provider of the mesh configuration",
            ),
            _ => {}
        }
        at.each("rules", &self.rules, |at, rule| {
            one_rule(at, rule);
            if is_custom {
                known_before_asking(at, rule);
            }
            if self.action == AccessAction::Deny && !knows_tcp(rule) {
                at.questionable(
                    "looks at HTTP alone, so that it denies every connection to a TCP port; name the ports that are \
                     meant in to[].operation.ports",
                );
            }
        });
    }
}

/// Whether a rule can tell connections without HTTP apart, or is meant for all of them.
fn knows_tcp(rule: &AccessRule) -> bool {
    let mut sources = rule.from.iter().filter_map(|from| from.source.as_ref());
    let mut operations = rule.to.iter().filter_map(|to| to.operation.as_ref());
    let has_ports = |operation: &AccessOperation| {
        !operation.ports.is_empty() || !operation.not_ports.is_empty()
    };
    let knows_peer = |source: &AccessSource| {
        lists(source)
            .iter()
            .any(|(name, list, ..)| !list.is_empty() && !name.ends_with("equestPrincipals"))
    };
    if rule.to.iter().any(|to| to.operation.is_some()) {
        return operations.any(has_ports);
    }
    rule.from.iter().all(|from| from.source.is_none()) || sources.any(knows_peer)
}

/// How the items of a list are checked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Item {
    Text,
    Address,
    Account,
    Port,
    Path,
}

type List<'a> = (&'static str, &'a [String], Item);

fn lists(source: &AccessSource) -> [List<'_>; 14] {
    use Item::{Account, Address, Text};
    [
        ("principals", &source.principals, Text),
        ("notPrincipals", &source.not_principals, Text),
        ("requestPrincipals", &source.request_principals, Text),
        ("notRequestPrincipals", &source.not_request_principals, Text),
        ("namespaces", &source.namespaces, Text),
        ("notNamespaces", &source.not_namespaces, Text),
        ("serviceAccounts", &source.service_accounts, Account),
        ("notServiceAccounts", &source.not_service_accounts, Account),
        ("trustDomains", &source.trust_domains, Text),
        ("notTrustDomains", &source.not_trust_domains, Text),
        ("ipBlocks", &source.ip_blocks, Address),
        ("notIpBlocks", &source.not_ip_blocks, Address),
        ("remoteIpBlocks", &source.remote_ip_blocks, Address),
        ("notRemoteIpBlocks", &source.not_remote_ip_blocks, Address),
    ]
}

fn one_rule(at: &Field<'_>, rule: &AccessRule) {
    at.each("from", &rule.from, |at, from| {
        let at_source = at.member("source");
        match &from.source {
            Some(source) => self::source(&at_source, source),
            None => at_source.invalid("is needed"),
        }
    });
    at.each("to", &rule.to, |at, to| {
        let at_operation = at.member("operation");
        match &to.operation {
            Some(operation) => self::operation(&at_operation, operation),
            None => at_operation.invalid("is needed"),
        }
    });
    at.each("when", &rule.when, condition);
}

fn source(at: &Field<'_>, source: &AccessSource) {
    let lists = lists(source);
    if lists.iter().all(|(_, list, _)| list.is_empty()) {
        at.invalid("says nothing; leave `from` out to mean every source");
    }
    let is_set =
        |(name, list, _): &&List<'_>, names: &[&str]| !list.is_empty() && names.contains(name);
    let accounts = ["serviceAccounts", "notServiceAccounts"];
    let others = ["principals", "notPrincipals", "namespaces", "notNamespaces"];
    let account = lists.iter().find(|list| is_set(list, &accounts));
    let other = lists.iter().find(|list| is_set(list, &others));
    if let (Some((account, ..)), Some((other, ..))) = (account, other) {
        at.member(account).invalid(format!(
            "cannot stand beside {other}, which says the same in another way"
        ));
    }
    for (name, list, item) in lists {
        items(&at.member(name), list, item);
        if item == Item::Account && list.len() > MOST_ACCOUNTS {
            at.member(name)
                .invalid(format!("has more than {MOST_ACCOUNTS} entries"));
        }
    }
}

fn operation(at: &Field<'_>, operation: &AccessOperation) {
    use Item::{Path, Port, Text};
    let lists: [List<'_>; 8] = [
        ("hosts", &operation.hosts, Text),
        ("notHosts", &operation.not_hosts, Text),
        ("ports", &operation.ports, Port),
        ("notPorts", &operation.not_ports, Port),
        ("methods", &operation.methods, Text),
        ("notMethods", &operation.not_methods, Text),
        ("paths", &operation.paths, Path),
        ("notPaths", &operation.not_paths, Path),
    ];
    if lists.iter().all(|(_, list, _)| list.is_empty()) {
        at.invalid("says nothing; leave `to` out to mean every operation");
    }
    for (name, list, item) in lists {
        items(&at.member(name), list, item);
    }
}

fn items(at: &Field<'_>, list: &[String], item: Item) {
    fields::not_empty(at, list);
    let filled = list.iter().enumerate().filter(|(_, text)| !text.is_empty());
    for (index, text) in filled {
        let at = at.index(index);
        match item {
            Item::Text => {}
            Item::Address => at.check(parse::ip_or_subnet(text)),
            Item::Account => account(&at, text),
            Item::Port => port(&at, text),
            Item::Path => path(&at, text),
        }
    }
}

fn port(at: &Field<'_>, text: &str) {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits || text.parse::<u16>().is_err() {
        at.invalid(format!("{text:?} is not a port number"));
    }
}

fn account(at: &Field<'_>, text: &str) {
    let (namespace, name) = text.split_once('/').unwrap_or((".", text));
    if namespace.is_empty() || name.is_empty() || name.contains('/') {
        at.invalid(format!(
            "{text:?} is not a service account; write NAME, or NAMESPACE/NAME"
        ));
    }
}

/// A path, which is a template where it has `{*}` or `{**}`: then it has no other wildcards and no names in braces.
fn path(at: &Field<'_>, text: &str) {
    if !text.contains("{*}") && !text.contains("{**}") {
        return;
    }
    let rest = text.replace("{**}", "x").replace("{*}", "x");
    let is_name = |inner: &str| {
        inner
            .chars()
            .all(|char| char.is_ascii_alphanumeric() || char == '_')
    };
    let braces = rest
        .split('{')
        .skip(1)
        .filter_map(|part| part.split_once('}'));
    let mut inner = braces.map(|(inner, _)| inner.split_once('=').map_or(inner, |(name, _)| name));
    if rest.contains("/*") || rest.contains("*/") || inner.any(is_name) {
        at.invalid(format!(
            "{text:?} is not a template of paths; its parts are {{*}} for one segment and {{**}} for any number"
        ));
    }
}

fn condition(at: &Field<'_>, condition: &AccessCondition) {
    let key = condition.key.as_str();
    if key.is_empty() {
        at.member("key")
            .invalid("says what is looked at, and is needed");
        return;
    }
    if condition.values.is_empty() && condition.not_values.is_empty() {
        at.invalid(format!("one of values and notValues is needed for {key}"));
        return;
    }
    let at_key = at.member("key");
    let item = match key {
        "source.ip" | "remote.ip" | "destination.ip" => Item::Address,
        "destination.port" => Item::Port,
        "source.serviceAccount" => Item::Account,
        "source.namespace"
        | "source.principal"
        | "source.trustDomain"
        | "connection.sni"
        | "request.auth.principal"
        | "request.auth.audiences"
        | "request.auth.presenter" => Item::Text,
        "destination.namespace" => {
            at_key.invalid("is not served; a policy applies in the namespace that it is in");
            Item::Text
        }
        "destination.name" | "destination.user" => {
            at_key.invalid("is not served any more; use the policy's selector");
            Item::Text
        }
        _ if key.starts_with("destination.labels") => {
            at_key.invalid("is not served; use the policy's selector");
            Item::Text
        }
        _ if [
            "request.headers",
            "request.auth.claims",
            "experimental.envoy.filters.",
        ]
        .iter()
        .any(|prefix| key.starts_with(prefix)) =>
        {
            let inner = key.strip_suffix(']').and_then(|rest| rest.split_once('['));
            if inner.is_none_or(|(_, inner)| inner.is_empty()) {
                at_key.invalid(format!("{key:?} needs a name in brackets, as in a[b]"));
            }
            Item::Text
        }
        _ => {
            at_key.invalid(format!(
                "{key:?} is not known; known are source.ip, remote.ip, source.namespace, source.principal, \
                 source.serviceAccount, source.trustDomain, destination.ip, destination.port, connection.sni, \
                 request.headers[NAME], request.auth.principal, request.auth.audiences, request.auth.presenter, \
                 request.auth.claims[NAME], experimental.envoy.filters.NAME[KEY]"
            ));
            Item::Text
        }
    };
    items(&at.member("values"), &condition.values, item);
    items(&at.member("notValues"), &condition.not_values, item);
}

/// Whoever is asked is asked before anybody's identity is looked at, so that rules for asking cannot name it.
fn known_before_asking(at: &Field<'_>, rule: &AccessRule) {
    const IDENTITIES: [&str; 8] = [
        "principals",
        "notPrincipals",
        "requestPrincipals",
        "notRequestPrincipals",
        "namespaces",
        "notNamespaces",
        "serviceAccounts",
        "notServiceAccounts",
    ];
    let text = "is not supported with the action CUSTOM";
    at.each("from", &rule.from, |at, from| {
        at.within("source", &from.source, |at, source| {
            let set = lists(source)
                .into_iter()
                .filter(|(name, list, _)| !list.is_empty() && IDENTITIES.contains(name));
            for (name, ..) in set {
                at.member(name).invalid(text);
            }
        });
    });
    at.each("when", &rule.when, |at, condition| {
        let key = condition.key.as_str();
        let sources = [
            "source.namespace",
            "source.principal",
            "source.serviceAccount",
        ];
        if sources.contains(&key) || key.starts_with("request.auth.") {
            at.member("key").invalid(format!("{key} {text}"));
        }
    });
}
