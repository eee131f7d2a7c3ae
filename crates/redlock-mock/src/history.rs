//! A history: all events of a fleet, as a value.

use std::fmt;

use crate::event::Event;

/// All events of a [`Fleet`](crate::Fleet), as a value: it can be generated (feature `proptest`), shrunk, printed,
/// saved (feature `serde`) and replayed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct History {
    /// The number of nodes.
    pub nodes: usize,
    /// The number of processes that use them.
    pub processes: usize,
    /// The seed of all randomness: the fate of each message, tokens, jitter.
    pub seed: u64,
    /// The events, in any order.
    pub events: Vec<Event>,
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} nodes, {} processes, seed {}", self.nodes, self.processes, self.seed)?;
        let mut events: Vec<_> = self.events.iter().collect();
        events.sort_by_key(|event| event.at);
        events.into_iter().try_for_each(|event| writeln!(f, "{event}"))
    }
}
