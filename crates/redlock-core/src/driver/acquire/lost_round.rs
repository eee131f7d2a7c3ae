//! The result of a lost round that has to be released.

use crate::{algorithm::Cause, driver::lease::Lease, engine::acquisition::step, report::Votes};

/// Why a round was lost, for the error of the call.
pub(super) type Failure = step::Failure<Box<Votes>>;

/// A round that was lost.
pub(super) struct LostRound {
    /// The token of the round, which has to be released.
    pub(super) lease: Lease,
    /// Why the round was started.
    pub(super) cause: Cause,
    pub(super) is_contended: bool,
    /// The node that notifies the caller, if it refused and can do so.
    pub(super) queued_on: Option<usize>,
}

/// The round to release, and why it was lost.
pub(super) type Lost = (LostRound, step::LostRound<Box<Votes>>);
