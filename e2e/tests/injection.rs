//! Injected workloads on a real node: they start, are probed, call others, end, and come back.

use std::process::Stdio;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use outrigger_e2e::cluster::Cluster as _;
use outrigger_e2e::demo::{Stage, install};
use outrigger_e2e::{command, wait};
use serde_json::Value;

use crate::stage::{product, product_alone};

const NAMESPACE: &str = "--namespace=workloads";
/// Long for a machine under load.
const SOON: Duration = Duration::from_secs(180);

/// A command line of kubectl in the workloads' namespace, in words without blanks.
fn kubectl(stage: &Stage<'_>, line: &str) -> Result<String> {
    let mut kubectl = stage.node.kubectl_command();
    // In front: what follows `--` is another program's.
    kubectl.arg(NAMESPACE).args(line.split_whitespace());
    Ok(command::output_within(&mut kubectl, SOON * 2)?)
}

fn apply(stage: &Stage<'_>, namespace: &str, manifests: &str) {
    let image = stage.images.reference("workload");
    let text = manifests.replace("image: workload", &format!("image: {image}"));
    let mut command = stage.node.kubectl_command();
    command.args(["apply", "--namespace", namespace, "--filename=-"]);
    command::output_with_input(&mut command, &text).unwrap();
}

fn get(stage: &Stage<'_>, what: &str) -> Result<Value> {
    let text = kubectl(stage, &format!("get {what} --output=json"))?;
    serde_json::from_str(&text).context("kubectl get")
}

/// Waits for a condition of an object; where it does not come, all that is known of the pods is told.
fn await_condition(stage: &Stage<'_>, what: &str, condition: &str) {
    let line = format!(
        "wait {what} --for={condition} --timeout={}s",
        SOON.as_secs()
    );
    if let Err(error) = kubectl(stage, &line) {
        let pods = kubectl(stage, "describe pods").unwrap_or_default();
        panic!("{error:#}\n{pods}");
    }
}

/// What the workload answers to one call from inside of a pod.
fn call(stage: &Stage<'_>, from: &str, url: &str) -> Result<String> {
    let exec = format!("exec {from} -- /usr/local/bin/workload call {url}");
    Ok(kubectl(stage, &exec)?.trim_end().to_owned())
}

/// A namespace of its own with injection, further labels included.
fn namespace(stage: &Stage<'_>, name: &str, labels: &[&str]) {
    stage.node.kubectl(&["create", "namespace", name]).unwrap();
    let label = ["label", "namespace", name, "injection=enabled"];
    stage.node.kubectl(&[&label, labels].concat()).unwrap();
    let account = [
        "wait",
        "--for=create",
        "serviceaccount/default",
        "--timeout=60s",
        "--namespace",
        name,
    ];
    stage.node.kubectl(&account).unwrap();
}

/// The namespace with something to call in it, once for all tests; answered calls show that its Service is in force.
fn workloads(stage: &Stage<'_>) {
    static READY: OnceLock<()> = OnceLock::new();
    READY.get_or_init(|| {
        namespace(stage, "workloads", &[]);
        apply(stage, "workloads", include_str!("injection/apps.yaml"));
        await_condition(stage, "deployment/target", "condition=Available");
        let answers = || {
            call(
                stage,
                "deployment/target -c app",
                "http://target:8080/health",
            )
        };
        wait::until(SOON, "the target's Service", answers).unwrap();
        // The schedule has its own pace: begun for whoever waits for it.
        apply(stage, "workloads", include_str!("injection/jobs.yaml"));
    });
}

/// The names of what runs beside the application for as long as it does, and of what ran before.
fn init_containers(pod: &Value) -> Vec<(&str, bool)> {
    let containers = pod["spec"]["initContainers"]
        .as_array()
        .into_iter()
        .flatten();
    containers
        .map(|container| {
            let stays = container["restartPolicy"] == "Always";
            (container["name"].as_str().unwrap(), stays)
        })
        .collect()
}

#[test]
fn a_job_with_a_native_sidecar_completes_and_its_first_call_succeeds() {
    let Some(stage) = product() else { return };
    workloads(&stage);
    await_condition(&stage, "job/native", "condition=Complete");
    let pods = get(&stage, "pods --selector=job-name=native").unwrap();
    let pods = pods["items"].as_array().unwrap();
    assert_eq!(pods.len(), 1);
    assert_eq!(
        init_containers(&pods[0])[..2],
        [("istio-init", false), ("istio-proxy", true)]
    );
    assert_eq!(pods[0]["status"]["phase"], "Succeeded");
}

