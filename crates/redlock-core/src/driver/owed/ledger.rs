//! The list of releases that one node has not answered, as plain data. The time, on the fleet's clock, is an argument.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::names::{Resources, Token};

/// Releases that were not delivered to one node.
#[derive(Debug)]
pub(crate) struct Ledger {
    /// By the number of their arrival.
    entries: BTreeMap<u64, Entry>,
    next_number: u64,
    /// The releases that are not in flight, by the time from which they may be sent.
    waiting: BTreeSet<(Duration, u64)>,
    /// The releases whose keys have not expired, by the time when they will have.
    expiring: BTreeSet<(Duration, u64)>,
    unsettled: usize,
    bytes: usize,
    most_bytes: usize,
}

/// A release of keys that the node may still hold for a token that is not used any more.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) keys: Resources,
    pub(crate) token: Token,
    /// It is not sent before this time.
    pub(crate) from: Duration,
    /// The key has certainly expired by then.
    pub(crate) until: Duration,
    /// How often the node has answered the release.
    delivered: u32,
    /// How often to deliver it. More than once if an earlier request may be in the socket of an old connection, since
    /// the node may execute that request at any time.
    wanted: u32,
    /// Whether a request for it is in flight.
    is_out: bool,
}

impl Entry {
    /// The first pause before a release is repeated. It doubles each time: a request that arrives late keeps the key
    /// for no longer than it took to arrive.
    const PAUSE: Duration = Duration::from_millis(500);

    /// How often a release is delivered that an earlier request may follow: the last time after about a minute.
    const OFTEN: u32 = 8;

    /// A release that the node has not answered. `uncertain`: an earlier request may follow it.
    pub(crate) fn new(keys: Resources, token: Token, now: Duration, lives: Duration, uncertain: bool) -> Self {
        let wanted = if uncertain { Self::OFTEN } else { 1 };
        let until = now.saturating_add(lives);
        Self { keys, token, from: now, until, delivered: 0, wanted, is_out: false }
    }

    /// A release that the node has answered, and that an earlier request may follow.
    pub(crate) fn repeated(keys: Resources, token: Token, now: Duration, lives: Duration) -> Self {
        Self { from: now + Self::PAUSE, delivered: 1, ..Self::new(keys, token, now, lives, true) }
    }

    /// Whether it was delivered as often as is needed after a node that hung: the node then executes at once whatever
    /// was in its sockets. Later repetitions are a precaution, and no caller waits for them.
    fn is_settled(&self) -> bool {
        self.delivered >= self.wanted.min(2)
    }

    fn bytes(&self) -> usize {
        let names: usize = self.keys.iter().map(|key| key.as_str().len()).sum();
        // The entry itself, its nodes in the map and the sets, and the allocations of its names.
        size_of::<Self>() + 160 + names + 48 * self.keys.len()
    }
}

