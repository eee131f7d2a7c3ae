//! One round: counts votes, and decides as soon as they allow.

use std::time::Duration;

use super::Quorum;

/// One node's vote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Vote {
    /// The node did what was requested.
    Granted,
    /// The node did so, but had lost the key that it was to extend: another holder may have had it meanwhile.
    Restored,
    /// The node answered, and refused: another token holds the key.
    Refused,
    /// The node did not answer, or answered with an error.
    Failed,
}

/// How a round ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Decision {
    /// A quorum granted.
    Won,
    /// A quorum can no longer grant.
    Lost(RoundFailure),
}

impl Decision {
    /// Returns the decision with this much `validity` left: a round that is won too late is lost.
    #[must_use]
    pub fn with(self, validity: Duration) -> Self {
        match self {
            Self::Won if validity.is_zero() => Self::Lost(RoundFailure::TooLate),
            decision => decision,
        }
    }
}

/// Why a round failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RoundFailure {
    /// Enough nodes answered, but others hold the lock, or got some of the nodes at the same moment.
    Contended,
    /// Too many nodes failed: no quorum was possible, whether or not the lock is held.
    NoQuorum,
    /// A quorum granted, but none of the validity was left by then.
    TooLate,
}

/// The votes of one round, counted as they arrive. Decides as early as the votes allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Round {
    quorum: Quorum,
    granted: usize,
    /// How many of the granting nodes had lost the key.
    restored: usize,
    refused: usize,
    failed: usize,
}

impl Round {
    /// Returns a round without votes.
    #[must_use]
    pub fn new(quorum: Quorum) -> Self {
        Self { quorum, granted: 0, restored: 0, refused: 0, failed: 0 }
    }

    /// Counts one node's vote. Each node votes once.
    pub fn count(&mut self, vote: Vote) {
        match vote {
            Vote::Granted => self.granted += 1,
            Vote::Restored => {
                self.granted += 1;
                self.restored += 1;
            }
            Vote::Refused => self.refused += 1,
            Vote::Failed => self.failed += 1,
        }
    }

    /// Counts every node that has not voted as failed: the time for answers is over.
    pub fn close(&mut self) {
        self.failed = self.quorum.nodes().saturating_sub(self.granted + self.refused);
    }

    /// Returns how many nodes granted.
    #[must_use]
    pub fn granted(&self) -> usize {
        self.granted
    }

    /// Returns how the round ended, or `None` while the missing votes can decide either way.
    ///
    /// A quorum that grants decides at once, unless the nodes that had lost the key, together with the missing ones,
    /// might be a quorum themselves.
    #[must_use]
    pub fn decision(&self) -> Option<Decision> {
        let voted = self.granted + self.refused + self.failed;
        let out = self.quorum.nodes().saturating_sub(voted);
        if self.gone_from_quorum() {
            Some(Decision::Lost(RoundFailure::Contended))
        } else if self.granted >= self.quorum.needed() {
            (self.refused + self.restored + out < self.quorum.needed()).then_some(Decision::Won)
        } else if self.refused + self.failed <= self.quorum.tolerated() {
            None
        } else if self.failed > self.quorum.tolerated() {
            Some(Decision::Lost(RoundFailure::NoQuorum))
        } else {
            Some(Decision::Lost(RoundFailure::Contended))
        }
    }

    /// Returns whether a quorum does not hold what it held before: others may hold the lock, or may have held it.
    #[must_use]
    pub fn gone_from_quorum(&self) -> bool {
        self.refused + self.restored >= self.quorum.needed()
    }

    /// Returns whether no quorum can have granted, because too many nodes *refused*, regardless of the failed ones.
    #[must_use]
    pub fn refused_for_certain(&self) -> bool {
        self.refused > self.quorum.tolerated()
    }

