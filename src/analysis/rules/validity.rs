//! Whether an object can be read, and is valid in itself.

use crate::analysis::diagnoses as say;
use crate::analysis::validation;
use crate::analysis::view::View;
use crate::api::kind::on_istio_kind;
use crate::world::{ObjectKey, on_store};

use super::Report;

/// An object that cannot even be read is invalid; one of Istio's has rules of its own besides.
pub(super) fn objects_are_valid(view: &View<'_>, key: &ObjectKey, report: &mut Report<'_>) {
    let messages = on_istio_kind!(
        key.kind,
        Spec => view.object::<Spec>(key).map(|object| validation::check(key, object)).unwrap_or_default(),
        _ => Vec::new()
    );
    report.messages.extend(messages);
    if key.kind.has_status() {
        return;
    }
    let error = on_store!(key.kind, Spec => view.object::<Spec>(key).and_then(|object| object.spec.as_ref().err()));
    if let Some(error) = error {
        report.say(&say::UNREADABLE, &error.path, &error.text);
    }
}
