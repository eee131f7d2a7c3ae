//! Calls all observers of one `Redlock`, and survives their panics.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use super::{event::Event, observer::Observer};

/// The observers that receive events. Without any, an event costs nothing.
#[derive(Clone, Default)]
pub(crate) struct Observers(Option<Arc<[Arc<dyn Observer>]>>);

impl Observers {
    pub(crate) fn new(observers: Vec<Arc<dyn Observer>>) -> Self {
        Self((!observers.is_empty()).then(|| observers.into()))
    }

    /// Returns whether there are any observers.
    pub(crate) fn are_there(&self) -> bool {
        self.0.is_some()
    }

    /// Sends the event to all observers. Do not call it with a mutex locked, because an observer may inspect locks.
    pub(crate) fn tell(&self, event: &Event<'_>) {
        for observer in self.0.iter().flat_map(|observers| observers.iter()) {
            // This may run while a task panics, and a second panic would end the process.
            if catch_unwind(AssertUnwindSafe(|| observer.observe(event))).is_err() {
                // So would an observer whose `Debug` output panics.
                let _ = catch_unwind(AssertUnwindSafe(|| tracing::error!(?observer, "an observer panicked")));
            }
        }
    }
}

impl fmt::Debug for Observers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().flat_map(|observers| observers.iter())).finish()
    }
}
