//! One call to acquire: when it asks the nodes, how long it pauses, when it yields, and when it gives up.

mod stage;
pub(crate) mod step;

use std::time::Duration;

use self::{
    stage::{Pause, Stage, Then},
    step::{Do, Step},
};
use crate::algorithm::{Asking, Cause, Next, Notified, Retry, RoundFailure, Stop};

/// One call to acquire. Each of its rounds is a lease.
#[derive(Debug, Clone)]
pub(crate) struct Acquisition {
    call: Call,
    /// When the call was made.
    called: Duration,
    /// The present attempt, from 1. It ends with the pause that follows it.
    attempt: u32,
    /// Whether no other attempt follows that has the time for a whole round.
    is_last: bool,
    stage: Stage,
    /// Why the last round was lost that was not cut short.
    failure: Option<RoundFailure>,
    /// Since when rounds fail for a reason that no retry can cure.
    hopeless_since: Option<Duration>,
    /// Whether the names are reserved one by one once a round is contended.
    may_reserve: bool,
    /// How many rounds for all names were lost since they were reserved. None if they are not.
    in_vain: Option<u32>,
    /// The pause after the present attempt, once it has begun.
    pause: Option<Pause>,
}

/// The settings of a call.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) retry: Retry,
    /// Whether the call waits in the queue of its process.
    pub(crate) has_place: bool,
    /// Whether the call is for several names and may reserve them one by one.
    pub(crate) reserves: bool,
    /// Whether the call reserves one name for a call for several, which reports the failure.
    pub(crate) is_reservation: bool,
}

impl Acquisition {
    /// How long it waits at least for nodes to release what a lost round took, if the pause is shorter.
    const RELEASING: Duration = Duration::from_millis(50);

    /// For how long rounds fail for a reason that no retry can cure before the call ends. Passwords and permissions
    /// that are changed on one node after the other are in order again by then.
    const HOPELESS: Duration = Duration::from_secs(1);

    /// How many rounds one attempt makes for all names once they are reserved.
    const MOST_RESERVED: u32 = 3;

    pub(crate) fn new(call: Call, now: Duration) -> Self {
        Self {
            may_reserve: call.reserves,
            call,
            called: now,
            attempt: 1,
            is_last: false,
            stage: Stage::Beginning,
            failure: None,
            hopeless_since: None,
            in_vain: None,
            pause: None,
        }
    }

    /// How many attempts were made.
    pub(crate) fn attempts(&self) -> u32 {
        self.attempt
    }

    /// One step, one answer. None if the call does not wait for that. `random` decides the jitter.
    pub(crate) fn step(&mut self, step: Step, now: Duration, random: u64) -> Option<Do> {
        Some(match (self.stage, step) {
            (Stage::Beginning, Step::Begin(turn)) => self.attempt(turn, now, random),
            (Stage::Asking(_), Step::Won) => self.end(Do::Hold),
            (Stage::Asking(cause), Step::Lost { lost, free_after, is_cut, is_hopeless }) => {
                // A round that was cut short does not hide why an earlier one was lost.
                if !is_cut || self.failure.is_none() {
                    self.failure = Some(lost);
                }
                let is_first = self.pause.is_none();
                if is_first {
                    self.hopeless_since = is_hopeless.then(|| self.hopeless_since.unwrap_or(now));
                }
                self.lost(cause, lost, free_after, now, random)
            }
            (Stage::Releasing { cause, lost, then }, Step::Released { is_heard }) => match then {
                Then::Pause => self.released(cause, lost, is_heard, now, random),
                Then::Reserve => self.enter(Stage::Reserving, Do::Reserve),
                Then::AskForReserved(free_after) => self.reserved_in_vain(lost, free_after, now, random),
            },
            (Stage::Waiting, Step::Turn(Cause::Due)) => self.next_attempt(Some(Cause::Due), now, random),
            (Stage::Waiting, Step::Turn(cause)) => self.turn(cause, now, random),
            (Stage::Waiting, Step::Due) => self.next_attempt(None, now, random),
            (Stage::Pausing, Step::Due) => self.next_attempt(Some(Cause::Due), now, random),
            (Stage::Resting(cause), Step::Due) if self.pause.is_some() => self.turn(cause, now, random),
            (Stage::Resting(cause), Step::Due) => self.ask(cause),
            (Stage::Reserving, Step::Reserved { any }) => {
                self.in_vain = any.then_some(0);
                self.may_reserve = false;
                self.attempt(Some(Cause::Arrived), now, random)
            }
            (Stage::Unreserving(free_after), Step::Due) => self.begin_pause(None, free_after, now, random),
            _ => return None,
        })
    }

