//! The quorum: how many nodes have to agree.

use std::{num::NonZeroUsize, time::Duration};

/// How many of N nodes must grant: N/2 + 1, so that two quorums always share a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Quorum {
    nodes: NonZeroUsize,
}

impl Quorum {
    /// Returns the quorum of this many nodes. Any number works. An even one tolerates no more failures than the odd
    /// number below it.
    #[must_use]
    pub fn of(nodes: NonZeroUsize) -> Self {
        Self { nodes }
    }

    /// Returns the number of nodes.
    #[must_use]
    pub fn nodes(self) -> usize {
        self.nodes.get()
    }

    /// Returns how many nodes must grant.
    #[must_use]
    pub fn needed(self) -> usize {
        self.nodes() / 2 + 1
    }

    /// Returns how many nodes may fail to grant: with one more, a quorum can no longer be reached.
    #[must_use]
    pub fn tolerated(self) -> usize {
        self.nodes() - self.needed()
    }

    /// Returns how long a quorum holds a key that each of these nodes holds for this long, or `None` if they are fewer
    /// than a quorum.
    #[must_use]
    pub fn holds_for(self, each: impl IntoIterator<Item = Duration>) -> Option<Duration> {
        let mut each: Vec<_> = each.into_iter().collect();
        each.sort_unstable_by(|a, b| b.cmp(a));
        each.get(self.needed() - 1).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quorum(nodes: usize) -> Quorum {
        Quorum::of(nodes.try_into().unwrap())
    }

    #[test]
    fn two_quorums_share_a_node_and_no_smaller_number_does() {
        for nodes in 1..1000 {
            let needed = quorum(nodes).needed();
            assert!(needed <= nodes);
            assert!(2 * needed > nodes, "two quorums of {needed} fit into {nodes} nodes");
            assert!(2 * (needed - 1) <= nodes, "{nodes} nodes need fewer than {needed}");
        }
    }

    #[test]
    fn any_two_quorums_of_a_fleet_intersect() {
        for nodes in 1..=9 {
            let needed = quorum(nodes).needed();
            let quorums: Vec<_> = (0_u32..1 << nodes).filter(|set| set.count_ones() as usize >= needed).collect();
            assert!(quorums.iter().all(|one| quorums.iter().all(|other| one & other != 0)), "{nodes} nodes");
        }
    }

    #[test]
    fn a_quorum_holds_for_as_long_as_its_nodes_that_hold_longest() {
        let holds_for = |each: &[u64]| quorum(5).holds_for(each.iter().copied().map(Duration::from_secs));
        assert_eq!(holds_for(&[1, 5, 3, 4, 2]), Some(Duration::from_secs(3)));
        assert_eq!(holds_for(&[7, 9, 8]), Some(Duration::from_secs(7)));
        assert_eq!(holds_for(&[7, 9]), None);
        assert_eq!(quorum(1).holds_for([]), None);
        for nodes in 1..=7 {
            // The node with number n holds for n seconds.
            let holds_for = quorum(nodes).holds_for((1..=nodes).map(|n| Duration::from_secs(n as u64))).unwrap();
            let then = (1..=nodes).filter(|n| Duration::from_secs(*n as u64) >= holds_for).count();
            assert_eq!(then, quorum(nodes).needed());
        }
    }

    #[test]
    fn no_fleet_is_too_large_to_count() {
        for nodes in [usize::MAX, usize::MAX - 1, usize::MAX / 2, usize::MAX / 2 + 1] {
            let quorum = quorum(nodes);
            assert!(quorum.needed() > nodes - quorum.needed(), "two quorums share a node");
            assert_eq!(quorum.tolerated(), nodes - quorum.needed());
        }
    }

    #[test]
    fn the_well_known_quorums() {
        let table = [(1, 1, 0), (2, 2, 0), (3, 2, 1), (4, 3, 1), (5, 3, 2), (6, 4, 2), (7, 4, 3)];
        for (nodes, needed, tolerated) in table {
            assert_eq!((quorum(nodes).needed(), quorum(nodes).tolerated()), (needed, tolerated));
        }
    }
}
