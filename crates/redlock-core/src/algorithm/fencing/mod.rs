//! Issues a fencing token that no other holder has, from the counters of the nodes that granted a lock.

#[cfg(test)]
mod tests;
#[cfg(test)]
mod random_tests;

use super::{FencingToken, Quorum, RoundFailure};

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
    Lost(RoundFailure),
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
        let lost = if failed > self.quorum.tolerated() { RoundFailure::NoQuorum } else { RoundFailure::Contended };
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
