//! Orphans: keys of a token that its process has released or dropped, on a node that answers. Nobody owns them, and
//! nobody else can take them until the TTL is over.

use std::{collections::HashMap, fmt, time::Duration};

use redlock_core::Token;
use redlock_mock::{Fleet, MockNode, Operation, Record};

use crate::ledger::{Call, Ledger, Sighting};

/// A key that had no owner for too long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orphan {
    /// When its token was released or dropped.
    pub over: Duration,
    /// Where it was seen after that.
    pub seen: Sighting,
}

impl Orphan {
    /// How long a key may remain on a node that answers after its token was released or dropped.
    const GRACE: Duration = Duration::from_secs(2);
}

/// Inspects the nodes at intervals, and records the keys.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// The process of each token.
    tokens: HashMap<Token, usize>,
    records: usize,
    /// The sightings of the last look, which may continue.
    seen: Vec<Sighting>,
}

impl Watch {
    /// How often to look. A key that exists for a shorter time may never be seen.
    pub(crate) const EVERY: Duration = Duration::from_millis(200);

    /// Looks once, for the processes that have not `closed`. Moves sightings that have ended to the ledger.
    pub(crate) fn look(&mut self, fleet: &Fleet, ledger: &mut Ledger) {
        fleet.records(|records| {
            self.tokens.extend(records.iter().skip(self.records).map(|record| (record.token, record.process)));
            self.records = records.len();
        });
        let mut now = Vec::new();
        for (node, observed) in fleet.nodes().iter().enumerate() {
            for key in observed.resources() {
                let value = observed.peek(&key);
                let holds = |token: &&Token| value.as_deref() == Some(token.as_bytes());
                let Some((token, process)) = self.tokens.keys().find(holds).and_then(|token| self.of(token)) else {
                    continue;
                };
                let reaches = fleet.processes().get(process).and_then(|process| process.nodes().get(node));
                if reaches.is_some_and(MockNode::is_reachable) && !ledger.closed.contains(&process) {
                    let at = fleet.elapsed();
                    now.push(Sighting { process, node, key, token, from: at, until: at });
                }
            }
        }
        for before in std::mem::take(&mut self.seen) {
            let is_same =
                |now: &&mut Sighting| (now.node, &now.key, now.token) == (before.node, &before.key, before.token);
            match now.iter_mut().find(is_same) {
                Some(now) => now.from = before.from,
                None => ledger.sightings.push(before),
            }
        }
        self.seen = now;
    }

    /// Ends the last sightings.
    pub(crate) fn end(self, ledger: &mut Ledger) {
        ledger.sightings.extend(self.seen);
    }

    fn of(&self, token: &Token) -> Option<(Token, usize)> {
        self.tokens.get_key_value(token).map(|(token, process)| (*token, *process))
    }
}

impl Ledger {
    /// Returns every key that had no owner for too long.
    #[must_use]
    pub fn orphans(&self, records: &[Record]) -> Vec<Orphan> {
        let orphan = |seen: &Sighting| {
            let over = self.is_over(seen.token, records)?;
            let since = over.max(seen.from);
            (seen.until > since + Orphan::GRACE).then(|| Orphan { over, seen: seen.clone() })
        };
        self.sightings.iter().filter_map(orphan).collect()
    }

    /// Returns when the driver released or dropped a token: with its lock, with its round, or at the latest with the
    /// call.
    fn is_over(&self, token: Token, records: &[Record]) -> Option<Duration> {
        let held = self.holdings.iter().filter(|holding| holding.token == token).map(|holding| holding.until);
        if let Some(until) = held.max() {
            return Some(until);
        }
        let of_token = || records.iter().filter(|record| record.token == token);
        let released = of_token().find(|record| record.operation == Operation::Release).map(|release| release.sent);
        let asked = of_token().next()?;
        let of_call = |call: &&Call| call.process == asked.process && (call.from..=call.to).contains(&asked.sent);
        let ended = self.calls.iter().find(of_call).map(|call| call.to);
        released.into_iter().chain(ended).min()
    }
}

impl fmt::Display for Orphan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { over, seen: Sighting { process, node, key, token, from, until } } = self;
        let token: String = token.as_str().chars().take(6).collect();
        let (process, node) = (process + 1, node + 1);
        write!(
            f,
            "process-{process} released or dropped {token} at {over:?}, and node-{node} answered and held {key} "
        )?;
        write!(f, "for it from {from:?} to {until:?}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{Holding, Outcome};

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn token() -> Token {
        Token::from_bytes([0; 20])
    }

    fn orphans(holdings: &[(u64, u64)], seen: &[(u64, u64)]) -> Vec<Duration> {
        let holding = |(from, until): &(u64, u64)| {
            let (from, until) = (ms(*from), ms(*until));
            Holding { process: 0, resource: 0, token: token(), is_shared: false, from, until }
        };
        let sighting = |(from, until): &(u64, u64)| {
            let (from, until) = (ms(*from), ms(*until));
            Sighting { process: 0, node: 0, key: "r0".to_owned(), token: token(), from, until }
        };
        let call = Call { process: 0, resource: 0, from: ms(0), to: ms(50), outcome: Outcome::Acquired };
        let ledger = Ledger {
            holdings: holdings.iter().map(holding).collect(),
            sightings: seen.iter().map(sighting).collect(),
            calls: vec![call],
            ..Ledger::default()
        };
        ledger.orphans(&[]).into_iter().map(|orphan| orphan.over).collect()
    }

    #[test]
    fn a_key_is_no_orphan_while_its_lock_is_held_or_for_two_seconds_after() {
        assert_eq!(orphans(&[(100, 9_000)], &[(50, 11_000)]), []);
        assert_eq!(orphans(&[(100, 9_000)], &[(50, 11_001)]), [ms(9_000)]);
    }

    #[test]
    fn the_two_seconds_begin_when_the_node_answers_again() {
        assert_eq!(orphans(&[(100, 1_000)], &[(8_000, 10_000)]), []);
        assert_eq!(orphans(&[(100, 1_000)], &[(8_000, 10_001), (50, 3_000)]), [ms(1_000)]);
    }

    #[test]
    fn a_token_without_a_known_call_is_no_orphan() {
        assert_eq!(orphans(&[], &[(50, 60_000)]), []);
    }
}
