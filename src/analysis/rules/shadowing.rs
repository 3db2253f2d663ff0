//! Routes that VirtualServices of one host take from each other at a gateway.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::analysis::attachments::Admitted;
use crate::analysis::diagnoses as say;
use crate::analysis::matching::{self, Condition};
use crate::analysis::merged::{self, Route};
use crate::analysis::view::View;
use crate::api::networking::{HTTPMatchRequest, VirtualServiceSpec};
use crate::api::text::enumeration;
use crate::model::{Course, Entry, Grouped, Routes, gateway_key};
use crate::world::ObjectKey;

use super::{Inspected, Report};

/// How many pairs of conditions are compared for one object; of what is beyond, nothing is said.
const MOST_COMPARED: usize = 50_000;

/// How many VirtualServices that come before are looked at for one host.
const MOST_RIVALS: usize = 32;

/// What decides between VirtualServices.
const ORDER: &str = "the older comes first, then the first by namespace and name";

/// At a gateway the routes of all VirtualServices for a host are tried in order of age, then of namespace and name; those
/// that take every request come behind all others (Istio: `SortVHostRoutes`). One that comes later is told by which it is
/// preceded, and which of its routes no request is left to.
pub(super) fn gateway_hosts_have_one_virtual_service<'a>(
    view: &View<'a>,
    object: &Inspected<'a, VirtualServiceSpec>,
    report: &mut Report<'_>,
) {
    let own_gateways = gateways(object.spec, object.key);
    let Some(first_gateway) = own_gateways.first() else {
        return;
    };
    if object.spec.http.is_empty() {
        return;
    }
    let mut rivals = Rivals {
        view,
        is_seen: BTreeMap::new(),
    };
    let mut own_routes = None;
    let mut left = MOST_COMPARED;
    let mut shadowed: BTreeMap<usize, Shadowed> = BTreeMap::new();
    for (index, written) in object.spec.hosts.iter().enumerate() {
        let host = view.resolve(written, &object.key.namespace);
        let all = view.routes_around(&host);
        let of_first = all.of(&Course::Gateway(first_gateway.clone()));
        let own = of_first.and_then(|all| all.get(&host, object.meta.created, object.key));
        let Some(own) = own else {
            continue;
        };
        let Some((gateway, rivals)) = rivals.of(own, all) else {
            continue;
        };
        let Some(first) = rivals.first().copied() else {
            continue;
        };
        let mut comparison = Comparison {
            gateway: &gateway,
            routes: own_routes
                .get_or_insert_with(|| merged::routes(view, object.key, object.spec).0),
            taken: Vec::new(),
            left,
        };
        comparison.run(view, &object.key.namespace, rivals.iter().copied());
        left = comparison.left;
        let name = gateway.qualified_name();
        let path = format!("spec.hosts[{index}]");
        let message = if let Some(winners) = comparison.takes_all() {
            let text = format!(
                "at Gateway {name} no route of this object is used for host \"{written}\": {} first ({ORDER})",
                takes(&winners)
            );
            report.say(&say::ROUTES_SHADOWED, path, text)
        } else {
            for (root, winners) in comparison.shadowed() {
                shadowed.entry(root).or_insert_with(|| Shadowed {
                    text: format!(
                        "at Gateway {name} the route is not used for host \"{written}\": {} first ({ORDER})",
                        takes(&winners)
                    ),
                    rivals: winners.into_iter().map(|winner| winner.source).collect(),
                });
            }
            let text = format!(
                "at Gateway {name} the routes of {} for host \"{written}\" are tried first ({ORDER})",
                first.source
            );
            report.say(&say::ROUTES_PRECEDED, path, text)
        };
        message.concerning(&first.source).concerning(&gateway);
    }
    for (root, shadowed) in shadowed {
        let message = report.say(
            &say::ROUTE_SHADOWED,
            format!("spec.http[{root}]"),
            shadowed.text,
        );
        for rival in &shadowed.rivals {
            message.concerning(rival);
        }
    }
}

