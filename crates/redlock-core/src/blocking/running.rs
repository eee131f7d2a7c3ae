//! A runtime that may be dropped anywhere.

use tokio::runtime::{Handle, Runtime};

/// A runtime, until it is dropped.
#[derive(Debug)]
pub(super) struct Running(Option<Runtime>);

impl Running {
    pub(super) fn new(runtime: Runtime) -> Self {
        Self(Some(runtime))
    }

    pub(super) fn handle(&self) -> Option<&Handle> {
        self.0.as_ref().map(Runtime::handle)
    }
}

impl Drop for Running {
    /// Does not wait, since async code may drop it. A caller that wants to wait calls `close` first.
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
