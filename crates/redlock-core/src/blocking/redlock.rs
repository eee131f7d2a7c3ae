//! The lock for code without async.

use std::time::Duration;

use super::{
    lock::Lock,
    named::NamedLocks,
    worker::{Worker, block_on},
};
use crate::{
    api::{AcquireOptions, BuildError, UsingError, UsingOptions},
    doctor::{InitializeError, NodesError, NodesReport},
    inspect::{InspectError, Inspection, Listing},
    named::{MapRegistry, Registry},
    names::{ResourceError, Resources},
    node::LockNode,
    report::{AcquireError, CloseError, LockParts, ResumeError, WithinAsync},
};

/// [`redlock_core::Redlock`](crate::Redlock) for code without async. Cheap to clone; clones are one and the same.
///
/// Made by [`Redlock::new`], or of an async one with more settings by [`TryFrom`].
#[derive(Debug, Clone)]
pub struct Redlock {
    redlock: crate::Redlock,
    worker: Worker,
}

impl Redlock {
    /// A lock over these nodes, everything else by default. Sends nothing: nodes may still be down.
    ///
    /// # Errors
    ///
    /// If there are no nodes, two of them have one name, or the operating system gives no thread.
    pub fn new(nodes: impl IntoIterator<Item = impl LockNode>) -> Result<Self, BuildError> {
        crate::Redlock::new(nodes)?.try_into()
    }

    /// As [`crate::Redlock::single`].
    ///
    /// # Errors
    ///
    /// As [`Redlock::new`].
    pub fn single(node: impl LockNode) -> Result<Self, BuildError> {
        Self::new([node])
    }

    /// As [`crate::Redlock::acquire`].
    ///
    /// # Errors
    ///
    /// As there; and [`AcquireError::WithinAsync`].
    pub fn acquire(
        &self,
        resources: impl TryInto<Resources, Error: Into<ResourceError>>,
        options: impl Into<AcquireOptions>,
    ) -> Result<Lock, AcquireError> {
        let lock = self.worker.wait(self.redlock.acquire(resources, options)).ok_or(WithinAsync)??;
        Ok(Lock::new(lock, self.worker.clone()))
    }

    /// As [`crate::Redlock::try_acquire`].
    ///
    /// # Errors
    ///
    /// As there; and [`AcquireError::WithinAsync`].
    pub fn try_acquire(
        &self,
        resources: impl TryInto<Resources, Error: Into<ResourceError>>,
        options: impl Into<AcquireOptions>,
    ) -> Result<Option<Lock>, AcquireError> {
        let lock = self.worker.wait(self.redlock.try_acquire(resources, options)).ok_or(WithinAsync)??;
        Ok(lock.map(|lock| Lock::new(lock, self.worker.clone())))
    }

    /// As [`crate::Redlock::acquire_shared`].
    ///
    /// # Errors
    ///
    /// As there; and [`AcquireError::WithinAsync`].
    pub fn acquire_shared(
        &self,
        resources: impl TryInto<Resources, Error: Into<ResourceError>>,
        options: impl Into<AcquireOptions>,
    ) -> Result<Lock, AcquireError> {
        self.acquire(resources, options.into().shared())
    }

    /// As [`crate::Redlock::try_acquire_shared`].
    ///
    /// # Errors
    ///
    /// As there; and [`AcquireError::WithinAsync`].
    pub fn try_acquire_shared(
        &self,
        resources: impl TryInto<Resources, Error: Into<ResourceError>>,
        options: impl Into<AcquireOptions>,
    ) -> Result<Option<Lock>, AcquireError> {
        self.try_acquire(resources, options.into().shared())
    }

    /// As [`crate::Redlock::using`], but for the loss: work that waits for nothing cannot be dropped half-way, whatever
    /// [`OnLoss`](crate::OnLoss) says. It learns of the loss from [`Lock::check`], right before a side effect.
    ///
    /// # Errors
    ///
    /// As there; and [`AcquireError::WithinAsync`].
    ///
    /// # Panics
    ///
    /// If the work does. The lock is given back in the background.
    pub fn using<T, E: From<UsingError>>(
        &self,
        resources: impl TryInto<Resources, Error: Into<ResourceError>>,
        options: impl Into<UsingOptions>,
        work: impl FnOnce(&Lock) -> Result<T, E>,
    ) -> Result<T, E> {
        let options = options.into();
        self.acquire(resources, options.kept()).map_err(UsingError::Acquire)?.cover(options.at_least, work)
    }

