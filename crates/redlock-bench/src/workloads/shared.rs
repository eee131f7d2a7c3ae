//! W12: what a shared lock costs compared with an exclusive one, and readers mixed with writers.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use tokio::{task::JoinSet, time::sleep};

use super::{
    Run,
    pairs::{PATIENCE, many},
};
use crate::{
    contender::{Contender, Kind, with_library},
    library::{Library, Tuning},
    results::{Better, Metric, Plot, Section, Slice, Table, Target},
    rounds::{Outcome, Rounds},
    statistics::percentile,
};

const NODES: usize = 3;
const READERS: usize = 16;
const WRITERS: usize = 2;

/// How long each reader and each writer holds the lock.
const WORK: Duration = Duration::from_millis(2);

const PAIRS: [Metric; 3] = [
    Metric::new("acquire50", "acquire p50", "µs", Better::Lower),
    Metric::new("acquire99", "acquire p99", "µs", Better::Lower),
    Metric::new("pair50", "pair p50", "µs", Better::Lower),
];

const MIXED: [Metric; 2] =
    [Metric::new("reads", "reads", "/s", Better::Higher), Metric::new("writes", "writes", "/s", Better::Higher)];

fn rounds(quick: bool) -> Rounds {
    let (count, millis) = if quick { (3, 150) } else { (12, 250) };
    Rounds { count, slice: Duration::from_millis(millis) }
}

/// Longer slices, because a writer waits for readers.
fn mixed_rounds(quick: bool) -> Rounds {
    let (count, millis) = if quick { (2, 1_000) } else { (5, 2_000) };
    Rounds { count, slice: Duration::from_millis(millis) }
}

fn contenders() -> Vec<Contender> {
    Kind::OURS.into_iter().flat_map(|kind| [kind.with(Tuning::Defaults), kind.with(Tuning::Shared)]).collect()
}

fn mixed_contenders() -> Vec<Contender> {
    Kind::OURS.into_iter().flat_map(|kind| [kind.with(Tuning::Patient), kind.with(Tuning::Shared)]).collect()
}

pub(super) fn planned(quick: bool) -> Duration {
    rounds(quick).planned(contenders().len()) + mixed_rounds(quick).planned(mixed_contenders().len())
}

pub(super) async fn play(run: &mut Run) -> Result<Section> {
    let urls = run.stage.urls(NODES)?;
    let contenders = contenders();
    let pairs = rounds(run.quick);
    let mut free = Table::new("a free lock", &PAIRS, &contenders)
        .ratio("acquire50", "x exclusive, acquire")
        .plot(Plot::Bars(vec!["acquire50"]));
    for (row, contender) in free.rows.iter_mut().zip(&contenders) {
        let exclusive = contender.kind.with(Tuning::Defaults).to_string();
        row.floor = (contender.tuning == Tuning::Shared).then_some(exclusive);
    }
    let slice = async |contender: &Contender| measured(*contender, urls.clone(), pairs.slice.mul_f64(0.8)).await;
    pairs.play(&mut free, &contenders, "W12", &mut run.progress, slice).await?;

    let contenders = mixed_contenders();
    let rounds = mixed_rounds(run.quick);
    let mut mixed =
        Table::new("16 readers and 2 writers: all exclusive, and shared by the readers", &MIXED, &contenders);
    let slice = async |contender: &Contender| mix(*contender, urls.clone(), rounds.slice).await;
    rounds.play(&mut mixed, &contenders, "W12", &mut run.progress, slice).await?;

    let targets = free.rows.iter().filter_map(|row| {
        let times = free.times_floor(row, "acquire50")?;
        Some(Target::at_most(format!("{}: acquire, times the exclusive one's", row.name), times, 1.15, " x"))
    });
    let targets = targets.collect();
    Ok(Section {
        id: "W12",
        title: "Shared locks",
        what: "One task acquires a free lock and releases it, over and over: a shared lock, and an exclusive one. Then \
               16 readers and 2 writers want one lock, each of them for 2 ms at a time. No other library here has \
               shared locks.",
        tables: vec![free, mixed],
        targets,
        notes: Vec::new(),
    })
}

async fn measured(contender: Contender, urls: Vec<String>, slice: Duration) -> Result<Outcome> {
    let measured = tokio::spawn(async move {
        with_library!(contender.kind, L => {
            let library = L::open(&urls, contender.tuning).await?;
            many::<L>(&library, slice / 4, PATIENCE).await;
            let times = many::<L>(&library, slice, PATIENCE).await;
            library.settle().await;
            anyhow::Ok(times)
        })
    });
    let mut times = measured.await??;
    let micros = |nanos: Option<u64>| nanos.map(|nanos| nanos as f64 / 1e3);
    let figures = [
        ("acquire50", micros(percentile(&mut times.acquires, 50.0))),
        ("acquire99", micros(percentile(&mut times.acquires, 99.0))),
        ("pair50", micros(percentile(&mut times.pairs, 50.0))),
    ];
    let figures: Slice = figures.into_iter().filter_map(|(key, figure)| Some((key, figure?))).collect();
    Ok(Outcome::Numbers(figures))
}

/// Lets each reader and each writer acquire and release the lock, over and over.
async fn mix(contender: Contender, urls: Vec<String>, slice: Duration) -> Result<Outcome> {
    let mixed = tokio::spawn(async move {
        with_library!(contender.kind, L => {
            let readers = L::open(&urls, contender.tuning).await?;
            let writers = L::open(&urls, Tuning::Patient).await?;
            let is_over = Arc::new(AtomicBool::new(false));
            let counts = [Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0))];
            let mut tasks = JoinSet::new();
            for number in 0..READERS + WRITERS {
                let is_reader = number < READERS;
                let library = if is_reader { readers.clone() } else { writers.clone() };
                let [reads, writes] = &counts;
                let (count, is_over) = (Arc::clone(if is_reader { reads } else { writes }), Arc::clone(&is_over));
                tasks.spawn(async move {
                    while !is_over.load(Ordering::Relaxed) {
                        let Ok(held) = library.acquire("bench:shared").await else { continue };
                        sleep(WORK).await;
                        let _ = library.release(held).await;
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            sleep(slice).await;
            is_over.store(true, Ordering::Relaxed);
            while tasks.join_next().await.is_some() {}
            readers.settle().await;
            writers.settle().await;
            anyhow::Ok(counts.map(|count| count.load(Ordering::Relaxed) as f64 / slice.as_secs_f64()))
        })
    });
    let [reads, writes] = mixed.await??;
    Ok(Outcome::Numbers(Slice::from([("reads", reads), ("writes", writes)])))
}
