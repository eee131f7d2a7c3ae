//! Work that continues after its caller has gone: counted and bounded in time.

use std::{sync::Arc, time::Duration};

use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tokio_util::task::TaskTracker;

use crate::report::CloseError;

/// The background work of one [`Redlock`](crate::Redlock): late requests, and the releases of dropped rounds and locks.
#[derive(Debug)]
pub(crate) struct Background {
    tasks: TaskTracker,
    /// How many dropped locks are released at once: more would wait in the client's queue until they time out there.
    permits: Arc<Semaphore>,
}

impl Default for Background {
    fn default() -> Self {
        let tasks = TaskTracker::new();
        // A closed tracker still takes tasks, and notifies a caller that waits when there are none left.
        tasks.close();
        Self { tasks, permits: Arc::new(Semaphore::new(Self::AT_ONCE)) }
    }
}

impl Background {
    const AT_ONCE: usize = 256;

    /// Runs `work` as [`spawn`](Self::spawn) does, when it gets a permit. `work` drops the permit when others may run.
    pub(crate) fn spawn_in_turn<W: Future<Output = ()> + Send>(
        &self,
        runtime: &Handle,
        work: impl FnOnce(Option<OwnedSemaphorePermit>) -> W + Send + 'static,
    ) {
        let permits = Arc::clone(&self.permits);
        self.spawn(runtime, async move {
            // The semaphore is never closed.
            let permit = permits.acquire_owned().await.ok();
            work(permit).await;
        });
    }

    /// Runs `work` on `runtime`. If that runtime has ended, the work is dropped, and the keys expire.
    pub(crate) fn spawn(&self, runtime: &Handle, work: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn_on(work, runtime);
    }

    /// Whether there is no work.
    pub(crate) fn is_idle(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Waits until all work is done, but not longer than `limit`, and outside a runtime not at all.
    pub(crate) async fn finish(&self, limit: Duration) -> Result<(), CloseError> {
        Handle::try_current().map_err(|_| CloseError::NoRuntime)?;
        timeout(limit, self.tasks.wait())
            .await
            .map_err(|_| CloseError::Unfinished { tasks: self.tasks.len(), owed: Vec::new() })
    }
}
