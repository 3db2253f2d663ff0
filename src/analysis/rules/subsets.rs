//! Subsets: which endpoints they have, and who uses them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::analysis::diagnoses as say;
use crate::analysis::view::{Pair, View};
use crate::api::kind::Kind;
use crate::api::networking::{
    Destination, DestinationRuleSpec, ServiceEntrySpec, VirtualServiceSpec, WorkloadEntrySpec,
};
use crate::api::text::enumeration;
use crate::model::{Course, Definition, Service, selects};
use crate::world::{NodeSpec, ObjectKey, PodSpec};

use super::gateways::listed;
use super::{Inspected, Report};

type Labels = BTreeMap<String, String>;

/// Labels that endpoints have from the node that their pod runs on.
const TOPOLOGY: [&str; 3] = [
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
    "topology.istio.io/subzone",
];
const HOSTNAME: &str = "kubernetes.io/hostname";

/// Labels that endpoints have from the cluster, of which nothing is known here.
const OF_THE_CLUSTER: [&str; 2] = ["topology.istio.io/cluster", "topology.istio.io/network"];

/// Of how many VirtualServices it is told to which subsets they send.
const LOOKED_THROUGH: usize = 256;

/// What can be said of a subset's endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Endpoints {
    /// There is one, and it is ready as far as is known.
    Some,
    /// There are, but none is ready.
    NoneReady,
    /// There is none.
    None,
    /// The service's pods are not known, or not of this cluster.
    Unknown,
}

/// Every subset has a pod. Istio: IST0173, once for each subset.
pub(super) fn subsets_have_pods(
    view: &View<'_>,
    object: &Inspected<'_, DestinationRuleSpec>,
    report: &mut Report<'_>,
) {
    let namespace = &object.key.namespace;
    let host = view.resolve(&object.spec.host, namespace);
    let services = view.services(&host, [namespace]);
    let Some(service) = services.iter().find(|service| service.host == host) else {
        return;
    };
    for (index, subset) in object.spec.subsets.iter().enumerate() {
        let path = || format!("spec.subsets[{index}].labels");
        let labels = || listed(&subset.labels);
        let message = match endpoints(view, service, &subset.labels) {
            Endpoints::None => {
                let text = format!("no pod of {} has the labels {}", service.source, labels());
                report.say(&say::SUBSET_WITHOUT_PODS, path(), text)
            }
            Endpoints::NoneReady => {
                let text = format!(
                    "no pod of {} with the labels {} is ready",
                    service.source,
                    labels()
                );
                report.say(&say::SUBSET_NOT_READY, path(), text)
            }
            Endpoints::Some | Endpoints::Unknown => continue,
        };
        message.concerning(&service.source);
    }
}

/// Every subset is named by a route. Looked at only where some of them are: where none is, the routes are still to come,
/// or the rule is there for its policy.
pub(super) fn subsets_are_used(
    view: &View<'_>,
    object: &Inspected<'_, DestinationRuleSpec>,
    report: &mut Report<'_>,
) {
    let host = view.resolve(&object.spec.host, &object.key.namespace);
    let subsets = &object.spec.subsets;
    let is_used: Vec<bool> = subsets
        .iter()
        .map(|subset| view.is_sent_to(&host, &subset.name))
        .collect();
    if !is_used.contains(&true) || !is_used.contains(&false) {
        return;
    }
    let mut targets = view.targets(&host);
    let used: BTreeSet<&str> = targets
        .by_ref()
        .take(LOOKED_THROUGH)
        .flat_map(|target| target.subsets.iter().map(|subset| &**subset))
        .collect();
    let some = match targets.next() {
        Some(_) => "some of the ",
        None => "",
    };
    for ((index, subset), is_used) in subsets.iter().enumerate().zip(is_used) {
        if !is_used {
            let text = format!(
                "no route names subset \"{}\"; {some}routes to {host} name {}",
                subset.name,
                enumeration(&used)
            );
            report.say(
                &say::SUBSET_UNUSED,
                format!("spec.subsets[{index}].name"),
                text,
            );
        }
    }
}

