//! etcd and kube-apiserver: they start, keep apart, come back and end.

use std::path::PathBuf;
use std::time::Duration;

use outrigger_e2e::cluster::{Cluster, ControlPlane};
use outrigger_e2e::progress::Lines;
use outrigger_e2e::wait;

use crate::support::{Caller, answer_and_stay, processes_of};

const DEADLINE: Duration = Duration::from_secs(60);

#[test]
fn control_planes_side_by_side_keep_their_own_objects() {
    let one = ControlPlane::start(&Lines).unwrap();
    let two = ControlPlane::start(&Lines).unwrap();
    one.create_namespace("only-in-one").unwrap();
    assert_eq!(
        one.kubectl(&["get", "namespace", "only-in-one", "--output=name"])
            .unwrap(),
        "namespace/only-in-one\n"
    );
    let error = two
        .kubectl(&["get", "namespace", "only-in-one"])
        .unwrap_err();
    assert!(error.stderr().contains("NotFound"), "{error}");
}

#[test]
fn restarted_api_server_has_what_was_stored() {
    // Not the shared one: others would see their API server go.
    let control_plane = ControlPlane::start(&Lines).unwrap();
    control_plane.create_namespace("survivor").unwrap();
    control_plane.restart_api_server().unwrap();
    control_plane
        .kubectl(&["get", "namespace", "survivor"])
        .unwrap();
}

#[test]
fn service_account_has_the_rights_it_was_given_and_no_more() {
    let control_plane = ControlPlane::start(&Lines).unwrap();
    control_plane.create_namespace("rights").unwrap();
    let reader = control_plane
        .kubeconfig_of_service_account("rights", "default")
        .unwrap();
    let get = ["get", "configmaps", "--namespace=rights"];
    let error = control_plane.kubectl_as(&reader, &get).unwrap_err();
    assert!(
        error
            .stderr()
            .contains("system:serviceaccount:rights:default"),
        "{error}"
    );
    let role = [
        "create",
        "role",
        "reader",
        "--verb=list,get",
        "--resource=configmaps",
        "--namespace=rights",
    ];
    control_plane.kubectl(&role).unwrap();
    let binding = [
        "create",
        "rolebinding",
        "reader",
        "--role=reader",
        "--serviceaccount=rights:default",
        "--namespace=rights",
    ];
    control_plane.kubectl(&binding).unwrap();
    wait::until(DEADLINE, "role in effect", || {
        control_plane.kubectl_as(&reader, &get)
    })
    .unwrap();
}

#[test]
fn dropped_control_plane_leaves_no_process_and_no_file() {
    let control_plane = ControlPlane::start(&Lines).unwrap();
    let directory = control_plane.directory().to_owned();
    assert!(!processes_of(&directory).is_empty());
    drop(control_plane);
    assert_eq!(processes_of(&directory), Vec::<String>::new());
    assert!(!directory.exists());
}

#[test]
fn killed_caller_takes_its_control_plane_along() {
    let caller = Caller::start("control_plane::helper_that_starts_a_control_plane_and_stays");
    let directory = PathBuf::from(caller.answer(DEADLINE));
    assert!(!processes_of(&directory).is_empty());
    caller.kill();
    let gone = || processes_of(&directory).is_empty() && !directory.exists();
    wait::until_true(DEADLINE, "control plane gone after its caller", gone).unwrap();
}

#[test]
#[ignore = "the caller that another test kills"]
fn helper_that_starts_a_control_plane_and_stays() {
    let control_plane = ControlPlane::start(&Lines).unwrap();
    answer_and_stay(&control_plane.directory().display().to_string());
}
