//! What a user asks of the distributed lock. How it is done is in `acquire.rs`, `extend.rs` and `release.rs`.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{
    acquire::Acquire,
    algorithm::Retry,
    background::CloseError,
    builder::{BuildError, RedlockBuilder},
    error::AcquireError,
    fleet::Fleet,
    lock::Lock,
    node::{LATE_LIMIT, LockNode},
    options::AcquireOptions,
    resource::Resource,
    resources::Resources,
};

/// The distributed lock over N independent Redis nodes. Cheap to clone; clones are one and the same.
///
/// ```
/// use std::time::Duration;
/// use redlock_core::Redlock;
/// use redlock_mock::MockNode; // or: use redlock_redis_rs::RedisNode; use redlock_fred::RedisNode;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let redlock = Redlock::new(MockNode::fleet(3))?;
///
/// let lock = redlock.acquire("invoice:42", Duration::from_secs(10)).await?;
/// assert!(lock.validity() > Duration::from_secs(9)); // how long the lock may be relied on
/// lock.release().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Redlock {
    pub(crate) fleet: Arc<Fleet>,
}

impl Redlock {
    /// A lock over these nodes, everything else by default. Sends nothing: nodes may still be down.
    ///
    /// # Errors
    ///
    /// If there are no nodes, or two of them have one name.
    pub fn new(nodes: impl IntoIterator<Item = impl LockNode>) -> Result<Self, BuildError> {
        Self::builder().nodes(nodes).build()
    }

    /// Sets more than the nodes.
    pub fn builder() -> RedlockBuilder {
        RedlockBuilder::default()
    }

    /// Takes the lock on `resource`, waiting while others hold it: for a ttl, or with [`AcquireOptions`].
    ///
    /// All nodes are asked at once, and the lock is taken the moment a quorum has granted: a hung or dead minority
    /// costs no time. A lost round is given back on all nodes and retried as the [`Retry`] policy says.
    ///
    /// # Errors
    ///
    /// [`AcquireError`] tells contended, no quorum, too slow and deadline apart, with every node's answer in the last
    /// round.
    ///
    /// # Cancel safety
    ///
    /// Dropped at any await point, the call gives back in the background what it has taken so far, on all nodes.
    ///
    /// # Panics
    ///
    /// If the runtime has no timers (`enable_time`).
    pub async fn acquire(
        &self,
        resource: impl AsRef<str>,
        options: impl Into<AcquireOptions>,
    ) -> Result<Lock, AcquireError> {
        Acquire::new(&self.fleet, Resource::new(resource)?, options.into())?.run().await
    }

    /// Takes the lock if it is free now: one round, no retry.
    ///
    /// # Errors
    ///
    /// As [`Redlock::acquire`]. [`AcquireError::Contended`] means that others hold it, or that another took some of
    /// the nodes at the same moment.
    ///
    /// # Cancel safety
    ///
    /// As [`Redlock::acquire`].
    ///
    /// # Panics
    ///
    /// As [`Redlock::acquire`].
    pub async fn try_acquire(
        &self,
        resource: impl AsRef<str>,
        options: impl Into<AcquireOptions>,
    ) -> Result<Lock, AcquireError> {
        let once = options.into().retry(Retry::never());
        Acquire::new(&self.fleet, Resource::new(resource)?, once)?.run().await
    }

