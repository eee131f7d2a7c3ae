//! The events of a lease.

use std::time::Duration;

use crate::{
    algorithm::{Cause, FencingToken, Ttl},
    engine::ask::{Answered, Ask, Terms},
};

/// One event of a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event<N> {
    /// Ask the nodes for the lock. The first event of a lease.
    Acquire(Acquire<N>),
    /// Resume a lock of another process: a quorum has held it, for `validity` from `started` on. The first event of
    /// a lease. If it is not valid any more, a release follows.
    Resume { terms: Terms, started: Duration, validity: Duration, fence: Option<FencingToken> },
    /// Prolong the lock by this TTL from now on.
    Extend { ttl: Ttl },
    /// Hand the lock off to the next waiter of this process, which has `within` to ask for it. Then release it.
    Offer { within: Duration },
    /// Set nothing any more: the lease was a reservation, and its successor asks for all names now.
    Reserve,
    /// Transfer the lock to another process once nothing is out for it any more.
    Detach,
    /// Send nothing any more: the nodes free the keys when the TTL is over.
    LeaveToExpire,
    /// Release the lock on all nodes that may hold it.
    Release(Why),
    /// Nothing extends the lock any more, since its longest lifetime ends.
    LifetimeOver,
    /// The lease on the other side of a hand-off says this.
    Peer(Peer),
    /// A node has answered, or a line has given up on it. `is_trusted`: whether a grant of this node counts. It does
    /// not for a while after its clock has jumped.
    Answer { node: usize, ask: Ask<N>, answer: Answered, is_trusted: bool },
    /// A timer that the lease has armed has fired.
    Timer(Timer),
    /// Nobody waits for the answer to this question any more.
    CallerGone(Question),
}

/// The settings of a round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Acquire<N> {
    pub(crate) terms: Terms,
    /// How long answers are waited for.
    pub(crate) patience: Duration,
    /// The node that gets its request first, alone and for this time, since it may answer that others come first.
    pub(crate) first: Option<(usize, Duration)>,
    /// The holder that hands the lock off to this lease.
    pub(crate) follows: Option<N>,
    /// The reservations that this lease takes over.
    pub(crate) reserved: Box<[N]>,
    /// The nodes that are not waited for if the others are split between this lease and another holder. None if the
    /// round does not give way.
    pub(crate) slow: Option<Box<[usize]>>,
    /// Why the caller asks now, if it waits in a queue.
    pub(crate) cause: Option<Cause>,
    /// Whether the lock gets a fencing token.
    pub(crate) is_fenced: bool,
}

/// Why a lease is released.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Why {
    /// The caller releases it, and waits for the outcome.
    Caller,
    /// Its handle was dropped, or the call that would have got it was cancelled.
    Dropped,
    /// Its round was lost.
    LostRound,
    /// It was a reservation, and another lease has its name now.
    TakenOver,
}

/// A message from one lease to another during a hand-off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Peer {
    /// The successor asks all nodes, behind everything that the holder has sent there.
    Asks,
    /// The node has answered the successor. `follows`: until then the keys were the holder's. `is_unclear`: they may
    /// have been, since the first copy of the request was lost.
    Took { node: usize, follows: bool, is_unclear: bool },
    /// The node has not answered the successor in time.
    Unanswered { node: usize },
}

/// A time limit of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// For the node that gets its request first.
    First,
    /// For the answers to the acquire.
    Round,
    /// For the answers to the raise to this candidate.
    Raise(u64),
    /// For the end of the validity.
    Validity,
    /// For the answers to this extend, before the validity ends that they are to prolong.
    ExtendInTime(u64),
    /// For the answers to this extend.
    Extend(u64),
    /// For the request of the successor.
    Offer,
    /// For the answers to the release.
    Release,
    /// For what is still out, before a transfer.
    Detach,
}

/// A question of a caller. Each is answered once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Question {
    Acquire,
    /// By its number, from 1.
    Extend(u64),
    Release,
    Detach,
}
