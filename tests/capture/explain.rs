//! `outrigger explain capture` as a person runs it: on flags, on a manifest, on a cluster.

use std::process::Command;

use outrigger_e2e::cluster::{Cluster as _, ControlPlane};
use outrigger_e2e::progress::Lines;
use outrigger_e2e::{command, requires};

const POD: &str = "
apiVersion: v1
kind: Pod
metadata:
  name: web
  annotations:
    traffic.sidecar.istio.io/excludeOutboundIPRanges: 10.1.0.0/16
spec:
  containers:
    - name: app
      image: registry.test/app:1
      securityContext: { runAsUser: 2000, runAsGroup: 3000 }
";

fn outrigger(words: &[&str], input: &str) -> Result<String, command::CommandError> {
    let mut program = Command::new(env!("CARGO_BIN_EXE_outrigger"));
    command::output_with_input(program.args(words), input)
}

fn injected(pod: &str) -> String {
    outrigger(&["inject", "-f", "-"], pod).unwrap()
}

#[test]
fn without_a_pod_the_flags_of_istio_iptables_count() {
    let ask = |flags: &[&str]| {
        let question = [
            "explain",
            "capture",
            "--from",
            "app",
            "--dst",
            "[fd00::5]:80",
        ];
        outrigger(&[&question, flags].concat(), "").unwrap()
    };
    // The rules of a pod without settings of its own.
    assert!(ask(&[]).contains("port 15001, which learns that it was going to [fd00::5]:80"));
    assert!(ask(&["-i", "*", "-x", "fd00::/64"]).contains("leaves the pod, for [fd00::5]:80"));
    assert!(ask(&["-i", "*", "--native-nftables"]).contains("nat istio-output, rule 9"));
    let groups = ["-i", "*", "--env", "ISTIO_OUTBOUND_OWNER_GROUPS=2002"];
    assert!(ask(&groups).contains("(ISTIO_OUTBOUND_OWNER_GROUPS)"));
    let wrong = outrigger(
        &[
            "explain",
            "capture",
            "--from",
            "app",
            "--dst",
            "10.0.0.1:1",
            "-b",
            "80,http",
        ],
        "",
    );
    let error = wrong.unwrap_err();
    assert!(error.stderr().contains("item 2, \"http\""), "{error}");
}

#[test]
fn a_pod_of_a_manifest_is_explained_by_its_own_settings() {
    let ask = |to: &str| {
        let words = [
            "explain", "capture", "-f", "-", "--from", "app", "--dst", to,
        ];
        outrigger(&words, &injected(POD)).unwrap()
    };
    let said = ask("10.1.2.3:80");
    assert!(said.starts_with("From the application (user 2000, group 3000): TCP to 10.1.2.3:80\n"));
    assert!(said.contains("(--istio-service-exclude-cidr)") && said.contains("leaves the pod"));
    assert!(ask("10.2.2.3:80").contains("listener for outbound connections, port 15001"));
    let words = [
        "explain",
        "capture",
        "-f",
        "-",
        "--from",
        "app",
        "--dst",
        "10.1.2.3:80",
    ];
    let error = outrigger(&words, POD).unwrap_err();
    assert!(error.stderr().contains("no injected pod"), "{error}");
}

#[test]
fn a_pod_of_a_cluster_is_read_by_kubeconfig() {
    let Ok(()) = requires::root() else {
        return;
    };
    let cluster = ControlPlane::shared(&Lines).unwrap();
    let namespace = "explain-capture";
    cluster.create_namespace(namespace).unwrap();
    let pod = POD.replace(
        "metadata:\n",
        &format!("metadata:\n  namespace: {namespace}\n"),
    );
    let pod = injected(&pod);
    cluster.apply(&pod).unwrap();
    let kubeconfig = cluster.kubeconfig().display().to_string();
    let ask = |name: &str| {
        let of = ["--pod", name, "-n", namespace, "--kubeconfig", &kubeconfig];
        let packet = [
            "--from",
            "outside",
            "--dst",
            "10.0.0.1:9080",
            "--pod-ips",
            "10.0.0.1",
        ];
        outrigger(
            &[&["explain", "capture"], &of[..], &packet[..]].concat(),
            "",
        )
    };
    let said = ask("web").unwrap();
    assert!(
        said.contains("listener for inbound connections, port 15006"),
        "{said}"
    );
    assert!(
        said.contains("arrives at whatever listens on 10.0.0.1:9080"),
        "{said}"
    );
    let error = ask("absent").unwrap_err();
    assert!(
        error
            .stderr()
            .contains("pod \"absent\" of namespace \"explain-capture\""),
        "{error}"
    );
}

#[test]
fn a_code_and_a_topic_are_told_apart() {
    let said = outrigger(&["explain", "ist0101"], "").unwrap();
    assert!(said.contains("IST0101"), "{said}");
    let error = outrigger(&["explain", "nonsense"], "").unwrap_err();
    assert!(error.stderr().contains("IST0101"), "{error}");
}
