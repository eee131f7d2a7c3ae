//! The output before and after the run.

use std::num::NonZeroUsize;

use redlock_core::{CloseError, algorithm::Quorum};

use crate::demo::{
    args::Args,
    console::Console,
    faults::{Change, Condition},
    node_table::node_table,
    nodes::Fleet,
    readable::readable,
    stage::{End, Played},
    tally::{Spread, Tally},
    workers::CALL_WAITS,
};

/// Prints the plan of the run.
pub(crate) fn introduce(console: &mut Console, args: &Args, fleet: &Fleet) {
    let (workers, nodes) = (many(args.workers(), "worker"), fleet.links.len());
    console.line(&console.bold(&match (args.without_lock, args.nodes.is_empty()) {
        (true, _) => format!("{workers}, each adding 1 to a number in a file again and again, WITHOUT a lock."),
        (_, true) => {
            format!("{workers}, each adding 1 to a number in a file, under one lock on {nodes} in-memory nodes.")
        }
        (_, false) => format!("{workers}, each adding 1 to a number in a file, under one lock on {nodes} Redis nodes."),
    }));
}

/// Prints the planned faults of the nodes.
pub(crate) fn announce(console: &mut Console, args: &Args, fleet: &Fleet, faults: &[Change]) {
    let Some(nodes) = NonZeroUsize::new(fleet.links.len()) else { return };
    let quorum = Quorum::of(nodes);
    let rule = format!("{} of {nodes} nodes must grant, so {} may be down", quorum.needed(), quorum.tolerated());
    console.line(&match (faults.is_empty(), args.no_faults) {
        (false, _) => format!("{rule}. Each is stopped or hung for a while, never more at once."),
        (true, true) => format!("{rule}. None is made to fail."),
        (true, false) => format!("{rule}, and none beyond that: none is made to fail."),
    });
    if !args.nodes.is_empty() {
        if !faults.is_empty() {
            console.line("They fail on this demo's own way to them only: your servers run on.");
        }
        console.line("All they see is one key, which is deleted again or expires after a second.");
    }
    console.line("");
}

/// Formats a number of things: `1 node`, `2 nodes`.
pub(crate) fn many(number: usize, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{number} {thing}s") }
}

/// The results at the end.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    pub(crate) args: &'a Args,
    pub(crate) fleet: &'a Fleet,
    pub(crate) tally: &'a Tally,
    /// The number in the file.
    pub(crate) counter: u64,
    pub(crate) played: &'a Played,
    pub(crate) closed: Result<(), CloseError>,
}

