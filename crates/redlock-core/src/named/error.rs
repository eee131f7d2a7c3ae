//! Why a name could not be unlocked.

use std::time::Duration;

use crate::{
    algorithm::Readable,
    names::{Named, Resource, ResourceError},
    report::{ReleaseError, WithinAsync},
};

/// A name could not be unlocked, or it is unknown whether it was. No other holder's lock was touched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnlockError {
    /// The caller has not locked it, or has unlocked it already.
    #[error("could not unlock {}: it is not locked here, or no longer; each `named()` has locks of its own", Named(.name))]
    NotLocked {
        /// The name that was to be unlocked.
        name: Resource,
    },
    /// Another task of this process holds it.
    #[error("could not unlock {}: another task holds it; unlock it there, or share it with `with_owner`", Named(.name))]
    HeldByAnother {
        /// The name that was to be unlocked.
        name: Resource,
    },
    /// The caller's lock had ended before it was unlocked: another holder may have had it since.
    #[error(
        "could not unlock {}: the lock had ended{} before; use a longer TTL, or auto-extend",
        Named(.name),
        .ago.map(|ago| format!(" {}", Readable(ago))).unwrap_or_default(),
    )]
    Expired {
        /// The name that was to be unlocked.
        name: Resource,
        /// How long ago it ended, unless it was lost before its validity ended.
        ago: Option<Duration>,
    },
    /// The registry has dropped the caller's lock while it was valid. Nothing was released: the TTL ends the lock.
    #[error("could not unlock {}: the registry has dropped it, the TTL ends it; give the registry more room", Named(.name))]
    Evicted {
        /// The name that was to be unlocked.
        name: Resource,
        /// How long the caller may still rely on it.
        left: Duration,
    },
    /// The name cannot be locked, so nobody holds it.
    #[error(transparent)]
    Resource(#[from] ResourceError),
    /// It is unknown whether the lock was released. The TTL ends it at the latest.
    #[error(transparent)]
    Release(#[from] ReleaseError),
    /// A blocking call was made within async code. The lock is kept as it was.
    #[error(transparent)]
    WithinAsync(#[from] WithinAsync),
}
