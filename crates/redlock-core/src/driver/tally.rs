//! Counts the answers of one round. It neither sends nor waits.

use std::time::Duration;

use crate::{
    algorithm::{Quorum, Round, Vote},
    report::{NodeAnswer, NodeVote, Votes},
};

/// The votes of one round, and the answers behind them, in the order in which they arrive.
#[derive(Debug)]
pub(crate) struct Tally {
    quorum: Quorum,
    round: Round,
    answers: Vec<Option<NodeAnswer>>,
    /// How long the round waited for answers, once that time is over.
    waited: Option<Waited>,
    /// Whether the round did not wait for failing nodes, since another holder had refused.
    gave_way: bool,
}

/// How long a round waited for the nodes that did not answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Waited {
    pub(crate) after: Duration,
    /// Whether that was less than the node timeout.
    pub(crate) is_cut: bool,
}

impl Tally {
    /// The tally of a round over this many nodes.
    pub(crate) fn new(quorum: Quorum, nodes: usize) -> Self {
        let answers = (0..nodes).map(|_| None).collect();
        Self { quorum, round: Round::new(quorum), answers, waited: None, gave_way: false }
    }

    /// The votes so far.
    pub(crate) fn round(&self) -> &Round {
        &self.round
    }

    /// Whether the nodes that have answered are split between this round and another holder, and every missing node
    /// `may_be_missing`.
    pub(crate) fn is_split(&self, may_be_missing: impl Fn(usize) -> bool) -> bool {
        let mut missing = self.answers.iter().enumerate().filter(|(_, answer)| answer.is_none());
        let is_split = self.round.granted() > 0 && self.refusing().next().is_some();
        is_split && missing.all(|(member, _)| may_be_missing(member)) && self.round.decision().is_none()
    }

    /// Ends the round without the missing nodes, since another holder has refused.
    pub(crate) fn give_way(&mut self) {
        self.round.close();
        self.gave_way = true;
    }

    /// Whether there are more answers to wait for.
    pub(crate) fn is_open(&self) -> bool {
        self.waited.is_none()
    }

    /// Ends the round, since there are no more answers to wait for.
    pub(crate) fn end(&mut self, waited: Waited) {
        self.round.close();
        self.waited = Some(waited);
    }

    /// Whether answers are missing only because the time for them was cut short.
    pub(crate) fn is_cut(&self) -> bool {
        self.waited.is_some_and(|waited| waited.is_cut)
    }

    /// The members that have refused.
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

    /// Starts to count a second request. A refusal of the first one stays.
    pub(crate) fn ask_again(&mut self) {
        let before = std::mem::replace(self, Self::new(self.quorum, self.answers.len()));
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

    /// Returns after how long the resource may be free for a quorum, by the remaining TTLs in the answers. If the round
    /// is not decided, the answer of the queried node counts.
    pub(crate) fn free_after(&self) -> Option<Duration> {
        let remaining = self.answers.iter().filter_map(|answer| match answer {
            Some(NodeAnswer::Held { remaining }) => *remaining,
            _ => None,
        });
        match self.round.decision() {
            Some(_) => self.round.free_after(remaining),
            None => remaining.max().map(|remaining| remaining.saturating_add(Duration::from_millis(1))),
        }
    }

    /// The result. `verb` is what a granting node did, in the past tense. `names` are the names of the nodes.
    pub(crate) fn close<'n>(self, verb: &'static str, names: impl Iterator<Item = &'n str>) -> Votes {
        let missing = || match self.waited {
            None if self.gave_way => NodeAnswer::KnownToFail,
            None => NodeAnswer::NotAwaited,
            Some(Waited { after, is_cut: true }) => NodeAnswer::CutShort { after },
            Some(Waited { after, is_cut: false }) => NodeAnswer::Silent { after },
        };
        let nodes = names
            .zip(self.answers)
            .map(|(name, answer)| NodeVote { node: name.to_owned(), answer: answer.unwrap_or_else(missing) });
        Votes::new(verb, self.quorum, nodes.collect())
    }
}