    /// Locks all these resources in one atomic step, and waits while others hold any of them. The [`Lock`] is over all
    /// of them: extended and released together.
    ///
    /// Each node grants all of them or none, so calls whose resources overlap exclude each other. They never deadlock,
    /// in whatever order they list the names. Duplicates count once; at most [`Resources::MAX`] can be locked together.
    ///
    /// If one of them is locked, the call waits in the queue of each name, in the order of their bytes, and keeps the
    /// names whose turn has come locked while it waits for the next: for twice the TTL at most. So it does not starve
    /// next to calls for one of the names, and a task that holds one of them and waits for another gets it in the end.
    ///
    /// A node that is a Redis Cluster keeps them in one step only if they share a hash slot: give their names a common
    /// hash tag, as `{account}:from` and `{account}:to`.
    ///
    /// ```
    /// use std::time::Duration;
    /// use redlock_core::Redlock;
    /// use redlock_mock::MockNode;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let redlock = Redlock::new(MockNode::fleet(3))?;
    ///
    /// let lock = redlock.acquire_all(["account:7", "account:42"], Duration::from_secs(10)).await?;
    /// assert_eq!(lock.resources().len(), 2);
    ///
    /// // Neither is to be had by itself now.
    /// assert!(redlock.try_acquire("account:42", Duration::from_secs(10)).await.is_err());
    /// lock.release().await?; // both
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Redlock::acquire`]; and [`AcquireError::Resource`] if there are none or too many, [`AcquireError::Slots`] if
    /// a node is a cluster and they do not share a slot.
    ///
    /// # Cancel safety
    ///
    /// As [`Redlock::acquire`].
    ///
    /// # Panics
    ///
    /// As [`Redlock::acquire`].
    pub async fn acquire_all(
        &self,
        resources: impl IntoIterator<Item = impl AsRef<str>>,
        options: impl Into<AcquireOptions>,
    ) -> Result<Lock, AcquireError> {
        Acquire::new(&self.fleet, Resources::new(resources)?, options.into())?.run().await
    }

    /// Takes the lock on all these resources if they are free now: one round, no retry.
    ///
    /// # Errors
    ///
    /// As [`Redlock::acquire_all`]. [`AcquireError::Contended`] means that others hold at least one of them, or that
    /// another took some of the nodes at the same moment.
    ///
    /// # Cancel safety
    ///
    /// As [`Redlock::acquire`].
    ///
    /// # Panics
    ///
    /// As [`Redlock::acquire`].
    pub async fn try_acquire_all(
        &self,
        resources: impl IntoIterator<Item = impl AsRef<str>>,
        options: impl Into<AcquireOptions>,
    ) -> Result<Lock, AcquireError> {
        let once = options.into().retry(Retry::never());
        Acquire::new(&self.fleet, Resources::new(resources)?, once)?.run().await
    }

    /// Waits until every lock that was released or dropped is released on all nodes, and late answers have arrived. Call it
    /// before the process ends, and before you acquire a lock again that you have just dropped: a key that is not
    /// released blocks its resource until the TTL is over.
    ///
    /// Takes at most 15 s, and at most 2 s for a node that fails. The `Redlock` stays usable.
    ///
    /// # Errors
    ///
    /// [`CloseError::Unfinished`] if a node has not answered a release by then; it says how many. They are still sent
    /// again, for as long as the runtime lives. Fails too if the call is made outside a Tokio runtime, where it cannot wait.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe. If dropped, it stops waiting, and the work goes on.
    ///
    /// # Panics
    ///
    /// As [`Redlock::acquire`].
    pub async fn close(&self) -> Result<(), CloseError> {
        self.close_within(3 * LATE_LIMIT).await
    }

    /// [Closes](Self::close) in at most `limit`.
    ///
    /// # Errors
    ///
    /// As [`Redlock::close`].
    ///
    /// # Cancel safety
    ///
    /// As [`Redlock::close`].
    ///
    /// # Panics
    ///
    /// As [`Redlock::acquire`].
    pub async fn close_within(&self, limit: Duration) -> Result<(), CloseError> {
        self.fleet.listening.close();
        let fleet = &self.fleet;
        if fleet.background.is_idle() && !fleet.owes() {
            return Ok(());
        }
        let started = Instant::now();
        let finished = fleet.background.finish(limit).await;
        let owed = match finished {
            Err(CloseError::NoRuntime) => return finished,
            _ => fleet.settle(limit, started.elapsed()).await,
        };
        match finished {
            Ok(()) if owed.is_empty() => Ok(()),
            Ok(()) => Err(CloseError::Unfinished { tasks: 0, owed }),
            Err(CloseError::Unfinished { tasks, .. }) => Err(CloseError::Unfinished { tasks, owed }),
            error => error,
        }
    }
}

impl From<Fleet> for Redlock {
    fn from(fleet: Fleet) -> Self {
        Self { fleet: Arc::new(fleet) }
    }
}
