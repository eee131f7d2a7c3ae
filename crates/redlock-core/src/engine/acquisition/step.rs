//! The events of a call to acquire, and its next actions.

use std::time::Duration;

use crate::algorithm::{Cause, RoundFailure, Stop};

/// One event of a call. `V` is the votes behind a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step<V> {
    /// The call begins. The reason of its permit, if it has one already.
    Begin(Option<Cause>),
    /// The call has a permit, for this reason.
    Permit(Cause),
    /// The time to wait is over, or the awaited action is done.
    Due,
    Won,
    Lost(LostRound<V>),
    /// The lost round is released. Whether a node will notify the call; `None` if no other process competes.
    Released {
        is_notified: Option<bool>,
    },
    /// Some names are reserved, or none is. The reservations have counted attempts and rounds on behalf of the call.
    Reserved {
        any: bool,
        attempt: u32,
        failure: Option<Failure<V>>,
    },
}

/// A round that was lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LostRound<V> {
    pub(crate) failure: Failure<V>,
    /// After how long the TTLs of the present holders end.
    pub(crate) free_after: Option<Duration>,
    /// Whether the nodes refused only because another waiter comes first.
    pub(crate) is_free: bool,
    /// Whether the round had less time than a node timeout.
    pub(crate) is_cut: bool,
}

/// Why a round was lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure<V> {
    pub(crate) lost: RoundFailure,
    /// Whether no retry can cure it.
    pub(crate) is_hopeless: bool,
    pub(crate) votes: V,
}

/// The next action of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Do<V> {
    /// Run a round, with a new token. If it gives way, it does not wait for slow nodes while others hold the lock.
    Ask {
        cause: Cause,
        gives_way: bool,
    },
    /// Release the lost round, and wait until all nodes that are not known to fail have answered, at most until then.
    Release {
        until: Option<Duration>,
        /// When the pause ends.
        due: Option<Duration>,
        /// Whether the next waiter of another process is notified.
        passes_on: bool,
    },
    /// Sleep until then.
    Sleep {
        until: Option<Duration>,
    },
    /// Wait for a permit, at most until then. Take no notification before `not_before`.
    AwaitPermit {
        not_before: Duration,
        until: Option<Duration>,
    },
    /// Reserve the names one by one, from this attempt on. `failure` is that of the call so far.
    Reserve {
        attempt: u32,
        failure: Option<Failure<V>>,
    },
    /// Release the reserved names, and wait for that at most until then.
    ReleaseReserved {
        until: Duration,
    },
    /// The lock is held.
    Hold,
    /// A reservation ends. The call for several names reports the failure, if it is one.
    GiveUp(Option<Failure<V>>),
    Fail {
        stop: Stop,
        failure: Failure<V>,
    },
}
