//! The library's clock, which simulations can replace.

use std::{fmt, time::Duration};

/// A clock that never goes back. Wall clocks are never read: they jump.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Returns the time since a fixed moment that the clock chooses.
    fn now(&self) -> Duration;
}

/// The machine's monotonic clock, which is the default.
///
/// On Linux and Android it is `CLOCK_BOOTTIME`, which keeps running while the machine is suspended: after a laptop or a
/// virtual machine resumes, it does not rely on a lock that has expired meanwhile. Elsewhere it is
/// [`std::time::Instant`], which on some platforms stops during suspension.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Duration {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        {
            let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
            Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs() as u32)
        }
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        {
            static START: std::sync::LazyLock<std::time::Instant> = std::sync::LazyLock::new(std::time::Instant::now);
            START.elapsed()
        }
    }
}

/// Tokio's clock, which tests can pause and advance.
///
/// A `Redlock` over the nodes of `redlock-mock` uses it automatically. Set it for your own
/// [`LockNode`](crate::LockNode) that is tested in virtual time, or return it from
/// [`LockNode::clock`](crate::LockNode::clock).
#[derive(Debug, Clone, Copy)]
pub struct TokioClock {
    start: tokio::time::Instant,
}

impl Default for TokioClock {
    fn default() -> Self {
        Self { start: tokio::time::Instant::now() }
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Duration {
        // Each paused runtime has its own time. In another runtime it may be earlier than `start`, and this clock must
        // run there too.
        const AT_START: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
        let now = tokio::time::Instant::now();
        let before = self.start.saturating_duration_since(now);
        (AT_START + now.saturating_duration_since(self.start)).saturating_sub(before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_clock_advances_and_never_goes_back() {
        let readings: Vec<_> = (0..1000).map(|_| SystemClock.now()).collect();
        assert!(readings.is_sorted());
        assert!(readings.first() < readings.last());
    }

    #[tokio::test(start_paused = true)]
    async fn tokios_clock_can_be_advanced() {
        let clock = TokioClock::default();
        let before = clock.now();
        tokio::time::advance(Duration::from_secs(7)).await;
        assert_eq!(clock.now() - before, Duration::from_secs(7));
    }

    #[test]
    fn tokios_clock_advances_in_a_runtime_whose_time_is_earlier() {
        let paused = || tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let (earlier, later) = (paused(), paused());
        let hour = Duration::from_secs(3600);
        let clock = later.block_on(async {
            tokio::time::advance(hour).await;
            TokioClock::default()
        });
        let passed = earlier.block_on(async {
            let before = clock.now();
            tokio::time::advance(hour / 2).await;
            clock.now() - before
        });
        assert_eq!(passed, hour / 2);
    }
}
