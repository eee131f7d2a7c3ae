//! The key of an entry: a name, and the caller to which the lock belongs.

use std::{
    sync::Arc,
    thread::{self, ThreadId},
};

use tokio::task;

use crate::names::Resource;

/// The key under which a [`Registry`](super::Registry) keeps an [`Entry`](super::Entry): a name, and the caller to
/// which the lock belongs.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    name: Resource,
    caller: Caller,
}

/// The caller that locks and unlocks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Caller {
    Task(task::Id),
    /// A caller outside of tasks.
    Thread(ThreadId),
    Label(Arc<str>),
}

impl Key {
    pub(crate) fn new(name: Resource, caller: Caller) -> Self {
        Self { name, caller }
    }

    /// Returns the locked name.
    #[must_use]
    pub fn name(&self) -> &Resource {
        &self.name
    }

    pub(crate) fn caller(&self) -> &Caller {
        &self.caller
    }
}

impl Caller {
    /// Returns the caller that runs this code.
    pub(crate) fn current() -> Self {
        task::try_id().map_or_else(|| Self::Thread(thread::current().id()), Self::Task)
    }
}
