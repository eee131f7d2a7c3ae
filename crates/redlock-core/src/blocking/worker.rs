//! The thread behind blocking calls.

use std::{io, sync::Arc};

use tokio::runtime::{Builder, Handle};

use super::running::Running;

/// A runtime with one thread. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Worker(Arc<Running>);

impl Worker {
    pub(super) fn start() -> io::Result<Self> {
        let mut builder = Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).thread_name("redlock").enable_all().build()?;
        Ok(Self(Arc::new(Running::new(runtime))))
    }

    /// Waits for `work`; nothing if this thread must not wait, as it drives a runtime.
    pub(super) fn wait<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        Some(self.may_wait()?.block_on(work))
    }

    /// What this thread can wait on; nothing if it drives a runtime.
    pub(super) fn may_wait(&self) -> Option<&Handle> {
        self.0.handle().filter(|_| Handle::try_current().is_err())
    }
}
