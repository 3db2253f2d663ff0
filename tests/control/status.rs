//! What people see in the status of their objects.

use outrigger_e2e::cluster::Cluster as _;
use outrigger_e2e::wait;

use super::*;

#[test]
fn route_to_an_unknown_subset_is_reported_where_people_look_and_cleared_when_cured() {
    let installed = Installed::exclusive();
    let cluster = &installed.cluster;
    let ns = "status-cure";
    cluster.create_namespace(ns).unwrap();
    let _daemon = installed.daemon("status-cure");

    cluster.apply(&reviews(ns, "v4")).unwrap();
    let (reason, message) = wait_for_ready(cluster, ns, "virtualservice/reviews", "False");
    assert_eq!(reason, "SubsetNotFound");
    assert!(
        message.contains("spec.http[0].route[0].destination.subset")
            && message.contains("v4")
            && message.contains("v1")
            && message.contains("v2"),
        "{message}"
    );
    wait_for_ready(cluster, ns, "destinationrule/reviews", "True");
    let object = read(cluster, ns, "virtualservice/reviews").unwrap();
    assert_eq!(condition(&object, "Accepted").unwrap().0, "True");
    assert_eq!(condition(&object, "ResolvedRefs").unwrap().0, "False");
    let describes = || {
        let text = cluster.kubectl(&["describe", "virtualservice/reviews", "-n", ns])?;
        ensure!(text.contains("Warning  SubsetNotFound"), "{text}");
        Ok(())
    };
    wait::until(SOON, "a warning event", describes).unwrap();

    // Wrong in another way, for the same reason: the event must say what is wrong now.
    cluster.apply(&virtual_service(ns, "v5")).unwrap();
    let describes = || {
        let text = cluster.kubectl(&["describe", "virtualservice/reviews", "-n", ns])?;
        let events = text.split("Events:").last().unwrap_or_default();
        let of = |subset: &str| events.contains(&format!("\"{subset}\""));
        ensure!(of("v4") && of("v5"), "{text}");
        Ok(())
    };
    wait::until(SOON, "an event with the new message", describes).unwrap();

    cluster.apply(&virtual_service(ns, "v2")).unwrap();
    wait_for_ready(cluster, ns, "virtualservice/reviews", "True");
    let object = read(cluster, ns, "virtualservice/reviews").unwrap();
    // That no pod is behind the service is still to be told; the subset is not.
    let told = object["status"]["validationMessages"].to_string();
    assert!(!told.contains("IST0101"), "{object}");
    let describes = || {
        let text = cluster.kubectl(&["describe", "virtualservice/reviews", "-n", ns])?;
        ensure!(text.contains("Normal   Ready"), "{text}");
        Ok(())
    };
    wait::until(SOON, "a normal event", describes).unwrap();
}

#[test]
fn a_verdict_follows_the_objects_that_it_rests_on() {
    let installed = Installed::exclusive();
    let cluster = &installed.cluster;
    let ns = "status-follows";
    cluster.create_namespace(ns).unwrap();
    let _daemon = installed.daemon("status-follows");

    cluster.apply(&reviews(ns, "v1")).unwrap();
    wait_for_ready(cluster, ns, "virtualservice/reviews", "True");
    cluster
        .kubectl(&["delete", "destinationrule/reviews", "-n", ns])
        .unwrap();
    wait_for_ready(cluster, ns, "virtualservice/reviews", "False");
    cluster.apply(&reviews(ns, "v1")).unwrap();
    wait_for_ready(cluster, ns, "virtualservice/reviews", "True");
    cluster
        .kubectl(&["delete", "service/reviews", "-n", ns])
        .unwrap();
    wait_for_ready(cluster, ns, "virtualservice/reviews", "False");
}

