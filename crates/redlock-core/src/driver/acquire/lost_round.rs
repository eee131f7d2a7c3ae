//! The result of a lost round, as plain data: the lease to release, and why the round was lost.

use std::time::Duration;

use crate::{
    algorithm::{Cause, RoundFailure},
    driver::lease::Lease,
    report::Votes,
};

/// Why a round was lost, for the error of the call.
pub(super) struct Failure {
    pub(super) lost: RoundFailure,
    pub(super) votes: Box<Votes>,
}

/// A round that was lost, and what follows from it.
pub(super) struct LostRound {
    pub(super) lost: RoundFailure,
    /// The token of the round, which has to be released.
    pub(super) lease: Lease,
    /// After how long the TTLs of the present holders end.
    pub(super) free_after: Option<Duration>,
    /// The node that notifies the caller, if it refused and can do so.
    pub(super) queued_on: Option<usize>,
    /// Why the round was started.
    pub(super) cause: Cause,
}
