//! Work that goes on after its caller is gone: counted, bounded in time, never in anyone's way.

use std::time::Duration;

use tokio::{runtime::Handle, time::timeout};
use tokio_util::task::TaskTracker;

/// The background work of one [`Redlock`](crate::Redlock): late nodes, and what dropped rounds and locks give back.
#[derive(Debug)]
pub(crate) struct Background {
    tasks: TaskTracker,
}

impl Default for Background {
    fn default() -> Self {
        let tasks = TaskTracker::new();
        // It still takes tasks; closed, it tells whoever waits when there are none left.
        tasks.close();
        Self { tasks }
    }
}

impl Background {
    /// Runs `work` on `runtime`. If that runtime has ended, the work is dropped and the ttl ends what it would have.
    pub(crate) fn spawn(&self, runtime: &Handle, work: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn_on(work, runtime);
    }

    /// Waits until all work is done, but not longer than `limit`, and outside a runtime not at all.
    pub(crate) async fn finish(&self, limit: Duration) -> Result<(), CloseError> {
        if self.tasks.is_empty() {
            return Ok(());
        }
        if Handle::try_current().is_ok() && timeout(limit, self.tasks.wait()).await.is_ok() {
            return Ok(());
        }
        Err(CloseError { unfinished: self.tasks.len() })
    }
}

/// [`Redlock::close`](crate::Redlock::close) gave up waiting: some nodes do not answer.
///
/// The locks that could not be given back on those nodes end with their ttl.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{unfinished} background tasks still wait for nodes that do not answer; the ttl ends what they would release")]
#[non_exhaustive]
pub struct CloseError {
    /// How many tasks were still at work.
    pub unfinished: usize,
}
