//! The log of holds: hand-offs, waits and fairness, from the records of tasks in any number of processes.

use serde::{Deserialize, Serialize};

use crate::{
    results::Slice,
    statistics::{jain, percentile},
};

/// One lock of one task, in nanoseconds of the machine's monotonic clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hold {
    /// Unique among all processes.
    pub(crate) task: usize,
    /// When it first requested this lock, including calls that failed since.
    pub(crate) asked: u64,
    /// After the call that acquired it had returned.
    pub(crate) taken: u64,
    /// Before the call that released it.
    pub(crate) given: u64,
}

/// The records of tasks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Log {
    pub(crate) holds: Vec<Hold>,
    /// How long the tasks had waited that were still waiting at the end.
    pub(crate) waiting: Vec<u64>,
    /// Calls that ended without the lock.
    pub(crate) give_ups: u64,
}

impl Log {
    pub(crate) fn merge(&mut self, other: Self) {
        self.holds.extend(other.holds);
        self.waiting.extend(other.waiting);
        self.give_ups += other.give_ups;
    }

    /// Returns all figures of a slice with this many tasks and seconds.
    pub(crate) fn figures(&self, tasks: usize, seconds: f64) -> Slice {
        let mut waits: Vec<u64> = self.holds.iter().map(|hold| hold.taken - hold.asked).collect();
        waits.extend(&self.waiting);
        let millis = |nanos: u64| nanos as f64 / 1e6;
        let mut figures = Slice::from([
            ("handoffs", self.hand_offs() as f64 / seconds),
            ("acquisitions", self.holds.len() as f64 / seconds),
            ("giveups", self.give_ups as f64),
            ("overlaps", self.overlaps() as f64),
        ]);
        let waits = [("p50", 50.0), ("p99", 99.0), ("max", 100.0)]
            .map(|(key, percent)| Some((key, millis(percentile(&mut waits, percent)?))));
        figures.extend(waits.into_iter().flatten());
        figures.extend(jain(&self.shares(tasks)).map(|jain| ("jain", jain)));
        figures
    }

    /// Returns how often the lock went from one task to another.
    pub(crate) fn hand_offs(&self) -> usize {
        let holds = self.in_order();
        holds.iter().zip(holds.iter().skip(1)).filter(|(one, next)| one.task != next.task).count()
    }

    /// Returns how many holds began during another one. Must be zero.
    pub(crate) fn overlaps(&self) -> usize {
        let mut last = 0;
        let mut overlaps = 0;
        for hold in self.in_order() {
            overlaps += usize::from(hold.taken < last);
            last = last.max(hold.given);
        }
        overlaps
    }

    fn shares(&self, tasks: usize) -> Vec<u64> {
        let mut shares = vec![0; tasks];
        for hold in &self.holds {
            if let Some(share) = shares.get_mut(hold.task) {
                *share += 1;
            }
        }
        shares
    }

    fn in_order(&self) -> Vec<Hold> {
        let mut holds = self.holds.clone();
        holds.sort_by_key(|hold| (hold.taken, hold.given));
        holds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(holds: &[(usize, u64, u64)]) -> Log {
        let hold = |&(task, taken, given)| Hold { task, asked: taken - 1, taken, given };
        Log { holds: holds.iter().map(hold).collect(), ..Log::default() }
    }

    #[test]
    fn a_task_that_acquires_its_own_lock_again_is_no_hand_off() {
        assert_eq!(log(&[(0, 1, 2), (0, 3, 4), (0, 5, 6)]).hand_offs(), 0);
        assert_eq!(log(&[(0, 1, 2), (1, 3, 4), (1, 5, 6), (0, 7, 8)]).hand_offs(), 2);
        assert_eq!(log(&[]).hand_offs(), 0);
    }

    #[test]
    fn logs_of_processes_are_merged_by_time() {
        let mut all = log(&[(0, 1, 2), (0, 5, 6)]);
        all.merge(log(&[(1, 3, 4), (1, 7, 8)]));
        assert_eq!((all.hand_offs(), all.overlaps()), (3, 0));
    }

    #[test]
    fn two_holders_at_the_same_time_are_found() {
        assert_eq!(log(&[(0, 1, 5), (1, 5, 6)]).overlaps(), 0);
        assert_eq!(log(&[(0, 1, 5), (1, 4, 6)]).overlaps(), 1);
        // Also after a hold that had begun later and ended sooner.
        assert_eq!(log(&[(0, 1, 100), (1, 2, 3), (2, 50, 60)]).overlaps(), 2);
    }

    #[test]
    fn a_task_that_still_waits_counts_and_a_task_without_a_lock_makes_it_unfair() {
        let mut log = log(&[(0, 1_000_001, 1_000_002)]);
        log.waiting.push(9_000_000);
        let figures = log.figures(2, 0.5);
        assert_eq!(figures["max"], 9.0);
        assert_eq!(figures["jain"], 0.5);
        assert_eq!(figures["acquisitions"], 2.0);
        assert!(!Log::default().figures(2, 0.5).contains_key("jain"));
    }
}