/// No share of a route's traffic goes to a service or a subset without a ready endpoint.
pub(super) fn weights_lead_somewhere(
    view: &View<'_>,
    object: &Inspected<'_, VirtualServiceSpec>,
    report: &mut Report<'_>,
) {
    let namespace = &object.key.namespace;
    let mut judged: BTreeMap<(&str, &str), Option<(Endpoints, ObjectKey)>> = BTreeMap::new();
    for share in shares(object.spec) {
        let destination = share.destination;
        let found = judged
            .entry((&destination.host, &destination.subset))
            .or_insert_with(|| endpoints_of(view, namespace, destination));
        let Some((found, defined_by)) = found else {
            continue;
        };
        let lack = match found {
            Endpoints::None => "no pod",
            Endpoints::NoneReady => "no ready pod",
            Endpoints::Some | Endpoints::Unknown => continue,
        };
        let target = match destination.subset.as_str() {
            "" => destination.host.clone(),
            subset => format!("subset \"{subset}\" of {}", destination.host),
        };
        let text = format!(
            "{} % of the {} go to {target}, which has {lack} ({defined_by})",
            share.percent, share.what
        );
        let (list, place, index) = share.at;
        let path = format!("spec.{list}[{place}].route[{index}].weight");
        report
            .say(&say::WEIGHT_TO_NOTHING, path, text)
            .concerning(defined_by);
    }
}

/// What a destination gets of a route's traffic.
struct Share<'a> {
    /// The list of routes, the place of the route in it, and that of the destination in the route.
    at: (&'static str, usize, usize),
    destination: &'a Destination,
    percent: i64,
    what: &'static str,
}

/// What each destination gets, if it gets anything.
fn shares(spec: &VirtualServiceSpec) -> Vec<Share<'_>> {
    let mut shares = Vec::new();
    for (i, http) in spec.http.iter().enumerate() {
        let weighted = http.route.iter();
        let weighted = weighted.map(|route| (route.destination.as_ref(), route.weight));
        share_out(("http", i), "requests", weighted, &mut shares);
    }
    let tls = spec.tls.iter().map(|tls| &tls.route).enumerate();
    let tcp = spec.tcp.iter().map(|tcp| &tcp.route).enumerate();
    let others = tls
        .map(|(i, routes)| (("tls", i), routes))
        .chain(tcp.map(|(i, routes)| (("tcp", i), routes)));
    for (at, routes) in others {
        let weighted = routes.iter();
        let weighted = weighted.map(|route| (route.destination.as_ref(), route.weight));
        share_out(at, "connections", weighted, &mut shares);
    }
    shares
}

