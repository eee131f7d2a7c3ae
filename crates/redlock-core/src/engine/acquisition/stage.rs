//! The stages of a call to acquire.

use std::time::Duration;

use crate::algorithm::{Asking, Cause, Notified, RoundFailure};

/// The event that the call waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Beginning,
    /// The outcome of a round.
    Asking(Cause),
    /// The release of a lost round.
    Releasing {
        cause: Cause,
        lost: RoundFailure,
        then: Then,
    },
    /// A permit, or the end of the pause.
    Waiting,
    /// The end of the pause, with which a call that waits in no queue has its permit.
    Pausing,
    /// The end of a short time. Then it asks once more.
    Resting(Cause),
    /// The reservations of its names.
    Reserving,
    /// The release of its reservations. When the names may be free is known.
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
    /// When it ends. `None`: never.
    pub(super) due: Option<Duration>,
    pub(super) asking: Asking,
    pub(super) notified: Notified,
    /// How long no notification is taken, after one that did not win the lock.
    pub(super) rest: Duration,
}
