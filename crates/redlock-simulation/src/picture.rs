//! Shows a played case to people: a picture, and the messages one by one.

use std::{fmt, time::Duration};

use redlock_core::algorithm::Vote;
use redlock_mock::{Event, Memory, Operation, Record, What};

use crate::{
    case::Case,
    ledger::{Outcome, Overlap},
    permits::Crowd,
    play::Played,
    search::Found,
    timeline::{Lane, MarkKind, SpanKind, Timeline},
};

impl Found {
    /// Draws nodes, holds and faults over time.
    #[must_use]
    pub fn picture(&self) -> Timeline {
        let Self { case, played, .. } = self;
        let ends = played.ledger.calls.iter().map(|call| call.to);
        let ends = ends.chain(played.ledger.holdings.iter().map(|holding| holding.until));
        let ends = ends.chain(played.ledger.permits.iter().map(|holding| holding.until));
        let orphans = played.ledger.orphans(&played.records);
        let ends = ends.chain(orphans.iter().map(|orphan| orphan.seen.until));
        let length = ends.max().unwrap_or_default() + Duration::from_millis(50);
        let shown = played.violations.iter().find(|shown| shown.oracle == self.violation.oracle);
        let mut timeline = Timeline::new(format!("seed {}: {}", self.seed, self.violation.oracle), length)
            .note(shown.unwrap_or(&self.violation).what.clone())
            .resources(["r0", "r1"]);
        for node in 0..case.history.nodes {
            let mut lane = lane_of_node(case, node, length);
            for orphan in orphans.iter().filter(|orphan| orphan.seen.node == node) {
                lane = lane.span(SpanKind::Violation, orphan.seen.from, orphan.seen.until, orphan.to_string());
            }
            timeline = timeline.lane(lane);
        }
        for process in 0..case.history.processes {
            timeline = timeline.lane(lane_of_process(case, played, process, length));
        }
        timeline
    }
}

fn lane_of_node(case: &Case, node: usize, length: Duration) -> Lane {
    let mut lane = Lane::node(format!("node-{}", node + 1));
    for Event { at, what } in &case.history.events {
        let at = Duration::from_millis(*at);
        let until = |millis: u64| (at + Duration::from_millis(millis)).min(length);
        let label = what.to_string();
        lane = match what {
            _ if at >= length => lane,
            What::Hang { node: hung, millis } if *hung == node => lane.span(SpanKind::Hung, at, until(*millis), label),
            What::Down { node: down, millis, .. } if *down == node => {
                lane.span(SpanKind::Stopped, at, until(*millis), label)
            }
            // A history from elsewhere may have cuts that cut nothing.
            What::Cut { requests: None, answers: None, .. } => lane,
            What::Cut { node: cut, millis, .. } if cut.is_none_or(|cut| cut == node) => {
                lane.span(SpanKind::CutOff, at, until(*millis), label)
            }
            _ => lane,
        };
    }
    for (at, memory) in restarts(case, node).into_iter().filter(|(at, _)| *at <= length) {
        let (kind, label) = match memory {
            Memory::Kept => (MarkKind::Restarted, "remembers all"),
            Memory::LastSecondLost => (MarkKind::Forgot, "has lost its last second"),
            Memory::Lost => (MarkKind::Forgot, "has forgotten everything"),
        };
        lane = lane.mark(kind, at, label);
    }
    lane
}

/// Returns when a node came back, and the memory that it kept. A node that was down several times at once comes back
/// once.
fn restarts(case: &Case, node: usize) -> Vec<(Duration, Memory)> {
    let mut downs: Vec<_> = case
        .history
        .events
        .iter()
        .filter_map(|event| match event.what {
            What::Down { node: down, millis, memory } if down == node => {
                Some((event.at, event.at.saturating_add(millis), memory))
            }
            _ => None,
        })
        .collect();
    downs.sort_by_key(|(from, ..)| *from);
    let mut restarts = Vec::<(u64, Memory)>::new();
    for (from, until, memory) in downs {
        match restarts.last_mut().filter(|(before, _)| from <= *before) {
            Some(last) => *last = (last.0.max(until), last.1.max(memory)),
            None => restarts.push((until, memory)),
        }
    }
    restarts.into_iter().map(|(at, memory)| (Duration::from_millis(at), memory)).collect()
}

