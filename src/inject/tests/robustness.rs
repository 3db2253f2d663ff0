//! Pods that nobody should write: no panic, and no annotation that adds anything but its value.

use proptest::prelude::*;

use super::*;

/// Every annotation whose text ends somewhere in the injected pod, or is parsed.
const READ: [&str; 29] = [
    annotations::TEMPLATES,
    annotations::INTERCEPTION_MODE,
    annotations::INCLUDE_OUTBOUND_IP_RANGES,
    annotations::EXCLUDE_OUTBOUND_IP_RANGES,
    annotations::INCLUDE_INBOUND_PORTS,
    annotations::EXCLUDE_INBOUND_PORTS,
    annotations::INCLUDE_OUTBOUND_PORTS,
    annotations::EXCLUDE_OUTBOUND_PORTS,
    annotations::EXCLUDE_INTERFACES,
    annotations::REROUTE_VIRTUAL_INTERFACES,
    annotations::KUBEVIRT_INTERFACES,
    annotations::STATUS_PORT,
    annotations::READINESS_INITIAL_DELAY,
    annotations::READINESS_PERIOD,
    annotations::READINESS_FAILURE_THRESHOLD,
    annotations::PROXY_CPU,
    annotations::PROXY_IMAGE,
    annotations::PROXY_IMAGE_TYPE,
    annotations::LOG_LEVEL,
    annotations::COMPONENT_LOG_LEVEL,
    annotations::AGENT_LOG_LEVEL,
    annotations::NATIVE_SIDECAR,
    annotations::REWRITE_PROBES,
    annotations::CAP_NET_BIND_SERVICE,
    annotations::PROXY_CONFIG,
    annotations::MERGE_METRICS,
    annotations::SCRAPE_TARGETS,
    annotations::CNI_NETWORKS,
    annotations::OVERRIDES,
];

fn pod_with(annotation: &str, value: &str) -> Value {
    json!({
        "metadata": { "name": "p", "annotations": { annotation: value } },
        "spec": { "containers": [{ "name": "app", "image": "x" }] },
    })
}

fn env_names(pod: &Value) -> Vec<String> {
    let proxy = ["initContainers", "containers"]
        .iter()
        .filter_map(|list| pod::find(pod["spec"][*list].as_array()?, "istio-proxy"))
        .next()
        .unwrap();
    let env = proxy["env"].as_array().unwrap().iter();
    env.map(|entry| pod::name_of(entry).to_owned()).collect()
}

#[test]
fn no_text_of_an_annotation_adds_a_container_a_volume_or_an_environment_variable() {
    let config = config();
    let plain = injected(&config, &pod_with("unrelated", ""));
    let attacks = [
        "x\"\n  - name: injected\n    image: \"busybox".to_owned(),
        "{{ .Values.global.hub }}{{ range }}".to_owned(),
        "a'b\"c\\d`e".to_owned(),
        "nul\0nul".to_owned(),
        "\u{2028}\r\n---\n- name: injected".to_owned(),
        "x".repeat(256 << 10),
    ];
    let mut injected_ones = 0;
    for annotation in READ {
        for attack in &attacks {
            let pod = pod_with(annotation, attack);
            let Ok(Outcome::Injected { pod, .. }) = inject(&config, request(&pod)) else {
                continue;
            };
            injected_ones += 1;
            for list in ["containers", "initContainers", "volumes"] {
                assert_eq!(
                    names(&pod, list),
                    names(&plain, list),
                    "{annotation} {list}"
                );
            }
            let mut allowed = env_names(&plain);
            if annotation == annotations::SCRAPE_TARGETS {
                allowed.push("ISTIO_PROMETHEUS_ANNOTATIONS".to_owned());
            }
            let added: Vec<_> = env_names(&pod)
                .into_iter()
                .filter(|name| !allowed.contains(name))
                .collect();
            assert!(added.is_empty(), "{annotation}: {added:?}");
        }
    }
    assert!(injected_ones > 30, "{injected_ones}");
}

#[test]
fn a_pod_with_a_hundred_containers_and_1500_variables_is_injected() {
    let env: Vec<Value> = (0..1500)
        .map(|n| json!({ "name": format!("V{n}"), "value": "x" }))
        .collect();
    let containers: Vec<Value> = (0..100)
        .map(|n| json!({ "name": format!("c{n}"), "image": "x", "env": env }))
        .collect();
    let pod = json!({ "metadata": { "name": "p" }, "spec": { "containers": containers } });
    let injected = injected(&config(), &pod);
    assert_eq!(names(&injected, "containers").len(), 100);
    assert_eq!(
        patch::written(&pod, &injected)
            .0
            .iter()
            .filter(|operation| { operation.path().to_string().starts_with("/spec/containers") })
            .count(),
        0
    );
}

