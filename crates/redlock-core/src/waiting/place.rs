//! The place of one call in the line for its key.

use std::{future::pending, sync::Arc, time::Duration};

use tokio::{
    runtime::Handle,
    sync::{Notify, oneshot},
    time::{Instant, sleep_until},
};

use super::{Holding, Lines};
use crate::{
    algorithm::Cause,
    claim::Claimed,
    fleet::{Fleet, Member},
    request::Queue,
    resource::Resource,
    token::Token,
};

/// When to ask the nodes, and why.
#[derive(Debug)]
pub(crate) enum Turn {
    /// It has come, or the lock was given back beside it.
    Arrived,
    /// It was woken.
    Woken,
    /// Its pause is over.
    Due,
    /// The holder leaves the lock to it.
    Follows(Predecessor),
    /// The first of its names are reserved for it, by locks with these tokens.
    Reserved(Arc<[Token]>),
}

impl Turn {
    pub(crate) fn cause(&self) -> Cause {
        match self {
            Self::Arrived | Self::Reserved(_) => Cause::Arrived,
            Self::Woken => Cause::Woken,
            Self::Due => Cause::Due,
            Self::Follows(_) => Cause::Follows,
        }
    }

    /// The tokens whose keys are taken over, in the order of the keys.
    pub(crate) fn taken_over(&self) -> Arc<[Token]> {
        match self {
            Self::Follows(predecessor) => Arc::new([predecessor.claimed.token]),
            Self::Reserved(tokens) => Arc::clone(tokens),
            Self::Arrived | Self::Woken | Self::Due => Arc::default(),
        }
    }

    /// The holder that waits for the requests of this turn.
    pub(crate) fn predecessor(&self) -> Option<&Arc<Claimed>> {
        match self {
            Self::Follows(predecessor) => Some(&predecessor.claimed),
            _ => None,
        }
    }
}

/// A holder that leaves its lock to the next in line. It waits until this is dropped.
#[derive(Debug)]
pub(crate) struct Predecessor {
    claimed: Arc<Claimed>,
    _asked: oneshot::Sender<()>,
}

impl Predecessor {
    pub(super) fn new(claimed: &Arc<Claimed>) -> (Self, oneshot::Receiver<()>) {
        let (asked, is_asked) = oneshot::channel();
        (Self { claimed: Arc::clone(claimed), _asked: asked }, is_asked)
    }
}

/// Where one who is refused is put among the waiters.
#[derive(Debug)]
pub(crate) struct Queueing<'a> {
    fleet: &'a Fleet,
    waiters: Resource,
    cause: Cause,
    /// Which node is to wake us, if it could when it was asked.
    heard_on: Option<usize>,
}

impl<'a> Queueing<'a> {
    /// Nothing if there is no room for a key of the waiters.
    fn new(fleet: &'a Fleet, key: &Resource, cause: Cause) -> Option<Self> {
        Some(Self { fleet, waiters: key.waiters()?, cause, heard_on: fleet.listening.waker(fleet) })
    }

    /// On this node, if it can wake us: the one that does, and who polls on all others as well, should that one fail.
    pub(crate) fn on(&self, node: usize) -> Option<Queue> {
        let wakes = self.heard_on == Some(node);
        let channel = self.fleet.listening.channel(node).filter(|_| wakes || self.cause == Cause::Due)?;
        let queue = Queue::new(self.waiters.clone(), Arc::clone(channel));
        Some(queue.yielding(self.cause.yields()).staying(wakes))
    }

    /// Which node is to wake us, if it can.
    pub(crate) fn heard_on(&self) -> Option<usize> {
        self.heard_on
    }

    /// Which node is asked before the others: who has to yield would only be in the way of whoever's turn it is. Not one
    /// that has left requests unanswered.
    pub(crate) fn asked_first(&self) -> Option<usize> {
        self.heard_on
            .filter(|_| self.cause.yields())
            .filter(|node| self.fleet.members.get(*node).is_some_and(Member::is_prompt))
    }
}

