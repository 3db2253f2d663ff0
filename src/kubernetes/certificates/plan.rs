//! When certificates are renewed. Pure: `now` is an argument.

use std::{collections::BTreeSet, time::Duration};

use jiff::Timestamp;

use super::material::{Facts, Material};

const DAY: u64 = 24 * 60 * 60;

/// How long a root is valid.
pub const ROOT_LIFETIME: Duration = Duration::from_secs(365 * DAY);
/// How long a serving certificate is valid. Less than a third of [`ROOT_LIFETIME`], so it never outlives its root,
/// which is replaced at two thirds of its own lifetime.
pub const LEAF_LIFETIME: Duration = Duration::from_secs(90 * DAY);
/// How much earlier than now a validity begins, for clients whose clocks are slow.
pub const BACKDATE: Duration = Duration::from_secs(60 * 60);
/// How long a new root is published before certificates are signed by it. Every API server must have seen it.
pub const PUBLISHED: Duration = Duration::from_secs(60 * 60);

/// What is to be done with the Secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing until then.
    Keep {
        /// When to look again at the latest.
        until: Timestamp,
    },
    /// Put a new root before the old one. The serving certificate stays.
    RenewRoot,
    /// Sign a new serving certificate with the newest root.
    RenewLeaf,
}

/// The next step for a Secret of Outrigger's own that shall serve `names`.
///
/// Both are renewed at two thirds of their lifetime. A new root is published [`PUBLISHED`] before it signs, unless the
/// serving certificate has expired or is for other names, which can't become worse by not waiting.
pub fn next_step(material: &Material, names: &BTreeSet<String>, now: Timestamp) -> Step {
    let now = now.as_second();
    let leaf = &material.leaf;
    // `Material::read` refuses a bundle without a root.
    let Some(root) = material.roots.first() else {
        return Step::RenewRoot;
    };
    let root_due = two_thirds(root);
    if now >= root_due {
        return Step::RenewRoot;
    }
    let signed_by_newest = leaf.signer_id.is_some() && leaf.signer_id == root.key_id;
    let root_published = root.from + seconds(BACKDATE) + seconds(PUBLISHED);
    let leaf_due = if leaf.names != *names {
        now
    } else if signed_by_newest {
        two_thirds(leaf)
    } else {
        root_published.min(leaf.until)
    };
    if now >= leaf_due {
        return Step::RenewLeaf;
    }
    let until = Timestamp::from_second(root_due.min(leaf_due)).unwrap_or(Timestamp::MAX);
    Step::Keep { until }
}

/// The roots that are still needed beside a new one: all that have not expired.
pub fn kept_roots(material: &Material, now: Timestamp) -> String {
    const END: &str = "-----END CERTIFICATE-----";
    let pems = material.bundle.split_inclusive(END);
    let kept = pems
        .zip(&material.roots)
        .filter(|(_, root)| now.as_second() < root.until)
        .map(|(pem, _)| pem.trim().to_owned() + "\n");
    kept.collect()
}

