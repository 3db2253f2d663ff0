//! Objects come and go in any order, and after each step the status says what is so now.

use outrigger_e2e::cluster::Cluster as _;
use outrigger_e2e::wait;

use super::transitions::{ABSENT, Transitions};
use super::*;
use crate::random::{Random, SEED};

/// What there is, or is right, about the route under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// The service that it names.
    Service,
    /// The rule of the service.
    Rule,
    /// The subset that it names, in the rule.
    Subset,
    /// Its own fields.
    Validity,
    /// That an older route leaves its host alone.
    Host,
}

const PARTS: [Part; 5] = [
    Part::Service,
    Part::Rule,
    Part::Subset,
    Part::Validity,
    Part::Host,
];

/// The conditions, each with the parts that it rests on.
const RESTS_ON: [(&str, &[Part]); 5] = [
    ("Accepted", &[Part::Validity]),
    ("ResolvedRefs", &[Part::Service, Part::Rule, Part::Subset]),
    ("Conflicted", &[Part::Host]),
    ("Ready", &PARTS),
    ("Stalled", &[Part::Validity, Part::Host]),
];

/// Which parts are there.
#[derive(Debug, Clone, Copy)]
struct Present([bool; PARTS.len()]);

impl Present {
    fn has(self, part: Part) -> bool {
        PARTS
            .iter()
            .zip(self.0)
            .any(|(one, there)| *one == part && there)
    }

    fn toggle(&mut self, part: Part) {
        for (index, _) in PARTS.iter().enumerate().filter(|(_, one)| **one == part) {
            self.0[index] = !self.0[index];
        }
    }

    /// Every condition of the route, by what it means to people and not by the engine's rules.
    fn expected(self) -> [(&'static str, &'static str); 5] {
        let truth = |holds: bool| if holds { "True" } else { "False" };
        let or_absent = |holds: bool| if holds { "True" } else { ABSENT };
        let valid = self.has(Part::Validity);
        let alone = self.has(Part::Host);
        let resolved = [Part::Service, Part::Rule, Part::Subset].map(|part| self.has(part));
        let resolved = resolved == [true; 3];
        [
            ("Accepted", truth(valid)),
            ("ResolvedRefs", truth(resolved)),
            ("Conflicted", or_absent(!alone)),
            ("Ready", truth(valid && resolved && alone)),
            ("Stalled", or_absent(!valid || !alone)),
        ]
    }
}

/// A namespace with the route and what it names.
struct Scene<'a> {
    cluster: &'a ControlPlane,
    namespace: &'a str,
    present: Present,
}

impl Scene<'_> {
    fn apply(&self, manifest: &str) {
        self.cluster.apply(manifest).unwrap();
    }

    /// Makes the cluster have what is present, in one part.
    fn write(&self, part: Part) {
        let (ns, there) = (self.namespace, self.present.has(part));
        match part {
            Part::Service if there => self.apply(&format!(
                "
apiVersion: v1
kind: Service
metadata: {{name: reviews, namespace: {ns}}}
spec: {{selector: {{app: reviews}}, ports: [{{name: http, port: 9080}}]}}"
            )),
            Part::Service => self.delete("service/reviews"),
            Part::Rule | Part::Subset if self.present.has(Part::Rule) => {
                let other = if self.present.has(Part::Subset) {
                    "v2"
                } else {
                    "v3"
                };
                self.apply(&format!(
                    "
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: reviews, namespace: {ns}}}
spec: {{host: reviews, subsets: [{{name: v1, labels: {{version: v1}}}}, {{name: {other}, labels: {{version: {other}}}}}]}}"
                ));
            }
            Part::Rule => self.delete("destinationrule/reviews"),
            // Without a rule it is written with the rule.
            Part::Subset => {}
            Part::Validity => {
                let timeout = if there { "1s" } else { "1.0001s" };
                let route = virtual_service(ns, "v2")
                    .replace("[{route:", &format!("[{{timeout: {timeout}, route:"));
                self.apply(&route);
            }
            Part::Host => {
                let host = if there {
                    "nobody.example.com"
                } else {
                    "reviews"
                };
                let older = virtual_service(ns, "v1")
                    .replace("{name: reviews", "{name: a-older")
                    .replace("hosts: [reviews]", &format!("hosts: [{host}]"));
                self.apply(&older);
            }
        }
    }

    fn delete(&self, object: &str) {
        let delete = ["delete", object, "-n", self.namespace];
        self.cluster.kubectl(&delete).unwrap();
    }

    /// Waits until the route says what is so.
    fn wait(&self) -> Result<()> {
        let what = format!("the conditions of {:?}", self.present);
        wait::until(SOON, &what, || {
            let object = read(self.cluster, self.namespace, "virtualservice/reviews")?;
            for (kind, expected) in self.present.expected() {
                let found = condition(&object, kind).map_or(ABSENT.to_owned(), |found| found.0);
                ensure!(
                    found == expected,
                    "{kind}={found}, not {expected}: {}",
                    object["status"]
                );
            }
            Ok(())
        })
    }
}

#[test]
fn each_condition_goes_and_comes_back_as_objects_come_and_go_in_any_order() {
    let (mut random, seed) = Random::new();
    let installed = Installed::exclusive();
    let cluster = &installed.cluster;
    let ns = "orders";
    cluster.create_namespace(ns).unwrap();
    let transitions = Transitions::follow(cluster, ns);
    let mut scene = Scene {
        cluster,
        namespace: ns,
        present: Present([true; PARTS.len()]),
    };
    // The older route is the older one for good; its hosts change.
    scene.write(Part::Host);
    let mut first: Vec<Part> = PARTS
        .into_iter()
        .filter(|part| *part != Part::Host)
        .collect();
    random.shuffle(&mut first);
    let daemon = installed.daemon("orders");
    for part in &first {
        scene.write(*part);
    }
    scene.wait().unwrap();

    // Everything goes and comes back three times, in any order, some of it at once.
    let mut steps: Vec<Part> = PARTS.into_iter().cycle().take(PARTS.len() * 6).collect();
    random.shuffle(&mut steps);
    let mut left = steps.as_slice();
    while !left.is_empty() {
        let (now, later) = left.split_at(1 + random.below(3).min(left.len() - 1));
        for part in now {
            scene.present.toggle(*part);
            scene.write(*part);
        }
        scene
            .wait()
            .unwrap_or_else(|error| panic!("{SEED}={seed}: after {now:?}: {error:#}"));
        left = later;
    }
    assert!(scene.present.0.iter().all(|there| *there));

    // The coming of the route is the coming of its conditions, and no change of them.
    first.retain(|part| *part != Part::Validity);
    let history = &transitions.all()["reviews"];
    for ((kind, end), (of, parts)) in scene.present.expected().into_iter().zip(RESTS_ON) {
        assert_eq!(kind, of);
        let statuses = history.statuses(kind);
        assert!(statuses.len() >= 3, "{kind}: {statuses:?}");
        assert_eq!(statuses.last().unwrap(), end, "{kind}");
        // No more changes of a condition than there were of the parts it rests on: it never flips by itself.
        let changed = first.iter().chain(&steps);
        let changes = changed.filter(|part| parts.contains(part)).count();
        // Absent and what it was at first come before the changes.
        let most = 2 + changes;
        assert!(
            statuses.len() <= most,
            "{SEED}={seed}: {kind}: {statuses:?}"
        );
    }
    assert_eq!(daemon.metric("outrigger_status_failures_total"), 0.0);
}
