//! From the counters of the nodes that granted a lock to a fencing token that no other holder has.

use super::{FencingToken, Lost, Quorum};

/// What a node answers to a raise: "if my key is still there and your counter is not above the candidate, set it to the
/// candidate".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Raised {
    /// The key is there, and the counter is the candidate now.
    Confirmed,
    /// The key is there, and the counter is this, above the candidate. It was left alone.
    Higher(u64),
    /// The key is not there any more, or never was, or the node has lost its counter. Nothing was changed: a counter that
    /// is lost must not be set to the candidate, for it may have been higher.
    NotHeld,
    /// The node did not answer, or answered with an error.
    Failed,
}

/// How the issuing of a token goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fence {
    /// A quorum has confirmed this token: it is the holder's.
    Issued(FencingToken),
    /// All nodes of [`Fencing::to_raise`] are to be raised to this candidate, from 1 to [`FencingToken::MAX`].
    Raise(u64),
    /// No quorum can confirm any candidate: the lock is lost, and to be released.
    Lost(Lost),
}

/// The counters that nodes have told while they held one round's key, and what follows.
///
/// Each node keeps a counter beside the key, and adds one to it in the same step in which it sets the key. The greatest
/// counter among the nodes that granted is the candidate. Nodes at exactly the candidate confirm it, and a quorum of
/// them issues it as the token. The others are raised to it. A counter that is centuries above the others is no
/// candidate, and its node confirms none: which candidate is chosen does not matter for what follows.
///
/// Why no token is issued twice: two quorums share a node. That node was at the token while it had the one holder's
/// key, and again while it had the other's. In between it has set the other's key, and so has counted on. Why a token
/// is greater than those before: of the quorum that confirmed an earlier one, a node is among those that confirm this
/// one, and it has counted on since. Both rest on counters that are never set back, so a raise never lowers one, and
/// changes none while the key is another's. Neither rests on when keys expire.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Fencing {
    quorum: Quorum,
    nodes: Vec<Node>,
    /// To which the nodes were raised last.
    candidate: Option<u64>,
    /// How often nodes were raised.
    raises: usize,
    /// Whether nothing is waited for any more.
    over: bool,
}

/// What is known of one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Node {
    known: Known,
    /// Whether it is asked for the candidate, and has not answered.
    is_asked: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Known {
    /// It has told nothing. It may have the key.
    Nothing,
    /// This was its counter while it had the key.
    At(u64),
    /// It has the key no more.
    Gone,
    /// It cannot be asked.
    Failed,
}

impl Fencing {
    /// By how much a counter may be above the median of those that are known, in microseconds: 100 years. Counters
    /// begin at the clocks of their nodes, and one that is farther ahead comes from a wrong clock, or from damaged
    /// data.
    const AHEAD: u64 = 3_155_760_000_000_000;

    /// Nothing is known yet.
    #[must_use]
    pub fn new(quorum: Quorum) -> Self {
        let node = Node { known: Known::Nothing, is_asked: false };
        Self { quorum, nodes: vec![node; quorum.nodes()], candidate: None, raises: 0, over: false }
    }

    /// The node has granted the lock, with this counter. Also a grant that comes after the round was won is told.
    pub fn granted(&mut self, node: usize, counter: u64) {
        self.learn(node, at(counter));
    }

    /// The node has refused the lock: it need not be raised.
    pub fn refused(&mut self, node: usize) {
        self.learn(node, Known::Gone);
    }

    /// All nodes of [`to_raise`](Self::to_raise) are asked for this candidate now.
    pub fn raising(&mut self, candidate: u64) {
        self.candidate = Some(candidate);
        self.raises += 1;
        for node in &mut self.nodes {
            node.is_asked = node.can_be_raised_to(candidate);
        }
    }

    /// The node has answered to a raise to this candidate, which need not be the last one any more: to have confirmed
    /// one is not to have confirmed another.
    pub fn raised(&mut self, node: usize, candidate: u64, answer: Raised) {
        let known = match answer {
            Raised::Confirmed => at(candidate),
            Raised::Higher(counter) => at(counter),
            Raised::NotHeld => Known::Gone,
            Raised::Failed => Known::Failed,
        };
        self.learn(node, known);
        // Not before: without the answer, the lock might look lost.
        if let Some(node) = self.nodes.get_mut(node).filter(|_| self.candidate == Some(candidate)) {
            node.is_asked = false;
        }
    }