#[test]
fn an_application_that_waits_for_its_classic_sidecar_succeeds_at_its_first_call() {
    let Some(stage) = product() else { return };
    workloads(&stage);
    let ended = || {
        let pod = get(&stage, "pod/classic")?;
        let containers = pod["status"]["containerStatuses"].as_array();
        let app = containers.and_then(|all| all.iter().find(|one| one["name"] == "app"));
        let code = app.and_then(|app| app["state"]["terminated"]["exitCode"].as_i64());
        let code = code.with_context(|| format!("{}", pod["status"]))?;
        Ok::<_, anyhow::Error>((pod, code))
    };
    let (pod, code) = wait::until(SOON, "the application's end", ended).unwrap();
    assert_eq!(code, 0, "{}", pod["status"]);
    assert_eq!(init_containers(&pod), [("istio-init", false)]);
    assert_eq!(pod["spec"]["containers"][0]["name"], "istio-proxy");
    kubectl(&stage, "delete pod/classic --wait=false").unwrap();
}

#[test]
fn a_stateful_set_and_a_cron_job_run() {
    let Some(stage) = product() else { return };
    workloads(&stage);
    let rollout = format!(
        "rollout status statefulset/set --timeout={}s",
        SOON.as_secs()
    );
    kubectl(&stage, &rollout).unwrap();
    let succeeded = || {
        let jobs = get(&stage, "jobs")?;
        let mut jobs = jobs["items"].as_array().into_iter().flatten();
        let done = jobs.any(|job| {
            job["metadata"]["ownerReferences"][0]["name"] == "every-minute"
                && job["status"]["succeeded"] == 1
        });
        ensure!(done, "no run of it has succeeded");
        Ok(())
    };
    wait::until(SOON, "a run of the CronJob", succeeded).unwrap();
    kubectl(
        &stage,
        "patch cronjob/every-minute --patch={\"spec\":{\"suspend\":true}}",
    )
    .unwrap();
}

/// The merged metrics of a pod, as its agent serves them.
fn metrics(stage: &Stage<'_>, of: &str) -> Result<String> {
    let exec = format!(
        "exec {of} -c istio-proxy -- outrigger-agent request --debug-port=15020 GET stats/prometheus"
    );
    kubectl(stage, &exec)
}

#[test]
fn the_metrics_of_application_agent_and_envoy_are_in_one_scrape() {
    let Some(stage) = product() else { return };
    workloads(&stage);
    let metrics = metrics(&stage, "deployment/target").unwrap();
    for name in [
        "workload_orders_total 5",
        "envoy_server_live{} 1",
        "istio_agent_scrapes_total",
        "istio_agent_scrape_failures_total{type=\"application\"} 0",
    ] {
        assert!(metrics.contains(name), "{name} in:\n{metrics}");
    }
    let pod = get(&stage, "pods --selector=app=target").unwrap();
    let annotations = &pod["items"][0]["metadata"]["annotations"];
    assert_eq!(annotations["prometheus.io/port"], "15020");
}

#[test]
fn probes_and_hooks_of_every_kind_are_answered_and_a_broken_application_is_noticed() {
    let Some(stage) = product() else { return };
    workloads(&stage);
    apply(&stage, "workloads", include_str!("injection/probes.yaml"));
    await_condition(&stage, "pod/probes", "condition=Ready");
    // Nine probes go on for ever, one a second each: some rounds of them.
    let probed = |result: &str| -> Result<u64> {
        let metrics = metrics(&stage, "pod/probes")?;
        let name = format!("outrigger_agent_app_probes_total{{result=\"{result}\"}} ");
        let line = metrics.lines().find_map(|line| line.strip_prefix(&name));
        Ok(line.context("no such metric")?.parse()?)
    };
    let begun = probed("success").unwrap();
    wait::until(SOON, "rounds of probes", || {
        let now = probed("success")?;
        ensure!(now >= begun + 60, "{now} since {begun}");
        Ok(())
    })
    .unwrap();
    let pod = get(&stage, "pod/probes").unwrap();
    for list in ["containerStatuses", "initContainerStatuses"] {
        for status in pod["status"][list].as_array().unwrap() {
            assert_eq!(status["restartCount"], 0, "{status}");
        }
    }
    for container in pod["spec"]["containers"].as_array().unwrap() {
        for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
            let port = &container[probe]["httpGet"]["port"];
            assert!(
                port == 15020 || container["name"] == "istio-proxy",
                "{container}"
            );
        }
    }
    // The kubelet carries out hooks before it knows whether the application listens, and takes any answer for a success:
    // asked once more, now that it does.
    for (container, port) in [("a", 8080), ("b", 8180)] {
        let hook = format!(
            "exec pod/probes -c istio-proxy -- outrigger-agent request --debug-port=15020 GET \
             app-lifecycle/{container}/poststartz"
        );
        assert_eq!(kubectl(&stage, &hook).unwrap(), "done", "{container}");
        let from = format!("pod/probes -c {container}");
        let hooks = call(&stage, &from, &format!("http://127.0.0.1:{port}/hooks")).unwrap();
        assert!(hooks.ends_with("started"), "{container}: {hooks}");
    }

    // Broken, the application answers none of its probes: the kubelet hears of it, and starts it anew.
    call(&stage, "pod/probes -c d", "http://127.0.0.1:8380/break").unwrap();
    wait::until(SOON, "the broken container's restart", || {
        let pod = get(&stage, "pod/probes")?;
        let mut statuses = pod["status"]["containerStatuses"]
            .as_array()
            .into_iter()
            .flatten();
        let restarted = statuses.any(|status| status["name"] == "d" && status["restartCount"] == 1);
        ensure!(restarted, "{}", pod["status"]["containerStatuses"]);
        Ok(())
    })
    .unwrap();
    await_condition(&stage, "pod/probes", "condition=Ready");

    let mut logs = stage.node.kubectl_command();
    let logs = logs
        .args(["logs", "--follow", "pod/probes", "--container=a", NAMESPACE])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    kubectl(&stage, "delete pod/probes").unwrap();
    let logs = logs.wait_with_output().unwrap();
    let logs = String::from_utf8_lossy(&logs.stdout).into_owned();
    assert!(logs.ends_with("hook started\nhook stopping\n"), "{logs}");
}

