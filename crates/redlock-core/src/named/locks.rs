//! The API of locks by name.

use std::{fmt, sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream};

use super::{Entry, Key, MapRegistry, Registry, UnlockError, key::Caller, ledger::Ledger};
use crate::{
    api::{AcquireOptions, Lock, Redlock, Release},
    names::{Resource, ResourceError},
    report::{AcquireError, LockLost, ReleaseError},
};

/// Locks and unlocks by name. Cheap to clone; clones share their locks.
///
/// The [module's page](super) explains to which caller a lock belongs, and what a registry does.
#[derive(Clone)]
pub struct NamedLocks {
    redlock: Redlock,
    registry: Arc<dyn Registry>,
    ledger: Arc<Ledger>,
    /// The label for which this locks and unlocks. `None`: the calling task.
    label: Option<Arc<str>>,
}

impl Redlock {
    /// Locks and unlocks by name, with a default [`MapRegistry`].
    ///
    /// Each call returns one with separate locks. They are left to their TTL when it and its clones are dropped: keep
    /// it for as long as the `Redlock`.
    ///
    /// ```
    /// use std::time::Duration;
    /// use redlock_core::{Redlock, Release};
    /// use redlock_mock::MockNode;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let named = Redlock::new(MockNode::fleet(3))?.named();
    /// named.lock("invoice:42", Duration::from_secs(10)).await?;
    /// assert_eq!(named.unlock("invoice:42").await?, Release::Released);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use = "each call gives one with locks of its own"]
    pub fn named(&self) -> NamedLocks {
        NamedLocks::new(self, MapRegistry::default())
    }
}

impl NamedLocks {
    /// The number of locks that [`NamedLocks::release_all`] releases at the same time.
    const AT_ONCE: usize = 256;

    /// Locks and unlocks by name, with this registry for the held locks.
    #[must_use]
    pub fn new(redlock: &Redlock, registry: impl Registry) -> Self {
        Self { redlock: redlock.clone(), registry: Arc::new(registry), ledger: Arc::default(), label: None }
    }

