//! A round that was lost, and what follows from it.

use std::time::Duration;

use crate::{
    algorithm::{Cause, Lost},
    driver::lease::Lease,
    report::Votes,
};

/// Why a round was lost, as the error of the call tells it.
pub(super) struct Failure {
    pub(super) lost: Lost,
    pub(super) votes: Box<Votes>,
}

/// A round that was lost, and what follows from it.
pub(super) struct LostRound {
    pub(super) lost: Lost,
    /// What the round took, to be given back.
    pub(super) lease: Lease,
    /// When the holders' ttls will have ended.
    pub(super) free_after: Option<Duration>,
    /// Which node wakes us, if it refused and can.
    pub(super) queued_on: Option<usize>,
    /// Why it was asked.
    pub(super) cause: Cause,
}