#[test]
fn a_pod_in_tproxy_mode_is_probed_and_sees_who_calls() {
    let Some(stage) = product() else { return };
    workloads(&stage);
    apply(
        &stage,
        "workloads",
        include_str!("injection/transparent.yaml"),
    );
    await_condition(&stage, "deployment/transparent", "condition=Available");
    let callers = get(&stage, "pods --selector=app=target").unwrap();
    let caller = callers["items"][0]["status"]["podIP"].as_str().unwrap();
    let from = "deployment/target -c app";
    let seen = || call(&stage, from, "http://transparent:8080/caller");
    let seen = wait::until(SOON, "the transparent pod's Service", seen).unwrap();
    assert_eq!(seen, caller);
}

#[test]
fn a_namespace_that_forbids_what_capture_needs_is_told_on_the_deployment() {
    let Some(stage) = product() else { return };
    for level in ["restricted", "baseline"] {
        let name = format!("strict-{level}");
        let enforce = format!("pod-security.kubernetes.io/enforce={level}");
        namespace(&stage, &name, &[&enforce]);
        apply(&stage, &name, include_str!("injection/restricted.yaml"));
        let described = || {
            let describe = ["describe", "deployment/strict", "--namespace", &name];
            let text = stage.node.kubectl(&describe)?;
            for part in ["Warning", "PodSecurity", "istio-init", "NET_ADMIN", level] {
                ensure!(text.contains(part), "{part} in:\n{text}");
            }
            Ok(text)
        };
        wait::until(SOON, "the event on the Deployment", described).unwrap();
        let delete = ["delete", "namespace", &name, "--wait=false"];
        stage.node.kubectl(&delete).unwrap();
    }
}

#[test]
fn a_control_plane_without_replicas_comes_back_although_its_webhook_fails_closed() {
    let Some(stage) = product_alone() else { return };
    let policies = [
        "get",
        "mutatingwebhookconfigurations",
        "--output=jsonpath={.items[*].webhooks[*].failurePolicy}",
    ];
    let policies = stage.node.kubectl(&policies).unwrap();
    assert!(
        policies.split(' ').all(|policy| policy == "Fail"),
        "{policies}"
    );
    let scale = |replicas: u8| {
        let replicas = format!("--replicas={replicas}");
        let deployment = "deployment/outriggerd";
        let scale = [
            "scale",
            deployment,
            &replicas,
            "--namespace",
            install::NAMESPACE,
        ];
        stage.node.kubectl(&scale).unwrap();
        let rollout = [
            "rollout",
            "status",
            deployment,
            "--namespace",
            install::NAMESPACE,
        ];
        stage
            .node
            .kubectl(&[&rollout[..], &["--timeout=180s"]].concat())
            .unwrap();
    };
    scale(0);
    let ended = || {
        let get = [
            "get",
            "pods",
            "--namespace",
            install::NAMESPACE,
            "--output=name",
        ];
        let pods = stage.node.kubectl(&get)?;
        ensure!(pods.is_empty(), "{pods}");
        Ok(())
    };
    wait::until(SOON, "no control plane", ended).unwrap();
    namespace(&stage, "away", &[]);
    let run = [
        "run",
        "app",
        "--image=app",
        "--dry-run=server",
        "--namespace=away",
    ];
    let refused = stage.node.kubectl(&run).unwrap_err();
    assert!(refused.stderr().contains("sidecar-injector"), "{refused}");
    scale(2);
    wait::until(SOON, "injection", || stage.node.kubectl(&run)).unwrap();
    stage
        .node
        .kubectl(&["delete", "namespace", "away", "--wait=false"])
        .unwrap();
}
