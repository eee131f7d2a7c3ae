//! The errors of acquiring, extending and releasing a lock.

use std::{fmt, sync::Arc, time::Duration};

use super::{permits_error::PermitsError, votes::Votes};
use crate::{
    algorithm::{AutoExtendError, Readable, RoundFailure, TtlError},
    names::{ResourceError, Resources, SlotsError},
    node::EntropyError,
};

/// A lock could not be acquired. Keys that were set on some of the nodes are being released in the background.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AcquireError {
    /// Others hold the lock, or several callers each got some of the nodes at the same time. All attempts have been
    /// made.
    #[error("could not lock {name}: held by others; {0}", name = .0.resources)]
    Contended(Box<Attempts>),
    /// Too many nodes failed for a quorum. All attempts have been made.
    #[error("could not lock {name}: too many nodes failed; {0}", name = .0.resources)]
    NoQuorum(Box<Attempts>),
    /// A quorum granted the lock, but nothing of the validity was left by then: the TTL is too short for these nodes,
    /// or this process was suspended. All attempts have been made.
    #[error("could not lock {name}: nothing was left of the TTL when a quorum had granted; {0}", name = .0.resources)]
    AcquiredTooLate(Box<Attempts>),
    /// The timeout passed. [`Attempts::failure`] says why the lock could not be acquired before.
    #[error("could not lock {name}: timed out; {0}", name = .0.resources)]
    TimedOut(Box<Attempts>),
    /// A resource name cannot be locked, or there are too many names. Nothing was sent.
    #[error(transparent)]
    Resource(#[from] ResourceError),
    /// A node is a Redis Cluster, which sets keys in one step only if they share a hash slot. Nothing was sent.
    #[error(transparent)]
    Slots(#[from] Box<SlotsError>),
    /// A semaphore cannot have this number of permits, or has another one.
    #[error(transparent)]
    Permits(#[from] PermitsError),
    /// A shared lock has no fencing token, but the options or the builder require one. Nothing was sent.
    #[error("a shared lock has no fencing token, and fencing is on: add `AcquireOptions::fencing(false)`")]
    SharedFencing,
    /// The TTL cannot be used. Nothing was sent.
    #[error(transparent)]
    Ttl(#[from] TtlError),
    /// The lock cannot be auto-extended with these settings. Nothing was sent.
    #[error(transparent)]
    AutoExtend(#[from] AutoExtendError),
    /// No random bytes are available for a token.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// The call was not made on a Tokio runtime. Nothing was sent.
    #[error("there is no Tokio runtime here: call acquire from a task of a runtime with time and io enabled")]
    NoRuntime,
    /// A blocking call was made within async code. Nothing was sent.
    #[error(transparent)]
    WithinAsync(#[from] WithinAsync),
}

impl AcquireError {
    /// Returns the attempts, if any were made.
    #[must_use]
    pub fn attempts(&self) -> Option<&Attempts> {
        match self {
            Self::Contended(tried) | Self::NoQuorum(tried) | Self::AcquiredTooLate(tried) | Self::TimedOut(tried) => {
                Some(tried)
            }
            _ => None,
        }
    }

    /// Returns whether others hold the lock: nothing is wrong, but this caller does not have it. Also true if the
    /// timeout passed while others held it.
    #[must_use]
    pub fn is_contended(&self) -> bool {
        self.attempts().is_some_and(|tried| tried.failure == RoundFailure::Contended)
    }
}

/// The attempts that were made before an [`AcquireError`].
#[derive(Debug)]
#[non_exhaustive]
pub struct Attempts {
    /// The requested resources.
    pub resources: Resources,
    /// The number of attempts, including the first one. See [`Retry::attempts`](crate::Retry::attempts).
    pub made: u32,
    /// How long they took, including pauses.
    pub elapsed: Duration,
    /// Why the last round failed that the timeout did not cut short, or the last round if the timeout cut all of them
    /// short.
    pub failure: RoundFailure,
    /// The answer of every node in that round.
    pub last_round: Box<Votes>,
}

impl fmt::Display for Attempts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let attempts = if self.made == 1 { "attempt" } else { "attempts" };
        write!(f, "{} {attempts} in {}; in the last {}", self.made, Readable(self.elapsed), self.last_round)
    }
}

/// A lock could not be extended. Unless a variant says otherwise, the lock remains valid for as long as before.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExtendError {
    /// The lock had ended before the extend was sent, and an extend never revives it.
    /// [`Lock::check`](crate::Lock::check) reports how it ended.
    #[error("the lock on {} had ended before it was extended", .resources)]
    Expired {
        /// The locked resources.
        resources: Resources,
    },
    /// A quorum of the nodes no longer holds the lock: they had lost the key, or hold another token. The validity has
    /// ended.
    #[error("the lock on {} is lost; {votes}", .resources)]
    Lost {
        /// The locked resources.
        resources: Resources,
        /// The answer of every node.
        votes: Arc<Votes>,
    },
    /// Too few nodes extended the lock. It remains locked until its validity ends; try again before that.
    #[error("the lock on {} could not be extended: no quorum; {votes}", .resources)]
    NoQuorum {
        /// The locked resources.
        resources: Resources,
        /// The answer of every node.
        votes: Arc<Votes>,
    },
    /// A quorum extended the lock, but the validity had ended by then, so another may have held the lock in between.
    #[error("the lock on {} expired while it was extended; {votes}", .resources)]
    ExtendedTooLate {
        /// The locked resources.
        resources: Resources,
        /// The answer of every node.
        votes: Arc<Votes>,
    },
    /// The TTL cannot be used. Nothing was sent.
    #[error(transparent)]
    Ttl(#[from] TtlError),
    /// The call was not made on a Tokio runtime. Nothing was sent.
    #[error("there is no Tokio runtime here: call extend from a task of a runtime")]
    NoRuntime,
    /// A blocking call was made within async code. Nothing was sent.
    #[error(transparent)]
    WithinAsync(#[from] WithinAsync),
}

impl ExtendError {
    /// Returns what every node answered, if they were queried.
    #[must_use]
    pub fn votes(&self) -> Option<&Votes> {
        match self {
            Self::Lost { votes, .. } | Self::NoQuorum { votes, .. } | Self::ExtendedTooLate { votes, .. } => {
                Some(votes)
            }
            Self::Expired { .. } | Self::Ttl(_) | Self::NoRuntime | Self::WithinAsync(_) => None,
        }
    }
}

/// It is unknown whether a lock was released. It ends with its TTL at the latest.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReleaseError {
    /// Too few nodes answered to know. The release is still being sent to the others in the background.
    #[error("unknown whether the lock on {} was released; its TTL ends it; {votes}", .resources)]
    Unknown {
        /// The locked resources.
        resources: Resources,
        /// The answer of every node.
        votes: Box<Votes>,
    },
    /// The call was not made on a Tokio runtime. The lock is released in the background, as if it were dropped.
    #[error("there is no Tokio runtime here: call release from a task of a runtime; the lock was dropped")]
    NoRuntime,
    /// A blocking call was made within async code. The lock is released in the background, as if it were dropped.
    #[error(transparent)]
    WithinAsync(#[from] WithinAsync),
}

impl ReleaseError {
    /// Returns what every node answered, if they were queried.
    #[must_use]
    pub fn votes(&self) -> Option<&Votes> {
        match self {
            Self::Unknown { votes, .. } => Some(votes),
            Self::NoRuntime | Self::WithinAsync(_) => None,
        }
    }
}

/// A blocking call was made within async code, whose runtime it would block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a blocking call within async code would stop its runtime: make it in `tokio::task::spawn_blocking`, or use the \
     async `redlock_core::Redlock`"
)]
#[non_exhaustive]
pub struct WithinAsync;
