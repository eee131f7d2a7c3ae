//! Liveness: how long a lock was free and wanted, and not acquired although a majority of the nodes responded. A pure
//! function of the log.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{
    hold::Hold,
    log::{Event, What, Who},
};

/// A time in which a lock could have been acquired and was not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Idle {
    pub(crate) resource: usize,
    pub(crate) from: Duration,
    pub(crate) to: Duration,
}

impl Idle {
    pub(crate) fn lasted(&self) -> Duration {
        self.to.saturating_sub(self.from)
    }
}

/// Returns the longest time in which a lock was idle.
///
/// A lock is idle while no hold of it is valid, a task that is neither paused nor killed waits for it, and at most a
/// minority of the nodes fails or does not answer the soak itself: the disk of a busy machine may delay a server. The
/// time starts again whenever one of these conditions ends.
pub(crate) fn longest_idle(events: &[Event], holds: &[Hold], nodes: usize) -> Option<Idle> {
    let mut scene = Scene { nodes, ..Scene::default() };
    let mut longest: Option<Idle> = None;
    for (at, change) in changes(events, holds) {
        scene.apply(change);
        let idle: BTreeSet<_> = scene.idle().collect();
        let ended: Vec<_> = scene.since.keys().copied().filter(|resource| !idle.contains(resource)).collect();
        for resource in ended {
            let from = scene.since.remove(&resource).unwrap_or(at);
            let this = Idle { resource, from, to: at };
            longest = longest.filter(|longest| longest.lasted() >= this.lasted()).or(Some(this));
        }
        for resource in idle {
            scene.since.entry(resource).or_insert(at);
        }
    }
    longest
}

/// An event that changes whether a lock is idle.
#[derive(Debug, Clone, Copy)]
enum Change<'a> {
    Noted(&'a Event),
    /// A hold of this resource begins, or its validity ends.
    Begins(usize),
    Ends(usize),
}

/// Returns all changes in the order of time; at one moment, the ones that end an idle time come first.
fn changes<'a>(events: &'a [Event], holds: &[Hold]) -> Vec<(Duration, Change<'a>)> {
    let begin = holds.iter().map(|hold| (hold.from, Change::Begins(hold.resource)));
    let noted = events.iter().map(|event| (event.at, Change::Noted(event)));
    let end = holds.iter().map(|hold| (hold.end(), Change::Ends(hold.resource)));
    let mut all: Vec<_> = begin.chain(noted).chain(end).collect();
    all.sort_by_key(|(at, _)| *at);
    all
}

#[derive(Debug, Default)]
struct Scene {
    nodes: usize,
    failing: BTreeSet<Who>,
    silent: BTreeSet<Who>,
    /// Processes that cannot send requests now.
    absent: BTreeSet<usize>,
    /// The resource that each task waits for.
    wanted: BTreeMap<(usize, usize), usize>,
    held: BTreeMap<usize, usize>,
    /// Since when each resource has been idle.
    since: BTreeMap<usize, Duration>,
}

impl Scene {
    fn apply(&mut self, change: Change<'_>) {
        match change {
            Change::Begins(resource) => *self.held.entry(resource).or_default() += 1,
            Change::Ends(resource) => {
                if let Some(holds) = self.held.get_mut(&resource) {
                    *holds = holds.saturating_sub(1);
                }
            }
            Change::Noted(event) => self.note(event),
        }
    }

    fn note(&mut self, event: &Event) {
        match (&event.what, event.who) {
            (What::Fails(_), node) => drop(self.failing.insert(node)),
            (What::Well, node) => drop(self.failing.remove(&node)),
            (What::Silent, node) => drop(self.silent.insert(node)),
            (What::Answers, node) => drop(self.silent.remove(&node)),
            (What::Paused, Who::Process(process)) => drop(self.absent.insert(process)),
            (What::Killed, Who::Process(process)) => {
                self.absent.insert(process);
                self.wanted.retain(|(of, _), _| *of != process);
            }
            (What::Resumed | What::Begins, Who::Process(process)) => drop(self.absent.remove(&process)),
            (What::Wants(resource), Who::Task { process, task }) => {
                self.wanted.insert((process, task), *resource);
            }
            (What::NotGot(_) | What::Holds { .. }, Who::Task { process, task }) => {
                self.wanted.remove(&(process, task));
            }
            _ => {}
        }
    }

