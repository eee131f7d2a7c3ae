//! The text that is printed before, during and after a run, and whether the run proves anything.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use redlock_tests::{backend::Backend, servers::Servers};

use crate::{
    args::{Args, backend_of},
    hold::Hold,
    judge::{Violation, closest},
    liveness::{Idle, longest_idle},
    log::{Event, NodeFault, What, Who},
    readable,
};

pub(crate) fn introduce(args: &Args, seed: u64, servers: &Servers) {
    println!(
        "soak: {} processes of {} tasks take {} locks on {} {} for {}, half through redis-rs, half through fred; seed {seed}",
        args.processes(),
        args.tasks(),
        args.resources(),
        args.nodes(),
        servers.describe(),
        readable(args.lasts()),
    );
    println!(
        "{}",
        match (args.without_memory, args.rolling, servers.can_cut_off()) {
            (true, ..) => {
                "nodes are killed and restarted WITHOUT THEIR KEYS, which Redlock does not cover; processes are paused \
                 and killed"
            }
            (_, true, true) => "one node after the other hangs or is cut off",
            (_, true, false) => "one node after the other hangs (only containers can be cut off)",
            (.., true) => "nodes are hung, killed, restarted and cut off, processes are paused and killed",
            (.., false) => {
                "nodes are hung, killed and restarted (only containers can be cut off), processes are paused and killed"
            }
        }
    );
    // The output is mostly silent from here on, so show these lines at once.
    flush();
}

/// Prints a progress line.
pub(crate) fn progress(passed: Duration, events: &[Event], holds: &[Hold], violations: usize) {
    let failing: Vec<_> = states(events, |who| matches!(who, Who::Node(_)));
    let absent: Vec<_> = states(events, |who| matches!(who, Who::Process(_)));
    let list = |what: &[String]| if what.is_empty() { String::new() } else { format!("   {}", what.join(", ")) };
    let faults = Faults::count(events);
    println!(
        "{:>7.1} s   locks taken {:>6}   faults {:>4}   violations {violations}{}{}",
        passed.as_secs_f64(),
        holds.len(),
        faults.all(),
        list(&failing),
        list(&absent)
    );
    flush();
}

fn flush() {
    use std::io::Write as _;
    let _ = std::io::stdout().flush();
}

/// Lists the nodes or processes that fail at the end of the log, and how.
fn states(events: &[Event], of: impl Fn(&Who) -> bool) -> Vec<String> {
    let mut states: BTreeMap<Who, &str> = BTreeMap::new();
    for Event { who, what, .. } in events.iter().filter(|event| of(&event.who)) {
        match what {
            What::Fails(fault) => drop(states.insert(*who, fault.name())),
            What::Starting => drop(states.insert(*who, "starting")),
            What::Paused => drop(states.insert(*who, "paused")),
            What::Killed => drop(states.insert(*who, "killed")),
            What::Well | What::Begins | What::Resumed => drop(states.remove(who)),
            _ => {}
        }
    }
    states.into_iter().map(|(who, state)| format!("{who} {state}")).collect()
}

/// How often each fault happened.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    pub(crate) of_nodes: BTreeMap<NodeFault, usize>,
    pub(crate) paused: usize,
    pub(crate) killed: usize,
    /// How often a majority of the nodes failed at the same time.
    pub(crate) majorities: usize,
    /// How often a node did not answer the soak in time without any fault.
    pub(crate) stalls: usize,
}

impl Faults {
    pub(crate) fn count(events: &[Event]) -> Self {
        let mut faults = Self::default();
        for event in events {
            match event.what {
                What::Fails(fault) => *faults.of_nodes.entry(fault).or_default() += 1,
                What::Paused => faults.paused += 1,
                What::Killed => faults.killed += 1,
                _ => {}
            }
        }
        faults
    }

    fn with_majorities_of(mut self, events: &[Event], nodes: usize) -> Self {
        let mut failing = BTreeSet::new();
        for event in events {
            match event.what {
                What::Silent if !failing.contains(&event.who) => self.stalls += 1,
                What::Fails(_) if failing.insert(event.who) && failing.len() == nodes / 2 + 1 => self.majorities += 1,
                What::Well => drop(failing.remove(&event.who)),
                _ => {}
            }
        }
        self
    }

    pub(crate) fn all(&self) -> usize {
        self.of_nodes.values().sum::<usize>() + self.paused + self.killed
    }
}

