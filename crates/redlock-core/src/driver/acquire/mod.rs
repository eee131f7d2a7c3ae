//! One call to acquire: rounds until one is won or the call ends.

mod lost_round;
mod reservations;
mod round;
mod reserve;

use std::{future::pending, sync::Arc, time::Duration};

use tokio::{
    runtime::Handle,
    time::{sleep, timeout},
};
use tracing::{Instrument, field};

use self::{
    lost_round::{Failure, LostRound},
    reservations::Reservations,
};
use super::{
    fleet::{Fleet, Terms},
    held::Held,
    node_lane::Offer,
};
use crate::{
    algorithm::{Asking, AutoExtend, Cause, Lost, Next, Notified, Retry, Schedule, Stop},
    names::Resources,
    node::Counters,
    queue::{Place, Turn, listen},
    report::{AcquireError, Attempts, Event, NotAcquired},
};

/// One call to acquire.
pub(crate) struct Acquire<'a> {
    fleet: &'a Arc<Fleet>,
    runtime: Handle,
    resources: Resources,
    /// Their keys on the nodes.
    keys: Resources,
    /// The fencing counters beside them, if the lock is to have a fencing token.
    counters: Option<Counters>,
    terms: Terms,
    retry: Retry,
    /// How the lock is extended while it is held.
    auto_extend: Option<Schedule>,
    /// How each of several names is reserved while the call waits for the others, if it is.
    reserve: Option<Schedule>,
    /// Whether this call reserves one name for a call that waits for several.
    is_reservation: bool,
    /// When the call was made.
    called: Duration,
}

/// Tells of a call that is dropped before it is over.
struct Told<'a> {
    acquire: &'a Acquire<'a>,
    attempts: u32,
    is_over: bool,
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        let Self { acquire, attempts, is_over } = *self;
        if !is_over && acquire.fleet.observers.are_there() {
            acquire.not_acquired(attempts, acquire.elapsed(), NotAcquired::Cancelled);
        }
    }
}

impl<'a> Acquire<'a> {
    /// How long the next round waits at least for nodes to give back what the lost one took, were the pause shorter.
    const GIVING_BACK: Duration = Duration::from_millis(50);

    /// For how long rounds fail for a reason that no retry can cure before the call ends. Passwords and permissions
    /// that are changed on one node after the other, or in a server before a client, are in order again by then.
    const HOPELESS: Duration = Duration::from_secs(1);

    /// Checks all that was asked for, and sends nothing yet.
    pub(crate) fn new(
        fleet: &'a Arc<Fleet>,
        resources: Resources,
        ttl: Duration,
        retry: Retry,
        auto_extend: Option<AutoExtend>,
        fencing: Option<bool>,
    ) -> Result<Self, AcquireError> {
        let keys = fleet.keys(&resources)?;
        let fencing = fencing.unwrap_or(fleet.fencing);
        let counters = fencing.then(|| fleet.counters(&keys, ttl)).transpose()?;
        fleet.check_slots(&resources, &keys, counters.as_ref())?;
        let terms = fleet.terms(ttl)?;
        let auto_extend = auto_extend.map(|options| fleet.schedule(options, &terms)).transpose()?;
        Ok(Self {
            fleet,
            reserve: reservations::schedule(fleet, &keys, &terms, &retry),
            resources,
            keys,
            counters,
            terms,
            runtime: Handle::try_current().map_err(|_| AcquireError::NoRuntime)?,
            retry,
            auto_extend,
            is_reservation: false,
            called: fleet.clock.now(),
        })
    }

