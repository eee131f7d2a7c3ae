//! The answers of all nodes in a round, for errors and logs.

use std::{fmt, time::Duration};

use crate::{
    algorithm::{Quorum, Readable, Vote},
    node::{AcquireAnswer, ExtendAnswer, NodeError, NodeErrorKind, RaiseAnswer, ReleaseAnswer, SlotHeld},
};

/// The answers of all nodes in one round.
#[derive(Debug)]
pub struct Votes {
    verb: &'static str,
    quorum: Quorum,
    nodes: Vec<NodeVote>,
}

/// The answer of one node.
#[derive(Debug)]
#[non_exhaustive]
pub struct NodeVote {
    /// The node's [name](crate::LockNode::name).
    pub node: String,
    /// Its answer.
    pub answer: NodeAnswer,
}

/// An answer, or why there is none.
#[derive(Debug)]
#[non_exhaustive]
pub enum NodeAnswer {
    /// The node did what was requested.
    Granted,
    /// The node extended a lock whose key it had lost, and holds it again.
    Restored,
    /// Another token holds the key.
    Held {
        /// The remaining TTL of the key, if the node reported it.
        remaining: Option<Duration>,
    },
    /// The semaphore has another number of permits on the node, and one of them is held. This counts as a refusal.
    OtherPermits {
        /// The number of permits on the node.
        permits: u32,
    },
    /// The key could be granted, but another waiter comes first.
    Queued,
    /// The node was started recently and may have forgotten locks: the [restart
    /// guard](crate::RedlockBuilder::restart_guard) lets it grant none yet.
    Quarantined {
        /// The remaining time of the quarantine, by the node's clock.
        remaining: Duration,
    },
    /// The node was requested to confirm a fencing token, but its counter is already above it. This counts as a
    /// refusal.
    Beyond {
        /// The node's counter.
        counter: u64,
    },
    /// When the key was to be released or resumed, it was absent or held another token.
    NotHeld,
    /// The node answered with an error, or could not be queried.
    Failed(NodeError),
    /// The node did not answer within the node timeout.
    Silent {
        /// How long the round waited.
        after: Duration,
    },
    /// The node had not answered when the time limit of the call was reached, before the node timeout.
    CutShort {
        /// How long the round could wait.
        after: Duration,
    },
    /// The node was known to be failing when another node refused, so its answer was not awaited.
    KnownToFail,
    /// The round was decided before the node answered.
    NotAwaited,
}

impl Votes {
    /// Creates the votes of these nodes. `verb` is the past tense of what a granting node did.
    pub(crate) fn new(verb: &'static str, quorum: Quorum, nodes: Vec<NodeVote>) -> Self {
        Self { verb, quorum, nodes }
    }

    /// Returns the number of nodes that did what was requested.
    #[must_use]
    pub fn granted(&self) -> usize {
        self.nodes.iter().filter(|node| matches!(node.answer, NodeAnswer::Granted | NodeAnswer::Restored)).count()
    }

    /// Returns the number of nodes that refused.
    pub(crate) fn refused(&self) -> usize {
        self.nodes.iter().filter(|node| node.answer.vote() == Vote::Refused).count()
    }

    /// Returns the number of nodes that had to do what was requested.
    #[must_use]
    pub fn needed(&self) -> usize {
        self.quorum.needed()
    }

    /// Returns every node's answer, in the order in which the nodes were passed.
    #[must_use]
    pub fn nodes(&self) -> &[NodeVote] {
        &self.nodes
    }

    /// Returns whether no quorum is possible until the configuration of nodes, or of this client, is changed.
    pub(crate) fn are_hopeless(&self) -> bool {
        let fails_again =
            |node: &&NodeVote| matches!(&node.answer, NodeAnswer::Failed(error) if error.kind().is_lasting());
        self.nodes.len() - self.nodes.iter().filter(fails_again).count() < self.needed()
    }

    /// Returns whether nodes refused because another waiter comes first, while nobody is known to hold the lock: it is
    /// held on fewer nodes than a quorum, for example by a round that was lost as well.
    pub(crate) fn are_for_another_waiter(&self) -> bool {
        let count = |is_it: fn(&NodeAnswer) -> bool| self.nodes.iter().filter(|node| is_it(&node.answer)).count();
        let held = count(|answer| matches!(answer, NodeAnswer::Held { .. }));
        count(|answer| matches!(answer, NodeAnswer::Queued)) > 0 && held < self.needed()
    }

    /// Returns the number of permits of the semaphore, if a quorum reports another one than was requested.
    pub(crate) fn other_permits(&self) -> Option<u32> {
        let others = self.nodes.iter().filter_map(|node| match node.answer {
            NodeAnswer::OtherPermits { permits } => Some(permits),
            _ => None,
        });
        others.clone().next().filter(|_| others.count() >= self.needed())
    }