/// Looks for VirtualServices that come before an object wherever it counts.
struct Rivals<'a, 'v> {
    view: &'a View<'v>,
    /// Whether what comes before is seen wherever the object is: for all of its hosts the same.
    is_seen: BTreeMap<&'v ObjectKey, bool>,
}

impl<'v> Rivals<'_, 'v> {
    /// The Gateway at which the first of all comes before the object's routes for a host, and those that do so there.
    fn of(
        &mut self,
        own: &Routes,
        all: &'v Grouped<Course, Routes>,
    ) -> Option<(ObjectKey, Vec<&'v Arc<Routes>>)> {
        let mut first: Option<(&Routes, Course)> = None;
        for course in own.at_gateways() {
            let here = self.at(&course, own, all).next();
            let is_first = |here: &&'v Arc<Routes>| {
                let before = first.as_ref().map(|(routes, _)| routes.precedence());
                before.is_none_or(|before| here.precedence() < before)
            };
            if let Some(here) = here.filter(is_first) {
                first = Some((here, course));
            }
        }
        let (_, course) = first?;
        let rivals = self.at(&course, own, all).collect();
        match course {
            Course::Gateway(gateway) => Some((gateway, rivals)),
            _ => None,
        }
    }

    /// Those at one Gateway, the first first: seen wherever the object is, and admitted by servers wherever it is.
    fn at<'s>(
        &'s mut self,
        course: &'s Course,
        own: &'s Routes,
        all: &'v Grouped<Course, Routes>,
    ) -> impl Iterator<Item = &'v Arc<Routes>> + 's {
        let before = all.of(course).into_iter();
        let before = before.flat_map(|all| all.before(own)).take(MOST_RIVALS);
        let mut admitted = None;
        before.filter(move |rival| {
            let Course::Gateway(gateway) = course else {
                return false;
            };
            let includes = || rival.visibility.includes_all_of(&own.visibility);
            let is_seen = self.is_seen.entry(&rival.source).or_insert_with(includes);
            if !*is_seen {
                return false;
            }
            let namespace = &own.source.namespace;
            let admitted = admitted
                .get_or_insert_with(|| Admitted::of(self.view, gateway, namespace, &own.host));
            let theirs = &rival.source.namespace;
            admitted.as_ref().is_some_and(|admitted| {
                theirs == namespace || admitted.includes(self.view, gateway, theirs)
            })
        })
    }
}

/// What is to be said of a route.
struct Shadowed {
    text: String,
    rivals: BTreeSet<ObjectKey>,
}

/// A condition of another VirtualService that takes requests before.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Winner {
    source: ObjectKey,
    place: String,
}

/// Who takes what, in words.
fn takes(winners: &BTreeSet<Winner>) -> String {
    let names = winners
        .iter()
        .map(|winner| format!("{} of {}", winner.place, winner.source));
    let verb = if winners.len() == 1 { "takes" } else { "take" };
    format!("{} {verb} its requests", enumeration(names))
}

/// The Gateways that a VirtualService names.
fn gateways(spec: &VirtualServiceSpec, key: &ObjectKey) -> BTreeSet<ObjectKey> {
    let names = spec.gateways.iter();
    names
        .filter_map(|name| gateway_key(name, &key.namespace))
        .collect()
}

/// The routes of an object at one Gateway, compared with those before.
struct Comparison<'a, 'v> {
    gateway: &'a ObjectKey,
    routes: &'a [Route<'v>],
    /// For each condition of each route that the Gateway has, who takes its requests; `None` where nobody is known to.
    taken: Vec<(usize, Vec<Option<Winner>>)>,
    left: usize,
}

