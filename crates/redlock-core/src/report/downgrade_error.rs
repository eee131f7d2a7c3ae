//! The error of downgrading an exclusive lock to a shared one.

use std::sync::Arc;

use super::{error::WithinAsync, lock_lost::LockLost, votes::Votes};
use crate::names::Resources;

/// An exclusive lock could not be downgraded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DowngradeError {
    /// The lock is lost: it is neither exclusive nor shared.
    #[error("not downgraded: {0}")]
    Lost(LockLost),
    /// The lock is already shared. Nothing was sent.
    #[error("the lock on {} is already shared", .resources)]
    AlreadyShared {
        /// The locked resources.
        resources: Resources,
    },
    /// The lock is a permit, whose slot cannot be shared. Nothing was sent.
    #[error("the permit of {} cannot be shared: its slot has one holder", .resources)]
    Permit {
        /// The name of the semaphore.
        resources: Resources,
    },
    /// Too few nodes confirmed. The lock is shared anyway, until its validity ends; nodes that missed the downgrade
    /// keep other readers out until the next extend.
    #[error("the lock on {} is shared now, but too few nodes confirmed it: extend it soon; {votes}", .resources)]
    NoQuorum {
        /// The locked resources.
        resources: Resources,
        /// The answer of every node.
        votes: Arc<Votes>,
    },
    /// The call was not made on a Tokio runtime. Nothing was sent, and the lock is still exclusive.
    #[error("there is no Tokio runtime here: call downgrade from a task of a runtime")]
    NoRuntime,
    /// A blocking call was made within async code. Nothing was sent.
    #[error(transparent)]
    WithinAsync(#[from] WithinAsync),
}
