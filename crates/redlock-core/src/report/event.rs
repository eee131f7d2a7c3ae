//! The events that observers receive.

use std::{fmt, time::Duration};

use super::{
    error::{AcquireError, ExtendError},
    lock_lost::LockLost,
};
use crate::{names::Resources, node::NodeError};

/// What happened. Durations are by the clock of the [`Redlock`](crate::Redlock).
///
/// A lock that is [acquired](Event::Acquired) or [resumed](Event::Resumed) has one [end](Event::Ended), which is when it
/// is given back, dropped or left; it may be [lost](Event::Lost) before that, once. What was refused before anything was
/// sent, as a ttl of zero, is not told.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A lock was taken.
    #[non_exhaustive]
    Acquired {
        /// What is locked.
        resources: &'a Resources,
        /// How many attempts were made, as [`Retry::attempts`](crate::Retry::attempts) counts them.
        attempts: u32,
        /// How long the call took, pauses included.
        waited: Duration,
        /// How long the lock may be relied on.
        validity: Duration,
    },
    /// A lock could not be taken.
    #[non_exhaustive]
    NotAcquired {
        /// What was to be locked.
        resources: &'a Resources,
        /// How many attempts were made, as [`Retry::attempts`](crate::Retry::attempts) counts them.
        attempts: u32,
        /// How long the call took, pauses included.
        waited: Duration,
        /// Why.
        why: NotAcquired<'a>,
    },
    /// A lock of another process goes on in this one.
    #[non_exhaustive]
    Resumed {
        /// What is locked.
        resources: &'a Resources,
        /// How long the lock may be relied on.
        validity: Duration,
    },
    /// A lock was prolonged, by hand or because it is [kept](crate::AutoExtend).
    #[non_exhaustive]
    Extended {
        /// What is locked.
        resources: &'a Resources,
        /// What was left of the validity when a quorum had confirmed. Where it comes near to zero, the ttl is too short.
        margin: Duration,
        /// How long the lock may be relied on now.
        validity: Duration,
    },
    /// A lock could not be prolonged.
    #[non_exhaustive]
    NotExtended {
        /// What is locked.
        resources: &'a Resources,
        /// What is left of the validity.
        left: Duration,
        /// Why.
        error: &'a ExtendError,
    },
    /// A lock may not be relied on any more, before it was given back. Told once, when it is noticed: by an extend, by who
    /// looks at the lock or waits for its loss, or when it is given back: by the answers of the nodes then, if they do not hold it.
    #[non_exhaustive]
    Lost {
        /// Why, and what was locked.
        loss: &'a LockLost,
    },
    /// A quorum of the nodes was found not to hold a lock that was still valid by the clock: another may have held it at the
    /// same time. Nodes have lost it (restarted, evicted, failed over, a clock that jumped), or somebody deleted it.
    #[non_exhaustive]
    Breached {
        /// What is locked.
        resources: &'a Resources,
        /// What was left of the validity.
        left: Duration,
    },
    /// The caller has a lock no more.
    #[non_exhaustive]
    Ended {
        /// What was locked.
        resources: &'a Resources,
        /// How long the caller had it, from the round on that took it.
        held: Duration,
        /// How it ended.
        ending: Ending,
    },
    /// One node was asked for something, and has answered or not.
    #[non_exhaustive]
    NodeAsked {
        /// The node's [name](crate::LockNode::name).
        node: &'a str,
        /// What it was asked for.
        request: NodeRequest,
        /// How long that took: the time on the wire and that which the Redis client waited with it.
        took: Duration,
        /// What it said.
        outcome: NodeOutcome<'a>,
    },
    /// The number of releases has changed that a node has not answered. They are sent again until it answers. Also told
    /// once for each node when the [`Redlock`](crate::Redlock) is built: there are none yet.
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
    /// Given back: a quorum held it until then.
    Released,
    /// To be given back, but no quorum held it any more.
    NotHeld,
    /// To be given back; too few nodes have answered to tell.
    Unknown,
    /// Dropped: it is given back in the background. So is one whose release was dropped.
    Dropped,
    /// Transferred to another process.
    Transferred,
    /// Left to expire, by a registry of named locks that had no room for it.
    LeftToExpire,
}

/// What a node is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NodeRequest {
    /// To grant a lock.
    Acquire,
    /// To prolong it.
    Extend,
    /// To give it back.
    Release,
    /// To confirm a fencing token.
    Raise,
    /// To tell who holds it.
    Inspect,
}

/// What a node said.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum NodeOutcome<'a> {
    /// It did as it was asked.
    Done,
    /// It refused: another holds the lock or waits for longer, it is gone, or the node is quarantined.
    Refused,
    /// It failed.
    Failed(&'a NodeError),
    /// Nobody waits for its answer any more.
    Unanswered,
}

impl NotAcquired<'_> {
    /// One word for it, for labels: `contended`, `no_quorum`, `acquired_too_late`, `timed_out`, `cancelled`, or `failed`
    /// for everything else.
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
    /// One word for it, for labels: `released`, `not_held`, `unknown`, `dropped`, `transferred` or `left_to_expire`.
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
    /// Its name for labels and traces: `redlock.acquire`, `redlock.extend` and so on. OpenTelemetry has the command there; which
    /// commands and scripts these are is the backend's own affair.
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
    /// One word for it, for labels: `done`, `refused`, `failed` or `unanswered`.
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
