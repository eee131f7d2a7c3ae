//! The round of a lease: the votes of the nodes, and the fencing token.

#[cfg(test)]
use std::hash::{Hash as _, Hasher};
use std::time::Duration;

use crate::{
    algorithm::{Decision, Fence, Fencing, FencingToken, Raised, RoundFailure, Vote},
    engine::{
        ask::{Answer, Answered, Terms},
        event::Acquire,
        rules::{Rules, Weakness},
        tally::Tally,
    },
    node::{AcquireAnswer, RaiseAnswer},
};

/// A round that is not decided yet.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Acquiring {
    /// Before the first byte was sent.
    pub(crate) started: Duration,
    pub(crate) terms: Terms,
    pub(crate) patience: Duration,
    tally: Tally,
    stage: Stage,
    slow: Option<Box<[usize]>>,
    is_fenced: bool,
    /// The candidate to which nodes were raised last.
    candidate: Option<u64>,
}

/// How far a round is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Stage {
    /// Only this node has a request.
    First(usize),
    /// All nodes have a request.
    All,
    /// A quorum has granted, and agrees on the fencing token.
    Fencing(Fencing),
}

/// The next action of a round.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Won(Option<FencingToken>),
    Lost(RoundFailure, Tally),
    /// The other nodes get a request as well.
    AskAllBut(usize),
    /// These nodes are raised to the candidate.
    Raise {
        candidate: u64,
        nodes: Vec<usize>,
    },
}

impl Acquiring {
    pub(crate) fn new<N>(ask: &Acquire<N>, rules: &Rules, now: Duration) -> Self {
        let stage = ask.first.map_or(Stage::All, |(node, _)| Stage::First(node));
        Self {
            started: now,
            terms: ask.terms,
            patience: ask.patience,
            tally: Tally::new(rules.quorum),
            stage,
            slow: ask.slow.clone(),
            is_fenced: ask.is_fenced,
            candidate: None,
        }
    }

    /// The rest of the validity that the round would give.
    pub(crate) fn left(&self, now: Duration) -> Duration {
        self.terms.validity.saturating_sub(now.saturating_sub(self.started))
    }

    /// A node has answered the acquire.
    pub(crate) fn acquired(&mut self, node: usize, answer: &Answered, is_trusted: bool) {
        let counter = match answer {
            Ok(Answer::Acquire(AcquireAnswer::Granted { counter, .. })) => *counter,
            _ => None,
        };
        let vote = match answer {
            // A node that counts no fencing tokens cannot be part of a quorum that agrees on one.
            Ok(Answer::Acquire(AcquireAnswer::Granted { .. })) if is_trusted && self.is_fenced <= counter.is_some() => {
                Vote::Granted
            }
            Ok(Answer::Acquire(AcquireAnswer::Held { .. } | AcquireAnswer::Queued)) => Vote::Refused,
            _ => Vote::Failed,
        };
        match (&mut self.stage, counter) {
            (Stage::Fencing(fencing), Some(counter)) if vote == Vote::Granted => fencing.granted(node, counter),
            (Stage::Fencing(_), _) => {}
            _ => self.tally.count(node, vote, Some(answer.clone())),
        }
    }

    /// A node has answered the raise to this candidate.
    pub(crate) fn raised(&mut self, node: usize, candidate: u64, answer: &Answered) {
        let Stage::Fencing(fencing) = &mut self.stage else { return };
        let (raised, vote) = match answer {
            Ok(Answer::Raise(RaiseAnswer::Confirmed)) => (Raised::Confirmed, Vote::Granted),
            Ok(Answer::Raise(RaiseAnswer::Higher(counter))) => (Raised::Higher(*counter), Vote::Refused),
            Ok(Answer::Raise(RaiseAnswer::NotHeld)) => (Raised::NotHeld, Vote::Refused),
            _ => (Raised::Failed, Vote::Failed),
        };
        fencing.raised(node, candidate, raised);
        self.tally.count(node, vote, Some(answer.clone()));
    }

    /// The round stops waiting for the first node alone. Returns that node if the others have no request yet.
    pub(crate) fn not_alone(&mut self) -> Option<usize> {
        let Stage::First(node) = self.stage else { return None };
        self.stage = Stage::All;
        Some(node)
    }

