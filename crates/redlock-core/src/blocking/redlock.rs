//! The lock for code without async.

use std::time::Duration;

use super::{
    lock::Lock,
    named::NamedLocks,
    permit::Permit,
    worker::{Worker, block_on},
};
use crate::{
    api::{AcquireOptions, BuildError, UsingError, UsingOptions},
    doctor::{InitializeError, NodesError, NodesReport},
    inspect::{InspectError, Inspection, Listing, PermitsInspection},
    named::{MapRegistry, Registry},
    names::{ResourceError, Resources},
    node::LockNode,
    report::{AcquireError, CloseError, LockParts, ResumeError, WithinAsync},
};

/// [`redlock_core::Redlock`](crate::Redlock) for code without async. Cheap to clone; clones share everything.
///
/// [`Redlock::new`] creates one. For more settings, build an async one and convert it with [`TryFrom`].
#[derive(Debug, Clone)]
pub struct Redlock {
    redlock: crate::Redlock,
    worker: Worker,
}

impl Redlock {
    /// Returns a lock over these nodes, with defaults for everything else. Sends nothing: nodes may still be down.
    ///
    /// # Errors
    ///
    /// If there are no nodes, two of them have the same name, or the operating system does not start a thread.
    pub fn new(nodes: impl IntoIterator<Item = impl LockNode>) -> Result<Self, BuildError> {
        crate::Redlock::new(nodes)?.try_into()
    }

    /// Returns a lock on a single node: see [`crate::Redlock::single`].
    ///
    /// # Errors
    ///
    /// The errors of [`Redlock::new`].
    pub fn single(node: impl LockNode) -> Result<Self, BuildError> {
        Self::new([node])
    }

    /// Acquires the lock on a resource or on several, waiting while others hold it: see [`crate::Redlock::acquire`].
    ///
    /// # Errors
    ///
    /// The errors of [`crate::Redlock::acquire`], and [`AcquireError::WithinAsync`].
    pub fn acquire(
        &self,
        resources: impl TryInto<Resources, Error: Into<ResourceError>>,
        options: impl Into<AcquireOptions>,
    ) -> Result<Lock, AcquireError> {
        let lock = self.worker.wait(self.redlock.acquire(resources, options)).ok_or(WithinAsync)??;
        Ok(Lock::new(lock, self.worker.clone()))
    }

    /// Acquires the lock if it is free now: see [`crate::Redlock::try_acquire`].
    ///
    /// # Errors
    ///
    /// The errors of [`crate::Redlock::try_acquire`], and [`AcquireError::WithinAsync`].
    pub fn try_acquire(
        &self,
        resources: impl TryInto<Resources, Error: Into<ResourceError>>,
        options: impl Into<AcquireOptions>,
    ) -> Result<Option<Lock>, AcquireError> {
        let lock = self.worker.wait(self.redlock.try_acquire(resources, options)).ok_or(WithinAsync)??;
        Ok(lock.map(|lock| Lock::new(lock, self.worker.clone())))
    }

    /// Acquires a shared lock, waiting while a writer holds it: see [`crate::Redlock::acquire_shared`].
    ///
    /// # Errors
    ///
    /// The errors of [`crate::Redlock::acquire_shared`], and [`AcquireError::WithinAsync`].
    pub fn acquire_shared(
        &self,
        resources: impl TryInto<Resources, Error: Into<ResourceError>>,
        options: impl Into<AcquireOptions>,
    ) -> Result<Lock, AcquireError> {
        self.acquire(resources, options.into().shared())
    }

    /// Acquires a shared lock if no writer holds it or waits for it: see [`crate::Redlock::try_acquire_shared`].
    ///
    /// # Errors
    ///
    /// The errors of [`crate::Redlock::try_acquire_shared`], and [`AcquireError::WithinAsync`].
    pub fn try_acquire_shared(
        &self,
        resources: impl TryInto<Resources, Error: Into<ResourceError>>,
        options: impl Into<AcquireOptions>,
    ) -> Result<Option<Lock>, AcquireError> {
        self.try_acquire(resources, options.into().shared())
    }

