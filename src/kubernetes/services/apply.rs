//! One write of ports, which gives up what the API server refuses and keeps the rest.
//!
//! An apply is all or nothing, and the ports of several Gateways are in one: what is refused for one of them must not
//! keep the others from theirs. So a node port that can't be had is left to the API server, a field that somebody else
//! owns is left to them, and where node ports run out, as many ports are added as still fit.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Service;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use super::refusal::{Failure, Refusal, valid_node_ports};
use crate::{
    api::ownership::GATEWAY_FIELD_MANAGER,
    gateway::{PlannedPort, ServicePlan},
    kubernetes::lease::Leadership,
    world::{ObjectKey, PortTrouble, PortTroubleKind},
};

/// How often one write may give something up.
const ATTEMPTS: usize = 16;
/// After how many refusals nothing that is only remembered is asked for any more.
const REMINDERS: usize = 4;

/// One write, ready to go.
pub(super) struct Write {
    pub client: Client,
    pub leadership: Leadership,
    pub key: ObjectKey,
    pub plan: ServicePlan,
    /// The node ports that missing ports had before; nobody asks for them, so they are given up without a word.
    pub remembered: BTreeMap<u16, u16>,
}

/// What became of a write.
pub(super) struct Written {
    pub key: ObjectKey,
    pub plan: ServicePlan,
    pub result: Result<(), Failure>,
    /// What was refused, also where the rest was written.
    pub troubles: Vec<PortTrouble>,
    /// Who else changed the ports last.
    pub other: Option<String>,
}

impl Write {
    pub(super) async fn run(self) -> Written {
        let mut attempt = Attempt::new(&self.plan, &self.remembered);
        let mut attempts = 0;
        let outcome = loop {
            attempts += 1;
            match self.send(&attempt).await {
                Err(Failure::Refused(refusal))
                    if attempts < ATTEMPTS && attempt.gives_up(&refusal) => {}
                outcome => break outcome,
            }
        };
        let mut troubles = attempt.troubles;
        if let Err(Failure::Refused(refusal)) = &outcome {
            troubles.push(refusal.trouble(missing(&self.plan)));
        }
        Written {
            key: self.key,
            plan: self.plan,
            other: outcome.as_ref().ok().and_then(last_other),
            result: outcome.map(drop),
            troubles,
        }
    }

    async fn send(&self, attempt: &Attempt) -> Result<Service, Failure> {
        let api: Api<Service> = Api::namespaced(self.client.clone(), &self.key.namespace);
        let patch = desired(&self.key, &self.plan.uid, &attempt.ports);
        let params = PatchParams::apply(GATEWAY_FIELD_MANAGER);
        let patch = Patch::Apply(&patch);
        let write = api.patch(&self.key.name, &params, &patch);
        Ok(self.leadership.write(write).await?)
    }
}

/// The ports that are to be added.
fn missing(plan: &ServicePlan) -> BTreeSet<u16> {
    let planned = plan.ports.iter().map(|port| port.port);
    planned
        .filter(|port| !plan.present.contains(port))
        .collect()
}

/// What is asked of the API server.
struct Attempt {
    ports: Vec<Partial>,
    new: BTreeSet<u16>,
    troubles: Vec<PortTrouble>,
    refusals: usize,
}

/// A port, without the fields that were given up.
struct Partial {
    port: PlannedPort,
    /// Whether its node port is one that it had before, and not one that a Gateway asks for.
    remembers: bool,
    without: BTreeSet<String>,
}

impl Attempt {
    fn new(plan: &ServicePlan, remembered: &BTreeMap<u16, u16>) -> Self {
        let whole = |port: &PlannedPort| {
            let before = remembered.get(&port.port).copied();
            Partial {
                port: PlannedPort {
                    node_port: port.node_port.or(before),
                    ..port.clone()
                },
                remembers: port.node_port.is_none() && before.is_some(),
                without: BTreeSet::new(),
            }
        };
        Self {
            ports: plan.ports.iter().map(whole).collect(),
            new: missing(plan),
            troubles: Vec::new(),
            refusals: 0,
        }
    }

