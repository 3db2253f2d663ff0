//! Who may hold connections to the agent's port when there are more clients than places.
//!
//! The kubelet's probes come over the same port as whatever other pods send. Who connects and asks nothing, or holds
//! more places than others, must not keep them out: a newcomer that finds no place takes one from such a client.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// The places of a port.
#[derive(Debug)]
pub(super) struct Places {
    most: usize,
    taken: Mutex<Taken>,
    freed: Notify,
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
            freed: Notify::new(),
        })
    }

    /// A place for a connection from `peer`: a free one, one that is taken from somebody, or else the next that is freed.
    pub(super) async fn take(self: &Arc<Self>, peer: IpAddr) -> Place {
        loop {
            let freed = self.freed.notified();
            if let Some(place) = self.try_take(peer) {
                return place;
            }
            freed.await;
        }
    }

    fn try_take(self: &Arc<Self>, peer: IpAddr) -> Option<Place> {
        let mut taken = self.lock();
        if taken.holders.len() >= self.most {
            let victim = taken.victim(peer)?;
            let holder = taken.holders.remove(&victim)?;
            holder.evicted.notify_one();
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
        Some(Place {
            places: Arc::clone(self),
            number,
            evicted,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    /// Whose place a connection from `peer` gets when there is none: of those that have asked nothing yet, the oldest of
    /// the client with the most; where all have asked, the oldest of the client with the most, if it has at least two
    /// more than `peer`. Otherwise nobody's.
    fn victim(&self, peer: IpAddr) -> Option<u64> {
        self.oldest_of_most(|holder| !holder.asked)
            .or_else(|| {
                let own = self
                    .holders
                    .values()
                    .filter(|holder| holder.peer == peer)
                    .count();
                self.oldest_of_most(|_| true)
                    .filter(|(_, count)| *count >= own + 2)
            })
            .map(|(number, _)| number)
    }

    /// The oldest place, among those of `which`, of the client that has the most of them; and how many it has.
    fn oldest_of_most(&self, which: impl Fn(&Holder) -> bool) -> Option<(u64, usize)> {
        let mut clients: HashMap<IpAddr, (u64, usize)> = HashMap::new();
        for (number, holder) in self.holders.iter().filter(|(_, holder)| which(holder)) {
            clients.entry(holder.peer).or_insert((*number, 0)).1 += 1;
        }
        // Of two with as many, the older one.
        clients
            .into_values()
            .max_by_key(|(oldest, count)| (*count, u64::MAX - oldest))
    }
}

impl Place {
    /// The request has come: from now on only a client with more places than others can lose this one.
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
        if self.places.lock().holders.remove(&self.number).is_some() {
            self.places.freed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::pin::{Pin, pin};
    use std::task::{Context, Poll, Waker};

    use super::*;

    const KUBELET: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
    const ANOTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));

    fn now<T>(future: Pin<&mut impl Future<Output = T>>) -> Option<T> {
        match future.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(ready) => Some(ready),
            Poll::Pending => None,
        }
    }

    fn is_lost(place: &Place) -> bool {
        now(pin!(place.lost())).is_some()
    }

    #[test]
    fn the_oldest_that_asks_nothing_goes_first_and_of_the_client_that_has_most_of_them() {
        let places = Places::new(4);
        let kubelets = places.try_take(KUBELET).unwrap();
        let others: Vec<Place> = (0..3).map(|_| places.try_take(ANOTHER).unwrap()).collect();
        others[0].asked();
        let newcomer = places.try_take(KUBELET).unwrap();
        let lost: Vec<bool> = others.iter().map(is_lost).collect();
        assert_eq!(lost, [false, true, false]);
        assert!(!is_lost(&kubelets) && !is_lost(&newcomer));
    }

    #[test]
    fn one_client_cannot_hold_all_places_by_asking_what_takes_long_and_a_client_alone_loses_none() {
        let places = Places::new(3);
        let take = |peer| {
            let place = places.try_take(peer)?;
            place.asked();
            Some(place)
        };
        let others: Vec<Place> = (0..3).map(|_| take(ANOTHER).unwrap()).collect();
        assert!(take(ANOTHER).is_none());
        let first = take(KUBELET).unwrap();
        assert_eq!(
            others.iter().map(is_lost).collect::<Vec<_>>(),
            [true, false, false]
        );
        // Two and one: a newcomer would only turn it round.
        assert!(take(KUBELET).is_none());
        assert!(!is_lost(&first));
    }

    #[test]
    fn who_waits_gets_the_place_that_is_freed() {
        let places = Places::new(1);
        let first = places.try_take(KUBELET).unwrap();
        first.asked();
        let mut waiting = pin!(places.take(KUBELET));
        assert!(now(waiting.as_mut()).is_none());
        drop(first);
        assert!(now(waiting).is_some());
    }

    #[test]
    fn a_place_that_was_lost_is_not_freed_a_second_time() {
        let places = Places::new(1);
        let lost = places.try_take(ANOTHER).unwrap();
        let held = places.try_take(KUBELET).unwrap();
        held.asked();
        drop(lost);
        assert!(places.try_take(KUBELET).is_none());
    }
}
