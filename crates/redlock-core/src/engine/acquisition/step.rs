//! The events of a call to acquire, and its next actions.

use std::time::Duration;

use crate::algorithm::{Cause, RoundFailure, Stop};

/// One event of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// It begins. Its turn, if it has come already.
    Begin(Option<Cause>),
    /// Its turn has come.
    Turn(Cause),
    /// The time is over for which it was to wait, or what it waited for is done.
    Due,
    Won,
    /// Its round is lost. `is_cut`: it had less time than a node timeout. `is_hopeless`: no retry can cure that.
    Lost {
        lost: RoundFailure,
        free_after: Option<Duration>,
        is_cut: bool,
        is_hopeless: bool,
    },
    /// Its lost round is released. Whether the queue will notify it; none if no other process competes.
    Released {
        is_heard: Option<bool>,
    },
    /// Some of its names are reserved, or none is.
    Reserved {
        any: bool,
    },
}

/// The next action of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Do {
    /// Ask the nodes, with a new lease. If it gives way, slow nodes are not waited for while others hold the lock.
    Ask {
        cause: Cause,
        gives_way: bool,
    },
    /// Wait until all nodes that are not known to fail have answered the release, until then at most.
    AwaitRelease {
        until: Option<Duration>,
    },
    /// Wait until then, and take no turn.
    Sleep {
        until: Option<Duration>,
    },
    /// Wait for the turn, until then at most. Take no notification before `not_before`.
    AwaitTurn {
        not_before: Duration,
        until: Option<Duration>,
    },
    /// Reserve the names one by one.
    Reserve,
    /// Release the reserved names, until then at most.
    ReleaseReserved {
        until: Duration,
    },
    /// The lock is held.
    Hold,
    /// End without a report.
    GiveUp,
    Fail {
        stop: Stop,
        lost: RoundFailure,
    },
}
