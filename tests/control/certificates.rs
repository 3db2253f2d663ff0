//! The webhooks' certificates: made, published, healed, and not touched when they are somebody else's.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::{ByteString, api::core::v1::Secret};
use outrigger::kubernetes::certificates::{issue, material::Material};
use outrigger_e2e::cluster::Cluster as _;
use outrigger_e2e::wait;
use rustls::pki_types::{CertificateDer, pem::PemObject as _};

use super::daemon::Daemon;
use super::*;

const CONFIGURATION: &str = "mutatingwebhookconfiguration/outrigger-sidecar-injector";
const SECRET: &str = "outrigger-webhook-certs";

/// The bundles of all entries of the webhook configuration, in base64.
fn bundles(cluster: &ControlPlane) -> Vec<Value> {
    let configuration = read(cluster, NAMESPACE, CONFIGURATION).unwrap();
    let webhooks = configuration["webhooks"].as_array().unwrap();
    webhooks
        .iter()
        .map(|webhook| webhook["clientConfig"]["caBundle"].clone())
        .collect()
}

/// The roots in the Secret, in base64.
fn roots(cluster: &ControlPlane) -> Value {
    let secret = read(cluster, NAMESPACE, &format!("secret/{SECRET}")).unwrap();
    secret["data"]["ca.crt"].clone()
}

fn wait_until_published(cluster: &ControlPlane) {
    let published = || {
        let (bundles, roots) = (bundles(cluster), roots(cluster));
        ensure!(!bundles.is_empty(), "no entries");
        ensure!(bundles.iter().all(|bundle| *bundle == roots), "{bundles:?}");
        Ok(())
    };
    wait::until(SOON, "every entry has the roots of the Secret", published).unwrap();
}

#[test]
fn a_ready_replica_has_published_its_roots_and_heals_them_when_they_are_overwritten() {
    let installed = Installed::exclusive();
    let cluster = &installed.cluster;
    let daemon = installed.daemon("published");
    wait_until_published(cluster);
    let nonsense = roots(cluster);
    let overwrite = serde_json::json!([
        {"op": "remove", "path": "/webhooks/0/clientConfig/caBundle"},
        {"op": "replace", "path": "/webhooks/1/clientConfig/caBundle", "value": own_roots()},
    ]);
    assert_ne!(nonsense, own_roots());
    cluster
        .kubectl(&[
            "patch",
            CONFIGURATION,
            "--type=json",
            "-p",
            &overwrite.to_string(),
        ])
        .unwrap();
    wait_until_published(cluster);
    assert!(daemon.metric("outrigger_cabundle_writes_total") >= 1.0);
    let configuration = cluster
        .kubectl(&["get", CONFIGURATION, "--show-managed-fields", "-o", "json"])
        .unwrap();
    assert!(
        configuration.contains("\"outrigger-webhooks\""),
        "{configuration}"
    );
}

/// Some roots that nobody serves from.
fn own_roots() -> Value {
    let names = BTreeSet::from(["elsewhere.svc".to_owned()]);
    let data = issue::everything(&names, "2026-01-01T00:00:00Z".parse().unwrap()).unwrap();
    serde_json::to_value(&data["ca.crt"]).unwrap()
}

#[test]
fn an_entry_that_comes_later_gets_the_roots_and_one_that_is_missing_is_not_fought_for() {
    let cluster = ControlPlane::start(&Lines).unwrap();
    cluster.create_namespace(NAMESPACE).unwrap();
    let daemon = Daemon::start_ready("waiting", cluster.kubeconfig(), &[]);
    assert_eq!(daemon.metric("outrigger_cabundle_writes_total"), 0.0);
    let configuration = |names: &[&str]| {
        let entries: String = names
            .iter()
            .map(|name| {
                format!(
                    "
  - name: {name}.outrigger.dev
    clientConfig: {{service: {{name: outriggerd, namespace: {NAMESPACE}}}}}
    sideEffects: None
    admissionReviewVersions: [v1]"
                )
            })
            .collect();
        format!(
            "
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata: {{name: outrigger-sidecar-injector}}
webhooks:{entries}"
        )
    };
    cluster.apply(&configuration(&["a"])).unwrap();
    wait_until_published(&cluster);
    cluster.apply(&configuration(&["a", "b"])).unwrap();
    wait_until_published(&cluster);
    assert_eq!(bundles(&cluster).len(), 2);
    cluster.kubectl(&["delete", CONFIGURATION]).unwrap();
    cluster.apply(&configuration(&["c"])).unwrap();
    wait_until_published(&cluster);
    assert_eq!(daemon.metric("outrigger_cabundle_failures_total"), 0.0);
}

#[test]
fn a_secret_of_somebody_else_is_served_and_published_and_never_written() {
    let cluster = ControlPlane::start(&Lines).unwrap();
    cluster.create_namespace(NAMESPACE).unwrap();
    let names = BTreeSet::from([format!("outriggerd.{NAMESPACE}.svc")]);
    // Near its end: one of our own would be renewed at once.
    let long_ago = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(80 * 24);
    let data = issue::everything(&names, long_ago).unwrap();
    let mut secret = serde_json::to_value(issue::secret(NAMESPACE, SECRET, data)).unwrap();
    secret["metadata"]["labels"].take();
    secret["data"]["ca.key"].take();
    secret["apiVersion"] = "v1".into();
    secret["kind"] = "Secret".into();
    cluster.apply(&secret.to_string()).unwrap();
    let before = read(&cluster, NAMESPACE, &format!("secret/{SECRET}")).unwrap();

    let daemon = Daemon::start_ready("guest", cluster.kubeconfig(), &[]);
    daemon.wait_for_metric("outrigger_leader", 1.0);
    assert_eq!(daemon.metric("outrigger_webhook_self_check"), 1.0);
    assert_eq!(daemon.metric("outrigger_certificate_writes_total"), 0.0);
    let after = read(&cluster, NAMESPACE, &format!("secret/{SECRET}")).unwrap();
    assert_eq!(before, after);
}

