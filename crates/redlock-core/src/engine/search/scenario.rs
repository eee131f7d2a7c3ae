//! Scenarios: the events that a search includes, and how often.

use std::time::Duration;

use crate::{
    algorithm::{Drift, NodeTimeout, Quorum, Ttl},
    engine::{
        ask::{Ask, Request},
        line::{Limits, Line},
        rules::{Rules, Weakness},
    },
};

/// The events that a search includes, and how often.
#[derive(Debug, Clone)]
pub(super) struct Scenario {
    pub(super) rules: Rules,
    pub(super) limits: Limits,
    /// How many nodes there are.
    pub(super) nodes: usize,
    /// Whether the second lease asks at all.
    pub(super) has_second: bool,
    /// Whether the two leases are of two processes, each with lines of its own.
    pub(super) is_apart: bool,
    /// Whether the second lease may take the lock over from the first.
    pub(super) hands_off: bool,
    /// Whether timers fire no sooner than they should. Otherwise they do so at any moment.
    pub(super) is_punctual: bool,
    /// How many seconds pass.
    pub(super) seconds: u64,
    /// How often a connection breaks.
    pub(super) breaks: u8,
    /// How often a connection is refused. If never, connections are there as soon as they are wanted.
    pub(super) refusals: u8,
    /// How often a node restarts without its memory.
    pub(super) restarts: u8,
    /// How often the first lease is extended.
    pub(super) extends: u8,
    /// Whether a caller may go away while it waits.
    pub(super) cancels: bool,
    /// Whether the bound on what is owed is so tight that releases are forgotten.
    pub(super) forgets: bool,
    /// Whether a lock may be transferred to another process.
    pub(super) detaches: bool,
}

pub(super) const TTL: Duration = Duration::from_secs(3);

impl Scenario {
    /// Two leases of one process ask three nodes for one key. Nothing goes wrong.
    pub(super) fn new() -> Self {
        Self::of(3)
    }

    /// So they ask this number of nodes.
    pub(super) fn of(nodes: usize) -> Self {
        let second = Duration::from_secs(1);
        // No node has a fast clock, so nothing is deducted for drift: a second too much would be found.
        let rules = Rules {
            quorum: Quorum::of(nodes.try_into().unwrap()),
            drift: Drift::new(0.0, Duration::ZERO).unwrap(),
            node_timeout: NodeTimeout::Fixed(second * 5 / 2),
            longest: None,
            may_hand_off: true,
            weakness: None,
        };
        let limits =
            Limits { batches: 2, calls: 128, requests: 99, bytes: 1 << 20, gives_up: 3 * second, weakness: None };
        Self {
            rules,
            limits,
            nodes,
            has_second: true,
            is_apart: false,
            hands_off: false,
            is_punctual: false,
            seconds: 0,
            breaks: 0,
            refusals: 0,
            restarts: 0,
            extends: 0,
            cancels: false,
            forgets: false,
            detaches: false,
        }
    }

    /// Each node is owed one release and no more.
    pub(super) fn with_one_debt(mut self) -> Self {
        let mut line = Line::new(self.limits.clone());
        let request = Request::Release { lives: TTL };
        let ask = Ask { lease: 0, request, until: TTL, node_timeout: TTL, again: false };
        line.submit(ask, Duration::ZERO).unwrap();
        self.limits.bytes = line.owed_bytes();
        Self { forgets: true, ..self }
    }

    /// Without one of the rules.
    pub(super) fn but(mut self, weakness: Weakness) -> Self {
        self.rules.weakness = Some(weakness);
        self.limits.weakness = Some(weakness);
        self
    }

    pub(super) fn ttl() -> Ttl {
        Ttl::new(TTL).unwrap()
    }

    /// How many lines lead to one node.
    pub(super) fn processes(&self) -> usize {
        if self.is_apart { 2 } else { 1 }
    }
}