    /// Gives up what is refused; whether there is another attempt to make.
    fn gives_up(&mut self, refusal: &Refusal) -> bool {
        self.refusals += 1;
        let invalid = matches!(refusal, Refusal::Invalid(_));
        if (invalid || self.refusals == REMINDERS) && self.forgets() {
            return true;
        }
        match refusal {
            Refusal::NodePort { number, text, .. } => {
                let valid = valid_node_ports(text);
                let is_refused = |node_port: u16| {
                    let is_valid = valid
                        .as_ref()
                        .is_none_or(|valid| valid.contains(&node_port));
                    node_port == *number || !is_valid
                };
                self.without_node_ports(is_refused, refusal)
            }
            Refusal::Exhausted(_) => self.with_fewer_ports(refusal),
            Refusal::Fields(owned) => owned.iter().all(|owned| {
                let text = owned.describe();
                self.without_field(owned.port, &owned.field, text)
            }),
            Refusal::Forbidden(_) | Refusal::Invalid(_) => false,
        }
    }

    /// Asks for no node port any more that nobody wants but for what was before; whether there was any.
    fn forgets(&mut self) -> bool {
        let mut some = false;
        for partial in &mut self.ports {
            if std::mem::take(&mut partial.remembers) {
                partial.port.node_port = None;
                some = true;
            }
        }
        some
    }

    /// All that are refused at once: each attempt costs a request, and there is a limit to them.
    fn without_node_ports(&mut self, is_refused: impl Fn(u16) -> bool, refusal: &Refusal) -> bool {
        let mut concerned = BTreeSet::new();
        let mut some = false;
        for partial in &mut self.ports {
            if partial.port.node_port.is_some_and(&is_refused) {
                some = true;
                partial.port.node_port = None;
                if !std::mem::take(&mut partial.remembers) {
                    concerned.insert(partial.port.port);
                }
            }
        }
        if !concerned.is_empty() {
            self.troubles.push(refusal.trouble(concerned));
        }
        some
    }

    /// A port that was not ours is somebody else's as a whole: writing the rest of it would change what they own.
    fn without_field(&mut self, port: u16, field: &str, text: String) -> bool {
        let mut ports = self.ports.iter_mut();
        let Some(partial) = ports.find(|partial| partial.port.port == port) else {
            // It was left to them for another of its fields.
            return self.new.contains(&port);
        };
        self.troubles.push(PortTrouble {
            kind: PortTroubleKind::FieldConflict,
            ports: BTreeSet::from([port]),
            text,
        });
        if self.new.contains(&port) {
            self.ports.retain(|partial| partial.port.port != port);
            return true;
        }
        partial.without.insert(field.to_owned())
    }

    /// Leaves the second half of the new ports for another time.
    fn with_fewer_ports(&mut self, refusal: &Refusal) -> bool {
        let kept = self.new.len() / 2;
        let left: BTreeSet<u16> = self.new.iter().skip(kept).copied().collect();
        if left.is_empty() {
            return false;
        }
        self.new.retain(|port| !left.contains(port));
        self.ports
            .retain(|partial| !left.contains(&partial.port.port));
        let kind = PortTroubleKind::NodePortsExhausted;
        let mut known = self.troubles.iter_mut();
        match known.find(|trouble| trouble.kind == kind) {
            Some(trouble) => trouble.ports.extend(left),
            None => self.troubles.push(refusal.trouble(left)),
        }
        true
    }
}

/// All that we want of a Service: our ports.
fn desired(key: &ObjectKey, uid: &str, ports: &[Partial]) -> Value {
    let port = |Partial { port, without, .. }: &Partial| {
        let mut fields = json!({
            "name": port.name,
            "port": port.port,
            "targetPort": port.target_port,
            "protocol": "TCP",
            "appProtocol": port.app_protocol,
        });
        if let Some(fields) = fields.as_object_mut() {
            if let Some(node_port) = port.node_port {
                fields.insert("nodePort".to_owned(), json!(node_port));
            }
            fields.retain(|field, _| !without.contains(field));
        }
        fields
    };
    let ports: Vec<Value> = ports.iter().map(port).collect();
    let mut service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "name": *key.name, "namespace": *key.namespace, "uid": uid },
    });
    if !ports.is_empty() {
        service["spec"] = json!({ "ports": ports });
    }
    service
}

