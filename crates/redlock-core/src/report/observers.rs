//! Calls all observers of one `Redlock`, and survives their panics.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use super::{event::Event, observer::Observer};

/// Those who are told. Where there are none, nothing is done to tell them.
#[derive(Clone, Default)]
pub(crate) struct Observers(Option<Arc<[Arc<dyn Observer>]>>);

impl Observers {
    pub(crate) fn new(observers: Vec<Arc<dyn Observer>>) -> Self {
        Self((!observers.is_empty()).then(|| observers.into()))
    }

    /// Whether anybody is told.
    pub(crate) fn are_there(&self) -> bool {
        self.0.is_some()
    }

    /// Tells them. No lock of ours may be held meanwhile: whoever is told may look at locks.
    pub(crate) fn tell(&self, event: &Event<'_>) {
        for observer in self.0.iter().flat_map(|observers| observers.iter()) {
            // It may be told while a task panics, and a second panic would end the process.
            if catch_unwind(AssertUnwindSafe(|| observer.observe(event))).is_err() {
                // As might one that cannot be shown.
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
