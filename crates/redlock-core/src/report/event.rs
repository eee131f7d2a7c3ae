//! The events that observers receive.

use std::{fmt, time::Duration};

use super::{
    error::{AcquireError, ExtendError},
    lock_lost::LockLost,
};
use crate::{names::Resources, node::NodeError};

/// Something that happened. Durations are measured by the clock of the [`Redlock`](crate::Redlock).
///
/// A lock that is [acquired](Event::Acquired) or [resumed](Event::Resumed) has one [end](Event::Ended), which is when
/// it is released, dropped, transferred or left to expire; it may be [lost](Event::Lost) before that, once. A call that
/// is refused before anything is sent, for example because of a TTL of zero, is not reported.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A lock was acquired.
    #[non_exhaustive]
    Acquired {
        /// The locked resources.
        resources: &'a Resources,
        /// The number of attempts: see [`Retry::attempts`](crate::Retry::attempts).
        attempts: u32,
        /// How long the call took, including pauses.
        waited: Duration,
        /// How long the lock may be relied on.
        validity: Duration,
    },
    /// A lock could not be acquired.
    #[non_exhaustive]
    NotAcquired {
        /// The requested resources.
        resources: &'a Resources,
        /// The number of attempts: see [`Retry::attempts`](crate::Retry::attempts).
        attempts: u32,
        /// How long the call took, including pauses.
        waited: Duration,
        /// The reason.
        why: NotAcquired<'a>,
    },
    /// A lock of another process was resumed in this one.
    #[non_exhaustive]
    Resumed {
        /// The locked resources.
        resources: &'a Resources,
        /// How long the lock may be relied on.
        validity: Duration,
    },
    /// A lock was extended, by a call or by [auto-extend](crate::AutoExtend).
    #[non_exhaustive]
    Extended {
        /// The locked resources.
        resources: &'a Resources,
        /// The rest of the validity when a quorum had confirmed. If it gets close to zero, the TTL is too short.
        margin: Duration,
        /// How long the lock may be relied on now.
        validity: Duration,
    },
    /// A lock could not be extended.
    #[non_exhaustive]
    NotExtended {
        /// The locked resources.
        resources: &'a Resources,
        /// The rest of the validity.
        left: Duration,
        /// The reason.
        error: &'a ExtendError,
    },
    /// A lock can no longer be relied on, although it was not released yet. Reported once, when it is noticed: by an
    /// extend, by a caller that checks the lock or waits for its loss, or by its release, if the nodes answer that they
    /// do not hold it.
    #[non_exhaustive]
    Lost {
        /// The reason, and the resources that were locked.
        loss: &'a LockLost,
    },
    /// A quorum of the nodes was found not to hold a lock that was still valid by the clock: another may have held it
    /// at the same time. Nodes have lost it (because of a restart, an eviction, a failover or a clock that jumped), or
    /// somebody deleted it.
    #[non_exhaustive]
    Breached {
        /// The locked resources.
        resources: &'a Resources,
        /// The rest of the validity at that time.
        left: Duration,
    },
    /// The caller no longer has a lock.
    #[non_exhaustive]
    Ended {
        /// The resources that were locked.
        resources: &'a Resources,
        /// How long the caller had it, since the round that acquired it.
        held: Duration,
        /// How it ended.
        ending: Ending,
    },
    /// A request was sent to one node, which has answered or not.
    #[non_exhaustive]
    NodeAsked {
        /// The node's [name](crate::LockNode::name).
        node: &'a str,
        /// The kind of the request.
        request: NodeRequest,
        /// How long it took: the time on the wire, and the time for which the Redis client kept it waiting.
        took: Duration,
        /// The outcome.
        outcome: NodeOutcome<'a>,
    },
    /// The number of releases that a node has not answered has changed. They are sent again until it answers. Also
    /// reported once for each node, with zero, when the [`Redlock`](crate::Redlock) is built.
    ///
    /// Several threads may report at the same time, in any order: the sum of all differences is right.
    #[non_exhaustive]
    ReleasesOwed {
        /// The node's [name](crate::LockNode::name).
        node: &'a str,
        /// How many there were when this was last reported.
        before: usize,
        /// How many there are now.
        now: usize,
    },
}

/// Why a lock was not acquired.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum NotAcquired<'a> {
    /// The call failed.
    Failed(&'a AcquireError),
    /// The call was dropped before it was done.
    Cancelled,
}

/// How the caller's time with a lock ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ending {
    /// A release was sent, and a quorum held the lock until then.
    Released,
    /// A release was sent, but no quorum held the lock any more.
    NotHeld,
    /// A release was sent, but too few nodes have answered to know its result.
    Unknown,
    /// The lock was dropped, or the call that releases it was. It is released in the background.
    Dropped,
    /// Transferred to another process.
    Transferred,
    /// Left to expire by a registry of named locks that had no room for it.
    LeftToExpire,
}

/// The kind of a request to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NodeRequest {
    /// Acquire a lock.
    Acquire,
    /// Extend it.
    Extend,
    /// Release it.
    Release,
    /// Confirm a fencing token.
    Raise,
    /// Report who holds it.
    Inspect,
}

/// How a node handled a request.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum NodeOutcome<'a> {
    /// It did what was requested.
    Done,
    /// It refused: another holds the lock or has waited longer, the lock is gone, or the node is in quarantine.
    Refused,
    /// It failed.
    Failed(&'a NodeError),
    /// Nothing waits for its answer any more.
    Unanswered,
}

impl NotAcquired<'_> {
    /// Returns one word for labels: `contended`, `no_quorum`, `acquired_too_late`, `timed_out`, `cancelled`, or
    /// `failed` for everything else.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Failed(AcquireError::Contended(_)) => "contended",
            Self::Failed(AcquireError::NoQuorum(_)) => "no_quorum",
            Self::Failed(AcquireError::AcquiredTooLate(_)) => "acquired_too_late",
            Self::Failed(AcquireError::TimedOut(_)) => "timed_out",
            Self::Failed(_) => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl Ending {
    /// Returns one word for labels: `released`, `not_held`, `unknown`, `dropped`, `transferred` or `left_to_expire`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Released => "released",
            Self::NotHeld => "not_held",
            Self::Unknown => "unknown",
            Self::Dropped => "dropped",
            Self::Transferred => "transferred",
            Self::LeftToExpire => "left_to_expire",
        }
    }
}

impl NodeRequest {
    /// Returns its name for labels and traces: `redlock.acquire`, `redlock.extend` and so on. OpenTelemetry expects the
    /// command there, but which commands and scripts a request uses is up to the backend.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Acquire => "redlock.acquire",
            Self::Extend => "redlock.extend",
            Self::Release => "redlock.release",
            Self::Raise => "redlock.raise",
            Self::Inspect => "redlock.inspect",
        }
    }
}

impl NodeOutcome<'_> {
    /// Returns one word for labels: `done`, `refused`, `failed` or `unanswered`.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Failed(_) => "failed",
            Self::Unanswered => "unanswered",
        }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for NodeRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
