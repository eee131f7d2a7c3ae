//! What a check of the nodes is based on: each node's report, and how the nodes are used.

use std::time::Duration;

use super::{Jump, NodeFacts, NodeFinding};

/// How nodes are used, and what is known of them besides what they say.
#[derive(Debug, Clone, Copy)]
pub struct NodeUse<'a> {
    /// Clocks that are apart by no more than this are not told, nor those that may be as close as this.
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

/// What a node told when it was asked what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeAccount {
    /// What it is.
    Facts(Box<NodeFacts>),
    /// It cannot tell: its backend knows no such question.
    CannotTell,
    /// It failed, or did not answer.
    Failed {
        /// Why.
        why: String,
        /// What can be done about it, if anything is known.
        advice: Option<&'static str>,
    },
}
