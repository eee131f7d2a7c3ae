//! Decides when a held lock is extended next, and by how much.

use std::time::Duration;

use super::{Drift, Ttl, readable::Readable};

/// How a lock is extended automatically while it is held (often called a "watchdog").
///
/// ```
/// use std::time::Duration;
/// use redlock_core::{AcquireOptions, AutoExtend};
///
/// let ttl = Duration::from_secs(30);
/// let follows_the_work = AcquireOptions::new(ttl).auto_extend(AutoExtend::default());
/// let but_ten_minutes_at_most = AutoExtend::default().max_lifetime(Duration::from_secs(600));
/// ```
///
/// An extend that fails is tried again until the validity ends. A lock that is lost is not revived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[must_use]
pub struct AutoExtend {
    period: Option<Duration>,
    max_lifetime: Option<Duration>,
}

impl AutoExtend {
    /// The longest lifetime by default: one hour.
    pub const MAX_LIFETIME: Duration = Duration::from_secs(60 * 60);

    /// Sets the time between two extends, less up to a tenth at random so that many locks spread out. At least 20 ms;
    /// and at least a node timeout below the validity, or an extend would come too late. Default: a third of the TTL.
    pub fn period(self, period: Duration) -> Self {
        Self { period: Some(period), ..self }
    }

    /// Sets the maximum time for which the lock is extended, counted from the acquire, or from the
    /// [resume](crate::Redlock::resume) in this process: work that hangs forever must not hold its lock forever. At
    /// least the TTL. The lock may end up to a tenth of a period sooner. `Duration::MAX`: for as long as it is held.
    /// Default: [`AutoExtend::MAX_LIFETIME`], one hour, or the TTL if that is longer.
    pub fn max_lifetime(self, max_lifetime: Duration) -> Self {
        Self { max_lifetime: Some(max_lifetime), ..self }
    }

    /// Makes the default lifetime at least this time. A lifetime that the caller has set is kept.
    pub(crate) fn default_lifetime_at_least(self, time: Duration) -> Self {
        match self.max_lifetime {
            None if time > Self::MAX_LIFETIME => self.max_lifetime(time),
            _ => self,
        }
    }

    /// Returns how long a lock with this TTL and these options lives at most, counted from the acquire.
    pub(crate) fn longest(self, ttl: Duration) -> Duration {
        self.max_lifetime.unwrap_or(Self::MAX_LIFETIME.max(ttl))
    }

    /// Returns the schedule for a TTL, an allowance for drift and a node timeout.
    ///
    /// # Errors
    ///
    /// If the period is too short or too long, or the lifetime is below the TTL.
    pub fn schedule(self, ttl: Ttl, drift: Drift, node_timeout: Duration) -> Result<Schedule, AutoExtendError> {
        let period = self.period.unwrap_or(ttl.trusted() / 3);
        let longest = drift.validity(ttl, node_timeout);
        if period < Schedule::SHORTEST {
            return Err(AutoExtendError::PeriodTooShort { period, shortest: Schedule::SHORTEST });
        }
        if period >= longest {
            return Err(AutoExtendError::PeriodTooLong { period, longest });
        }
        let max_lifetime = self.longest(ttl.trusted());
        if max_lifetime < ttl.trusted() {
            return Err(AutoExtendError::LifetimeTooShort { max_lifetime, ttl: ttl.given() });
        }
        Ok(Schedule { ttl, drift, node_timeout, period, max_lifetime })
    }
}

/// When a lock is extended: [`AutoExtend`] at one TTL.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    ttl: Ttl,
    drift: Drift,
    node_timeout: Duration,
    period: Duration,
    max_lifetime: Duration,
}

/// The next step of a [`Schedule`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upkeep {
    /// The next extend begins after this time.
    After(Duration),
    /// No further extend would help: the lock is lost, or its maximum lifetime ends about when its validity does.
    Over,
}

impl Schedule {
    /// The shortest pause between two extends.
    pub const SHORTEST: Duration = Duration::from_millis(20);

    /// Returns when the first extend begins, for a lock of this age with this much validity left: a period after the
    /// acquire, or after the last extend that the caller requested. If that time is past, at once.
    #[must_use]
    pub fn first(&self, age: Duration, left: Duration, random: u64) -> Upkeep {
        let since = self.drift.validity(self.ttl, Duration::ZERO).saturating_sub(left);
        self.upkeep(age, left, self.within_period(random).saturating_sub(since))
    }

