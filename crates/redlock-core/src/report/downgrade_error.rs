//! Why an exclusive lock did not become a shared one.

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
    /// The lock is a shared one already. Nothing was sent.
    #[error("the lock on {} is already shared", .resources)]
    AlreadyShared {
        /// What is locked.
        resources: Resources,
    },
    /// The lock is a permit, whose slot has one holder. Nothing was sent.
    #[error("the permit of {} cannot be shared: its slot has one holder", .resources)]
    Permit {
        /// The name of the semaphore.
        resources: Resources,
    },
    /// Too few nodes confirmed. The lock is shared anyway, until its validity ends; nodes that missed the
    /// downgrade keep other readers out until the next extend.
    #[error("the lock on {} is shared now, but too few nodes confirmed it: extend it soon; {votes}", .resources)]
    NoQuorum {
        /// What is locked.
        resources: Resources,
        /// What every node answered.
        votes: Arc<Votes>,
    },
    /// The call was not made on a Tokio runtime. Nothing was sent, and the lock is exclusive still.
    #[error("there is no tokio runtime here: call downgrade from a task of a runtime")]
    NoRuntime,
    /// A blocking call was made within async code. Nothing was sent.
    #[error(transparent)]
    WithinAsync(#[from] WithinAsync),
}