    /// Returns the resources that could be acquired now and are not.
    fn idle(&self) -> impl Iterator<Item = usize> {
        let majority_responds = self.failing.union(&self.silent).count() <= (self.nodes - 1) / 2;
        let wanted = self.wanted.iter().filter(|((process, _), _)| !self.absent.contains(process));
        wanted
            .map(|(_, resource)| *resource)
            .filter(move |resource| majority_responds && self.held.get(resource).is_none_or(|holds| *holds == 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{hold::holds, log::NodeFault};

    const TASK: Who = Who::Task { process: 1, task: 0 };
    const OTHER: Who = Who::Task { process: 2, task: 0 };

    const fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn longest(events: &[(u64, Who, What)]) -> Option<(u64, u64)> {
        let event = |(millis, who, what): &(u64, Who, What)| Event { at: at(*millis), who: *who, what: what.clone() };
        let events: Vec<_> = events.iter().map(event).collect();
        let idle = longest_idle(&events, &holds(&events), 3)?;
        Some((idle.from.as_millis() as u64, idle.to.as_millis() as u64))
    }

    fn holds_it(token: &str, until: u64) -> What {
        What::Holds { resource: 0, token: token.into(), until: at(until) }
    }

    #[test]
    fn a_free_lock_is_idle_from_the_first_request_to_the_first_hold() {
        assert_eq!(longest(&[(100, TASK, What::Wants(0)), (140, TASK, holds_it("a", 900))]), Some((100, 140)));
    }

    #[test]
    fn a_lock_is_idle_after_its_release_and_not_while_it_is_held() {
        let events = [
            (0, TASK, What::Wants(0)),
            (1, TASK, holds_it("a", 900)),
            (10, OTHER, What::Wants(0)),
            (500, TASK, What::Ends),
            (700, OTHER, holds_it("b", 1_500)),
        ];
        assert_eq!(longest(&events), Some((500, 700)));
    }

    #[test]
    fn a_lock_is_not_idle_while_a_majority_fails_or_does_not_answer() {
        let events = [
            (0, TASK, What::Wants(0)),
            (10, Who::Node(0), What::Fails(NodeFault::Hung)),
            (20, Who::Node(0), What::Silent),
            (30, Who::Node(1), What::Silent),
            (900, Who::Node(1), What::Answers),
            (1_000, TASK, holds_it("a", 1_500)),
        ];
        assert_eq!(longest(&events), Some((900, 1_000)));
    }

    #[test]
    fn a_lock_whose_holder_was_killed_is_idle_only_after_its_validity() {
        let events = [
            (0, TASK, What::Wants(0)),
            (1, TASK, holds_it("a", 900)),
            (10, OTHER, What::Wants(0)),
            (20, Who::Process(1), What::Killed),
            (1_000, OTHER, holds_it("b", 1_500)),
        ];
        assert_eq!(longest(&events), Some((900, 1_000)));
    }

    #[test]
    fn a_lock_is_not_idle_without_a_majority_or_while_its_waiter_is_paused() {
        let fails = |at, node| (at, Who::Node(node), What::Fails(NodeFault::Hung));
        let well = |at, node| (at, Who::Node(node), What::Well);
        let majority =
            [fails(0, 0), fails(0, 1), (10, TASK, What::Wants(0)), well(500, 1), (520, TASK, holds_it("a", 900))];
        assert_eq!(longest(&majority), Some((500, 520)));
        let paused = [
            (10, TASK, What::Wants(0)),
            (20, Who::Process(1), What::Paused),
            (800, Who::Process(1), What::Resumed),
            (805, TASK, holds_it("a", 900)),
        ];
        assert_eq!(longest(&paused), Some((10, 20)));
    }

    #[test]
    fn a_lock_is_idle_even_while_a_minority_fails() {
        let events = [
            (0, Who::Node(2), What::Fails(NodeFault::Killed)),
            (10, TASK, What::Wants(0)),
            (3_010, TASK, What::NotGot("timeout".into())),
        ];
        assert_eq!(longest(&events), Some((10, 3_010)));
    }
}
