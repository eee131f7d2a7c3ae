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
    algorithm::{AutoExtend, Cause, Retry, RoundFailure, Schedule, Stop},
    engine::acquisition::{
        Acquisition, Call,
        step::{Do, Step},
    },
    names::Resources,
    node::FencingCounters,
    queue::{Permit, Ticket, subscribe},
    report::{AcquireError, Attempts, Event, NotAcquired, Votes},
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

    /// Runs the call until it has the lock or fails. Counts its attempts.
    async fn attempts(&self, attempts: &mut u32) -> Result<Held, AcquireError> {
        // Only a reservation gives up. A call that did would begin again.
        loop {
            let mut machine = self.machine(1, None);
            if let Ok(lock) = self.steps(&mut machine, attempts).await? {
                return Ok(lock);
            }
        }
    }

    /// The state machine of this call, which continues from this attempt and failure.
    fn machine(&self, attempt: u32, failure: Option<Failure>) -> Acquisition<Box<Votes>> {
        let call = Call {
            retry: self.retry.clone(),
            called: self.called,
            has_ticket: self.has_ticket(),
            reserves: self.reserve.is_some(),
            is_reservation: self.is_reservation,
        };
        Acquisition::new(call, attempt, failure)
    }

    /// Does what the state machine of the call says, step by step. Returns the lock, or the last failure if this is a
    /// reservation that gives up.
    async fn steps(
        &self,
        machine: &mut Acquisition<Box<Votes>>,
        attempts: &mut u32,
    ) -> Result<Result<Held, Option<Failure>>, AcquireError> {
        let (mut ticket, mut permit) = self.ticket();
        let (mut won, mut lost, mut reserved) = (None, None, Reservations::default());
        // Dropped first: a reader that is notified next must not meet the intent.
        let _withdraws = self.intent.withdraws();
        let mut step = Step::Begin(permit.as_ref().map(Permit::cause));
        loop {
            let random = if step.needs_random() { self.fleet.random()? } else { 0 };
            let Some(next) = machine.step(step, self.fleet.clock.now(), random) else { return Ok(Err(None)) };
            *attempts = machine.attempts();
            self.intent.begins(*attempts);
            step = match next {
                Do::Ask { cause, gives_way } => {
                    let permit = permit.take().filter(|permit| permit.cause() == cause && reserved.is_empty());
                    let permit = permit.unwrap_or_else(|| reserved.permit_for(cause));
                    match self.round(permit, gives_way, machine.has_failed(), &mut ticket).await? {
                        Ok(lock) => {
                            won = Some(lock);
                            Step::Won
                        }
                        Err((round, why)) => {
                            lost = Some(round);
                            Step::Lost(why)
                        }
                    }
                }
                Do::Release { until, due, passes_on } => {
                    let competes = ticket.is_some();
                    let is_notified = self.release(lost.take(), until, passes_on, competes.then_some(due)).await;
                    Step::Released { is_notified }
                }
                Do::Sleep { until } => {
                    self.sleep_until(until).await;
                    Step::Due
                }
                Do::AwaitPermit { not_before, until } => {
                    if !self.left_until(Some(not_before)).is_zero() {
                        self.sleep_until(Some(not_before)).await;
                    }
                    if let Some(ticket) = &mut ticket {
                        permit = ticket.permit(until).await;
                    }
                    permit.as_ref().map_or(Step::Due, |permit| Step::Permit(permit.cause()))
                }
                // Boxed, as below, so that a call for one name does not carry the space for it.
                Do::Reserve { attempt, failure } => {
                    let (locks, attempt, failure) = Box::pin(self.reserve(attempt, failure, attempts)).await?;
                    reserved = locks;
                    Step::Reserved { any: !reserved.is_empty(), attempt, failure }
                }
                Do::ReleaseReserved { until } => {
                    Box::pin(self.release_reservations(std::mem::take(&mut reserved), until)).await;
                    Step::Due
                }
                Do::Hold => return Ok(won.map(|lock| reserved.taken_over_by(lock)).ok_or(None)),
                Do::GiveUp(failure) => return Ok(Err(failure)),
                Do::Fail { stop, failure } => return Err(self.failed(stop, failure, *attempts)),
            };
        }
    }

    fn failed(&self, stop: Stop, failure: Failure, made: u32) -> AcquireError {
        let (resources, elapsed) = (self.resources.clone(), self.elapsed());
        let is_cut_off = self.retry.ends_after().is_some_and(|timeout| elapsed >= timeout);
        let (why, last_round) = (failure.lost, failure.votes);
        let tried = Box::new(Attempts { resources, made, elapsed, failure: why, last_round });
        match (stop, why) {
            (Stop::TimedOut, _) => AcquireError::TimedOut(tried),
            // The timeout may have cut the last attempt off.
            (Stop::Attempts, _) if is_cut_off => AcquireError::TimedOut(tried),
            (Stop::Attempts, RoundFailure::Contended) => AcquireError::Contended(tried),
            (Stop::Attempts, RoundFailure::NoQuorum) => AcquireError::NoQuorum(tried),
            (Stop::Attempts, RoundFailure::TooLate) => AcquireError::AcquiredTooLate(tried),
        }
    }

    /// Whether the call waits in the queue of its process.
    fn has_ticket(&self) -> bool {
        self.keys.len() == 1 && !self.retry.is_once()
    }

    /// The ticket of this call in the wait queue of its process, if it waits in one, and its permit, if it has one.
    fn ticket(&self) -> (Option<Ticket<'_, Fleet>>, Option<Permit<Offer>>) {
        if !self.has_ticket() {
            return (None, Some(Permit::Arrived));
        }
        let (ticket, permit) = Ticket::take(self.fleet, &self.runtime, self.keys.first(), self.is_shared);
        (Some(ticket), permit)
    }

    /// Releases a lost round. A release that takes longer than `until` follows in the background. Returns whether a
    /// node will notify the call, or `None` if no other process competes or the call does not wait in a queue.
    /// `waits`: the end of its pause, if it does.
    async fn release(
        &self,
        lost: Option<LostRound>,
        until: Option<Duration>,
        passes_on: bool,
        waits: Option<Option<Duration>>,
    ) -> Option<bool> {
        let LostRound { lease, cause, is_contended, queued_on } = lost?;
        let notify = if passes_on { Notify::Other } else { Notify::Nobody };
        let state = Arc::clone(lease.shared());
        let _ = timeout(self.left_until(until), lease.release_promptly(notify)).await;
        // A waiter for a lock of its own process is notified in this process. If that does not happen for a whole
        // pause, the holder is gone.
        let due = waits.filter(|_| is_contended)?;
        if !self.fleet.queues.contended(self.keys.first(), cause == Cause::Due, self.fleet.clock.now()) {
            return None;
        }
        Some(match queued_on {
            Some(node) => !state.was_granted_by(node),
            // The call polls if no node can notify it.
            None => !subscribe(self.fleet, &self.runtime, self.left_until(due)).await,
        })
    }

    async fn sleep_until(&self, until: Option<Duration>) {
        match until {
            Some(_) => sleep(self.left_until(until)).await,
            None => pending().await,
        }
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
