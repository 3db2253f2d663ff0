//! Templates of the installation's own, and the annotation that chooses templates.

use proptest::prelude::*;

use super::*;

fn with_templates(templates: Value) -> Config {
    let values = json!({
        "global": { "hub": "registry.test/mesh", "tag": "1" },
        "sidecarInjectorWebhook": {
            "templates": templates,
            "templateAliases": { "both": ["sidecar", "extra"] },
        },
    });
    let values = Values::over_defaults(&values).unwrap();
    Config::new(values, MeshConfig::default(), true).0
}

fn asking(templates: &str, annotations: Value) -> Value {
    let mut pod = json!({
        "metadata": { "name": "web", "labels": { "app": "web" }, "annotations": annotations },
        "spec": { "containers": [{ "name": "app", "image": "x" }] },
    });
    pod["metadata"]["annotations"][annotations::TEMPLATES] = json!(templates);
    pod
}

fn denial(config: &Config, pod: &Value) -> String {
    inject(config, request(pod)).unwrap_err().to_string()
}

/// Adds a container and a volume, and changes the proxy.
const EXTRA: &str = r#"
metadata:
  labels:
    port: "{{ ProxyConfig.statusPort }}"
spec:
  containers:
  - name: helper
    image: "{{ Values.global.hub }}/helper:{{ annotation('example.com/tag', 'latest') }}"
    args: ["--uid", "{{ ProxyUID }}", "--quiet", "{{ label('app') }}"]
    ports:
    - containerPort: "{{ ProxyConfig.proxyAdminPort }}"
    env:
    - name: NATIVE
      value: "{{ NativeSidecars }}"
    workingDir: "{{ '/work' if annotation('example.com/work', '') else none }}"
  initContainers:
  - name: istio-proxy
    env:
    - name: EXTRA
      value: "{{ DeploymentMeta.name }}.{{ ObjectMeta.namespace }}"
  volumes:
  - name: helper
    emptyDir: {}
"#;

#[test]
fn custom_templates_are_merged_after_the_built_in_one_and_listed_in_the_status() {
    let config = with_templates(json!({ "extra": EXTRA }));
    let by_list = injected(
        &config,
        &asking("sidecar, extra", json!({ "example.com/tag": "7" })),
    );
    let mut by_alias = injected(&config, &asking("both", json!({ "example.com/tag": "7" })));
    by_alias["metadata"]["annotations"][annotations::TEMPLATES] = json!("sidecar, extra");
    assert_eq!(by_list, by_alias);
    assert_eq!(names(&by_list, "containers"), ["app", "helper"]);
    assert_eq!(
        by_list["spec"]["containers"][1],
        json!({
            "name": "helper", "image": "registry.test/mesh/helper:7",
            "args": ["--uid", "1337", "--quiet", "web"],
            "ports": [{ "containerPort": 15000 }],
            "env": [{ "name": "NATIVE", "value": "true" }],
        })
    );
    assert_eq!(by_list["metadata"]["labels"]["port"], "15020");
    let env = by_list["spec"]["initContainers"][1]["env"]
        .as_array()
        .unwrap();
    assert_eq!(pod::find(env, "EXTRA").unwrap()["value"], "web.default");
    let status = by_list["metadata"]["annotations"][annotations::STATUS].as_str();
    let status: Value = serde_json::from_str(status.unwrap()).unwrap();
    assert_eq!(status["containers"], json!(["helper"]));
    assert_eq!(
        status["initContainers"],
        json!(["istio-init", "istio-proxy"])
    );
}

#[test]
fn directives_of_a_custom_template_act_on_the_pod() {
    let config = with_templates(json!({ "bare": { "spec": {
        "volumes": [{ "name": "tmp", "$patch": "delete" }],
        "containers": [{ "name": "old", "$patch": "delete" }],
        "tolerations": [{ "key": "a" }],
    }}}));
    let mut pod = asking("bare", json!({}));
    pod["spec"]["volumes"] = json!([{ "name": "tmp" }, { "name": "data" }]);
    let old = json!({ "name": "old", "image": "x" });
    pod["spec"]["containers"].as_array_mut().unwrap().push(old);
    pod["spec"]["tolerations"] = json!([{ "key": "b" }]);
    let injected = injected(&config, &pod);
    assert_eq!(names(&injected, "volumes"), ["data"]);
    assert_eq!(names(&injected, "containers"), ["app"]);
    assert_eq!(injected["spec"]["tolerations"], json!([{ "key": "a" }]));
}

#[test]
fn a_template_that_does_not_exist_is_a_denial_that_names_those_that_do() {
    let config = with_templates(json!({ "extra": EXTRA }));
    insta::assert_snapshot!(
        denial(&config, &asking("sidecar,nonsense", json!({}))),
        @r#"inject.istio.io/templates: requested template "nonsense" not found; there are: sidecar, gateway, extra, both"#
    );
}

