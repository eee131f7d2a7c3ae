//! The requests that acquire and extend a lease and confirm its fencing token.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use super::{Lease, LeaseState};
use crate::{
    algorithm::{Fencing, Readable, Reading},
    driver::{
        exchange::{Exchange, Request, Requests},
        fleet::{Fleet, Terms},
        member::Member,
        node_lane::{NodeLane, Offer},
    },
    node::{
        AcquireAnswer, AcquireRequest, ExtendAnswer, ExtendRequest, LATE_LIMIT, NodeError, NodeErrorKind, RaiseAnswer,
        RaiseRequest, Timed, Verdict,
    },
    queue::{Permit, Queueing},
    report::NodeRequest,
};

impl Lease {
    /// Sends an acquire to the nodes that are `among` the fleet's. Waits for answers for at most `patience`. If the
    /// lock is likely held, the nodes also return their time.
    ///
    /// If a predecessor hands the keys off, each acquire follows everything that the predecessor has sent to that node.
    /// With a queue, the call joins the wait queue on the node that notifies it, or on all nodes if it polls.
    /// With an intent, it keeps new readers out for that time where readers refuse it.
    pub(crate) fn send_acquire(
        &self,
        among: &dyn Fn(usize) -> bool,
        terms: &Terms,
        patience: Duration,
        is_likely_held: bool,
        permit: &Permit<Offer>,
        (queue, intent): (Option<&Queueing<'_, Fleet>>, Option<Duration>),
    ) -> Exchange<AcquireAnswer> {
        let ttl = terms.ttl;
        let (predecessor, taken_over) = match permit {
            Permit::Follows(predecessor) => (Some(predecessor.offer()), Arc::<[_]>::from([predecessor.offer().token])),
            Permit::Reserved(tokens) => (None, Arc::clone(tokens)),
            Permit::Arrived | Permit::Woken | Permit::Due => (None, Arc::default()),
        };
        let nodes = (0..self.0.lanes.len()).filter(|node| among(*node));
        let requests = Requests::to(&self.0.fleet, nodes, |number| -> Request<AcquireAnswer> {
            let lease = Arc::clone(&self.0);
            let (predecessor, queue) = (predecessor.cloned(), queue.and_then(|queue| queue.on(number)));
            let taken_over = Arc::clone(&taken_over);
            Box::pin(async move {
                let (member, lane) = lease.at(number);
                member.admit()?;
                let _order = lane.enter().await;
                let left_by = predecessor.as_ref().and_then(|offer| offer.lanes.get(number));
                let _behind = match left_by {
                    Some(before) => Some(before.enter().await),
                    None => None,
                };
                lease.still_wanted()?;
                left_by.iter().for_each(|before| before.offer());
                let setting = lane.sets(true);
                let mut request = AcquireRequest::new(lease.keys.clone(), lease.token, ttl);
                request.fencing.clone_from(&lease.counters);
                request.guard.clone_from(&lease.fleet.guard);
                (request.queue, request.predecessors) = (queue, taken_over);
                request.permits = lease.slot.as_ref().map(|slot| slot.permits.clone());
                if request.queue.is_some() {
                    lease.fleet.queues.joins(lease.queue_keys().first(), number);
                }
                let now = lease.fleet.clock.now();
                request.wants_clock = is_likely_held || lease.fleet.distrust.is_some() || member.clock_is_due(now);
                request.shared = lease.is_shared();
                // A first round pays for an intent only where it is refused.
                request.intent = intent.filter(|_| is_likely_held || request.is_plain());
                let answer = lease.timed(member, NodeRequest::Acquire, member.node.acquire(&request)).await;
                setting.answered(&answer);
                // The task that delivers owed releases may have ended with its runtime.
                if member.owed.is_unserved() {
                    lease.fleet.serve(number, &lease.runtime);
                }
                let Timed { answer, sent_again, .. } = answer?;
                // A node does not return its time in a hand-off.
                if request.wants_clock && request.predecessors.is_empty() {
                    member.saw_clock(now);
                }
                if let Some(before) = left_by {
                    let is_granted = matches!(answer, AcquireAnswer::Granted { .. });
                    let follows = matches!(answer, AcquireAnswer::Granted { follows: true, .. });
                    before.successor_answered(follows, is_granted && sent_again);
                }
                if let Some(slot) = &lease.slot {
                    slot.learn(number, &answer);
                }
                if let AcquireAnswer::Held { shared: true, .. } = answer {
                    lease.met_readers.store(true, Ordering::Relaxed);
                }
                if let AcquireAnswer::Granted { counter, .. } = answer {
                    lease.granted(member, lane, counter)?;
                }
                Ok(answer)
            })
        });
        Exchange::new(requests, patience, terms.node_timeout, LATE_LIMIT)
    }

    /// Asks the nodes that have not confirmed this fencing token to do so. Waits for at most `patience`.
    pub(crate) fn send_raise(
        &self,
        candidate: u64,
        fencing: &Fencing,
        patience: Duration,
    ) -> Exchange<Option<RaiseAnswer>> {
        let node_timeout = self.0.node_timeout;
        let asked: Vec<_> = fencing.to_raise(candidate).collect();
        let requests = self.0.requests(|lease, number| {
            let is_asked = asked.contains(&number);
            Box::pin(async move {
                let (member, lane) = lease.at(number);
                let Some(counters) = lease.counters.clone().filter(|_| is_asked) else { return Ok(None) };
                member.admit()?;
                // After the acquire, which may still be in flight.
                let _order = lease.enter_in_time(lane, node_timeout).await?;
                lease.still_wanted()?;
                let request = RaiseRequest::new(lease.keys.clone(), lease.token, counters, candidate);
                let answer = lease.fleet.call(member, NodeRequest::Raise, member.node.raise(&request)).await;
                let answer = member.observe(answer)?;
                if let RaiseAnswer::Higher(counter) = answer {
                    lane.counter.store(counter, Ordering::SeqCst);
                }
                Ok(Some(answer))
            })
        });
        Exchange::new(requests, patience, node_timeout, LATE_LIMIT)
    }
}

impl LeaseState {
    /// Sends an extend to all nodes.
    pub(crate) fn send_extend(self: &Arc<Self>, terms: &Terms, number: u64) -> Exchange<ExtendAnswer> {
        let Terms { ttl, node_timeout, .. } = *terms;
        self.longest_ttl.fetch_max(ttl.sent_millis(), Ordering::SeqCst);
        let requests = self.requests(|lease, member| {
            Box::pin(async move {
                let (member, lane) = lease.at(member);
                member.admit()?;
                // Extends must not pile up after a request that the node does not answer.
                let _order = lease.enter_in_time(lane, node_timeout).await?;
                lease.still_wanted()?;
                let setting = lane.sets(lease.keys.len() == 1 && lease.slot.is_none());
                let mut request = ExtendRequest::new(lease.keys.clone(), lease.token, ttl);
                request.shared = lease.is_shared();
                request.fencing = lease.counters.clone().zip(lease.fence.get().copied());
                request.permits = lease.slot.as_ref().map(|slot| slot.permits.clone());
                let answer = lease.timed(member, NodeRequest::Extend, member.node.extend(&request)).await;
                setting.answered(&answer);
                let Timed { answer, .. } = answer?;
                if answer == ExtendAnswer::Healed {
                    lane.restored_by.fetch_max(number, Ordering::SeqCst);
                }
                let counted = lease.counted.load(Ordering::SeqCst);
                let restored = answer == ExtendAnswer::Extended && lane.restored_by.load(Ordering::SeqCst) > counted;
                Ok(if restored { ExtendAnswer::Healed } else { answer })
            })
        });
        Exchange::new(requests, node_timeout, node_timeout, LATE_LIMIT)
    }

