//! PeerAuthentication and RequestAuthentication.

use crate::api::metadata::Metadata;
use crate::api::parse;
use crate::api::policies::{JwtRule, PeerAuthenticationSpec, RequestAuthenticationSpec};

use super::Validate;
use super::fields;
use super::jwks;
use super::policies;
use super::report::Field;
use super::url;

impl Validate for PeerAuthenticationSpec {
    fn validate(&self, meta: &Metadata, at: &Field<'_>) {
        policies::target(at, self);
        policies::dry_run(meta, at, false);
        let ports = at.member("portLevelMtls");
        let selects = self
            .selector
            .as_ref()
            .is_some_and(|selector| !selector.match_labels.is_empty());
        if !self.port_level_mtls.is_empty() && !selects {
            ports.invalid(
                "is for selected workloads; a policy of a namespace or of the mesh has no ports",
            );
        }
        for port in self.port_level_mtls.keys() {
            if !port.parse().is_ok_and(parse::is_port) {
                ports
                    .key(port)
                    .invalid(format!("{port} is not a port; ports are 1 to 65535"));
            }
        }
    }
}

impl Validate for RequestAuthenticationSpec {
    fn validate(&self, meta: &Metadata, at: &Field<'_>) {
        policies::target(at, self);
        policies::dry_run(meta, at, false);
        at.each("jwtRules", &self.jwt_rules, jwt_rule);
    }
}

fn jwt_rule(at: &Field<'_>, rule: &JwtRule) {
    if rule.issuer.is_empty() && rule.jwks_uri.is_empty() {
        at.member("issuer")
            .invalid("is needed, unless jwksUri is set");
    }
    if !rule.jwks_uri.is_empty() {
        let at = at.member("jwksUri");
        match url::scheme(&rule.jwks_uri) {
            Err(error) => at.invalid(error),
            Ok(scheme) if !["http", "https"].contains(&scheme.as_str()) => {
                at.invalid(format!(
                    "{:?} is neither a http nor a https address",
                    rule.jwks_uri
                ));
            }
            Ok(_) => {}
        }
    }
    if !rule.jwks.is_empty() {
        let at = at.member("jwks");
        if !rule.jwks_uri.is_empty() {
            at.invalid("cannot stand beside jwksUri");
        }
        match jwks::read(&rule.jwks) {
            Err(error) => at.invalid(error),
            Ok(keys) => {
                if let Some(key) = keys.iter().find(|key| key.is_secret) {
                    at.questionable(format!(
                        "{key} is a secret, with which whoever reads this object can issue tokens; give its public part"
                    ));
                }
            }
        }
    }
    for (name, texts) in [
        ("audiences", &rule.audiences),
        ("fromParams", &rule.from_params),
        ("fromCookies", &rule.from_cookies),
        ("spaceDelimitedClaims", &rule.space_delimited_claims),
    ] {
        fields::not_empty(&at.member(name), texts);
    }
    at.each("fromHeaders", &rule.from_headers, |at, header| {
        if header.name.is_empty() {
            at.member("name").invalid("is needed");
        }
    });
    at.each(
        "outputClaimToHeaders",
        &rule.output_claim_to_headers,
        |at, output| {
            for (name, text) in [("header", &output.header), ("claim", &output.claim)] {
                if text.is_empty() {
                    at.member(name).invalid("is needed");
                }
            }
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            if !output.header.bytes().all(allowed) {
                at.member("header").invalid(format!(
                    "{:?} is not a name of letters, digits, '-' and '_'",
                    output.header
                ));
            }
        },
    );
    fields::duration(&at.member("timeout"), &rule.timeout);
}
