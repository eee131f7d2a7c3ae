//! The error of resuming a lock of another process.

use super::{error::WithinAsync, lock_parts::LockParts, votes::Votes};
use crate::{
    algorithm::TtlError,
    names::{ResourceError, Resources, SlotsError},
};

/// A lock of another process could not be resumed in this one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResumeError {
    /// A quorum of the nodes no longer holds the lock: it expired, was released, or belongs to another holder. Keys
    /// that remain are released in the background.
    #[error("the lock on {} is lost and was not resumed; {votes}", .resources)]
    Lost {
        /// The resources that were locked.
        resources: Resources,
        /// The answer of every node.
        votes: Box<Votes>,
    },
    /// A quorum still held the lock, but nothing was left of its validity. It is released in the background.
    #[error("the lock on {} expired before it was resumed; {votes}", .resources)]
    Expired {
        /// The resources that were locked.
        resources: Resources,
        /// The answer of every node.
        votes: Box<Votes>,
    },
    /// Too few nodes answered to know whether the lock is still held. Nothing was released: try again before its TTL
    /// ends.
    #[error(
        "unknown whether the lock on {} is still held; nothing was released, it can be resumed again; {votes}",
        .parts.resources()
    )]
    TooFewAnswers {
        /// The lock, to be resumed again.
        parts: Box<LockParts>,
        /// The answer of every node.
        votes: Box<Votes>,
    },
    /// A resource name cannot be locked with the key prefix here. Nothing was sent.
    #[error("the lock cannot be resumed here: {reason}")]
    Resource {
        /// The lock, to be resumed again.
        parts: Box<LockParts>,
        /// The reason.
        reason: ResourceError,
    },
    /// A node is a Redis Cluster, and the resources are in several of its hash slots. Nothing was sent.
    #[error("the lock cannot be resumed here: {reason}")]
    Slots {
        /// The lock, to be resumed again.
        parts: Box<LockParts>,
        /// The slots.
        reason: Box<SlotsError>,
    },
    /// The lock's TTL cannot be used with this node timeout. Nothing was sent.
    #[error("the lock cannot be resumed here: {reason}")]
    Ttl {
        /// The lock, to be resumed again.
        parts: Box<LockParts>,
        /// The reason.
        reason: TtlError,
    },
    /// The call was not made on a Tokio runtime. Nothing was sent.
    #[error("there is no Tokio runtime here: call resume from a task of a runtime with time and io enabled")]
    NoRuntime {
        /// The lock, to be resumed again.
        parts: Box<LockParts>,
    },
    /// A blocking call was made within async code. Nothing was sent.
    #[error("{WithinAsync}")]
    WithinAsync {
        /// The lock, to be resumed again.
        parts: Box<LockParts>,
    },
}

impl ResumeError {
    /// Returns the lock, so that it can be resumed again, unless it is known to be lost.
    #[must_use]
    pub fn into_parts(self) -> Option<LockParts> {
        match self {
            Self::TooFewAnswers { parts, .. }
            | Self::Resource { parts, .. }
            | Self::Slots { parts, .. }
            | Self::Ttl { parts, .. }
            | Self::NoRuntime { parts }
            | Self::WithinAsync { parts } => Some(*parts),
            Self::Lost { .. } | Self::Expired { .. } => None,
        }
    }

    /// Returns what every node answered, if they were queried.
    #[must_use]
    pub fn votes(&self) -> Option<&Votes> {
        match self {
            Self::Lost { votes, .. } | Self::Expired { votes, .. } | Self::TooFewAnswers { votes, .. } => Some(votes),
            Self::Resource { .. }
            | Self::Slots { .. }
            | Self::Ttl { .. }
            | Self::NoRuntime { .. }
            | Self::WithinAsync { .. } => None,
        }
    }
}