    /// Rounds until one is won or the policy says stop.
    pub(crate) async fn run(self) -> Result<Held, AcquireError> {
        let span = tracing::info_span!(
            "redlock.acquire",
            resource = %self.resources,
            ttl_ms = self.terms.ttl.sent_millis(),
            attempts = field::Empty,
            waited_ms = field::Empty,
        );
        let mut told = Told { acquire: &self, attempts: 0, is_over: false };
        let acquired = self.attempts(&mut told.attempts).instrument(span.clone()).await;
        told.is_over = true;
        let (attempts, waited) = (told.attempts, self.elapsed());
        let waited_ms = waited.as_millis() as u64;
        // Without a check, which tells of a loss: that comes after this.
        let validity = |lock: &Held| lock.shared().validity.left(self.fleet.clock.now());
        span.record("attempts", attempts).record("waited_ms", waited_ms).in_scope(|| match &acquired {
            Ok(lock) => tracing::debug!(attempts, waited_ms, validity = ?validity(lock), "acquired"),
            Err(error) => tracing::debug!(attempts, waited_ms, %error, "not acquired"),
        });
        let observers = &self.fleet.observers;
        match &acquired {
            Ok(lock) if observers.are_there() => {
                let (resources, validity) = (lock.resources(), validity(lock));
                observers.tell(&Event::Acquired { resources, attempts, waited, validity });
            }
            Ok(_) => {}
            Err(error) => self.not_acquired(attempts, waited, NotAcquired::Failed(error)),
        }
        acquired
    }

    fn not_acquired(&self, attempts: u32, waited: Duration, why: NotAcquired<'_>) {
        self.fleet.observers.tell(&Event::NotAcquired { resources: &self.resources, attempts, waited, why });
    }

    /// Attempts until one wins the lock. A call for several names that finds one of them locked waits for each in turn.
    async fn attempts(&self, attempts: &mut u32) -> Result<Held, AcquireError> {
        *attempts = 1;
        let (mut failure, mut reservations) = (None, None);
        loop {
            if let Some(lock) = self.ask_until_won(attempts, &mut failure, reservations.take()).await? {
                return Ok(lock);
            }
            // Boxed, as below, so that a call for one name does not carry the space for it.
            reservations = Some(Box::pin(self.reserve(attempts, &mut failure)).await?);
        }
    }

    /// Attempts, each with rounds when its turn comes. A call that waits behind others of this process asks no node,
    /// and its attempts pass all the same. `None` if the names have to be reserved now, or if this is a reservation and
    /// no further attempt follows.
    async fn ask_until_won(
        &self,
        attempts: &mut u32,
        failure: &mut Option<Failure>,
        reservations: Option<Reservations>,
    ) -> Result<Option<Held>, AcquireError> {
        let (mut place, mut turn) = self.place();
        let mut may_reserve = reservations.is_none();
        let mut reservations = reservations.unwrap_or_default();
        turn = if reservations.is_empty() { turn } else { Some(reservations.turn()) };
        let (mut is_last, mut hopeless_since) = (false, None);
        loop {
            let was_last = std::mem::replace(&mut is_last, self.is_last(*attempts));
            if is_last && self.is_reservation {
                return Ok(None);
            }
            // Its turn never came. A round of its own tells why.
            turn = turn.or_else(|| (is_last && !was_last).then_some(Turn::Due));
            let mut lost = match turn.take() {
                None => None,
                Some(turn) => {
                    // The last attempt is no time to let others come first.
                    let may_yield = place.is_some() && turn.cause().yields();
                    let turn = if may_yield && is_last { Turn::Due } else { turn };
                    match self.round(turn, is_last, &mut place, failure).await? {
                        Ok(lock) => return Ok(Some(reservations.taken_over_by(lock))),
                        lost => lost.err(),
                    }
                }
            };
            // Nodes whose configuration makes a quorum impossible are asked for a second, and not until the time is
            // over.
            if lost.is_some() {
                let is_hopeless = failure.as_ref().is_some_and(|failure| failure.votes.are_hopeless());
                hopeless_since = is_hopeless.then(|| hopeless_since.unwrap_or_else(|| self.elapsed()));
            }
            let is_hopeless = |since: Duration| self.elapsed().saturating_sub(since) >= Self::HOPELESS;
            let ends = lost.is_some() && hopeless_since.is_some_and(is_hopeless);
            let free_after = lost.as_ref().and_then(|lost| lost.free_after);
            if let Some(lost) = lost.take_if(|_| !reservations.is_empty()) {
                let is_contended = lost.lost == Lost::Contended;
                Box::pin(self.give_back(lost)).await;
                if let Some(again) = reservations.asks_again(is_contended, self.fleet.random()?) {
                    sleep(again).await;
                    turn = Some(reservations.turn());
                    continue;
                }
                Box::pin(self.release(std::mem::take(&mut reservations))).await;
            }
            let is_contended = |lost: &mut LostRound| lost.lost == Lost::Contended;
            let reserves = may_reserve && !is_last && self.reserve.is_some();
            if let Some(lost) = lost.take_if(|lost| reserves && is_contended(lost)) {
                Box::pin(self.give_back(lost)).await;
                return Ok(None);
            }
            let next = match ends {
                true => Next::Stop(Stop::Attempts),
                false => self.retry.next(*attempts, self.elapsed(), free_after, self.fleet.random()?),
            };
            let stop = match next {
                Next::Stop(stop) => stop,
                Next::After(pause) => match self.pause(pause, lost, &mut place, failure).await? {
                    Ok(lock) => return Ok(Some(lock)),
                    Err(next) if !self.left().is_zero() => {
                        *attempts = attempts.saturating_add(1);
                        (turn, may_reserve) = (next, true);
                        continue;
                    }
                    Err(_) => Stop::Deadline,
                },
            };
            // The call that waits for several names tells the failure, if it is one.
            if self.is_reservation {
                return Ok(None);
            }
            match failure.take() {
                Some(failure) => return Err(self.failed(*attempts, failure, stop)),
                // The deadline passed at once, as after a suspension.
                None => {
                    *attempts = attempts.saturating_add(1);
                    turn = Some(Turn::Due);
                }
            }
        }
    }