/// A file of the Secret.
fn file(cluster: &ControlPlane, name: &str) -> Result<Vec<u8>> {
    let template = format!("go-template={{{{index .data {name:?} | base64decode}}}}");
    let secret = format!("secret/{SECRET}");
    let text = cluster.kubectl(&["get", &secret, "-n", NAMESPACE, "-o", &template])?;
    Ok(text.into_bytes())
}

/// Checks that a client that trusts only the roots in the Secret is served the certificate in it, and returns that.
fn serves_what_is_in_the_secret(cluster: &ControlPlane, daemon: &Daemon) -> Result<Vec<u8>> {
    let expected = CertificateDer::from_pem_slice(&file(cluster, "tls.crt")?)?;
    let client = tls::Client::new(&file(cluster, "ca.crt")?);
    let name = format!("outriggerd.{NAMESPACE}.svc");
    let served = client.certificate_of(daemon.address("webhooks")?, &name)?;
    ensure!(served == expected, "another certificate is served");
    Ok(served.to_vec())
}

/// Signs a new serving certificate with the root in the Secret and puts it there, as the leader does.
fn renew_leaf(cluster: &ControlPlane) {
    let secret = read(cluster, NAMESPACE, &format!("secret/{SECRET}")).unwrap();
    let secret: Secret = serde_json::from_value(secret).unwrap();
    let names = Material::read(&secret).unwrap().leaf.names;
    let data = issue::leaf(&secret.data.unwrap(), &names, jiff::Timestamp::now()).unwrap();
    replace_data(cluster, &data);
}

/// Puts this content into the Secret.
pub(super) fn replace_data(cluster: &ControlPlane, data: &BTreeMap<String, ByteString>) {
    let patch = serde_json::json!({ "data": data }).to_string();
    let secret = format!("secret/{SECRET}");
    cluster
        .kubectl(&["patch", &secret, "-n", NAMESPACE, "-p", &patch])
        .unwrap();
}

#[test]
fn both_replicas_serve_a_new_certificate_without_a_restart() {
    let installed = Installed::exclusive();
    let cluster = &installed.cluster;
    let mut replicas = ["rotation-1", "rotation-2"].map(|name| installed.daemon(name));
    let before = replicas
        .each_ref()
        .map(|replica| serves_what_is_in_the_secret(cluster, replica).unwrap());
    assert_eq!(before[0], before[1]);
    renew_leaf(cluster);
    let follows = |replica: &Daemon| {
        let served = serves_what_is_in_the_secret(cluster, replica)?;
        ensure!(served != before[0], "the old certificate");
        Ok(served)
    };
    let after = replicas.each_ref().map(|replica| {
        wait::until(SOON, "the new certificate is served", || follows(replica)).unwrap()
    });
    assert_eq!(after[0], after[1]);
    wait_until_published(cluster);
    for replica in &mut replicas {
        replica.wait_for_metric("outrigger_webhook_self_check", 1.0);
        assert!(replica.is_running());
    }
}

#[test]
fn a_secret_that_is_deleted_or_damaged_by_hand_comes_back_as_it_was() {
    let installed = Installed::exclusive();
    let cluster = &installed.cluster;
    let daemon = installed.daemon("restored");
    let secret = format!("secret/{SECRET}");
    let content = || -> Result<Value> { Ok(read(cluster, NAMESPACE, &secret)?["data"].clone()) };
    let before = content().unwrap();
    let comes_back = |how: &[&str]| {
        cluster.kubectl(how).unwrap();
        wait::until(SOON, "the Secret is as it was", || {
            let now = content()?;
            ensure!(now == before, "it is not");
            Ok(())
        })
        .unwrap();
    };
    comes_back(&["delete", &secret, "-n", NAMESPACE]);
    let damage = r#"{"data":{"tls.crt":"bm9uZQ=="}}"#;
    comes_back(&["patch", &secret, "-n", NAMESPACE, "-p", damage]);
    serves_what_is_in_the_secret(cluster, &daemon).unwrap();
}

#[test]
fn a_new_root_is_published_beside_the_old_one_when_people_ask_for_it() {
    let installed = Installed::exclusive();
    let cluster = &installed.cluster;
    let daemon = installed.daemon("renewed-root");
    let secret = format!("secret/{SECRET}");
    let text = |name| String::from_utf8(file(cluster, name).unwrap()).unwrap();
    let (roots_before, leaf) = (text("ca.crt"), text("tls.crt"));
    let ask = "outrigger.dev/renew-root=true";
    cluster
        .kubectl(&["annotate", &secret, "-n", NAMESPACE, ask])
        .unwrap();
    wait::until(SOON, "there is a new root", || {
        let roots = text("ca.crt");
        ensure!(roots != roots_before, "the old ones");
        ensure!(roots.contains(roots_before.trim()), "the old ones are gone");
        Ok(())
    })
    .unwrap();
    wait_until_published(cluster);
    assert_eq!(
        text("tls.crt"),
        leaf,
        "the old root's certificate serves on"
    );
    serves_what_is_in_the_secret(cluster, &daemon).unwrap();
    let annotations = read(cluster, NAMESPACE, &secret).unwrap()["metadata"]["annotations"].clone();
    assert!(
        annotations.get("outrigger.dev/renew-root").is_none(),
        "{annotations}"
    );
}
