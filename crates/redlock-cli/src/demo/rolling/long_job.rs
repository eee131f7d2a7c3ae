//! The long job: works under one lock for the whole run. This file shows how to write work that takes a long time.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use redlock_core::{Lock, LockLost, Redlock, Token, UsingError};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// The name that the job and its rivals lock.
pub(crate) const RESOURCE: &str = "long-job";

/// One job, and its state for others to see.
#[derive(Debug, Default)]
pub(crate) struct LongJob {
    /// Cancelled when the job is done.
    pub(crate) stop: CancellationToken,
    progress: Mutex<Progress>,
}

/// The progress of the job.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Progress {
    /// The job's view of its lock, once it has it.
    held: Option<Held>,
    /// The steps of work, each after a check of the lock.
    pub(crate) steps: u64,
    /// The number of times that the lock was found to be valid for longer than before.
    pub(crate) extends: u64,
    /// The smallest validity that was ever left.
    pub(crate) least_left: Option<Duration>,
}

/// A lock, as seen at the last check.
#[derive(Debug, Clone, Copy)]
struct Held {
    token: Token,
    since: Instant,
    looked: Instant,
    valid_until: Instant,
}

impl LongJob {
    /// How long one step of the work takes.
    const STEP: Duration = Duration::from_millis(10);

    /// Works under a lock that is extended while the work runs.
    pub(crate) async fn run(&self, redlock: &Redlock, ttl: Duration) -> Result<(), UsingError> {
        redlock.using(RESOURCE, ttl, async |lock| Ok(self.work(lock).await?)).await
    }

    /// Works under a lock that nobody extends.
    pub(crate) async fn run_without_extend(&self, redlock: &Redlock, ttl: Duration) -> Result<(), UsingError> {
        let lock = redlock.acquire(RESOURCE, ttl).await?;
        Ok(self.work(&lock).await?)
        // The lock is dropped here, and so released.
    }

    /// Checks before each step whether the lock is still its own.
    async fn work(&self, lock: &Lock) -> Result<(), LockLost> {
        while !self.stop.is_cancelled() {
            let left = lock.check()?;
            self.lock().step(*lock.token(), Instant::now(), left);
            sleep(Self::STEP).await;
        }
        // From here on it does not rely on the lock, which is released next.
        self.lock().done(Instant::now());
        Ok(())
    }

    pub(crate) fn progress(&self) -> Progress {
        *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Progress {
    /// The maximum difference between two readings of the same deadline.
    const UNSHARP: Duration = Duration::from_millis(5);

    fn step(&mut self, token: Token, looked: Instant, left: Duration) {
        let valid_until = looked + left;
        let since = match self.held {
            None => looked,
            Some(before) => {
                self.extends += u64::from(valid_until > before.valid_until + Self::UNSHARP);
                before.since
            }
        };
        self.held = Some(Held { token, since, looked, valid_until });
        self.steps += 1;
        self.least_left = Some(self.least_left.unwrap_or(left).min(left));
    }

    fn done(&mut self, now: Instant) {
        if let Some(held) = &mut self.held {
            held.valid_until = now;
        }
    }

    /// Returns the value of the lock's keys.
    pub(crate) fn token(&self) -> Option<Token> {
        self.held.map(|held| held.token)
    }

    /// Returns how long the job found its lock valid.
    pub(crate) fn held_for(&self) -> Duration {
        self.held.map(|held| held.looked - held.since).unwrap_or_default()
    }

    /// Returns how long the lock is valid from now, by the last check.
    pub(crate) fn left(&self) -> Duration {
        self.held.map(|held| held.valid_until - Instant::now()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use redlock_mock::MockNode;

    use super::*;

    const TTL: Duration = Duration::from_millis(600);

    async fn worked(extended: bool) -> (Result<(), UsingError>, Progress) {
        let nodes = MockNode::fleet(3);
        let redlock = Redlock::new(nodes).unwrap();
        let job = LongJob::default();
        let work =
            async { if extended { job.run(&redlock, TTL).await } else { job.run_without_extend(&redlock, TTL).await } };
        let end = async {
            sleep(10 * TTL).await;
            job.stop.cancel();
        };
        let (worked, ()) = tokio::join!(work, end);
        (worked, job.progress())
    }

    #[tokio::test(start_paused = true)]
    async fn extended_the_lock_outlives_its_ttl() {
        let (worked, progress) = worked(true).await;
        worked.unwrap();
        assert!(progress.held_for() > 9 * TTL && progress.least_left.unwrap() > TTL / 2);
        assert!((29..=35).contains(&progress.extends), "{}", progress.extends);
    }

    #[tokio::test(start_paused = true)]
    async fn not_extended_it_ends_with_its_validity() {
        let (worked, progress) = worked(false).await;
        assert!(matches!(worked, Err(UsingError::Lost(LockLost::Expired { last_extend: None, .. }))));
        assert!(progress.held_for() < TTL && progress.left().is_zero());
        assert_eq!(progress.extends, 0);
    }
}
