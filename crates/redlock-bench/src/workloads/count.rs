//! W7: a counter that only the lock protects.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use tokio::{
    task::{JoinSet, yield_now},
    time::timeout,
};

use super::Run;
use crate::{
    contender::{Contender, Kind, Side, with_library},
    library::{Library, Tuning},
    results::{Better, Metric, Plot, Section, Slice, Table, Target},
    rounds::{Outcome, Rounds},
};

const NODES: usize = 3;
const TASKS: u64 = 50;

const METRICS: [Metric; 4] = [
    Metric::new("expected", "expected", "", Better::Neither),
    Metric::new("counted", "counted", "", Better::Neither),
    Metric::new("giveups", "give-ups", "", Better::Lower),
    Metric::new("seconds", "time", "s", Better::Lower),
];

/// After this time a library is cut off.
const PATIENCE: Duration = Duration::from_secs(20);

fn increments(quick: bool) -> u64 {
    if quick { 20 } else { 100 }
}

fn rounds(quick: bool) -> Rounds {
    Rounds { count: 1, slice: Duration::from_secs(if quick { 1 } else { 4 }) }
}

fn contenders() -> Vec<Contender> {
    vec![
        Kind::OursRedisRs.with(Tuning::Patient),
        Kind::OursFred.with(Tuning::Patient),
        Kind::Rslock.with(Tuning::Defaults),
    ]
}

pub(super) fn planned(quick: bool) -> Duration {
    2 * rounds(quick).planned(contenders().len())
}

pub(super) async fn play(run: &mut Run) -> Result<Section> {
    let contenders = contenders();
    let each = increments(run.quick);
    let mut section = Section {
        id: "W7",
        title: "Does the lock exclude others?",
        what: "Fifty tasks read a number, let others run, and write it back plus one. Only the lock protects the \
               number. A count below the expected one means that there were two holders at the same time. All \
               contenders have their defaults, and ours have a timeout of a minute. A call that gives up is counted \
               and repeated.",
        tables: Vec::new(),
        targets: Vec::new(),
        notes: Vec::new(),
    };
    let urls = run.stage.urls(NODES)?;
    for (instances, title) in [(1, "all tasks share one instance"), (16, "the tasks share 16 instances")] {
        let mut table = Table::new(title, &METRICS, &contenders);
        table.plot = Plot::None;
        let slice = async |contender: &Contender| count(*contender, urls.clone(), instances, each).await;
        rounds(run.quick).play(&mut table, &contenders, &format!("W7, {title}"), &mut run.progress, slice).await?;
        for (row, counted) in table.of_side(Side::Ours, "counted") {
            let expected = (TASKS * each) as f64;
            section.targets.push(Target::exactly(format!("{title}, {}: the count", row.name), counted, expected));
        }
        section.tables.push(table);
    }
    Ok(section)
}

async fn count(contender: Contender, urls: Vec<String>, instances: usize, each: u64) -> Result<Outcome> {
    let work = tokio::spawn(async move {
        with_library!(contender.kind, L => {
            let mut libraries = Vec::new();
            for _ in 0..instances {
                libraries.push(L::open(&urls, contender.tuning).await?);
            }
            let start = Instant::now();
            let counted = timeout(PATIENCE, all_tasks(&libraries, each)).await;
            let took = start.elapsed();
            for library in libraries {
                library.settle().await;
            }
            anyhow::Ok((counted, took))
        })
    });
    let (counted, took) = work.await??;
    let Ok(counted) = counted else {
        return Ok(Outcome::Nothing(format!("cut off after {} s", PATIENCE.as_secs())));
    };
    let (counted, give_ups) = counted?;
    Ok(Outcome::Numbers(Slice::from([
        ("expected", (TASKS * each) as f64),
        ("counted", counted as f64),
        ("giveups", give_ups as f64),
        ("seconds", took.as_secs_f64()),
    ])))
}

/// Returns the count, and how many calls failed.
async fn all_tasks<L: Library>(libraries: &[L], each: u64) -> Result<(u64, u64)> {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let name = format!("counted:{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let number = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    for task in 0..TASKS as usize {
        let library = libraries.get(task % libraries.len()).context("no instance")?.clone();
        let (name, number) = (name.clone(), Arc::clone(&number));
        tasks.spawn(async move {
            let (mut done, mut give_ups) = (0, 0);
            while done < each {
                let Ok(held) = library.acquire(&name).await else {
                    give_ups += 1;
                    continue;
                };
                // Read and write separately: of two at the same time, one increment is lost.
                let read = number.load(Ordering::Relaxed);
                yield_now().await;
                number.store(read + 1, Ordering::Relaxed);
                let _ = library.release(held).await;
                done += 1;
            }
            give_ups
        });
    }
    let give_ups = tasks.join_all().await.into_iter().sum();
    Ok((number.load(Ordering::Relaxed), give_ups))
}
