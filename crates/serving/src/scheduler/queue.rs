//! The next request: deficit round robin among tenants, first come first served within one.
//!
//! # Invariants
//!
//! - **Fair.** Tenants that wait get equal shares of tokens, whatever the length of their queues: a
//!   visit grants a tenant `quantum` tokens, and its first request leaves when its grants cover its
//!   cost.
//! - **Bounded.** No tenant holds more than its bound, and all together no more than theirs; what
//!   exceeds is refused at once.
//! - **Pure.** No clock and no chance: the same calls give the same order.
//!
//! Not here: memory and slots; the caller says what it cannot take now.

use std::collections::{BTreeMap, VecDeque};

use crate::request::Tenant;

/// Why a request may not wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    /// Its tenant holds that many.
    Tenant(usize),
    /// All tenants together hold that many.
    All(usize),
}

/// What the caller decides about a tenant's first request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It leaves, when its tenant's grants cover it.
    Take,
    /// Its tenant is skipped this time.
    Skip,
}

/// A request that waits.
pub(crate) struct Waiting<T> {
    /// Its place in the order of arrival.
    pub(crate) ticket: u64,
    /// Its tenant.
    pub(crate) tenant: Tenant,
    /// What it may cost, in tokens.
    pub(crate) cost: u64,
    /// The request.
    pub(crate) item: T,
}

struct Lane<T> {
    items: VecDeque<Waiting<T>>,
    /// Tokens granted and not used.
    deficit: u64,
    /// Requests of the tenant that wait, those set aside included.
    held: usize,
}

/// Requests that wait for their turn.
pub(crate) struct FairQueue<T> {
    lanes: BTreeMap<Tenant, Lane<T>>,
    /// Tenants in turn.
    ring: VecDeque<Tenant>,
    quantum: u64,
    per_tenant: usize,
    total: usize,
    held: usize,
    tickets: u64,
}

impl<T> FairQueue<T> {
    pub(crate) fn new(quantum: u64, per_tenant: usize, total: usize) -> Self {
        let quantum = quantum.max(1);
        Self { lanes: BTreeMap::new(), ring: VecDeque::new(), quantum, per_tenant, total, held: 0, tickets: 0 }
    }

    /// Requests that wait, those set aside included.
    pub(crate) fn len(&self) -> usize {
        self.held
    }

    /// The number of the request that came last.
    pub(crate) fn latest(&self) -> u64 {
        self.tickets
    }

    /// Tokens that the waiting requests may cost, those set aside excluded.
    pub(crate) fn cost(&self) -> u64 {
        self.lanes.values().flat_map(|lane| &lane.items).map(|waiting| waiting.cost).sum()
    }

    /// Puts a request at the end of its tenant's queue.
    pub(crate) fn push(&mut self, tenant: &Tenant, cost: u64, item: T) -> Result<(), Full> {
        let own = self.lanes.get(tenant).map_or(0, |lane| lane.held);
        if own >= self.per_tenant {
            return Err(Full::Tenant(own));
        }
        if self.held >= self.total {
            return Err(Full::All(self.held));
        }
        self.tickets += 1;
        self.held += 1;
        let waiting = Waiting { ticket: self.tickets, tenant: tenant.clone(), cost, item };
        let lane = self.lane(tenant);
        lane.held += 1;
        lane.items.push_back(waiting);
        Ok(())
    }

    /// Puts back what was taken out and set aside, before what came after it.
    pub(crate) fn put_back(&mut self, waiting: Waiting<T>) {
        let lane = self.lane(&waiting.tenant.clone());
        let at = lane.items.partition_point(|other| other.ticket < waiting.ticket);
        lane.items.insert(at, waiting);
    }

    /// Forgets a request that was taken out: it runs, or never will.
    pub(crate) fn done(&mut self, tenant: &Tenant) {
        let Some(lane) = self.lanes.get_mut(tenant) else { return };
        lane.held -= 1;
        self.held -= 1;
        if lane.held == 0 {
            // Grants are not saved up for later.
            self.lanes.remove(tenant);
            self.ring.retain(|other| other != tenant);
        }
    }

    /// Gives back what a request did not use of its cost.
    pub(crate) fn refund(&mut self, tenant: &Tenant, unused: u64) {
        if let Some(lane) = self.lanes.get_mut(tenant) {
            // Never more than a turn's worth: grants are not saved up.
            lane.deficit = lane.deficit.max(lane.deficit.saturating_add(unused).min(self.quantum));
        }
    }

    /// Takes the next request out, if the caller takes any tenant's first one; the caller then owes
    /// [`FairQueue::done`] or [`FairQueue::put_back`].
    pub(crate) fn take(&mut self, mut judge: impl FnMut(&Waiting<T>) -> Turn) -> Option<Waiting<T>> {
        let willing: Vec<bool> = self
            .ring
            .iter()
            .map(|tenant| {
                let first = self.lanes.get(tenant).and_then(|lane| lane.items.front());
                first.is_some_and(|first| judge(first) == Turn::Take)
            })
            .collect();
        if !willing.contains(&true) {
            return None;
        }
        // Each round grants every willing tenant a quantum, so that one of them is covered in the
        // end.
        loop {
            for (at, willing) in willing.iter().enumerate() {
                let Some(lane) = self.ring.get(at).and_then(|tenant| self.lanes.get_mut(tenant)) else { continue };
                let Some(cost) = lane.items.front().map(|first| first.cost).filter(|_| *willing) else { continue };
                if lane.deficit < cost {
                    lane.deficit = lane.deficit.saturating_add(self.quantum);
                }
                if lane.deficit >= cost {
                    lane.deficit -= cost;
                    let first = lane.items.pop_front();
                    // The next visit starts behind this tenant, unless its grants cover more.
                    let covers_next = lane.items.front().is_some_and(|next| next.cost <= lane.deficit);
                    self.ring.rotate_left(if covers_next { at } else { at + 1 });
                    return first;
                }
            }
        }
    }

