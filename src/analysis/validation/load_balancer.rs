//! Choice of the endpoint.

use std::collections::{BTreeMap, BTreeSet};

use crate::api::networking::{
    ConsistentHashLB, Failover, LoadBalancerSettings, LocalityLoadBalancerSetting,
    WarmupConfiguration,
};

use super::fields;
use super::report::Field;

/// The largest table that Envoy's Maglev load balancer takes.
const LARGEST_TABLE: u64 = 5_000_011;

/// `ejects`: endpoints that fail are ejected, without which no failover happens.
pub fn check(at: &Field<'_>, settings: &LoadBalancerSettings, ejects: bool) {
    let members = [
        ("simple", settings.simple.is_some()),
        ("consistentHash", settings.consistent_hash.is_some()),
        ("backendUtilization", settings.backend_utilization.is_some()),
    ];
    fields::only_one(at, &members);
    at.within("consistentHash", &settings.consistent_hash, consistent_hash);
    at.within(
        "localityLbSetting",
        &settings.locality_lb_setting,
        |at, setting| locality(at, setting, ejects),
    );
    if settings.zone_aware_lb_setting.is_some() && settings.locality_lb_setting.is_some() {
        at.member("zoneAwareLbSetting")
            .invalid("cannot stand beside localityLbSetting");
    }
    at.within(
        "zoneAwareLbSetting",
        &settings.zone_aware_lb_setting,
        |at, setting| {
            at.each("failover", &setting.failover, failover);
        },
    );
    fields::duration(
        &at.member("warmupDurationSecs"),
        &settings.warmup_duration_secs,
    );
    if settings.warmup.is_some() && settings.warmup_duration_secs.is_some() {
        at.member("warmupDurationSecs")
            .invalid("cannot stand beside warmup");
    }
    at.within("warmup", &settings.warmup, warmup);
}

fn warmup(at: &Field<'_>, warmup: &WarmupConfiguration) {
    if warmup.duration.is_none() {
        at.member("duration").invalid("a warmup needs its length");
    }
    fields::duration(&at.member("duration"), &warmup.duration);
    if warmup
        .minimum_percent
        .is_some_and(|percent| !(0.0..=100.0).contains(&percent))
    {
        at.member("minimumPercent")
            .invalid("is not a percentage from 0 to 100");
    }
    if warmup
        .aggression
        .is_some_and(|aggression| aggression.is_nan() || aggression < 1.0)
    {
        at.member("aggression").invalid("must be at least 1");
    }
}

fn consistent_hash(at: &Field<'_>, settings: &ConsistentHashLB) {
    fields::only_one(
        at,
        &[
            ("httpHeaderName", settings.http_header_name.is_some()),
            ("httpCookie", settings.http_cookie.is_some()),
            ("useSourceIp", settings.use_source_ip.is_some()),
            (
                "httpQueryParameterName",
                settings.http_query_parameter_name.is_some(),
            ),
        ],
    );
    fields::only_one(
        at,
        &[
            ("ringHash", settings.ring_hash.is_some()),
            ("maglev", settings.maglev.is_some()),
        ],
    );
    at.within("httpCookie", &settings.http_cookie, |at, cookie| {
        if cookie.name.is_empty() {
            at.member("name").invalid("a cookie needs a name");
        }
        fields::duration_or_zero(&at.member("ttl"), &cookie.ttl);
        let mut seen = BTreeSet::new();
        let attributes = at.member("attributes");
        for (index, attribute) in cookie.attributes.iter().enumerate() {
            let at = attributes.index(index);
            if attribute.name.is_empty() {
                at.member("name").invalid("an attribute needs a name");
            } else if !seen.insert(&attribute.name) {
                at.member("name")
                    .invalid(format!("{:?} is there twice", attribute.name));
            }
        }
    });
    at.within("maglev", &settings.maglev, |at, maglev| {
        let size = maglev.table_size;
        if size > LARGEST_TABLE {
            at.member("tableSize")
                .invalid(format!("{size} is too large; the most is {LARGEST_TABLE}"));
        } else if size != 0 && !is_prime(size) {
            at.member("tableSize")
                .invalid(format!("{size} is not a prime number"));
        }
    });
}

/// By trial; the numbers are at most [`LARGEST_TABLE`].
fn is_prime(number: u64) -> bool {
    number > 1
        && (2..)
            .take_while(|divisor| divisor * divisor <= number)
            .all(|divisor| !number.is_multiple_of(divisor))
}

