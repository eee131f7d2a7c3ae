//! The rules that all leases of a fleet have in common.

use crate::{
    algorithm::{Drift, NodeTimeout, Quorum, Ttl, TtlError},
    engine::ask::Terms,
};

/// The rules of a fleet. They never change.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    pub(crate) quorum: Quorum,
    pub(crate) drift: Drift,
    pub(crate) node_timeout: NodeTimeout,
    /// The longest TTL, with the restart guard.
    pub(crate) longest: Option<Ttl>,
    /// Whether a holder may hand its lock off to the next waiter of its process. Not with the restart guard: a
    /// quarantined node must not grant what it may have forgotten. And not where the clocks of the nodes are watched.
    pub(crate) may_hand_off: bool,
    /// The rule that a test gives up.
    #[cfg(test)]
    pub(crate) weakness: Option<Weakness>,
}

/// A rule that a test gives up, to see that the search finds what goes wrong without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Weakness {
    /// One vote fewer than a quorum is enough.
    OneVoteFewer,
    /// The validity counts from the answer.
    ValidityFromTheAnswer,
    /// An extend counts although the validity has ended.
    ExtendCountsLate,
    /// A grant that comes after the round was lost wins the lock.
    LateGrantWins,
    /// Only nodes that have granted are released.
    SilentNodesAreSpared,
    /// A holder relies on its lock after it was offered to a successor.
    OfferedStaysValid,
    /// A node with a request of the successor is spared, whatever it answers.
    OfferedNodesAreSpared,
    /// A request that was sent before goes out again, although its lease was released meanwhile.
    SetsAfterRelease,
    /// A release that was sent over a connection that broke is forgotten.
    BreakDropsReleases,
    /// A request that was sent over a connection that broke is forgotten.
    NoGhosts,
    /// A release is forgotten after a TTL, although the acquire before it is still out.
    ExpiresBehindRequests,
    /// A question that was answered stays open.
    AnswersTwice,
    /// The releases that are owed are not bounded.
    OwedWithoutBound,
}

impl Rules {
    /// Derives the terms from a TTL.
    pub(crate) fn terms(&self, ttl: Ttl) -> Result<Terms, TtlError> {
        if let Some(longest) = self.longest.filter(|longest| *longest < ttl) {
            return Err(TtlError::AboveGuard { ttl: ttl.given(), longest: longest.given() });
        }
        let node_timeout = self.node_timeout.of(ttl, &self.drift)?;
        Ok(Terms { ttl, node_timeout, validity: self.drift.validity(ttl, std::time::Duration::ZERO) })
    }

    /// Whether a test has given up this rule.
    #[cfg_attr(not(test), expect(unused_variables, reason = "only a test gives a rule up"))]
    pub(crate) fn lack(&self, weakness: Weakness) -> bool {
        #[cfg(test)]
        return self.weakness == Some(weakness);
        #[cfg(not(test))]
        return false;
    }
}
