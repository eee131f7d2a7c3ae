//! One request to one node, and what comes of it.

use std::time::Duration;

use crate::{
    algorithm::{FencingToken, Ttl},
    node::{AcquireAnswer, ExtendAnswer, NodeErrorKind, RaiseAnswer, ReleaseAnswer},
};

/// A checked TTL and what follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Terms {
    pub(crate) ttl: Ttl,
    pub(crate) node_timeout: Duration,
    /// The TTL less the drift, counted from before the first byte is sent.
    pub(crate) validity: Duration,
}

/// One request of a lease to one node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Ask<N> {
    pub(crate) lease: N,
    pub(crate) request: Request<N>,
    /// When it is not worth sending any more.
    pub(crate) until: Duration,
    /// How long the answer may take, counted from when the request was written.
    pub(crate) node_timeout: Duration,
    /// Whether it was sent before, over a connection that broke. The node may carry out the first copy at any time.
    pub(crate) again: bool,
}

/// The content of a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Request<N> {
    /// Set the keys, unless another token holds them.
    Acquire {
        ttl: Ttl,
        /// The leases whose tokens count as absent.
        predecessors: Box<[N]>,
    },
    /// Raise the fencing counters to the candidate, while the token holds the keys.
    Raise { candidate: u64 },
    /// Prolong the keys, and set them again if they are gone.
    Extend { number: u64, ttl: Ttl, fence: Option<FencingToken> },
    /// Delete the keys, if the token holds them. They live for at most `lives` once they are set.
    Release { lives: Duration },
}

impl<N> Request<N> {
    /// For how long the request sets the keys, if it does.
    pub(crate) fn sets_for(&self) -> Option<Duration> {
        match self {
            // A node receives the TTL rounded up.
            Self::Acquire { ttl, .. } | Self::Extend { ttl, .. } => Some(Duration::from_millis(ttl.sent_millis())),
            Self::Raise { .. } | Self::Release { .. } => None,
        }
    }

    /// For how long the keys live that a release deletes, if this is one.
    pub(crate) fn lives(&self) -> Option<Duration> {
        match self {
            Self::Release { lives } => Some(*lives),
            Self::Acquire { .. } | Self::Raise { .. } | Self::Extend { .. } => None,
        }
    }

    pub(crate) fn is_acquire(&self) -> bool {
        matches!(self, Self::Acquire { .. })
    }
}

/// The answer of a node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Answer {
    Acquire(AcquireAnswer),
    Raise(RaiseAnswer),
    Extend(ExtendAnswer),
    Release(ReleaseAnswer),
}

/// An answer, or why there is none.
pub(crate) type Answered = Result<Answer, Failure>;

/// Why a request has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Failure {
    pub(crate) kind: NodeErrorKind,
    pub(crate) fate: Fate,
}

/// The fate of a request without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Fate {
    /// It was not carried out, and will not be.
    NotDone,
    /// It is still out. An answer, or a failure, follows.
    StillOut,
    /// No answer follows. It may be carried out at any time.
    Unknown,
}

impl Failure {
    /// The request was not sent.
    pub(crate) const NOT_SENT: Self = Self { kind: NodeErrorKind::Other, fate: Fate::NotDone };
    /// The time for the answer is over.
    pub(crate) const LATE: Self = Self { kind: NodeErrorKind::Timeout, fate: Fate::StillOut };
    /// Too many requests wait for the node.
    pub(crate) const OVERLOADED: Self = Self { kind: NodeErrorKind::Timeout, fate: Fate::NotDone };
}