fn locality(at: &Field<'_>, setting: &LocalityLoadBalancerSetting, ejects: bool) {
    let fails_over = !setting.failover.is_empty() || !setting.failover_priority.is_empty();
    if !setting.distribute.is_empty() && fails_over {
        at.invalid("distribute cannot stand beside failover or failoverPriority");
    }
    if fails_over && !ejects {
        at.questionable(
            "failover happens only with outlierDetection, which tells that endpoints fail",
        );
    }
    let mut sources = Localities::default();
    let list = at.member("distribute");
    for (index, distribute) in setting.distribute.iter().enumerate() {
        let at = list.index(index);
        locality_name(&at.member("from"), &distribute.from);
        if let Some(other) = sources.overlapping(&distribute.from) {
            at.member("from")
                .invalid(format!("overlaps with {other:?}"));
        }
        sources.insert(&distribute.from);
        shares(&at.member("to"), distribute.to.iter());
    }
    at.each("failover", &setting.failover, failover);
}

fn shares<'a>(at: &Field<'_>, shares: impl Iterator<Item = (&'a String, &'a u32)>) {
    let mut sum: u64 = 0;
    for (locality, share) in shares {
        let at = at.key(locality);
        locality_name(&at, locality);
        if !(1..=100).contains(share) {
            at.invalid(format!("{share} is not a share from 1 to 100"));
        }
        sum += u64::from(*share);
    }
    if sum != 100 {
        at.invalid(format!("the shares sum up to {sum} instead of 100"));
    }
}

/// `region/zone/sub-zone`, where a wildcard can only be the last part.
fn locality_name(at: &Field<'_>, name: &str) {
    let parts: Vec<&str> = name.split('/').collect();
    let inner = parts.split_last().map_or(&[][..], |(_, inner)| inner);
    if parts.len() > 3 || parts.contains(&"") || inner.iter().any(|part| part.contains('*')) {
        at.invalid(format!(
            "{name:?} is not a locality, region/zone/sub-zone, with '*' as its last part at most"
        ));
    }
}

/// Localities, by their parts before a wildcard.
#[derive(Default)]
struct Localities<'a>(BTreeMap<Vec<&'a str>, &'a str>);

impl<'a> Localities<'a> {
    fn insert(&mut self, name: &'a str) {
        self.0.entry(parts(name)).or_insert(name);
    }

    /// One that has some place in common with this one: one of the two is a part of the other.
    fn overlapping<'n>(&'n self, name: &'n str) -> Option<&'n str> {
        let own = parts(name);
        let around = (0..=own.len()).find_map(|length| self.0.get(&own[..length]));
        let within = || {
            let (parts, name) = self.0.range(own.clone()..).next()?;
            parts.starts_with(&own).then_some(name)
        };
        around.or_else(within).copied()
    }
}

/// The parts of a locality before its wildcard. More than three are none, and are not looked at.
fn parts(name: &str) -> Vec<&str> {
    name.split('/')
        .take_while(|part| *part != "*")
        .take(4)
        .collect()
}

fn failover(at: &Field<'_>, failover: &Failover) {
    if failover.from == failover.to {
        at.invalid(format!("from and to are both {:?}", failover.from));
    }
    for (name, region) in [("from", &failover.from), ("to", &failover.to)] {
        if region.contains(['*', '/']) {
            at.member(name)
                .invalid(format!("{region:?} is not a region"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn primes_are_told_from_other_numbers() {
        let primes: Vec<u64> = (0..30).filter(|number| is_prime(*number)).collect();
        assert_eq!(primes, [2, 3, 5, 7, 11, 13, 17, 19, 23, 29]);
        assert!(is_prime(65_537) && is_prime(LARGEST_TABLE) && !is_prime(65_536));
    }

    #[test]
    fn localities_overlap_where_one_is_part_of_the_other() {
        let overlap = |one: &str, other: &str| {
            let mut localities = Localities::default();
            localities.insert(one);
            localities.overlapping(other).is_some()
        };
        for (one, other, expected) in [
            ("a/b/*", "a/b/c", true),
            ("a", "a/b", true),
            ("*", "a", true),
            ("a/b", "a/c", false),
            ("a/*", "b/*", false),
            ("a/b", "a/bc", false),
        ] {
            assert_eq!(overlap(one, other), expected, "{one} {other}");
            assert_eq!(overlap(other, one), expected, "{other} {one}");
        }
    }
}
