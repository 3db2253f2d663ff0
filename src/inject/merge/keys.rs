//! How the lists of a pod are merged: `patchStrategy` and `patchMergeKey` of the types in k8s.io/api/core/v1.

/// What a list's items are told apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ListKind {
    /// Objects, by this field.
    Keyed(&'static str),
    /// Scalars, each at most once.
    Set,
    /// The list is one value: a patch replaces it.
    Atomic,
}

/// The lists that are not atomic. The names are unique among the fields of a pod, so the field alone tells its list.
const LISTS: [(&str, ListKind); 17] = [
    ("containers", ListKind::Keyed("name")),
    ("initContainers", ListKind::Keyed("name")),
    ("ephemeralContainers", ListKind::Keyed("name")),
    ("env", ListKind::Keyed("name")),
    ("volumes", ListKind::Keyed("name")),
    ("imagePullSecrets", ListKind::Keyed("name")),
    ("schedulingGates", ListKind::Keyed("name")),
    ("resourceClaims", ListKind::Keyed("name")),
    ("ports", ListKind::Keyed("containerPort")),
    ("volumeMounts", ListKind::Keyed("mountPath")),
    ("volumeDevices", ListKind::Keyed("devicePath")),
    ("hostAliases", ListKind::Keyed("ip")),
    ("topologySpreadConstraints", ListKind::Keyed("topologyKey")),
    ("ownerReferences", ListKind::Keyed("uid")),
    ("podIPs", ListKind::Keyed("ip")),
    ("hostIPs", ListKind::Keyed("ip")),
    ("finalizers", ListKind::Set),
];

/// The kind of the list in `field`.
pub(super) fn list_kind(field: &str) -> ListKind {
    LISTS
        .iter()
        .find(|(name, _)| *name == field)
        .map_or(ListKind::Atomic, |(_, kind)| *kind)
}

/// Whether new items of the list come before those that are there: the mesh's own registry is asked before the user's.
pub(super) fn adds_in_front(field: &str) -> bool {
    field == "imagePullSecrets"
}