    fn is_last(&self, attempt: u32) -> bool {
        // The clock is read only if there is a deadline.
        let elapsed = self.retry.ends_after().map_or(Duration::ZERO, |_| self.elapsed());
        self.retry.is_last(attempt, elapsed)
    }

    /// The place of this call in the line of its process, if it waits in one; and its turn, if it has come.
    fn place(&self) -> (Option<Place<'_, Fleet>>, Option<Turn<Offer>>) {
        if self.keys.len() > 1 || self.retry.is_once() {
            return (None, Some(Turn::Arrived));
        }
        let (place, turn) = Place::take(self.fleet, &self.runtime, self.keys.first());
        (Some(place), turn)
    }

    /// The pause after an attempt. Whoever gets its turn before the pause is over uses it: the lock, or the turn with which
    /// the next attempt begins.
    async fn pause(
        &self,
        pause: Duration,
        mut lost: Option<LostRound>,
        place: &mut Option<Place<'_, Fleet>>,
        failure: &mut Option<Failure>,
    ) -> Result<Result<Held, Option<Turn<Offer>>>, AcquireError> {
        // All times are on the fleet's clock. Tokio's timers only wait.
        let mut due = self.fleet.clock.now().checked_add(pause);
        let (mut asking, mut notified) = (Asking::default(), Notified::default());
        // Before the next notification is taken, after one that was in vain.
        let mut rest = Duration::ZERO;
        loop {
            let mut again = None;
            if let Some(lost) = lost.take() {
                let (lease, is_contended) = (Arc::clone(lost.lease.shared()), lost.lost == Lost::Contended);
                // What nodes have not given back by then follows in the background.
                let patience = self.left_until(due).max(Self::GIVING_BACK.min(self.left() / 2));
                // A turn that was of no use is passed on. If another holds the lock, that one will do so.
                let passes_on = match lost.cause {
                    Cause::Woken => !is_contended,
                    Cause::Follows => true,
                    // Those were refused for nothing who asked meanwhile.
                    Cause::Arrived | Cause::Due => lost.lost == Lost::TooSlow,
                };
                // A holder that is gone wakes nobody.
                let free_at = lost.free_after.and_then(|free_after| self.fleet.clock.now().checked_add(free_after));
                due = due.into_iter().chain(free_at).min();
                let cause = lost.cause;
                let _ = timeout(patience, lost.lease.give_back(passes_on)).await;
                // Who waits for a lock of its own process is told there; if it is not told for a whole pause, that one is gone.
                let is_contended = is_contended && place.is_some();
                if is_contended
                    && self.fleet.lines.contended(self.keys.first(), cause == Cause::Due, self.fleet.clock.now())
                {
                    let waits = match lost.queued_on {
                        Some(node) => !lease.was_granted_by(node),
                        // It polls where nobody can wake it.
                        None => !listen(self.fleet, &self.runtime, self.left_until(due)).await,
                    };
                    again = asking.lost(waits, self.fleet.random()?);
                }
                if cause == Cause::Woken {
                    rest = notified.in_vain();
                }
            }
            let turn = match (place.as_mut(), again.filter(|again| *again < self.left_until(due))) {
                (None, _) => {
                    match due {
                        Some(_) => sleep(self.left_until(due)).await,
                        None => pending().await,
                    }
                    return Ok(Err(Some(Turn::Due)));
                }
                (Some(_), Some(again)) => {
                    sleep(again).await;
                    Turn::Arrived
                }
                (Some(place), None) => {
                    let rest = std::mem::take(&mut rest).min(self.left_until(due));
                    if !rest.is_zero() {
                        sleep(rest).await;
                    }
                    match place.turn(due).await {
                        Some(turn) if turn.cause() != Cause::Due => turn,
                        due => return Ok(Err(due)),
                    }
                }
            };
            if self.left_until(due).is_zero() {
                return Ok(Err(Some(turn)));
            }
            // Once in a pause: what follows one notification after the other must stay bounded.
            if turn.cause() == Cause::Woken && notified == Notified::default() {
                asking = Asking::default();
            }
            match self.round(turn, false, place, failure).await? {
                Ok(lock) => return Ok(Ok(lock)),
                round => lost = round.err(),
            }
        }
    }

