//! Requests through both sidecars, and how Envoy and the kernel counted them.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use super::Stage;
use super::bookinfo::{Pod, pod_of};
use super::stage::{DEADLINE, in_node};
use crate::cluster::Cluster as _;
use crate::command;
use crate::progress::step;

/// What a request came to, as the client prints it.
#[derive(Clone, Debug, Deserialize)]
pub struct Answer {
    /// The HTTP status; absent when there was no answer.
    pub status: Option<u16>,
    /// The version of `reviews` behind the page.
    pub reviews: Option<String>,
    /// `available`, `unavailable` or `none`.
    pub ratings: Option<String>,
    /// Why there was no answer.
    pub error: Option<String>,
}

/// A number that grows by one for each connection.
#[derive(Clone, Copy, Debug)]
pub struct Counter {
    /// What counts.
    pub what: &'static str,
    /// Before the requests.
    pub before: u64,
    /// After them.
    pub after: u64,
}

/// What was sent and what was counted.
#[derive(Clone, Debug)]
pub struct Traffic {
    /// One for each request.
    pub answers: Vec<Answer>,
    /// At the client, where requests leave through port 15001.
    pub client: [Counter; 2],
    /// At `productpage`, where they arrive through port 15006.
    pub server: [Counter; 2],
}

/// One side of a sidecar: Envoy's statistic and the port that the kernel redirects to.
struct Side {
    app: &'static str,
    stat: &'static str,
    port: u16,
    whats: [&'static str; 2],
}

const CLIENT: Side = Side {
    app: "client",
    stat: "cluster.PassthroughCluster.upstream_cx_total",
    port: 15001,
    whats: [
        "client       Envoy      connections out",
        "client       iptables   redirected to 15001",
    ],
};

const SERVER: Side = Side {
    app: "productpage",
    stat: "cluster.InboundPassthroughCluster.upstream_cx_total",
    port: 15006,
    whats: [
        "productpage  Envoy      connections in",
        "productpage  iptables   redirected to 15006",
    ],
};

/// Sends `count` requests from the client's pod to productpage, one after the other, each over its own connection.
///
/// # Errors
/// The client can't be run, or a counter not be read.
pub fn send(stage: &Stage<'_>, count: u32) -> Result<Traffic> {
    let what = format!("send {count} requests from a pod to productpage");
    step(stage.screen, &what, || {
        let [client, server] = [pod_of(stage, CLIENT.app)?, pod_of(stage, SERVER.app)?];
        let before = [CLIENT.read(stage, &client)?, SERVER.read(stage, &server)?];
        let answers = request(stage, &client, count)?;
        let after = [CLIENT.read(stage, &client)?, SERVER.read(stage, &server)?];
        let counters = |side: &Side, which: usize| {
            [0, 1].map(|i| Counter {
                what: side.whats[i],
                before: before[which][i],
                after: after[which][i],
            })
        };
        Ok(Traffic {
            answers,
            client: counters(&CLIENT, 0),
            server: counters(&SERVER, 1),
        })
    })
}

fn request(stage: &Stage<'_>, client: &Pod, count: u32) -> Result<Vec<Answer>> {
    let count = format!("--count={count}");
    let url = "http://productpage:9080/productpage";
    let exec = [
        "exec",
        &client.name,
        "--container=client",
        "--",
        "/usr/local/bin/bookinfo",
        "get",
        &count,
        url,
    ];
    let lines = exec_in_pod(stage, &exec)?;
    lines
        .lines()
        .map(|line| serde_json::from_str(line).with_context(|| format!("the client's line {line}")))
        .collect()
}

/// A `kubectl exec`, which by itself waits for as long as its connection stays.
fn exec_in_pod(stage: &Stage<'_>, words: &[&str]) -> Result<String> {
    let mut kubectl = stage.node.kubectl_command();
    Ok(command::output_within(kubectl.args(words), DEADLINE)?)
}

impl Side {
    fn read(&self, stage: &Stage<'_>, pod: &Pod) -> Result<[u64; 2]> {
        Ok([
            envoy_stat(stage, pod, self.stat)?,
            redirected(stage, pod, self.port)?,
        ])
    }
}

/// A counter of a pod's Envoy, by way of the agent in it.
fn envoy_stat(stage: &Stage<'_>, pod: &Pod, name: &str) -> Result<u64> {
    let agent = [
        "--container=istio-proxy",
        "--",
        "outrigger-agent",
        "request",
        "GET",
        "stats",
    ];
    let stats = exec_in_pod(stage, &[&["exec", &pod.name], &agent[..]].concat())?;
    let line = stats
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    let value =
        line.with_context(|| format!("the Envoy of {} has no statistic {name}", pod.name))?;
    Ok(value.trim().parse()?)
}

/// How many connections the kernel redirected to `port` in a pod's network namespace: the first packet of each passes
/// the nat table.
fn redirected(stage: &Stage<'_>, pod: &Pod, port: u16) -> Result<u64> {
    let namespace = network_namespace(stage, pod)?;
    let rules = pod_network(stage, &namespace, &["iptables", "--table=nat", "-nvxL"])?;
    packets(&rules, port)
        .with_context(|| format!("no rule of {} redirects to {port}:\n{rules}", pod.name))
}

/// The sum of the packets of the rules that redirect to `port`, from a verbose listing with exact numbers.
fn packets(rules: &str, port: u16) -> Option<u64> {
    let target = format!("redir ports {port}");
    let counts = rules
        .lines()
        .filter(|line| line.trim_end().ends_with(&target));
    let counts: Vec<u64> = counts
        .filter_map(|line| line.split_whitespace().next()?.parse().ok())
        .collect();
    if counts.is_empty() {
        None
    } else {
        Some(counts.iter().sum())
    }
}

/// The file of a pod's network namespace on the node, found by the pod's address.
fn network_namespace(stage: &Stage<'_>, pod: &Pod) -> Result<String> {
    let files = command::output(in_node(stage.node, "ls").arg("/run/netns"))?;
    for name in files.split_whitespace() {
        let path = format!("/run/netns/{name}");
        let addresses = pod_network(stage, &path, &["ip", "-oneline", "-4", "address"])?;
        if addresses.contains(&format!(" {}/", pod.ip)) {
            return Ok(path);
        }
    }
    bail!(
        "no network namespace on the node has the address {} of {}",
        pod.ip,
        pod.name
    )
}

fn pod_network(stage: &Stage<'_>, namespace: &str, program: &[&str]) -> Result<String> {
    let net = format!("--net={namespace}");
    Ok(command::output(
        in_node(stage.node, "nsenter")
            .arg(net)
            .arg("--")
            .args(program),
    )?)
}

impl Counter {
    /// By how much it grew.
    pub fn growth(&self) -> u64 {
        self.after.saturating_sub(self.before)
    }
}

impl Traffic {
    /// The four counters.
    pub fn counters(&self) -> impl Iterator<Item = &Counter> {
        self.client.iter().chain(&self.server)
    }