fn lane_of_process(case: &Case, played: &Played, process: usize, length: Duration) -> Lane {
    let mut lane = Lane::process(format!("process-{}", process + 1));
    for call in played.ledger.calls.iter().filter(|call| call.process == process) {
        lane = lane.span(SpanKind::Waiting, call.from, call.to, format!("waits for r{}", call.resource));
        if call.outcome == Outcome::Refused {
            lane = lane.mark(MarkKind::Lost, call.to, format!("did not get r{}", call.resource));
        }
    }
    for holding in played.ledger.holdings.iter().filter(|holding| holding.process == process) {
        lane = lane.span(SpanKind::Held(holding.resource), holding.from, holding.until, holding.to_string());
    }
    for holding in played.ledger.permits.iter().filter(|holding| holding.process == process) {
        lane = lane.span(SpanKind::Held(holding.semaphore), holding.from, holding.until, holding.to_string());
    }
    // A holder that is one too many may also have the slot of another.
    let crowds = played.ledger.crowds();
    let is_too_many = |crowd: &&Crowd| matches!(crowd, Crowd::TooMany(_));
    let too_many = crowds.iter().any(|crowd| is_too_many(&crowd));
    for crowd in crowds.iter().filter(|crowd| !too_many || is_too_many(crowd)) {
        if crowd.holders().iter().any(|holding| holding.process == process) {
            let (from, until) = crowd.time();
            lane = lane.span(SpanKind::Violation, from, until, crowd.to_string());
        }
    }
    for Event { at, what } in &case.history.events {
        if let What::Pause { process: paused, millis, .. } = what
            && *paused == process
        {
            let at = Duration::from_millis(*at).min(length);
            lane = lane.span(SpanKind::Paused, at, (at + Duration::from_millis(*millis)).min(length), what.to_string());
        }
    }
    for overlap in played.ledger.overlaps() {
        lane = match overlap {
            Overlap::Holders(first, second) if [first.process, second.process].contains(&process) => {
                lane.span(SpanKind::Violation, second.from, first.until.min(second.until), overlap.to_string())
            }
            Overlap::Actor(act, _) if act.process == process => {
                lane.mark(MarkKind::Violation, act.at.min(length), overlap.to_string())
            }
            _ => lane,
        };
    }
    for act in played.ledger.acts.iter().filter(|act| act.process == process) {
        lane = lane.mark(MarkKind::Acted, act.at.min(length), format!("acts under r{}", act.resource));
    }
    lane
}

/// Prints the case, what was found, and the messages one by one.
impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n", self.violation.what)?;
        writeln!(f, "The smallest case that was found to break {} as well:\n\n{}", self.violation.oracle, self.case)?;
        self.played.violations.iter().try_for_each(|violation| writeln!(f, "  {violation}"))?;
        writeln!(f)?;
        const LONGEST: usize = 500;
        self.played.records.iter().take(LONGEST).try_for_each(|record| writeln!(f, "{}", Line(record)))?;
        match self.played.records.len().saturating_sub(LONGEST) {
            0 => Ok(()),
            more => writeln!(f, "  ... and {more} more requests"),
        }
    }
}

struct Line<'a>(&'a Record);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Record { process, node, operation, keys, token, sent, carried_out, learned, .. } = self.0;
        let verb = match operation {
            Operation::Acquire => "acquire",
            Operation::Extend => "extend",
            Operation::Raise => "raise the counters of",
            Operation::Release => "release",
            _ => "ask for",
        };
        let token: String = token.as_str().chars().take(6).collect();
        let (process, node, millis) = (process + 1, node + 1, sent.as_millis());
        write!(f, "{millis:>6} ms  process-{process} to node-{node}: {verb} {keys} as {token}")?;
        match carried_out.first() {
            Some(at) => write!(f, ", carried out at {} ms", at.as_millis())?,
            None => f.write_str(", not carried out")?,
        }
        if carried_out.len() > 1 {
            write!(f, " and {} times more", carried_out.len() - 1)?;
        }
        match learned {
            Some((at, Vote::Granted)) => write!(f, ", known as done at {} ms", at.as_millis()),
            Some((at, Vote::Restored)) => write!(f, ", known as done again at {} ms", at.as_millis()),
            Some((at, Vote::Refused)) => write!(f, ", known as refused at {} ms", at.as_millis()),
            Some((at, Vote::Failed)) => write!(f, ", failed at {} ms", at.as_millis()),
            None => f.write_str(", never known"),
        }
    }
}

#[cfg(test)]
mod tests {
    use redlock_mock::History;

    use super::*;

    #[test]
    fn a_node_that_was_down_twice_at_once_came_back_once() {
        let down = |at, node, millis, memory| Event { at, what: What::Down { node, millis, memory } };
        let events = vec![
            down(900, 0, 1, Memory::Kept),
            down(100, 0, 500, Memory::Kept),
            down(200, 0, 100, Memory::Lost),
            down(150, 1, 2_000, Memory::Lost),
            down(600, 0, 50, Memory::LastSecondLost),
        ];
        let case = Case {
            history: History { nodes: 2, processes: 0, seed: 0, events },
            fencing: false,
            permits: None,
            programs: Vec::new(),
        };
        let at = Duration::from_millis;
        assert_eq!(restarts(&case, 0), [(at(650), Memory::Lost), (at(901), Memory::Kept)]);
        assert_eq!(restarts(&case, 1), [(at(2_150), Memory::Lost)]);
    }
}
