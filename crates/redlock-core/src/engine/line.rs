//! The queue of one node: every request for it passes through, in order and in batches.

pub(crate) mod debts;
mod ghosts;
mod link;
mod lost;

use std::{collections::VecDeque, time::Duration};

use self::{debts::Debts, ghosts::Ghosts, link::Link};
use crate::{
    engine::{
        ask::{Answer, Answered, Ask, Failure, Fate},
        name::Name,
        rules::Weakness,
    },
    node::{NodeErrorKind, ReleaseAnswer},
};

/// The queue of one node.
///
/// The requests of a lease arrive in the order in which they were submitted, and so do the requests of successive
/// leases of one key. A release stays here until the node has answered it or its keys have expired. A request that was
/// sent over a connection that broke is a *ghost*: the node may still carry it out, so that the release of its lease is
/// repeated.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Line<N> {
    queue: VecDeque<Item<N>>,
    /// Sent, the oldest first. The node answers in this order.
    out: VecDeque<Batch<N>>,
    link: Link,
    debts: Debts<N>,
    ghosts: Ghosts<N>,
    limits: Limits,
}

/// The bounds of a line.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Limits {
    /// How many batches are in flight.
    pub(crate) batches: usize,
    /// How many requests one batch has.
    pub(crate) calls: usize,
    /// How many requests wait, and how many are in flight, before an acquire or an extend is refused.
    pub(crate) requests: usize,
    /// How much memory the releases take that the node has not answered.
    pub(crate) bytes: usize,
    /// How long a node owes an answer, or a connection takes, before the connection is given up.
    pub(crate) gives_up: Duration,
    /// The rule that a test gives up.
    #[cfg(test)]
    pub(crate) weakness: Option<Weakness>,
}

/// One request in a line.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Item<N> {
    /// A request that sets keys, or raises counters.
    Ask(Ask<N>),
    /// The release with this number.
    Release(u64),
}

/// The requests that were sent at once.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Batch<N> {
    written: Duration,
    items: Vec<Sent<N>>,
}

/// One request that was sent.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Sent<N> {
    item: Item<N>,
    /// Whether its lease has heard that the answer is late.
    is_late: bool,
    /// Whether its lease sets nothing any more, so that it does not go out once more.
    is_withdrawn: bool,
}

/// The next action of the owner of the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Next<N> {
    /// Connect, then call `connected` or `broken`.
    Connect,
    /// Send these as one pipeline, then call `answered` or `broken`.
    Send(Vec<Ask<N>>),
    /// Report to the leases that these were not sent in time.
    Expired(Vec<Ask<N>>),
}

/// The node owes too many answers already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Overloaded;

/// An answer, or a failure, for the lease that sent the request.
pub(crate) type Report<N> = (Ask<N>, Answered);

impl<N: Name> Line<N> {
    pub(crate) fn new(limits: Limits) -> Self {
        let debts = Debts::new(limits.bytes);
        Self { queue: VecDeque::new(), out: VecDeque::new(), link: Link::DOWN, debts, ghosts: Ghosts::new(), limits }
    }

    /// Puts a request into the line. A release is always admitted: it takes the requests of its lease with it that were
    /// not sent yet. If the acquire is among them, there is nothing to release, and the answers to both are known.
    pub(crate) fn submit(&mut self, ask: Ask<N>, now: Duration) -> Result<Vec<Report<N>>, Overloaded> {
        let Some(lives) = ask.request.lives() else {
            let out: usize = self.out.iter().map(|batch| batch.items.len()).sum();
            if self.queue.len() + out >= self.limits.requests {
                return Err(Overloaded);
            }
            self.queue.push_back(Item::Ask(ask));
            return Ok(Vec::new());
        };
        let mut reports = self.withdraw(&ask.lease);
        if reports.iter().any(|(ask, _)| ask.request.is_acquire() && !ask.again) {
            reports.push((ask, Ok(Answer::Release(ReleaseAnswer::NotHeld))));
            return Ok(reports);
        }
        let (lease, until) = (ask.lease.clone(), now + lives);
        let number = self.debts.add(ask, until);
        if let Some(until) = self.ghosts.until(&lease, now) {
            self.debts.outlive(&lease, until, true);
        }
        self.queue.push_back(Item::Release(number));
        if !self.limits.lack(Weakness::OwedWithoutBound) {
            self.debts.trim();
        }
        Ok(reports)
    }

    /// Takes the requests of a lease out that were not sent yet. Not its release. Requests that were sent do not go out
    /// once more.
    pub(crate) fn withdraw(&mut self, lease: &N) -> Vec<Report<N>> {
        let mut reports = Vec::new();
        for sent in self.out.iter_mut().flat_map(|batch| &mut batch.items) {
            sent.is_withdrawn |= matches!(&sent.item, Item::Ask(ask) if ask.lease == *lease);
        }
        self.queue.retain(|item| match item {
            Item::Ask(ask) if ask.lease == *lease => {
                reports.push((ask.clone(), Err(Failure::NOT_SENT)));
                false
            }
            Item::Ask(_) | Item::Release(_) => true,
        });
        reports
    }

