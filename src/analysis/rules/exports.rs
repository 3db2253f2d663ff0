//! `exportTo`: somebody sees what an object says.

use crate::analysis::diagnoses as say;
use crate::analysis::view::View;
use crate::api::kind::Kind;
use crate::api::networking::{DestinationRuleSpec, ServiceEntrySpec, VirtualServiceSpec};
use crate::model::Visibility;
use crate::world::{NamespaceSpec, ObjectKey};

use super::{Inspected, Report};

/// Some namespace sees the routes.
pub(super) fn routes_are_seen(
    view: &View<'_>,
    object: &Inspected<'_, VirtualServiceSpec>,
    report: &mut Report<'_>,
) {
    let default = &view.settings().default_virtual_service_export_to;
    is_seen(view, object.key, &object.spec.export_to, default, report);
}

/// Some namespace sees the rule.
pub(super) fn rules_are_seen(
    view: &View<'_>,
    object: &Inspected<'_, DestinationRuleSpec>,
    report: &mut Report<'_>,
) {
    let default = &view.settings().default_destination_rule_export_to;
    is_seen(view, object.key, &object.spec.export_to, default, report);
}

/// Some namespace sees the hosts.
pub(super) fn entries_are_seen(
    view: &View<'_>,
    object: &Inspected<'_, ServiceEntrySpec>,
    report: &mut Report<'_>,
) {
    let default = &view.settings().default_service_export_to;
    is_seen(view, object.key, &object.spec.export_to, default, report);
}

fn is_seen(
    view: &View<'_>,
    key: &ObjectKey,
    export_to: &[String],
    default: &[String],
    report: &mut Report<'_>,
) {
    let visibility = Visibility::of(export_to, default, &key.namespace);
    let Visibility::Namespaces(list) = &visibility else {
        return;
    };
    if list.is_empty() {
        let text = "the object is exported to no namespace";
        report.say(&say::SEEN_BY_NOBODY, "spec.exportTo", text);
        return;
    }
    // Files need not hold the namespaces that they are for.
    if list.contains(&key.namespace) || !view.knows_any(Kind::Namespace) {
        return;
    }
    let exists = |namespace: &&std::sync::Arc<str>| {
        let key = ObjectKey::new(Kind::Namespace, "", (*namespace).clone());
        view.object::<NamespaceSpec>(&key).is_some()
    };
    if !list.iter().any(|namespace| exists(&namespace)) {
        let hint = list.first().map_or_else(String::new, |first| {
            let names = view.all::<NamespaceSpec>();
            report
                .hints
                .did_you_mean(first, names.map(|(key, _)| &*key.name))
        });
        let text =
            format!("the object is exported to {visibility} only, which does not exist{hint}");
        report.say(&say::SEEN_BY_NOBODY, "spec.exportTo", text);
    }
}