#[test]
fn what_is_right_already_is_not_written_again() {
    let installed = Installed::exclusive();
    let cluster = &installed.cluster;
    let ns = "status-no-ops";
    cluster.create_namespace(ns).unwrap();
    let first = installed.daemon("status-no-ops-1");
    cluster.apply(&reviews(ns, "v4")).unwrap();
    wait_for_ready(cluster, ns, "virtualservice/reviews", "False");
    wait_for_ready(cluster, ns, "destinationrule/reviews", "True");
    assert!(first.stop().success());

    let before = read(cluster, ns, "virtualservice/reviews").unwrap();
    let second = installed.daemon("status-no-ops-2");
    let objects = second.metric("outrigger_objects{kind=\"virtualservices\"}")
        + second.metric("outrigger_objects{kind=\"destinationrules\"}");
    assert!(objects >= 2.0, "{objects}");
    second.wait_for_metric("outrigger_status_no_ops_total", objects);
    assert_eq!(second.metric("outrigger_status_writes_total"), 0.0);
    let after = read(cluster, ns, "virtualservice/reviews").unwrap();
    assert_eq!(
        before["metadata"]["resourceVersion"],
        after["metadata"]["resourceVersion"]
    );
}

#[test]
fn a_status_that_somebody_overwrote_is_put_right_and_foreign_conditions_stay() {
    let installed = Installed::exclusive();
    let cluster = &installed.cluster;
    let ns = "status-overwritten";
    cluster.create_namespace(ns).unwrap();
    let _daemon = installed.daemon("status-overwritten");
    cluster.apply(&reviews(ns, "v4")).unwrap();
    wait_for_ready(cluster, ns, "virtualservice/reviews", "False");
    let lie = r#"{"status":{"conditions":[{"type":"Ready","status":"True","reason":"Lie","message":"","observedGeneration":1,
        "lastTransitionTime":"2026-01-01T00:00:00Z"},{"type":"example.com/Seen","status":"True","reason":"Seen","message":"",
        "lastTransitionTime":"2026-01-01T00:00:00Z"}]}}"#;
    cluster
        .kubectl(&[
            "patch",
            "virtualservice/reviews",
            "-n",
            ns,
            "--subresource=status",
            "--type=merge",
            "-p",
            lie,
        ])
        .unwrap();
    wait_for_ready(cluster, ns, "virtualservice/reviews", "False");
    let object = read(cluster, ns, "virtualservice/reviews").unwrap();
    let conditions = object["status"]["conditions"].as_array().unwrap();
    assert!(
        conditions
            .iter()
            .any(|condition| condition["type"] == "example.com/Seen"),
        "{object}"
    );
}

#[test]
fn what_is_said_again_is_counted_on_the_event_that_said_it_first() {
    let installed = Installed::exclusive();
    let cluster = &installed.cluster;
    let ns = "status-again";
    cluster.create_namespace(ns).unwrap();
    let _daemon = installed.daemon("status-again");
    cluster.apply(&reviews(ns, "v4")).unwrap();
    // A type, a reason, and how often that was said.
    let events = || -> Result<Vec<(String, i64)>> {
        let list = read(cluster, ns, "events.events.k8s.io")?;
        let about = list["items"].as_array().context("no items")?.iter();
        let about = about.filter(|event| event["regarding"]["kind"] == "VirtualService");
        let mut said: Vec<(String, i64)> = about
            .map(|event| {
                let reason = event["reason"].as_str().unwrap_or_default().to_owned();
                (reason, event["series"]["count"].as_i64().unwrap_or(1))
            })
            .collect();
        said.sort();
        Ok(said)
    };
    for (subset, ready) in [
        ("v4", "False"),
        ("v1", "True"),
        ("v4", "False"),
        ("v1", "True"),
    ] {
        cluster.apply(&virtual_service(ns, subset)).unwrap();
        wait_for_ready(cluster, ns, "virtualservice/reviews", ready);
    }
    let expected = [("Ready".to_owned(), 2), ("SubsetNotFound".to_owned(), 2)];
    wait::until(SOON, "two events, each said twice", || {
        let said = events()?;
        ensure!(said == expected, "{said:?}");
        Ok(())
    })
    .unwrap();
}
