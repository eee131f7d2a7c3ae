//! The error that says why a lock is no longer valid.

use std::sync::Arc;

use super::{error::ExtendError, votes::Votes};
use crate::names::Resources;

/// Why a lock can no longer be relied on.
///
/// Another may hold it now. Stop the work that the lock protects, and do not undo anything under it.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum LockLost {
    /// The validity has ended: the lock was not extended in time, or not at all.
    #[error("the lock on {} is lost: its validity has ended{}", .resources, why(.last_extend.as_deref()))]
    Expired {
        /// The locked resources.
        resources: Resources,
        /// Why it could not be extended automatically, if that was tried and failed.
        #[source]
        last_extend: Option<Arc<ExtendError>>,
    },
    /// The lock was auto-extended up to its [maximum lifetime](crate::AutoExtend::max_lifetime), and then its validity
    /// ended.
    #[error("the lock on {} is lost: its longest lifetime is over; raise `max_lifetime`", .resources)]
    LifetimeOver {
        /// The locked resources.
        resources: Resources,
    },
    /// A quorum of the nodes no longer holds it: the key was deleted or lost there, or belongs to another.
    #[error("the lock on {} is lost; {votes}", .resources)]
    NotHeld {
        /// The locked resources.
        resources: Resources,
        /// The answer of every node.
        votes: Arc<Votes>,
    },
    /// The lock was released or dropped.
    #[error("the lock on {} was released", .resources)]
    Released {
        /// The locked resources.
        resources: Resources,
    },
    /// The lock was transferred to another process, with [`Lock::into_parts`](crate::Lock::into_parts).
    #[error("the lock on {} was transferred to another process", .resources)]
    Transferred {
        /// The locked resources.
        resources: Resources,
    },
}

/// Returns why the lock was not extended in time, if that was tried. The source of the error says more.
fn why(last_extend: Option<&ExtendError>) -> &'static str {
    match last_extend {
        None => "",
        Some(ExtendError::NoQuorum { .. }) => "; no quorum extended it",
        Some(ExtendError::ExtendedTooLate { .. } | ExtendError::Expired { .. }) => "; it was extended too late",
        Some(ExtendError::Lost { .. }) => "; a quorum does not hold it",
        Some(_) => "; it could not be extended",
    }
}

impl LockLost {
    /// Returns the locked resources.
    #[must_use]
    pub fn resources(&self) -> &Resources {
        match self {
            Self::Expired { resources, .. }
            | Self::LifetimeOver { resources }
            | Self::NotHeld { resources, .. }
            | Self::Released { resources }
            | Self::Transferred { resources } => resources,
        }
    }
}
