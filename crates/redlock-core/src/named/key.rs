//! Under what an entry is kept: a name, and whose lock it is.

use std::{
    sync::Arc,
    thread::{self, ThreadId},
};

use tokio::task;

use crate::names::Resource;

/// Under what a [`Registry`](super::Registry) keeps an [`Entry`](super::Entry): a name, and whose lock it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    name: Resource,
    caller: Caller,
}

/// Who locks and unlocks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Caller {
    Task(task::Id),
    /// What runs outside of tasks.
    Thread(ThreadId),
    Label(Arc<str>),
}

impl Key {
    pub(crate) fn new(name: Resource, caller: Caller) -> Self {
        Self { name, caller }
    }

    /// What is locked.
    #[must_use]
    pub fn name(&self) -> &Resource {
        &self.name
    }

    pub(crate) fn caller(&self) -> &Caller {
        &self.caller
    }
}

impl Caller {
    /// Who runs this code.
    pub(crate) fn current() -> Self {
        task::try_id().map_or_else(|| Self::Thread(thread::current().id()), Self::Task)
    }
}
