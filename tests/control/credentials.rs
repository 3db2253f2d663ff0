//! Credentials of Gateways: Secrets of one namespace, read under a Role of its own.

use std::process::Command;

use jiff::{SignedDuration, Timestamp};
use outrigger_e2e::cluster::Cluster as _;
use outrigger_e2e::wait;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use serde_json::{Value, json};

use super::*;

/// A certificate for `*.example.com` with its key, in PEM.
pub struct Pair {
    pub certificate: String,
    pub key: String,
}

impl Pair {
    /// One that is valid until the first of January of a year.
    pub fn until(year: i32) -> Pair {
        Self::of(|params| {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(year, 1, 1);
        })
    }

    /// One that ends in so many days.
    fn ending_in(days: i64) -> Pair {
        let end = Timestamp::now() + SignedDuration::from_hours(24 * days);
        let end = end.to_zoned(jiff::tz::TimeZone::UTC);
        let (year, month, day) = (end.year(), end.month(), end.day());
        Self::of(|params| {
            params.not_before = date_time_ymd(2020, 1, 1);
            let (month, day) = (month.unsigned_abs(), day.unsigned_abs());
            params.not_after = date_time_ymd(i32::from(year), month, day);
        })
    }

    fn of(dates: impl FnOnce(&mut CertificateParams)) -> Pair {
        let mut params = CertificateParams::new(vec!["*.example.com".to_owned()]).unwrap();
        dates(&mut params);
        let key = KeyPair::generate().unwrap();
        Pair {
            certificate: params.self_signed(&key).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }

    pub fn secret(&self, namespace: &str) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
            "metadata": {"name": "shop", "namespace": namespace},
            "stringData": {"tls.crt": self.certificate, "tls.key": self.key},
        })
    }
}

/// A gateway's pods and Service in `edge`, a Gateway for them in `shop`, and a Role for Secrets of `edge`, as the chart
/// makes it.
pub fn gateway(edge: &str, shop: &str) -> String {
    let objects = [
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "gateway", "namespace": edge, "labels": {"istio": edge}},
            "spec": {"containers": [{"name": "istio-proxy", "image": "local.test/proxyv2:1"}]},
        }),
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "gateway", "namespace": edge},
            "spec": {"selector": {"istio": edge}, "ports": [{"name": "https", "port": 443, "targetPort": 8443}]},
        }),
        json!({
            "apiVersion": "networking.istio.io/v1", "kind": "Gateway",
            "metadata": {"name": "shop", "namespace": shop},
            "spec": {"selector": {"istio": edge}, "servers": [{
                "port": {"number": 443, "name": "https", "protocol": "HTTPS"}, "hosts": ["shop.example.com"],
                "tls": {"mode": "SIMPLE", "credentialName": "shop"},
            }]},
        }),
    ];
    manifests(&objects)
}

pub fn role(edge: &str) -> String {
    manifests(&[
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
            "metadata": {"name": "credentials", "namespace": edge},
            "rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["list", "watch"]}],
        }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": {"name": "credentials", "namespace": edge},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "credentials"},
            "subjects": [{"kind": "ServiceAccount", "name": "outriggerd", "namespace": NAMESPACE}],
        }),
    ])
}

pub fn manifests(objects: &[Value]) -> String {
    let texts: Vec<String> = objects.iter().map(Value::to_string).collect();
    texts.join("\n---\n")
}

/// Waits until `ResolvedRefs` of the Gateway has a status and reason, and returns its message.
pub fn wait_for_refs(cluster: &ControlPlane, shop: &str, status: &str, reason: &str) -> String {
    let what = format!("gateway/shop in {shop} has ResolvedRefs={status} ({reason})");
    wait::until(RECOVERY, &what, || {
        let found = condition(&read(cluster, shop, "gateway/shop")?, "ResolvedRefs")?;
        ensure!(found.0 == status && found.1 == reason, "{found:?}");
        Ok(found.2)
    })
    .unwrap()
}

