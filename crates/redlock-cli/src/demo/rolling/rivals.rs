//! The rivals: want the job's lock, and ask for it now and then.

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

/// What all rivals have lived through.
#[derive(Debug, Default)]
pub(crate) struct Rivals {
    /// Told that another holds the lock.
    pub(crate) refused: Count,
    /// Told that too few nodes answered, or too late.
    pub(crate) undecided: Count,
    got: Mutex<Option<Got>>,
}

/// A rival got the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Got {
    /// Counted from 1.
    pub(crate) rival: usize,
    /// In the time of the run.
    pub(crate) at: Duration,
    /// For how much longer the job was to rely on its lock then.
    pub(crate) job_had_left: Duration,
}

impl Rivals {
    pub(crate) const COUNT: usize = 3;

    /// From one question of a rival to its next. A question sets a key on a node that is empty just then, for some
    /// milliseconds: an extend that comes at that moment leaves the node to the next one. So they ask rarely.
    pub(crate) fn pause(ttl: Duration) -> Duration {
        ttl * 3 / 5
    }

    /// Asks until the job is done, or until a rival gets the lock: then the run is over.
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
                        // It asked while the job was done already, and gave its lock back.
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

    /// The first one that got it.
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
