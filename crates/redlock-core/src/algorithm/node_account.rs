//! The basis for a check of the nodes: each node's report, and how the nodes are used.

use std::time::Duration;

use super::{Jump, NodeFacts, NodeFinding};

/// How the nodes are used, and what is known about them besides their own reports.
#[derive(Debug, Clone, Copy)]
pub struct NodeUse<'a> {
    /// The difference between clocks up to which they are not reported.
    pub clocks_apart: Duration,
    /// Whether locks have fencing tokens.
    pub fencing: bool,
    /// Whether there is a restart guard.
    pub restart_guard: bool,
    /// The nodes whose clocks were seen to jump, and how far.
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
        /// The reason.
        why: String,
        /// The advice on what to do about it, if anything is known.
        advice: Option<&'static str>,
    },
}