#[test]
fn a_credential_is_told_missing_elsewhere_garbled_of_another_key_expired_ending_and_good() {
    let installed = Installed::exclusive();
    let cluster = &installed.cluster;
    let (edge, shop) = ("credentials-edge", "credentials-shop");
    cluster.create_namespace(edge).unwrap();
    cluster.create_namespace(shop).unwrap();
    cluster.apply(&role(edge)).unwrap();
    let flags = [&*format!("--credential-namespaces={edge}")];
    let daemon = daemon::Daemon::start_ready("credentials", &installed.kubeconfig, &flags);
    cluster.apply(&gateway(edge, shop)).unwrap();

    let message = wait_for_refs(cluster, shop, "False", "CredentialNotFound");
    assert!(
        message.contains(
            "spec.servers[0].tls.credentialName: Secret credentials-edge/shop does not exist"
        ),
        "{message}"
    );
    let apply = |secret: &Value| {
        // Not `apply`: its annotation would repeat the key.
        let _ = cluster.kubectl(&["delete", "secret", "shop", "-n", edge, "--ignore-not-found"]);
        let mut create = cluster.kubectl_command();
        create.args(["create", "-f", "-"]);
        outrigger_e2e::command::output_with_input(&mut create, &secret.to_string()).unwrap();
    };
    // In the Gateway's namespace: out of the pods' reach, and out of the control plane's.
    let good = Pair::until(2120);
    apply(&good.secret(shop));
    wait_for_refs(cluster, shop, "False", "CredentialNotFound");

    let mut garbled = good.secret(edge);
    garbled["stringData"]["tls.crt"] =
        json!("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    // The API server looks at secrets of this type itself.
    garbled["type"] = json!("Opaque");
    apply(&garbled);
    wait_for_refs(cluster, shop, "False", "CredentialInvalid");
    let mut mismatch = good.secret(edge);
    mismatch["stringData"]["tls.key"] = json!(Pair::until(2120).key);
    apply(&mismatch);
    wait_for_refs(cluster, shop, "False", "CredentialWithoutKey");
    apply(&Pair::until(2021).secret(edge));
    let message = wait_for_refs(cluster, shop, "False", "CredentialExpired");
    assert!(message.contains("expired on 2021-01-01"), "{message}");
    apply(&Pair::ending_in(20).secret(edge));
    wait_for_refs(cluster, shop, "True", "CredentialExpiresSoon");
    apply(&good.secret(edge));
    wait_for_refs(cluster, shop, "True", "ResolvedRefs");
    wait_for_ready(cluster, shop, "gateway/shop", "True");

    // Fifty new certificates change nothing that is said, so nothing is written.
    let writes = || daemon.metric("outrigger_status_writes_total");
    let before = writes();
    for _ in 0..50 {
        let secret = json!({"stringData": good_again().secret(edge)["stringData"]}).to_string();
        cluster
            .kubectl(&[
                "patch",
                "secret",
                "shop",
                "-n",
                edge,
                "--type=merge",
                "-p",
                &secret,
            ])
            .unwrap();
    }
    cluster
        .kubectl(&["delete", "secret", "shop", "-n", edge])
        .unwrap();
    wait_for_refs(cluster, shop, "False", "CredentialNotFound");
    assert_eq!(
        writes() - before,
        1.0,
        "the one that says that it is missing"
    );

    let everything = [
        daemon.log(),
        cluster
            .kubectl(&["get", "gateways,events", "-A", "-o", "yaml"])
            .unwrap(),
    ];
    for text in everything {
        assert!(!text.contains("PRIVATE KEY"), "{text}");
        assert!(!text.contains(good.key.lines().nth(1).unwrap()), "{text}");
    }
}

fn good_again() -> Pair {
    Pair::until(2120)
}

#[test]
fn a_role_that_is_absent_or_revoked_disturbs_nothing_but_what_is_known_of_the_credential() {
    let installed = Installed::exclusive();
    let cluster = &installed.cluster;
    let (edge, shop) = ("credentials-unread", "credentials-unread-shop");
    cluster.create_namespace(edge).unwrap();
    cluster.create_namespace(shop).unwrap();
    let flags = [&*format!("--credential-namespaces={NAMESPACE},{edge}")];
    let daemon = daemon::Daemon::start_ready("credentials-unread", &installed.kubeconfig, &flags);
    cluster.apply(&gateway(edge, shop)).unwrap();
    cluster
        .apply(&manifests(&[Pair::until(2120).secret(edge)]))
        .unwrap();
    let message = wait_for_refs(cluster, shop, "Unknown", "CredentialNotRead");
    assert!(
        message.contains("namespace credentials-unread")
            && message.contains("gateways.credentialNamespaces"),
        "{message}"
    );
    wait_for_ready(cluster, shop, "gateway/shop", "True");
    cluster.apply(&reviews(shop, "v4")).unwrap();
    wait_for_ready(cluster, shop, "virtualservice/reviews", "False");

    cluster.apply(&role(edge)).unwrap();
    wait_for_refs(cluster, shop, "True", "ResolvedRefs");
    cluster
        .kubectl(&["delete", "rolebinding", "credentials", "-n", edge])
        .unwrap();
    wait_for_refs(cluster, shop, "Unknown", "CredentialNotRead");
    cluster.apply(&reviews(shop, "v2")).unwrap();
    wait_for_ready(cluster, shop, "virtualservice/reviews", "True");
    let ready = daemon.get("/readyz").unwrap();
    assert!(ready.contains("secrets of credentials-unread"), "{ready}");
}

#[test]
fn the_command_line_shows_servers_ports_certificates_and_routes_of_a_cluster() {
    let installed = Installed::exclusive();
    let cluster = &installed.cluster;
    let (edge, shop) = ("credentials-cli", "credentials-cli-shop");
    cluster.create_namespace(edge).unwrap();
    cluster.create_namespace(shop).unwrap();
    cluster.apply(&gateway(edge, shop)).unwrap();
    cluster
        .apply(&manifests(&[Pair::until(2120).secret(edge)]))
        .unwrap();
    cluster
        .apply(&manifests(&[json!({
            "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
            "metadata": {"name": "shop", "namespace": shop},
            "spec": {"hosts": ["shop.example.com"], "gateways": ["shop"], "http": [{"redirect": {"uri": "/"}}]},
        })]))
        .unwrap();
    let status = |kubeconfig: &std::path::Path, more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_outrigger"));
        command.args(["gateway", "status", "shop", "-n", shop, "--kubeconfig"]);
        outrigger_e2e::command::output(command.arg(kubeconfig).args(more)).unwrap()
    };
    let json = status(cluster.kubeconfig(), &["-o", "json"]);
    let found: Value = serde_json::from_str(&json).unwrap();
    let server = &found[0]["servers"][0];
    assert_eq!(server["exposed"][0]["targetPort"], 8443, "{json}");
    assert_eq!(server["exposed"][0]["service"]["name"], "gateway");
    assert_eq!(server["credentials"][0]["state"], "Certificate");
    assert!(
        server["credentials"][0]["certificates"][0]["daysLeft"]
            .as_i64()
            .unwrap()
            > 30_000
    );
    assert_eq!(server["virtualServices"][0]["routes"], 1);
    assert_eq!(found[0]["missing"], json!([]));
    assert!(!json.contains("PRIVATE KEY"));
    let table = status(cluster.kubeconfig(), &[]);
    assert!(
        table.starts_with(&format!("Gateway {shop}/shop: ready\n")),
        "{table}"
    );

    // With the rights of the control plane, which may not read these Secrets.
    let json = status(&installed.kubeconfig, &["-o", "json"]);
    assert!(json.contains("\"NotRead\""), "{json}");
}
