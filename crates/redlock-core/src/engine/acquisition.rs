//! One call to acquire: when it asks the nodes, how long it pauses, when it yields, and when it gives up.

mod stage;
pub(crate) mod step;

use std::time::Duration;

use self::{
    stage::{Pause, Stage, Then},
    step::{Do, Failure, LostRound, Step},
};
use crate::algorithm::{Asking, Cause, Next, Notified, Retry, RoundFailure, Stop};

/// One call to acquire. `V` is the votes of a round, which the error of the call contains.
#[derive(Debug, Clone)]
pub(crate) struct Acquisition<V> {
    call: Call,
    /// The present attempt, from 1. It ends with the pause that follows it.
    attempt: u32,
    /// Whether no other attempt follows that has the time for a whole round.
    is_last: bool,
    stage: Stage,
    /// Why the last round was lost that was not cut short.
    failure: Option<Failure<V>>,
    /// Since when rounds fail for a reason that no retry can cure.
    hopeless_since: Option<Duration>,
    /// Whether the names are reserved one by one once a round is contended.
    may_reserve: bool,
    /// How many rounds for all names were lost since they were reserved. `None` if they are not.
    in_vain: Option<u32>,
    /// The pause after the present attempt, once it has begun.
    pause: Option<Pause>,
}

/// The settings of a call.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) retry: Retry,
    /// When the call was made, on the fleet's clock.
    pub(crate) called: Duration,
    /// Whether the call waits in the queue of its process.
    pub(crate) has_ticket: bool,
    /// Whether the call is for several names and may reserve them one by one.
    pub(crate) reserves: bool,
    /// Whether the call reserves one name for a call for several names.
    pub(crate) is_reservation: bool,
}

impl<V> Acquisition<V> {
    /// The minimum time for nodes to release a lost round, even if the pause is shorter.
    const RELEASE_WAIT: Duration = Duration::from_millis(50);

    /// How long rounds may fail for a reason that no retry can cure before the call ends. Passwords and permissions
    /// that are changed on one node after the other, or on a server before a client, are consistent again by then.
    const HOPELESS: Duration = Duration::from_secs(1);

    /// How many rounds one attempt has for all names once they are reserved, since several callers may have split the
    /// nodes among them.
    const MOST_RESERVED: u32 = 3;

    /// A call that continues from this attempt and failure: attempt 1 and none, unless it is a reservation.
    pub(crate) fn new(call: Call, attempt: u32, failure: Option<Failure<V>>) -> Self {
        Self {
            may_reserve: call.reserves,
            call,
            attempt,
            is_last: false,
            stage: Stage::Beginning,
            failure,
            hopeless_since: None,
            in_vain: None,
            pause: None,
        }
    }

    /// How many attempts were made.
    pub(crate) fn attempts(&self) -> u32 {
        self.attempt
    }

    /// Whether a round was lost before.
    pub(crate) fn has_failed(&self) -> bool {
        self.failure.is_some()
    }

    /// Returns why the last round was lost that was not cut short.
    pub(crate) fn into_failure(self) -> Option<Failure<V>> {
        self.failure
    }

    /// Takes one step and returns the next action, or `None` if the call does not wait for that. `random` decides the
    /// jitter.
    pub(crate) fn step(&mut self, step: Step<V>, now: Duration, random: u64) -> Option<Do<V>> {
        Some(match (self.stage, step) {
            (Stage::Beginning, Step::Begin(permit)) => self.begin(permit, now, random),
            (Stage::Asking(_), Step::Won) => self.end(Do::Hold),
            (Stage::Asking(cause), Step::Lost(round)) => self.lost(cause, round, now, random),
            (Stage::Releasing { cause, lost, then }, Step::Released { is_notified }) => match then {
                Then::Pause => self.released(cause, lost, is_notified, now, random),
                Then::Reserve => self.reserve(),
                Then::AskForReserved(free_after) => self.reserved_in_vain(lost, free_after, now, random),
            },
            (Stage::Waiting, Step::Permit(Cause::Due)) => self.next_attempt(Some(Cause::Due), now, random),
            (Stage::Waiting, Step::Permit(cause)) => self.permit(cause, now, random),
            (Stage::Waiting, Step::Due) => self.next_attempt(None, now, random),
            (Stage::Pausing, Step::Due) => self.next_attempt(Some(Cause::Due), now, random),
            (Stage::Resting(cause), Step::Due) => self.permit(cause, now, random),
            (Stage::Reserving, Step::Reserved { any, attempt, failure }) => {
                (self.attempt, self.failure) = (attempt, failure);
                self.in_vain = any.then_some(0);
                self.may_reserve = false;
                self.begin(Some(Cause::Arrived), now, random)
            }
            (Stage::Unreserving(free_after), Step::Due) => self.pause(None, free_after, now, random),
            _ => return None,
        })
    }