impl<'a, 'v> Comparison<'a, 'v> {
    fn run<'r>(
        &mut self,
        view: &View<'r>,
        namespace: &str,
        rivals: impl Iterator<Item = &'r Arc<Routes>>,
    ) {
        if self.left == 0 {
            return;
        }
        let own: Vec<(usize, Vec<Condition<'_>>)> =
            at_gateway(self.routes, namespace, self.gateway, matching::is_catch_all)
                .map(|(route, conditions)| (route.root, conditions))
                .collect();
        let mut taken: Vec<(usize, Vec<Option<Winner>>)> = own
            .iter()
            .map(|(root, conditions)| (*root, vec![None; conditions.len()]))
            .collect();
        let own_size: usize = own.iter().map(|(_, conditions)| conditions.len()).sum();
        let own_size = own_size.max(1);
        'rivals: for rival in rivals {
            if self.left < own_size {
                break;
            }
            let (routes, _) = merged::routes(view, &rival.source, &rival.spec);
            let namespace = &rival.source.namespace;
            for (route, conditions) in
                at_gateway(&routes, namespace, self.gateway, matching::may_be_catch_all)
            {
                for (number, wide) in conditions.iter().enumerate() {
                    let Some(left) = self.left.checked_sub(own_size) else {
                        self.left = 0;
                        break 'rivals;
                    };
                    self.left = left;
                    let pairs = own.iter().zip(&mut taken);
                    let slots = pairs.flat_map(|((_, conditions), (_, slots))| {
                        conditions.iter().zip(slots.iter_mut())
                    });
                    for (narrow, slot) in slots {
                        if slot.is_none() && takes_before(wide, narrow) {
                            *slot = Some(Winner {
                                source: rival.source.clone(),
                                place: place(route, number),
                            });
                        }
                    }
                }
            }
        }
        self.taken = taken;
    }

    /// The routes of which every condition is taken, by their index in the object; one that delegates is if all routes of
    /// its delegate are.
    fn shadowed(&self) -> BTreeMap<usize, BTreeSet<Winner>> {
        let mut by_root: BTreeMap<usize, Option<BTreeSet<Winner>>> = BTreeMap::new();
        for (root, slots) in &self.taken {
            let all = by_root
                .entry(*root)
                .or_insert_with(|| Some(BTreeSet::new()));
            let winners: Option<BTreeSet<Winner>> = slots.iter().cloned().collect();
            *all = all.take().zip(winners).map(|(mut all, winners)| {
                all.extend(winners);
                all
            });
        }
        let taken = by_root.into_iter();
        taken
            .filter_map(|(root, winners)| Some((root, winners?)))
            .collect()
    }

    /// Who takes the requests of all routes, if all are taken.
    fn takes_all(&self) -> Option<BTreeSet<Winner>> {
        let roots: BTreeSet<usize> = self.taken.iter().map(|(root, _)| *root).collect();
        let shadowed = self.shadowed();
        let all = shadowed.len() == roots.len() && !roots.is_empty();
        all.then(|| shadowed.into_values().flatten().collect())
    }
}

/// A condition of another object, in words.
fn place(route: &Route<'_>, number: usize) -> String {
    match &route.delegate {
        Some(_) => format!("{} (through spec.http[{}])", route.place(), route.root),
        None => format!("spec.http[{}].match[{number}]", route.root),
    }
}

/// The routes that a Gateway has of an object: none behind the first one that ends them. For those that take requests from
/// others that is any that may take every request; for those that requests are taken from, one that surely does.
fn at_gateway<'r, 'a>(
    routes: &'r [Route<'a>],
    namespace: &'r str,
    gateway: &'r ObjectKey,
    ends: impl Fn(&HTTPMatchRequest) -> bool,
) -> impl Iterator<Item = (&'r Route<'a>, Vec<Condition<'r>>)> {
    let mut is_over = false;
    routes.iter().filter_map(move |route| {
        if is_over {
            return None;
        }
        let conditions: Vec<Condition<'r>> = route
            .conditions(namespace)
            .filter(|condition| condition.is_for(gateway))
            .collect();
        let mut all = conditions.iter();
        is_over = all.any(|condition| ends(condition.request));
        (!conditions.is_empty()).then_some((route, conditions))
    })
}

/// Whether the first condition, of an object that comes before, takes all requests of the second.
fn takes_before(wide: &Condition<'_>, narrow: &Condition<'_>) -> bool {
    let (first, second) = (wide.request, narrow.request);
    let is_in_order = !matching::may_be_catch_all(first)
        || (matching::is_catch_all(first) && matching::is_catch_all(second));
    is_in_order && wide.covers_at_gateway(narrow)
}