    /// An attempt begins. Without its turn, the call sends nothing, and the attempt passes anyway.
    fn attempt(&mut self, turn: Option<Cause>, now: Duration, random: u64) -> Do {
        let was_last = self.is_last;
        (self.is_last, self.pause) = (self.call.retry.is_last(self.attempt, self.elapsed(now)), None);
        if self.is_last && self.call.is_reservation {
            return self.end(Do::GiveUp);
        }
        // Its turn never came. The error has to say why, so the call asks once.
        match turn.or_else(|| (self.is_last && !was_last).then_some(Cause::Due)) {
            // The last attempt is no time to let others come first.
            Some(cause) if cause.yields() && self.is_last && self.call.has_place => self.ask(Cause::Due),
            Some(cause) => self.ask(cause),
            None => self.begin_pause(None, None, now, random),
        }
    }

    fn ask(&mut self, cause: Cause) -> Do {
        let gives_way = !self.is_last || self.pause.is_some();
        self.enter(Stage::Asking(cause), Do::Ask { cause, gives_way })
    }

    /// A round is lost. Its release is waited for, so that the next round does not meet it.
    fn lost(
        &mut self,
        cause: Cause,
        lost: RoundFailure,
        free_after: Option<Duration>,
        now: Duration,
        random: u64,
    ) -> Do {
        let briefly = Some(self.briefly(now));
        let reserves = self.may_reserve && !self.is_last && lost == RoundFailure::Contended;
        if self.pause.is_some() {
            self.wait_for_release(cause, lost, free_after, now)
        } else if self.in_vain.is_some() {
            let then = Then::AskForReserved(free_after);
            self.enter(Stage::Releasing { cause, lost, then }, Do::AwaitRelease { until: briefly })
        } else if reserves {
            self.enter(Stage::Releasing { cause, lost, then: Then::Reserve }, Do::AwaitRelease { until: briefly })
        } else {
            self.begin_pause(Some((cause, lost)), free_after, now, random)
        }
    }

    /// The pause after an attempt, if another follows. A lost round is released first.
    fn begin_pause(
        &mut self,
        lost: Option<(Cause, RoundFailure)>,
        free_after: Option<Duration>,
        now: Duration,
        random: u64,
    ) -> Do {
        let is_hopeless = self.hopeless_since.is_some_and(|since| now.saturating_sub(since) >= Self::HOPELESS);
        let next = match is_hopeless {
            true => Next::Stop(Stop::Attempts),
            false => self.call.retry.next(self.attempt, self.elapsed(now), free_after, random),
        };
        let pause = match next {
            Next::Stop(stop) => return self.stop(stop),
            Next::After(pause) => pause,
        };
        let due = now.checked_add(pause);
        self.pause = Some(Pause { due, asking: Asking::default(), notified: Notified::default() });
        match lost {
            Some((cause, lost)) => self.wait_for_release(cause, lost, free_after, now),
            None => self.wait(Duration::ZERO, now),
        }
    }

    fn wait_for_release(
        &mut self,
        cause: Cause,
        lost: RoundFailure,
        free_after: Option<Duration>,
        now: Duration,
    ) -> Do {
        let briefly = self.briefly(now);
        let due = self.pause.and_then(|pause| pause.due);
        let until = due.map(|due| due.max(briefly));
        // A holder that is gone notifies nobody.
        let free_at = free_after.and_then(|after| now.checked_add(after));
        if let Some(pause) = &mut self.pause {
            pause.due = due.into_iter().chain(free_at).min();
        }
        self.enter(Stage::Releasing { cause, lost, then: Then::Pause }, Do::AwaitRelease { until })
    }