    /// Begins an attempt. Without a permit, the call sends nothing, and the attempt passes anyway.
    fn begin(&mut self, permit: Option<Cause>, now: Duration, random: u64) -> Do<V> {
        let was_last = self.is_last;
        (self.is_last, self.pause) = (self.call.retry.is_last(self.attempt, self.elapsed(now)), None);
        if self.is_last && self.call.is_reservation {
            return self.give_up();
        }
        // It never got a permit. A round of its own finds out why.
        match permit.or_else(|| (self.is_last && !was_last).then_some(Cause::Due)) {
            // The last attempt does not let others come first.
            Some(cause) if cause.yields() && self.is_last && self.call.has_ticket => self.ask(Cause::Due),
            Some(cause) => self.ask(cause),
            None => {
                let next = self.call.retry.next(self.attempt, self.elapsed(now), None, random);
                self.pause_or_stop(next, None, None, now)
            }
        }
    }

    fn ask(&mut self, cause: Cause) -> Do<V> {
        let gives_way = !self.is_last || self.pause.is_some();
        self.enter(Stage::Asking(cause), Do::Ask { cause, gives_way })
    }

    /// A round is lost. The call waits for its release, so that the next round does not meet its token.
    fn lost(&mut self, cause: Cause, round: LostRound<V>, now: Duration, random: u64) -> Do<V> {
        let LostRound { failure, free_after, is_free, is_cut } = round;
        let lost = failure.lost;
        // A round that was cut short says less about the failure than an earlier complete one.
        if !is_cut || self.failure.is_none() {
            self.failure = Some(failure);
        }
        if self.pause.is_some() {
            return self.release(cause, lost, is_free, free_after, now);
        }
        let is_hopeless = self.failure.as_ref().is_some_and(|failure| failure.is_hopeless);
        self.hopeless_since = is_hopeless.then(|| self.hopeless_since.unwrap_or(now));
        let reserves = self.may_reserve && !self.is_last && lost == RoundFailure::Contended;
        let then = match self.in_vain {
            Some(_) => Then::AskForReserved(free_after),
            None if reserves => Then::Reserve,
            None => return self.pause(Some((cause, lost, is_free)), free_after, now, random),
        };
        let until = Some(self.release_wait(now));
        self.enter(Stage::Releasing { cause, lost, then }, Do::Release { until, due: until, passes_on: false })
    }

    /// Begins the pause after an attempt with a round, if another attempt follows.
    fn pause(
        &mut self,
        lost: Option<(Cause, RoundFailure, bool)>,
        free_after: Option<Duration>,
        now: Duration,
        random: u64,
    ) -> Do<V> {
        let is_hopeless = self.hopeless_since.is_some_and(|since| now.saturating_sub(since) >= Self::HOPELESS);
        let next = match is_hopeless {
            true => Next::Stop(Stop::Attempts),
            false => self.call.retry.next(self.attempt, self.elapsed(now), free_after, random),
        };
        self.pause_or_stop(next, lost, free_after, now)
    }

    fn pause_or_stop(
        &mut self,
        next: Next,
        lost: Option<(Cause, RoundFailure, bool)>,
        free_after: Option<Duration>,
        now: Duration,
    ) -> Do<V> {
        let pause = match next {
            Next::Stop(stop) => return self.stop(stop),
            Next::After(pause) => pause,
        };
        let due = now.checked_add(pause);
        let (asking, notified) = (Asking::default(), Notified::default());
        self.pause = Some(Pause { due, asking, notified, rest: Duration::ZERO });
        match lost {
            Some((cause, lost, is_free)) => self.release(cause, lost, is_free, free_after, now),
            None => self.wait(now),
        }
    }

    /// Releases a lost round, within a pause.
    fn release(
        &mut self,
        cause: Cause,
        lost: RoundFailure,
        is_free: bool,
        free_after: Option<Duration>,
        now: Duration,
    ) -> Do<V> {
        let at_least = self.release_wait(now);
        let due = self.pause.and_then(|pause| pause.due);
        let until = due.map(|due| due.max(at_least));
        // A holder that has crashed notifies nobody.
        let free_at = free_after.and_then(|after| now.checked_add(after));
        let due = due.into_iter().chain(free_at).min();
        if let Some(pause) = &mut self.pause {
            pause.due = due;
        }
        // A permit that did not win the lock goes to the next waiter. If the lock is held, its holder will notify that
        // waiter.
        let passes_on = match cause {
            // Readers may be refused for a writer that waits, while nobody has the lock.
            Cause::Woken => lost != RoundFailure::Contended || is_free,
            Cause::Follows => true,
            // Other callers that tried meanwhile were refused although nobody has the lock.
            Cause::Arrived | Cause::Due => lost == RoundFailure::TooLate,
        };
        self.enter(Stage::Releasing { cause, lost, then: Then::Pause }, Do::Release { until, due, passes_on })
    }

