//! The picture of a run: a lane for each node and each task, drawn from the log.

use std::{collections::BTreeMap, time::Duration};

use redlock_simulation::timeline::{Lane, MarkKind, SpanKind, Timeline};

use crate::{
    args::{Args, backend_of},
    hold::Hold,
    log::{Event, NodeFault, What, Who},
    readable,
    report::Report,
};

/// The data that the picture is made from.
pub(crate) struct Picture<'a> {
    pub(crate) args: &'a Args,
    pub(crate) seed: u64,
    pub(crate) servers: String,
    pub(crate) urls: &'a [String],
    pub(crate) report: &'a Report<'a>,
}

impl Picture<'_> {
    pub(crate) fn draw(&self) -> Timeline {
        let Report { lasted, events, holds, violations, .. } = self.report;
        let (processes, nodes) = (self.args.processes(), self.args.nodes());
        let mut timeline = Timeline::new(format!("Soak: {processes} processes take locks on {nodes} servers"), *lasted)
            .note(format!("seed {}, {}, {}", self.seed, self.servers, readable(*lasted)))
            .note(format!(
                "{} locks taken, {} faults survived, {} violations",
                holds.len(),
                self.report.faults().all(),
                violations.len()
            ))
            .resources((0..self.args.resources()).map(|resource| format!("lock {resource}")));
        for (node, url) in self.urls.iter().enumerate() {
            let name = format!("n{node} {}", url.trim_start_matches("redis://"));
            let own = events.iter().filter(|event| event.who == Who::Node(node));
            timeline = timeline.lane(self.node(Lane::node(name), own));
        }
        for process in 0..processes {
            for task in 0..self.args.tasks() {
                timeline = timeline.lane(self.task(process, task));
            }
        }
        timeline
    }

    fn node<'e>(&self, mut lane: Lane, events: impl Iterator<Item = &'e Event>) -> Lane {
        let mut fails: Option<(Duration, NodeFault)> = None;
        let mut starting = None;
        for Event { at, what, .. } in events {
            let at = self.since_start(*at);
            match what {
                What::Fails(fault) => {
                    fails = Some((at, *fault));
                    if matches!(fault, NodeFault::Killed | NodeFault::Restarted) {
                        lane = lane.mark(MarkKind::Killed, at, "");
                    }
                }
                What::Starting => starting = Some(at),
                What::Well => {
                    let Some((from, fault)) = fails.take() else { continue };
                    let kind = match fault {
                        NodeFault::Hung => SpanKind::Hung,
                        NodeFault::CutOff => SpanKind::CutOff,
                        NodeFault::Killed | NodeFault::Restarted => SpanKind::Stopped,
                    };
                    lane = match starting.take() {
                        Some(again) => {
                            let came_back =
                                if self.args.without_memory { MarkKind::Forgot } else { MarkKind::Restarted };
                            lane.span(kind, from, again, "")
                                .span(SpanKind::Restarting, again, at, "")
                                .mark(came_back, at, "")
                        }
                        None => lane.span(kind, from, at, ""),
                    };
                }
                _ => {}
            }
        }
        match fails {
            // The run was cut short.
            Some((from, _)) => lane.span(SpanKind::Stopped, from, self.report.lasted, ""),
            None => lane,
        }
    }

    fn task(&self, process: usize, task: usize) -> Lane {
        let who = Who::Task { process, task };
        let lane = Lane::process(format!("{who} {}", backend_of(process).name()));
        let own: Vec<_> =
            self.report.events.iter().filter(|event| [who, Who::Process(process)].contains(&event.who)).collect();
        let mut lane = self.waits_and_absences(lane, &own);
        for hold in self.report.holds.iter().filter(|hold| hold.who == who) {
            lane = self.hold(lane, hold);
        }
        for violation in self.report.violations {
            let holds = violation.holds();
            if holds.iter().any(|hold| hold.who == who) {
                let (from, to) = violation.span();
                let told = violation.told_from(self.report.start).to_string();
                lane = lane.span(SpanKind::Violation, self.since_start(from), self.since_start(to), told);
            }
        }
        lane
    }

    fn waits_and_absences(&self, mut lane: Lane, events: &[&Event]) -> Lane {
        let mut since: BTreeMap<SpanKind, Duration> = BTreeMap::new();
        let end = |lane: Lane, since: &mut BTreeMap<SpanKind, Duration>, kind, at, why: &str| match since.remove(&kind)
        {
            Some(from) => lane.span(kind, from, at, why),
            None => lane,
        };
        for Event { at, what, .. } in events {
            let at = self.since_start(*at);
            match what {
                What::Wants(_) => drop(since.insert(SpanKind::Waiting, at)),
                What::NotGot(why) => lane = end(lane, &mut since, SpanKind::Waiting, at, why),
                What::Holds { .. } => lane = end(lane, &mut since, SpanKind::Waiting, at, ""),
                What::NotExtended(why) => lane = lane.mark(MarkKind::Lost, at, format!("not extended: {why}")),
                What::Extended { .. } => lane = lane.mark(MarkKind::Extended, at, ""),
                What::Paused => drop(since.insert(SpanKind::Paused, at)),
                What::Resumed => lane = end(lane, &mut since, SpanKind::Paused, at, ""),
                What::Killed => {
                    lane = end(lane, &mut since, SpanKind::Waiting, at, "killed").mark(MarkKind::Killed, at, "");
                    since.insert(SpanKind::Dead, at);
                }
                What::Begins => lane = end(lane, &mut since, SpanKind::Dead, at, ""),
                _ => {}
            }
        }
        since.into_iter().fold(lane, |lane, (kind, from)| lane.span(kind, from, self.report.lasted, ""))
    }

    /// Draws the time in which the task relied on the lock, and the time after that until the task noticed the end.
    fn hold(&self, lane: Lane, hold: &Hold) -> Lane {
        let [from, end] = [hold.from, hold.end()].map(|at| self.since_start(at));
        let lane = lane.span(SpanKind::Held(hold.resource), from, end, format!("token {}", hold.brief_token()));
        match hold.ended {
            Some(ended) if ended > hold.until => lane.span(SpanKind::Expired, end, self.since_start(ended), ""),
            _ => lane,
        }
    }

    fn since_start(&self, at: Duration) -> Duration {
        at.saturating_sub(self.report.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{hold::holds, judge::judge};

    #[test]
    fn the_picture_shows_nodes_holds_and_violations() {
        let at = |millis: u64| Duration::from_millis(1_000_000 + millis);
        let holds_it = |token: &str, until| What::Holds { resource: 1, token: token.into(), until: at(until) };
        let task = |process| Who::Task { process, task: 0 };
        let events = [
            (0, Who::Node(1), What::Fails(NodeFault::Killed)),
            (10, task(0), What::Wants(1)),
            (20, task(0), holds_it("first", 500)),
            (100, Who::Node(1), What::Starting),
            (150, Who::Node(1), What::Well),
            (200, task(1), What::Wants(1)),
            (300, task(1), holds_it("second", 900)),
            (400, Who::Process(1), What::Killed),
            (700, task(0), What::Ends),
        ];
        let events = events.map(|(millis, who, what)| Event { at: at(millis), who, what });
        let holds = holds(&events);
        let violations = judge(&holds);
        assert_eq!(violations.len(), 1);
        let args = clap::Parser::parse_from(["soak", "--processes", "2", "--tasks", "1"]);
        let report = Report {
            args: &args,
            start: at(0),
            lasted: Duration::from_secs(1),
            events: &events,
            holds: &holds,
            violations: &violations,
        };
        let urls = ["redis://a:1", "redis://b:2"].map(str::to_owned);
        let picture = Picture { args: &args, seed: 42, servers: "servers".into(), urls: &urls, report: &report }.draw();

        let kinds = |lane: usize| -> Vec<SpanKind> { picture.lanes[lane].spans.iter().map(|span| span.kind).collect() };
        assert_eq!(kinds(1), [SpanKind::Stopped, SpanKind::Restarting]);
        let held = SpanKind::Held(1);
        assert_eq!(kinds(2), [SpanKind::Waiting, held, SpanKind::Expired, SpanKind::Violation]);
        assert_eq!(kinds(3), [SpanKind::Waiting, SpanKind::Dead, held, SpanKind::Violation]);
        let overlap = picture.lanes[2].spans.last().unwrap();
        assert_eq!((overlap.from, overlap.to), (Duration::from_millis(300), Duration::from_millis(500)));
        assert!(picture.to_svg().contains("1 VIOLATION"));
    }
}
