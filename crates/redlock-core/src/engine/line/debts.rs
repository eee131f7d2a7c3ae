//! The releases that one node has not answered yet: all of them, and no more bytes than allowed.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::engine::{
    ask::{Ask, Request},
    name::Name,
};

/// The releases that one node has not answered as often as it takes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Debts<N> {
    /// By the number of their arrival.
    entries: BTreeMap<u64, Debt<N>>,
    next_number: u64,
    by_lease: BTreeMap<N, u64>,
    /// The releases that wait for their time, by that time. The others are in the queue of the line, or out.
    waiting: BTreeSet<(Duration, u64)>,
    /// All, by the time at which their keys have expired.
    expiring: BTreeSet<(Duration, u64)>,
    unsettled: usize,
    bytes: usize,
    most_bytes: usize,
}

/// A release that the node has not answered as often as it takes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Debt<N> {
    ask: Ask<N>,
    place: Place,
    /// The keys have certainly expired by then.
    until: Duration,
    /// How often the node has answered it.
    delivered: u32,
    /// How often to deliver it: more than once if an earlier request may lie in the socket of a connection that broke.
    /// The node carries that out whenever it gets there.
    wanted: u32,
    /// How often it was sent over a connection that broke.
    broken: u32,
    /// Whether the lease has heard of an answer or a failure.
    is_reported: bool,
}

/// Where a release is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Place {
    /// In the queue of the line, behind what its lease has sent.
    Queued,
    /// It waits for this time.
    Waiting(Duration),
    /// It was sent.
    Out,
}

impl<N: Name> Debts<N> {
    /// The first pause before a release is repeated. It doubles each time: a request that arrives late keeps the keys
    /// for no longer than it took to arrive.
    const PAUSE: Duration = Duration::from_millis(500);

    /// How often a release is delivered that an earlier request may follow: the last time after about a minute.
    const OFTEN: u32 = 8;

    /// How often a release is sent over a connection that breaks before its lease hears of it. A connection that was
    /// idle breaks when it is used, and the next one may be sound.
    const TRIES: u32 = 2;

    pub(crate) fn new(most_bytes: usize) -> Self {
        Self {
            entries: BTreeMap::new(),
            next_number: 0,
            by_lease: BTreeMap::new(),
            waiting: BTreeSet::new(),
            expiring: BTreeSet::new(),
            unsettled: 0,
            bytes: 0,
            most_bytes,
        }
    }

    /// Adds a release that goes into the queue, and returns its number.
    pub(crate) fn add(&mut self, ask: Ask<N>, until: Duration) -> u64 {
        let number = self.next_number;
        self.next_number += 1;
        self.by_lease.insert(ask.lease.clone(), number);
        let debt = Debt { ask, place: Place::Queued, until, delivered: 0, wanted: 1, broken: 0, is_reported: false };
        self.enter(number, debt);
        number
    }

    /// Drops the oldest releases beyond the bound. How many.
    pub(crate) fn trim(&mut self) -> usize {
        let before = self.entries.len();
        while self.bytes > self.most_bytes && self.entries.len() > 1 {
            let Some((oldest, _)) = self.entries.first_key_value() else { break };
            self.remove(*oldest);
        }
        before - self.entries.len()
    }

    /// The keys of this lease may live until then. `is_ghost`: since a request was lost, which may be carried out at
    /// any time before. Then the release is repeated.
    pub(crate) fn outlive(&mut self, lease: &N, until: Duration, is_ghost: bool) {
        let Some(number) = self.by_lease.get(lease).copied() else { return };
        self.change(number, |debt| {
            debt.until = debt.until.max(until);
            if is_ghost {
                debt.wanted = Self::OFTEN;
            }
        });
    }