    /// A lost round is released, within a pause. If nobody will notify the call, it asks once more.
    fn released(
        &mut self,
        cause: Cause,
        lost: RoundFailure,
        is_notified: Option<bool>,
        now: Duration,
        random: u64,
    ) -> Do<V> {
        let Some(pause) = &mut self.pause else { return self.wait(now) };
        let is_contended = lost == RoundFailure::Contended && self.call.has_ticket;
        let again = is_notified.filter(|_| is_contended).and_then(|waits| pause.asking.lost(waits, random));
        if cause == Cause::Woken {
            pause.rest = pause.notified.in_vain();
        }
        match again.map(|again| now + again).filter(|again| pause.due.is_none_or(|due| *again < due)) {
            Some(until) => self.enter(Stage::Resting(Cause::Arrived), Do::Sleep { until: Some(until) }),
            None => self.wait(now),
        }
    }

    /// Waits for a permit, or for the end of the pause.
    fn wait(&mut self, now: Duration) -> Do<V> {
        let rest = self.pause.as_mut().map(|pause| std::mem::take(&mut pause.rest)).unwrap_or_default();
        let until = self.pause.and_then(|pause| pause.due);
        if !self.call.has_ticket {
            return self.enter(Stage::Pausing, Do::Sleep { until });
        }
        let not_before = until.map_or(now + rest, |until| until.min(now + rest));
        self.enter(Stage::Waiting, Do::AwaitPermit { not_before, until })
    }

    /// The call has a permit within a pause. At the end of the pause, the next attempt begins with it.
    fn permit(&mut self, cause: Cause, now: Duration, random: u64) -> Do<V> {
        let Some(pause) = &mut self.pause else { return self.ask(cause) };
        if pause.due.is_some_and(|due| due <= now) {
            return self.next_attempt(Some(cause), now, random);
        }
        // Once in a pause, so that the rounds after notifications stay bounded.
        if cause == Cause::Woken && pause.notified == Notified::default() {
            pause.asking = Asking::default();
        }
        self.ask(cause)
    }

    fn next_attempt(&mut self, permit: Option<Cause>, now: Duration, random: u64) -> Do<V> {
        if self.left(now).is_zero() {
            return self.stop(Stop::TimedOut);
        }
        self.attempt = self.attempt.saturating_add(1);
        self.may_reserve = self.call.reserves;
        self.begin(permit, now, random)
    }

    fn reserve(&mut self) -> Do<V> {
        let failure = self.failure.take();
        self.enter(Stage::Reserving, Do::Reserve { attempt: self.attempt, failure })
    }

    /// All names are reserved, and a round for all of them is lost: others have split the nodes, or a reservation is
    /// lost.
    fn reserved_in_vain(
        &mut self,
        lost: RoundFailure,
        free_after: Option<Duration>,
        now: Duration,
        random: u64,
    ) -> Do<V> {
        let in_vain = self.in_vain.unwrap_or_default() + 1;
        if lost == RoundFailure::Contended && in_vain < Self::MOST_RESERVED {
            self.in_vain = Some(in_vain);
            let longest = Duration::from_millis(2) * in_vain;
            let until = now + Duration::from_nanos(random % longest.as_nanos() as u64);
            return self.enter(Stage::Resting(Cause::Arrived), Do::Sleep { until: Some(until) });
        }
        self.in_vain = None;
        let until = self.release_wait(now);
        self.enter(Stage::Unreserving(free_after), Do::ReleaseReserved { until })
    }

    fn stop(&mut self, stop: Stop) -> Do<V> {
        if self.call.is_reservation {
            return self.give_up();
        }
        match self.failure.take() {
            Some(failure) => self.end(Do::Fail { stop, failure }),
            // The timeout has passed before any round, for example during a suspension. One round finds out what the
            // error has to say.
            None => {
                self.attempt = self.attempt.saturating_add(1);
                (self.is_last, self.pause) = (true, None);
                self.ask(Cause::Due)
            }
        }
    }

    fn give_up(&mut self) -> Do<V> {
        let failure = self.failure.take();
        self.end(Do::GiveUp(failure))
    }

    fn end(&mut self, last: Do<V>) -> Do<V> {
        self.enter(Stage::Over, last)
    }

    fn enter(&mut self, stage: Stage, next: Do<V>) -> Do<V> {
        self.stage = stage;
        next
    }

    /// Until when the call waits at least for the release of a lost round.
    fn release_wait(&self, now: Duration) -> Duration {
        now + Self::RELEASE_WAIT.min(self.left(now) / 2)
    }

    /// The time that is left until the call ends at the latest.
    fn left(&self, now: Duration) -> Duration {
        self.call.retry.ends_after().map_or(Duration::MAX, |ends| ends.saturating_sub(self.elapsed(now)))
    }

    fn elapsed(&self, now: Duration) -> Duration {
        now.saturating_sub(self.call.called)
    }
}

impl<V> Step<V> {
    /// Whether the next action may depend on the random number.
    pub(crate) fn needs_random(&self) -> bool {
        !matches!(self, Self::Begin(Some(_)) | Self::Won)
    }
}

#[cfg(test)]
mod tests;
