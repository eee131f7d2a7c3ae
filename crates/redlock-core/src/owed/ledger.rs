//! What one node still owes an answer for: plain data, with the time as an argument.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use crate::{resources::Resources, token::Token};

/// Releases that were not delivered to one node, oldest first.
#[derive(Debug)]
pub(super) struct Ledger {
    /// By the number of their arrival.
    entries: BTreeMap<u64, Entry>,
    next_number: u64,
    bytes: usize,
    most_bytes: usize,
}

/// A key that the node may still hold for a token that nobody uses any more.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) keys: Resources,
    pub(crate) token: Token,
    /// Not to be sent before this.
    pub(crate) from: Instant,
    /// The key has certainly expired by then.
    pub(crate) until: Instant,
    /// How often the node has answered the release.
    delivered: u32,
    /// How often to deliver it: more than once if an earlier request may lie in the socket of an old connection, since the
    /// node carries that out whenever it gets there.
    wanted: u32,
    /// Whether a request is out for it.
    is_out: bool,
}

impl Entry {
    /// The first pause before a release is repeated. It doubles each time: a request that arrives late keeps the key for no
    /// longer than it took to arrive.
    const PAUSE: Duration = Duration::from_millis(500);

    /// How often a release is delivered that an earlier request may follow: the last time after about a minute.
    const OFTEN: u32 = 8;

    /// A release that the node has not answered. `uncertain`: an earlier request may follow it.
    pub(crate) fn new(keys: Resources, token: Token, now: Instant, lives: Duration, uncertain: bool) -> Self {
        let wanted = if uncertain { Self::OFTEN } else { 1 };
        // A ttl beyond what the clock can tell is bounded by that of the locks: weeks.
        let until = now.checked_add(lives).unwrap_or(now);
        Self { keys, token, from: now, until, delivered: 0, wanted, is_out: false }
    }

    /// A release that the node has answered, and that an earlier request may follow.
    pub(crate) fn repeated(keys: Resources, token: Token, now: Instant, lives: Duration) -> Self {
        Self { from: now + Self::PAUSE, delivered: 1, ..Self::new(keys, token, now, lives, true) }
    }

    /// Whether it was delivered as often as it takes after a node that hung: whatever lay in its sockets is carried out at
    /// once then. Later repetitions are a precaution, which nobody waits for.
    fn is_settled(&self) -> bool {
        self.delivered >= self.wanted.min(2)
    }

    fn bytes(&self) -> usize {
        let names: usize = self.keys.iter().map(|key| key.as_str().len()).sum();
        // The entry itself, its place in the map, and the allocations of its names.
        size_of::<Self>() + 64 + names + 48 * self.keys.len()
    }
}