/// The field manager that changed the ports last, apart from us.
fn last_other(service: &Service) -> Option<String> {
    let entries = service.metadata.managed_fields.iter().flatten();
    entries
        .filter(|entry| entry.manager.as_deref() != Some(GATEWAY_FIELD_MANAGER))
        .filter(|entry| {
            let fields = entry.fields_v1.as_ref();
            fields.is_some_and(|fields| fields.0["f:spec"]["f:ports"].is_object())
        })
        .max_by_key(|entry| entry.time.as_ref().map(|time| time.0))
        .and_then(|entry| entry.manager.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::kind::Kind;

    fn planned(port: u16, node_port: Option<u16>) -> PlannedPort {
        PlannedPort {
            name: format!("http-{port}"),
            port,
            target_port: port,
            app_protocol: "http".to_owned(),
            node_port,
        }
    }

    fn plan(ports: Vec<PlannedPort>, present: &[u16]) -> ServicePlan {
        ServicePlan {
            uid: "uid-1".to_owned(),
            ports,
            present: present.iter().copied().collect(),
            node_ports: Some(BTreeMap::new()),
            asked: Default::default(),
            in_sync: false,
        }
    }

    fn sent(plan: &ServicePlan, attempt: &Attempt) -> Value {
        let key = ObjectKey::new(Kind::Service, "edge", "gateway");
        desired(&key, &plan.uid, &attempt.ports)
    }

    #[test]
    fn patch_holds_our_ports_and_the_uid_and_nothing_else_of_the_service() {
        // Without the uid, an apply to a Service that is gone would make one without a selector.
        let metadata = json!({"name": "gateway", "namespace": "edge", "uid": "uid-1"});
        let nothing = json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata});
        let none = plan(Vec::new(), &[]);
        assert_eq!(sent(&none, &Attempt::new(&none, &BTreeMap::new())), nothing);

        let two = plan(vec![planned(8088, None), planned(8089, Some(30089))], &[]);
        let port = json!({"name": "http-8088", "port": 8088, "targetPort": 8088, "protocol": "TCP", "appProtocol": "http"});
        let mut with_node_port = json!({"name": "http-8089", "port": 8089, "targetPort": 8089, "protocol": "TCP",
                                        "appProtocol": "http"});
        with_node_port["nodePort"] = json!(30089);
        let mut both = nothing;
        both["spec"] = json!({"ports": [port, with_node_port]});
        assert_eq!(sent(&two, &Attempt::new(&two, &BTreeMap::new())), both);
    }

    #[test]
    fn node_port_that_is_refused_is_given_up_and_the_port_is_not() {
        let plan = plan(
            vec![planned(8088, Some(30080)), planned(8089, Some(30089))],
            &[],
        );
        let mut attempt = Attempt::new(&plan, &BTreeMap::new());
        let refusal = Refusal::NodePort {
            number: 30080,
            kind: PortTroubleKind::NodePortTaken,
            text: "taken".to_owned(),
        };
        assert!(attempt.gives_up(&refusal));
        let ports = sent(&plan, &attempt)["spec"]["ports"].clone();
        assert_eq!(
            (&ports[0]["port"], &ports[0]["nodePort"]),
            (&json!(8088), &Value::Null)
        );
        assert_eq!(ports[1]["nodePort"], 30089);
        assert_eq!(attempt.troubles, [refusal.trouble([8088].into())]);
        assert!(!attempt.gives_up(&refusal), "it is no longer asked for");
    }

    #[test]
    fn node_ports_of_before_are_asked_for_and_given_up_without_a_word() {
        let plan = plan(
            vec![
                planned(8088, None),
                planned(8089, Some(30089)),
                planned(8090, None),
            ],
            &[],
        );
        let remembered = BTreeMap::from([(8088, 30001), (8090, 30002)]);
        let node_ports = |attempt: &Attempt| -> Vec<Option<u16>> {
            attempt.ports.iter().map(|one| one.port.node_port).collect()
        };
        let mut attempt = Attempt::new(&plan, &remembered);
        assert_eq!(
            node_ports(&attempt),
            [Some(30001), Some(30089), Some(30002)]
        );
        let taken = |number| Refusal::NodePort {
            number,
            kind: PortTroubleKind::NodePortTaken,
            text: "taken".to_owned(),
        };
        assert!(attempt.gives_up(&taken(30001)));
        assert_eq!(node_ports(&attempt), [None, Some(30089), Some(30002)]);
        assert_eq!(attempt.troubles, []);

        // The Service was made ClusterIP meanwhile.
        let unfit = Refusal::Invalid("may not be used when `type` is 'ClusterIP'".to_owned());
        assert!(attempt.gives_up(&unfit));
        assert_eq!(node_ports(&attempt), [None, Some(30089), None]);
        assert!(!attempt.gives_up(&unfit));
    }

    #[test]
    fn field_of_somebody_else_is_left_to_them() {
        let plan = plan(vec![planned(8088, None)], &[8088]);
        let mut attempt = Attempt::new(&plan, &BTreeMap::new());
        let owned = super::super::refusal::Owned {
            port: 8088,
            field: "targetPort".to_owned(),
            manager: "somebody".to_owned(),
        };
        assert!(attempt.gives_up(&Refusal::Fields(vec![owned.clone()])));
        let ports = sent(&plan, &attempt)["spec"]["ports"].clone();
        assert_eq!(
            (&ports[0]["name"], &ports[0]["targetPort"]),
            (&json!("http-8088"), &Value::Null)
        );
        assert!(
            !attempt.gives_up(&Refusal::Fields(vec![owned])),
            "it was left out already"
        );
    }

    #[test]
    fn node_ports_out_of_range_are_given_up_together_and_the_others_are_asked_for_again() {
        let asked = (8000..8040).map(|port| planned(port, Some(port - 7000)));
        let mut ports: Vec<PlannedPort> = asked.collect();
        ports.push(planned(8088, Some(30088)));
        let plan = plan(ports, &[]);
        let mut attempt = Attempt::new(&plan, &BTreeMap::new());
        let refusal = Refusal::NodePort {
            number: 1000,
            kind: PortTroubleKind::NodePortOutOfRange,
            text:
                "provided port is not in the valid range. The range of valid ports is 30000-32767"
                    .to_owned(),
        };
        assert!(attempt.gives_up(&refusal));
        let node_ports = attempt.ports.iter().filter_map(|one| one.port.node_port);
        assert_eq!(node_ports.collect::<Vec<_>>(), [30088]);
        assert_eq!(attempt.troubles, [refusal.trouble((8000..8040).collect())]);
    }

    #[test]
    fn port_that_somebody_took_before_the_write_is_left_to_them_whole() {
        let plan = plan(vec![planned(8088, None), planned(8089, None)], &[8089]);
        let mut attempt = Attempt::new(&plan, &BTreeMap::new());
        let owned = ["name", "targetPort"].map(|field| super::super::refusal::Owned {
            port: 8088,
            field: field.to_owned(),
            manager: "helm".to_owned(),
        });
        assert!(attempt.gives_up(&Refusal::Fields(owned.to_vec())));
        let ports = sent(&plan, &attempt)["spec"]["ports"].clone();
        assert_eq!(ports.as_array().map(Vec::len), Some(1));
        assert_eq!(ports[0]["port"], 8089);
    }

    #[test]
    fn where_node_ports_run_out_ports_that_are_there_stay_and_as_many_are_added_as_fit() {
        let ports = [8080, 8081, 8082, 8083].map(|port| planned(port, None));
        let plan = plan(ports.to_vec(), &[8081]);
        let mut attempt = Attempt::new(&plan, &BTreeMap::new());
        let full = Refusal::Exhausted("range is full".to_owned());
        let numbers = |attempt: &Attempt| -> Vec<u16> {
            attempt
                .ports
                .iter()
                .map(|partial| partial.port.port)
                .collect()
        };
        assert!(attempt.gives_up(&full));
        assert_eq!(numbers(&attempt), [8080, 8081]);
        assert!(attempt.gives_up(&full));
        assert_eq!(numbers(&attempt), [8081]);
        assert!(!attempt.gives_up(&full));
        let expected = full.trouble([8080, 8082, 8083].into());
        assert_eq!(attempt.troubles, [expected]);
    }
}
