//! The workers: acquire the lock, add 1 to the file, release the lock. This file shows how to use the library.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::bail;
use redlock_core::{AcquireOptions, Lock, Redlock, Release, Retry};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::demo::{counter::Counter, tally::Tally};

/// How long a lock lives if its holder dies. A section takes a hundredth of it.
pub(crate) const TTL: Duration = Duration::from_secs(1);

/// How long one call to acquire waits. A worker that has not got the lock by then calls again.
pub(crate) const CALL_WAITS: Duration = Duration::from_secs(1);

/// How long a worker does something else between two sections.
const REST: Duration = Duration::from_millis(25);

/// The time after which the workers give up if nobody has got the lock.
const GIVE_UP_AFTER: Duration = Duration::from_secs(3);

/// The job that all workers do together.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) counter: Counter,
    pub(crate) tally: Tally,
    /// Cancelled when the workers have to end.
    pub(crate) stop: CancellationToken,
    /// The number of sections that nobody has started yet, if it is limited.
    left: Option<AtomicU64>,
    /// How long a worker waits after a lost round, which depends on the number of workers.
    pause: Duration,
}

impl Job {
    pub(crate) fn new(counter: Counter, workers: usize, sections: Option<u64>) -> Self {
        Self {
            counter,
            tally: Tally::default(),
            stop: CancellationToken::new(),
            left: sections.map(AtomicU64::new),
            pause: Duration::from_millis(2) * workers as u32,
        }
    }

    /// Claims one section, if there is one left to do.
    fn take_on(&self) -> bool {
        let one_less = |left: u64| left.checked_sub(1);
        let is_left = |left: &AtomicU64| left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok();
        !self.stop.is_cancelled() && self.left.as_ref().is_none_or(is_left)
    }
}

/// One of many workers, each in a task of its own.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) number: usize,
    pub(crate) job: Arc<Job>,
}

impl Worker {
    pub(crate) async fn run_with_lock(self, redlock: Redlock) -> anyhow::Result<()> {
        let tally = &self.job.tally;
        while self.job.take_on() {
            let called = Instant::now();
            let Some(lock) = self.acquire(&redlock).await? else { break };
            tally.waited(called.elapsed());

            let locked = Instant::now();
            self.section(|| lock.check().is_ok()).await?;
            tally.held(locked.elapsed());

            match lock.release().await {
                Ok(Release::Released) => tally.released.add_one(),
                // The lock was not held to the end.
                Ok(_) => tally.not_held.add_one(),
                // Too few nodes answered to know; the TTL ends the lock.
                Err(_) => tally.release_unknown.add_one(),
            }
            sleep(REST).await;
        }
        Ok(())
    }

    pub(crate) async fn run_without_lock(self) -> anyhow::Result<()> {
        while self.job.take_on() {
            self.section(|| true).await?;
        }
        Ok(())
    }

    /// Calls until it has the lock. Returns `None` if the job ends before that.
    async fn acquire(&self, redlock: &Redlock) -> anyhow::Result<Option<Lock>> {
        let Job { counter, tally, stop, .. } = &*self.job;
        let first_call = Instant::now();
        loop {
            let acquire = redlock.acquire(counter.resource(), self.options());
            let called = tokio::select! {
                called = acquire => called,
                // The call is dropped halfway. Keys that it has set so far are released in the background.
                () = stop.cancelled() => return Ok(None),
            };
            match called {
                Ok(lock) => return Ok(Some(lock)),
                Err(error) => {
                    tally.call_failed(&error);
                    let nobody_had_it_for = tally.last_section().unwrap_or(first_call).elapsed();
                    if error.attempts().is_none() || nobody_had_it_for > GIVE_UP_AFTER {
                        bail!(error);
                    }
                }
            }
        }
    }

    /// Pauses are varied, so that workers that collided do not collide again.
    fn options(&self) -> AcquireOptions {
        let job = Arc::clone(&self.job);
        let jitter = job.pause / 2;
        let pause = move |_attempt| {
            job.tally.rounds_lost.add_one();
            job.pause
        };
        AcquireOptions::new(TTL).retry(Retry::timeout(CALL_WAITS).custom(pause).jitter(jitter))
    }

    /// The critical section.
    async fn section(&self, still_mine: impl Fn() -> bool) -> anyhow::Result<()> {
        let Job { counter, tally, .. } = &*self.job;
        let _inside = tally.enter(self.number);
        match counter.add_one(self.number, still_mine).await? {
            true => tally.section_done(),
            false => tally.outlived.add_one(),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use redlock_mock::MockNode;

    use super::*;

    fn job(sections: u64) -> Arc<Job> {
        Arc::new(Job::new(Counter::create().unwrap(), 4, Some(sections)))
    }

    async fn run_to_end(job: &Arc<Job>, redlock: Option<Redlock>) {
        let mut workers = tokio::task::JoinSet::new();
        for number in 0..4 {
            let worker = Worker { number, job: Arc::clone(job) };
            match redlock.clone() {
                Some(redlock) => workers.spawn(worker.run_with_lock(redlock)),
                None => workers.spawn(worker.run_without_lock()),
            };
        }
        workers.join_all().await.into_iter().collect::<anyhow::Result<()>>().unwrap();
    }

    #[tokio::test]
    async fn with_the_lock_nothing_is_lost() {
        let job = job(40);
        run_to_end(&job, Some(Redlock::new(MockNode::fleet(3)).unwrap())).await;
        assert_eq!((job.tally.sections(), job.counter.read().await.unwrap()), (40, 40));
        assert_eq!((job.tally.most_holders(), job.tally.released.get()), (1, 40));
    }

    #[tokio::test]
    async fn without_the_lock_updates_are_lost() {
        let job = job(40);
        run_to_end(&job, None).await;
        assert_eq!(job.tally.sections(), 40);
        assert!(job.counter.read().await.unwrap() < 40);
        assert!(job.tally.most_holders() > 1);
    }
}