/// The place of one call in the line for its key, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    fleet: &'a Arc<Fleet>,
    runtime: &'a Handle,
    key: Resource,
    number: u64,
    /// The turn that was taken last, until it has been used.
    taken: Option<Cause>,
    bell: Option<Arc<Notify>>,
    is_over: bool,
}

impl<'a> Place<'a> {
    /// The place at the end of the line; and its turn, if nobody waits before it.
    pub(crate) fn take(fleet: &'a Arc<Fleet>, runtime: &'a Handle, key: &Resource) -> (Self, Option<Turn>) {
        let (number, is_first) = fleet.lines.join(key, fleet.clock.now());
        let place = Self { fleet, runtime, key: key.clone(), number, taken: None, bell: None, is_over: false };
        (place, is_first.then_some(Turn::Arrived))
    }

    /// Waits for its turn. It comes with `due` at the latest if the place is the first then, or the first sleeps; else there
    /// is none.
    ///
    /// Cancel safe: dropped, the turn stays where it is.
    pub(crate) async fn turn(&mut self, due: Option<Instant>) -> Option<Turn> {
        let bell = self.bell.get_or_insert_with(Arc::default);
        let (clock, begun) = (&self.fleet.clock, self.fleet.clock.now());
        let is_due = async {
            match due {
                Some(due) => sleep_until(due).await,
                None => pending().await,
            }
        };
        let rung = async {
            loop {
                if let Some(turn) = self.fleet.lines.turn(&self.key, self.number, bell, clock.now()) {
                    return turn;
                }
                bell.notified().await;
            }
        };
        let turn = tokio::select! {
            biased;
            turn = rung => Some(turn),
            () = is_due => {
                let now = clock.now();
                self.fleet.lines.due(&self.key, self.number, now.saturating_sub(begun), now)
            }
        };
        self.taken = turn.as_ref().map(Turn::cause);
        turn
    }

    /// Whether those of other processes come first, as far as is known here. Not before somebody was refused, or another
    /// woken: most locks are free.
    pub(crate) fn comes_behind_others(&self, cause: Cause) -> bool {
        cause.yields() && self.fleet.lines.is_contended(&self.key, self.fleet.clock.now())
    }

    /// Where this place is put among the waiters if it is refused; nowhere if it is its turn, or likely is.
    pub(crate) fn queueing(&self, cause: Cause) -> Option<Queueing<'a>> {
        let is_wanted = matches!(cause, Cause::Due | Cause::Woken) || self.comes_behind_others(cause);
        is_wanted.then(|| Queueing::new(self.fleet, &self.key, cause)).flatten()
    }

    /// The lock is won.
    pub(crate) fn won(mut self, cause: Cause) -> Holding {
        self.is_over = true;
        let holder = self.fleet.lines.won(&self.key, self.number, cause == Cause::Follows);
        Holding::new(&self.fleet.lines, &self.key, holder)
    }

    /// The nodes were asked, and whoever else may have to be woken is woken by what is given back. But for who was woken: the
    /// holder that it was refused for may count on it, as on one that is on its way. It passes that on should it leave now.
    pub(crate) fn asked(&mut self) {
        self.taken = self.taken.filter(|cause| *cause == Cause::Woken);
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        for node in self.fleet.lines.leave(&self.key, self.number, self.taken) {
            let (fleet, key) = (Arc::clone(self.fleet), self.key.clone());
            self.fleet.background.spawn(self.runtime, async move {
                // Unless a release tells the node, or somebody else has begun to wait.
                if fleet.lines.leaves_node(&key, node, false) {
                    fleet.leave(node, key).await;
                }
            });
        }
    }
}

impl Holding {
    /// Who waits for no lock has taken it.
    pub(crate) fn at_once(lines: &Arc<Lines>, key: &Resource, now: Duration) -> Self {
        Self::new(lines, key, lines.hold(key, now))
    }
}
