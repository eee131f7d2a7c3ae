//! The commands of a lease.

use std::time::Duration;

use crate::{
    algorithm::{FencingToken, RoundFailure, TtlError},
    engine::{
        ask::Ask,
        event::{Peer, Question, Timer},
        tally::Tally,
        validity::End,
    },
};

/// One command of a lease. The driver executes them in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command<N> {
    /// Put the request into the line of the node. All lines are flushed after the last command.
    Enqueue { node: usize, ask: Ask<N> },
    /// Take the requests of this lease that were not sent yet out of all lines.
    Withdraw,
    /// Answer the caller that waits for this.
    Resolve(Question, Outcome),
    /// The lock may not be relied on any more.
    Ended(End),
    /// Feed this to another lease.
    ToPeer(N, Peer),
    /// Notify the wait queue.
    Queue(QueueNote),
    /// Feed `Event::Timer` at this time.
    Arm { timer: Timer, at: Duration },
}

/// The answer to a caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Acquired {
        deadline: Duration,
        fence: Option<FencingToken>,
    },
    NotAcquired {
        lost: RoundFailure,
        tally: Tally,
    },
    Extended {
        deadline: Duration,
    },
    NotExtended(NotExtended),
    /// It was still held.
    Released,
    /// A quorum did not hold it any more.
    NotHeld {
        tally: Tally,
    },
    /// Too few nodes have answered in time. The lines continue to deliver the release.
    ReleaseUnknown {
        tally: Tally,
    },
    Transferred,
    /// It was not valid any more.
    NotTransferred(End),
}

/// Why an extend has failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NotExtended {
    /// The lock had ended before the extend began, or ended meanwhile because it was released.
    Ended,
    /// A quorum has prolonged it, but the validity had ended by then.
    TooLate { tally: Tally },
    /// A quorum does not hold the lock.
    Lost { tally: Tally },
    /// Too few nodes have answered. The lock stays valid until its deadline.
    NoQuorum { tally: Tally },
    /// There are no terms for this TTL.
    Ttl(TtlError),
}

/// A notification of the wait queue, which decides whom to notify.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum QueueNote {
    /// The lock is offered to the next waiter of this process.
    Offered,
    /// The lock is being released. Whether the next waiter is to be notified.
    Releasing { notifies: bool },
    /// The node has answered the release, or has failed.
    ReleasedOn { node: usize, has_failed: bool },
    /// Nothing is released: the lock ends with its TTL, or goes to another process.
    Left,
}