#[test]
fn an_undefined_variable_is_a_denial_that_names_template_place_and_expression() {
    let templates = json!({
        "text": { "metadata": { "labels": { "x": "a-{{ Values.global.nothing }}" } } },
        "sole": { "metadata": { "labels": { "x": "{{ Nothing }}" } } },
        "annotation": { "metadata": { "labels": { "x": "{{ annotation('example.com/x') }}" } } },
        "endless": { "metadata": { "labels": { "x": "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}" } } },
    });
    let config = with_templates(templates);
    let denials: Vec<String> = ["text", "sole", "annotation", "endless"]
        .iter()
        .map(|name| denial(&config, &asking(name, json!({}))))
        .collect();
    insta::assert_snapshot!(denials.join("\n"), @r#"
    template "text": metadata.labels.x: cannot evaluate "a-{{ Values.global.nothing }}": undefined value
    template "sole": metadata.labels.x: cannot evaluate "{{ Nothing }}": undefined value
    template "annotation": metadata.labels.x: cannot evaluate "{{ annotation('example.com/x') }}": undefined value: the pod has no "example.com/x" among its annotations, and no default is given
    template "endless": metadata.labels.x: cannot evaluate "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}": it needs more than 20000 steps
    "#);
}

#[test]
fn a_broken_template_is_a_problem_of_the_settings_and_refuses_only_those_who_ask_for_it() {
    let values = json!({ "sidecarInjectorWebhook": {
        "templates": {
            "syntax": { "spec": { "nodeName": "{{ 1 + }}" } },
            "golang": "spec:\n  nodeName: \"{{ .Values.global.hub }}\"",
            "yaml": "spec: [",
            "sidecar": {},
        },
        "templateAliases": { "alias": ["sidecar", "absent"] },
        "defaultTemplates": ["sidecar", "missing"],
    }});
    let values = Values::over_defaults(&values).unwrap();
    let (config, problems) = Config::new(values, MeshConfig::default(), true);
    insta::assert_snapshot!(problems.join("\n"), @r#"
    sidecarInjectorWebhook.templates: template "golang": spec.nodeName: cannot evaluate "{{ .Values.global.hub }}": syntax error: unexpected `.`; expressions are Jinja's, not Go's: `Values.global.hub` without the first dot: pods that ask for it are refused
    sidecarInjectorWebhook.templates: template "syntax": spec.nodeName: cannot evaluate "{{ 1 + }}": syntax error: unexpected end of input, expected expression: pods that ask for it are refused
    sidecarInjectorWebhook.templates: template "yaml": line 1: unclosed bracket '[' (texts with expressions have to be in quotes: "{{ … }}"): pods that ask for it are refused
    sidecarInjectorWebhook.templates: "sidecar" is the name of a built-in template and has no effect; choose another
    sidecarInjectorWebhook.templateAliases.alias: there is no template "absent"
    sidecarInjectorWebhook.defaultTemplates: there is no template "missing"
    "#);
    assert!(denial(&config, &asking("syntax", json!({}))).contains("spec.nodeName"));
    let injected = injected(&config, &asking("sidecar", json!({})));
    assert_eq!(names(&injected, "initContainers").len(), 2);
}

#[test]
fn a_result_that_is_no_pod_is_a_denial() {
    let config = with_templates(json!({ "odd": { "spec": { "volumes": "{{ 'text' }}" } } }));
    assert_eq!(
        denial(&config, &asking("odd", json!({}))),
        "after templates odd: spec.volumes: must be a list, is a string"
    );
}

/// Texts that would add something if they were read as YAML or as an expression.
fn attacks() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("x\"\n  - name: injected\n    image: \"busybox".to_owned()),
        Just("{{ Values }}{% for x in range(9) %}x{% endfor %}".to_owned()),
        Just("}}{{ 7 * 7 }}{{".to_owned()),
        Just("nul\0, \u{2028} and 'quotes' \"both\" \\ `".to_owned()),
        Just("]}, {\"name\": \"injected\"}".to_owned()),
        any::<String>(),
    ]
}

proptest! {
    #[test]
    fn whatever_an_annotation_says_it_stays_one_text(text in attacks(), label in attacks()) {
        let config = with_templates(json!({ "echo": { "spec": { "containers": [{
            "name": "echo",
            "image": "{{ annotation('example.com/x') }}",
            "args": ["a={{ annotation('example.com/x') }}", "{{ label('l') }}"],
        }]}}}));
        let mut pod = asking("echo", json!({ "example.com/x": text }));
        pod["metadata"]["labels"]["l"] = json!(label);
        let injected = injected(&config, &pod);
        let expected = json!([
            { "name": "app", "image": "x" },
            { "name": "echo", "image": text, "args": [format!("a={text}"), label] },
        ]);
        prop_assert_eq!(&injected["spec"]["containers"], &expected);
    }

    #[test]
    fn no_template_makes_injection_panic(text in any::<String>(), expression in "[a-zA-Z0-9_.|'()\\[\\]{}% +*~-]{0,40}") {
        let config = with_templates(json!({
            "text": text,
            "expression": { "metadata": { "labels": { "x": format!("{{{{ {expression} }}}}"), "y": format!("y{{% {expression} %}}") } } },
        }));
        for name in ["text", "expression"] {
            let _ = inject(&config, request(&asking(name, json!({}))));
        }
    }
}

#[test]
fn templates_that_put_the_proxy_into_different_lists_are_refused_together() {
    let pod = asking("sidecar,gateway", json!({}));
    assert_eq!(
        denial(&config(), &pod),
        "templates sidecar, gateway: one puts the container \"istio-proxy\" into containers and another into \
         initContainers, choose one of them"
    );
    let classic = config_of(Value::Null, Value::Null, false);
    assert_eq!(
        names(&injected(&classic, &pod), "containers"),
        ["app", "istio-proxy"]
    );
}