    /// Nothing is waited for any more: what is out counts as failed. Then there is a decision, and it is no raise.
    pub fn give_up(&mut self) {
        if self.is_decided() {
            return;
        }
        self.over = true;
        for node in self.nodes.iter_mut().filter(|node| node.is_asked || node.known == Known::Nothing) {
            *node = Node { known: Known::Failed, is_asked: false };
        }
    }

    /// What to do; nothing while answers that are out may confirm the candidate. A token that is issued and a lock that
    /// is lost stay so, whatever is told later.
    ///
    /// A counter that is above the candidate does no harm as long as a quorum confirms the candidate without it. It is
    /// the next candidate when that is impossible.
    #[must_use]
    pub fn decision(&self) -> Option<Fence> {
        let greatest = self.greatest();
        for candidate in [self.candidate, greatest].into_iter().flatten() {
            if self.count(|node| node.counter() == Some(candidate)) >= self.quorum.needed() {
                return FencingToken::new(candidate).map(Fence::Issued);
            }
        }
        if let Some(candidate) = self.candidate {
            let possible = |node: &Node| node.counter() == Some(candidate) || node.may_confirm(candidate);
            if self.count(possible) >= self.quorum.needed() {
                return None;
            }
        }
        let failed = self.count(|node| node.known == Known::Failed || node.counter() > greatest);
        let lost = if failed > self.quorum.tolerated() { Lost::NoQuorum } else { Lost::Contended };
        let willing = self.count(Node::is_willing);
        // As long as a node has the key, only this holder's raises move its counter. So those that granted are never
        // above the first candidate, and each of the others comes with a greater one at most once: no more raises
        // than nodes. A node that lost the key and set it again, for an acquire that was sent twice, may come with
        // more, and it ends here.
        if willing < self.quorum.needed() || self.over || self.raises >= self.quorum.nodes() {
            return Some(Fence::Lost(lost));
        }
        match greatest {
            Some(counter) if self.candidate < greatest => Some(Fence::Raise(counter)),
            Some(_) => Some(Fence::Lost(lost)),
            None => None,
        }
    }

    /// The nodes to be raised to this candidate: all that have not confirmed it and may do so. Among them are nodes
    /// that have not answered the acquire: send the raise behind it.
    pub fn to_raise(&self, candidate: u64) -> impl Iterator<Item = usize> {
        let nodes = self.nodes.iter().enumerate();
        nodes.filter(move |(_, node)| node.can_be_raised_to(candidate)).map(|(number, _)| number)
    }

    /// The greatest counter but those that are far above the others: they would leave the other nodes no room to count.
    fn greatest(&self) -> Option<u64> {
        let mut counters: Vec<_> = self.nodes.iter().filter_map(Node::counter).collect();
        counters.sort_unstable();
        // Of two, the lower one.
        let median = *counters.get(counters.len().checked_sub(1)? / 2)?;
        counters.into_iter().rfind(|counter| *counter <= median.saturating_add(Self::AHEAD))
    }

    fn is_decided(&self) -> bool {
        matches!(self.decision(), Some(Fence::Issued(_) | Fence::Lost(_)))
    }

    fn learn(&mut self, node: usize, told: Known) {
        if self.is_decided() {
            return;
        }
        let Some(node) = self.nodes.get_mut(node) else { return };
        node.known = match (node.known, told) {
            // Once it has lost the key or failed, nothing more is made of what it tells.
            (gone @ (Known::Gone | Known::Failed), _) => gone,
            // Answers may overtake each other, and counters only grow.
            (Known::At(before), Known::At(now)) => Known::At(now.max(before)),
            (_, told) => told,
        };
    }

    fn count(&self, is: impl Fn(&Node) -> bool) -> usize {
        self.nodes.iter().filter(|node| is(node)).count()
    }
}

impl Node {
    fn counter(&self) -> Option<u64> {
        match self.known {
            Known::At(counter) => Some(counter),
            Known::Nothing | Known::Gone | Known::Failed => None,
        }
    }

