//! One call to acquire: rounds until one is won or the call ends.

mod lost_round;
mod intent;
mod reservations;
mod round;
mod reserve;
mod semaphore;
mod permit;

use std::{future::pending, sync::Arc, time::Duration};

use tokio::{
    runtime::Handle,
    time::{sleep, timeout},
};
use tracing::{Instrument, field};

use self::{
    intent::Intent,
    lost_round::{Failure, LostRound},
    reservations::Reservations,
    semaphore::Semaphore,
};
use super::{
    fleet::{Fleet, Terms},
    held::Held,
    lease::phase::Notify,
    node_lane::Offer,
};
use crate::{
    algorithm::{Asking, AutoExtend, Cause, Next, Notified, Retry, RoundFailure, Schedule, Stop},
    names::Resources,
    node::FencingCounters,
    queue::{Permit, Ticket, subscribe},
    report::{AcquireError, Event, NotAcquired},
};

/// One call to acquire.
pub(crate) struct Acquire<'a> {
    fleet: &'a Arc<Fleet>,
    runtime: Handle,
    resources: Resources,
    /// The keys of the resources on the nodes.
    keys: Resources,
    /// The fencing counters beside them, if the lock is to have a fencing token.
    counters: Option<FencingCounters>,
    terms: Terms,
    retry: Retry,
    /// Whether it asks for a shared lock.
    is_shared: bool,
    intent: Intent,
    /// How the lock is extended while it is held.
    auto_extend: Option<Schedule>,
    /// How the reservations of single names are extended while the call waits for the other names, if it reserves any.
    reserve: Option<Schedule>,
    /// Whether this call reserves one name for a call that waits for several.
    is_reservation: bool,
    /// The semaphore, if the call acquires a permit. Its wait queue is the only key then, and each round has its slot.
    semaphore: Option<Semaphore>,
    /// When the call was made, on the fleet's clock.
    called: Duration,
}

/// Reports to observers that the call was dropped before it was over.
struct ReportsCancel<'a> {
    acquire: &'a Acquire<'a>,
    attempts: u32,
    is_over: bool,
}

impl Drop for ReportsCancel<'_> {
    fn drop(&mut self) {
        let Self { acquire, attempts, is_over } = *self;
        if !is_over && acquire.fleet.observers.are_there() {
            acquire.not_acquired(attempts, acquire.elapsed(), NotAcquired::Cancelled);
        }
    }
}

impl<'a> Acquire<'a> {
    /// How long the call waits for the release of a lost round, even if its pause is shorter.
    const RELEASE_WAIT: Duration = Duration::from_millis(50);

    /// How long rounds may fail for a reason that no retry can cure before the call ends. Passwords and permissions
    /// that are changed on one node after the other, or on a server before a client, are consistent again by then.
    const HOPELESS: Duration = Duration::from_secs(1);

