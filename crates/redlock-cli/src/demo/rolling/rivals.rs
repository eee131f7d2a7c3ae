//! The rivals, which want the job's lock and try to acquire it now and then.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use redlock_core::Redlock;
use tokio::time::{Instant, interval_at};

use crate::demo::{
    rolling::long_job::{LongJob, RESOURCE},
    tally::Count,
};

/// The results of all rivals.
#[derive(Debug, Default)]
pub(crate) struct Rivals {
    /// Attempts that failed because another holds the lock.
    pub(crate) refused: Count,
    /// Attempts for which too few nodes answered, or too late.
    pub(crate) undecided: Count,
    got: Mutex<Option<Got>>,
}

/// A rival got the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Got {
    /// Counted from 1.
    pub(crate) rival: usize,
    /// The time within the run.
    pub(crate) at: Duration,
    /// How much longer the job would have relied on its lock.
    pub(crate) job_had_left: Duration,
}

impl Rivals {
    pub(crate) const COUNT: usize = 3;

    /// Returns the pause between two attempts of a rival. An attempt sets a key on a node that is empty at that time,
    /// for some milliseconds: an extend that arrives at that moment does not set the lock there, and the next one does.
    /// So the rivals try rarely.
    pub(crate) fn pause(ttl: Duration) -> Duration {
        ttl * 3 / 5
    }

    /// Tries until the job is done, or until a rival gets the lock, which ends the run.
    pub(crate) async fn ask(self: Arc<Self>, rival: usize, redlock: Redlock, job: Arc<LongJob>, ttl: Duration) {
        let started = Instant::now();
        let pause = Self::pause(ttl);
        // One after the other.
        let mut turns = interval_at(started + pause * rival as u32 / Self::COUNT as u32, pause);
        while job.stop.run_until_cancelled(turns.tick()).await.is_some() {
            match redlock.try_acquire(RESOURCE, ttl).await {
                Ok(Some(_lock)) => {
                    let got = Got { rival, at: started.elapsed(), job_had_left: job.progress().left() };
                    if job.stop.is_cancelled() && got.job_had_left.is_zero() {
                        // It tried while the job was already done and had released its lock.
                        return;
                    }
                    self.got.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(got);
                    job.stop.cancel();
                }
                Ok(None) => self.refused.add_one(),
                Err(_) => self.undecided.add_one(),
            }
        }
    }

    /// Returns the first rival that got the lock.
    pub(crate) fn got(&self) -> Option<Got> {
        *self.got.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use redlock_mock::MockNode;

    use super::*;

    const TTL: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_rival_is_refused_until_the_lock_is_free() {
        let nodes = MockNode::fleet(3);
        let redlock = Redlock::new(nodes.clone()).unwrap();
        nodes.iter().for_each(|node| node.set(RESOURCE, "another's", Some(4 * TTL)));
        let (rivals, job) = (Arc::new(Rivals::default()), Arc::new(LongJob::default()));
        Arc::clone(&rivals).ask(1, redlock, Arc::clone(&job), TTL).await;
        let got = rivals.got().unwrap();
        assert!(got.rival == 1 && got.at >= 4 * TTL && got.job_had_left.is_zero());
        assert!(rivals.refused.get() >= 5 && rivals.undecided.get() == 0);
        assert!(job.stop.is_cancelled());
    }
}
