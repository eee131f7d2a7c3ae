//! Simulated clocks that run fast or slow, and jump.

use std::{
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use redlock_core::testing::Clock;
use tokio::time::Instant;

/// A clock that may differ from the true one, which is Tokio's.
#[derive(Debug, Clone)]
pub(crate) struct DriftingClock {
    /// The true time and this clock's reading when it was last changed.
    since: Instant,
    reading: Instant,
    /// How many millionths it runs fast; slow if negative.
    ppm: i32,
}

impl Default for DriftingClock {
    /// Creates a clock that is right.
    fn default() -> Self {
        let now = Instant::now();
        Self { since: now, reading: now, ppm: 0 }
    }
}

impl DriftingClock {
    /// Returns the clock's reading at the true time `now`.
    pub(crate) fn at(&self, now: Instant) -> Instant {
        later(self.reading, scale(now.saturating_duration_since(self.since), rate(self.ppm), MILLION))
    }

    pub(crate) fn set_rate(&mut self, ppm: i32, now: Instant) {
        *self = Self { since: now, reading: self.at(now), ppm };
    }

    /// Jumps by this many milliseconds, in either direction.
    pub(crate) fn jump(&mut self, millis: i64, now: Instant) {
        let (reading, by) = (self.at(now), Duration::from_millis(millis.unsigned_abs()));
        let reading = if millis < 0 { reading.checked_sub(by).unwrap_or(reading) } else { later(reading, by) };
        *self = Self { since: now, reading, ppm: self.ppm };
    }
}

/// The clock of one simulated process, for [`RedlockBuilder::clock`](redlock_core::RedlockBuilder::clock). Clones share
/// one clock.
#[derive(Debug, Clone)]
pub struct ProcessClock {
    start: Instant,
    clock: Arc<Mutex<DriftingClock>>,
}

impl ProcessClock {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now(), clock: Arc::default() }
    }

    pub(crate) fn set_rate(&self, ppm: i32) {
        self.clock().set_rate(ppm, Instant::now());
    }

    /// Returns the true time that passes while this clock counts `duration`.
    #[must_use]
    pub fn true_time(&self, duration: Duration) -> Duration {
        scale(duration, MILLION, rate(self.clock().ppm))
    }

    fn clock(&self) -> std::sync::MutexGuard<'_, DriftingClock> {
        self.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for ProcessClock {
    fn now(&self) -> Duration {
        self.clock().at(Instant::now()).saturating_duration_since(self.start)
    }
}

const MILLION: u32 = 1_000_000;

/// Returns how many millionths of a second a clock advances in one true second. A clock never stops.
fn rate(ppm: i32) -> u32 {
    MILLION.saturating_add_signed(ppm).max(1)
}

fn scale(duration: Duration, numerator: u32, denominator: u32) -> Duration {
    if numerator == denominator {
        return duration;
    }
    let nanos = duration.as_nanos() * u128::from(numerator) / u128::from(denominator);
    Duration::from_nanos(nanos.try_into().unwrap_or(u64::MAX))
}

/// Converts a clock's reading to a server's answer: the time since the start of 1970. All clocks of a program were
/// right when the first of them was read.
pub(crate) fn unix_time(reading: Instant) -> Duration {
    const THEN: Duration = Duration::from_secs(1_800_000_000);
    static ZERO: OnceLock<Instant> = OnceLock::new();
    let zero = *ZERO.get_or_init(|| reading);
    let before = zero.saturating_duration_since(reading);
    (THEN + reading.saturating_duration_since(zero)).saturating_sub(before)
}

/// Returns the time after this delay, or in a year if there is no such time.
pub(crate) fn later(now: Instant, delay: Duration) -> Instant {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
    now.checked_add(delay).unwrap_or_else(|| now + YEAR)
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_clock_gains_and_loses_at_its_rate() {
        let clock = ProcessClock::new();
        advance(SECOND).await;
        assert_eq!(clock.now(), SECOND);
        clock.set_rate(10_000);
        advance(SECOND).await;
        assert_eq!(clock.now(), Duration::from_millis(2_010));
        clock.set_rate(-500_000);
        advance(SECOND).await;
        assert_eq!(clock.now(), Duration::from_millis(2_510));
        assert_eq!(clock.true_time(SECOND), 2 * SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_keeps_running_after_jumps_in_both_directions() {
        let mut clock = DriftingClock::default();
        let start = Instant::now();
        advance(SECOND).await;
        clock.jump(-400, Instant::now());
        assert_eq!(clock.at(Instant::now()) - start, Duration::from_millis(600));
        clock.jump(5_000, Instant::now());
        advance(SECOND).await;
        assert_eq!(clock.at(Instant::now()) - start, Duration::from_millis(6_600));
    }

    #[test]
    fn absurd_rates_and_times_do_not_panic() {
        assert_eq!((rate(i32::MIN), rate(i32::MAX)), (1, MILLION + i32::MAX as u32));
        assert_eq!(scale(Duration::MAX, u32::MAX, 1), Duration::from_nanos(u64::MAX));
        assert!(later(Instant::now(), Duration::MAX) > Instant::now());
    }
}
