//! When the command is told to end, and when it is killed, by how much of the lock's validity is left.

use std::time::Duration;

/// How long before the validity ends the command gets its signals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Deadlines {
    /// SIGTERM: when so much is left, or less.
    term: Duration,
    /// SIGKILL: when so much is left, or less.
    kill: Duration,
}

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing, for so long.
    Nothing(Duration),
    Term,
    Kill,
}

impl Deadlines {
    /// The shortest ttl: below it, a machine with much to do might not end the command in time.
    pub(super) const SHORTEST_TTL: Duration = Duration::from_secs(1);

    /// The time for a killed process to be gone: a tenth of the ttl, within these.
    const SHORTEST_MARGIN: Duration = Duration::from_millis(100);
    const LONGEST_MARGIN: Duration = Duration::from_secs(1);
    /// The time to end after SIGTERM: by default a sixth of the ttl, this at most.
    const LONGEST_GRACE: Duration = Duration::from_secs(10);

    /// For locks with this ttl. An extend comes every third of it, and is tried again until SIGTERM: so that must not be
    /// before half of it is over.
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

    /// How long before the end of the validity the command is killed.
    pub(super) fn margin(&self) -> Duration {
        self.kill
    }

    /// For how long the command may run at most, with so much validity left, if nobody looks at it any more. Later than it is
    /// killed by who does.
    pub(super) fn unattended(&self, left: Duration) -> Duration {
        left.saturating_sub(self.kill / 2)
    }

    /// What is due for a command that works, with so much validity left.
    pub(super) fn of_work(&self, left: Duration) -> Due {
        if left <= self.kill {
            Due::Kill
        } else if left <= self.term {
            Due::Term
        } else {
            Due::Nothing(left - self.term)
        }
    }

    /// Whether a command that was stopped may go on, with so much validity left: not for the moment until it is killed.
    pub(super) fn lets_go_on(&self, left: Duration) -> bool {
        self.of_work(left) != Due::Kill
    }

    /// What is due for a command that was told to end, with so much validity left.
    pub(super) fn of_end(&self, left: Duration) -> Due {
        if left <= self.kill { Due::Kill } else { Due::Nothing(left - self.kill) }
    }
}

/// Times that leave a command no time to end before the validity does.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum DeadlinesError {
    #[error(
        "the ttl of {ttl:?} leaves no time to end the command before the validity ends: give {:?} at least",
        Deadlines::SHORTEST_TTL
    )]
    TtlTooShort { ttl: Duration },
    #[error(
        "a grace of {grace:?} leaves no time for extends: at a ttl of {ttl:?} give {longest:?} at most, or a longer ttl"
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
        assert!(error.to_string().ends_with("at a ttl of 10s give 4s at most, or a longer ttl"), "{error}");
    }

    proptest! {
        #[test]
        fn the_command_is_killed_while_the_lock_is_valid_and_told_before(
            ttl in 1_000_u64..604_800_000, grace in prop::option::of(0_u64..700_000_000), left in 0_u64..604_800_000,
        ) {
            let Ok(deadlines) = Deadlines::new(ms(ttl), grace.map(ms)) else { return Ok(()) };
            prop_assert!(deadlines.margin() >= ms(100) && deadlines.term >= deadlines.kill);
            // A lock that is extended in time is above it: two thirds, less drift, a node's timeout and a round trip.
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
