//! Injection while replicas die, restart and rotate their certificates, and while others overwrite what they publish.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use outrigger::kubernetes::certificates::issue;
use outrigger::kubernetes::certificates::material::Material;
use outrigger_e2e::cluster::Cluster as _;
use outrigger_e2e::wait;
use serde_json::json;

use super::certificates::replace_data;
use super::mesh::{Load, Mesh, deployment, has_proxy, pod};
use super::*;

const SECRET: &str = "secret/outrigger-webhook-certs";

/// Waits until the API server asks about pods of the namespace: it learns of namespaces and configurations later.
fn wait_until_asked(mesh: &Mesh, namespace: &str) {
    wait::until(SOON, "a pod is injected", || {
        let created = mesh.create(&pod(namespace, "probe", None), true)?;
        ensure!(created.to_string().contains("istio-proxy"), "not injected");
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_thousand_pods_are_made_and_none_without_a_proxy_while_one_of_two_replicas_is_killed() {
    const PODS: usize = 1000;
    let mesh = Mesh::exclusive();
    let ns = "thousand";
    mesh.namespace(ns, &["injection=enabled"]);
    let survivor = mesh.replica("thousand-1", &[]);
    let victim = mesh.replica("thousand-2", &[]);
    mesh.balancer.set(&[&survivor, &victim]);
    wait_until_asked(&mesh, ns);
    let (_, replica_set) = deployment(&mesh, ns, "web");
    let pods = (0..PODS).map(|n| pod(ns, &format!("web-{n}"), Some(&replica_set)));

    let crowd = mesh.crowd();
    let created = Arc::new(AtomicUsize::new(0));
    let creating = crowd.create_all(ns, pods.collect(), 16, &created);
    wait::until_true(RECOVERY, "a third of the pods", || {
        created.load(Ordering::SeqCst) >= PODS / 3
    })
    .unwrap();
    // It stays among the endpoints, as it does in a cluster until its readiness is noticed.
    victim.kill();
    let failures = crowd.wait(creating);

    let pods = crowd.pods(ns);
    assert_eq!(pods.len(), PODS);
    assert_eq!(pods.iter().filter(|pod| !has_proxy(pod)).count(), 0);
    eprintln!("{failures} creations failed and were repeated");
}

#[test]
fn a_bundle_that_others_blank_or_overwrite_is_healed_within_five_seconds() {
    let mesh = Mesh::exclusive();
    let ns = "overwritten";
    mesh.namespace(ns, &["injection=enabled"]);
    let replica = mesh.replica("overwritten", &[]);
    mesh.balancer.set(&[&replica]);
    wait_until_asked(&mesh, ns);
    let bundles = || -> Result<Vec<Value>> {
        let configuration = mesh.configuration()?;
        let webhooks = configuration["webhooks"]
            .as_array()
            .context("no webhooks")?;
        let bundles = webhooks
            .iter()
            .map(|webhook| webhook["clientConfig"]["caBundle"].clone());
        Ok(bundles.collect())
    };
    let right = bundles().unwrap();
    let names = BTreeSet::from(["elsewhere.svc".to_owned()]);
    let foreign = issue::everything(&names, jiff::Timestamp::now()).unwrap()["ca.crt"].clone();
    for wrong in [None, Some(json!(foreign))] {
        let patch: Vec<Value> = (0..right.len())
            .map(|entry| {
                let path = format!("/webhooks/{entry}/clientConfig/caBundle");
                match &wrong {
                    None => json!({ "op": "remove", "path": path }),
                    Some(wrong) => json!({ "op": "replace", "path": path, "value": wrong }),
                }
            })
            .collect();
        mesh.patch_configuration(&json!(patch));
        wait::until(
            Duration::from_secs(5),
            "the bundles are right again",
            || {
                ensure!(bundles()? == right, "they are not");
                Ok(())
            },
        )
        .unwrap();
        wait_until_asked(&mesh, ns);
    }
}

/// The Secret's content.
fn content(mesh: &Mesh) -> Result<(Secret, BTreeMap<String, ByteString>)> {
    let secret: Secret = serde_json::from_value(read(&mesh.cluster, NAMESPACE, SECRET)?)?;
    let data = secret.data.clone().context("it is empty")?;
    Ok((secret, data))
}

/// Waits until every entry of the configuration has this bundle, and the API server uses it.
fn wait_until_published(mesh: &Mesh, load: &Load, bundle: &ByteString) {
    let bundle = json!(bundle);
    wait::until(SOON, "the bundle is published", || {
        let configuration = mesh.configuration()?;
        let webhooks = configuration["webhooks"]
            .as_array()
            .context("no webhooks")?;
        let all = webhooks
            .iter()
            .all(|webhook| webhook["clientConfig"]["caBundle"] == bundle);
        ensure!(all, "not everywhere");
        Ok(())
    })
    .unwrap();
    load.wait_for(50);
}

#[test]
fn no_call_fails_while_the_certificate_is_rotated_and_while_its_secret_is_deleted() {
    let mesh = Mesh::exclusive();
    let ns = "rotated";
    mesh.namespace(ns, &["injection=enabled"]);
    let replicas = ["rotated-1", "rotated-2"].map(|name| mesh.replica(name, &[]));
    mesh.balancer.set(&replicas.each_ref());
    wait_until_asked(&mesh, ns);
    let crowd = mesh.crowd();
    let load = crowd.load(ns, &pod(ns, "web", None), 4);
    load.wait_for(50);

    // The two steps of a rotation as the leader takes them, an hour apart: first a new root is published …
    let (secret, data) = content(&mesh).unwrap();
    let roots = String::from_utf8(data["ca.crt"].0.clone()).unwrap();
    let now = jiff::Timestamp::now();
    let data = issue::root(&data, &roots, now).unwrap();
    replace_data(&mesh.cluster, &data);
    wait_until_published(&mesh, &load, &data["ca.crt"]);
    // … then it signs.
    let names = Material::read(&secret).unwrap().leaf.names;
    let data = issue::leaf(&data, &names, now).unwrap();
    replace_data(&mesh.cluster, &data);
    load.wait_for(200);

    mesh.cluster
        .kubectl(&["delete", SECRET, "-n", NAMESPACE])
        .unwrap();
    wait::until(SOON, "the Secret is as it was", || {
        ensure!(content(&mesh)?.1 == data, "it is another");
        Ok(())
    })
    .unwrap();
    load.wait_for(200);
    let failures = crowd.end(load);
    assert!(failures.is_empty(), "{failures:?}");
}

#[test]
fn whenever_a_replica_says_it_is_ready_the_next_pod_is_injected() {
    const RESTARTS: usize = 20;
    let mesh = Mesh::exclusive();
    let ns = "restarted";
    mesh.namespace(ns, &["injection=enabled"]);
    let first = mesh.replica("restarted", &[]);
    mesh.balancer.set(&[&first]);
    wait_until_asked(&mesh, ns);
    first.kill();
    for restart in 0..RESTARTS {
        let replica = mesh.start_replica(&format!("restarted-{restart}"), &[]);
        mesh.balancer.set(&[&replica]);
        replica.wait_until_ready();
        let created = mesh.create(&pod(ns, "web", None), true);
        let created = created.unwrap_or_else(|error| panic!("restart {restart}: {error:#}"));
        assert!(
            created.to_string().contains("istio-proxy"),
            "restart {restart}"
        );
        replica.kill();
    }
}
