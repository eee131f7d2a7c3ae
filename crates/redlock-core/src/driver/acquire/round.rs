//! One round of an acquire, with the numbered steps of the Redis page.

use super::{
    Acquire,
    lost_round::{Failure, Lost, LostRound},
};
use crate::{
    algorithm::{Cause, Decision, RoundFailure},
    driver::{
        exchange::{Exchange, SHORTLY},
        fleet::Fleet,
        held::Held,
        lease::{Lease, slot::Slot},
        node_lane::Offer,
        tally::Tally,
    },
    engine::acquisition::step,
    names::Resources,
    node::FencingCounters,
    queue::{Holding, Permit, Queueing, Ticket, subscribe},
    report::{AcquireError, PermitsError},
};

impl Acquire<'_> {
    /// Runs one round, or several for a permit.
    pub(super) async fn round(
        &self,
        permit: Permit<Offer>,
        gives_way: bool,
        has_failed: bool,
        ticket: &mut Option<Ticket<'_, Fleet>>,
    ) -> Result<Result<Held, Lost>, AcquireError> {
        match &self.semaphore {
            None => self.round_for(None, permit, gives_way, has_failed, ticket).await,
            // Boxed, so that a call for a lock does not carry the space for it.
            Some(semaphore) => Box::pin(self.rounds_for_slots(semaphore, permit, gives_way, has_failed, ticket)).await,
        }
    }

    /// Runs one round, for this slot if the call acquires a permit: the steps of the Redis page.
    pub(super) async fn round_for(
        &self,
        slot: Option<Slot>,
        permit: Permit<Offer>,
        gives_way: bool,
        has_failed: bool,
        ticket: &mut Option<Ticket<'_, Fleet>>,
    ) -> Result<Result<Held, Lost>, AcquireError> {
        // 0. A call that waits behind others subscribes first, so that it is notified when its turn comes.
        if ticket.as_ref().is_some_and(|ticket| ticket.comes_behind_others(permit.cause())) {
            subscribe(self.fleet, &self.runtime, self.left()).await;
        }

        // 1. Read the clock before the first byte is sent. Make a token that no round has used before.
        let started = self.fleet.clock.now();
        let token = self.fleet.new_token()?;

        // 2. Send to all nodes at once. From here on the lease is released on all of them, unless the round is won.
        let resources = self.resources.clone();
        let (keys, counters) = match (&self.semaphore, &slot) {
            (Some(semaphore), Some(slot)) => {
                let key = Resources::from(semaphore.keys.slot(slot.number)?);
                let counters = self.counters.as_ref();
                let counters = counters.map(|counters| Ok(FencingCounters::new(key.counters()?, counters.retention)));
                (key, counters.transpose().map_err(AcquireError::Resource)?)
            }
            _ => (self.keys.clone(), self.counters.clone()),
        };
        let lease = Lease::new(self.fleet, &self.runtime, resources, keys, token, counters, &self.terms);
        let lease = if self.is_reservation { lease.into_reservation() } else { lease };
        let number = slot.as_ref().map(|slot| slot.number);
        let lease = slot.into_iter().fold(lease, Lease::for_slot);
        let lease = lease.into_shared(self.is_shared);
        let queueing = ticket.as_ref().and_then(|ticket| ticket.queueing(permit.cause()));
        // A writer that asks again keeps new readers out until then, where readers refuse it.
        let is_writer = !self.is_shared && self.semaphore.is_none() && self.keys.len() == 1;
        let asks_again = is_writer && gives_way && !self.retry.is_once();
        let intent = asks_again.then(|| self.intent.lives(&self.retry));
        if asks_again {
            self.intent.leaves(&lease);
        }
        let ask = |among: &dyn Fn(usize) -> bool, patience, is_likely_held, queueing| {
            lease.send_acquire(among, &self.terms, patience, is_likely_held, &permit, (queueing, intent))
        };

        // 3. Count votes until they decide. Do not wait for a slow node after that: its request continues in the
        //    background, and later requests for this token on that node follow after it.
        let mut tally = self.fleet.tally();
        let decide = async |tally: &mut Tally, answers: &mut Exchange<_>| match gives_way {
            true => answers.decide_or_give_way(tally).await,
            false => answers.decide(tally).await,
        };
        // A writer that readers refuse leaves its intent on all nodes.
        let has_met_readers = self.intent.has_met_readers();
        let asked_first = queueing.as_ref().filter(|_| !has_met_readers).and_then(Queueing::asked_first);
        let mut decision = match asked_first {
            None => {
                let is_likely_held = has_failed && (permit.cause() != Cause::Woken || has_met_readers);
                let mut answers = ask(&|_| true, self.patience(), is_likely_held, queueing.as_ref());
                decide(&mut tally, &mut answers).await
            }
            // A call that may have to wait behind others first asks the node that has the wait queue.
            Some(first) => {
                let mut answer = ask(&|node| node == first, self.patience().min(SHORTLY), true, queueing.as_ref());
                if let Some((member, answer)) = answer.next().await {
                    tally.count(member, answer);
                }
                if tally.refusing().next().is_some() {
                    Decision::Lost(RoundFailure::Contended)
                } else {
                    let mut answers = ask(&|node| node != first, self.patience(), false, None);
                    answers.take_over(answer);
                    decide(&mut tally, &mut answers).await
                }
            }
        };
        let took = || self.fleet.clock.now().saturating_sub(started);
        let left = || self.terms.validity.saturating_sub(took());

        // 4. Agree on a fencing token, if one is wanted: the greatest counter, confirmed by a quorum.
        let mut verb = "granted";
        if self.counters.is_some() && decision.with(left()) == Decision::Won {
            match lease.fence(self.fleet, &mut tally, || self.patience().min(left())).await {
                Ok(token) => lease.shared().fenced(token),
                Err(lost) => (decision, verb) = (Decision::Lost(lost), "confirmed the fencing token"),
            }
        }

        // 5. Compute the validity that is left, as a deadline on our own clock. The round is won, or lost and released
        //    on all nodes.
        match decision.with(left()) {
            Decision::Won => {
                if asks_again {
                    self.intent.is_granted(&lease);
                }
                lease.hold(self.holding(permit.cause(), ticket, number));
                Ok(Ok(Held::new(lease, self.terms, started, self.auto_extend)))
            }
            Decision::Lost(lost) => {
                ticket.iter_mut().for_each(Ticket::asked);
                self.intent.lost(&lease);
                let (free_after, is_cut) = (tally.free_after(), tally.is_cut());
                let queued_on = queueing.and_then(|queueing| queueing.notified_by());
                let queued_on = queued_on.filter(|node| tally.has_answered(*node));
                let votes = Box::new(tally.close(verb, self.fleet.names()));
                if let (Some(semaphore), Some(found)) = (&self.semaphore, votes.other_permits()) {
                    let (resource, asked) = (self.resources.first().clone(), semaphore.permits);
                    return Err(PermitsError::Different { resource, asked, found }.into());
                }
                tracing::debug!(why = ?lost, %votes, "round lost");
                let is_free = votes.are_for_another_waiter();
                let (cause, is_contended) = (permit.cause(), lost == RoundFailure::Contended);
                let failure = Failure { lost, is_hopeless: votes.are_hopeless(), votes };
                let why = step::LostRound { failure, free_after, is_free, is_cut };
                Ok(Err((LostRound { lease, cause, is_contended, queued_on }, why)))
            }
        }
    }

    /// Notifies the waiters of this process when the lock is released.
    fn holding(
        &self,
        cause: Cause,
        ticket: &mut Option<Ticket<'_, Fleet>>,
        slot: Option<u32>,
    ) -> Option<Holding<Offer>> {
        let holding = match ticket.take() {
            Some(ticket) => ticket.won(cause),
            None if self.keys.len() > 1 => return None,
            None => {
                let now = self.fleet.clock.now();
                Holding::at_once(&self.fleet.queues, self.keys.first(), self.is_shared, now)
            }
        };
        Some(holding.of_slot(slot))
    }
}
