//! Decides when the command gets SIGTERM and SIGKILL, by the remaining validity of the lock.

use std::time::Duration;

/// The remaining validity at which the command gets its signals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Deadlines {
    /// SIGTERM is due at this remaining validity, or less.
    term: Duration,
    /// SIGKILL is due at this remaining validity, or less.
    kill: Duration,
}

/// The signal that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// No signal is due for this time.
    Nothing(Duration),
    Term,
    Kill,
}

impl Deadlines {
    /// The shortest TTL: with a shorter one, a busy machine might not end the command in time.
    pub(super) const SHORTEST_TTL: Duration = Duration::from_secs(1);

    /// The time for a killed process to be gone: a tenth of the TTL, within these limits.
    const SHORTEST_MARGIN: Duration = Duration::from_millis(100);
    const LONGEST_MARGIN: Duration = Duration::from_secs(1);
    /// The longest default time between SIGTERM and SIGKILL, which is a sixth of the TTL by default.
    const LONGEST_GRACE: Duration = Duration::from_secs(10);

    /// Creates the deadlines for locks with this TTL. An extend is due at every third of it, and is retried until
    /// SIGTERM, so SIGTERM must not be due before half of the TTL is over.
    pub(super) fn new(ttl: Duration, grace: Option<Duration>) -> Result<Self, DeadlinesError> {
        if ttl < Self::SHORTEST_TTL {
            return Err(DeadlinesError::TtlTooShort { ttl });
        }
        let kill = (ttl / 10).clamp(Self::SHORTEST_MARGIN, Self::LONGEST_MARGIN);
        let grace = grace.unwrap_or_else(|| (ttl / 6).min(Self::LONGEST_GRACE));
        let longest = (ttl / 2).saturating_sub(kill);
        if grace > longest {
            return Err(DeadlinesError::GraceTooLong { grace, ttl, longest });
        }
        Ok(Self { term: grace + kill, kill })
    }

    /// Returns how long before the end of the validity the command is killed.
    pub(super) fn margin(&self) -> Duration {
        self.kill
    }

    /// Returns the maximum time for which the command may run with this validity left, if this process no longer
    /// watches it. It is later than the time at which this process would kill it.
    pub(super) fn unattended(&self, left: Duration) -> Duration {
        left.saturating_sub(self.kill / 2)
    }

    /// Returns the signal that is due for a command that works, with this validity left.
    pub(super) fn of_work(&self, left: Duration) -> Due {
        if left <= self.kill {
            Due::Kill
        } else if left <= self.term {
            Due::Term
        } else {
            Due::Nothing(left - self.term)
        }
    }

    /// Returns whether a command that was stopped may continue, with this validity left: not for the short time until
    /// it would be killed.
    pub(super) fn lets_go_on(&self, left: Duration) -> bool {
        self.of_work(left) != Due::Kill
    }

    /// Returns the signal that is due for a command that has got SIGTERM, with this validity left.
    pub(super) fn of_end(&self, left: Duration) -> Due {
        if left <= self.kill { Due::Kill } else { Due::Nothing(left - self.kill) }
    }
}

/// Times that leave a command no time to end before the validity does.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum DeadlinesError {
    #[error(
        "the TTL of {ttl:?} leaves no time to end the command before the validity ends: use at least {:?}",
        Deadlines::SHORTEST_TTL
    )]
    TtlTooShort { ttl: Duration },
    #[error(
        "a grace of {grace:?} leaves no time for extends: at a TTL of {ttl:?} use at most {longest:?}, or a longer TTL"
    )]
    GraceTooLong { grace: Duration, ttl: Duration, longest: Duration },
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn the_default_at_a_ttl_of_30_s_is_5_s_of_grace_and_1_s_of_margin() {
        let deadlines = Deadlines::new(ms(30_000), None).unwrap();
        assert_eq!(deadlines.of_work(ms(20_000)), Due::Nothing(ms(14_000)));
        assert_eq!(deadlines.of_work(ms(6_000)), Due::Term);
        assert_eq!(deadlines.of_end(ms(6_000)), Due::Nothing(ms(5_000)));
        assert_eq!((deadlines.of_end(ms(1_000)), deadlines.of_work(ms(1_000))), (Due::Kill, Due::Kill));
    }

    #[test]
    fn what_was_stopped_goes_on_if_it_is_not_to_be_killed_at_once() {
        let deadlines = Deadlines::new(ms(30_000), None).unwrap();
        for (left, goes_on) in [(0, false), (1_000, false), (1_001, true), (6_000, true), (20_000, true)] {
            assert_eq!(deadlines.lets_go_on(ms(left)), goes_on, "{left}");
        }
    }

    #[test]
    fn what_leaves_no_time_is_refused_with_what_would_do() {
        assert_eq!(Deadlines::new(ms(999), None), Err(DeadlinesError::TtlTooShort { ttl: ms(999) }));
        assert!(Deadlines::new(ms(1_000), None).is_ok());
        assert!(Deadlines::new(ms(10_000), Some(ms(4_000))).is_ok());
        let error = Deadlines::new(ms(10_000), Some(ms(4_001))).unwrap_err();
        assert!(error.to_string().ends_with("at a TTL of 10s use at most 4s, or a longer TTL"), "{error}");
    }

    proptest! {
        #[test]
        fn the_command_is_killed_while_the_lock_is_valid_and_told_before(
            ttl in 1_000_u64..604_800_000, grace in prop::option::of(0_u64..700_000_000), left in 0_u64..604_800_000,
        ) {
            let Ok(deadlines) = Deadlines::new(ms(ttl), grace.map(ms)) else { return Ok(()) };
            prop_assert!(deadlines.margin() >= ms(100) && deadlines.term >= deadlines.kill);
            // A lock that is extended in time has more validity than that: two thirds, less drift, a node timeout and a
            // round trip.
            prop_assert!(deadlines.term <= ms(ttl) / 2);
            let left = ms(left);
            prop_assert!(deadlines.unattended(left) <= left);
            prop_assert!(deadlines.unattended(left) > left.saturating_sub(deadlines.margin()) || left.is_zero());
            match deadlines.of_work(left) {
                Due::Nothing(pause) => prop_assert_eq!(deadlines.of_work(left - pause), if grace == Some(0) { Due::Kill } else { Due::Term }),
                Due::Term => prop_assert!(left > deadlines.margin()),
                Due::Kill => prop_assert_eq!(deadlines.of_end(left), Due::Kill),
            }
            if let Due::Nothing(pause) = deadlines.of_end(left) {
                prop_assert_eq!(left - pause, deadlines.margin());
            }
        }
    }
}
