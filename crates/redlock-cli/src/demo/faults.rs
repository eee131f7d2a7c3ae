//! The faults, as plain data: which node fails how, and when.

use std::{num::NonZeroUsize, time::Duration};

use redlock_core::algorithm::Quorum;

/// The condition of a node.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    /// It answers.
    #[default]
    Up,
    /// It refuses every request.
    Stopped,
    /// It accepts requests and does not answer.
    Hung,
}

/// A change: at this time of the run, this node gets into this condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) at: Duration,
    pub(crate) node: usize,
    pub(crate) to: Condition,
}

/// Returns the faults of a run in order of time: every node fails once, one after the other, stopped and hung by turns,
/// and in the middle of the run as many are down at the same time as the quorum tolerates; never more.
///
/// `answers` says for each node whether it answers at all. A node that does not is left alone, but counts as down.
pub(crate) fn schedule(answers: &[bool], run: Duration) -> Vec<Change> {
    let Some(nodes) = NonZeroUsize::new(answers.len()) else { return Vec::new() };
    let well: Vec<usize> = (0..answers.len()).filter(|node| answers.get(*node) == Some(&true)).collect();
    let down_at_once = Quorum::of(nodes).tolerated().saturating_sub(answers.len() - well.len());
    if down_at_once == 0 {
        return Vec::new();
    }
    // The time from one fault to the next. The first one begins after half a step, the last one ends half a step before
    // the end.
    let step = run / (well.len() + down_at_once) as u32;
    // A quarter of a step less: a node is back before the next one fails.
    let lasts = step * down_at_once as u32 - step / 4;
    let mut changes = Vec::new();
    for (turn, node) in well.into_iter().enumerate() {
        let at = step / 2 + step * turn as u32;
        let fault = if turn % 2 == 0 { Condition::Stopped } else { Condition::Hung };
        changes.push(Change { at, node, to: fault });
        changes.push(Change { at: at + lasts, node, to: Condition::Up });
    }
    changes.sort_by_key(|change| change.at);
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: Duration = Duration::from_secs(8);

    /// Returns the greatest number of nodes that are down at the same time, including nodes that do not answer.
    fn most_down(answers: &[bool]) -> usize {
        let mut down: Vec<bool> = answers.iter().map(|answers| !answers).collect();
        let mut most = 0;
        for Change { at, node, to } in schedule(answers, RUN) {
            assert!(at < RUN && answers[node]);
            down[node] = to != Condition::Up;
            most = most.max(down.iter().filter(|down| **down).count());
        }
        most
    }

    #[test]
    fn a_majority_is_always_up() {
        for nodes in 1..=9 {
            assert_eq!(most_down(&vec![true; nodes]), (nodes - 1) / 2, "{nodes} nodes");
        }
    }

    #[test]
    fn a_node_that_does_not_answer_counts_as_down() {
        assert_eq!(most_down(&[true, false, true, true, true]), 2);
        assert_eq!(schedule(&[true, false, true, true, false], RUN), []);
        assert_eq!(schedule(&[false; 5], RUN), []);
        assert_eq!(schedule(&[], RUN), []);
    }

    #[test]
    fn every_node_fails_once_and_comes_back() {
        let changes = schedule(&[true; 5], RUN);
        assert!(changes.is_sorted_by_key(|change| change.at));
        for node in 0..5 {
            let of_node: Vec<_> = changes.iter().filter(|change| change.node == node).map(|change| change.to).collect();
            assert!(matches!(*of_node, [Condition::Stopped | Condition::Hung, Condition::Up]), "{of_node:?}");
        }
    }
}
