//! Who may hold connections to the agent's port when there are more clients than places.
//!
//! The kubelet's probes come over the same port as whatever other pods send. Who connects and asks nothing, or holds
//! more places than others, must not keep them out: a newcomer that finds no place takes one from the client with the
//! most, itself included. Nobody ever waits for a place: those behind would wait as well, whoever they are.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// The places of a port.
#[derive(Debug)]
pub(super) struct Places {
    most: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    next: u64,
    /// By number, which is the order in which they were taken.
    holders: BTreeMap<u64, Holder>,
}

#[derive(Debug)]
struct Holder {
    peer: IpAddr,
    /// The request has come.
    asked: bool,
    evicted: Arc<Notify>,
}

/// One connection's place; dropped, it is free.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    number: u64,
    evicted: Arc<Notify>,
}

impl Places {
    /// So many at a time.
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            most,
            taken: Mutex::default(),
        })
    }

    /// A place for a connection from `peer`: a free one, or else one that is taken from somebody.
    pub(super) fn take(self: &Arc<Self>, peer: IpAddr) -> Place {
        let mut taken = self.lock();
        if taken.holders.len() >= self.most {
            let victim = taken.victim(peer);
            if let Some(holder) = victim.and_then(|victim| taken.holders.remove(&victim)) {
                holder.evicted.notify_one();
            }
        }
        let number = taken.next;
        taken.next += 1;
        let evicted = Arc::new(Notify::new());
        let holder = Holder {
            peer,
            asked: false,
            evicted: Arc::clone(&evicted),
        };
        taken.holders.insert(number, holder);
        Place {
            places: Arc::clone(self),
            number,
            evicted,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    /// Whose place a connection from `peer` gets when there is none: one of the client that would have the most with it,
    /// of two with as many that of `peer` itself, which can only lose to itself what it gains. Of that client's places
    /// the oldest that has asked nothing yet, or else the oldest. None only where nobody has a place.
    fn victim(&self, peer: IpAddr) -> Option<u64> {
        // The newcomer counts.
        let mut counts = HashMap::from([(peer, 1)]);
        for holder in self.holders.values() {
            *counts.entry(holder.peer).or_insert(0_usize) += 1;
        }
        let most = counts.values().copied().max()?;
        let own = counts.get(&peer).copied()?;
        self.holders
            .iter()
            .filter(|(_, holder)| {
                // With its first place it has none to lose: then it is one of those with one each.
                if own == most && own > 1 {
                    holder.peer == peer
                } else {
                    counts.get(&holder.peer) == Some(&most)
                }
            })
            .min_by_key(|(number, holder)| (holder.asked, **number))
            .map(|(number, _)| *number)
    }
}

impl Place {
    /// The request has come: from now on this one goes only after those of its client that have asked nothing.
    pub(super) fn asked(&self) {
        if let Some(holder) = self.places.lock().holders.get_mut(&self.number) {
            holder.asked = true;
        }
    }

    /// Ready when somebody else has this place.
    pub(super) async fn lost(&self) {
        self.evicted.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.lock().holders.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    const KUBELET: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
    const ANOTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));

    /// Whether it was lost and this was not asked before.
    fn is_lost(place: &Place) -> bool {
        let lost = pin!(place.lost());
        lost.poll(&mut Context::from_waker(Waker::noop()))
            .is_ready()
    }

    #[test]
    fn of_the_client_with_the_most_the_oldest_that_asks_nothing_goes_first() {
        let places = Places::new(4);
        let kubelets = places.take(KUBELET);
        let others: Vec<Place> = (0..3).map(|_| places.take(ANOTHER)).collect();
        others[0].asked();
        let newcomer = places.take(KUBELET);
        let lost: Vec<bool> = others.iter().map(is_lost).collect();
        assert_eq!(lost, [false, true, false]);
        assert!(!is_lost(&kubelets) && !is_lost(&newcomer));
    }

    #[test]
    fn a_client_whose_places_have_all_asked_takes_none_from_one_that_has_only_just_connected() {
        let places = Places::new(4);
        let others: Vec<Place> = (0..3).map(|_| places.take(ANOTHER)).collect();
        others.iter().for_each(Place::asked);
        let kubelets = places.take(KUBELET);
        let newcomer = places.take(ANOTHER);
        assert!(!is_lost(&kubelets) && !is_lost(&newcomer));
        let lost: Vec<bool> = others.iter().map(is_lost).collect();
        assert_eq!(lost, [true, false, false]);
    }

    #[test]
    fn one_client_cannot_hold_all_places_by_asking_what_takes_long() {
        let places = Places::new(3);
        let take = |peer| {
            let place = places.take(peer);
            place.asked();
            place
        };
        let others: Vec<Place> = (0..4).map(|_| take(ANOTHER)).collect();
        let lost = || others.iter().map(is_lost).collect::<Vec<_>>();
        // The fourth had to be at the cost of its own client.
        assert_eq!(lost(), [true, false, false, false]);
        let first = take(KUBELET);
        assert_eq!(lost(), [false, true, false, false]);
        // Two and one: a newcomer would only turn it round.
        let second = take(KUBELET);
        assert_eq!(lost(), [false; 4]);
        assert!(is_lost(&first) && !is_lost(&second));
    }

    #[test]
    fn where_each_client_has_one_a_newcomer_gets_the_oldest_that_asks_nothing() {
        let places = Places::new(2);
        let other = |last| IpAddr::V4(Ipv4Addr::new(10, 0, 1, last));
        let others = [1, 2].map(|last| places.take(other(last)));
        others[0].asked();
        let kubelets = places.take(KUBELET);
        assert_eq!(others.each_ref().map(is_lost), [false, true]);
        kubelets.asked();
        let _newcomer = places.take(ANOTHER);
        assert!(is_lost(&others[0]) && !is_lost(&kubelets));
    }

    #[test]
    fn a_place_that_was_lost_is_not_freed_a_second_time() {
        let places = Places::new(1);
        let lost = places.take(ANOTHER);
        let held = places.take(KUBELET);
        drop(lost);
        let _newcomer = places.take(ANOTHER);
        assert!(is_lost(&held));
    }
}
