//! The counts and measurements while the workers work.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use redlock_core::{AcquireError, RoundFailure};
use tokio::time::Instant;

/// A number that many tasks add to.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add_one(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The events of the workers.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Calls to acquire that failed, by the failure of the last round.
    pub(crate) contended: Count,
    pub(crate) no_quorum: Count,
    pub(crate) too_late: Count,
    /// Rounds over the nodes that did not win the lock.
    pub(crate) rounds_lost: Count,

    pub(crate) released: Count,
    pub(crate) not_held: Count,
    pub(crate) release_unknown: Count,

    /// Sections that wrote nothing, because the validity of their lock ended before.
    pub(crate) outlived: Count,
    sections: Count,
    last_section: Mutex<Option<Instant>>,

    /// The workers that are inside the critical section: at most one, if the lock works.
    inside: Mutex<Vec<usize>>,
    most_holders: AtomicU64,

    waits: Mutex<Vec<Duration>>,
    holds: Mutex<Vec<Duration>>,
}

impl Tally {
    /// Counts a worker as inside until the returned guard is dropped.
    pub(crate) fn enter(&self, worker: usize) -> Inside<'_> {
        let mut inside = lock(&self.inside);
        inside.push(worker);
        self.most_holders.fetch_max(inside.len() as u64, Ordering::Relaxed);
        Inside { tally: self, worker }
    }

    /// Returns the workers that are inside now.
    pub(crate) fn holders(&self) -> Vec<usize> {
        lock(&self.inside).clone()
    }

    /// Returns the greatest number of workers that were inside at the same time.
    pub(crate) fn most_holders(&self) -> u64 {
        self.most_holders.load(Ordering::Relaxed)
    }

    pub(crate) fn section_done(&self) {
        self.sections.add_one();
        *lock(&self.last_section) = Some(Instant::now());
    }

    pub(crate) fn sections(&self) -> u64 {
        self.sections.get()
    }

    /// Returns when a section was last done.
    pub(crate) fn last_section(&self) -> Option<Instant> {
        *lock(&self.last_section)
    }

    pub(crate) fn call_failed(&self, error: &AcquireError) {
        match error.attempts().map(|tried| tried.failure) {
            Some(RoundFailure::Contended) => self.contended.add_one(),
            Some(RoundFailure::TooLate) => self.too_late.add_one(),
            _ => self.no_quorum.add_one(),
        }
    }

    pub(crate) fn waited(&self, wait: Duration) {
        lock(&self.waits).push(wait);
    }

    pub(crate) fn held(&self, hold: Duration) {
        lock(&self.holds).push(hold);
    }

    pub(crate) fn wait_times(&self) -> Option<Spread> {
        Spread::of(lock(&self.waits).clone())
    }

    pub(crate) fn hold_times(&self) -> Option<Spread> {
        Spread::of(lock(&self.holds).clone())
    }
}

/// A worker inside the critical section.
#[derive(Debug)]
pub(crate) struct Inside<'a> {
    tally: &'a Tally,
    worker: usize,
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        lock(&self.tally.inside).retain(|worker| *worker != self.worker);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The distribution of measured times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spread {
    pub(crate) min: Duration,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    pub(crate) max: Duration,
}

impl Spread {
    /// Returns `None` if there are no times.
    fn of(mut times: Vec<Duration>) -> Option<Self> {
        times.sort_unstable();
        // The smallest time that this many percent of all times do not exceed.
        let percentile = |percent: usize| times.get((times.len() * percent).div_ceil(100).max(1) - 1).copied();
        Some(Self { min: percentile(0)?, p50: percentile(50)?, p99: percentile(99)?, max: percentile(100)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(millis: impl IntoIterator<Item = u64>) -> Option<[u128; 4]> {
        let spread = Spread::of(millis.into_iter().map(Duration::from_millis).collect())?;
        Some([spread.min, spread.p50, spread.p99, spread.max].map(|time| time.as_millis()))
    }

    #[test]
    fn percentiles_are_times_that_were_measured() {
        assert_eq!(spread([]), None);
        assert_eq!(spread([7]), Some([7, 7, 7, 7]));
        assert_eq!(spread([2, 1]), Some([1, 1, 2, 2]));
        assert_eq!(spread((1..=100).rev()), Some([1, 50, 99, 100]));
        assert_eq!(spread(1..=1000), Some([1, 500, 990, 1000]));
    }

    #[test]
    fn holders_are_counted_while_they_are_inside() {
        let tally = Tally::default();
        let first = tally.enter(3);
        let second = tally.enter(5);
        assert_eq!(tally.holders(), [3, 5]);
        drop(first);
        assert_eq!(tally.holders(), [5]);
        drop(second);
        assert_eq!((tally.holders(), tally.most_holders()), (Vec::new(), 2));
    }
}
