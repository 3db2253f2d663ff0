//! Whether an object can be read, and is valid in itself.

use crate::analysis::diagnoses as say;
use crate::analysis::view::View;
use crate::world::{ObjectKey, on_store};

use super::Report;

/// An object that cannot even be read is invalid.
pub(super) fn objects_decode(view: &View<'_>, key: &ObjectKey, report: &mut Report<'_>) {
    let error = on_store!(key.kind, Spec => view.object::<Spec>(key).and_then(|object| object.spec.as_ref().err()));
    if let Some(error) = error {
        report.say(&say::INVALID, &error.path, &error.text);
    }
}