impl Ledger {
    pub(super) fn new(most_bytes: usize) -> Self {
        Self { entries: BTreeMap::new(), next_number: 0, bytes: 0, most_bytes }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many releases are not delivered yet.
    pub(super) fn unsettled(&self) -> usize {
        self.entries.values().filter(|entry| !entry.is_settled()).count()
    }

    /// Adds a release. Returns how many of the oldest had to make room for it.
    pub(super) fn add(&mut self, entry: Entry) -> usize {
        self.bytes += entry.bytes();
        self.entries.insert(self.next_number, entry);
        self.next_number += 1;
        let mut dropped = 0;
        while self.bytes > self.most_bytes && self.entries.len() > 1 {
            let Some((_, oldest)) = self.entries.pop_first() else { break };
            self.bytes -= oldest.bytes();
            dropped += 1;
        }
        dropped
    }

    /// The releases to send now, oldest first, at most `most`; from here on they are out. Those whose key has expired are
    /// forgotten.
    pub(super) fn take_due(&mut self, now: Instant, most: usize) -> Vec<(u64, Entry)> {
        let bytes = &mut self.bytes;
        self.entries.retain(|_, entry| {
            let is_over = entry.until <= now && !entry.is_out;
            *bytes -= if is_over { entry.bytes() } else { 0 };
            !is_over
        });
        let due = self.entries.iter_mut().filter(|(_, entry)| !entry.is_out && entry.from <= now).take(most);
        due.map(|(number, entry)| {
            entry.is_out = true;
            (*number, entry.clone())
        })
        .collect()
    }

    /// How long until the next release is due. None if there is nothing to send.
    pub(super) fn due_in(&self, now: Instant) -> Option<Duration> {
        let waiting = self.entries.values().filter(|entry| !entry.is_out);
        waiting.map(|entry| entry.from.saturating_duration_since(now)).min()
    }

    /// The node has answered the release. It is forgotten, or sent once more later.
    pub(super) fn delivered(&mut self, number: u64, now: Instant) {
        let Some(entry) = self.entries.get_mut(&number) else { return };
        entry.delivered += 1;
        if entry.delivered < entry.wanted {
            entry.is_out = false;
            entry.from = now + Entry::PAUSE * (1 << (entry.delivered - 1));
        } else if let Some(entry) = self.entries.remove(&number) {
            self.bytes -= entry.bytes();
        }
    }

    /// The node has not answered the release: it is to be sent again, unless it was only a precaution.
    pub(super) fn failed(&mut self, number: u64, now: Instant) {
        match self.entries.get_mut(&number) {
            Some(entry) if entry.is_settled() => self.delivered(number, now),
            Some(entry) => {
                entry.is_out = false;
                // To the end: one that fails again and again must not keep the others waiting.
                if let Some(entry) = self.entries.remove(&number) {
                    self.entries.insert(self.next_number, entry);
                    self.next_number += 1;
                }
            }
            None => {}
        }
    }

    /// The sending task has ended: no release is out any more.
    pub(super) fn nothing_is_out(&mut self) {
        self.entries.values_mut().for_each(|entry| entry.is_out = false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn entry(token: u8, now: Instant, ttl: u64, uncertain: bool) -> Entry {
        let keys = Resources::new(["key"]).unwrap();
        Entry::new(keys, Token::from_bytes([token; 20]), now, secs(ttl), uncertain)
    }

    fn numbers(due: &[(u64, Entry)]) -> Vec<u64> {
        due.iter().map(|(number, _)| *number).collect()
    }

    #[test]
    fn a_release_is_sent_again_until_the_node_answers() {
        let (mut ledger, now) = (Ledger::new(1 << 20), Instant::now());
        ledger.add(entry(1, now, 10, false));
        assert_eq!(numbers(&ledger.take_due(now, 9)), [0]);
        assert_eq!(numbers(&ledger.take_due(now, 9)), [0_u64; 0], "it is out already");
        ledger.failed(0, now);
        assert_eq!(numbers(&ledger.take_due(now, 9)), [1]);
        ledger.delivered(1, now);
        assert_eq!((ledger.unsettled(), ledger.is_empty(), ledger.bytes), (0, true, 0));
    }

    #[test]
    fn one_that_an_earlier_request_may_follow_is_repeated_ever_later() {
        let (mut ledger, mut now) = (Ledger::new(1 << 20), Instant::now());
        let start = now;
        ledger.add(entry(1, now, 600, true));
        let mut sent = Vec::new();
        while let Some(wait) = ledger.due_in(now) {
            now += wait;
            assert_eq!(numbers(&ledger.take_due(now, 9)), [0]);
            assert_eq!(ledger.unsettled(), usize::from(sent.len() < 2));
            sent.push((now - start).as_millis());
            // Once it is settled, it does not matter whether the node answers.
            if sent.len() > 2 { ledger.failed(0, now) } else { ledger.delivered(0, now) }
        }
        assert_eq!(sent, [0, 500, 1_500, 3_500, 7_500, 15_500, 31_500, 63_500]);
        assert_eq!((ledger.is_empty(), ledger.bytes), (true, 0));
    }

    #[test]
    fn what_has_expired_is_forgotten_and_what_is_out_is_not() {
        let (mut ledger, now) = (Ledger::new(1 << 20), Instant::now());
        ledger.add(entry(1, now, 10, false));
        ledger.add(entry(2, now, 10, false));
        assert_eq!(numbers(&ledger.take_due(now, 1)), [0]);
        assert_eq!(numbers(&ledger.take_due(now + secs(10), 9)), [0_u64; 0]);
        assert_eq!(ledger.unsettled(), 1);
        ledger.failed(0, now);
        assert_eq!(numbers(&ledger.take_due(now + secs(10), 9)), [0_u64; 0]);
        assert_eq!((ledger.is_empty(), ledger.bytes), (true, 0));
    }

    #[test]
    fn the_oldest_make_room_beyond_the_bound() {
        let now = Instant::now();
        let mut ledger = Ledger::new(2 * entry(1, now, 1, false).bytes());
        assert_eq!((ledger.add(entry(1, now, 9, false)), ledger.add(entry(2, now, 9, false))), (0, 0));
        assert_eq!(ledger.add(entry(3, now, 9, false)), 1);
        assert_eq!(numbers(&ledger.take_due(now, 9)), [1, 2]);
    }

    #[test]
    fn what_a_sender_that_is_gone_had_out_is_sent_by_the_next() {
        let (mut ledger, now) = (Ledger::new(1 << 20), Instant::now());
        ledger.add(entry(1, now, 10, false));
        ledger.take_due(now, 9);
        assert_eq!(ledger.due_in(now), None);
        ledger.nothing_is_out();
        assert_eq!(ledger.due_in(now), Some(Duration::ZERO));
    }
}
