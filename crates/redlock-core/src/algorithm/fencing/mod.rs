//! Issues a fencing token that no other holder has, from the counters of the nodes that granted a lock.

#[cfg(test)]
mod tests;
#[cfg(test)]
mod random_tests;

use super::{FencingToken, Quorum, RoundFailure};

/// A node's answer to a raise: "if my key is still there and your counter is not above the candidate, set it to the
/// candidate".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Raised {
    /// The key exists, and the counter has the value of the candidate now.
    Confirmed,
    /// The key exists, and the counter has this value, above the candidate. It was left unchanged.
    Higher(u64),
    /// The key no longer exists, or never did, or the node has lost its counter. Nothing was changed: a counter that is
    /// lost must not be set to the candidate, since it may have been higher.
    NotHeld,
    /// The node did not answer, or answered with an error.
    Failed,
}

/// The next step towards a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fence {
    /// A quorum has confirmed this token: it belongs to the holder.
    Issued(FencingToken),
    /// Raise all nodes of [`Fencing::to_raise`] to this candidate, from 1 to [`FencingToken::MAX`].
    Raise(u64),
    /// No quorum can confirm any candidate: the lock is lost, and has to be released.
    Lost(RoundFailure),
}

/// The counters that nodes returned while they held the key of one round, and the decision that follows.
///
/// Each node keeps a counter beside the key, and adds one to it in the same step in which it sets the key. The greatest
/// counter among the nodes that granted is the candidate. Nodes at exactly the candidate confirm it, and a quorum of
/// them issues it as the token. The others are raised to it. A counter that is centuries above the others is no
/// candidate, and its node confirms none. The proofs below do not depend on which candidate is chosen.
///
/// Why no token is issued twice: two quorums share a node. That node was at the token while it had the first holder's
/// key, and again while it had the other's. In between it has set the other's key, and so has raised its counter. Why a
/// token is greater than earlier ones: some node of the quorum that confirmed an earlier token also confirms this one,
/// and it has raised its counter since. Both rely on counters that never go back, so a raise never lowers a counter,
/// and changes none while the key belongs to another holder. Neither depends on when keys expire.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Fencing {
    quorum: Quorum,
    nodes: Vec<Node>,
    /// The candidate to which the nodes were raised last.
    candidate: Option<u64>,
    /// The number of raises.
    raises: usize,
    /// Whether no further answers are awaited.
    over: bool,
}

/// The known state of one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Node {
    known: Known,
    /// Whether a raise to the candidate was sent to it and it has not answered.
    is_asked: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Known {
    /// Nothing is known. It may have the key.
    Nothing,
    /// The counter had this value while the node had the key.
    At(u64),
    /// It no longer has the key.
    Gone,
    /// It failed, so it can confirm nothing.
    Failed,
}

impl Fencing {
    /// By how much a counter may be above the median of the known ones, in microseconds: 100 years. Counters begin at
    /// the clocks of their nodes. One that is farther ahead comes from a wrong clock, or from damaged data.
    const AHEAD: u64 = 3_155_760_000_000_000;

    /// Starts with nothing known.
    #[must_use]
    pub fn new(quorum: Quorum) -> Self {
        let node = Node { known: Known::Nothing, is_asked: false };
        Self { quorum, nodes: vec![node; quorum.nodes()], candidate: None, raises: 0, over: false }
    }

    /// Records that the node has granted the lock, with this counter. Also call it for a grant that comes after the
    /// round was won.
    pub fn granted(&mut self, node: usize, counter: u64) {
        self.learn(node, at(counter));
    }

    /// Records that the node has refused the lock: it need not be raised.
    pub fn refused(&mut self, node: usize) {
        self.learn(node, Known::Gone);
    }

    /// Records that all nodes of [`to_raise`](Self::to_raise) are sent this candidate now.
    pub fn raising(&mut self, candidate: u64) {
        self.candidate = Some(candidate);
        self.raises += 1;
        for node in &mut self.nodes {
            node.is_asked = node.can_be_raised_to(candidate);
        }
    }

    /// Records a node's answer to a raise to this candidate, which need not be the latest one: confirming one candidate
    /// does not confirm another.
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

    /// Stops waiting: every missing answer counts as failed. After that there is a decision, and it is not a raise.
    pub fn give_up(&mut self) {
        if self.is_decided() {
            return;
        }
        self.over = true;
        for node in self.nodes.iter_mut().filter(|node| node.is_asked || node.known == Known::Nothing) {
            *node = Node { known: Known::Failed, is_asked: false };
        }
    }

    /// Returns what to do, or `None` while missing answers may confirm the candidate. An issued token and a lost lock
    /// are final, whatever is recorded later.
    ///
    /// A counter above the candidate does no harm as long as a quorum confirms the candidate without it. It is the next
    /// candidate when that is impossible.
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
        // As long as a node has the key, only this holder's raises move its counter. So nodes that granted are never
        // above the first candidate, and each of the others comes with a greater counter at most once: there are no
        // more raises than nodes. A node that lost the key and set it again, for an acquire that was sent twice, may
        // come with more, and it ends here.
        if willing < self.quorum.needed() || self.over || self.raises >= self.quorum.nodes() {
            return Some(Fence::Lost(lost));
        }
        match greatest {
            Some(counter) if self.candidate < greatest => Some(Fence::Raise(counter)),
            Some(_) => Some(Fence::Lost(lost)),
            None => None,
        }
    }

    /// Returns the nodes to raise to this candidate: all that have not confirmed it and may do so. Among them are nodes
    /// that have not answered the acquire: send the raise after it.
    pub fn to_raise(&self, candidate: u64) -> impl Iterator<Item = usize> {
        let nodes = self.nodes.iter().enumerate();
        nodes.filter(move |(_, node)| node.can_be_raised_to(candidate)).map(|(number, _)| number)
    }

    /// Returns the greatest counter, without those that are far above the others: they would leave the other nodes no
    /// room to count.
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
            // Once a node has lost the key or failed, its later answers are ignored.
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

    /// Returns whether it has the key, as far as is known, and can be raised.
    fn is_willing(&self) -> bool {
        matches!(self.known, Known::Nothing | Known::At(_))
    }

    fn can_be_raised_to(&self, candidate: u64) -> bool {
        self.is_willing() && self.counter() < Some(candidate)
    }

    /// Returns whether a raise to the candidate is in flight, and nothing known prevents the node from confirming it.
    fn may_confirm(&self, candidate: u64) -> bool {
        self.is_asked && self.can_be_raised_to(candidate)
    }
}

/// Returns what is known of a node with this counter. A counter that cannot be a token is useless, so the node counts
/// as failed.
fn at(counter: u64) -> Known {
    FencingToken::new(counter).map_or(Known::Failed, |token| Known::At(token.get()))
}
