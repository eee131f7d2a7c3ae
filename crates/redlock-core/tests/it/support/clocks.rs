//! Clocks that behave in unusual ways.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use redlock_core::testing::{Clock, TokioClock};

/// Does not advance.
#[derive(Debug)]
pub(crate) struct StandsStill;

impl Clock for StandsStill {
    fn now(&self) -> Duration {
        Duration::ZERO
    }
}

/// Advances by a second with each reading.
#[derive(Debug, Default)]
pub(crate) struct Ticks(AtomicU64);

impl Clock for Ticks {
    fn now(&self) -> Duration {
        Duration::from_secs(self.0.fetch_add(1, Ordering::Relaxed))
    }
}

/// The clock of a process that is suspended for a minute while it sends a request: after the readings when the call is
/// made, when it begins, and when its round begins.
#[derive(Debug, Default)]
pub(crate) struct SuspendedWhileSending(AtomicU32, TokioClock);

impl Clock for SuspendedWhileSending {
    fn now(&self) -> Duration {
        let readings = self.0.fetch_add(1, Ordering::SeqCst);
        self.1.now() + if readings < 3 { Duration::ZERO } else { Duration::from_secs(60) }
    }
}

/// Counts the time for which the machine was suspended, unlike Tokio's timers.
#[derive(Debug, Clone, Default)]
pub(crate) struct SuspendAware(TokioClock, Arc<AtomicU64>);

impl SuspendAware {
    pub(crate) fn suspend(&self, seconds: u64) {
        self.1.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl Clock for SuspendAware {
    fn now(&self) -> Duration {
        self.0.now() + Duration::from_secs(self.1.load(Ordering::SeqCst))
    }
}