    /// A lost round is released, within a pause. If nobody will notify the call, it asks once more.
    fn released(&mut self, cause: Cause, lost: RoundFailure, is_heard: Option<bool>, now: Duration, random: u64) -> Do {
        let Some(pause) = &mut self.pause else { return self.wait(Duration::ZERO, now) };
        let is_contended = lost == RoundFailure::Contended && self.call.has_place;
        let again = is_heard.filter(|_| is_contended).and_then(|is_heard| pause.asking.lost(is_heard, random));
        let rest = if cause == Cause::Woken { pause.notified.in_vain() } else { Duration::ZERO };
        match again.map(|again| now + again).filter(|again| pause.due.is_none_or(|due| *again < due)) {
            Some(until) => self.enter(Stage::Resting(Cause::Arrived), Do::Sleep { until: Some(until) }),
            None => self.wait(rest, now),
        }
    }

    /// Waits for the turn or for the end of the pause.
    fn wait(&mut self, rest: Duration, now: Duration) -> Do {
        let until = self.pause.and_then(|pause| pause.due);
        if !self.call.has_place {
            return self.enter(Stage::Pausing, Do::Sleep { until });
        }
        let not_before = until.map_or(now + rest, |until| until.min(now + rest));
        self.enter(Stage::Waiting, Do::AwaitTurn { not_before, until })
    }

    /// Its turn has come within a pause. At the end of the pause, the next attempt begins with it.
    fn turn(&mut self, cause: Cause, now: Duration, random: u64) -> Do {
        let Some(pause) = &mut self.pause else { return self.ask(cause) };
        if pause.due.is_some_and(|due| due <= now) {
            return self.next_attempt(Some(cause), now, random);
        }
        // Once in a pause: what follows one notification after the other must stay bounded.
        if cause == Cause::Woken && pause.notified == Notified::default() {
            pause.asking = Asking::default();
        }
        self.ask(cause)
    }

    fn next_attempt(&mut self, turn: Option<Cause>, now: Duration, random: u64) -> Do {
        if self.left(now).is_zero() {
            return self.stop(Stop::TimedOut);
        }
        self.attempt = self.attempt.saturating_add(1);
        self.may_reserve = self.call.reserves;
        self.attempt(turn, now, random)
    }

    /// All names are reserved, and a round for all of them is lost: others have split the nodes, or a reservation is
    /// lost.
    fn reserved_in_vain(&mut self, lost: RoundFailure, free_after: Option<Duration>, now: Duration, random: u64) -> Do {
        let in_vain = self.in_vain.unwrap_or_default() + 1;
        if lost == RoundFailure::Contended && in_vain < Self::MOST_RESERVED {
            self.in_vain = Some(in_vain);
            let longest = Duration::from_millis(2) * in_vain;
            let until = now + Duration::from_nanos(random % longest.as_nanos() as u64);
            return self.enter(Stage::Resting(Cause::Arrived), Do::Sleep { until: Some(until) });
        }
        self.in_vain = None;
        let until = self.briefly(now);
        self.enter(Stage::Unreserving(free_after), Do::ReleaseReserved { until })
    }

    fn stop(&mut self, stop: Stop) -> Do {
        if self.call.is_reservation {
            return self.end(Do::GiveUp);
        }
        match self.failure {
            Some(lost) => self.end(Do::Fail { stop, lost }),
            // The deadline passed before any round, for example during a suspension. The error has to say why, so the
            // call asks once.
            None => {
                self.attempt = self.attempt.saturating_add(1);
                (self.is_last, self.pause) = (true, None);
                self.ask(Cause::Due)
            }
        }
    }

    fn end(&mut self, last: Do) -> Do {
        self.enter(Stage::Over, last)
    }

    fn enter(&mut self, stage: Stage, next: Do) -> Do {
        self.stage = stage;
        next
    }

    fn briefly(&self, now: Duration) -> Duration {
        now + Self::RELEASING.min(self.left(now) / 2)
    }

    /// The time that is left until the call ends at the latest.
    fn left(&self, now: Duration) -> Duration {
        self.call.retry.ends_after().map_or(Duration::MAX, |ends| ends.saturating_sub(self.elapsed(now)))
    }

    fn elapsed(&self, now: Duration) -> Duration {
        now.saturating_sub(self.called)
    }
}

#[cfg(test)]
mod tests;