    /// Returns what follows an extend, for a lock of this age with this much validity left. `extended` says whether the
    /// extend succeeded. `random` chooses within the jitter.
    #[must_use]
    pub fn next(&self, age: Duration, left: Duration, extended: bool, random: u64) -> Upkeep {
        let pause = if extended {
            self.within_period(random)
        } else {
            // The pauses become shorter towards the end, so that several tries fit in.
            let pause = (left / 4).clamp(Self::SHORTEST, self.period);
            less(pause, pause / 2, random)
        };
        self.upkeep(age, left, pause)
    }

    fn within_period(&self, random: u64) -> Duration {
        less(self.period, self.period / 10, random)
    }

    fn upkeep(&self, age: Duration, left: Duration, pause: Duration) -> Upkeep {
        let ttl = self.ttl(age.saturating_add(pause));
        let is_cut = ttl < self.ttl.trusted();
        if left.is_zero() || (is_cut && !self.is_worth_it(ttl, left.saturating_sub(pause))) {
            Upkeep::Over
        } else {
            Upkeep::After(pause)
        }
    }

    /// Returns whether an extend to this TTL, which the lifetime has shortened, results in more time than is left.
    fn is_worth_it(&self, ttl: Duration, left: Duration) -> bool {
        Ttl::new(ttl).is_ok_and(|ttl| {
            self.drift.validity(ttl, Duration::ZERO) > left.saturating_add(self.period / 10)
                && !self.drift.validity(ttl, self.node_timeout).is_zero()
        })
    }

    /// Returns an error if a lock of this age must not be extended any more.
    ///
    /// # Errors
    ///
    /// If it has reached its longest lifetime.
    pub fn check(&self, age: Duration) -> Result<(), AutoExtendError> {
        let max_lifetime = self.max_lifetime;
        if age < max_lifetime { Ok(()) } else { Err(AutoExtendError::LifetimeOver { age, max_lifetime }) }
    }

    /// Returns the TTL to extend to at this age: the full one, unless the lifetime ends before.
    #[must_use]
    pub fn ttl(&self, age: Duration) -> Duration {
        self.ttl.trusted().min(self.max_lifetime.saturating_sub(age))
    }
}

/// Shortens a pause by up to `jitter`.
fn less(pause: Duration, jitter: Duration, random: u64) -> Duration {
    let share = (random % 1024) as u32;
    pause.saturating_sub(jitter / 1024 * share)
}