/// JSON whose keys are often those of pods, so that it gets past the first check.
fn json_like_pods() -> impl Strategy<Value = Value> {
    let key = prop::sample::select(vec![
        "metadata",
        "spec",
        "containers",
        "initContainers",
        "volumes",
        "env",
        "ports",
        "name",
        "labels",
        "annotations",
        "securityContext",
        "readinessProbe",
        "httpGet",
        "tcpSocket",
        "port",
        "lifecycle",
        "preStop",
        "value",
        "ownerReferences",
        "generateName",
        "kind",
        "controller",
        "hostNetwork",
        "namespace",
        "sidecar.istio.io/status",
        "outrigger.dev/injection",
        "proxy.istio.io/overrides",
        "runAsUser",
        "prometheus.io/port",
        "pod-template-hash",
        "imagePullSecrets",
        "image",
        "apiVersion",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(|number| json!(number)),
        prop_oneof![
            Just("istio-proxy"),
            Just("istio-init"),
            Just("auto"),
            Just("Job"),
            Just("{}"),
            Just("1-12345678")
        ]
        .prop_map(|text| json!(text)),
        any::<String>().prop_map(Value::String),
    ];
    leaf.prop_recursive(7, 80, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::vec((key.clone(), inner), 0..8).prop_map(|entries| {
                Value::Object(
                    entries
                        .into_iter()
                        .map(|(key, value)| (key.to_owned(), value))
                        .collect(),
                )
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_json_makes_injection_panic(metadata in json_like_pods(), containers in json_like_pods(), spec in json_like_pods()) {
        let config = config();
        for pod in [
            spec.clone(),
            json!({ "metadata": metadata, "spec": spec }),
            json!({ "metadata": metadata, "spec": { "containers": [containers], "initContainers": spec } }),
            json!({ "metadata": { "annotations": metadata }, "spec": { "containers": [{ "name": "a", "ports": containers, "env": spec }] } }),
        ] {
            if let Ok(Outcome::Injected { pod: injected, .. }) = inject(&config, request(&pod)) {
                let mut patched = pod.clone();
                json_patch::patch(&mut patched, &patch::written(&pod, &injected)).unwrap();
                prop_assert_eq!(patched, injected);
            }
        }
    }

    #[test]
    fn no_yaml_in_the_proxy_config_makes_injection_panic(text in any::<String>()) {
        let _ = inject(&config(), request(&pod_with(annotations::PROXY_CONFIG, &text)));
    }
}

proptest! {
    #[test]
    fn a_probe_of_any_shape_goes_to_the_agent_which_can_ask_for_it(
        place in prop::sample::select(vec!["readinessProbe", "livenessProbe", "startupProbe"]),
        kind in prop::sample::select(vec!["httpGet", "tcpSocket", "grpc", "exec", "future"]),
        port in prop_oneof![
            any::<u16>().prop_map(|port| json!(port)),
            any::<i64>().prop_map(|port| json!(port)),
            Just(json!("web")), Just(json!("8080")), any::<String>().prop_map(|port| json!(port)),
            Just(Value::Null), Just(json!({ "odd": true })),
        ],
        scheme in prop::option::of(prop::sample::select(vec!["HTTP", "HTTPS", "odd"])),
        timeout in any::<i32>(),
    ) {
        let mut handler = json!({ "port": port });
        if let Some(scheme) = scheme {
            handler["scheme"] = json!(scheme);
        }
        let mut pod = pod_with("unrelated", "");
        pod["spec"]["containers"][0]["ports"] = json!([{ "name": "web", "containerPort": 8080 }]);
        pod["spec"]["containers"][0][place] = json!({ kind: handler, "timeoutSeconds": timeout });
        let injected = injected(&config(), &pod);
        let probe = &injected["spec"]["containers"][0][place];
        let proxy = pod::find(injected["spec"]["initContainers"].as_array().unwrap(), "istio-proxy").unwrap();
        let probers = pod::find(proxy["env"].as_array().unwrap(), "ISTIO_KUBE_APP_PROBERS");
        if probe == &pod["spec"]["containers"][0][place] {
            prop_assert!(probers.is_none());
            return Ok(());
        }
        prop_assert_eq!(&probe["httpGet"]["port"], &json!(15020));
        prop_assert_eq!(&probe["timeoutSeconds"], &json!(timeout));
        if let Some(probers) = probers {
            let probers: Value = serde_json::from_str(probers["value"].as_str().unwrap()).unwrap();
            let path = probe["httpGet"]["path"].as_str().unwrap();
            let original = &probers[path][kind];
            prop_assert!(original["port"].is_u64(), "{probers}");
            prop_assert_eq!(&original["scheme"], &handler["scheme"]);
        }
    }
}