    /// For people.
    pub fn describe(&self) -> String {
        let mut kinds = BTreeMap::new();
        for answer in &self.answers {
            *kinds.entry(answer.describe()).or_insert(0) += 1;
        }
        let mut lines: Vec<_> = kinds
            .iter()
            .map(|(kind, count)| format!("{count:4} × {kind}"))
            .collect();
        lines.push(format!(
            "{:44}{:>8}{:>8}{:>8}",
            "counter", "before", "after", "growth"
        ));
        for counter in self.counters() {
            let Counter {
                what,
                before,
                after,
            } = counter;
            lines.push(format!(
                "{what:44}{before:>8}{after:>8}{:>8}",
                counter.growth()
            ));
        }
        lines.join("\n")
    }
}

impl Answer {
    fn describe(&self) -> String {
        let Some(status) = self.status else {
            return self.error.clone().unwrap_or_else(|| "no answer".to_owned());
        };
        let reviews = self.reviews.as_deref().unwrap_or("none");
        let ratings = self.ratings.as_deref().unwrap_or("none");
        format!("HTTP {status}, reviews {reviews}, ratings {ratings}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_of_all_rules_that_redirect_to_the_port_are_added_up() {
        let rules = "Chain ISTIO_IN_REDIRECT (1 references)\n    pkts      bytes target     prot opt in     out     source               destination\n      12      720 REDIRECT   tcp  --  *      *       0.0.0.0/0            0.0.0.0/0            redir ports 15006\n\nChain ISTIO_REDIRECT (1 references)\n       3      180 REDIRECT   6    --  *      *       0.0.0.0/0            0.0.0.0/0            redir ports 15001\n       4      180 REDIRECT   6    --  *      *       0.0.0.0/0            0.0.0.0/0            redir ports 15001\n";
        assert_eq!(packets(rules, 15006), Some(12));
        assert_eq!(packets(rules, 15001), Some(7));
        assert_eq!(packets(rules, 15008), None);
    }
}