/// An [`AutoExtend`] that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AutoExtendError {
    /// The period is so short that the nodes would have little else to do.
    #[error("the auto-extend period of {period:?} is below {shortest:?}: use a third of the TTL, the default")]
    PeriodTooShort {
        /// The period.
        period: Duration,
        /// The shortest.
        shortest: Duration,
    },
    /// The period leaves no time for an extend before the validity ends.
    #[error(
        "the auto-extend period of {period:?} is not below {longest}, the validity less a node timeout: use a third \
         of the TTL, or a longer TTL",
        longest = Readable(*longest)
    )]
    PeriodTooLong {
        /// The period.
        period: Duration,
        /// The time that the TTL leaves after drift and a node timeout.
        longest: Duration,
    },
    /// The longest lifetime is shorter than the TTL, for which the lock lives anyway.
    #[error("the longest lifetime of {max_lifetime:?} is below the TTL of {ttl:?}: use a shorter TTL")]
    LifetimeTooShort {
        /// The longest lifetime.
        max_lifetime: Duration,
        /// The TTL.
        ttl: Duration,
    },
    /// The lock has reached its longest lifetime already. It keeps its earlier settings.
    #[error(
        "the lock is {age} old, and its longest lifetime is {max_lifetime:?}: it cannot be extended further",
        age = Readable(*age)
    )]
    LifetimeOver {
        /// The age of the lock.
        age: Duration,
        /// The longest lifetime.
        max_lifetime: Duration,
    },
    /// The lock has ended and is not revived; [`Lock::check`](crate::Lock::check) returns why.
    #[error("the lock has ended and cannot be extended")]
    Ended,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NODE_TIMEOUT: Duration = Duration::from_millis(500);

    const fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn schedule(options: AutoExtend) -> Result<Schedule, AutoExtendError> {
        options.schedule(Ttl::new(secs(30)).unwrap(), Drift::new(0.0, secs(1)).unwrap(), NODE_TIMEOUT)
    }

    #[test]
    fn options_that_cannot_work_are_errors() {
        let short = AutoExtend::default().max_lifetime(secs(29));
        let error = AutoExtendError::LifetimeTooShort { max_lifetime: secs(29), ttl: secs(30) };
        assert_eq!(schedule(short), Err(error));
        let longest = Duration::from_millis(28_500);
        let error = AutoExtendError::PeriodTooLong { period: longest, longest };
        assert_eq!(schedule(AutoExtend::default().period(longest)), Err(error));
        let too_short = |period| AutoExtendError::PeriodTooShort { period, shortest: Schedule::SHORTEST };
        for period in [Duration::ZERO, Schedule::SHORTEST - Duration::from_nanos(1)] {
            assert_eq!(schedule(AutoExtend::default().period(period)), Err(too_short(period)));
        }
        assert!(schedule(AutoExtend::default().period(secs(28)).max_lifetime(secs(30))).is_ok());
        assert!(schedule(AutoExtend::default().period(Schedule::SHORTEST)).is_ok());
        let schedule = schedule(AutoExtend::default()).unwrap();
        assert_eq!(schedule.check(secs(3599)), Ok(()));
        let over = AutoExtendError::LifetimeOver { age: secs(3600), max_lifetime: secs(3600) };
        assert_eq!(schedule.check(secs(3600)), Err(over));
    }

    #[test]
    fn the_default_is_a_third_of_the_ttl_for_an_hour_or_for_the_ttl() {
        let schedule = schedule(AutoExtend::default()).unwrap();
        assert_eq!(schedule.next(secs(0), secs(29), true, 0), Upkeep::After(secs(10)));
        let Upkeep::After(pause) = schedule.next(secs(0), secs(29), true, 512) else { panic!("over") };
        assert_eq!(pause.as_millis(), 9500);
        assert_eq!((schedule.ttl(secs(0)), schedule.ttl(secs(3590))), (secs(30), secs(10)));
        let longer = AutoExtend::default();
        assert!(longer.schedule(Ttl::new(secs(7200)).unwrap(), Drift::default(), NODE_TIMEOUT).is_ok());
        assert_eq!((longer.longest(secs(7200)), longer.longest(secs(10))), (secs(7200), secs(3600)));
    }

    #[test]
    fn auto_extend_is_over_when_the_lifetime_gives_no_more_than_is_left() {
        let hour = schedule(AutoExtend::default()).unwrap();
        // Ten seconds later, lock and lifetime both have twenty left.
        assert_eq!(hour.next(secs(3570), secs(29), true, 0), Upkeep::Over);
        assert_eq!(hour.next(secs(3569), secs(29), true, 0), Upkeep::Over, "less than a tenth of a period more");
        assert_eq!(hour.next(secs(3560), secs(29), true, 0), Upkeep::After(secs(10)));
        assert_eq!(hour.next(secs(5000), secs(1), true, 0), Upkeep::Over);
        // One extend was longer than the others: that must not end auto-extend.
        assert_eq!(hour.next(secs(60), secs(100), true, 0), Upkeep::After(secs(10)));
        // With this node timeout, the rest of the lifetime is of no use.
        assert_eq!(hour.next(secs(3595), Duration::from_millis(50), false, 0), Upkeep::After(Schedule::SHORTEST));
        assert_eq!(hour.next(secs(3599), Duration::from_millis(50), false, 0), Upkeep::Over);
        let whole = AutoExtend::default().max_lifetime(secs(30));
        assert_eq!(schedule(whole).unwrap().next(secs(0), secs(29), true, 0), Upkeep::Over);
    }

    #[test]
    fn a_failed_extend_is_tried_again_after_shorter_and_shorter_pauses() {
        let schedule = schedule(AutoExtend::default()).unwrap();
        let after = |left| schedule.next(secs(60), left, false, 0);
        assert_eq!(after(secs(29)), Upkeep::After(Duration::from_millis(7250)));
        assert_eq!(after(secs(4)), Upkeep::After(secs(1)));
        assert_eq!(after(Duration::from_millis(1)), Upkeep::After(Schedule::SHORTEST));
        assert_eq!(after(Duration::ZERO), Upkeep::Over);
    }

    #[test]
    fn auto_extend_that_starts_late_extends_a_period_after_the_last_extend_or_at_once() {
        let schedule = schedule(AutoExtend::default()).unwrap();
        let first = |left| schedule.first(secs(60), left, 0);
        assert_eq!(first(secs(29)), Upkeep::After(secs(10)));
        assert_eq!(first(secs(26)), Upkeep::After(secs(7)));
        assert_eq!(first(secs(19)), Upkeep::After(Duration::ZERO));
        assert_eq!(first(secs(1)), Upkeep::After(Duration::ZERO));
        assert_eq!(first(Duration::ZERO), Upkeep::Over);
        // Extended for longer than the TTL.
        assert_eq!(first(secs(100)), Upkeep::After(secs(10)));
    }

    proptest! {
        #[test]
        fn an_extend_begins_before_the_validity_ends_and_several_fit_in(
            ttl in 100_u64..1_000_000, extended in any::<bool>(), random in any::<u64>(), left in 0.0..1.0_f64,
            period in 0.0..1.0_f64,
        ) {
            let (ttl, drift) = (Ttl::new(Duration::from_millis(ttl)).unwrap(), Drift::default());
            let (validity, longest) = (drift.validity(ttl, Duration::ZERO), drift.validity(ttl, Duration::from_millis(50)));
            let period = Schedule::SHORTEST + longest.saturating_sub(Schedule::SHORTEST).mul_f64(period * 0.999);
            let options = AutoExtend::default().max_lifetime(Duration::MAX).period(period);
            let schedule = options.schedule(ttl, drift, Duration::from_millis(50)).unwrap();
            let left = validity.mul_f64(left);
            match schedule.next(Duration::ZERO, if extended { validity } else { left }, extended, random) {
                Upkeep::After(pause) if extended => prop_assert!(!pause.is_zero() && pause < longest),
                Upkeep::After(pause) => prop_assert!(!pause.is_zero() && pause <= (left / 4).max(Schedule::SHORTEST)),
                Upkeep::Over => prop_assert!(!extended && left.is_zero()),
            }
            match schedule.first(Duration::ZERO, left, random) {
                Upkeep::After(pause) => prop_assert!(pause < left),
                Upkeep::Over => prop_assert!(left.is_zero()),
            }
        }

        #[test]
        fn a_lock_never_outlives_its_lifetime(
            ttl in 100_u64..1_000_000, more in 0_u64..10_000_000, age in 0_u64..20_000_000, left in 0_u64..1_000_000,
        ) {
            let (ttl, max_lifetime) = (Duration::from_millis(ttl), Duration::from_millis(ttl + more));
            let options = AutoExtend::default().max_lifetime(max_lifetime);
            let schedule = options.schedule(Ttl::new(ttl).unwrap(), Drift::default(), Duration::from_millis(50)).unwrap();
            let age = Duration::from_millis(age);
            prop_assert!(age.max(age + schedule.ttl(age)) <= max_lifetime.max(age));
            if let Upkeep::After(pause) = schedule.next(age, Duration::from_millis(left), true, 0) {
                prop_assert!(age + pause < max_lifetime);
            }
        }

        #[test]
        fn nothing_overflows(age: u64, left: u64, extended: bool, random: u64, lifetime: u64) {
            let ttl = Ttl::new(Ttl::MAX).unwrap();
            let options = AutoExtend::default().max_lifetime(Duration::from_secs(lifetime).max(Ttl::MAX));
            let schedule = options.schedule(ttl, Drift::default(), NODE_TIMEOUT).unwrap();
            let _ = schedule.next(Duration::from_secs(age), Duration::from_secs(left), extended, random);
            let _ = schedule.first(Duration::from_secs(age), Duration::from_secs(left), random);
            prop_assert!(schedule.ttl(Duration::from_secs(age)) <= Ttl::MAX);
        }
    }
}
