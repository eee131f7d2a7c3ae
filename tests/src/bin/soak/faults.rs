//! The faults, as plain data derived from a seed: episodes of faults with quiet times between them.

use std::{iter, time::Duration};

use fastrand::Rng;

use crate::log::NodeFault;

/// Faults that happen at about the same time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Episode<K> {
    /// How long nothing fails before the episode.
    pub(crate) quiet: Duration,
    pub(crate) faults: Vec<Fault<K>>,
}

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault<K> {
    /// The number of the node or process.
    pub(crate) whom: usize,
    pub(crate) kind: K,
    /// When it begins within the episode.
    pub(crate) delay: Duration,
    pub(crate) lasts: Duration,
}

/// How a process fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ProcessFault {
    /// It is stopped at any point, and later continues from there.
    Paused,
    /// It is killed, and another process replaces it.
    Killed,
}

/// A plan of faults of nodes.
#[derive(Debug, Clone)]
pub(crate) struct NodePlan {
    pub(crate) nodes: usize,
    /// The kinds of faults in the plan.
    pub(crate) kinds: Vec<NodeFault>,
    /// A majority fails at once in every n-th episode.
    pub(crate) storm_every: usize,
    /// Only one node fails at a time, each in turn, and for longer.
    pub(crate) rolling: bool,
}

impl NodePlan {
    /// Returns an endless sequence of faults. Most of the time no more nodes fail at once than a quorum tolerates.
    pub(crate) fn episodes(self, seed: u64) -> impl Iterator<Item = Episode<NodeFault>> {
        let mut random = Rng::with_seed(seed);
        let mut kinds = Bag::default();
        let minority = self.nodes.div_ceil(2) - 1;
        (1..).map(move |number: usize| {
            if self.rolling {
                let fault = Fault {
                    whom: number % self.nodes,
                    kind: kinds.draw(&self.kinds, &mut random),
                    delay: Duration::ZERO,
                    lasts: millis(&mut random, 1_000, 8_000),
                };
                return Episode { quiet: millis(&mut random, 100, 1_500), faults: vec![fault] };
            }
            let is_storm = number.is_multiple_of(self.storm_every);
            let (how_many, longest) = match is_storm {
                // Shorter, because no lock can be acquired meanwhile.
                true => (random.usize(minority + 1..=self.nodes), 1_000),
                false => (random.usize(1..=minority.max(1)), 3_000),
            };
            let faults = random.choose_multiple(0..self.nodes, how_many).into_iter().map(|whom| Fault {
                whom,
                kind: kinds.draw(&self.kinds, &mut random),
                delay: millis(&mut random, 1, 300),
                lasts: millis(&mut random, 50, longest),
            });
            let faults = faults.collect();
            Episode { quiet: millis(&mut random, 100, 1_500), faults }
        })
    }
}

/// Returns an endless sequence of faults of processes: up to a third of them at once.
pub(crate) fn of_processes(processes: usize, seed: u64) -> impl Iterator<Item = Episode<ProcessFault>> {
    let mut random = Rng::with_seed(seed);
    let mut kinds = Bag::default();
    iter::repeat_with(move || {
        let how_many = random.usize(1..=processes.div_ceil(3));
        let faults = random.choose_multiple(0..processes, how_many).into_iter().map(|whom| Fault {
            whom,
            kind: kinds.draw(&[ProcessFault::Paused, ProcessFault::Paused, ProcessFault::Killed], &mut random),
            delay: millis(&mut random, 1, 300),
            lasts: millis(&mut random, 50, 3_000),
        });
        let faults = faults.collect();
        Episode { quiet: millis(&mut random, 300, 3_000), faults }
    })
}

/// Draws each kind before it draws one again, so that a short run sees all of them.
#[derive(Debug)]
struct Bag<K>(Vec<K>);

impl<K> Default for Bag<K> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K: Copy> Bag<K> {
    fn draw(&mut self, all: &[K], random: &mut Rng) -> K {
        loop {
            if let Some(kind) = self.0.pop() {
                return kind;
            }
            assert!(!all.is_empty(), "there is no kind of fault");
            self.0.extend(all);
            random.shuffle(&mut self.0);
        }
    }
}

/// Returns a random time. Short times are as likely as long ones: as many between 10 and 100 ms as between 100 ms and 1
/// s.
pub(crate) fn millis(random: &mut Rng, least: u64, most: u64) -> Duration {
    let (least, most) = (least as f64, most as f64);
    Duration::from_secs_f64(least * (most / least).powf(random.f64()) / 1e3)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn plan(nodes: usize) -> NodePlan {
        NodePlan { nodes, kinds: NodeFault::ALL.to_vec(), storm_every: 5, rolling: false }
    }

    #[test]
    fn rolling_faults_take_one_node_after_the_other() {
        let episodes = NodePlan { rolling: true, ..plan(3) }.episodes(1).take(6);
        let whom: Vec<_> = episodes.flat_map(|episode| episode.faults).map(|fault| fault.whom).collect();
        assert_eq!(whom, [1, 2, 0, 1, 2, 0]);
    }

    #[test]
    fn the_same_seed_makes_the_same_plan() {
        let first = |seed| plan(5).episodes(seed).take(50).collect::<Vec<_>>();
        assert_eq!(first(42), first(42));
        assert_ne!(first(42), first(43));
    }

    #[test]
    fn a_majority_fails_only_in_storms() {
        for nodes in 3..=9 {
            for (index, episode) in plan(nodes).episodes(7).take(200).enumerate() {
                let failing: BTreeSet<_> = episode.faults.iter().map(|fault| fault.whom).collect();
                assert_eq!(failing.len(), episode.faults.len(), "a node fails in one way at a time");
                let quorum = nodes / 2 + 1;
                let is_storm = (index + 1) % 5 == 0;
                let most = if is_storm { nodes } else { nodes - quorum };
                assert!((1..=most.max(1)).contains(&failing.len()), "{nodes} nodes: {episode:?}");
                assert_eq!(is_storm, nodes - failing.len() < quorum, "{nodes} nodes: {episode:?}");
            }
        }
    }

    #[test]
    fn every_kind_of_fault_happens_soon() {
        let faults: Vec<_> = plan(3).episodes(1).take(8).flat_map(|episode| episode.faults).collect();
        assert!(NodeFault::ALL.iter().all(|kind| faults.iter().any(|fault| fault.kind == *kind)), "{faults:?}");
        let faults: Vec<_> = of_processes(4, 1).take(3).flat_map(|episode| episode.faults).collect();
        assert!(faults.iter().any(|fault| fault.kind == ProcessFault::Killed), "{faults:?}");
    }

    #[test]
    fn times_are_within_bounds() {
        let mut random = Rng::with_seed(3);
        for _ in 0..1_000 {
            let time = millis(&mut random, 50, 3_000);
            assert!((Duration::from_millis(49)..Duration::from_millis(3_001)).contains(&time), "{time:?}");
        }
    }
}
