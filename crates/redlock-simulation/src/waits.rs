//! How calls waited: how long nobody had the lock meanwhile, and how many callers were served before them.

use std::{fmt, time::Duration};

use crate::ledger::{Call, Holding, Ledger};

/// The wait of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    /// The call.
    pub call: Call,
    /// The longest time in which nobody had the lock, and no other waiter left. After that it is its turn.
    pub idle: Duration,
    /// How many others acquired the lock before it.
    pub passed_by: usize,
}

impl Wait {
    /// The maximum time for which nobody may have the lock while a call waits. Messages take up to 10 ms: a release is
    /// executed, the waiter is notified, it requests the lock, and it retries if that collided with a new caller.
    const IDLE: Duration = Duration::from_millis(300);

    /// The maximum number of callers that may be served before one of four processes. In order of arrival, three come
    /// before it. But a waiter that is not known to wait is not in the queue, and at first none is known.
    const PASSED_BY: usize = 12;

    /// Returns whether it was not notified, or not served in its turn.
    #[must_use]
    pub fn is_too_long(&self) -> bool {
        self.idle > Self::IDLE || self.passed_by > Self::PASSED_BY
    }
}

impl Ledger {
    /// Returns how each call waited.
    #[must_use]
    pub fn waits(&self) -> Vec<Wait> {
        self.calls.iter().map(|call| self.wait(*call)).collect()
    }

    fn wait(&self, call: Call) -> Wait {
        let of_others = || {
            let of_others = |holding: &&Holding| holding.resource == call.resource && holding.process != call.process;
            self.holdings.iter().filter(of_others)
        };
        let others = self.calls.iter().filter(|other| other.resource == call.resource && other.process != call.process);
        let within = |at: &Duration| (call.from..call.to).contains(at);
        let mut changes: Vec<_> = others.map(|other| other.to).filter(within).collect();
        changes.extend(of_others().flat_map(|holding| [holding.from, holding.until]).filter(within));
        changes.extend([call.from, call.to]);
        changes.sort_unstable();
        let is_held = |from: Duration, to: Duration| of_others().any(|held| held.from <= from && to <= held.until);
        let spans = changes.iter().zip(changes.iter().skip(1)).filter(|(from, to)| !is_held(**from, **to));
        Wait {
            call,
            idle: spans.map(|(from, to)| *to - *from).max().unwrap_or_default(),
            passed_by: of_others().filter(|holding| within(&holding.from)).count(),
        }
    }
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { call: Call { process, resource, from, to, .. }, idle, passed_by } = self;
        let process = process + 1;
        write!(
            f,
            "process-{process} waited for r{resource} from {from:?} to {to:?}, while nobody had it for {idle:?}, "
        )?;
        write!(f, "and {passed_by} were served before it")
    }
}

#[cfg(test)]
mod tests {
    use redlock_core::Token;

    use super::*;
    use crate::ledger::Outcome;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn call(process: usize, from: u64, to: u64) -> Call {
        Call { process, resource: 0, from: ms(from), to: ms(to), outcome: Outcome::Acquired }
    }

    fn holding(process: usize, from: u64, until: u64) -> Holding {
        Holding {
            process,
            resource: 0,
            token: Token::from_bytes([0; 20]),
            is_shared: false,
            from: ms(from),
            until: ms(until),
        }
    }

    fn wait(calls: &[Call], holdings: &[Holding]) -> (Duration, usize) {
        let ledger = Ledger { calls: calls.to_vec(), holdings: holdings.to_vec(), ..Ledger::default() };
        let wait = ledger.waits()[0];
        (wait.idle, wait.passed_by)
    }

    #[test]
    fn only_time_in_which_nobody_had_the_lock_counts() {
        assert_eq!(wait(&[call(0, 0, 50)], &[]), (ms(50), 0));
        assert_eq!(wait(&[call(0, 0, 50)], &[holding(1, 0, 40)]), (ms(10), 1));
        assert_eq!(wait(&[call(0, 10, 50)], &[holding(1, 0, 20), holding(2, 23, 45)]), (ms(5), 1));
        let elsewhere = Holding { resource: 1, ..holding(1, 0, 50) };
        assert_eq!(wait(&[call(0, 0, 50)], &[elsewhere]), (ms(50), 0));
    }

    #[test]
    fn a_call_that_ends_passes_its_turn_on() {
        assert_eq!(wait(&[call(0, 0, 50), call(1, 0, 30)], &[]), (ms(30), 0));
        assert_eq!(wait(&[call(0, 0, 50), call(0, 60, 70)], &[]), (ms(50), 0));
    }

    #[test]
    fn a_wait_is_too_long_beyond_its_bounds() {
        let wait = |idle, passed_by| Wait { call: call(0, 0, 1), idle, passed_by };
        assert!(!wait(Wait::IDLE, Wait::PASSED_BY).is_too_long());
        assert!(wait(Wait::IDLE + ms(1), 0).is_too_long() && wait(ms(0), Wait::PASSED_BY + 1).is_too_long());
    }
}