    /// Checks the arguments. Sends nothing yet.
    pub(crate) fn new(
        fleet: &'a Arc<Fleet>,
        resources: Resources,
        ttl: Duration,
        retry: Retry,
        auto_extend: Option<AutoExtend>,
        fencing: Option<bool>,
        is_shared: bool,
    ) -> Result<Self, AcquireError> {
        let keys = fleet.keys(&resources)?;
        let fencing = fencing.unwrap_or(fleet.fencing);
        if fencing && is_shared {
            return Err(AcquireError::SharedFencing);
        }
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
            is_shared,
            intent: Intent::default(),
            auto_extend,
            is_reservation: false,
            semaphore: None,
            called: fleet.clock.now(),
        })
    }

    /// Runs rounds until one is won or the retry policy stops.
    pub(crate) async fn run(self) -> Result<Held, AcquireError> {
        let span = tracing::info_span!(
            "redlock.acquire",
            resource = %self.resources,
            ttl_ms = self.terms.ttl.sent_millis(),
            attempts = field::Empty,
            waited_ms = field::Empty,
        );
        let mut call = ReportsCancel { acquire: &self, attempts: 0, is_over: false };
        let acquired = self.attempts(&mut call.attempts).instrument(span.clone()).await;
        call.is_over = true;
        let (attempts, waited) = (call.attempts, self.elapsed());
        let waited_ms = waited.as_millis() as u64;
        // Not by a check, which would report a loss before the acquire.
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

    /// Makes attempts until one wins the lock. If a call for several names finds one of them locked, it waits for each
    /// name in turn.
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

    /// Makes attempts, each with rounds when the call has a permit. A call that waits behind others of this process
    /// asks no node, but its attempts count anyway. `None` if the names have to be reserved now, or if this is a
    /// reservation and no further attempt follows.
    async fn ask_until_won(
        &self,
        attempts: &mut u32,
        failure: &mut Option<Failure>,
        reservations: Option<Reservations>,
    ) -> Result<Option<Held>, AcquireError> {
        let (mut ticket, mut permit) = self.ticket();
        let mut may_reserve = reservations.is_none();
        let mut reservations = reservations.unwrap_or_default();
        permit = if reservations.is_empty() { permit } else { Some(reservations.permit()) };
        let (mut is_last, mut hopeless_since) = (false, None);
        loop {
            self.intent.begins(*attempts);
            let was_last = std::mem::replace(&mut is_last, self.is_last(*attempts));
            if is_last && self.is_reservation {
                return Ok(None);
            }
            // It never got a permit. A round of its own finds out why.
            permit = permit.or_else(|| (is_last && !was_last).then_some(Permit::Due));
            let mut lost = match permit.take() {
                None => None,
                Some(permit) => {
                    // The last attempt does not let others come first.
                    let may_yield = ticket.is_some() && permit.cause().yields();
                    let permit = if may_yield && is_last { Permit::Due } else { permit };
                    match self.round(permit, is_last, &mut ticket, failure).await? {
                        Ok(lock) => return Ok(Some(reservations.taken_over_by(lock))),
                        lost => lost.err(),
                    }
                }
            };
            // If the configuration of the nodes makes a quorum impossible, the call ends after a second and does not
            // use up its timeout.
            if lost.is_some() {
                let is_hopeless = failure.as_ref().is_some_and(|failure| failure.votes.are_hopeless());
                hopeless_since = is_hopeless.then(|| hopeless_since.unwrap_or_else(|| self.elapsed()));
            }
            let is_hopeless = |since: Duration| self.elapsed().saturating_sub(since) >= Self::HOPELESS;
            let ends = lost.is_some() && hopeless_since.is_some_and(is_hopeless);
            let free_after = lost.as_ref().and_then(|lost| lost.free_after);
            if let Some(lost) = lost.take_if(|_| !reservations.is_empty()) {
                let is_contended = lost.lost == RoundFailure::Contended;
                Box::pin(self.release_lost(lost)).await;
                if let Some(again) = reservations.asks_again(is_contended, self.fleet.random()?) {
                    sleep(again).await;
                    permit = Some(reservations.permit());
                    continue;
                }
                Box::pin(self.release_reservations(std::mem::take(&mut reservations))).await;
            }
            let is_contended = |lost: &mut LostRound| lost.lost == RoundFailure::Contended;
            let reserves = may_reserve && !is_last && self.reserve.is_some();
            if let Some(lost) = lost.take_if(|lost| reserves && is_contended(lost)) {
                Box::pin(self.release_lost(lost)).await;
                return Ok(None);
            }
            let next = match ends {
                true => Next::Stop(Stop::Attempts),
                false => self.retry.next(*attempts, self.elapsed(), free_after, self.fleet.random()?),
            };
            let stop = match next {
                Next::Stop(stop) => stop,
                Next::After(pause) => match self.pause(pause, lost, &mut ticket, failure).await? {
                    Ok(lock) => return Ok(Some(lock)),
                    Err(next) if !self.left().is_zero() => {
                        *attempts = attempts.saturating_add(1);
                        (permit, may_reserve) = (next, true);
                        continue;
                    }
                    Err(_) => Stop::TimedOut,
                },
            };
            // The call for several names reports the failure, if it is one.
            if self.is_reservation {
                return Ok(None);
            }
            match failure.take() {
                Some(failure) => {
                    let elapsed = self.elapsed();
                    let cut_off = self.retry.ends_after().is_some_and(|timeout| elapsed >= timeout);
                    return Err(failure.error(self.resources.clone(), *attempts, elapsed, stop, cut_off));
                }
                // The timeout passed at once, for example after a suspension.
                None => {
                    *attempts = attempts.saturating_add(1);
                    permit = Some(Permit::Due);
                }
            }
        }
    }

    fn is_last(&self, attempt: u32) -> bool {
        let elapsed = self.retry.ends_after().map_or(Duration::ZERO, |_| self.elapsed());
        self.retry.is_last(attempt, elapsed)
    }

    /// The ticket of this call in the wait queue of its process, if it waits in one, and its permit, if it has one.
    fn ticket(&self) -> (Option<Ticket<'_, Fleet>>, Option<Permit<Offer>>) {
        if self.keys.len() > 1 || self.retry.is_once() {
            return (None, Some(Permit::Arrived));
        }
        let (ticket, permit) = Ticket::take(self.fleet, &self.runtime, self.keys.first(), self.is_shared);
        (Some(ticket), permit)
    }

    /// Pauses after an attempt. Uses each permit that arrives before the pause is over. Returns the lock, or the permit
    /// with which the next attempt begins.
    async fn pause(
        &self,
        pause: Duration,
        mut lost: Option<LostRound>,
        ticket: &mut Option<Ticket<'_, Fleet>>,
        failure: &mut Option<Failure>,
    ) -> Result<Result<Held, Option<Permit<Offer>>>, AcquireError> {
        // On the fleet's clock. Tokio's timers only wait.
        let mut due = self.fleet.clock.now().checked_add(pause);
        let (mut asking, mut notified) = (Asking::default(), Notified::default());
        // The pause before the next notification is taken, after one that did not win the lock.
        let mut rest = Duration::ZERO;
        loop {
            let mut again = None;
            if let Some(lost) = lost.take() {
                let (lease, is_contended) = (Arc::clone(lost.lease.shared()), lost.lost == RoundFailure::Contended);
                // A release that takes longer follows in the background.
                let patience = self.left_until(due).max(Self::RELEASE_WAIT.min(self.left() / 2));
                // A permit that did not win the lock goes to the next waiter. If the lock is held, its holder will
                // notify that waiter.
                let is_unused = match lost.cause {
                    // Readers may be refused for a writer that waits, while nobody has the lock.
                    Cause::Woken => !is_contended || lost.is_free,
                    Cause::Follows => true,
                    // Other callers that tried meanwhile were refused although nobody has the lock.
                    Cause::Arrived | Cause::Due => lost.lost == RoundFailure::TooLate,
                };
                let notify = if is_unused { Notify::Other } else { Notify::Nobody };
                // A holder that has crashed notifies nobody.
                let free_at = lost.free_after.and_then(|free_after| self.fleet.clock.now().checked_add(free_after));
                due = due.into_iter().chain(free_at).min();
                let cause = lost.cause;
                let _ = timeout(patience, lost.lease.release_promptly(notify)).await;
                // A waiter for a lock of its own process is notified in this process. If that does not happen for a
                // whole pause, the holder is gone.
                let is_contended = is_contended && ticket.is_some();
                if is_contended
                    && self.fleet.queues.contended(self.keys.first(), cause == Cause::Due, self.fleet.clock.now())
                {
                    let waits = match lost.queued_on {
                        Some(node) => !lease.was_granted_by(node),
                        // The call polls if no node can notify it.
                        None => !subscribe(self.fleet, &self.runtime, self.left_until(due)).await,
                    };
                    again = asking.lost(waits, self.fleet.random()?);
                }
                if cause == Cause::Woken {
                    rest = notified.in_vain();
                }
            }
            let permit = match (ticket.as_mut(), again.filter(|again| *again < self.left_until(due))) {
                (None, _) => {
                    match due {
                        Some(_) => sleep(self.left_until(due)).await,
                        None => pending().await,
                    }
                    return Ok(Err(Some(Permit::Due)));
                }
                (Some(_), Some(again)) => {
                    sleep(again).await;
                    Permit::Arrived
                }
                (Some(ticket), None) => {
                    let rest = std::mem::take(&mut rest).min(self.left_until(due));
                    if !rest.is_zero() {
                        sleep(rest).await;
                    }
                    match ticket.permit(due).await {
                        Some(permit) if permit.cause() != Cause::Due => permit,
                        due => return Ok(Err(due)),
                    }
                }
            };
            if self.left_until(due).is_zero() {
                return Ok(Err(Some(permit)));
            }
            // Once in a pause, so that the rounds after notifications stay bounded.
            if permit.cause() == Cause::Woken && notified == Notified::default() {
                asking = Asking::default();
            }
            match self.round(permit, false, ticket, failure).await? {
                Ok(lock) => return Ok(Ok(lock)),
                round => lost = round.err(),
            }
        }
    }

    /// Releases a lost round for several names, so that the next round does not meet its token. A release that takes
    /// too long follows in the background.
    async fn release_lost(&self, lost: LostRound) {
        let _ = timeout(Self::RELEASE_WAIT.min(self.left() / 2), lost.lease.release_promptly(Notify::Nobody)).await;
    }

    /// How long the round waits for a node, at most as long as the caller wants to wait.
    fn patience(&self) -> Duration {
        self.fleet.patience(self.terms.node_timeout, self.terms.first_answer_within()).min(self.left())
    }

    /// Returns the rest of the timeout.
    fn left(&self) -> Duration {
        self.retry.ends_after().map_or(Duration::MAX, |deadline| deadline.saturating_sub(self.elapsed()))
    }

    /// Returns the time until `due` on the fleet's clock.
    fn left_until(&self, due: Option<Duration>) -> Duration {
        due.map_or(Duration::MAX, |due| due.saturating_sub(self.fleet.clock.now()))
    }

    fn elapsed(&self) -> Duration {
        self.fleet.clock.now().saturating_sub(self.called)
    }
}
