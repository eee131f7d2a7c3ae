//! The world at one moment: the key and counter of each node, and the messages, answers and token of each round.

use std::{
    fmt,
    hash::{Hash, Hasher},
};

use redlock_core::algorithm::Fencing;

/// The number of nodes.
pub(crate) const N: usize = 3;

/// R rounds. There are no clients: two rounds of one client are two rounds, of which the second starts after the first
/// is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct World<const R: usize> {
    pub(crate) nodes: [Node; N],
    pub(crate) rounds: [Round; R],
    /// The greatest token issued so far.
    pub(crate) issued: u8,
    /// A number above every counter that a node has ever had, like the time of a clock.
    pub(crate) time: u8,
    /// How many losses of counters are still to come.
    pub(crate) losses: u8,
    /// How often an acquire may still set its key for the second time.
    pub(crate) repeats: u8,
    pub(crate) wrong: Option<Wrong>,
}

/// A node: the round whose key it has, and the counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Node {
    /// The number of the round. R is the earlier holder.
    pub(crate) key: Option<usize>,
    pub(crate) counter: Option<u8>,
}

/// One round of a client, with its own token.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Round {
    pub(crate) phase: Phase,
    /// The greatest token that was issued before it started.
    pub(crate) floor: u8,
    pub(crate) sent: [Sent; N],
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Phase {
    /// It has not started.
    Idle,
    /// It has sent acquires to all nodes.
    Asking,
    /// It has won, and waits for its token.
    Won(Fencing),
    /// It has its token.
    Issued(u8),
    /// It will not get one.
    Lost,
}

/// The messages that a round has sent to one node, and the answers that it has not received yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sent {
    /// Whether the acquire was carried out.
    pub(crate) acquired: bool,
    pub(crate) grant: Answer<u8>,
    /// The candidates of the raises that were sent, one bit each.
    pub(crate) raises: u32,
    /// The candidate, and the counter if that was higher.
    pub(crate) raised: Answer<(u8, Option<u8>)>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Answer<T> {
    #[default]
    None,
    /// The node has answered. The answer counts as late or lost until the round receives it.
    Given(T),
    Heard,
}

impl Phase {
    /// Returns whether answers no longer matter.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self, Self::Issued(_) | Self::Lost)
    }
}

/// A violation of the promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Wrong {
    /// A token was issued twice.
    Twice(u8),
    /// A token is not greater than one that was issued before its round started.
    NotGreater(u8),
}

impl<const R: usize> World<R> {
    /// No request has been sent yet, and nodes have these counters.
    pub(crate) fn with_counters(counters: [u8; N]) -> Self {
        Self {
            nodes: counters.map(|counter| Node { key: None, counter: Some(counter) }),
            rounds: std::array::from_fn(|_| Round { phase: Phase::Idle, floor: 0, sent: [Sent::default(); N] }),
            issued: 0,
            time: 0,
            losses: 0,
            repeats: 0,
            wrong: None,
        }
    }

    /// Returns the round whose key the node has, if that makes a difference. Any key may expire at any moment, so a key
    /// with which its round cannot do anything anymore counts as none.
    fn key(&self, node: usize) -> Option<usize> {
        let makes_a_difference = |key: &usize| {
            let round = self.rounds.get(*key);
            let can_raise = round.is_some_and(|round| !round.phase.is_over() || round.sent[node].raises != 0);
            can_raise || self.nodes[node].counter.is_none()
        };
        self.nodes[node].key.filter(makes_a_difference)
    }

    /// Returns the same number for all worlds that differ only in the names of rounds, because they have the same
    /// future. With 2^128 numbers, two different worlds practically never have the same one.
    pub(crate) fn code(&self) -> u128 {
        let mut order: [(u128, usize); R] = std::array::from_fn(|round| {
            let mut code = Code::default();
            self.rounds[round].hash(&mut code);
            for node in 0..N {
                code.write_u8((self.key(node) == Some(round)).into());
            }
            (code.0, round)
        });
        order.sort_unstable();
        let mut code = Code::default();
        for (number, node) in self.nodes.iter().enumerate() {
            let key = self.key(number).and_then(|key| order.iter().position(|(_, round)| *round == key));
            (key, node.counter).hash(&mut code);
        }
        for (round, _) in order {
            code.write_u64(round as u64);
            code.write_u64((round >> 64) as u64);
        }
        // A number that cannot matter anymore makes no difference.
        let issued = if self.rounds.iter().any(|round| round.phase == Phase::Idle) { self.issued } else { 0 };
        let may_lose = self.losses > 0 || self.nodes.iter().any(|node| node.counter.is_none());
        (issued, if may_lose { self.time } else { 0 }, self.losses, self.repeats, self.wrong).hash(&mut code);
        code.0
    }
}

/// All of it fits into one number.
impl Hash for Sent {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let grant = match self.grant {
            Answer::None => 0,
            Answer::Heard => 1,
            Answer::Given(counter) => 2 + u64::from(counter),
        };
        let raised = match self.raised {
            Answer::None => 0,
            Answer::Heard => 1,
            Answer::Given((candidate, None)) => 2 + u64::from(candidate),
            Answer::Given((candidate, Some(higher))) => (1 + u64::from(candidate)) << 8 | u64::from(higher),
        };
        state.write_u64(u64::from(self.raises) << 32 | raised << 16 | grant << 8 | u64::from(self.acquired));
    }
}

/// A hash that is fast even in a debug build.
#[derive(Default)]
struct Code(u128);

impl Hasher for Code {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u8(*byte));
    }

    fn write_u8(&mut self, number: u8) {
        self.write_u64(number.into());
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(number.into());
    }

    fn write_u64(&mut self, number: u64) {
        let mixed = (self.0 ^ u128::from(number)).wrapping_add(1);
        self.0 = mixed.wrapping_mul(0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645).rotate_left(71);
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }

    fn write_isize(&mut self, number: isize) {
        self.write_u64(number as u64);
    }

    fn finish(&self) -> u64 {
        self.0 as u64
    }
}

/// For example `A:7  -:7  B:8     A issued 7; B won`: the nodes' keys and counters, and the rounds.
impl<const R: usize> fmt::Display for World<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for node in &self.nodes {
            let key = node.key.map_or('-', name::<R>);
            let counter = node.counter.map_or("?".to_owned(), |counter| counter.to_string());
            write!(f, "{:6}", format!("{key}:{counter}"))?;
        }
        let rounds = self.rounds.iter().enumerate().filter_map(|(round, Round { phase, .. })| match phase {
            Phase::Idle => None,
            Phase::Asking => Some(format!("{} asks", name::<R>(round))),
            Phase::Won(_) => Some(format!("{} raises", name::<R>(round))),
            Phase::Issued(token) => Some(format!("{} ISSUED {token}", name::<R>(round))),
            Phase::Lost => Some(format!("{} lost", name::<R>(round))),
        });
        f.write_str(&rounds.collect::<Vec<_>>().join("; "))?;
        match self.wrong {
            None => Ok(()),
            Some(Wrong::Twice(token)) => write!(f, "; {token} IS ISSUED TWICE"),
            Some(Wrong::NotGreater(token)) => write!(f, "; {token} IS NOT GREATER than one before"),
        }
    }
}

/// Rounds are A, B, C, and P is the earlier holder.
pub(crate) fn name<const R: usize>(round: usize) -> char {
    if round == R { 'P' } else { (b'A' + round as u8).into() }
}