    /// Whether it has the key, as far as is known, and can be asked.
    fn is_willing(&self) -> bool {
        matches!(self.known, Known::Nothing | Known::At(_))
    }

    fn can_be_raised_to(&self, candidate: u64) -> bool {
        self.is_willing() && self.counter() < Some(candidate)
    }

    /// Whether it is asked for the candidate, and what else it has told does not prevent that it confirms.
    fn may_confirm(&self, candidate: u64) -> bool {
        self.is_asked && self.can_be_raised_to(candidate)
    }
}

/// What is known of a node that tells this counter. One that no token can be is as good as none.
fn at(counter: u64) -> Known {
    FencingToken::new(counter).map_or(Known::Failed, |token| Known::At(token.get()))
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, sample::Index};

    use super::*;

    const MAX: u64 = FencingToken::MAX.get();

    fn quorum(nodes: usize) -> Quorum {
        Quorum::of(nodes.try_into().unwrap())
    }

    /// With these grants of the first nodes.
    fn granted(nodes: usize, counters: &[u64]) -> Fencing {
        let mut fencing = Fencing::new(quorum(nodes));
        counters.iter().enumerate().for_each(|(node, counter)| fencing.granted(node, *counter));
        fencing
    }

    /// With these grants, of which the greatest is raised to.
    fn raising(nodes: usize, counters: &[u64]) -> Fencing {
        let mut fencing = granted(nodes, counters);
        let candidate = *counters.iter().max().unwrap();
        assert_eq!(fencing.decision(), Some(Fence::Raise(candidate)));
        fencing.raising(candidate);
        fencing
    }

    fn issued(number: u64) -> Option<Fence> {
        FencingToken::new(number).map(Fence::Issued)
    }

    const CONTENDED: Option<Fence> = Some(Fence::Lost(Lost::Contended));
    const NO_QUORUM: Option<Fence> = Some(Fence::Lost(Lost::NoQuorum));

    fn to_raise(fencing: &Fencing, candidate: u64) -> Vec<usize> {
        fencing.to_raise(candidate).collect()
    }

    #[test]
    fn equal_counters_of_a_quorum_are_the_token_at_once() {
        assert_eq!(granted(1, &[7]).decision(), issued(7));
        assert_eq!(granted(3, &[7, 7]).decision(), issued(7));
        assert_eq!(granted(4, &[7, 7, 7]).decision(), issued(7));
        assert_eq!(granted(5, &[7, 7, 7]).decision(), issued(7));
        // Half of the nodes are no quorum.
        assert_eq!(granted(4, &[7, 7]).decision(), Some(Fence::Raise(7)));
    }

    #[test]
    fn a_counter_far_above_the_others_is_no_candidate() {
        let far = 7 + Fencing::AHEAD + 1;
        assert_eq!(granted(3, &[far, 7, 7]).decision(), issued(7));
        let mut fencing = granted(3, &[far, 7]);
        assert_eq!((fencing.decision(), to_raise(&fencing, 7)), (Some(Fence::Raise(7)), vec![2]));
        fencing.raising(7);
        fencing.raised(2, 7, Raised::Confirmed);
        assert_eq!(fencing.decision(), issued(7));
        let mut failed = granted(3, &[far, 7]);
        failed.raising(7);
        failed.raised(2, 7, Raised::Failed);
        assert_eq!(failed.decision(), NO_QUORUM);
        // One that was counted is not far enough above.
        assert_eq!(granted(3, &[far - 1, 7]).decision(), Some(Fence::Raise(far - 1)));
    }

    #[test]
    fn without_a_grant_there_is_nothing_to_decide() {
        assert_eq!(Fencing::new(quorum(3)).decision(), None);
    }

    #[test]
    fn nodes_below_the_greatest_and_silent_ones_are_raised_to_it() {
        let mut fencing = granted(5, &[5, 7, 6]);
        fencing.refused(4);
        assert_eq!(fencing.decision(), Some(Fence::Raise(7)));
        assert_eq!(to_raise(&fencing, 7), [0, 2, 3]);
        fencing.raising(7);
        assert_eq!(to_raise(&fencing, 7), [0, 2, 3]);
        fencing.raised(3, 7, Raised::Confirmed);
        assert_eq!(to_raise(&fencing, 7), [0, 2]);
        assert_eq!(fencing.decision(), None);
        fencing.raised(0, 7, Raised::Confirmed);
        assert_eq!(fencing.decision(), issued(7));
    }

    #[test]
    fn a_higher_counter_does_no_harm_to_a_quorum_without_it() {
        let mut fencing = raising(3, &[5, 7]);
        fencing.raised(2, 7, Raised::Higher(9));
        assert_eq!(fencing.decision(), None);
        fencing.raised(0, 7, Raised::Confirmed);
        assert_eq!(fencing.decision(), issued(7));
    }

    #[test]
    fn a_higher_counter_is_the_next_candidate_when_the_last_is_impossible() {
        let mut fencing = raising(3, &[5, 7]);
        fencing.raised(0, 7, Raised::NotHeld);
        assert_eq!(fencing.decision(), None);
        fencing.raised(2, 7, Raised::Higher(9));
        assert_eq!(fencing.decision(), Some(Fence::Raise(9)));
        assert_eq!(to_raise(&fencing, 9), [1]);
        fencing.raising(9);
        assert_eq!(fencing.decision(), None);
        fencing.raised(1, 9, Raised::Confirmed);
        assert_eq!(fencing.decision(), issued(9));
    }

    #[test]
    fn the_next_candidate_is_the_greatest_that_is_known() {
        let mut fencing = raising(5, &[5, 6, 7]);
        fencing.raised(0, 7, Raised::Failed);
        fencing.raised(3, 7, Raised::Higher(11));
        assert_eq!(fencing.decision(), None);
        fencing.raised(4, 7, Raised::Higher(9));
        assert_eq!(fencing.decision(), Some(Fence::Raise(11)));
        assert_eq!(to_raise(&fencing, 11), [1, 2, 4]);
    }

    #[test]
    fn two_nodes_at_the_same_higher_counter_confirm_it_without_another_raise() {
        let mut fencing = raising(5, &[5, 6, 7]);
        for node in [0, 3] {
            fencing.raised(node, 7, Raised::Higher(9));
        }
        assert_eq!(fencing.decision(), None);
        fencing.raised(4, 7, Raised::Higher(9));
        assert_eq!(fencing.decision(), issued(9));
    }

    #[test]
    fn to_confirm_one_candidate_is_not_to_confirm_the_next() {
        let mut fencing = raising(5, &[5, 6, 7]);
        fencing.raised(0, 7, Raised::NotHeld);
        fencing.raised(3, 7, Raised::Higher(9));
        fencing.raised(4, 7, Raised::Higher(9));
        assert_eq!(fencing.decision(), Some(Fence::Raise(9)));
        fencing.raising(9);
        // Late answers to the first raise. Those to the second are still out.
        fencing.raised(1, 7, Raised::Confirmed);
        fencing.raised(2, 7, Raised::Confirmed);
        assert_eq!(fencing.decision(), None);
        assert_eq!(to_raise(&fencing, 9), [1, 2]);
        fencing.raised(1, 9, Raised::NotHeld);
        assert_eq!(fencing.decision(), None);
        fencing.raised(2, 9, Raised::Confirmed);
        assert_eq!(fencing.decision(), issued(9));
    }

    #[test]
    fn answers_may_overtake_each_other() {
        let mut fencing = raising(5, &[5, 6, 7]);
        fencing.raised(0, 7, Raised::NotHeld);
        fencing.raised(3, 7, Raised::Higher(9));
        fencing.raised(4, 7, Raised::Higher(9));
        fencing.raising(9);
        fencing.raised(1, 9, Raised::Confirmed);
        let before = fencing.clone();
        fencing.raised(1, 7, Raised::Confirmed);
        assert_eq!((fencing.decision(), &fencing), (issued(9), &before));
        // Before there is a decision.
        let mut fencing = raising(5, &[5, 6, 7]);
        fencing.raised(0, 7, Raised::Confirmed);
        fencing.granted(0, 5);
        fencing.raised(3, 7, Raised::Confirmed);
        assert_eq!(fencing.decision(), issued(7));
    }

    #[test]
    fn a_node_that_lost_the_key_or_failed_never_confirms_again() {
        for lost in [Raised::NotHeld, Raised::Failed] {
            let mut fencing = raising(3, &[5, 7]);
            fencing.raised(2, 7, lost);
            for again in [Raised::Confirmed, Raised::Higher(7), Raised::Higher(9)] {
                fencing.raised(2, 7, again);
                assert_eq!(fencing.decision(), None);
            }
            fencing.granted(2, 7);
            assert_eq!(fencing.decision(), None);
            assert_eq!(to_raise(&fencing, 7), [0]);
            fencing.raised(0, 7, lost);
            let blamed = if lost == Raised::Failed { NO_QUORUM } else { CONTENDED };
            assert_eq!(fencing.decision(), blamed);
        }
    }

    #[test]
    fn a_late_grant_confirms_or_shows_a_higher_counter() {
        let mut fencing = raising(3, &[5, 7]);
        fencing.granted(2, 6);
        assert_eq!((fencing.decision(), to_raise(&fencing, 7)), (None, vec![0, 2]));
        let mut equal = raising(3, &[5, 7]);
        equal.granted(2, 7);
        assert_eq!(equal.decision(), issued(7));
        let mut higher = raising(3, &[5, 7]);
        higher.granted(2, 8);
        assert_eq!((higher.decision(), to_raise(&higher, 7)), (None, vec![0]));
        higher.raised(0, 7, Raised::Failed);
        assert_eq!(higher.decision(), Some(Fence::Raise(8)));
    }

    #[test]
    fn failures_are_blamed_only_when_they_alone_prevent_a_quorum() {
        let lost = |answers: [Raised; 3]| {
            let mut fencing = raising(5, &[5, 7]);
            (2..).zip(answers).for_each(|(node, answer)| fencing.raised(node, 7, answer));
            fencing.decision()
        };
        use Raised::{Failed, NotHeld};
        assert_eq!(lost([Failed; 3]), NO_QUORUM);
        assert_eq!(lost([Failed, NotHeld, Failed]), CONTENDED);
        assert_eq!(lost([NotHeld; 3]), CONTENDED);
        let mut refused = Fencing::new(quorum(3));
        refused.refused(0);
        assert_eq!(refused.decision(), None);
        refused.refused(1);
        assert_eq!(refused.decision(), CONTENDED);
    }

    #[test]
    fn a_counter_that_no_token_can_be_is_a_failure() {
        for wrong in [0, MAX + 1, u64::MAX] {
            assert_eq!(granted(3, &[wrong, wrong]).decision(), NO_QUORUM);
            assert_eq!(granted(3, &[wrong, 7, 7]).decision(), issued(7));
            let mut fencing = raising(3, &[5, 7]);
            fencing.raised(2, 7, Raised::Higher(wrong));
            assert_eq!(fencing.decision(), None);
            fencing.raised(0, 7, Raised::Failed);
            assert_eq!(fencing.decision(), NO_QUORUM);
        }
        assert_eq!(granted(3, &[MAX, MAX]).decision(), issued(MAX));
        assert_eq!(granted(3, &[1, 1]).decision(), issued(1));
    }

    #[test]
    fn a_node_that_says_higher_and_is_not_is_of_no_use() {
        let mut fencing = raising(3, &[5, 7]);
        fencing.raised(0, 7, Raised::Higher(6));
        assert_eq!(fencing.decision(), None);
        fencing.raised(2, 7, Raised::Higher(6));
        assert_eq!(fencing.decision(), CONTENDED);
    }

    #[test]
    fn what_is_out_when_patience_ends_has_failed() {
        let mut fencing = raising(3, &[5, 7]);
        fencing.give_up();
        assert_eq!(fencing.decision(), NO_QUORUM);
        let mut higher = raising(3, &[5, 7]);
        higher.raised(2, 7, Raised::Higher(9));
        higher.give_up();
        // A raise to 9 might have come to an end, but nobody waits for it.
        assert_eq!(higher.decision(), CONTENDED);
        let mut silent = Fencing::new(quorum(3));
        silent.give_up();
        assert_eq!(silent.decision(), NO_QUORUM);
        let mut unasked = granted(3, &[5, 7]);
        unasked.give_up();
        assert_eq!(unasked.decision(), CONTENDED);
        let mut done = granted(3, &[7, 7]);
        done.give_up();
        assert_eq!(done.decision(), issued(7));
    }

    #[test]
    fn a_node_that_counts_on_for_ever_is_not_followed_for_ever() {
        let mut fencing = raising(3, &[5, 7]);
        fencing.raised(0, 7, Raised::NotHeld);
        for counter in [9, 11] {
            fencing.raised(2, counter - 2, Raised::Higher(counter));
            assert_eq!(fencing.decision(), Some(Fence::Raise(counter)));
            fencing.raising(counter);
            assert_eq!(fencing.decision(), None);
        }
        let mut last = fencing.clone();
        last.raised(1, 11, Raised::Confirmed);
        assert_eq!(last.decision(), issued(11));
        fencing.raised(2, 11, Raised::Higher(13));
        assert_eq!(fencing.decision(), CONTENDED);
    }

    #[test]
    fn there_is_no_node_beyond_the_last() {
        let mut fencing = raising(3, &[5, 7]);
        let before = fencing.clone();
        fencing.granted(3, 7);
        fencing.refused(usize::MAX);
        fencing.raised(3, 7, Raised::Confirmed);
        assert_eq!(fencing, before);
    }

    /// What happens to a [`Fencing`], on a node.
    #[derive(Debug, Clone)]
    enum Told {
        Granted(Index, u64),
        Refused(Index),
        /// An answer to one of the raises that were sent.
        Raised(Index, Index, Raised),
        GiveUp,
    }

    fn counter() -> impl Strategy<Value = u64> {
        prop_oneof![20 => 1_u64..6, 1 => Just(0), 1 => MAX - 1..=MAX + 1]
    }

    fn answer() -> impl Strategy<Value = Raised> {
        prop_oneof![
            4 => Just(Raised::Confirmed),
            4 => counter().prop_map(Raised::Higher),
            1 => Just(Raised::NotHeld),
            1 => Just(Raised::Failed),
        ]
    }

    fn told() -> impl Strategy<Value = Told> {
        prop_oneof![
            30 => (any::<Index>(), counter()).prop_map(|(node, counter)| Told::Granted(node, counter)),
            5 => any::<Index>().prop_map(Told::Refused),
            60 => (any::<Index>(), any::<Index>(), answer()).prop_map(|(node, to, answer)| Told::Raised(node, to, answer)),
            1 => Just(Told::GiveUp),
        ]
    }

    proptest! {
        /// Whatever nodes answer, also such as make no sense.
        #[test]
        fn a_token_is_issued_only_by_a_quorum_that_was_at_it_and_stays(
            nodes in 1_usize..8, told in prop::collection::vec(told(), 0..40),
        ) {
            let mut fencing = Fencing::new(quorum(nodes));
            let mut seen = std::collections::BTreeSet::new();
            let mut candidates: Vec<u64> = Vec::new();
            for told in told {
                let before = fencing.decision();
                match told {
                    Told::Granted(node, counter) => {
                        seen.insert((node.index(nodes), counter));
                        fencing.granted(node.index(nodes), counter);
                    }
                    Told::Refused(node) => fencing.refused(node.index(nodes)),
                    Told::Raised(node, to, answer) if !candidates.is_empty() => {
                        let (node, to) = (node.index(nodes), candidates[to.index(candidates.len())]);
                        match answer {
                            Raised::Confirmed => _ = seen.insert((node, to)),
                            Raised::Higher(counter) => _ = seen.insert((node, counter)),
                            Raised::NotHeld | Raised::Failed => {}
                        }
                        fencing.raised(node, to, answer);
                    }
                    Told::Raised(..) => {}
                    Told::GiveUp => fencing.give_up(),
                }
                match (before, fencing.decision()) {
                    (Some(Fence::Issued(_) | Fence::Lost(_)), now) => prop_assert_eq!(before, now),
                    (_, Some(Fence::Issued(token))) => {
                        let confirmed = (0..nodes).filter(|node| seen.contains(&(*node, token.get()))).count();
                        prop_assert!(2 * confirmed > nodes, "{confirmed} of {nodes} were at {token}");
                    }
                    (_, Some(Fence::Raise(candidate))) => {
                        prop_assert!(candidates.iter().all(|before| *before < candidate));
                        prop_assert!(seen.iter().any(|(_, counter)| *counter == candidate));
                        prop_assert!(FencingToken::new(candidate).is_some());
                        candidates.push(candidate);
                        prop_assert!(candidates.len() <= nodes);
                        prop_assert_ne!(fencing.to_raise(candidate).count(), 0);
                        fencing.raising(candidate);
                        prop_assert_eq!(fencing.decision(), None);
                    }
                    (_, Some(Fence::Lost(_)) | None) => {}
                }
            }
            // It is waited only for answers that can still issue the token, and patience ends it.
            let mut confirmed = fencing.clone();
            if let (None, Some(candidate)) = (fencing.decision(), candidates.last()) {
                (0..nodes).for_each(|node| confirmed.raised(node, *candidate, Raised::Confirmed));
                prop_assert_eq!(confirmed.decision(), issued(*candidate));
            }
            fencing.give_up();
            prop_assert!(matches!(fencing.decision(), Some(Fence::Issued(_) | Fence::Lost(_))));
        }

        /// As long as nodes keep the key, whatever their counters are, and whoever is slow.
        #[test]
        fn nodes_that_keep_the_key_issue_the_greatest_counter_of_the_grants_in_any_order(
            counters in prop::collection::vec(1_u64..6, 1..8),
            order in Just((0..7).collect::<Vec<usize>>()).prop_shuffle(),
            answers in Just((0..7).collect::<Vec<usize>>()).prop_shuffle(),
        ) {
            let nodes = counters.len();
            let quorum = quorum(nodes);
            let winners: Vec<_> = order.into_iter().filter(|node| *node < nodes).take(quorum.needed()).collect();
            let greatest = winners.iter().map(|node| counters[*node]).max().unwrap();
            let mut fencing = Fencing::new(quorum);
            winners.iter().for_each(|node| fencing.granted(*node, counters[*node]));
            if fencing.decision() == Some(Fence::Raise(greatest)) {
                let asked = to_raise(&fencing, greatest);
                fencing.raising(greatest);
                for node in answers.into_iter().filter(|node| asked.contains(node)) {
                    let answer = match counters[node] {
                        counter if counter > greatest => Raised::Higher(counter),
                        _ => Raised::Confirmed,
                    };
                    fencing.raised(node, greatest, answer);
                }
            }
            prop_assert_eq!(fencing.decision(), issued(greatest));
        }

        /// Which tokens are issued, and whether one is, does not depend on the order of the answers to a raise; only
        /// which candidate is next may.
        #[test]
        fn the_order_of_answers_does_not_matter(
            nodes in 1_usize..8,
            grants in prop::collection::vec(1_u64..6, 7),
            answers in prop::collection::vec(answer(), 7),
            order in Just((0..7).collect::<Vec<usize>>()).prop_shuffle(),
        ) {
            let decision = |order: &mut dyn Iterator<Item = usize>| {
                let mut fencing = granted(nodes, &grants[..quorum(nodes).needed()]);
                let Some(Fence::Raise(candidate)) = fencing.decision() else { return fencing.decision() };
                let asked = to_raise(&fencing, candidate);
                fencing.raising(candidate);
                for node in order.filter(|node| asked.contains(node)) {
                    fencing.raised(node, candidate, answers[node]);
                    // Such a token is another matter: its quorum may be complete before that of the candidate.
                    if let Some(Fence::Issued(token)) = fencing.decision() && token.get() != candidate {
                        return None;
                    }
                }
                fencing.decision()
            };
            let (one, other) = (decision(&mut (0..7)), decision(&mut order.into_iter()));
            match (one, other) {
                (None, _) | (_, None) => {}
                (Some(Fence::Issued(_)), _) | (_, Some(Fence::Issued(_))) => prop_assert_eq!(one, other),
                // More may fail, and the blame change.
                (Some(_), Some(_)) => {}
            }
        }
    }
}