    /// Runs `work` under the lock: see [`crate::Redlock::using`]. After a loss it differs: work without await points
    /// cannot be dropped halfway, whatever [`OnLoss`](crate::OnLoss) says. The work notices the loss when it calls
    /// [`Lock::check`], right before a side effect.
    ///
    /// # Errors
    ///
    /// The errors of [`crate::Redlock::using`], and [`AcquireError::WithinAsync`].
    ///
    /// # Panics
    ///
    /// If the work panics. The lock is released in the background.
    pub fn using<T, E: From<UsingError>>(
        &self,
        resources: impl TryInto<Resources, Error: Into<ResourceError>>,
        options: impl Into<UsingOptions>,
        work: impl FnOnce(&Lock) -> Result<T, E>,
    ) -> Result<T, E> {
        let options = options.into();
        self.acquire(resources, options.kept()).map_err(UsingError::Acquire)?.cover(options.at_least, work)
    }

    /// Acquires one of `permits` permits, waiting while others hold all of them: see
    /// [`crate::Redlock::acquire_permit`].
    ///
    /// # Errors
    ///
    /// The errors of [`crate::Redlock::acquire_permit`], and [`AcquireError::WithinAsync`].
    pub fn acquire_permit(
        &self,
        name: impl AsRef<str>,
        permits: u32,
        options: impl Into<AcquireOptions>,
    ) -> Result<Permit, AcquireError> {
        let permit = self.worker.wait(self.redlock.acquire_permit(name, permits, options)).ok_or(WithinAsync)??;
        Ok(self.permit(permit))
    }

    /// Acquires a permit if one is free now: see [`crate::Redlock::try_acquire_permit`].
    ///
    /// # Errors
    ///
    /// The errors of [`crate::Redlock::try_acquire_permit`], and [`AcquireError::WithinAsync`].
    pub fn try_acquire_permit(
        &self,
        name: impl AsRef<str>,
        permits: u32,
        options: impl Into<AcquireOptions>,
    ) -> Result<Option<Permit>, AcquireError> {
        let permit = self.worker.wait(self.redlock.try_acquire_permit(name, permits, options)).ok_or(WithinAsync)??;
        Ok(permit.map(|permit| self.permit(permit)))
    }

    fn permit(&self, permit: crate::Permit) -> Permit {
        let slot = permit.slot();
        Permit::new(Lock::new(permit.into(), self.worker.clone()), slot)
    }

    /// Returns who holds the permits of a semaphore: see [`crate::Redlock::inspect_permits`].
    ///
    /// # Errors
    ///
    /// The errors of [`crate::Redlock::inspect_permits`], and [`InspectError::WithinAsync`].
    pub fn inspect_permits(&self, name: impl AsRef<str>) -> Result<PermitsInspection, InspectError> {
        self.worker.wait(self.redlock.inspect_permits(name)).ok_or(WithinAsync)?
    }

    /// Opens a new fleet that has a restart guard: see [`crate::Redlock::initialize`].
    ///
    /// # Errors
    ///
    /// The errors of [`crate::Redlock::initialize`], and [`InitializeError::WithinAsync`].
    pub fn initialize(&self) -> Result<(), InitializeError> {
        self.worker.wait(self.redlock.initialize()).ok_or(WithinAsync)?
    }

    /// Lists all locks that are held: see [`crate::Redlock::list`].
    ///
    /// # Errors
    ///
    /// The errors of [`crate::Redlock::list`], and [`InspectError::WithinAsync`].
    pub fn list(&self) -> Result<Listing, InspectError> {
        self.worker.wait(self.redlock.list()).ok_or(WithinAsync)?
    }

    /// Lists all locks that are held, and lets each node take up to `limit`: see [`crate::Redlock::list_within`].
    ///
    /// # Errors
    ///
    /// The errors of [`crate::Redlock::list_within`], and [`InspectError::WithinAsync`].
    pub fn list_within(&self, limit: Duration) -> Result<Listing, InspectError> {
        self.worker.wait(self.redlock.list_within(limit)).ok_or(WithinAsync)?
    }

