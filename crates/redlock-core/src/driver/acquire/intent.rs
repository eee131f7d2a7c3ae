//! The intent of a waiting writer, which keeps new readers out.

use std::{
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use crate::{
    algorithm::Retry,
    driver::lease::{Lease, LeaseState},
};

/// The intent of a writer, which it leaves on nodes where readers refuse it.
#[derive(Debug, Default)]
pub(super) struct Intent {
    /// The number of the attempt, from 1.
    attempt: AtomicU32,
    /// Whether readers have refused this writer: it may have left an intent, and takes it back when it is granted.
    has_met_readers: AtomicBool,
    /// The last two rounds that have left an intent, or may do so yet. A node that the last one has not reached has
    /// that of the one before.
    left_by: Mutex<Vec<Arc<LeaseState>>>,
}

/// Takes the intent back when it is dropped: when the call ends, whatever its result.
#[must_use = "the intent is taken back when this is dropped"]
pub(super) struct Withdraws<'a>(&'a Intent);

impl Drop for Withdraws<'_> {
    fn drop(&mut self) {
        let left_by = mem::take(&mut *self.0.left_by());
        left_by.iter().for_each(LeaseState::withdraw_intent);
    }
}

impl Intent {
    /// Takes the intent back at the end of the call.
    pub(super) fn withdraws(&self) -> Withdraws<'_> {
        Withdraws(self)
    }

    /// Call when an attempt begins.
    pub(super) fn begins(&self, attempt: u32) {
        self.attempt.store(attempt, Ordering::Relaxed);
    }

    /// How long the intent lives: twice the pause until the next attempt.
    pub(super) fn lives(&self, retry: &Retry) -> Duration {
        retry.longest_pause(self.attempt.load(Ordering::Relaxed)).saturating_mul(2)
    }

    /// Call before a round that leaves the intent.
    pub(super) fn leaves(&self, lease: &Lease) {
        let mut left_by = self.left_by();
        if left_by.len() == 2 {
            left_by.remove(0);
        }
        left_by.push(Arc::clone(lease.shared()));
    }

    /// Call when a round is won that leaves the intent. The nodes that granted have taken it back. On the others it
    /// expires: its token is that of the lock, which must not be released there, since an extend may restore it. The
    /// intents of earlier rounds are taken back.
    pub(super) fn is_granted(&self, lease: &Lease) {
        self.left_by().retain(|left| !Arc::ptr_eq(left, lease.shared()));
    }

    pub(super) fn has_met_readers(&self) -> bool {
        self.has_met_readers.load(Ordering::Relaxed)
    }

    /// Call after a lost round.
    pub(super) fn lost(&self, lease: &Lease) {
        if lease.shared().has_met_readers() {
            self.has_met_readers.store(true, Ordering::Relaxed);
        } else {
            self.left_by().retain(|left| !Arc::ptr_eq(left, lease.shared()));
        }
    }

    fn left_by(&self) -> MutexGuard<'_, Vec<Arc<LeaseState>>> {
        self.left_by.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
