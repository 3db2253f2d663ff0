//! Which nodes run native sidecars: init containers that stay.

use k8s_openapi::api::core::v1::Node;

/// The first minor version of Kubernetes 1 in which native sidecars are stable and always on.
const NATIVE_SIDECARS: u32 = 33;

/// Whether the node's kubelet runs native sidecars; one whose version is not known does not.
pub fn runs_native_sidecars(node: &Node) -> bool {
    let info = node
        .status
        .as_ref()
        .and_then(|status| status.node_info.as_ref());
    info.and_then(|info| minor(&info.kubelet_version))
        .is_some_and(|minor| minor >= NATIVE_SIDECARS)
}

/// The minor version in `v1.33.4-gke.100`.
fn minor(version: &str) -> Option<u32> {
    let mut parts = version.trim_start_matches('v').split('.');
    (parts.next()? == "1").then_some(())?;
    let digits = parts.next()?;
    let end = digits
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(digits.len());
    digits[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_minor_version_is_read_from_what_vendors_make_of_it() {
        assert_eq!(minor("v1.36.3"), Some(36));
        assert_eq!(minor("v1.32.9-eks-5c9c"), Some(32));
        assert_eq!(minor("v1.33+k3s1"), Some(33));
        assert_eq!(minor("v2.0.0"), None);
        assert_eq!(minor(""), None);
    }
}
