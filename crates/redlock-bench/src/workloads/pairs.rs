//! W1: one task acquires a free lock and releases it, over and over.

use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::time::timeout;

use super::{Run, against_floor_and_peers};
use crate::{
    child::names,
    contender::{Contender, with_library},
    library::Library,
    results::{Better, Metric, Plot, Section, Slice, Table},
    rounds::{Outcome, Rounds},
    statistics::percentile,
};

const NODES: [usize; 3] = [1, 3, 5];
/// A slice ends after this time without a single pair.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

pub(super) const P50: Metric = Metric::new("p50", "p50", "µs", Better::Lower);
pub(super) const P99: Metric = Metric::new("p99", "p99", "µs", Better::Lower);

fn rounds(quick: bool) -> Rounds {
    let (count, millis) = if quick { (3, 150) } else { (12, 250) };
    Rounds { count, slice: Duration::from_millis(millis) }
}

pub(super) fn planned(quick: bool) -> Duration {
    rounds(quick).planned(NODES.len() * Contender::all().len())
}

pub(super) async fn play(run: &mut Run) -> Result<Section> {
    let contenders = Contender::all();
    let rounds = rounds(run.quick);
    let mut section = Section {
        id: "W1",
        title: "A lock that nobody else wants",
        what: "One task acquires a lock and releases it, over and over. The figure is the time of such a pair. The \
               floor is the time that the same Redis client needs for the bare commands: SET NX PX to all nodes at \
               once until a quorum has granted, then the compare-and-delete script until a quorum has deleted.",
        tables: Vec::new(),
        targets: Vec::new(),
        notes: Vec::new(),
    };
    for nodes in NODES {
        let urls = run.stage.urls(nodes)?;
        let plural = if nodes == 1 { "" } else { "s" };
        let mut table = Table::new(format!("{nodes} node{plural}"), &[P50, P99], &contenders)
            .ratio("p50", "x floor")
            .plot(Plot::Bars(vec!["p50"]));
        let what = format!("W1, {}", table.title);
        let slice = async |contender: &Contender| {
            Ok(match timed(*contender, &urls, rounds.slice).await? {
                Ok(mut nanos) => Outcome::Numbers(latencies(&mut nanos)),
                Err(why) => Outcome::Nothing(why),
            })
        };
        rounds.play(&mut table, &contenders, &what, &mut run.progress, slice).await?;
        section.targets.extend(against_floor_and_peers(&table, P50, 1.1));
        section.tables.push(table);
    }
    Ok(section)
}

/// Returns the times of one slice, in nanoseconds, or why there are none.
pub(super) async fn timed(contender: Contender, urls: &[String], slice: Duration) -> Result<Result<Vec<u64>, String>> {
    let urls = urls.to_vec();
    // In a task, like the work of a program, and not on the runtime's main thread.
    tokio::spawn(async move {
        with_library!(contender.kind, L => {
            let library = L::open(&urls, contender.tuning).await?;
            many::<L>(&library, slice / 5, PATIENCE).await;
            let times = many::<L>(&library, slice, PATIENCE).await;
            library.settle().await;
            Ok(match times.failed.filter(|_| times.pairs.is_empty()) {
                Some(error) => Err(error),
                None => Ok(times.pairs),
            })
        })
    })
    .await?
}

/// The results of pairs one after the other.
#[derive(Debug, Default)]
pub(super) struct Times {
    /// Nanoseconds of each pair.
    pub(super) pairs: Vec<u64>,
    /// The times of the acquires alone.
    pub(super) acquires: Vec<u64>,
    pub(super) failures: u64,
    /// The first failure, or that there was no pair at all.
    pub(super) failed: Option<String>,
}

/// Runs pairs for this long, and until there is at least one, but not forever.
pub(super) async fn many<L: Library>(library: &L, slice: Duration, patience: Duration) -> Times {
    let mut times = Times::default();
    let names = names();
    let measured = async {
        let start = Instant::now();
        for name in names.iter().cycle() {
            if start.elapsed() >= slice {
                break;
            }
            let begun = Instant::now();
            let nanos = || u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
            let done = match library.acquire(name).await {
                Ok(held) => {
                    let acquired = nanos();
                    library.release(held).await.map(|()| times.acquires.push(acquired))
                }
                Err(error) => Err(error),
            };
            match done {
                Ok(()) => times.pairs.push(nanos()),
                Err(error) => {
                    times.failures += 1;
                    times.failed.get_or_insert(error);
                }
            }
        }
    };
    let in_time = timeout(slice + patience, measured).await.is_ok();
    if !in_time && times.pairs.is_empty() {
        times.failed = Some(format!("no pair within {} s", (slice + patience).as_secs()));
    }
    times
}

/// Returns the median and the 99th percentile, in microseconds.
pub(super) fn latencies(nanos: &mut [u64]) -> Slice {
    let micros = |nanos: u64| nanos as f64 / 1e3;
    [("p50", percentile(nanos, 50.0)), ("p99", percentile(nanos, 99.0))]
        .into_iter()
        .filter_map(|(key, nanos)| Some((key, micros(nanos?))))
        .collect()
}