fn share_out<'a>(
    (list, place): (&'static str, usize),
    what: &'static str,
    weighted: impl ExactSizeIterator<Item = (Option<&'a Destination>, i32)> + Clone,
    shares: &mut Vec<Share<'a>>,
) {
    let is_all = weighted.len() == 1;
    let total: i64 = weighted.clone().map(|(_, weight)| i64::from(weight)).sum();
    for (index, (destination, weight)) in weighted.enumerate() {
        if let Some(destination) = destination
            && (is_all || weight > 0)
        {
            shares.push(Share {
                at: (list, place, index),
                destination,
                percent: if is_all {
                    100
                } else {
                    i64::from(weight) * 100 / total.max(1)
                },
                what,
            });
        }
    }
}

/// The endpoints of a destination, and the object that defines which these are.
fn endpoints_of(
    view: &View<'_>,
    namespace: &Arc<str>,
    destination: &Destination,
) -> Option<(Endpoints, ObjectKey)> {
    let host = view.resolve(&destination.host, namespace);
    let services = view.services(&host, [namespace]);
    let service = services.iter().find(|service| service.host == host)?;
    if destination.subset.is_empty() {
        let found = endpoints(view, service, &Labels::new());
        return Some((found, service.source.clone()));
    }
    let (rule, subset) = view.rules(&host).find_map(|rule| {
        let mut subsets = rule.spec.subsets.iter();
        Some((
            rule,
            subsets.find(|subset| subset.name == destination.subset)?,
        ))
    })?;
    Some((
        endpoints(view, service, &subset.labels),
        rule.source.clone(),
    ))
}

/// What is known of the endpoints of a service that have these labels.
pub(super) fn endpoints(view: &View<'_>, service: &Service, labels: &Labels) -> Endpoints {
    let source = &service.source;
    match &service.definition {
        Definition::Service(spec) if spec.selector.is_empty() => Endpoints::Unknown,
        Definition::Service(spec) => of_pods(view, &source.namespace, &spec.selector, labels),
        Definition::ServiceEntry(spec) => of_entry(view, source, spec, labels),
    }
}

/// The endpoints of a ServiceEntry: those that it lists, or the workloads that it selects.
fn of_entry(
    view: &View<'_>,
    key: &ObjectKey,
    spec: &ServiceEntrySpec,
    labels: &Labels,
) -> Endpoints {
    if let Some(selector) = spec
        .workload_selector
        .as_ref()
        .map(|selector| &selector.labels)
    {
        let wanted = merged(selector, labels);
        let entries = view.objects::<WorkloadEntrySpec>(&key.namespace);
        let mut entries = entries.filter_map(|(_, entry)| Some((&entry.meta, entry.spec()?)));
        if entries.any(|(meta, entry)| selects(&wanted, &merged(&meta.labels, &entry.labels))) {
            return Endpoints::Some;
        }
        return of_pods(view, &key.namespace, selector, labels);
    }
    let listed = spec
        .endpoints
        .iter()
        .any(|endpoint| selects(labels, &endpoint.labels));
    // Where it lists none, its hosts are looked up, and such endpoints have no labels.
    if labels.is_empty() || listed {
        Endpoints::Some
    } else {
        Endpoints::None
    }
}

/// The pods of a namespace that a service selects and that have these labels. Of those that a Deployment makes nothing
/// is known while there is none (in files, and while it is scaled to zero).
fn of_pods(view: &View<'_>, namespace: &Arc<str>, selector: &Labels, labels: &Labels) -> Endpoints {
    if !view.knows_any(Kind::Pod) && !view.knows_any(Kind::Deployment) {
        return Endpoints::Unknown;
    }
    let known = |(key, _): &Pair<'_>| !OF_THE_CLUSTER.contains(&key.as_str());
    let is_of_nodes = |key: &str| TOPOLOGY.contains(&key) || key == HOSTNAME;
    let of_service = selector
        .iter()
        .filter(|(key, _)| !labels.contains_key(*key));
    let wanted = of_service.chain(labels).filter(known);
    let (of_nodes, mut of_pods): (Vec<Pair<'_>>, Vec<Pair<'_>>) =
        wanted.partition(|(key, _)| is_of_nodes(key));
    of_pods.sort_unstable();
    let mut found = Endpoints::None;
    for key in view.pods_of(namespace, of_pods.iter().copied()) {
        let (Some(pod), Some(own)) = (view.pod(key), view.labels(key)) else {
            continue;
        };
        if runs_where(view, &of_nodes, own, pod) {
            if pod.ready != Some(false) {
                return Endpoints::Some;
            }
            found = Endpoints::NoneReady;
        }
    }
    let mut makers = view.deployments_of(namespace, of_pods);
    if found == Endpoints::None && of_nodes.is_empty() && makers.next().is_some() {
        return Endpoints::Unknown;
    }
    found
}

/// Whether a pod's labels, with those that it has from its node, hold all of these.
fn runs_where(view: &View<'_>, wanted: &[Pair<'_>], own: &Labels, pod: &PodSpec) -> bool {
    wanted.iter().all(|&(name, value)| {
        if own.get(name) == Some(value) {
            return true;
        }
        if pod.node_name.is_empty() {
            return false;
        }
        let key = ObjectKey::new(Kind::Node, "", &*pod.node_name);
        match view.object::<NodeSpec>(&key) {
            Some(_) if name == HOSTNAME => *value == pod.node_name,
            // An empty label says nothing, and is not passed on to endpoints.
            Some(node) => !value.is_empty() && node.meta.labels.get(name) == Some(value),
            None => false,
        }
    })
}

/// Both, the second first.
fn merged(a: &Labels, b: &Labels) -> Labels {
    let mut all = a.clone();
    all.extend(b.iter().map(|(key, value)| (key.clone(), value.clone())));
    all
}

/// Where sidecars split a host's traffic by subsets, a gateway's routes to that host do so too. Istio: IST0140.
pub(super) fn gateways_use_the_subsets_too(
    view: &View<'_>,
    object: &Inspected<'_, VirtualServiceSpec>,
    report: &mut Report<'_>,
) {
    if object.spec.gateways.is_empty() {
        return;
    }
    let namespace = &object.key.namespace;
    for (i, http) in object.spec.http.iter().enumerate() {
        for (j, route) in http.route.iter().enumerate() {
            let Some(destination) = &route.destination else {
                continue;
            };
            if !destination.subset.is_empty() || destination.host.is_empty() {
                continue;
            }
            let host = view.resolve(&destination.host, namespace);
            let splitting = view.routes_around(&host).of(&Course::Splitting);
            if let Some(rival) = splitting.and_then(|all| all.exact(&host).next()) {
                let text = format!(
                    "host \"{}\" is routed here without a subset, while {} splits its traffic by subsets",
                    destination.host, rival.source
                );
                let path = format!("spec.http[{i}].route[{j}].destination");
                let message = report.say(&say::SUBSETS_BYPASSED, path, text);
                if rival.source != *object.key {
                    message.concerning(&rival.source);
                }
            }
        }
    }
}
