//! The stages of a call to acquire.

use std::time::Duration;

use crate::algorithm::{Asking, Cause, Notified, RoundFailure};

/// The event for which the call waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Beginning,
    /// For the outcome of a round.
    Asking(Cause),
    /// For the nodes to release what a lost round took.
    Releasing {
        cause: Cause,
        lost: RoundFailure,
        then: Then,
    },
    /// For its turn, or the end of the pause.
    Waiting,
    /// For the end of the pause, which is the turn of a call that waits in no queue.
    Pausing,
    /// For a short time. Then it asks once more.
    Resting(Cause),
    /// For its names to be reserved.
    Reserving,
    /// For its names to be released. When they may be free is known.
    Unreserving(Option<Duration>),
    Over,
}

/// The next stage once a lost round is released.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    Pause,
    /// The names are reserved one by one.
    Reserve,
    /// Another round for all reserved names follows, or they are released.
    AskForReserved(Option<Duration>),
}

/// The pause after an attempt. Rounds within it belong to the attempt.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pause {
    /// When it ends. None: never.
    pub(super) due: Option<Duration>,
    pub(super) asking: Asking,
    pub(super) notified: Notified,
}