    /// Waits for an answer. Records the node's clock and whether the node fails.
    async fn timed<A: Verdict>(
        &self,
        member: &Member,
        request: NodeRequest,
        answer: impl Future<Output = Result<Timed<A>, NodeError>>,
    ) -> Result<Timed<A>, NodeError> {
        let sent = self.fleet.clock.now();
        let timed = member.observe(self.fleet.call(member, request, answer).await)?;
        // A cluster returns the time of the server that has the keys, which may change.
        if let Some(clock) = timed.clock.filter(|_| !member.node.is_cluster()) {
            let reading = Reading { sent, received: self.fleet.clock.now(), clock };
            member.watch_clock(reading, &self.fleet.drift);
        }
        Ok(timed)
    }

    /// Checks whether a grant counts: with fencing it needs a counter, and a node whose clock has jumped is not trusted
    /// for a while.
    fn granted(&self, member: &Member, lane: &NodeLane, counter: Option<u64>) -> Result<(), NodeError> {
        match (&self.counters, counter) {
            (Some(_), None) => {
                return Err(NodeError::new(NodeErrorKind::Unsupported, "the node counts no fencing tokens"));
            }
            (Some(_), Some(counter)) => lane.counter.store(counter, Ordering::SeqCst),
            (None, _) => {}
        }
        let Some(distrust) = self.fleet.distrust else { return Ok(()) };
        let Some((jump, at)) = member.jumped() else { return Ok(()) };
        let left = distrust.saturating_sub(self.fleet.clock.now().saturating_sub(at));
        if left.is_zero() {
            return Ok(());
        }
        let what = format!("it has jumped by {jump}: its grants do not count for {} more", Readable(left));
        Err(NodeError::new(NodeErrorKind::ClockJumped, what))
    }
}