    /// The time for answers to the acquire is over. A raise that has begun has a time of its own.
    pub(crate) fn give_up(&mut self) {
        if !matches!(self.stage, Stage::Fencing(_)) {
            self.tally.close();
            self.stage = Stage::All;
        }
    }

    /// The time for the answers to the raise to this candidate is over.
    pub(crate) fn give_up_raise(&mut self, candidate: u64) {
        if let Stage::Fencing(fencing) = &mut self.stage
            && self.candidate == Some(candidate)
        {
            fencing.give_up();
            self.tally.close();
        }
    }

    /// The next action, from the answers; none while more are to be waited for.
    pub(crate) fn next(&mut self, rules: &Rules, now: Duration) -> Option<Next> {
        let decision = match self.stage {
            Stage::First(_) => return self.next_of_first(),
            Stage::Fencing(_) => return self.next_of_fencing(now),
            Stage::All => self.decision(rules),
        };
        match decision?.with(self.left(now)) {
            Decision::Lost(lost) => Some(Next::Lost(lost, self.tally.clone())),
            Decision::Won if !self.is_fenced => Some(Next::Won(None)),
            Decision::Won => {
                self.stage = Stage::Fencing(self.fencing(rules));
                self.next_of_fencing(now)
            }
        }
    }

    fn next_of_first(&mut self) -> Option<Next> {
        if self.tally.refusing().next().is_some() {
            return Some(Next::Lost(RoundFailure::Contended, self.tally.clone()));
        }
        let has_answered = self.tally.heard().iter().any(Option::is_some);
        let first = if has_answered { self.not_alone() } else { None };
        first.map(Next::AskAllBut)
    }

    fn decision(&mut self, rules: &Rules) -> Option<Decision> {
        // While slow nodes are waited for, the keys of this round would keep everybody else from a quorum.
        if self.slow.as_ref().is_some_and(|slow| self.tally.is_split(slow)) {
            self.tally.close();
        }
        if rules.lack(Weakness::OneVoteFewer) && self.tally.granted() + 1 >= rules.quorum.needed() {
            return Some(Decision::Won);
        }
        self.tally.decision()
    }

    fn fencing(&self, rules: &Rules) -> Fencing {
        let mut fencing = Fencing::new(rules.quorum);
        self.tally.refusing().for_each(|node| fencing.refused(node));
        for (node, heard) in self.tally.heard().iter().enumerate() {
            if let Some(heard) = heard.as_ref().filter(|heard| heard.vote == Vote::Granted)
                && let Some(Ok(Answer::Acquire(AcquireAnswer::Granted { counter: Some(counter), .. }))) = heard.answer
            {
                fencing.granted(node, counter);
            }
        }
        fencing
    }

    fn next_of_fencing(&mut self, now: Duration) -> Option<Next> {
        let left = self.left(now);
        let Stage::Fencing(fencing) = &mut self.stage else { return None };
        match fencing.decision()? {
            Fence::Issued(_) if left.is_zero() => Some(Next::Lost(RoundFailure::TooLate, self.tally.clone())),
            Fence::Issued(token) => Some(Next::Won(Some(token))),
            Fence::Lost(lost) => Some(Next::Lost(lost, self.tally.clone())),
            Fence::Raise(candidate) => {
                let nodes: Vec<_> = fencing.to_raise(candidate).collect();
                fencing.raising(candidate);
                self.candidate = Some(candidate);
                self.tally = self.tally.ask_again(candidate);
                Some(Next::Raise { candidate, nodes })
            }
        }
    }
}

/// For the search, to which all nodes are alike. It asks all nodes at once, and for no fencing token.
#[cfg(test)]
impl Acquiring {
    /// Hashes the parts of this node.
    pub(crate) fn hash_node(&self, node: usize, into: &mut impl Hasher) {
        self.tally.heard()[node].hash(into);
    }

    /// Hashes the parts of no node.
    pub(crate) fn hash_rest(&self, into: &mut impl Hasher) {
        (self.started, self.terms, self.tally.is_closed()).hash(into);
    }
}
