//! What a check of the nodes is based on: each node's report, and how the nodes are used.

use std::time::Duration;

use super::{Jump, NodeFacts, NodeFinding};

/// How nodes are used, and what is known of them besides their own reports.
#[derive(Debug, Clone, Copy)]
pub struct NodeUse<'a> {
    /// Clocks that are apart by no more than this, or that may be, are not reported.
    pub clocks_apart: Duration,
    /// Whether locks have fencing tokens.
    pub fencing: bool,
    /// Whether there is a restart guard.
    pub restart_guard: bool,
    /// Which clocks were seen to jump.
    pub jumps: &'a [(&'a str, Jump)],
}

impl Default for NodeUse<'_> {
    fn default() -> Self {
        Self { clocks_apart: NodeFinding::CLOCKS_APART, fencing: false, restart_guard: false, jumps: &[] }
    }
}

/// The report of a node about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeAccount {
    /// Its facts.
    Facts(Box<NodeFacts>),
    /// It cannot report any: its backend has no such request.
    CannotTell,
    /// It failed, or did not answer.
    Failed {
        /// Why.
        why: String,
        /// The advice on what to do about it, if anything is known.
        advice: Option<&'static str>,
    },
}