    /// Returns the time until enough of the refusing nodes are free for a quorum, if their holders do nothing.
    /// `remaining` are the holders' TTLs that refusing nodes returned. `None` if too few of them returned one.
    ///
    /// A failed node counts as one that will not grant. Rounded up by a millisecond, the unit of Redis.
    #[must_use]
    pub fn free_after(&self, remaining: impl IntoIterator<Item = Duration>) -> Option<Duration> {
        let mut remaining: Vec<_> = remaining.into_iter().collect();
        remaining.sort_unstable();
        // Nodes that did not refuse or fail may grant next time.
        let willing = self.quorum.nodes().saturating_sub(self.refused + self.failed);
        let missing = self.quorum.needed().checked_sub(willing)?;
        let last = remaining.get(missing.checked_sub(1)?)?;
        Some(last.saturating_add(Duration::from_millis(1)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn round(nodes: usize, votes: &[Vote]) -> Round {
        let mut round = Round::new(Quorum::of(nodes.try_into().unwrap()));
        votes.iter().for_each(|vote| round.count(*vote));
        round
    }

    fn vote() -> impl Strategy<Value = Vote> {
        prop_oneof![3 => Just(Vote::Granted), 1 => Just(Vote::Restored), 3 => Just(Vote::Refused), 3 => Just(Vote::Failed)]
    }

    fn is_won(round: Round) -> bool {
        round.decision() == Some(Decision::Won)
    }

    proptest! {
        #[test]
        fn the_early_decision_is_the_full_decision_in_any_order(votes in prop::collection::vec(vote(), 1..12)) {
            let full = round(votes.len(), &votes);
            prop_assert!(full.decision().is_some());
            let early = (0..=votes.len())
                .map(|counted| round(votes.len(), &votes[..counted]))
                .find(|round| round.decision().is_some())
                .unwrap();
            prop_assert_eq!(is_won(early), is_won(full));
        }

        #[test]
        fn a_round_is_open_only_while_the_rest_can_still_decide_both_ways(
            votes in prop::collection::vec(vote(), 1..12),
            out in 0_usize..6,
        ) {
            let now = round(votes.len() + out, &votes);
            let (mut best, mut worst) = (now, now);
            // In the worst case, the others refuse or fail.
            let mut gone = now;
            (0..out).for_each(|_| { best.count(Vote::Granted); worst.count(Vote::Failed); gone.count(Vote::Refused); });
            prop_assert_eq!(now.decision().is_none(), is_won(best) && !(is_won(worst) && is_won(gone)));
        }

        #[test]
        fn silence_counts_as_failure(votes in prop::collection::vec(vote(), 0..12), out in 1_usize..6) {
            let mut silent = round(votes.len() + out, &votes);
            let mut failed = silent;
            silent.close();
            (0..out).for_each(|_| failed.count(Vote::Failed));
            prop_assert_eq!(silent.decision(), failed.decision());
        }
    }

    /// Returns every way in which this many nodes can vote, in every order.
    fn all_votes(nodes: u32) -> impl Iterator<Item = Vec<Vote>> {
        const VOTES: [Vote; 4] = [Vote::Granted, Vote::Restored, Vote::Refused, Vote::Failed];
        let vote = |number: usize, node| VOTES[number / 4_usize.pow(node) % 4];
        (0..4_usize.pow(nodes)).map(move |number| (0..nodes).map(|node| vote(number, node)).collect())
    }

    #[test]
    fn an_early_decision_holds_whatever_the_other_nodes_vote() {
        for nodes in 1..=7 {
            for votes in all_votes(nodes) {
                let full = round(votes.len(), &votes).decision().unwrap();
                let count = |of: [Vote; 2]| votes.iter().filter(|vote| of.contains(vote)).count();
                let (granted, gone) = (count([Vote::Granted, Vote::Restored]), count([Vote::Restored, Vote::Refused]));
                let majority = |count: usize| 2 * count > votes.len();
                assert_eq!(full == Decision::Won, majority(granted) && !majority(gone), "{votes:?}");
                for counted in 0..votes.len() {
                    match round(votes.len(), &votes[..counted]).decision() {
                        None => {}
                        Some(early @ (Decision::Won | Decision::Lost(RoundFailure::NoQuorum))) => {
                            assert_eq!(early, full, "{votes:?}")
                        }
                        // More nodes may fail, and then the reason changes.
                        Some(Decision::Lost(_)) => assert!(matches!(full, Decision::Lost(_)), "{votes:?}"),
                    }
                }
            }
        }
    }

    #[test]
    fn the_order_of_votes_does_not_matter() {
        for nodes in 1..=7 {
            for votes in all_votes(nodes) {
                let mut sorted = votes.clone();
                sorted.sort_by_key(|vote| *vote as u8);
                assert_eq!(round(votes.len(), &votes).decision(), round(votes.len(), &sorted).decision(), "{votes:?}");
            }
        }
    }

    #[test]
    fn grants_are_counted() {
        use Vote::{Failed, Granted, Refused};
        assert_eq!(round(5, &[]).granted(), 0);
        assert_eq!(round(5, &[Granted, Refused, Granted, Failed, Granted]).granted(), 3);
    }

    #[test]
    fn a_huge_fleet_does_not_overflow() {
        let mut round = round(usize::MAX, &[Vote::Granted, Vote::Refused]);
        assert_eq!(round.decision(), None);
        assert_eq!(round.free_after([Duration::MAX]), None);
        round.close();
        assert_eq!(round.decision(), Some(Decision::Lost(RoundFailure::NoQuorum)));
    }

    proptest! {
        #[test]
        fn a_waiter_waits_for_the_first_moment_at_which_enough_are_free(
            votes in prop::collection::vec(vote(), 1..8),
            told in prop::collection::vec(0_u64..50, 0..8),
        ) {
            let refused = votes.iter().filter(|vote| **vote == Vote::Refused).count();
            let told: Vec<_> = told.into_iter().take(refused).map(Duration::from_millis).collect();
            let granted = votes.iter().filter(|vote| matches!(vote, Vote::Granted | Vote::Restored)).count();
            let needed = votes.len() / 2 + 1;
            let free_at = |moment| granted + told.iter().filter(|remaining| **remaining <= moment).count();
            let first = told.iter().copied().filter(|moment| free_at(*moment) >= needed).min();
            let expected = first.filter(|_| granted < needed).map(|moment| moment + Duration::from_millis(1));
            prop_assert_eq!(round(votes.len(), &votes).free_after(told.iter().copied()), expected);
        }
    }

    #[test]
    fn failures_are_blamed_only_when_they_alone_prevent_a_quorum() {
        use Vote::{Failed, Granted, Refused};
        let lost = |votes: &[Vote]| round(votes.len(), votes).decision();
        assert_eq!(lost(&[Granted, Refused, Failed]), Some(Decision::Lost(RoundFailure::Contended)));
        assert_eq!(lost(&[Refused, Refused, Refused]), Some(Decision::Lost(RoundFailure::Contended)));
        assert_eq!(lost(&[Granted, Failed, Failed]), Some(Decision::Lost(RoundFailure::NoQuorum)));
        assert_eq!(lost(&[Refused, Failed, Failed]), Some(Decision::Lost(RoundFailure::NoQuorum)));
        assert_eq!(lost(&[Granted, Refused]), Some(Decision::Lost(RoundFailure::Contended)));
        assert_eq!(lost(&[Granted, Failed]), Some(Decision::Lost(RoundFailure::NoQuorum)));
    }

    #[test]
    fn a_round_won_without_validity_is_too_late() {
        assert_eq!(Decision::Won.with(Duration::from_nanos(1)), Decision::Won);
        assert_eq!(Decision::Won.with(Duration::ZERO), Decision::Lost(RoundFailure::TooLate));
        assert_eq!(
            Decision::Lost(RoundFailure::Contended).with(Duration::ZERO),
            Decision::Lost(RoundFailure::Contended)
        );
    }

    #[test]
    fn a_lock_is_gone_only_if_a_quorum_refuses() {
        assert!(round(3, &[Vote::Refused; 2]).gone_from_quorum());
        assert!(!round(2, &[Vote::Refused]).gone_from_quorum());
        assert!(!round(4, &[Vote::Refused; 2]).gone_from_quorum());
        assert!(round(4, &[Vote::Refused; 3]).gone_from_quorum());
    }

    #[test]
    fn a_minority_may_have_lost_the_keys_that_it_extends_and_a_quorum_may_not() {
        use Vote::{Failed, Granted, Refused, Restored};
        let decision = |votes: &[Vote]| round(votes.len(), votes).decision();
        assert_eq!(decision(&[Restored, Granted, Failed]), Some(Decision::Won));
        assert_eq!(decision(&[Restored, Restored, Granted]), Some(Decision::Lost(RoundFailure::Contended)));
        assert_eq!(decision(&[Restored, Refused, Granted]), Some(Decision::Lost(RoundFailure::Contended)));
        assert_eq!(decision(&[Restored, Restored, Granted, Granted, Failed]), Some(Decision::Won));
        assert_eq!(decision(&[Restored]), Some(Decision::Lost(RoundFailure::Contended)));
    }

    #[test]
    fn refusal_is_certain_when_the_failed_nodes_cannot_change_it() {
        assert!(round(3, &[Vote::Refused; 2]).refused_for_certain());
        assert!(!round(3, &[Vote::Refused, Vote::Failed, Vote::Failed]).refused_for_certain());
        assert!(round(2, &[Vote::Refused]).refused_for_certain());
    }

    #[test]
    fn a_waiter_knows_when_a_quorum_may_be_free() {
        use Vote::{Failed, Granted, Refused};
        let ms = Duration::from_millis;
        // Held on all three: the second to expire makes the quorum.
        let held = round(3, &[Refused; 3]);
        assert_eq!(held.free_after([ms(900), ms(100), ms(500)]), Some(ms(501)));
        // Two refused before the third answered: one of the two is enough then.
        assert_eq!(round(3, &[Refused; 2]).free_after([ms(900), ms(100)]), Some(ms(101)));
        // One failed: both others are needed.
        assert_eq!(round(3, &[Failed, Refused, Refused]).free_after([ms(900), ms(100)]), Some(ms(901)));
        // One of them did not return its TTL.
        assert_eq!(round(3, &[Failed, Refused, Refused]).free_after([ms(100)]), None);
        // Split: nobody needs to expire except the refusing one.
        assert_eq!(round(3, &[Granted, Refused, Failed]).free_after([ms(100)]), Some(ms(101)));
        // Too many failed: no expiry helps.
        assert_eq!(round(3, &[Failed, Failed, Refused]).free_after([ms(100)]), None);
        assert_eq!(held.free_after([Duration::MAX; 3]), Some(Duration::MAX));
    }
}
