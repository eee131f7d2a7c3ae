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
    /// A quorum of the nodes no longer holds it: it expired, was released, or belongs to another. What is left of it is
    /// released in the background.
    #[error("the lock on {} is lost and was not resumed; {votes}", .resources)]
    Lost {
        /// What was locked.
        resources: Resources,
        /// What every node answered.
        votes: Box<Votes>,
    },
    /// A quorum still held it, but nothing was left of its validity. It is released in the background.
    #[error("the lock on {} expired before it was resumed; {votes}", .resources)]
    Expired {
        /// What was locked.
        resources: Resources,
        /// What every node answered.
        votes: Box<Votes>,
    },
    /// Too few nodes answered to know whether it is still held. Nothing was released: try again before its TTL ends.
    #[error(
        "unknown whether the lock on {} is still held; nothing was released, it can be resumed again; {votes}",
        .parts.resources()
    )]
    TooFewAnswers {
        /// The lock.
        parts: Box<LockParts>,
        /// What every node answered.
        votes: Box<Votes>,
    },
    /// A resource name cannot be locked with the key prefix here. Nothing was sent.
    #[error("the lock cannot be resumed here: {reason}")]
    Resource {
        /// The lock.
        parts: Box<LockParts>,
        /// The reason.
        reason: ResourceError,
    },
    /// A node is a Redis Cluster, and the resources are in several of its hash slots. Nothing was sent.
    #[error("the lock cannot be resumed here: {reason}")]
    Slots {
        /// The lock.
        parts: Box<LockParts>,
        /// The slots.
        reason: Box<SlotsError>,
    },
    /// The lock's TTL cannot be used with this node timeout. Nothing was sent.
    #[error("the lock cannot be resumed here: {reason}")]
    Ttl {
        /// The lock.
        parts: Box<LockParts>,
        /// The reason.
        reason: TtlError,
    },
    /// The call was not made on a Tokio runtime. Nothing was sent.
    #[error("there is no tokio runtime here: call resume from a task of a runtime with time and io enabled")]
    NoRuntime {
        /// The lock.
        parts: Box<LockParts>,
    },
    /// A blocking call was made within async code. Nothing was sent.
    #[error("{WithinAsync}")]
    WithinAsync {
        /// The lock.
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
