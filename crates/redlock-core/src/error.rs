//! Why a lock could not be taken, kept or given back.

use std::{fmt, time::Duration};

use crate::{
    algorithm::{Lost, TtlError},
    entropy::EntropyError,
    resource::{Resource, ResourceError},
    votes::{Readable, Votes},
};

/// A lock could not be taken. Whatever was set on some of the nodes is being given back in the background.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AcquireError {
    /// Others hold the lock, or several took some of the nodes at the same moment. All attempts are made.
    #[error("could not lock {name}: held by others; {0}", name = Named(&.0.resource))]
    Contended(Box<Attempts>),
    /// So many nodes failed that no quorum was possible. All attempts are made.
    #[error("could not lock {name}: too many nodes failed; {0}", name = Named(&.0.resource))]
    NoQuorum(Box<Attempts>),
    /// A quorum granted, but nothing of the validity was left by then: the ttl is too short for these nodes, or this
    /// process was suspended. All attempts are made.
    #[error("could not lock {name}: nothing was left of the ttl when a quorum had granted; {0}", name = Named(&.0.resource))]
    TooSlow(Box<Attempts>),
    /// The deadline passed; [`Attempts::lost`] tells why the last round was lost.
    #[error("could not lock {name} before the deadline; {0}", name = Named(&.0.resource))]
    Deadline(Box<Attempts>),
    /// The resource name cannot be locked. Nothing was sent.
    #[error(transparent)]
    Resource(#[from] ResourceError),
    /// The ttl cannot be used. Nothing was sent.
    #[error(transparent)]
    Ttl(#[from] TtlError),
    /// There is no randomness for a token.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// The call was not made on a tokio runtime. Nothing was sent.
    #[error("there is no tokio runtime here: call acquire from a task of a runtime with time and io enabled")]
    NoRuntime,
}

impl AcquireError {
    /// What was tried, if anything was.
    #[must_use]
    pub fn attempts(&self) -> Option<&Attempts> {
        match self {
            Self::Contended(tried) | Self::NoQuorum(tried) | Self::TooSlow(tried) | Self::Deadline(tried) => {
                Some(tried)
            }
            _ => None,
        }
    }

    /// Whether others hold the lock: all is well, only this caller does not have it. True as well when the deadline
    /// passed while others held it.
    #[must_use]
    pub fn is_contended(&self) -> bool {
        self.attempts().is_some_and(|tried| tried.lost == Lost::Contended)
    }
}

/// What was tried before an [`AcquireError`].
#[derive(Debug)]
#[non_exhaustive]
pub struct Attempts {
    /// What was to be locked.
    pub resource: Resource,
    /// How many rounds were made.
    pub made: u32,
    /// How long they took, pauses included.
    pub elapsed: Duration,
    /// Why the last round was lost.
    pub lost: Lost,
    /// What every node answered in the last round.
    pub last_round: Box<Votes>,
}

impl fmt::Display for Attempts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rounds = if self.made == 1 { "round" } else { "rounds" };
        write!(f, "{} {rounds} in {}; in the last {}", self.made, Readable(self.elapsed), self.last_round)
    }
}

/// A lock could not be extended. Unless this says otherwise the lock stands, with the validity it had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExtendError {
    /// The lock's validity was over before the extend was sent: an extend never revives a lost lock.
    #[error("the lock on {} expired before it was extended", Named(.resource))]
    Expired {
        /// The lock's resource.
        resource: Resource,
    },
    /// A quorum of the nodes holds another token. The validity has ended.
    #[error("the lock on {} is lost; {votes}", Named(.resource))]
    Lost {
        /// The lock's resource.
        resource: Resource,
        /// What every node answered.
        votes: Box<Votes>,
    },
    /// Too few nodes extended. The lock stands until its validity ends; try again before that.
    #[error("the lock on {} could not be extended: no quorum; {votes}", Named(.resource))]
    NoQuorum {
        /// The lock's resource.
        resource: Resource,
        /// What every node answered.
        votes: Box<Votes>,
    },
    /// A quorum extended, but the validity had ended by then, so the lock may have been another's in between.
    #[error("the lock on {} expired while it was extended; {votes}", Named(.resource))]
    TooSlow {
        /// The lock's resource.
        resource: Resource,
        /// What every node answered.
        votes: Box<Votes>,
    },
    /// The ttl cannot be used. Nothing was sent.
    #[error(transparent)]
    Ttl(#[from] TtlError),
    /// The call was not made on a tokio runtime. Nothing was sent.
    #[error("there is no tokio runtime here: call extend from a task of a runtime")]
    NoRuntime,
}

impl ExtendError {
    /// What every node answered, if they were asked.
    #[must_use]
    pub fn votes(&self) -> Option<&Votes> {
        match self {
            Self::Lost { votes, .. } | Self::NoQuorum { votes, .. } | Self::TooSlow { votes, .. } => Some(votes),
            Self::Expired { .. } | Self::Ttl(_) | Self::NoRuntime => None,
        }
    }
}

/// It is unknown whether a lock was given back. At the latest the ttl ends it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReleaseError {
    /// Too few nodes answered to tell. Those that did not are still asked in the background.
    #[error("unknown whether the lock on {} was released; its ttl ends it; {votes}", Named(.resource))]
    Unknown {
        /// The lock's resource.
        resource: Resource,
        /// What every node answered.
        votes: Box<Votes>,
    },
    /// The call was not made on a tokio runtime. The lock is given back in the background, as if it were dropped.
    #[error("there is no tokio runtime here: call release from a task of a runtime; the lock was dropped")]
    NoRuntime,
}

impl ReleaseError {
    /// What every node answered, if they were asked.
    #[must_use]
    pub fn votes(&self) -> Option<&Votes> {
        match self {
            Self::Unknown { votes, .. } => Some(votes),
            Self::NoRuntime => None,
        }
    }
}

/// A resource's name in quotes and escaped, cut to a readable length: safe to print.
pub(crate) struct Named<'a>(pub(crate) &'a Resource);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const READABLE: usize = 200;
        let name = self.0.as_str();
        match name.char_indices().nth(READABLE) {
            Some((cut, _)) => write!(f, "{:?}... ({} bytes)", name.get(..cut).unwrap_or_default(), name.len()),
            None => write!(f, "{name:?}"),
        }
    }
}
