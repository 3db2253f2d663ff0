//! Which nodes run native sidecars: init containers that stay.

/// The first minor version of Kubernetes 1 in which native sidecars are stable and always on.
const NATIVE_SIDECARS: u32 = 33;

/// Whether a kubelet of this version (`v1.36.3`) runs native sidecars; one whose version is not known does not.
pub fn runs_native_sidecars(kubelet_version: &str) -> bool {
    minor(kubelet_version).is_some_and(|minor| minor >= NATIVE_SIDECARS)
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
