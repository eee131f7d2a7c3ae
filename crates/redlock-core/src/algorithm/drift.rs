//! The allowance for clocks that run at different speeds.

use std::time::Duration;

use super::Ttl;

/// The part of a TTL that must not be relied upon, because the clocks of nodes and holder drift apart while it runs:
/// `ttl * factor + offset`, by default `ttl * 0.01 + 2 ms` as on the Redis page. The offset covers the granularity of
/// Redis' expiry.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Drift {
    factor: f64,
    offset: Duration,
}

impl Drift {
    /// Returns an allowance of `ttl * factor + offset`.
    ///
    /// # Errors
    ///
    /// If the factor is not at least 0 and below 1.
    pub fn new(factor: f64, offset: Duration) -> Result<Self, DriftError> {
        if (0.0..1.0).contains(&factor) { Ok(Self { factor, offset }) } else { Err(DriftError { factor }) }
    }

    /// Returns the allowance at this TTL, rounded up to whole microseconds.
    #[must_use]
    pub fn of(&self, ttl: Ttl) -> Duration {
        self.over(ttl.trusted())
    }

    /// Returns the allowance over this time, rounded up to whole microseconds.
    pub(super) fn over(&self, time: Duration) -> Duration {
        // Below 2^53 microseconds, some 285 years, it is exact in an f64; and the factor is below 1.
        let micros = (time.as_micros() as f64 * self.factor).ceil() as u64;
        Duration::from_micros(micros).saturating_add(self.offset)
    }

    /// Returns how long the holder may rely on the lock, counted from `elapsed` after the round's start. Never
    /// negative.
    #[must_use]
    pub fn validity(&self, ttl: Ttl, elapsed: Duration) -> Duration {
        ttl.trusted().saturating_sub(self.of(ttl)).saturating_sub(elapsed)
    }
}

impl Default for Drift {
    fn default() -> Self {
        Self { factor: 0.01, offset: Duration::from_millis(2) }
    }
}

/// A drift factor that cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("the drift factor is {factor}: it must be at least 0 and below 1 (0.01 allows 1 percent)")]
pub struct DriftError {
    /// The factor.
    pub factor: f64,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ttl(millis: u64) -> Ttl {
        Ttl::new(Duration::from_millis(millis)).unwrap()
    }

    #[test]
    fn the_default_is_one_percent_and_two_milliseconds() {
        assert_eq!(Drift::default().of(ttl(10_000)), Duration::from_millis(102));
        assert_eq!(Drift::default().of(ttl(1)), Duration::from_micros(2_010));
        assert_eq!(Drift::new(0.01, Duration::from_millis(2)), Ok(Drift::default()));
    }

    #[test]
    fn validity_is_what_ttl_drift_and_elapsed_time_leave() {
        let validity = |elapsed| Drift::default().validity(ttl(10_000), Duration::from_millis(elapsed));
        assert_eq!(validity(0), Duration::from_millis(9_898));
        assert_eq!(validity(98), Duration::from_millis(9_800));
        assert_eq!(validity(9_898), Duration::ZERO);
        assert_eq!(validity(u64::MAX), Duration::ZERO);
    }

    #[test]
    fn a_factor_is_a_fraction() {
        for factor in [-0.01, 1.0, 7.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(Drift::new(factor, Duration::ZERO).is_err(), "{factor}");
        }
        assert_eq!(Drift::new(0.0, Duration::ZERO).unwrap().of(ttl(1000)), Duration::ZERO);
    }

    #[test]
    fn extreme_drifts_leave_nothing_and_do_not_overflow() {
        let longest = Ttl::new(Ttl::MAX).unwrap();
        let nearly_all = Drift::new(1.0_f64.next_down(), Duration::ZERO).unwrap();
        assert!(nearly_all.of(longest) <= Ttl::MAX);
        assert!(nearly_all.validity(longest, Duration::ZERO) <= Duration::from_micros(1));
        let endless = Drift::new(1.0_f64.next_down(), Duration::MAX).unwrap();
        assert_eq!(endless.of(longest), Duration::MAX);
        assert_eq!(endless.validity(longest, Duration::ZERO), Duration::ZERO);
        assert_eq!(Drift::default().validity(longest, Duration::MAX), Duration::ZERO);
        assert_eq!(Drift::new(f64::MIN_POSITIVE, Duration::ZERO).unwrap().of(longest), Duration::from_micros(1), "up");
    }

    #[test]
    fn the_error_of_a_drift_factor_states_its_bounds() {
        let error = Drift::new(1.5, Duration::ZERO).unwrap_err().to_string();
        assert_eq!(error, "the drift factor is 1.5: it must be at least 0 and below 1 (0.01 allows 1 percent)");
    }

    proptest! {
        #[test]
        fn validity_is_less_than_the_ttl_and_only_shrinks(
            nanos in 1_000_000..=Ttl::MAX.as_nanos() as u64, elapsed in any::<u32>(), more in any::<u32>(),
        ) {
            let (asked, drift) = (Duration::from_nanos(nanos), Drift::default());
            let ttl = Ttl::new(asked).unwrap();
            let validity = |micros: u64| drift.validity(ttl, Duration::from_micros(micros));
            prop_assert!(validity(0) <= asked.saturating_sub(drift.of(ttl)));
            prop_assert!(validity(0) < asked);
            prop_assert!(validity(u64::from(elapsed) + u64::from(more)) <= validity(elapsed.into()));
        }

        #[test]
        fn validity_never_exceeds_ttl_minus_drift_minus_elapsed(
            millis in 1..=Ttl::MAX.as_millis() as u64,
            factor in 0.0..1.0_f64,
            offset in any::<u32>().prop_map(|nanos| Duration::from_nanos(nanos.into())),
            elapsed in any::<u64>().prop_map(Duration::from_nanos),
        ) {
            let drift = Drift::new(factor, offset).unwrap();
            let ttl = ttl(millis);
            let exact = ttl.trusted().as_secs_f64() * factor + offset.as_secs_f64();
            prop_assert!(drift.of(ttl).as_secs_f64() >= exact - 1e-6);
            prop_assert!(drift.validity(ttl, elapsed) + elapsed + drift.of(ttl) <= ttl.trusted().max(elapsed + drift.of(ttl)));
        }
    }
}
