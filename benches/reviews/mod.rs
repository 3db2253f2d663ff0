//! The questions that are measured: AdmissionReviews as the API server sends them.

use serde_json::{Value, json};

/// What is measured, by name.
pub fn all() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("productpage", review(productpage())),
        ("64 KB pod", review(large())),
        ("1500 variables", review(many_variables(1500))),
    ]
}

/// The question about one pod.
pub fn review(pod: Value) -> Vec<u8> {
    let kind = json!({ "group": "", "version": "v1", "kind": "Pod" });
    let resource = json!({ "group": "", "version": "v1", "resource": "pods" });
    let review = json!({
        "kind": "AdmissionReview",
        "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": "f6c3b3a8-6f4e-4d53-9c55-3e8a2c1f7b60",
            "kind": kind, "requestKind": kind, "resource": resource, "requestResource": resource,
            "namespace": "default",
            "operation": "CREATE",
            "userInfo": {
                "username": "system:serviceaccount:kube-system:replicaset-controller",
                "uid": "6d1b36a5-7a0c-4a9c-8f0b-7d5f1f2f9b11",
                "groups": ["system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated"],
            },
            "object": pod,
            "oldObject": null,
            "dryRun": false,
            "options": { "kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1" },
        },
    });
    review.to_string().into_bytes()
}

/// Bookinfo's productpage as the ReplicaSet controller creates it.
pub fn productpage() -> Value {
    json!({
        "kind": "Pod", "apiVersion": "v1",
        "metadata": {
            "generateName": "productpage-v1-54bb874995-",
            "creationTimestamp": null,
            "labels": { "app": "productpage", "pod-template-hash": "54bb874995", "version": "v1" },
            "annotations": {
                "prometheus.io/path": "/metrics", "prometheus.io/port": "9080", "prometheus.io/scrape": "true",
            },
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "productpage-v1-54bb874995",
                "uid": "c3b3c9d6-2d5a-4f7c-8a51-58c2b6a0a3f4", "controller": true, "blockOwnerDeletion": true,
            }],
        },
        "spec": {
            "volumes": [
                { "name": "tmp", "emptyDir": {} },
                { "name": "kube-api-access-x2k7p", "projected": { "defaultMode": 420, "sources": [
                    { "serviceAccountToken": { "expirationSeconds": 3607, "path": "token" } },
                    { "configMap": { "name": "kube-root-ca.crt", "items": [{ "key": "ca.crt", "path": "ca.crt" }] } },
                    { "downwardAPI": { "items": [{ "path": "namespace",
                        "fieldRef": { "apiVersion": "v1", "fieldPath": "metadata.namespace" } }] } },
                ]}},
            ],
            "containers": [{
                "name": "productpage",
                "image": "docker.io/istio/examples-bookinfo-productpage-v1:1.20.3",
                "ports": [{ "containerPort": 9080, "protocol": "TCP" }],
                "resources": {},
                "volumeMounts": [
                    { "name": "tmp", "mountPath": "/tmp" },
                    { "name": "kube-api-access-x2k7p", "readOnly": true, "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount" },
                ],
                "terminationMessagePath": "/dev/termination-log",
                "terminationMessagePolicy": "File",
                "imagePullPolicy": "IfNotPresent",
                "securityContext": { "runAsUser": 1000 },
            }],
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 30,
            "dnsPolicy": "ClusterFirst",
            "serviceAccountName": "bookinfo-productpage",
            "serviceAccount": "bookinfo-productpage",
            "securityContext": {},
            "schedulerName": "default-scheduler",
            "tolerations": [
                { "key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300 },
                { "key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300 },
            ],
            "priority": 0,
            "enableServiceLinks": true,
            "preemptionPolicy": "PreemptLowerPriority",
        },
    })
}

/// The same with so many environment variables.
pub fn many_variables(count: usize) -> Value {
    let mut pod = productpage();
    let variables = (0..count).map(|n| {
        json!({ "name": format!("SETTING_{n:04}"), "value": format!("the value of setting {n}") })
    });
    pod["spec"]["containers"][0]["env"] = variables.collect();
    pod
}

/// The same with containers, probes, mounts and annotations up to 64 KB.
pub fn large() -> Value {
    let mut pod = productpage();
    let annotation = "x".repeat(16 << 10);
    pod["metadata"]["annotations"]["example.com/checksum"] = json!(annotation);
    let container = pod["spec"]["containers"][0].clone();
    let mut number = 0;
    while pod.to_string().len() < 64 << 10 {
        let mut container = container.clone();
        container["name"] = json!(format!("worker-{number}"));
        container["readinessProbe"] =
            json!({ "httpGet": { "path": "/ready", "port": 9080 }, "timeoutSeconds": 1 });
        container["livenessProbe"] = json!({ "tcpSocket": { "port": 9080 } });
        container["env"] = (0..10)
            .map(|n| json!({ "name": format!("V{n}"), "valueFrom": { "configMapKeyRef": { "name": "settings", "key": format!("k{n}") } } }))
            .collect();
        pod["spec"]["containers"]
            .as_array_mut()
            .into_iter()
            .for_each(|list| list.push(container.clone()));
        number += 1;
    }
    pod
}