    /// Whether a release of this lease is not delivered as often as it takes.
    pub(crate) fn has(&self, lease: &N) -> bool {
        self.by_lease.contains_key(lease)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many releases are not delivered yet. Later repetitions are a precaution, and do not count.
    pub(crate) fn unsettled(&self) -> usize {
        self.unsettled
    }

    /// The memory that they take.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The releases whose time has come, at most `most`.
    pub(crate) fn due_at(&self, now: Duration, most: usize) -> Vec<u64> {
        self.waiting.range(..=(now, u64::MAX)).take(most).map(|(_, number)| *number).collect()
    }

    /// When something is to be done next: a release is due.
    pub(crate) fn due(&self) -> Option<Duration> {
        self.waiting.first().map(|(from, _)| *from)
    }

    /// A release is sent now: what is to be sent. None if it was dropped.
    pub(crate) fn send(&mut self, number: u64) -> Option<Ask<N>> {
        self.change(number, |debt| {
            debt.place = Place::Out;
            debt.sent_again()
        })
    }

    /// The release with this number, if it was not dropped.
    pub(crate) fn get(&self, number: u64) -> Option<&Ask<N>> {
        self.entries.get(&number).map(|debt| &debt.ask)
    }

    /// The node has answered a release, which is forgotten, or repeated later. Returns the request, if it was not
    /// dropped.
    pub(crate) fn delivered(&mut self, number: u64, now: Duration) -> Option<Ask<N>> {
        let (answered, is_over) = self.change(number, |debt| {
            let answered = debt.sent_again();
            debt.delivered += 1;
            debt.is_reported = true;
            debt.place = Place::Waiting(now + Self::PAUSE * (1 << (debt.delivered - 1).min(Self::OFTEN)));
            (answered, debt.delivered >= debt.wanted)
        })?;
        if is_over {
            self.remove(number);
        }
        Some(answered)
    }

    /// The node has not carried out a release, or its answer `is_lost`. It waits until `from`, behind those that wait
    /// already. A repetition that is only a precaution counts as delivered. Returns the request, if its lease is to
    /// hear of it.
    pub(crate) fn failed(&mut self, number: u64, now: Duration, from: Duration, is_lost: bool) -> Option<Ask<N>> {
        if self.entries.get(&number)?.is_settled() {
            self.delivered(number, now);
            return None;
        }
        self.change(number, |debt| {
            let failed = debt.sent_again();
            debt.broken += u32::from(is_lost);
            debt.place = Place::Waiting(from);
            let is_news = !debt.is_reported && (!is_lost || debt.broken >= Self::TRIES);
            debt.is_reported |= is_news;
            is_news.then_some(failed)
        })?
    }

    /// Forgets the releases whose keys have expired. What is out, or behind a request of its lease that is out, is
    /// kept: that may set the keys only now.
    pub(crate) fn expire(&mut self, now: Duration, is_out: impl Fn(&N) -> bool) {
        while let Some((_, number)) = self.expiring.first().copied().filter(|(until, _)| *until <= now) {
            let is_kept =
                self.entries.get(&number).is_some_and(|debt| debt.place == Place::Out || is_out(&debt.ask.lease));
            if is_kept {
                self.change(number, |debt| debt.until = now + debt.lives().max(Duration::from_millis(1)));
            } else {
                self.remove(number);
            }
        }
    }

    pub(crate) fn remove(&mut self, number: u64) {
        if let Some(debt) = self.leave(number) {
            self.by_lease.remove(&debt.ask.lease);
        }
    }

    /// Changes a release, and everything that is found by its parts.
    fn change<T>(&mut self, number: u64, change: impl FnOnce(&mut Debt<N>) -> T) -> Option<T> {
        let mut debt = self.leave(number)?;
        let changed = change(&mut debt);
        self.enter(number, debt);
        Some(changed)
    }

    fn enter(&mut self, number: u64, debt: Debt<N>) {
        if let Place::Waiting(from) = debt.place {
            self.waiting.insert((from, number));
        }
        self.expiring.insert((debt.until, number));
        self.unsettled += usize::from(!debt.is_settled());
        self.bytes += debt.bytes();
        self.entries.insert(number, debt);
    }

    fn leave(&mut self, number: u64) -> Option<Debt<N>> {
        let debt = self.entries.remove(&number)?;
        if let Place::Waiting(from) = debt.place {
            self.waiting.remove(&(from, number));
        }
        self.expiring.remove(&(debt.until, number));
        self.unsettled -= usize::from(!debt.is_settled());
        self.bytes -= debt.bytes();
        Some(debt)
    }
}

impl<N: Name> Debt<N> {
    /// Whether it was delivered as often as it takes after a node that hung: whatever lay in its sockets is carried out
    /// at once then.
    fn is_settled(&self) -> bool {
        self.delivered >= self.wanted.min(2)
    }

    fn sent_again(&self) -> Ask<N> {
        Ask { again: self.broken > 0 || self.delivered > 0, ..self.ask.clone() }
    }

    fn lives(&self) -> Duration {
        match self.ask.request {
            Request::Release { lives } => lives,
            _ => Duration::ZERO,
        }
    }

    /// With the places in the maps and in the sets.
    fn bytes(&self) -> usize {
        size_of::<Self>() + 192 + self.ask.lease.bytes()
    }
}

#[cfg(test)]
mod tests;
