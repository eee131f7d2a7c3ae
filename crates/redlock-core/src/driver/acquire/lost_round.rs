//! The result of a lost round: the lease to release, why the round was lost, and the error of the call.

use std::time::Duration;

use crate::{
    algorithm::{Cause, RoundFailure, Stop},
    driver::lease::Lease,
    names::Resources,
    report::{AcquireError, Attempts, Votes},
};

/// Why a round was lost, for the error of the call.
pub(super) struct Failure {
    pub(super) lost: RoundFailure,
    pub(super) votes: Box<Votes>,
}

impl Failure {
    /// The error of a call that ends with this failure, after so many attempts and so much time. `cut_off`: its
    /// deadline has passed, and may have cut the last attempt off.
    pub(super) fn error(
        self,
        resources: Resources,
        made: u32,
        elapsed: Duration,
        stop: Stop,
        cut_off: bool,
    ) -> AcquireError {
        let Self { lost: failure, votes: last_round } = self;
        let tried = Box::new(Attempts { resources, made, elapsed, failure, last_round });
        match (stop, failure) {
            (Stop::TimedOut, _) => AcquireError::TimedOut(tried),
            (Stop::Attempts, _) if cut_off => AcquireError::TimedOut(tried),
            (Stop::Attempts, RoundFailure::Contended) => AcquireError::Contended(tried),
            (Stop::Attempts, RoundFailure::NoQuorum) => AcquireError::NoQuorum(tried),
            (Stop::Attempts, RoundFailure::TooLate) => AcquireError::AcquiredTooLate(tried),
        }
    }
}

/// A round that was lost, and what follows from it.
pub(super) struct LostRound {
    pub(super) lost: RoundFailure,
    /// The token of the round, which has to be released.
    pub(super) lease: Lease,
    /// After how long the TTLs of the present holders end.
    pub(super) free_after: Option<Duration>,
    /// Whether the nodes refused only because another waiter comes first.
    pub(super) is_free: bool,
    /// The node that notifies the caller, if it refused and can do so.
    pub(super) queued_on: Option<usize>,
    /// Why the round was started.
    pub(super) cause: Cause,
}
