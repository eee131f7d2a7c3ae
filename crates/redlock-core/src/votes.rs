//! What each node answered, for errors and logs.

use std::{fmt, time::Duration};

use crate::{
    algorithm::{Decision, Quorum, Round, Vote},
    answer::{AcquireAnswer, ExtendAnswer, RaiseAnswer, ReleaseAnswer},
    fleet::Fleet,
    node_error::{NodeError, NodeErrorKind},
    readable::Readable,
    round_trip::RoundTrip,
};

/// What every node answered in one round.
#[derive(Debug)]
pub struct Votes {
    verb: &'static str,
    quorum: Quorum,
    nodes: Vec<NodeVote>,
}

/// What one node answered.
#[derive(Debug)]
#[non_exhaustive]
pub struct NodeVote {
    /// The node's [name](crate::LockNode::name).
    pub node: String,
    /// Its answer.
    pub answer: NodeAnswer,
}

/// An answer, or none.
#[derive(Debug)]
#[non_exhaustive]
pub enum NodeAnswer {
    /// The node did what was asked.
    Granted,
    /// The node prolonged a lock whose key it had lost: it holds it again.
    Restored,
    /// Another token holds the key.
    Held {
        /// How long the key still lives, if the node told.
        remaining: Option<Duration>,
    },
    /// The key is free, and another waiter comes first.
    Queued,
    /// The node was started a short time ago, and may have forgotten locks: it grants none yet, by the
    /// [restart guard](crate::RedlockBuilder::restart_guard).
    Quarantined {
        /// How long that lasts, by the node's clock.
        remaining: Duration,
    },
    /// The node was asked to confirm a fencing token, and its counter is above that already. It counts as a refusal.
    Beyond {
        /// The node's counter.
        counter: u64,
    },
    /// The key was gone when it was to be released or resumed, or held another token.
    NotHeld,
    /// The node answered with an error, or could not be asked.
    Failed(NodeError),
    /// The node did not answer within the node timeout.
    Silent {
        /// How long the round waited.
        after: Duration,
    },
    /// The node had not answered when the time of the call was over, before the node timeout.
    CutShort {
        /// How long the round could wait.
        after: Duration,
    },
    /// The node was known to fail when another holder had refused, and was not waited for.
    KnownToFail,
    /// The round was decided before the node answered.
    NotAwaited,
}

impl Votes {
    /// How many nodes did what was asked.
    #[must_use]
    pub fn granted(&self) -> usize {
        self.nodes.iter().filter(|node| matches!(node.answer, NodeAnswer::Granted | NodeAnswer::Restored)).count()
    }

    /// How many refused.
    pub(crate) fn refused(&self) -> usize {
        self.nodes.iter().filter(|node| node.answer.vote() == Vote::Refused).count()
    }

    /// How many had to.
    #[must_use]
    pub fn needed(&self) -> usize {
        self.quorum.needed()
    }

    /// Every node's answer, in the order in which the nodes were given.
    #[must_use]
    pub fn nodes(&self) -> &[NodeVote] {
        &self.nodes
    }

    /// Whether no quorum is possible until somebody changes the configuration of nodes, or of this client.
    pub(crate) fn are_hopeless(&self) -> bool {
        let fails_again =
            |node: &&NodeVote| matches!(&node.answer, NodeAnswer::Failed(error) if error.kind().is_lasting());
        self.nodes.len() - self.nodes.iter().filter(fails_again).count() < self.needed()
    }

    /// What an operator can do: about the first failed node for which there is something to do.
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
                NodeAnswer::Held { remaining: None } => f.write_str("held by another (no expiry told)")?,
                NodeAnswer::Queued => f.write_str("free, but another waits for longer")?,
                NodeAnswer::Quarantined { remaining } => {
                    write!(f, "in quarantine after a restart ({} left)", Readable(*remaining))?;
                }
                NodeAnswer::Beyond { counter } => write!(f, "has counted up to {counter}")?,
                NodeAnswer::NotHeld => f.write_str("no longer held it")?,
                NodeAnswer::Failed(error) => write!(f, "failed ({})", error.chain())?,
                NodeAnswer::Silent { after } => write!(f, "did not answer within {}", Readable(*after))?,
                NodeAnswer::CutShort { after } => {
                    write!(f, "had not answered after {}, when the time was over", Readable(*after))?;
                }
                NodeAnswer::KnownToFail => f.write_str("is known to fail, and was not waited for")?,
                NodeAnswer::NotAwaited => f.write_str("not waited for")?,
            }
        }
        match self.advice() {
            Some(advice) => write!(f, "; {advice}"),
            None => Ok(()),
        }
    }
}

/// One round: the votes, and the answers behind them, as they come in.
#[derive(Debug)]
pub(crate) struct Ballot<'a> {
    fleet: &'a Fleet,
    round: Round,
    answers: Vec<Option<NodeAnswer>>,
    /// How long answers were waited for, once the time for them is over.
    waited: Option<Waited>,
    /// Whether nodes that fail were not waited for, since another holder had refused.
    gave_way: bool,
}

/// How long a round waited for the nodes that did not answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Waited {
    pub(crate) after: Duration,
    /// Whether that was less than the node timeout.
    pub(crate) is_cut: bool,
}

impl<'a> Ballot<'a> {
    pub(crate) fn new(fleet: &'a Fleet) -> Self {
        let answers = fleet.members.iter().map(|_| None).collect();
        Self { fleet, round: Round::new(fleet.quorum), answers, waited: None, gave_way: false }
    }

    /// How the round stands.
    pub(crate) fn round(&self) -> &Round {
        &self.round
    }

