//! W2: many tasks, each with its own lock.

use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::task::JoinSet;

use super::{Run, against_floor_and_peers};
use crate::{
    contender::{Contender, with_library},
    library::Library,
    results::{Better, Metric, Plot, Section, Slice, Table},
    rounds::{Outcome, Rounds},
};

const NODES: usize = 3;
const TASKS: usize = 64;

const PAIRS: Metric = Metric::new("pairs", "pairs", "/s", Better::Higher);

fn rounds(quick: bool) -> Rounds {
    let (count, millis) = if quick { (2, 300) } else { (6, 500) };
    Rounds { count, slice: Duration::from_millis(millis) }
}

pub(super) fn planned(quick: bool) -> Duration {
    rounds(quick).planned(Contender::all().len())
}

pub(super) async fn play(run: &mut Run) -> Result<Section> {
    let contenders = Contender::all();
    let rounds = rounds(run.quick);
    let urls = run.stage.urls(NODES)?;
    let mut table = Table::new(format!("{TASKS} tasks, {NODES} nodes"), &[PAIRS], &contenders)
        .ratio("pairs", "x floor")
        .plot(Plot::Bars(vec!["pairs"]));
    let slice = async |contender: &Contender| {
        let pairs = many_at_once(*contender, urls.clone(), rounds.slice.mul_f64(0.8)).await?;
        Ok(Outcome::Numbers(Slice::from([("pairs", pairs)])))
    };
    rounds.play(&mut table, &contenders, "W2", &mut run.progress, slice).await?;
    Ok(Section {
        id: "W2",
        title: "Many locks at once",
        what: "64 tasks share one instance of the library. Each acquires a lock that no other task wants and releases \
               it, over and over. The figure is the pairs per second of all tasks together.",
        targets: against_floor_and_peers(&table, PAIRS, 1.1),
        tables: vec![table],
        notes: Vec::new(),
    })
}

/// Returns the pairs per second.
async fn many_at_once(contender: Contender, urls: Vec<String>, slice: Duration) -> Result<f64> {
    let counted = tokio::spawn(async move {
        with_library!(contender.kind, L => {
            let library = L::open(&urls, contender.tuning).await?;
            // Connect before the time is taken. A failure here repeats below.
            let _ = library.pair("first").await;
            let pairs = all_tasks(&library, slice).await;
            library.settle().await;
            anyhow::Ok(pairs)
        })
    });
    counted.await?
}

async fn all_tasks<L: Library>(library: &L, slice: Duration) -> f64 {
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let library = library.clone();
        let name = format!("own:{task}");
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