    /// Returns what an operator can do about the first failed node for which there is advice.
    fn advice(&self) -> Option<&'static str> {
        self.nodes.iter().find_map(|node| match &node.answer {
            NodeAnswer::Failed(error) => error.kind().advice(),
            NodeAnswer::Silent { .. } | NodeAnswer::KnownToFail => NodeErrorKind::Timeout.advice(),
            NodeAnswer::CutShort { .. } => Some("allow more time, or look for a slow node"),
            _ => None,
        })
    }
}

impl fmt::Display for Votes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (granted, nodes, verb, needed) = (self.granted(), self.nodes.len(), self.verb, self.needed());
        write!(f, "{granted} of {nodes} {verb}, {needed} needed")?;
        for (i, NodeVote { node, answer }) in self.nodes.iter().enumerate() {
            let separator = if i == 0 { ": " } else { ", " };
            write!(f, "{separator}{node} ")?;
            match answer {
                NodeAnswer::Granted => f.write_str(verb)?,
                NodeAnswer::Restored => f.write_str("had lost it and holds it again")?,
                NodeAnswer::Held { remaining: Some(remaining) } => {
                    write!(f, "held by another ({} left)", Readable(*remaining))?;
                }
                NodeAnswer::Held { remaining: None } => f.write_str("held by another (no known expiry)")?,
                NodeAnswer::OtherPermits { permits } => write!(f, "has {permits} permits, not the requested number")?,
                NodeAnswer::Queued => f.write_str("free, but another has waited longer")?,
                NodeAnswer::Quarantined { remaining } => {
                    write!(f, "in quarantine after a restart ({} left)", Readable(*remaining))?;
                }
                NodeAnswer::Beyond { counter } => write!(f, "has counted up to {counter}")?,
                NodeAnswer::NotHeld => f.write_str("no longer held it")?,
                NodeAnswer::Failed(error) => write!(f, "failed ({})", error.chain())?,
                NodeAnswer::Silent { after } => write!(f, "did not answer within {}", Readable(*after))?,
                NodeAnswer::CutShort { after } => {
                    write!(f, "had not answered after {}, when the time limit was reached", Readable(*after))?;
                }
                NodeAnswer::KnownToFail => f.write_str("is known to fail, so its answer was not awaited")?,
                NodeAnswer::NotAwaited => f.write_str("not awaited")?,
            }
        }
        match self.advice() {
            Some(advice) => write!(f, "; {advice}"),
            None => Ok(()),
        }
    }
}

impl NodeAnswer {
    /// Returns how the answer counts.
    pub(crate) fn vote(&self) -> Vote {
        match self {
            Self::Granted => Vote::Granted,
            Self::Restored => Vote::Restored,
            Self::Held { .. } | Self::OtherPermits { .. } | Self::Queued | Self::NotHeld | Self::Beyond { .. } => {
                Vote::Refused
            }
            Self::Quarantined { .. }
            | Self::Failed(_)
            | Self::Silent { .. }
            | Self::CutShort { .. }
            | Self::KnownToFail
            | Self::NotAwaited => Vote::Failed,
        }
    }
}

impl From<Result<AcquireAnswer, NodeError>> for NodeAnswer {
    fn from(answer: Result<AcquireAnswer, NodeError>) -> Self {
        match answer {
            Ok(AcquireAnswer::Granted { .. }) => Self::Granted,
            Ok(AcquireAnswer::Held { remaining, .. }) => Self::Held { remaining },
            Ok(AcquireAnswer::SlotHeld(SlotHeld { remaining, .. })) => Self::Held { remaining },
            Ok(AcquireAnswer::OtherPermits { permits }) => Self::OtherPermits { permits },
            Ok(AcquireAnswer::Queued) => Self::Queued,
            Ok(AcquireAnswer::Quarantined { remaining }) => Self::Quarantined { remaining },
            Err(error) => Self::Failed(error),
        }
    }
}

impl From<Result<ExtendAnswer, NodeError>> for NodeAnswer {
    fn from(answer: Result<ExtendAnswer, NodeError>) -> Self {
        match answer {
            Ok(ExtendAnswer::Extended) => Self::Granted,
            Ok(ExtendAnswer::Healed) => Self::Restored,
            Ok(ExtendAnswer::Held { remaining }) => Self::Held { remaining },
            Err(error) => Self::Failed(error),
        }
    }
}

impl From<Result<RaiseAnswer, NodeError>> for NodeAnswer {
    fn from(answer: Result<RaiseAnswer, NodeError>) -> Self {
        match answer {
            Ok(RaiseAnswer::Confirmed) => Self::Granted,
            Ok(RaiseAnswer::Higher(counter)) => Self::Beyond { counter },
            Ok(RaiseAnswer::NotHeld) => Self::NotHeld,
            Err(error) => Self::Failed(error),
        }
    }
}

impl From<Result<ReleaseAnswer, NodeError>> for NodeAnswer {
    fn from(answer: Result<ReleaseAnswer, NodeError>) -> Self {
        match answer {
            Ok(answer) if answer.is_released() => Self::Granted,
            Ok(_) => Self::NotHeld,
            Err(error) => Self::Failed(error),
        }
    }
}
