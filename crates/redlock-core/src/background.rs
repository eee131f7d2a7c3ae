//! Work that goes on after its caller is gone: counted, bounded in time, never in anyone's way.

use std::time::Duration;

use tokio::{runtime::Handle, time::timeout};
use tokio_util::task::TaskTracker;

use crate::error::WithinAsync;

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
        Handle::try_current().map_err(|_| CloseError::NoRuntime)?;
        timeout(limit, self.tasks.wait()).await.map_err(|_| CloseError::Unfinished { tasks: self.tasks.len() })
    }
}

/// [`Redlock::close`](crate::Redlock::close) did not wait to the end. The locks that are not given back by then end with
/// their ttl.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CloseError {
    /// Some nodes do not answer.
    #[error("{tasks} background tasks still wait for nodes that do not answer; the ttl ends what they would release")]
    Unfinished {
        /// How many tasks were still at work.
        tasks: usize,
    },
    /// The call was not made on a tokio runtime, where it cannot wait.
    #[error("there is no tokio runtime here: call close from a task of a runtime with time enabled")]
    NoRuntime,
    /// A blocking call was made within async code.
    #[error(transparent)]
    WithinAsync(#[from] WithinAsync),
}
