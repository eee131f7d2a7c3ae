//! The intent of a waiting writer, which keeps new readers out.

use std::{
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    time::Duration,
};

use crate::algorithm::Retry;

/// The intent of a writer, which it leaves on nodes where readers refuse it.
#[derive(Debug, Default)]
pub(super) struct Intent {
    /// The number of the attempt, from 1.
    attempt: AtomicU32,
    /// Whether readers have refused this writer: it may have left an intent, and takes it back when it is granted.
    has_met_readers: AtomicBool,
}

impl Intent {
    /// Call when an attempt begins.
    pub(super) fn begins(&self, attempt: u32) {
        self.attempt.store(attempt, Ordering::Relaxed);
    }

    /// How long the intent lives: twice the pause until the next attempt.
    pub(super) fn lives(&self, retry: &Retry) -> Duration {
        retry.longest_pause(self.attempt.load(Ordering::Relaxed)).saturating_mul(2)
    }

    pub(super) fn has_met_readers(&self) -> bool {
        self.has_met_readers.load(Ordering::Relaxed)
    }

    /// Call after a lost round.
    pub(super) fn lost(&self, to_readers: bool) {
        self.has_met_readers.fetch_or(to_readers, Ordering::Relaxed);
    }
}