/// Everything that is known at the end.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    pub(crate) args: &'a Args,
    pub(crate) start: Duration,
    pub(crate) lasted: Duration,
    pub(crate) events: &'a [Event],
    pub(crate) holds: &'a [Hold],
    pub(crate) violations: &'a [Violation],
}

impl Report<'_> {
    /// Prints the table: a column for each client, and one for both.
    pub(crate) fn print(&self) {
        println!("\n{:<42}{:>10}{:>10}{:>10}", format!("in {}", readable(self.lasted)), "redis-rs", "fred", "both");
        let of_holds = |name: &str, counts: &dyn Fn(&Hold) -> bool| {
            row(name, |client| {
                self.holds.iter().filter(|hold| uses(&hold.who, client) && counts(hold)).count().to_string()
            });
        };
        let of_events = |name: &str, counts: &dyn Fn(&What) -> bool| {
            row(name, |client| {
                self.events.iter().filter(|event| uses(&event.who, client) && counts(&event.what)).count().to_string()
            });
        };
        of_holds("locks taken", &|_| true);
        of_holds("  relied on to the last moment", &Hold::to_the_very_end);
        of_holds("  whose process was killed meanwhile", &|hold| hold.ended.is_none());
        of_events("extends", &|what| matches!(what, What::Extended { .. }));
        of_events("  not extended", &|what| matches!(what, What::NotExtended(_)));
        of_events("released and confirmed", &|what| matches!(what, What::GivenBack(how) if how == "released"));
        of_events("  dropped", &|what| matches!(what, What::GivenBack(how) if how == "dropped"));
        of_events(
            "  expired by then, or no quorum answered",
            &|what| matches!(what, What::GivenBack(how) if how != "released" && how != "dropped"),
        );
        of_events("calls that ended without the lock", &|what| matches!(what, What::NotGot(_)));
        row("longest wait for a lock", |client| self.longest_wait(client).map_or_else(|| "-".to_owned(), readable));

        let faults = self.faults();
        let kinds = faults.of_nodes.iter().map(|(kind, count)| format!("{} {count}", kind.name().replace('-', " ")));
        println!(
            "\nfaults survived: {}\n  nodes: {}, a majority at once {}, stalled by themselves {}\n  processes: paused {}, killed {}",
            faults.all(),
            kinds.collect::<Vec<_>>().join(", "),
            faults.majorities,
            faults.stalls,
            faults.paused,
            faults.killed
        );
        if let Some(idle) = self.longest_idle() {
            println!(
                "longest time a lock was free and wanted, and not acquired while a majority responded: {} (resource {}, from \
                 {:.1} s on)",
                readable(idle.lasted()),
                idle.resource,
                idle.from.saturating_sub(self.start).as_secs_f64()
            );
        }
        if let Some(closest) = closest(self.holds) {
            println!("closest call: a lock was another's {} after a validity had ended", readable(closest));
        }
        println!("\nviolations: {}", self.violations.len());
        for violation in self.violations.iter().take(5) {
            println!("  {}", violation.told_from(self.start));
        }
        println!();
    }

    /// Prints the conclusion. Returns whether all is well.
    pub(crate) fn conclude(&self) -> bool {
        let missing = self.missing();
        let is_live = match (self.args.idle_limit(), self.longest_idle()) {
            (Some(limit), Some(idle)) => idle.lasted() <= limit,
            _ => true,
        };
        match (self.violations, missing.as_slice()) {
            ([], []) if !is_live => {
                println!("No two holds overlapped, but A FREE LOCK COULD NOT BE ACQUIRED for too long.")
            }
            ([], []) => println!("No two holds of one resource overlapped."),
            ([], missing) => println!("This proves nothing: {}.", missing.join(", ")),
            (_, _) if self.args.without_memory => {
                println!("Two held one lock, as was to be expected of nodes that forget. The judge can find it.");
            }
            (_, _) => println!("TWO HELD ONE LOCK, or nodes lost one: look at the picture and the log."),
        }
        self.violations.is_empty() && missing.is_empty() && is_live
    }

    fn longest_idle(&self) -> Option<Idle> {
        longest_idle(self.events, self.holds, self.args.nodes())
    }

    /// Returns what a run lacks to prove anything.
    fn missing(&self) -> Vec<String> {
        let mut missing = Vec::new();
        for backend in [Backend::RedisRs, Backend::Fred] {
            let taken = self.holds.iter().filter(|hold| uses(&hold.who, Some(backend))).count();
            // One lock per second is little: there are more even with many faults.
            let least = self.lasted.as_secs().max(10) as usize;
            if taken < least {
                missing.push(format!("{taken} locks taken through {}, {least} wanted", backend.name()));
            }
        }
        // With long TTLs, there are few such locks.
        if !self.args.rolling && !self.holds.iter().any(Hold::to_the_very_end) {
            missing.push("no lock was relied on to the last moment".to_owned());
        }
        if self.faults().of_nodes.is_empty() {
            missing.push("no node failed".to_owned());
        }
        missing
    }

    pub(crate) fn faults(&self) -> Faults {
        Faults::count(self.events).with_majorities_of(self.events, self.args.nodes())
    }

    /// Returns the longest time from a request to the lock, including failed calls in between.
    fn longest_wait(&self, client: Option<Backend>) -> Option<Duration> {
        let mut asked: BTreeMap<Who, Duration> = BTreeMap::new();
        let mut longest = None;
        for Event { at, who, what } in self.events.iter().filter(|event| uses(&event.who, client)) {
            match what {
                What::Wants(_) => drop(asked.entry(*who).or_insert(*at)),
                What::Holds { .. } => longest = longest.max(asked.remove(who).map(|asked| at.saturating_sub(asked))),
                _ => {}
            }
        }
        longest
    }
}