    /// Locks and unlocks for this label instead of for the calling task: for code that locks in one task and unlocks in
    /// another. The locks are shared with `self`.
    ///
    /// ```
    /// use std::time::Duration;
    /// use redlock_core::Redlock;
    /// use redlock_mock::MockNode;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let named = Redlock::new(MockNode::fleet(3))?.named();
    ///
    /// let begins = named.with_owner("order 7");
    /// tokio::spawn(async move { begins.lock("invoice:42", Duration::from_secs(10)).await }).await??;
    ///
    /// let ends = named.with_owner("order 7");
    /// tokio::spawn(async move { ends.unlock("invoice:42").await }).await??;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn with_owner(&self, label: impl AsRef<str>) -> Self {
        Self { label: Some(label.as_ref().into()), ..self.clone() }
    }

    /// Acquires the lock on `name` for the calling task, waiting while others hold it, and returns how long you may
    /// rely on it from now. Takes a TTL or [`AcquireOptions`]. With [`AcquireOptions::auto_extend`] it is extended
    /// until it is unlocked, for the longest lifetime at most, even if its task ends without unlocking it.
    ///
    /// # Errors
    ///
    /// The errors of [`Redlock::acquire`].
    ///
    /// # Cancel safety
    ///
    /// Like [`Redlock::acquire`]: if dropped, it has locked nothing.
    ///
    /// # Panics
    ///
    /// Like [`Redlock::acquire`].
    pub async fn lock(
        &self,
        name: impl AsRef<str>,
        options: impl Into<AcquireOptions>,
    ) -> Result<Duration, AcquireError> {
        let options = options.into();
        let key = self.key(name)?;
        let longest = options.auto_extend.map(|auto_extend| auto_extend.longest(options.ttl)).unwrap_or_default();

        let lock = self.redlock.acquire(key.name().as_str(), options).await?;

        // Nothing is awaited from here on: a call that is dropped before has no entry, and its lock is released.
        let (now, validity) = (self.now(), lock.validity());
        let ends = now.saturating_add(longest.max(validity));
        self.registry.keep(Entry::new(key, lock, ends, &self.ledger), now);
        Ok(validity)
    }

    /// Releases the calling task's lock on `name`, and returns whether it was still held, like [`Lock::release`].
    ///
    /// Never touches another lock: neither that of another task, nor one that the same task acquires meanwhile.
    ///
    /// # Errors
    ///
    /// [`UnlockError`] distinguishes why the task has no such lock from a release that too few nodes answered.
    ///
    /// # Cancel safety
    ///
    /// If dropped, the release continues in the background.
    ///
    /// # Panics
    ///
    /// Like [`Lock::release`].
    pub async fn unlock(&self, name: impl AsRef<str>) -> Result<Release, UnlockError> {
        let key = self.key(name)?;
        // Remove it before anything is sent: an entry that exists after that belongs to a newer lock.
        let lock = self.take(&key)?;
        Ok(lock.release().await?)
    }

    /// Returns how long the calling task may rely on its lock on `name` from now; zero if it has none.
    ///
    /// Reads the clock, and sends nothing.
    #[must_use]
    pub fn validity(&self, name: impl AsRef<str>) -> Duration {
        self.key(name).map_or(Duration::ZERO, |key| self.ledger.validity(&key, self.now()))
    }

    /// Releases all locks that are kept now, of all tasks, and returns the outcome of each, in the order of their
    /// names. For the end of the process, before [`Redlock::close`].
    ///
    /// Releases 256 at a time, each of which takes the node timeout at most.
    ///
    /// ```
    /// use std::time::Duration;
    /// use redlock_core::{Redlock, Release};
    /// use redlock_mock::MockNode;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let named = Redlock::new(MockNode::fleet(3))?.named();
    /// named.lock("invoice:42", Duration::from_secs(10)).await?;
    /// for (name, outcome) in named.release_all().await {
    ///     println!("{name}: {outcome:?}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// For each lock, the errors of [`Lock::release`].
    ///
    /// # Cancel safety
    ///
    /// If dropped, the remaining locks are released in the background.
    ///
    /// # Panics
    ///
    /// Like [`Lock::release`].
    pub async fn release_all(&self) -> Vec<(Resource, Result<Release, ReleaseError>)> {
        // Convert them to locks at once: locks that are dropped are released, and entries are not.
        let entries = self.registry.take_all().into_iter();
        let locks: Vec<_> =
            entries.filter_map(|entry| Some((entry.key().name().clone(), entry.into_lock()?))).collect();
        let releases = locks.into_iter().map(|(name, lock)| async { (name, lock.release().await) });
        let mut outcomes: Vec<_> = stream::iter(releases).buffer_unordered(Self::AT_ONCE).collect().await;
        outcomes.sort_by(|(one, _), (other, _)| one.cmp(other));
        outcomes
    }

    /// Returns the number of locks that are kept, of all tasks: those that are held, and those that ended without being
    /// unlocked and that the registry has not dropped yet.
    #[must_use]
    pub fn count(&self) -> usize {
        self.registry.count()
    }

    /// Removes a lock that is still worth a release.
    fn take(&self, key: &Key) -> Result<Lock, UnlockError> {
        let now = self.now();
        let Some(lock) = self.registry.take(key, now).and_then(Entry::into_lock) else {
            return Err(self.ledger.why_not(key, now));
        };
        match lock.check() {
            // It is dropped here, and so released in the background: nobody has to wait for a lock that is lost.
            Err(LockLost::Expired { .. } | LockLost::LifetimeOver { .. }) => {
                let ago = now.checked_sub(lock.held.shared().validity.deadline());
                Err(UnlockError::Expired { name: key.name().clone(), ago })
            }
            _ => Ok(lock),
        }
    }

    fn key(&self, name: impl AsRef<str>) -> Result<Key, ResourceError> {
        let caller = self.label.as_ref().map_or_else(Caller::current, |label| Caller::Label(Arc::clone(label)));
        Ok(Key::new(Resource::new(name)?, caller))
    }

    fn now(&self) -> Duration {
        self.redlock.fleet.clock.now()
    }
}

impl fmt::Debug for NamedLocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { redlock: _, registry, ledger, label } = self;
        let mut named = f.debug_struct("NamedLocks");
        named.field("registry", registry).field("ledger", ledger).field("label", label).finish_non_exhaustive()
    }
}

const _: fn() = || {
    fn is_send_sync<T: Send + Sync>() {}
    is_send_sync::<NamedLocks>();
    is_send_sync::<UnlockError>();
};
