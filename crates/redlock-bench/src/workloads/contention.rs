//! W3: sixteen tasks that all want one lock.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use anyhow::Result;

use super::Run;
use crate::{
    contender::{Contender, Kind, Side},
    contention::{Crowd, Part},
    holds::Log,
    library::Tuning,
    results::{Better, Metric, Plot, Row, Section, Table, Target},
    rounds::{Outcome, Rounds},
    stage::Stage,
};

const NODES: usize = 3;
const TASKS: usize = 16;

const METRICS: [Metric; 10] = [
    Metric::new("handoffs", "hand-offs", "/s", Better::Higher),
    Metric::new("acquisitions", "acquired", "/s", Better::Higher),
    Metric::new("p50", "wait p50", "ms", Better::Lower),
    Metric::new("p99", "wait p99", "ms", Better::Lower),
    Metric::new("max", "wait max", "ms", Better::Lower),
    Metric::new("jain", "Jain", "", Better::Higher),
    Metric::new("commands", "commands", "", Better::Lower),
    Metric::new("requests", "requests", "", Better::Lower),
    Metric::new("giveups", "give-ups", "", Better::Lower),
    Metric::new("overlaps", "overlaps", "", Better::Lower),
];

/// The processes and instances in which the sixteen tasks run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    OneInstance,
    SixteenInstances,
    FourProcesses,
}

impl Place {
    const ALL: [Self; 3] = [Self::OneInstance, Self::SixteenInstances, Self::FourProcesses];

    fn name(self) -> &'static str {
        match self {
            Self::OneInstance => "(a) one process, all tasks share one instance",
            Self::SixteenInstances => "(b) one process, an instance for each task",
            Self::FourProcesses => "(c) four processes of four tasks, one instance each",
        }
    }

    fn processes(self) -> usize {
        if self == Self::FourProcesses { 4 } else { 1 }
    }

    /// Returns the limits for the hand-offs relative to the best peer, and for the waits relative to those of the best
    /// peer with defaults.
    fn limits(self) -> (f64, f64) {
        if self == Self::OneInstance { (3.0, 0.1) } else { (2.0, 0.25) }
    }
}

/// One table: where the tasks run, and how long each holds the lock.
#[derive(Debug, Clone, Copy)]
struct Scene {
    place: Place,
    /// Milliseconds.
    held: u64,
}

fn rounds(quick: bool) -> Rounds {
    let (count, millis) = if quick { (1, 400) } else { (3, 900) };
    Rounds { count, slice: Duration::from_millis(millis) }
}

fn scenes(quick: bool) -> Vec<Scene> {
    let held: &[u64] = if quick { &[0] } else { &[0, 1] };
    held.iter().flat_map(|&held| Place::ALL.map(|place| Scene { place, held })).collect()
}

fn contenders() -> Vec<Contender> {
    let tunings = |kind: Kind| {
        let defaults = (kind.side() != Side::Floor).then(|| kind.with(Tuning::Defaults));
        defaults.into_iter().chain([kind.with(Tuning::Impatient)])
    };
    Kind::ALL.into_iter().flat_map(tunings).collect()
}

pub(super) fn planned(quick: bool) -> Duration {
    rounds(quick).planned(contenders().len() * scenes(quick).len())
}

pub(super) async fn play(run: &mut Run) -> Result<Section> {
    let rounds = rounds(run.quick);
    let contenders = contenders();
    let mut section = Section {
        id: "W3",
        title: "A lock that sixteen tasks want",
        what: "Sixteen tasks acquire one lock on three nodes and release it, over and over, until the end of a slice. \
               A hand-off is a change of owner. A task that acquires its own lock again is no hand-off, so \
               acquisitions per second say little. A wait lasts from the first request to the lock, including calls \
               that gave up meanwhile. A task that still waits at the end counts with its time so far, so no wait is \
               longer than a slice. Jain's index is 1 if all tasks got the lock equally often. Commands are those that \
               the three servers have executed per acquisition, including those within scripts. Requests are the part \
               of them that clients have sent, as MONITOR shows in a separate slice. Give-ups are calls that ended \
               without the lock. With \"3 ms\", a library is set up to ask again after about 3 ms.",
        tables: Vec::new(),
        targets: Vec::new(),
        notes: vec![
            "redlock blocks its thread, so it runs on Tokio's threads for blocking calls. Its calls cannot be stopped: \
             the commands that they still send after a slice are counted, too."
                .to_owned(),
        ],
    };
    for scene in scenes(run.quick) {
        let title = format!("{}, held for {} ms", scene.place.name(), scene.held);
        let plot = Plot::Bars(vec!["handoffs", "p99"]);
        let mut table = Table::new(title, &METRICS, &contenders).plot(plot);
        let Run { stage, progress, quick } = &mut *run;
        let what = format!("W3 {}", table.title);
        let slice = async |contender: &Contender| {
            let (log, commands) = contended(stage, scene, *contender, rounds.slice.mul_f64(0.85)).await?;
            Ok(figures(&log, commands, rounds.slice.mul_f64(0.85)))
        };
        rounds.play(&mut table, &contenders, &what, progress, slice).await?;
        if !*quick && scene.held == 0 {
            for (row, contender) in table.rows.iter_mut().zip(&contenders) {
                progress.now(&format!("{what}, requests: {}", row.name));
                let share = share_of_requests(stage, scene, *contender).await?;
                let requests = row.median("commands").zip(share).map(|(commands, share)| commands * share);
                row.add(0, requests.map(|requests| ("requests", requests)).into_iter().collect());
            }
        }
        section.targets.extend(targets(scene, &table));
        section.tables.push(table);
    }
    Ok(section)
}