/// Prints one line of the table.
fn row(name: &str, count: impl Fn(Option<Backend>) -> String) {
    let cells: String =
        [Some(Backend::RedisRs), Some(Backend::Fred), None].map(|client| format!("{:>10}", count(client))).concat();
    println!("{name:<42}{cells}");
}

/// Returns whether a task uses this client; no client means both.
fn uses(who: &Who, client: Option<Backend>) -> bool {
    match who {
        Who::Task { process, .. } => client.is_none_or(|client| backend_of(*process) == client),
        Who::Node(_) | Who::Process(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn event(millis: u64, who: Who, what: What) -> Event {
        Event { at: at(millis), who, what }
    }

    #[test]
    fn a_majority_that_fails_at_once_counts_once() {
        let fails = |millis, node| event(millis, Who::Node(node), What::Fails(NodeFault::Hung));
        let well = |millis, node| event(millis, Who::Node(node), What::Well);
        let events =
            [fails(1, 0), fails(2, 1), fails(3, 2), fails(4, 3), well(5, 0), well(6, 1), well(7, 2), fails(8, 0)];
        let faults = Faults::count(&events).with_majorities_of(&events, 5);
        assert_eq!((faults.majorities, faults.all()), (1, 5));
    }

    #[test]
    fn a_wait_includes_calls_that_failed() {
        let task = Who::Task { process: 0, task: 0 };
        let takes = What::Holds { resource: 0, token: "t".into(), until: at(9_999) };
        let events = [
            event(100, task, What::Wants(0)),
            event(300, task, What::NotGot("contended".into())),
            event(350, task, What::Wants(1)),
            event(700, task, takes),
        ];
        let args = clap::Parser::parse_from(["soak"]);
        let report =
            Report { args: &args, start: at(0), lasted: at(9_000), events: &events, holds: &[], violations: &[] };
        assert_eq!(report.longest_wait(None), Some(at(600)));
        assert_eq!(report.longest_wait(Some(Backend::Fred)), None);
    }

    #[test]
    fn a_run_in_which_nothing_happened_proves_nothing() {
        let args = clap::Parser::parse_from(["soak"]);
        let report = Report { args: &args, start: at(0), lasted: at(60_000), events: &[], holds: &[], violations: &[] };
        assert_eq!(report.missing().len(), 4);
        assert!(!report.conclude());
    }

    #[test]
    fn current_failures_are_reported() {
        let events = [
            event(1, Who::Node(0), What::Fails(NodeFault::Killed)),
            event(1, Who::Node(1), What::Fails(NodeFault::Hung)),
            event(2, Who::Node(0), What::Well),
            event(3, Who::Process(4), What::Paused),
        ];
        assert_eq!(states(&events, |who| matches!(who, Who::Node(_))), ["n1 hung"]);
        assert_eq!(states(&events, |who| matches!(who, Who::Process(_))), ["p4 paused"]);
    }
}