    /// All requests that wait here, tenant by tenant.
    pub(crate) fn items_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.lanes.values_mut().flat_map(|lane| &mut lane.items).map(|waiting| &mut waiting.item)
    }

    /// Takes out all requests for which `gone` says so; they are forgotten.
    pub(crate) fn remove(&mut self, mut gone: impl FnMut(&T) -> bool) -> Vec<Waiting<T>> {
        let mut removed = Vec::new();
        for lane in self.lanes.values_mut() {
            let (out, kept) = std::mem::take(&mut lane.items).into_iter().partition(|waiting| gone(&waiting.item));
            lane.items = kept;
            let out: VecDeque<Waiting<T>> = out;
            removed.extend(out);
        }
        for waiting in &removed {
            self.done(&waiting.tenant);
        }
        removed
    }

    fn lane(&mut self, tenant: &Tenant) -> &mut Lane<T> {
        if !self.lanes.contains_key(tenant) {
            self.ring.push_back(tenant.clone());
        }
        let empty = || Lane { items: VecDeque::new(), deficit: 0, held: 0 };
        self.lanes.entry(tenant.clone()).or_insert_with(empty)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(requests: &[(&str, u64)]) -> FairQueue<usize> {
        let mut queue = FairQueue::new(10, 1000, 1000);
        for (at, (tenant, cost)) in requests.iter().enumerate() {
            queue.push(&Tenant::new(tenant), *cost, at).unwrap();
        }
        queue
    }

    fn drain(queue: &mut FairQueue<usize>) -> Vec<usize> {
        let mut order = Vec::new();
        while let Some(waiting) = queue.take(|_| Turn::Take) {
            queue.done(&waiting.tenant);
            order.push(waiting.item);
        }
        order
    }

    #[test]
    fn one_tenant_is_served_in_order_of_arrival() {
        assert_eq!(drain(&mut queue(&[("a", 5), ("a", 500), ("a", 1)])), [0, 1, 2]);
    }

    #[test]
    fn a_tenant_with_one_request_waits_for_one_turn_of_a_tenant_with_a_hundred() {
        let mut requests = vec![("noisy", 10); 100];
        requests.push(("quiet", 10));
        let order = drain(&mut queue(&requests));
        assert!(order[..2].contains(&100), "{:?}", &order[..5]);
    }

    #[test]
    fn tenants_share_tokens_and_not_requests() {
        let mut requests = vec![("long", 40); 50];
        requests.extend(vec![("short", 10); 200]);
        let order = drain(&mut queue(&requests));
        let long = order[..100].iter().filter(|at| **at < 50).count();
        assert!((18..=22).contains(&long), "{long} long requests beside {} short ones", 100 - long);
    }

    #[test]
    fn what_the_caller_passes_over_stays_and_others_go_on() {
        let mut queue = queue(&[("a", 1), ("b", 1), ("a", 1)]);
        let taken = queue.take(|w| if &*w.tenant.0 == "a" { Turn::Skip } else { Turn::Take }).unwrap();
        assert_eq!(taken.item, 1);
        assert!(queue.take(|_| Turn::Skip).is_none());
        queue.put_back(taken);
        assert_eq!(queue.len(), 3);
    }

    #[test]
    fn what_was_set_aside_comes_back_before_what_came_after_it() {
        let mut queue = queue(&[("a", 1), ("a", 1), ("a", 1)]);
        let (first, second) = (queue.take(|_| Turn::Take).unwrap(), queue.take(|_| Turn::Take).unwrap());
        queue.put_back(second);
        queue.put_back(first);
        assert_eq!(drain(&mut queue), [0, 1, 2]);
    }

    #[test]
    fn queues_are_bounded_for_each_tenant_and_in_all() {
        let mut queue = FairQueue::new(10, 2, 3);
        let (a, b) = (Tenant::new("a"), Tenant::new("b"));
        queue.push(&a, 1, 0).unwrap();
        queue.push(&a, 1, 1).unwrap();
        assert_eq!(queue.push(&a, 1, 2), Err(Full::Tenant(2)));
        queue.push(&b, 1, 3).unwrap();
        assert_eq!(queue.push(&b, 1, 4), Err(Full::All(3)));
        assert_eq!(queue.remove(|item| *item == 1).len(), 1);
        queue.push(&b, 1, 5).unwrap();
        let taken = queue.take(|w| if w.tenant == a { Turn::Take } else { Turn::Skip }).unwrap();
        assert_eq!(queue.len(), 3, "set aside is still waiting");
        queue.done(&taken.tenant);
        assert_eq!(queue.len(), 2);
    }
}
