//! The decisions of the crate's own [`Round`] on every possible count of votes, computed once.

use std::num::NonZeroUsize;

use redlock_core::algorithm::{Decision, Quorum, Round, Vote};

/// For each number of nodes that granted and that refused: with how many of these grants a round can be won.
///
/// A client may have received any of the answers when it decides. A node whose answer it has not received may count as
/// failed, or not count yet.
#[derive(Debug)]
pub(crate) struct Verdicts(Vec<Vec<Option<usize>>>);

impl Verdicts {
    /// Computes the decisions for the votes of `nodes` nodes, with the quorum of a possibly different number.
    pub(crate) fn of(nodes: usize, quorum_of: usize) -> Self {
        let quorum = Quorum::of(NonZeroUsize::new(quorum_of).expect("some nodes"));
        let wins = |granted, refused| {
            (0..=nodes - granted - refused).any(|failed| decides(quorum, [granted, refused, failed]) == Decision::Won)
        };
        let fewest = |granted: usize, refused: usize| {
            (0..=granted).find(|heard| (0..=refused.min(nodes - heard)).any(|refused| wins(*heard, refused)))
        };
        Self((0..=nodes).map(|granted| (0..=nodes).map(|refused| fewest(granted, refused)).collect()).collect())
    }

    /// Returns with how many grants a round can be won if this many nodes have granted and refused.
    pub(crate) fn won(&self, granted: usize, refused: usize) -> Option<usize> {
        self.0[granted][refused]
    }
}

/// Returns the decision of a round on these counts of granted, refused and failed: at once, or when it stops waiting.
fn decides(quorum: Quorum, votes: [usize; 3]) -> Decision {
    let mut round = Round::new(quorum);
    for (vote, count) in [Vote::Granted, Vote::Refused, Vote::Failed].into_iter().zip(votes) {
        (0..count).for_each(|_| round.count(vote));
    }
    let mut closed = round;
    closed.close();
    round.decision().or(closed.decision()).expect("a round that gets no more answers is decided")
}
