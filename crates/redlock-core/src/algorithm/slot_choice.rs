//! Chooses the slot of a semaphore that a round requests after a slot that was held.

/// One node's view of the slots of a semaphore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NodeSlots {
    /// The free slots, in the order in which the node checked them.
    pub(crate) free: Vec<u32>,
    /// Whether these are all free slots.
    pub(crate) is_complete: bool,
}

/// The slots of a semaphore, and the slot at which all nodes began to look for free ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SlotRange {
    pub(crate) permits: u32,
    pub(crate) offset: u32,
}

impl SlotRange {
    /// Chooses one of the slots that may be free on a quorum. If a quorum has listed some of them, one of those;
    /// otherwise one that the most nodes have listed, and that the fewest nodes have reported not to be free. `None` if
    /// there is no such slot, or none is known.
    ///
    /// For nodes that have listed none, because they granted or did not answer, any slot may be free. For nodes whose
    /// list ends before the slot, it may be free, too.
    pub(crate) fn choose(self, nodes: &[Option<NodeSlots>], quorum: usize, random: u64) -> Option<u32> {
        let listed = |slot| nodes.iter().flatten().filter(|node| node.free.contains(&slot)).count();
        let mut slots: Vec<_> = nodes.iter().flatten().flat_map(|node| node.free.iter().copied()).collect();
        slots.retain(|slot| *slot < self.permits);
        slots.sort_unstable();
        slots.dedup();
        let rated = slots.into_iter().filter_map(|slot| {
            let unknown = nodes.iter().filter(|node| node.as_ref().is_none_or(|node| self.is_beyond(node, slot)));
            let (listed, possible) = (listed(slot), listed(slot) + unknown.count());
            let rating = if listed < quorum { (listed, possible) } else { (quorum, quorum) };
            (possible >= quorum).then_some((rating, slot))
        });
        let rated: Vec<_> = rated.collect();
        let best = rated.iter().map(|(rating, _)| *rating).max()?;
        let best: Vec<_> = rated.into_iter().filter(|(rating, _)| *rating == best).map(|(_, slot)| slot).collect();
        let chosen = random.checked_rem(best.len() as u64)?;
        best.get(usize::try_from(chosen).ok()?).copied()
    }

    /// Returns whether the list of the node ends before the slot.
    fn is_beyond(self, node: &NodeSlots, slot: u32) -> bool {
        !node.is_complete && node.free.last().is_none_or(|last| self.place(*last) < self.place(slot))
    }

    /// Returns how many slots the nodes checked before this one.
    fn place(self, slot: u32) -> u32 {
        let slot = slot % self.permits.max(1);
        if slot >= self.offset { slot - self.offset } else { slot + self.permits - self.offset }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(free: &[u32]) -> Option<NodeSlots> {
        Some(NodeSlots { free: free.to_vec(), is_complete: true })
    }

    fn first(free: &[u32]) -> Option<NodeSlots> {
        Some(NodeSlots { free: free.to_vec(), is_complete: false })
    }

    /// Returns all slots that may be chosen.
    fn choices(nodes: &[Option<NodeSlots>], quorum: usize) -> Vec<u32> {
        let range = SlotRange { permits: 1024, offset: 1000 };
        let mut choices: Vec<_> = (0..64).filter_map(|random| range.choose(nodes, quorum, random)).collect();
        choices.sort_unstable();
        choices.dedup();
        choices
    }

    #[test]
    fn a_slot_that_is_free_on_a_quorum_is_chosen() {
        assert_eq!(choices(&[all(&[1001, 3, 7]), all(&[3, 7, 9]), None], 2), [3, 7]);
        assert_eq!(choices(&[all(&[3]), all(&[3]), all(&[9])], 2), [3]);
    }

    #[test]
    fn there_is_no_choice_if_no_slot_can_be_free_on_a_quorum() {
        assert_eq!(choices(&[all(&[]), all(&[]), None], 2), [0; 0]);
        assert_eq!(choices(&[all(&[3]), all(&[9]), all(&[])], 2), [0; 0]);
        assert_eq!(choices(&[None, None, None], 2), [0; 0]);
        assert_eq!(choices(&[all(&[4000]), all(&[4000]), None], 2), [0; 0]);
    }

    #[test]
    fn a_node_that_has_listed_nothing_may_have_the_slot_free() {
        assert_eq!(choices(&[all(&[3, 5]), None, None], 2), [3, 5]);
        assert_eq!(choices(&[all(&[3]), None, None, None, all(&[])], 4), [3]);
        assert_eq!(choices(&[all(&[3]), None, None, all(&[]), all(&[])], 4), [0; 0]);
    }

    #[test]
    fn a_slot_behind_the_end_of_a_list_may_be_free_there() {
        // One node has forgotten everything and lists the first slots. The only free slot is far behind them.
        assert_eq!(choices(&[first(&[1000, 1001]), all(&[500]), None], 2), [500]);
        assert_eq!(choices(&[first(&[1000, 1001]), all(&[500]), all(&[])], 2), [500]);
        assert_eq!(choices(&[first(&[0, 600]), all(&[500]), all(&[])], 2), [0; 0]);
    }
}
