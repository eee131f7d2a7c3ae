//! W11: what a permit costs compared with a lock, and 64 tasks that share 16 permits.

use std::{
    process,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};
use tokio::task::JoinSet;

use super::{
    Run,
    pairs::{P50, P99, latencies},
};
use crate::{
    contender::{Contender, Kind, with_library},
    library::{Library, PERMITS, Tuning},
    results::{Better, Metric, Plot, Section, Slice, Table, Target},
    rounds::{Outcome, Rounds},
};

const NODES: usize = 3;
const TASKS: usize = 64;
const PAIRS: Metric = Metric::new("pairs", "pairs", "/s", Better::Higher);

fn rounds(quick: bool) -> Rounds {
    let (count, millis) = if quick { (3, 200) } else { (12, 300) };
    Rounds { count, slice: Duration::from_millis(millis) }
}

fn contenders() -> Vec<Contender> {
    Kind::OURS.into_iter().flat_map(|kind| [kind.with(Tuning::Defaults), kind.with(Tuning::Permit)]).collect()
}

pub(super) fn planned(quick: bool) -> Duration {
    rounds(quick).planned(contenders().len()) * 2
}

pub(super) async fn play(run: &mut Run) -> Result<Section> {
    let (contenders, rounds, urls) = (contenders(), rounds(run.quick), run.stage.urls(NODES)?);
    let half = PERMITS / 2;
    let one = table(format!("1 task, {half} of {PERMITS} permits held"), &[P50, P99], &contenders, "p50");
    let many = table(format!("{TASKS} tasks, {PERMITS} permits"), &[PAIRS], &contenders, "pairs");
    let (mut one, mut many) = (one, many);
    let slice = rounds.slice.mul_f64(0.7);
    let play_one = async |contender: &Contender| alone(*contender, urls.clone(), slice).await;
    rounds.play(&mut one, &contenders, "W11, 1 task", &mut run.progress, play_one).await?;
    let play_many = async |contender: &Contender| together(*contender, urls.clone(), slice).await;
    rounds.play(&mut many, &contenders, "W11, tasks", &mut run.progress, play_many).await?;
    let permits = one.rows.iter().filter(|row| row.floor.is_some());
    let targets = permits.filter_map(|row| {
        let times = one.times_floor(row, "p50")?;
        Some(Target::at_most(format!("{}: time, times that of a lock", row.name), times, 1.3, " x"))
    });
    Ok(Section {
        id: "W11",
        title: "Permits",
        what: "One task acquires a permit and releases it, over and over, while half of the permits are held by \
               another process; beside it the same with a lock that nobody else wants. Then 64 tasks of one process \
               share 16 permits; beside them 64 tasks, each with a lock of its own.",
        targets: targets.collect(),
        tables: vec![one, many],
        notes: Vec::new(),
    })
}

/// Returns a table in which each permit is next to the lock of the same client.
fn table(title: String, metrics: &[Metric], contenders: &[Contender], key: &'static str) -> Table {
    let mut table = Table::new(title, metrics, contenders).ratio(key, "x lock").plot(Plot::Bars(vec![key]));
    for (row, contender) in table.rows.iter_mut().zip(contenders) {
        let lock = contender.kind.with(Tuning::Defaults).to_string();
        row.floor = (contender.tuning == Tuning::Permit).then_some(lock);
    }
    table
}

/// Returns names that no earlier slice has used.
fn names() -> [String; 8] {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let slice = NEXT.fetch_add(1, Ordering::Relaxed);
    std::array::from_fn(|index| format!("permits:{}:{slice}:{index}", process::id()))
}

async fn alone(contender: Contender, urls: Vec<String>, slice: Duration) -> Result<Outcome> {
    let measured = tokio::spawn(async move {
        with_library!(contender.kind, L => {
            let (library, another) = (L::open(&urls, contender.tuning).await?, L::open(&urls, contender.tuning).await?);
            let (names, mut held) = (names(), Vec::new());
            if contender.tuning == Tuning::Permit {
                for name in names.iter().cycle().take(names.len() * PERMITS as usize / 2) {
                    held.push(another.acquire(name).await.map_err(|error| anyhow!(error))?);
                }
            }
            pairs(&library, &names, slice / 4).await?;
            let times = pairs(&library, &names, slice).await?;
            for held in held {
                another.release(held).await.map_err(|error| anyhow!(error))?;
            }
            library.settle().await;
            another.settle().await;
            anyhow::Ok(times)
        })
    });
    Ok(Outcome::Numbers(latencies(&mut measured.await??)))
}

async fn pairs<L: Library>(library: &L, names: &[String], slice: Duration) -> Result<Vec<u64>> {
    let (start, mut times) = (Instant::now(), Vec::new());
    for name in names.iter().cycle() {
        if start.elapsed() >= slice {
            break;
        }
        let begun = Instant::now();
        library.pair(name).await.map_err(|error| anyhow!(error))?;
        times.push(u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX));
    }
    Ok(times)
}

async fn together(contender: Contender, urls: Vec<String>, slice: Duration) -> Result<Outcome> {
    let counted = tokio::spawn(async move {
        with_library!(contender.kind, L => {
            let library = L::open(&urls, contender.tuning).await?;
            let _ = library.pair("first").await;
            let rate = all_tasks(&library, contender.tuning == Tuning::Permit, slice).await;
            library.settle().await;
            anyhow::Ok(rate)
        })
    });
    Ok(Outcome::Numbers(Slice::from([("pairs", counted.await??)])))
}

async fn all_tasks<L: Library>(library: &L, is_shared: bool, slice: Duration) -> f64 {
    let (start, names, mut tasks) = (Instant::now(), names(), JoinSet::new());
    for task in 0..TASKS {
        let (library, shared) = (library.clone(), names.first().cloned().unwrap_or_default());
        let name = if is_shared { shared } else { format!("{shared}:{task}") };
        tasks.spawn(async move {
            let mut pairs = 0_u32;
            while start.elapsed() < slice {
                pairs += u32::from(library.pair(&name).await.is_ok());
            }
            pairs
        });
    }
    let pairs: u32 = tasks.join_all().await.into_iter().sum();
    f64::from(pairs) / start.elapsed().as_secs_f64()
}