fn two_thirds(certificate: &Facts) -> i64 {
    let lifetime = certificate.until.saturating_sub(certificate.from);
    certificate.from.saturating_add(lifetime / 3 * 2)
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use k8s_openapi::api::core::v1::Secret;

    use super::{
        super::{issue, material::Material},
        *,
    };

    fn start() -> Timestamp {
        "2026-01-01T00:00:00Z".parse().unwrap()
    }

    fn after(days: i64) -> Timestamp {
        start() + SignedDuration::from_hours(days * 24)
    }

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    /// Runs the steps that are due at `now`, as the leader does.
    fn keep_up(
        mut secret: Secret,
        names: &BTreeSet<String>,
        now: Timestamp,
    ) -> (Secret, Vec<Step>) {
        let mut steps = Vec::new();
        loop {
            let material = Material::read(&secret).unwrap();
            let data = secret.data.clone().unwrap();
            let step = next_step(&material, names, now);
            secret.data = Some(match step {
                Step::Keep { .. } => return (secret, steps),
                Step::RenewRoot => issue::root(&data, &kept_roots(&material, now), now).unwrap(),
                Step::RenewLeaf => issue::leaf(&data, names, now).unwrap(),
            });
            steps.push(step);
            assert!(steps.len() < 5, "{steps:?}");
        }
    }

    fn fresh(names: &BTreeSet<String>) -> Secret {
        issue::secret("ns", "certs", issue::everything(names, start()).unwrap())
    }

    /// Whether `bundle` vouches for what `served` serves, by rustls' own verifier.
    fn trusts(bundle: &Material, served: &Material, name: &str, now: Timestamp) -> bool {
        use rustls::client::danger::ServerCertVerifier as _;
        use rustls::pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _};

        let mut roots = rustls::RootCertStore::empty();
        for root in CertificateDer::pem_slice_iter(bundle.bundle.as_bytes()) {
            roots.add(root.unwrap()).unwrap();
        }
        let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
        let verifier =
            rustls::client::WebPkiServerVerifier::builder_with_provider(roots.into(), provider)
                .build()
                .unwrap();
        let seconds = u64::try_from(now.as_second()).unwrap();
        verifier
            .verify_server_cert(
                &served.certified.cert[0],
                &[],
                &ServerName::try_from(name.to_owned()).unwrap(),
                &[],
                UnixTime::since_unix_epoch(Duration::from_secs(seconds)),
            )
            .is_ok()
    }

    #[test]
    fn a_fresh_certificate_serves_its_names_and_is_kept_for_two_thirds_of_its_lifetime() {
        let names = names(&["outriggerd.outrigger-system.svc", "127.0.0.1"]);
        let secret = fresh(&names);
        let material = Material::read(&secret).unwrap();
        assert_eq!(material.leaf.names, names);
        for name in &names {
            assert!(trusts(&material, &material, name, start()), "{name}");
        }
        assert!(!trusts(&material, &material, "elsewhere.svc", start()));
        let Step::Keep { until } = next_step(&material, &names, start()) else {
            panic!("a fresh certificate must be kept");
        };
        assert_eq!(until.duration_since(start()).as_hours() / 24, 59);
        assert_eq!(next_step(&material, &names, after(60)), Step::RenewLeaf);
    }

    #[test]
    fn a_new_root_is_published_beside_the_old_one_before_it_signs() {
        let names = names(&["outriggerd.outrigger-system.svc"]);
        let (old, steps) = keep_up(fresh(&names), &names, after(242));
        assert_eq!(steps, [Step::RenewLeaf]);
        let (both, steps) = keep_up(old.clone(), &names, after(244));
        assert_eq!(steps, [Step::RenewRoot]);

        let old = Material::read(&old).unwrap();
        let published = Material::read(&both).unwrap();
        assert_eq!(published.roots.len(), 2);
        assert_eq!(
            published.leaf, old.leaf,
            "the old certificate goes on serving"
        );
        assert!(trusts(
            &published,
            &old,
            "outriggerd.outrigger-system.svc",
            after(244)
        ));

        let (renewed, steps) = keep_up(both, &names, after(245));
        assert_eq!(steps, [Step::RenewLeaf]);
        let renewed = Material::read(&renewed).unwrap();
        assert!(trusts(
            &published,
            &renewed,
            "outriggerd.outrigger-system.svc",
            after(245)
        ));
        assert!(!trusts(
            &old,
            &renewed,
            "outriggerd.outrigger-system.svc",
            after(245)
        ));
    }

    #[test]
    fn every_day_of_three_years_the_bundle_of_the_day_before_trusts_what_is_served() {
        let names = names(&["outriggerd.outrigger-system.svc"]);
        let mut secret = fresh(&names);
        let mut before = Material::read(&secret).unwrap();
        let mut renewals = 0;
        for day in 1..3 * 365 {
            let (next, steps) = keep_up(secret, &names, after(day));
            renewals += steps.len();
            let served = Material::read(&next).unwrap();
            assert!(
                trusts(
                    &before,
                    &served,
                    "outriggerd.outrigger-system.svc",
                    after(day)
                ),
                "day {day}"
            );
            assert!(served.roots.len() <= 2, "expired roots are dropped");
            (secret, before) = (next, served);
        }
        assert!((20..30).contains(&renewals), "{renewals}");
    }

    #[test]
    fn after_a_long_absence_everything_is_made_anew_at_once() {
        let names = names(&["outriggerd.outrigger-system.svc"]);
        let (secret, steps) = keep_up(fresh(&names), &names, after(1000));
        assert_eq!(steps, [Step::RenewRoot, Step::RenewLeaf]);
        let material = Material::read(&secret).unwrap();
        assert_eq!(material.roots.len(), 1);
        assert!(trusts(
            &material,
            &material,
            "outriggerd.outrigger-system.svc",
            after(1000)
        ));
    }

    #[test]
    fn other_names_get_a_certificate_of_their_own_at_once() {
        let (secret, _) = keep_up(fresh(&names(&["a.svc"])), &names(&["a.svc"]), after(1));
        let (secret, steps) = keep_up(secret, &names(&["a.svc", "b.example.com"]), after(1));
        assert_eq!(steps, [Step::RenewLeaf]);
        let material = Material::read(&secret).unwrap();
        assert!(trusts(&material, &material, "b.example.com", after(1)));
    }
}