    /// The next action. To be called until there is none.
    pub(crate) fn next(&mut self, now: Duration) -> Option<Next<N>> {
        self.forget(now);
        let expired = self.take_expired(now);
        if !expired.is_empty() {
            return Some(Next::Expired(expired));
        }
        if !self.has_work(now) {
            return None;
        }
        if self.link.connects(now) {
            return Some(Next::Connect);
        }
        if self.link != Link::Up || self.out.len() >= self.limits.batches {
            return None;
        }
        let (asks, items): (Vec<_>, Vec<_>) = self.take_batch(now).into_iter().unzip();
        if asks.is_empty() {
            return None;
        }
        self.out.push_back(Batch { written: now, items });
        Some(Next::Send(asks))
    }

    /// There is a connection now. One that was given up meanwhile is of no use.
    pub(crate) fn connected(&mut self) {
        if self.link.connecting_since().is_some() {
            self.link = Link::Up;
        }
    }

    /// The node has answered the oldest batch. Returns the reports for the leases.
    pub(crate) fn answered(&mut self, answers: Vec<Answered>, now: Duration) -> Vec<Report<N>> {
        let Some(batch) = self.out.pop_front() else { return Vec::new() };
        let mut reports = Vec::new();
        let mut answers = answers.into_iter();
        for Sent { item, .. } in batch.items {
            // A node that answers too little has failed.
            let answer = answers.next().unwrap_or(Err(Failure { kind: NodeErrorKind::Other, fate: Fate::Unknown }));
            let is_lost = matches!(answer, Err(Failure { fate: Fate::Unknown, .. }));
            match item {
                Item::Ask(ask) => {
                    if let Some(lives) = ask.request.sets_for() {
                        self.debts.outlive(&ask.lease, now + lives, false);
                    }
                    if is_lost {
                        self.haunt(&ask, now);
                    }
                    reports.push((ask, answer));
                }
                Item::Release(number) => {
                    // Whatever is there, if it is no lock, is no key of ours.
                    let is_answered = !answer.as_ref().is_err_and(|failure| failure.kind != NodeErrorKind::WrongType);
                    let ask = match is_answered {
                        true => self.debts.delivered(number, now),
                        false => self.debts.failed(number, now, Link::retries(now), is_lost),
                    };
                    if let Some(ask) = ask.as_ref().filter(|ask| !self.debts.has(&ask.lease)) {
                        self.ghosts.remove(&ask.lease);
                    }
                    reports.extend(ask.map(|ask| (ask, answer)));
                }
            }
        }
        reports
    }

    /// Whether there is nothing to wait for, so that no ticker is needed.
    pub(crate) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.out.is_empty() && self.debts.is_empty()
    }

    /// How many batches are in flight.
    pub(crate) fn in_flight(&self) -> usize {
        self.out.len()
    }

    /// How many releases are not delivered yet.
    pub(crate) fn owed(&self) -> usize {
        self.debts.unsettled()
    }

    /// Whether a release of this lease is not delivered as often as it takes.
    pub(crate) fn owes(&self, lease: &N) -> bool {
        self.debts.has(lease)
    }

    /// The memory that the releases take that the node has not answered.
    pub(crate) fn owed_bytes(&self) -> usize {
        self.debts.bytes()
    }

    fn has_work(&self, now: Duration) -> bool {
        !self.queue.is_empty() || self.debts.due().is_some_and(|due| due <= now)
    }

    /// What goes out at once: first the releases that wait for their time, then the queue, up to a request whose time
    /// is over. From here on it is out.
    fn take_batch(&mut self, now: Duration) -> Vec<(Ask<N>, Sent<N>)> {
        let due = self.debts.due_at(now, self.limits.calls.div_ceil(2)).into_iter().map(Item::Release);
        let mut batch = Vec::new();
        for item in due.collect::<Vec<_>>() {
            batch.extend(self.send(item));
        }
        while batch.len() < self.limits.calls
            && self.queue.front().is_some_and(|item| !item.is_expired(now))
            && let Some(item) = self.queue.pop_front()
        {
            batch.extend(self.send(item));
        }
        batch
    }

    /// Sends an item, unless it was dropped meanwhile.
    fn send(&mut self, item: Item<N>) -> Option<(Ask<N>, Sent<N>)> {
        let ask = match &item {
            Item::Ask(ask) => ask.clone(),
            Item::Release(number) => self.debts.send(*number)?,
        };
        Some((ask, Sent { item, is_late: false, is_withdrawn: false }))
    }
}

impl<N> Item<N> {
    fn is_expired(&self, now: Duration) -> bool {
        matches!(self, Self::Ask(ask) if ask.until <= now)
    }
}

impl Limits {
    /// Whether a test has given up this rule.
    #[cfg_attr(not(test), expect(unused_variables, reason = "only a test gives a rule up"))]
    fn lack(&self, weakness: Weakness) -> bool {
        #[cfg(test)]
        return self.weakness == Some(weakness);
        #[cfg(not(test))]
        return false;
    }
}

#[cfg(test)]
mod tests;