    /// As [`crate::Redlock::initialize`].
    ///
    /// # Errors
    ///
    /// As there; and [`InitializeError::WithinAsync`].
    pub fn initialize(&self) -> Result<(), InitializeError> {
        self.worker.wait(self.redlock.initialize()).ok_or(WithinAsync)?
    }

    /// As [`crate::Redlock::list`].
    ///
    /// # Errors
    ///
    /// As there; and [`InspectError::WithinAsync`].
    pub fn list(&self) -> Result<Listing, InspectError> {
        self.worker.wait(self.redlock.list()).ok_or(WithinAsync)?
    }

    /// As [`crate::Redlock::list_within`].
    ///
    /// # Errors
    ///
    /// As there; and [`InspectError::WithinAsync`].
    pub fn list_within(&self, limit: Duration) -> Result<Listing, InspectError> {
        self.worker.wait(self.redlock.list_within(limit)).ok_or(WithinAsync)?
    }

    /// As [`crate::Redlock::inspect`].
    ///
    /// # Errors
    ///
    /// As there; and [`InspectError::WithinAsync`].
    pub fn inspect(&self, resource: impl AsRef<str>) -> Result<Inspection, InspectError> {
        self.worker.wait(self.redlock.inspect(resource)).ok_or(WithinAsync)?
    }

    /// As [`crate::Redlock::is_locked`].
    ///
    /// # Errors
    ///
    /// As there; and [`InspectError::WithinAsync`].
    pub fn is_locked(&self, resource: impl AsRef<str>) -> Result<bool, InspectError> {
        self.worker.wait(self.redlock.is_locked(resource)).ok_or(WithinAsync)?
    }

    /// As [`crate::Redlock::remaining`].
    ///
    /// # Errors
    ///
    /// As there; and [`InspectError::WithinAsync`].
    pub fn remaining(&self, resource: impl AsRef<str>) -> Result<Option<Duration>, InspectError> {
        self.worker.wait(self.redlock.remaining(resource)).ok_or(WithinAsync)?
    }

    /// As [`crate::Redlock::check_nodes`].
    ///
    /// # Errors
    ///
    /// As there; and [`NodesError::WithinAsync`].
    pub fn check_nodes(&self) -> Result<NodesReport, NodesError> {
        self.worker.wait(self.redlock.check_nodes()).ok_or(WithinAsync)?
    }

    /// As [`crate::Redlock::named`]: a name is unlocked by the thread that locked it.
    #[must_use = "each call gives one with locks of its own"]
    pub fn named(&self) -> NamedLocks {
        self.named_in(MapRegistry::default())
    }

    /// As [`crate::NamedLocks::new`].
    #[must_use]
    pub fn named_in(&self, registry: impl Registry) -> NamedLocks {
        NamedLocks::new(crate::NamedLocks::new(&self.redlock, registry), self.worker.clone())
    }

    /// As [`crate::Redlock::resume`].
    ///
    /// # Errors
    ///
    /// As there; and [`ResumeError::WithinAsync`].
    pub fn resume(&self, parts: LockParts) -> Result<Lock, ResumeError> {
        let Some(runtime) = self.worker.may_wait() else {
            return Err(ResumeError::WithinAsync { parts: Box::new(parts) });
        };
        Ok(Lock::new(block_on(runtime, self.redlock.resume(parts))?, self.worker.clone()))
    }

    /// As [`crate::Redlock::close`]. Without it, what locks give back that are dropped last may be cut off.
    ///
    /// # Errors
    ///
    /// As there, and within async code.
    pub fn close(&self) -> Result<(), CloseError> {
        self.worker.wait(self.redlock.close()).ok_or(WithinAsync)?
    }

    /// As [`crate::Redlock::close_within`].
    ///
    /// # Errors
    ///
    /// As there, and within async code.
    pub fn close_within(&self, limit: Duration) -> Result<(), CloseError> {
        self.worker.wait(self.redlock.close_within(limit)).ok_or(WithinAsync)?
    }
}

impl TryFrom<crate::Redlock> for Redlock {
    type Error = BuildError;

    /// # Errors
    ///
    /// If the operating system gives no thread.
    fn try_from(redlock: crate::Redlock) -> Result<Self, BuildError> {
        let worker = Worker::start().map_err(|error| BuildError::NoThread { error: error.to_string() })?;
        Ok(Self { redlock, worker })
    }
}
