//! The distributed lock: acquires locks, resumes those of other processes, and waits for releases.

pub(super) mod builder;
mod lead;
mod permits;
pub(super) mod using;

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{lock::Lock, options::AcquireOptions};
use crate::{
    algorithm::Retry,
    driver::{Acquire, Fleet, resume},
    names::{ResourceError, Resources},
    node::LATE_LIMIT,
    report::{AcquireError, CloseError, LockParts, ResumeError},
};

/// The distributed lock over N independent Redis nodes. Cheap to clone; clones share everything.
///
/// ```
/// use std::time::Duration;
/// use redlock_core::{Redlock, Release};
/// use redlock_mock::MockNode; // or: use redlock_redis_rs::RedisNode; use redlock_fred::RedisNode;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let redlock = Redlock::new(MockNode::fleet(3))?;
///
/// let lock = redlock.acquire("invoice:42", Duration::from_secs(10)).await?;
/// assert!(lock.validity() > Duration::from_secs(9)); // how long the lock may be relied on
/// assert_eq!(lock.release().await?, Release::Released);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Redlock {
    pub(crate) fleet: Arc<Fleet>,
}

impl Redlock {
    /// Acquires the lock on a resource or on several, waiting while others hold it. The options are a TTL, or
    /// [`AcquireOptions`].
    ///
    /// Sends to all nodes at once, and the lock is acquired as soon as a quorum has granted it: a minority that is hung
    /// or down costs no time. After a failed round, the call releases what it has set on the nodes, and tries again as
    /// the [`Retry`] policy says.
    ///
    /// # Several resources
    ///
    /// A list of names locks all of them in one atomic step. Each node grants all or none, so calls whose resources
    /// overlap exclude each other, and never deadlock, in whatever order they list the names. Duplicates count once; at
    /// most [`Resources::MAX`] can be locked together. The [`Lock`] covers all of them: they are extended and released
    /// together.
    ///
    /// If one of them is locked, the call waits in the queue of each name, in the order of their bytes, and keeps the
    /// names whose turn has come locked while it waits for the next: for twice the TTL at most. So it does not starve
    /// next to calls for one of the names, and a task that holds one of them and waits for another gets it in the end.
    ///
    /// A node that is a Redis Cluster grants them in one step only if they share a hash slot: give their names a common
    /// hash tag, for example `{account}:from` and `{account}:to`.
    ///
    /// ```
    /// use std::time::Duration;
    /// use redlock_core::{Redlock, Release};
    /// use redlock_mock::MockNode;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let redlock = Redlock::new(MockNode::fleet(3))?;
    ///
    /// let lock = redlock.acquire(["account:7", "account:42"], Duration::from_secs(10)).await?;
    /// assert_eq!(lock.resources().len(), 2);
    ///
    /// // Neither can be locked by itself now.
    /// assert!(redlock.try_acquire("account:42", Duration::from_secs(10)).await?.is_none());
    /// assert_eq!(lock.release().await?, Release::Released); // both
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`AcquireError`] distinguishes contended, no quorum, too late and timed out, with every node's answer in the
    /// last round. [`AcquireError::Resource`] if a name cannot be locked, or there are none or too many;
    /// [`AcquireError::Slots`] if a node is a cluster and the names do not share a slot.
    ///
    /// # Cancel safety
    ///
    /// If dropped at any await point, the call releases in the background what it has set so far, on all nodes.
    ///
    /// # Panics
    ///
    /// If the runtime has no timers (`enable_time`).
    pub async fn acquire(
        &self,
        resources: impl TryInto<Resources, Error: Into<ResourceError>>,
        options: impl Into<AcquireOptions>,
    ) -> Result<Lock, AcquireError> {
        self.call(Resources::of(resources)?, options.into())?.run().await.map(Lock::from)
    }

    /// Acquires the lock if it is free now: one round, no retry. Returns `None` if too many nodes refused. Then another
    /// call holds the lock or one of its resources, or got some of the nodes at the same moment.
    ///
    /// [`Redlock::acquire`] with [`Retry::never`] does the same, and reports what each node answered then.
    ///
    /// # Errors
    ///
    /// The errors of [`Redlock::acquire`], except [`AcquireError::Contended`]. A [timeout](AcquireOptions::timeout)
    /// that ends the round is [`AcquireError::TimedOut`], also if nodes had refused by then.
    ///
    /// # Cancel safety
    ///
    /// Like [`Redlock::acquire`].
    ///
    /// # Panics
    ///
    /// Like [`Redlock::acquire`].
    pub async fn try_acquire(
        &self,
        resources: impl TryInto<Resources, Error: Into<ResourceError>>,
        options: impl Into<AcquireOptions>,
    ) -> Result<Option<Lock>, AcquireError> {
        let once = options.into().retry(Retry::never());
        match self.call(Resources::of(resources)?, once)?.run().await {
            Ok(held) => Ok(Some(held.into())),
            Err(AcquireError::Contended(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Acquires a shared lock, waiting while a writer holds it. Many readers may hold it at the same time, but no
    /// [exclusive](Self::acquire) holder next to them. The same as [`AcquireOptions::shared`].
    ///
    /// A waiting writer comes before readers that arrive later, so that it does not starve: see
    /// [waiting](crate::guide::shared_locks#waiting). So a task that has a shared lock must not acquire the same one
    /// again. If a writer waits, the second call queues behind the writer, and the writer waits for the first lock,
    /// until a timeout ends one of the calls.
    ///
    /// ```
    /// use std::time::Duration;
    /// use redlock_core::Redlock;
    /// use redlock_mock::MockNode;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let redlock = Redlock::new(MockNode::fleet(3))?;
    /// let TTL = Duration::from_secs(10);
    ///
    /// let one = redlock.acquire_shared("report", TTL).await?;
    /// let other = redlock.acquire_shared("report", TTL).await?;
    /// assert!(redlock.try_acquire("report", TTL).await?.is_none()); // no writer beside readers
    /// # let _ = (one.release().await?, other.release().await?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The errors of [`Redlock::acquire`], and [`AcquireError::SharedFencing`] if fencing is on. The user of a node
    /// needs the [permissions](crate::guide::servers) for shared locks.
    ///
    /// # Cancel safety
    ///
    /// Like [`Redlock::acquire`].
    ///
    /// # Panics
    ///
    /// Like [`Redlock::acquire`].
    pub async fn acquire_shared(
        &self,
        resources: impl TryInto<Resources, Error: Into<ResourceError>>,
        options: impl Into<AcquireOptions>,
    ) -> Result<Lock, AcquireError> {
        self.acquire(resources, options.into().shared()).await
    }

    /// Acquires a shared lock if no writer holds it or waits for it: one round, no retry.
    ///
    /// # Errors
    ///
    /// The errors of [`Redlock::try_acquire`] and [`Redlock::acquire_shared`].
    ///
    /// # Cancel safety
    ///
    /// Like [`Redlock::acquire`].
    ///
    /// # Panics
    ///
    /// Like [`Redlock::acquire`].
    pub async fn try_acquire_shared(
        &self,
        resources: impl TryInto<Resources, Error: Into<ResourceError>>,
        options: impl Into<AcquireOptions>,
    ) -> Result<Option<Lock>, AcquireError> {
        self.try_acquire(resources, options.into().shared()).await
    }

    /// Resumes a lock that another process has [taken apart](Lock::into_parts), over the same nodes and with the same
    /// [key prefix](crate::RedlockBuilder::key_prefix).
    ///
    /// Clocks of different processes cannot be compared, so the call queries the nodes. The lock is resumed if a quorum
    /// of them still holds it, for all its resources: then nobody else has held it since it was taken apart. Its
    /// validity is the time for which a quorum holds it, less drift, counted from this call.
    ///
    /// It can be extended and released as before. It is not extended automatically until you call
    /// [`Lock::auto_extend`], and the longest lifetime then counts from this call.
    ///
    /// ```
    /// use std::time::Duration;
    /// use redlock_core::{AutoExtend, LockParts, Redlock, Release};
    /// use redlock_mock::MockNode;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let nodes = MockNode::fleet(3);
    /// # let (here, there) = (Redlock::new(nodes.clone())?, Redlock::new(nodes)?);
    /// // In the process that accepts the job:
    /// let lock = here.acquire("invoice:42", Duration::from_secs(30)).await?;
    /// let parts = lock.into_parts().await?;
    /// let (secret, ttl) = (parts.token().as_str(), parts.ttl()); // to be sent, by this or with serde
    ///
    /// // In the process that does the job:
    /// let parts = LockParts::new(["invoice:42"], secret, ttl)?;
    /// let mut lock = there.resume(parts).await?;
    /// lock.auto_extend(AutoExtend::default())?;
    /// assert_eq!(lock.release().await?, Release::Released);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ResumeError`] distinguishes a lock that is lost, which is then released wherever a key of it remains, from one
    /// about which too little is known. That one is left as it is and can be resumed again.
    ///
    /// # Cancel safety
    ///
    /// If dropped, it has no effect: the lock is left as it is, and its TTL ends it unless another process resumes it.
    /// It needs no timeout around it: it returns within the node timeout.
    ///
    /// # Panics
    ///
    /// If the runtime has no timers (`enable_time`).
    pub async fn resume(&self, parts: LockParts) -> Result<Lock, ResumeError> {
        resume(&self.fleet, parts).await.map(Lock::from)
    }

    /// Waits until every lock that was released or dropped is released on all nodes, and late answers have arrived.
    /// Call it before the process ends, and before you acquire a lock again that you have just dropped: a key that is
    /// not released blocks its resource until the TTL is over.
    ///
    /// Takes at most 15 s, and at most 2 s for a node that fails. The `Redlock` stays usable.
    ///
    /// # Errors
    ///
    /// [`CloseError::Unfinished`] if a node has not answered a release by then; the error says how many releases. They
    /// are still repeated for as long as the runtime lives. Also fails if the call is made outside a Tokio runtime,
    /// where it cannot wait.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe. If dropped, it stops waiting, and the work continues.
    ///
    /// # Panics
    ///
    /// Like [`Redlock::acquire`].
    pub async fn close(&self) -> Result<(), CloseError> {
        self.close_within(3 * LATE_LIMIT).await
    }

    /// [Closes](Self::close) in at most `limit`.
    ///
    /// # Errors
    ///
    /// Like [`Redlock::close`].
    ///
    /// # Cancel safety
    ///
    /// Like [`Redlock::close`].
    ///
    /// # Panics
    ///
    /// Like [`Redlock::acquire`].
    pub async fn close_within(&self, limit: Duration) -> Result<(), CloseError> {
        self.fleet.subscriptions.close();
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

impl Redlock {
    /// Prepares one call to acquire, with these options.
    fn call(&self, resources: Resources, options: AcquireOptions) -> Result<Acquire<'_>, AcquireError> {
        let AcquireOptions { ttl, auto_extend, fencing, is_shared, .. } = options;
        let retry = options.policy(&self.fleet.retry);
        Acquire::new(&self.fleet, resources, ttl, retry, auto_extend, fencing, is_shared)
    }
}

impl From<Fleet> for Redlock {
    fn from(fleet: Fleet) -> Self {
        Self { fleet: Arc::new(fleet) }
    }
}

const _: fn() = || {
    fn is_send_sync<T: Send + Sync>() {}
    is_send_sync::<Lock>();
    is_send_sync::<Redlock>();
    is_send_sync::<AcquireError>();
};