    /// Gives back what a round for several names took, so that the next one does not meet it. What nodes have not given
    /// back in time follows in the background.
    async fn give_back(&self, lost: LostRound) {
        let _ = timeout(Self::GIVING_BACK.min(self.left() / 2), lost.lease.give_back(false)).await;
    }

    /// How long the round may wait for a node: no longer than the caller wants to wait.
    fn patience(&self) -> Duration {
        self.fleet.patience(self.terms.node_timeout, self.terms.first_answer_within()).min(self.left())
    }

    /// What is left until the deadline.
    fn left(&self) -> Duration {
        self.retry.ends_after().map_or(Duration::MAX, |deadline| deadline.saturating_sub(self.elapsed()))
    }

    /// What is left until `due` on the fleet's clock.
    fn left_until(&self, due: Option<Duration>) -> Duration {
        due.map_or(Duration::MAX, |due| due.saturating_sub(self.fleet.clock.now()))
    }

    fn elapsed(&self) -> Duration {
        self.fleet.clock.now().saturating_sub(self.called)
    }

    fn failed(&self, attempts: u32, failure: Failure, stop: Stop) -> AcquireError {
        let Failure { lost, votes: last_round } = failure;
        let elapsed = self.elapsed();
        let tried = Box::new(Attempts { resources: self.resources.clone(), made: attempts, elapsed, lost, last_round });
        // The deadline may also have cut the last attempt off.
        let cut_off = self.retry.ends_after().is_some_and(|deadline| elapsed >= deadline);
        match (stop, lost) {
            (Stop::Deadline, _) => AcquireError::Deadline(tried),
            (Stop::Attempts, _) if cut_off => AcquireError::Deadline(tried),
            (Stop::Attempts, Lost::Contended) => AcquireError::Contended(tried),
            (Stop::Attempts, Lost::NoQuorum) => AcquireError::NoQuorum(tried),
            (Stop::Attempts, Lost::TooSlow) => AcquireError::TooSlow(tried),
        }
    }
}
