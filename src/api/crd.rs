//! CustomResourceDefinitions generated from the types in [`super::networking`].
//!
//! Names, versions and fields are Istio's, so that either project's definitions can stand in the other's place. What
//! differs is that conditions are a list map (several writers keep out of each other's way), that printer columns show
//! `Ready` and its reason, and that members say what they mean in our words.
//!
//! Rules in CEL are only those whose cost is constant per node: the API server refuses definitions whose rules could
//! become expensive (sums or uniqueness over unbounded lists, nested regular expressions). The others are in
//! `analysis::validation`, which the webhook runs.

mod structural;

use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

use super::kind::{Kind, NETWORKING_GROUP};
use super::networking::{
    DestinationRuleSpec, EnvoyFilterSpec, GatewaySpec, IstioStatus, ProxyConfigSpec,
    ServiceEntrySpec, SidecarSpec, Spec, VirtualServiceSpec, WorkloadEntrySpec, WorkloadGroupSpec,
};

/// Resource categories: `kubectl get istio-io` lists objects of all these kinds.
const CATEGORIES: [&str; 2] = ["istio-io", "networking-istio-io"];

/// The definition of one of [`Kind::ISTIO`]; `None` for other kinds.
pub fn definition(kind: Kind) -> Option<Value> {
    Some(match kind {
        Kind::VirtualService => {
            let gateways = Column::new(
                "Gateways",
                ".spec.gateways",
                "Gateways at which the routes apply",
            );
            define::<VirtualServiceSpec>(
                Some("vs"),
                &[
                    gateways,
                    Column::new("Hosts", ".spec.hosts", "Hosts whose traffic is routed"),
                ],
            )
        }
        Kind::DestinationRule => define::<DestinationRuleSpec>(
            Some("dr"),
            &[Column::new(
                "Host",
                ".spec.host",
                "Service that the rule is for",
            )],
        ),
        Kind::Gateway => {
            // Ports and hosts are lists of lists: the API server would print the first server's alone.
            let selector = Column::new(
                "Selector",
                ".spec.selector",
                "Labels of the pods that the servers run in",
            );
            define::<GatewaySpec>(Some("gw"), &[selector])
        }
        Kind::ServiceEntry => define::<ServiceEntrySpec>(
            Some("se"),
            &[
                Column::new("Hosts", ".spec.hosts", "Names of the service"),
                Column::new(
                    "Location",
                    ".spec.location",
                    "Whether the service counts as part of the mesh",
                ),
                Column::new(
                    "Resolution",
                    ".spec.resolution",
                    "How the addresses of endpoints are found",
                ),
            ],
        ),
        Kind::Sidecar => define::<SidecarSpec>(None, &[]),
        Kind::WorkloadEntry => define::<WorkloadEntrySpec>(
            Some("we"),
            &[Column::new(
                "Address",
                ".spec.address",
                "Address of the workload",
            )],
        ),
        Kind::WorkloadGroup => define::<WorkloadGroupSpec>(Some("wg"), &[]),
        Kind::ProxyConfig => define::<ProxyConfigSpec>(None, &[]),
        Kind::EnvoyFilter => define::<EnvoyFilterSpec>(None, &[]),
        _ => return None,
    })
}

/// A column of `kubectl get`.
struct Column {
    name: &'static str,
    path: &'static str,
    description: &'static str,
    format: &'static str,
}

impl Column {
    const fn new(name: &'static str, path: &'static str, description: &'static str) -> Column {
        Column {
            name,
            path,
            description,
            format: "string",
        }
    }

    fn json(&self) -> Value {
        json!({"name": self.name, "type": self.format, "description": self.description, "jsonPath": self.path})
    }
}

/// Columns that every kind ends with.
const COMMON_COLUMNS: [Column; 3] = [
    Column::new(
        "Ready",
        ".status.conditions[?(@.type==\"Ready\")].status",
        "Whether the object is valid and everything it names exists",
    ),
    Column::new(
        "Reason",
        ".status.conditions[?(@.type==\"Ready\")].reason",
        "Why it is ready or not",
    ),
    Column {
        name: "Age",
        path: ".metadata.creationTimestamp",
        description: "Time since the object was created",
        format: "date",
    },
];