    /// Returns what all nodes hold under one name: see [`crate::Redlock::inspect`].
    ///
    /// # Errors
    ///
    /// The errors of [`crate::Redlock::inspect`], and [`InspectError::WithinAsync`].
    pub fn inspect(&self, resource: impl AsRef<str>) -> Result<Inspection, InspectError> {
        self.worker.wait(self.redlock.inspect(resource)).ok_or(WithinAsync)?
    }

    /// Returns whether anybody holds the lock: see [`crate::Redlock::is_locked`].
    ///
    /// # Errors
    ///
    /// The errors of [`crate::Redlock::is_locked`], and [`InspectError::WithinAsync`].
    pub fn is_locked(&self, resource: impl AsRef<str>) -> Result<bool, InspectError> {
        self.worker.wait(self.redlock.is_locked(resource)).ok_or(WithinAsync)?
    }

    /// Returns how long the lock is still held: see [`crate::Redlock::remaining`].
    ///
    /// # Errors
    ///
    /// The errors of [`crate::Redlock::remaining`], and [`InspectError::WithinAsync`].
    pub fn remaining(&self, resource: impl AsRef<str>) -> Result<Option<Duration>, InspectError> {
        self.worker.wait(self.redlock.remaining(resource)).ok_or(WithinAsync)?
    }

    /// Reports the problems of the nodes: see [`crate::Redlock::check_nodes`].
    ///
    /// # Errors
    ///
    /// The errors of [`crate::Redlock::check_nodes`], and [`NodesError::WithinAsync`].
    pub fn check_nodes(&self) -> Result<NodesReport, NodesError> {
        self.worker.wait(self.redlock.check_nodes()).ok_or(WithinAsync)?
    }

    /// Locks and unlocks by name: see [`crate::Redlock::named`]. A name is unlocked by the thread that locked it.
    #[must_use = "each call gives one with locks of its own"]
    pub fn named(&self) -> NamedLocks {
        self.named_in(MapRegistry::default())
    }

    /// Locks and unlocks by name, with this registry: see [`crate::NamedLocks::new`].
    #[must_use]
    pub fn named_in(&self, registry: impl Registry) -> NamedLocks {
        NamedLocks::new(crate::NamedLocks::new(&self.redlock, registry), self.worker.clone())
    }

    /// Resumes a lock that another process has taken apart: see [`crate::Redlock::resume`].
    ///
    /// # Errors
    ///
    /// The errors of [`crate::Redlock::resume`], and [`ResumeError::WithinAsync`].
    pub fn resume(&self, parts: LockParts) -> Result<Lock, ResumeError> {
        let Some(runtime) = self.worker.may_wait() else {
            return Err(ResumeError::WithinAsync { parts: Box::new(parts) });
        };
        Ok(Lock::new(block_on(runtime, self.redlock.resume(parts))?, self.worker.clone()))
    }

    /// Waits until every lock that was released or dropped is released on all nodes: see [`crate::Redlock::close`].
    /// Without this call, the end of the process may cut off the releases of the locks that were dropped last.
    ///
    /// # Errors
    ///
    /// The errors of [`crate::Redlock::close`]. Also fails within async code.
    pub fn close(&self) -> Result<(), CloseError> {
        self.worker.wait(self.redlock.close()).ok_or(WithinAsync)?
    }

    /// Does the same in at most `limit`: see [`crate::Redlock::close_within`].
    ///
    /// # Errors
    ///
    /// The errors of [`crate::Redlock::close_within`]. Also fails within async code.
    pub fn close_within(&self, limit: Duration) -> Result<(), CloseError> {
        self.worker.wait(self.redlock.close_within(limit)).ok_or(WithinAsync)?
    }
}

impl TryFrom<crate::Redlock> for Redlock {
    type Error = BuildError;

    /// # Errors
    ///
    /// If the operating system does not start a thread.
    fn try_from(redlock: crate::Redlock) -> Result<Self, BuildError> {
        let worker = Worker::start().map_err(|error| BuildError::NoThread { error: error.to_string() })?;
        Ok(Self { redlock, worker })
    }
}