impl Ledger {
    pub(crate) fn new(most_bytes: usize) -> Self {
        Self {
            entries: BTreeMap::new(),
            next_number: 0,
            waiting: BTreeSet::new(),
            expiring: BTreeSet::new(),
            unsettled: 0,
            bytes: 0,
            most_bytes,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many releases are not delivered yet.
    pub(crate) fn unsettled(&self) -> usize {
        self.unsettled
    }

    /// Adds a release. Returns how many of the oldest had to make room for it.
    pub(crate) fn add(&mut self, entry: Entry) -> usize {
        let number = self.next_number;
        self.next_number += 1;
        self.bytes += entry.bytes();
        self.unsettled += usize::from(!entry.is_settled());
        self.waiting.insert((entry.from, number));
        self.expiring.insert((entry.until, number));
        self.entries.insert(number, entry);
        let mut dropped = 0;
        while self.bytes > self.most_bytes && self.entries.len() > 1 {
            let Some((oldest, _)) = self.entries.first_key_value() else { break };
            self.remove(*oldest);
            dropped += 1;
        }
        dropped
    }

    /// Returns the releases to send now, at most `most`, and first those that have waited longest. They are in flight
    /// from here on. Forgets releases whose keys have expired. `reached` is at least `now`: the time that a timer has
    /// waited for.
    pub(crate) fn take_due(&mut self, now: Duration, reached: Duration, most: usize) -> Vec<(u64, Entry)> {
        while let Some((_, number)) = self.expiring.first().copied().filter(|(until, _)| *until <= now) {
            match self.entries.get(&number) {
                // Its answer is still expected.
                Some(entry) if entry.is_out => drop(self.expiring.pop_first()),
                _ => self.remove(number),
            }
        }
        let mut due = Vec::new();
        while due.len() < most {
            let Some((_, number)) = self.waiting.first().copied().filter(|(from, _)| *from <= reached) else { break };
            self.waiting.pop_first();
            if let Some(entry) = self.entries.get_mut(&number) {
                entry.is_out = true;
                due.push((number, entry.clone()));
            }
        }
        due
    }

    /// How long until the next release is due. `None` if there is nothing to send.
    pub(crate) fn due_in(&self, now: Duration) -> Option<Duration> {
        self.waiting.first().map(|(from, _)| from.saturating_sub(now))
    }

    /// Records that the node has answered the release. It is forgotten, or sent once more later.
    pub(crate) fn delivered(&mut self, number: u64, now: Duration) {
        let Some(entry) = self.entries.get_mut(&number) else { return };
        let was_settled = entry.is_settled();
        entry.delivered += 1;
        self.unsettled -= usize::from(!was_settled && entry.is_settled());
        if entry.delivered < entry.wanted {
            let pause = Entry::PAUSE * (1 << (entry.delivered - 1));
            self.send_from(number, now + pause, now);
        } else {
            self.remove(number);
        }
    }

    /// Records that the node has not answered the release: it is sent again after a pause, unless it was only a
    /// precaution.
    pub(crate) fn failed(&mut self, number: u64, pause: Duration, now: Duration) {
        match self.entries.get(&number) {
            Some(entry) if entry.is_settled() => self.delivered(number, now),
            // After the waiting releases: a release that fails again and again must not delay the others.
            Some(_) => self.send_from(number, now + pause, now),
            None => {}
        }
    }

    /// Records that the sending task has ended: no release is in flight any more.
    pub(crate) fn nothing_is_out(&mut self) {
        for (number, entry) in &mut self.entries {
            entry.is_out = false;
            self.waiting.insert((entry.from, *number));
        }
    }

    fn send_from(&mut self, number: u64, from: Duration, now: Duration) {
        let Some(entry) = self.entries.get_mut(&number) else { return };
        (entry.is_out, entry.from) = (false, from);
        if entry.until <= now {
            self.remove(number);
        } else {
            self.waiting.insert((from, number));
        }
    }

    fn remove(&mut self, number: u64) {
        let Some(entry) = self.entries.remove(&number) else { return };
        self.waiting.remove(&(entry.from, number));
        self.expiring.remove(&(entry.until, number));
        self.unsettled -= usize::from(!entry.is_settled());
        self.bytes -= entry.bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn entry(token: u8, now: Duration, ttl: u64, uncertain: bool) -> Entry {
        let keys = Resources::new(["key"]).unwrap();
        Entry::new(keys, Token::from_bytes([token; 20]), now, secs(ttl), uncertain)
    }

    fn numbers(due: &[(u64, Entry)]) -> Vec<u64> {
        due.iter().map(|(number, _)| *number).collect()
    }

    #[test]
    fn a_release_is_sent_again_until_the_node_answers() {
        let (mut ledger, now) = (Ledger::new(1 << 20), secs(100));
        ledger.add(entry(1, now, 10, false));
        assert_eq!(numbers(&ledger.take_due(now, now, 9)), [0]);
        assert_eq!(numbers(&ledger.take_due(now, now, 9)), [0_u64; 0], "it is out already");
        ledger.failed(0, Duration::ZERO, now);
        assert_eq!(numbers(&ledger.take_due(now, now, 9)), [0]);
        ledger.delivered(0, now);
        assert_eq!((ledger.unsettled(), ledger.is_empty(), ledger.bytes), (0, true, 0));
    }

    #[test]
    fn a_release_that_an_earlier_request_may_follow_is_repeated_after_longer_and_longer_pauses() {
        let (mut ledger, mut now) = (Ledger::new(1 << 20), secs(100));
        let start = now;
        ledger.add(entry(1, now, 600, true));
        let mut sent = Vec::new();
        while let Some(wait) = ledger.due_in(now) {
            now += wait;
            assert_eq!(numbers(&ledger.take_due(now, now, 9)), [0]);
            assert_eq!(ledger.unsettled(), usize::from(sent.len() < 2));
            sent.push((now - start).as_millis());
            // Once it is settled, it does not matter whether the node answers.
            if sent.len() > 2 { ledger.failed(0, Duration::ZERO, now) } else { ledger.delivered(0, now) }
        }
        assert_eq!(sent, [0, 500, 1_500, 3_500, 7_500, 15_500, 31_500, 63_500]);
        assert_eq!((ledger.is_empty(), ledger.bytes), (true, 0));
    }

    #[test]
    fn expired_releases_are_forgotten_unless_they_are_in_flight() {
        let (mut ledger, now) = (Ledger::new(1 << 20), secs(100));
        ledger.add(entry(1, now, 10, false));
        ledger.add(entry(2, now, 10, false));
        assert_eq!(numbers(&ledger.take_due(now, now, 1)), [0]);
        assert_eq!(numbers(&ledger.take_due(now + secs(10), now + secs(10), 9)), [0_u64; 0]);
        assert_eq!(ledger.unsettled(), 1);
        ledger.failed(0, Duration::ZERO, now + secs(10));
        assert_eq!((ledger.is_empty(), ledger.bytes, ledger.unsettled()), (true, 0, 0));
        assert!(ledger.expiring.is_empty() && ledger.waiting.is_empty());
    }

    #[test]
    fn a_release_that_fails_is_sent_after_the_others() {
        let (mut ledger, now) = (Ledger::new(1 << 20), secs(100));
        ledger.add(entry(1, now, 10, false));
        ledger.add(entry(2, now, 10, false));
        assert_eq!(numbers(&ledger.take_due(now, now, 1)), [0]);
        ledger.failed(0, Duration::ZERO, now + secs(1));
        assert_eq!(numbers(&ledger.take_due(now + secs(1), now + secs(1), 2)), [1, 0]);
    }

    #[test]
    fn the_oldest_entries_make_room_beyond_the_bound() {
        let now = secs(100);
        let mut ledger = Ledger::new(2 * entry(1, now, 1, false).bytes());
        assert_eq!((ledger.add(entry(1, now, 9, false)), ledger.add(entry(2, now, 9, false))), (0, 0));
        assert_eq!(ledger.add(entry(3, now, 9, false)), 1);
        assert_eq!(numbers(&ledger.take_due(now, now, 9)), [1, 2]);
    }

    #[test]
    fn releases_in_flight_from_a_lost_sender_are_sent_by_the_next_one() {
        let (mut ledger, now) = (Ledger::new(1 << 20), secs(100));
        ledger.add(entry(1, now, 10, false));
        ledger.take_due(now, now, 9);
        assert_eq!(ledger.due_in(now), None);
        ledger.nothing_is_out();
        assert_eq!(ledger.due_in(now), Some(Duration::ZERO));
    }
}