fn define<S: Spec>(short_name: Option<&str>, columns: &[Column]) -> Value {
    let kind = S::KIND;
    let plural = kind.plural();
    let schema = object_schema::<S>();
    let columns: Vec<Value> = columns
        .iter()
        .chain(&COMMON_COLUMNS)
        .map(Column::json)
        .collect();
    let versions = kind.versions().iter().enumerate().map(|(index, version)| {
        json!({
            "name": version,
            "served": true,
            "storage": index == 0,
            "additionalPrinterColumns": columns,
            "subresources": {"status": {}},
            "schema": {"openAPIV3Schema": schema},
        })
    });
    let mut names = json!({
        "kind": kind.as_str(),
        "listKind": format!("{kind}List"),
        "plural": plural,
        "singular": kind.as_str().to_lowercase(),
        "categories": CATEGORIES,
    });
    if let Some(short_name) = short_name {
        names["shortNames"] = json!([short_name]);
    }
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{NETWORKING_GROUP}")},
        "spec": {
            "group": NETWORKING_GROUP,
            "names": names,
            "scope": "Namespaced",
            "versions": versions.collect::<Vec<_>>(),
        },
    })
}

fn object_schema<S: Spec>() -> Value {
    let settings = SchemaSettings::draft07().with(|settings| settings.inline_subschemas = true);
    let schema_of = |root: schemars::Schema| structural::rewrite(root.to_value());
    let mut spec = schema_of(
        settings
            .clone()
            .into_generator()
            .into_root_schema_for::<S>(),
    );
    let mut status = schema_of(
        settings
            .into_generator()
            .into_root_schema_for::<IstioStatus>(),
    );
    let mut object = json!({"type": "object"});
    if let Some(description) = spec["description"].as_str() {
        object["description"] = json!(description);
    }
    add_rules(S::KIND, &mut spec);
    if matches!(
        S::KIND,
        Kind::ServiceEntry | Kind::WorkloadEntry | Kind::WorkloadGroup
    ) {
        object["required"] = json!(["spec"]);
    }
    object["properties"] = json!({"spec": spec.take(), "status": status.take()});
    object
}

/// Rules that hold for a spec as a kind's own, but not where its type is part of another kind.
fn add_rules(kind: Kind, spec: &mut Value) {
    let (rule, message) = match kind {
        Kind::WorkloadEntry => (
            "has(self.address) || has(self.network)",
            "address is required, unless network is set",
        ),
        Kind::VirtualService => (
            "!has(self.hosts) || self.hosts.all(host, host != '*.*')",
            "'*.*' is not a host",
        ),
        _ => return,
    };
    let rule = json!({"rule": rule, "message": message});
    match spec["x-kubernetes-validations"].as_array_mut() {
        Some(rules) => rules.push(rule),
        None => spec["x-kubernetes-validations"] = json!([rule]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_istio_has_a_definition_and_no_other() {
        for kind in Kind::all() {
            assert_eq!(definition(kind).is_some(), kind.is_istio(), "{kind}");
        }
    }

    #[test]
    fn one_version_is_stored_and_all_are_served_with_one_schema() {
        for kind in Kind::ISTIO {
            let definition = definition(kind).unwrap();
            let versions = definition["spec"]["versions"].as_array().unwrap();
            assert_eq!(
                versions
                    .iter()
                    .filter(|version| version["storage"] == true)
                    .count(),
                1,
                "{kind}"
            );
            for version in versions {
                assert_eq!(version["served"], true, "{kind}");
                assert_eq!(version["schema"], versions[0]["schema"], "{kind}");
            }
        }
    }

    #[test]
    fn every_member_of_a_schema_is_described() {
        fn check(path: &str, schema: &Value) {
            for (name, member) in schema["properties"].as_object().into_iter().flatten() {
                let path = format!("{path}.{name}");
                assert!(member["description"].is_string(), "{path}");
                check(&path, member);
                check(&path, &member["items"]);
                check(&path, &member["additionalProperties"]);
            }
        }
        for kind in Kind::ISTIO {
            check(
                kind.as_str(),
                &definition(kind).unwrap()["spec"]["versions"][0]["schema"]["openAPIV3Schema"],
            );
        }
    }
}