fn figures(log: &Log, commands: u64, slice: Duration) -> Outcome {
    let mut figures = log.figures(TASKS, slice.as_secs_f64());
    if !log.holds.is_empty() {
        figures.insert("commands", commands as f64 / log.holds.len() as f64);
    }
    Outcome::Numbers(figures)
}

/// Runs a slice. Returns the log of the holds, and how many commands the servers have executed for it.
///
/// Each contender has its own processes, even where one would be enough: a library whose calls cannot be stopped would
/// continue to send requests while the next contender is measured.
async fn contended(stage: &Stage, scene: Scene, contender: Contender, slice: Duration) -> Result<(Log, u64)> {
    let urls = stage.urls(NODES)?;
    let part = part(scene, slice);
    // The reading itself is a command on each server, which the second reading includes.
    let own = NODES as u64;
    let crowd = Crowd::gather(scene.place.processes(), &urls, contender, &part).await?;
    let before = stage.commands(NODES).await?;
    let log = crowd.contend(&part).await?;
    Ok((log, stage.commands(NODES).await?.saturating_sub(before + own)))
}

/// Measures which part of the commands are requests, in a slice that is not timed, since monitoring slows a server
/// down.
async fn share_of_requests(stage: &Stage, scene: Scene, contender: Contender) -> Result<Option<f64>> {
    let urls = stage.urls(NODES)?;
    let part = part(scene, Duration::from_millis(250));
    let crowd = Crowd::gather(scene.place.processes(), &urls, contender, &part).await?;
    let monitors = stage.monitor(NODES).await?;
    crowd.contend(&part).await?;
    let (mut requests, mut commands) = (0, 0);
    for monitor in monitors {
        let heard = monitor.heard().await?;
        requests += heard.0;
        commands += heard.1;
    }
    Ok((commands > 0).then(|| requests as f64 / commands as f64))
}

/// Returns the part of each process. Each slice has its own name, so that nothing of the one before is in its way.
fn part(scene: Scene, slice: Duration) -> Part {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let (instances, tasks) = match scene.place {
        Place::OneInstance => (1, TASKS),
        Place::SixteenInstances => (TASKS, 1),
        Place::FourProcesses => (1, TASKS / 4),
    };
    let name = format!("contended:{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let millis = u64::try_from(slice.as_millis()).unwrap_or(u64::MAX);
    Part { instances, tasks, first: 0, name, millis, held: scene.held }
}

fn targets(scene: Scene, table: &Table) -> Vec<Target> {
    let label = |row: &Row, what: &str| {
        let place: String = table.title.chars().take(3).collect();
        format!("{place} held for {} ms, {}: {what}", scene.held, row.name)
    };
    let (times_peer, share_of_wait) = scene.place.limits();
    let peers = table.of_side(Side::Peer, "handoffs");
    let best = peers.iter().map(|(_, handoffs)| *handoffs).max_by(f64::total_cmp);
    let with_defaults = peers.iter().filter(|(row, _)| !row.name.ends_with("3 ms"));
    let best_default = with_defaults.max_by(|one, other| one.1.total_cmp(&other.1));
    let wait_of_best = best_default.and_then(|(row, _)| row.median("p99"));
    let mut targets = Vec::new();
    for (row, handoffs) in table.of_side(Side::Ours, "handoffs") {
        if row.name.ends_with("3 ms") {
            continue;
        }
        if let Some(best) = best.filter(|best| *best > 0.0) {
            let what = label(row, "hand-offs, times those of the best peer");
            targets.push(Target::at_least(what, handoffs / best, times_peer, " x"));
        }
        if let (Some(wait), Some(of_best)) = (row.median("p99"), wait_of_best) {
            let what = label(row, "wait p99, times that of the best peer with defaults");
            targets.push(Target::at_most(what, wait / of_best, share_of_wait, " x"));
        }
        if let Some(jain) = row.median("jain") {
            targets.push(Target::at_least(label(row, "Jain"), jain, 0.99, ""));
        }
        if let Some(commands) = row.median("commands").filter(|_| scene.place != Place::OneInstance) {
            targets.push(Target::at_most(label(row, "commands per acquisition"), commands, 20.0, ""));
        }
        targets.push(Target::exactly(
            label(row, "two holders at the same time"),
            row.sum("overlaps").unwrap_or(0.0),
            0.0,
        ));
    }
    targets
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Slice;

    #[test]
    fn defaults_are_compared_with_the_best_of_the_peers() {
        let contenders = [
            Kind::OursRedisRs.with(Tuning::Defaults),
            Kind::Rslock.with(Tuning::Defaults),
            Kind::Rslock.with(Tuning::Impatient),
        ];
        let mut table = Table::new("(b) some", &METRICS, &contenders);
        for (row, (handoffs, p99)) in table.rows.iter_mut().zip([(5_000.0, 4.0), (100.0, 160.0), (2_000.0, 30.0)]) {
            row.add(0, Slice::from([("handoffs", handoffs), ("p99", p99), ("jain", 1.0), ("commands", 15.0)]));
        }
        let targets = targets(Scene { place: Place::SixteenInstances, held: 0 }, &table);
        assert_eq!(targets.len(), 5);
        assert!(targets.iter().all(|target| target.met), "{targets:?}");
        assert_eq!(targets[0].measured, "2.500 x");
        assert_eq!(targets[1].measured, "0.03 x");
        assert!(targets[0].what.starts_with("(b) held for 0 ms, ours, redis-rs: hand-offs"));
    }
}