impl Report<'_> {
    /// Prints it, and returns whether everything is right.
    pub(crate) fn print(&self, console: &mut Console) -> bool {
        let with_lock = !self.args.without_lock;
        console.line("");
        if let End::Interrupted = self.played.end {
            console.line(&console.bold(&format!("Interrupted after {}.", readable(self.played.lasted))));
        }
        let anything_done = self.tally.sections() > 0;
        if anything_done {
            self.print_counts(console);
        }
        if anything_done && with_lock {
            self.print_times(console);
            self.print_lock(console);
            console.line("");
        }
        if with_lock {
            for line in node_table(console, self.fleet, |node| self.fault_of(node)) {
                console.line(&line);
            }
        }
        console.line("");
        let wrong = self.wrong();
        if with_lock { self.conclude_with_lock(console, &wrong) } else { self.conclude_without_lock(console, &wrong) }
    }

    fn print_counts(&self, console: &mut Console) {
        let sections = self.tally.sections();
        console.line(&format!("  critical sections     {sections:>7}   in {}", readable(self.played.lasted)));
        console.line(&format!("  counter in the file   {:>7}", self.counter));
        console.line(&format!("  holders at one time   {:>7}   at most, ever", self.tally.most_holders()));
    }

    fn print_times(&self, console: &mut Console) {
        let header = format!("  {:<17}{:>12}{:>12}{:>12}{:>12}", "", "min", "p50", "p99", "max");
        console.line("");
        console.line(&console.dim(&header));
        for (what, times) in [("wait for the lock", self.tally.wait_times()), ("hold it", self.tally.hold_times())] {
            let Some(Spread { min, p50, p99, max }) = times else { continue };
            let [min, p50, p99, max] = [min, p50, p99, max].map(readable);
            console.line(&format!("  {what:<17}{min:>12}{p50:>12}{p99:>12}{max:>12}"));
        }
    }

    fn print_lock(&self, console: &mut Console) {
        let Tally { contended, no_quorum, too_late, rounds_lost, released, not_held, release_unknown, .. } = self.tally;
        let locked = released.get() + not_held.get() + release_unknown.get();
        let failed = contended.get() + no_quorum.get() + too_late.get();
        let calls = locked + failed;
        let rounds = locked + rounds_lost.get();
        console.line("");
        console.line(&format!(
            "  calls     {calls:>6}: {locked} got the lock; called again after {CALL_WAITS:?}: {} held by others, {} no quorum, {} too late",
            contended.get(),
            no_quorum.get(),
            too_late.get(),
        ));
        console.line(&format!("  rounds    {rounds:>6}: {locked} won, {} lost and tried again", rounds_lost.get()));
        console.line(&format!(
            "  releases  {locked:>6}: {} held to the end, {} unknown (the ttl ends them), {} not held any more",
            released.get(),
            release_unknown.get(),
            not_held.get(),
        ));
    }

    /// Returns the faults of a node, and when they happened.
    fn fault_of(&self, node: usize) -> String {
        let mut fault = String::new();
        for Change { at, to, .. } in self.played.happened.iter().filter(|change| change.node == node) {
            fault += &match to {
                Condition::Stopped => format!("stopped {:.1} s", at.as_secs_f64()),
                Condition::Hung => format!("hung {:.1} s", at.as_secs_f64()),
                Condition::Up => format!(" to {:.1} s", at.as_secs_f64()),
            };
        }
        fault
    }

    /// Returns the violations of the lock's guarantees.
    fn wrong(&self) -> Vec<String> {
        let (sections, most_holders) = (self.tally.sections(), self.tally.most_holders());
        let mut wrong = Vec::new();
        if self.counter != sections {
            let lost = sections.abs_diff(self.counter);
            wrong.push(format!("{lost} of {sections} updates were lost: the file says {}", self.counter));
        }
        if most_holders > 1 {
            wrong.push(format!("up to {most_holders} workers were in the critical section at once"));
        }
        wrong
    }

    /// Prints the conclusion of a run without the lock, which is supposed to show violations.
    fn conclude_without_lock(&self, console: &mut Console, wrong: &[String]) -> bool {
        if wrong.is_empty() {
            console.line(&console.bad("Nothing went wrong, though nothing kept it from it: try more --workers."));
            return false;
        }
        for wrong in wrong {
            console.line(&console.bad(&format!("wrong: {wrong}")));
        }
        console.line("This is what happens without a lock. Now with it: redlock demo");
        true
    }

    fn conclude_with_lock(&self, console: &mut Console, wrong: &[String]) -> bool {
        let mut wrong = wrong.to_vec();
        match self.tally.not_held.get() {
            0 => {}
            gone => wrong.push(format!("{gone} locks were no longer held when they were released")),
        }
        if let Err(error) = &self.closed {
            wrong.push(error.to_string());
        }
        for wrong in &wrong {
            console.line(&console.bad(&format!("wrong: {wrong}")));
        }
        match self.tally.outlived.get() {
            0 => {}
            outlived => console.line(&format!("{outlived} sections wrote nothing, as their lock had run out by then.")),
        }
        let sections = self.tally.sections();
        if sections == 0 || !wrong.is_empty() {
            return false;
        }
        let faults = self.played.happened.iter().filter(|change| change.to != Condition::Up).count();
        let survived = if faults == 0 { String::new() } else { format!(" {} survived.", many(faults, "fault")) };
        console.line(&console.good(&format!(
            "OK: all {sections} critical sections are counted, and the lock never had two holders.{survived}"
        )));
        true
    }
}
