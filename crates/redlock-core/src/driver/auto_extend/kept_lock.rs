//! A lock that is extended, and when it is extended next.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{
    algorithm::{Schedule, Upkeep},
    driver::keep::Keep,
};

/// A lock that is extended.
#[derive(Debug, Clone)]
pub(super) struct KeptLock {
    pub(super) kept: Arc<dyn Keep>,
    pub(super) schedule: Schedule,
    /// When the lock was acquired, on the fleet's clock.
    pub(super) acquired: Duration,
    pub(super) next: NextExtend,
}

/// When a lock is extended next.
#[derive(Debug, Clone, Copy)]
pub(super) struct NextExtend {
    pub(super) due: Instant,
    /// About when its validity ends.
    pub(super) ends: Instant,
}

impl KeptLock {
    /// Locks that are due within the same tick are extended together, which costs the clients and the nodes much less
    /// than one lock after the other.
    const TICK: Duration = Duration::from_millis(100);

    /// Extends the lock once. Returns when to extend it next, if ever.
    pub(super) async fn extend(&self) -> Option<NextExtend> {
        let began = Instant::now();
        let extended = Arc::clone(&self.kept).extend_once(self.schedule.ttl(self.age())).await;
        // Periods count from the start of an extend, pauses after a failure from its end.
        let from = if extended { began } else { Instant::now() };
        self.turn(from, Schedule::SHORTEST, |schedule, age, left, random| schedule.next(age, left, extended, random))
    }

    /// The next extend: a pause after `from`, but not before half of the `shortest` pause from now.
    pub(super) fn turn(
        &self,
        from: Instant,
        shortest: Duration,
        next: impl Fn(&Schedule, Duration, Duration, u64) -> Upkeep,
    ) -> Option<NextExtend> {
        let left = self.kept.left()?;
        let random = self.kept.random();
        match next(&self.schedule, self.age(), left, random) {
            Upkeep::After(pause) => {
                let now = Instant::now();
                let due = (from + pause).max(now + shortest / 2);
                Some(NextExtend { due: self.at_a_tick(due, now), ends: now + left })
            }
            Upkeep::Over => {
                let resource = self.kept.resources();
                tracing::info!(%resource, ?left, "not extended any more: its longest lifetime ends");
                self.kept.lifetime_over();
                None
            }
        }
    }

    /// The tick before `due`, on the fleet's clock, if a whole second or more is left until `due`.
    fn at_a_tick(&self, due: Instant, now: Instant) -> Instant {
        let pause = due.saturating_duration_since(now);
        if pause < 10 * Self::TICK {
            return due;
        }
        let since_tick = (self.kept.now() + pause).as_nanos() % Self::TICK.as_nanos();
        due - Duration::from_nanos(since_tick as u64)
    }

    fn age(&self) -> Duration {
        self.kept.now().saturating_sub(self.acquired)
    }
}
