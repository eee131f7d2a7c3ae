//! The answers to one question that was put to all nodes, and how they count.

use std::time::Duration;

use crate::{
    algorithm::{Decision, Quorum, Round, Vote},
    engine::ask::{Answer, Answered},
    node::{AcquireAnswer, RaiseAnswer},
};

/// The votes on one question. Each node votes once; later answers change nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Tally {
    quorum: Quorum,
    round: Round,
    heard: Box<[Option<Heard>]>,
    is_closed: bool,
}

/// The answer of one node, and how it counts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Heard {
    pub(crate) vote: Vote,
    /// None if the node got no request, since the answer is known.
    pub(crate) answer: Option<Answered>,
}

impl Tally {
    pub(crate) fn new(quorum: Quorum) -> Self {
        let heard = (0..quorum.nodes()).map(|_| None).collect();
        Self { quorum, round: Round::new(quorum), heard, is_closed: false }
    }

    /// Counts the answer of a node.
    pub(crate) fn count(&mut self, node: usize, vote: Vote, answer: Option<Answered>) {
        if self.is_closed {
            return;
        }
        if let Some(heard @ None) = self.heard.get_mut(node) {
            *heard = Some(Heard { vote, answer });
            self.round.count(vote);
        }
    }

    /// A second question, to the nodes whose counter is not at the candidate: whether they confirm it. Nodes that do
    /// not hold the keys have said so already.
    pub(crate) fn ask_again(&self, candidate: u64) -> Self {
        let mut again = Self::new(self.quorum);
        for (node, heard) in self.heard.iter().enumerate() {
            let answer = heard.as_ref().and_then(|heard| heard.answer.clone());
            match &answer {
                Some(Ok(Answer::Acquire(AcquireAnswer::Held { .. }) | Answer::Raise(RaiseAnswer::NotHeld))) => {
                    again.count(node, Vote::Refused, answer);
                }
                Some(Ok(Answer::Acquire(AcquireAnswer::Granted { counter: Some(counter), .. })))
                | Some(Ok(Answer::Raise(RaiseAnswer::Higher(counter))))
                    if *counter == candidate =>
                {
                    again.count(node, Vote::Granted, Some(Ok(Answer::Raise(RaiseAnswer::Confirmed))));
                }
                _ => {}
            }
        }
        again
    }

    /// Nothing is waited for any more: the nodes that have not answered count as failed.
    pub(crate) fn close(&mut self) {
        self.round.close();
        self.is_closed = true;
    }

    #[cfg(test)]
    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed
    }

    pub(crate) fn decision(&self) -> Option<Decision> {
        self.round.decision()
    }

    pub(crate) fn granted(&self) -> usize {
        self.round.granted()
    }

    /// Whether a quorum has granted.
    pub(crate) fn has_quorum(&self) -> bool {
        self.round.granted() >= self.quorum.needed()
    }

    /// Whether a quorum does not hold what it held before.
    pub(crate) fn is_gone_from_quorum(&self) -> bool {
        self.round.gone_from_quorum()
    }

    /// Whether no quorum can have granted, whatever the nodes hold that failed.
    pub(crate) fn is_refused_for_certain(&self) -> bool {
        self.round.refused_for_certain()
    }

    /// Whether all have voted, or none is waited for.
    pub(crate) fn is_complete(&self) -> bool {
        self.is_closed || self.heard.iter().all(Option::is_some)
    }

    /// The answers, node by node.
    pub(crate) fn heard(&self) -> &[Option<Heard>] {
        &self.heard
    }

    /// Which nodes have refused.
    pub(crate) fn refusing(&self) -> impl Iterator<Item = usize> {
        let is_refusal = |heard: &Option<Heard>| heard.as_ref().is_some_and(|heard| heard.vote == Vote::Refused);
        self.heard.iter().enumerate().filter(move |(_, heard)| is_refusal(heard)).map(|(node, _)| node)
    }

    /// Whether only `slow` nodes have not answered, while the others are split between this round and another holder.
    pub(crate) fn is_split(&self, slow: &[usize]) -> bool {
        let mut missing = self.heard.iter().enumerate().filter(|(_, heard)| heard.is_none());
        let is_split = self.round.granted() > 0 && self.refusing().next().is_some();
        is_split && self.decision().is_none() && missing.all(|(node, _)| slow.contains(&node))
    }

    /// After how long the keys may be free for a quorum, from the remaining TTLs in the answers. While the round is not
    /// decided: after the longest of them.
    pub(crate) fn free_after(&self) -> Option<Duration> {
        let heard = self.heard.iter().flatten().filter_map(|heard| match &heard.answer {
            Some(Ok(Answer::Acquire(AcquireAnswer::Held { remaining, .. }))) => *remaining,
            _ => None,
        });
        match self.round.decision() {
            Some(_) => self.round.free_after(heard),
            None => heard.max().map(|remaining| remaining.saturating_add(Duration::from_millis(1))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algorithm::RoundFailure;

    fn tally(nodes: usize) -> Tally {
        Tally::new(Quorum::of(nodes.try_into().unwrap()))
    }

    fn held(millis: u64) -> Option<Answered> {
        Some(Ok(Answer::Acquire(AcquireAnswer::held(Some(Duration::from_millis(millis))))))
    }

    #[test]
    fn a_node_votes_once_and_not_after_the_end() {
        let mut tally = tally(3);
        tally.count(0, Vote::Granted, None);
        tally.count(0, Vote::Granted, None);
        assert_eq!((tally.granted(), tally.decision()), (1, None));
        tally.close();
        assert_eq!(tally.decision(), Some(Decision::Lost(RoundFailure::NoQuorum)));
        tally.count(1, Vote::Granted, None);
        assert_eq!((tally.granted(), tally.is_complete()), (1, true));
    }

    #[test]
    fn a_round_is_split_if_only_slow_nodes_are_missing() {
        let mut tally = tally(3);
        tally.count(0, Vote::Granted, None);
        assert!(!tally.is_split(&[1, 2]));
        tally.count(1, Vote::Refused, None);
        assert!(tally.is_split(&[2]) && !tally.is_split(&[]));
        tally.count(2, Vote::Refused, None);
        assert!(!tally.is_split(&[2]));
    }

    #[test]
    fn the_keys_are_free_when_enough_holders_have_expired() {
        let mut tally = tally(3);
        tally.count(0, Vote::Refused, held(9));
        assert_eq!(tally.free_after(), Some(Duration::from_millis(10)));
        tally.count(1, Vote::Refused, held(4));
        assert_eq!(tally.free_after(), Some(Duration::from_millis(5)));
    }
}
