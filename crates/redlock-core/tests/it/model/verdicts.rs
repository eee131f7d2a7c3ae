//! What the crate's own [`Round`] says on every possible count of votes, asked once.

use std::num::NonZeroUsize;

use redlock_core::algorithm::{Decision, Quorum, Round, Vote};

/// For each number of nodes that granted and that refused: with how many of these grants a round can be won.
///
/// A client may have heard any of the answers when it decides; a node that it has not heard may count as failed, or not
/// be counted yet.
#[derive(Debug)]
pub(crate) struct Verdicts(Vec<Vec<Option<usize>>>);

impl Verdicts {
    /// The verdicts on votes of so many nodes, with a quorum that may be of another number.
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

    /// With how many grants a round can be won when so many nodes have granted and refused.
    pub(crate) fn won(&self, granted: usize, refused: usize) -> Option<usize> {
        self.0[granted][refused]
    }
}

/// What the round says on these votes of granted, refused and failed: at once, or when it waits no longer.
fn decides(quorum: Quorum, votes: [usize; 3]) -> Decision {
    let mut round = Round::new(quorum);
    for (vote, count) in [Vote::Granted, Vote::Refused, Vote::Failed].into_iter().zip(votes) {
        (0..count).for_each(|_| round.count(vote));
    }
    let mut closed = round;
    closed.close();
    round.decision().or(closed.decision()).expect("a round that gets no more answers is decided")
}