    /// Counts answers until they decide, or the patience is over. A slow node is not waited for.
    pub(crate) async fn decide<A>(&mut self, answers: &mut RoundTrip<A>) -> Decision
    where
        A: Send,
        NodeAnswer: From<Result<A, NodeError>>,
    {
        loop {
            if self.round.decision().is_some() {
                self.count_ready(answers);
            }
            if let Some(decision) = self.round.decision() {
                return decision;
            }
            self.count_next(answers).await;
        }
    }

    /// As [`Ballot::decide`], and does not wait for nodes that fail if the others are split between this round and
    /// another holder: what the round holds would keep everybody else from a quorum meanwhile.
    pub(crate) async fn decide_or_give_way<A>(&mut self, answers: &mut RoundTrip<A>) -> Decision
    where
        A: Send,
        NodeAnswer: From<Result<A, NodeError>>,
    {
        loop {
            self.count_ready(answers);
            let mut missing = self.fleet.members.iter().zip(&self.answers).filter(|(_, answer)| answer.is_none());
            let is_split = self.round.granted() > 0 && self.refusing().next().is_some();
            if is_split && missing.all(|(member, _)| !member.is_prompt()) && self.round.decision().is_none() {
                self.round.close();
                self.gave_way = true;
            }
            if let Some(decision) = self.round.decision() {
                return decision;
            }
            self.count_next(answers).await;
        }
    }

    /// Counts what is there already: it changes nothing of the decision, but makes the report complete.
    pub(crate) fn count_ready<A>(&mut self, answers: &mut RoundTrip<A>)
    where
        A: Send,
        NodeAnswer: From<Result<A, NodeError>>,
    {
        while let Some((member, answer)) = answers.ready() {
            self.count(member, answer);
        }
    }

    /// Counts one more answer; false if there are no more to wait for, and all that are missing count as failed.
    pub(crate) async fn count_next<A>(&mut self, answers: &mut RoundTrip<A>) -> bool
    where
        A: Send,
        NodeAnswer: From<Result<A, NodeError>>,
    {
        match answers.next().await {
            Some((member, answer)) => self.count(member, answer),
            None => self.end(answers.waited()),
        }
        self.waited.is_none()
    }

    /// There are no more answers to wait for.
    pub(crate) fn end(&mut self, waited: Waited) {
        self.round.close();
        self.waited = Some(waited);
    }

    /// Whether answers are missing only because the time for them was cut short.
    pub(crate) fn is_cut(&self) -> bool {
        self.waited.is_some_and(|waited| waited.is_cut)
    }

    /// Which members have refused.
    pub(crate) fn refusing(&self) -> impl Iterator<Item = usize> {
        let is_refusal = |answer: &NodeAnswer| answer.vote() == Vote::Refused;
        let answers = self.answers.iter().enumerate();
        answers.filter(move |(_, answer)| answer.as_ref().is_some_and(is_refusal)).map(|(member, _)| member)
    }

    /// Whether this member has answered, and not with an error.
    pub(crate) fn has_answered(&self, member: usize) -> bool {
        self.answers
            .get(member)
            .is_some_and(|answer| answer.as_ref().is_some_and(|answer| answer.vote() != Vote::Failed))
    }

    /// A second question, to those that have not said that they do not hold the keys: that stands.
    pub(crate) fn ask_again(&mut self) {
        let before = std::mem::replace(self, Self::new(self.fleet));
        for (member, answer) in before.answers.into_iter().enumerate() {
            if let Some(answer @ (NodeAnswer::Held { .. } | NodeAnswer::NotHeld)) = answer {
                self.count(member, answer);
            }
        }
    }

    /// Counts one answer.
    pub(crate) fn count(&mut self, member: usize, answer: impl Into<NodeAnswer>) {
        let answer = answer.into();
        self.round.count(answer.vote());
        if let Some(slot) = self.answers.get_mut(member) {
            *slot = Some(answer);
        }
    }

    /// After how long the resource may be free for a quorum, as far as the nodes told. Of a round that is not decided, as
    /// far as that one told that was asked.
    pub(crate) fn free_after(&self) -> Option<Duration> {
        let told = self.answers.iter().filter_map(|answer| match answer {
            Some(NodeAnswer::Held { remaining }) => *remaining,
            _ => None,
        });
        match self.round.decision() {
            Some(_) => self.round.free_after(told),
            None => told.max().map(|remaining| remaining.saturating_add(Duration::from_millis(1))),
        }
    }

    /// The result. `verb` is what a node did that granted, in the past tense.
    pub(crate) fn close(self, verb: &'static str) -> Votes {
        let missing = || match self.waited {
            None if self.gave_way => NodeAnswer::KnownToFail,
            None => NodeAnswer::NotAwaited,
            Some(Waited { after, is_cut: true }) => NodeAnswer::CutShort { after },
            Some(Waited { after, is_cut: false }) => NodeAnswer::Silent { after },
        };
        let nodes = self.fleet.members.iter().zip(self.answers).map(|(member, answer)| NodeVote {
            node: member.node.name().to_owned(),
            answer: answer.unwrap_or_else(missing),
        });
        Votes { verb, quorum: self.fleet.quorum, nodes: nodes.collect() }
    }
}

impl NodeAnswer {
    /// How the answer counts.
    fn vote(&self) -> Vote {
        match self {
            Self::Granted => Vote::Granted,
            Self::Restored => Vote::Restored,
            Self::Held { .. } | Self::Queued | Self::NotHeld | Self::Beyond { .. } => Vote::Refused,
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
            Ok(AcquireAnswer::Held { remaining }) => Self::Held { remaining },
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
