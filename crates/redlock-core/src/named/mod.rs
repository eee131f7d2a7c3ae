//! Locks by name, for code that cannot carry a [`Lock`](crate::Lock) from where it locks to where it unlocks.
//!
//! Prefer a [`Lock`](crate::Lock), or [`Redlock::using`](crate::Redlock::using), wherever you can. Neither can be
//! confused with the lock of another task, and both are released when their task ends. With a name, everything depends
//! on which task makes the call.
//!
//! ```
//! use std::time::Duration;
//! use redlock_core::{Redlock, Release, UnlockError};
//! use redlock_mock::MockNode;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let redlock = Redlock::new(MockNode::fleet(3))?;
//! let named = redlock.named(); // one for the whole process: clone it
//!
//! let validity = named.lock("invoice:42", Duration::from_secs(10)).await?;
//! assert!(validity > Duration::from_secs(9));
//!
//! // Only the task that locked a name unlocks it.
//! let elsewhere = named.clone();
//! let error = tokio::spawn(async move { elsewhere.unlock("invoice:42").await }).await?.unwrap_err();
//! assert!(matches!(error, UnlockError::HeldByAnother { .. }));
//!
//! assert_eq!(named.unlock("invoice:42").await?, Release::Released);
//! # Ok(())
//! # }
//! ```
//!
//! # Whose lock it is
//! A lock belongs to the task that locked it, and outside of tasks to the thread. Code that `block_on` runs, and so the
//! body of `#[tokio::main]`, is outside of tasks. Futures that run side by side *within* one task (`join!`, `select!`,
//! streams) are one and the same holder, and so must not share names. For them, for work that locks in one task and
//! unlocks in another, and for executors that move work between threads, use [`NamedLocks::with_owner`].
//!
//! Nothing is reentrant: a task that locks a name twice waits for itself as it would for any other holder.
//!
//! # What a registry does
//!
//! The held locks are in a [`Registry`] in memory: a [`MapRegistry`], or a `BoundedRegistry` (feature
//! `bounded-registry`). A registry may drop any entry at any time. That never releases the lock: the caller that locked
//! it may rely on it for its whole validity, and then the TTL ends it. Unlocking such a lock returns
//! [`UnlockError::Expired`] or [`UnlockError::Evicted`].

mod locks;
mod error;

mod registry;
mod map;
#[cfg(feature = "bounded-registry")]
mod bounded;

mod entry;
mod key;
mod ledger;
mod departures;

#[cfg(feature = "bounded-registry")]
pub use self::bounded::BoundedRegistry;
pub use self::{entry::Entry, error::UnlockError, key::Key, locks::NamedLocks, map::MapRegistry, registry::Registry};
