//! W6: what an acquire and a release cost the process that makes them.

use std::time::Duration;

use anyhow::Result;

use super::{
    Run,
    meter::{self, is_installed},
};
use crate::{
    contender::{Contender, Side, Who},
    results::{Better, Metric, Plot, Section, Slice, Table, Target},
    rounds::{Outcome, Rounds},
};

const NODES: usize = 3;

const METRICS: [Metric; 4] = [
    Metric::new("cpu", "CPU", "µs", Better::Lower),
    Metric::new("instructions", "instructions", "", Better::Lower),
    Metric::new("allocations", "allocations", "", Better::Lower),
    Metric::new("calls", "system calls", "", Better::Lower),
];

fn rounds(quick: bool) -> Rounds {
    if quick {
        Rounds { count: 1, slice: Duration::from_millis(4_500) }
    } else {
        Rounds { count: 2, slice: Duration::from_millis(5_000) }
    }
}

pub(super) fn planned(quick: bool) -> Duration {
    rounds(quick).planned(contenders(quick).len())
}

/// Counting takes time, so a quick run leaves some contenders out.
fn contenders(quick: bool) -> Vec<Contender> {
    let mut all = Contender::all();
    all.retain(|contender| !quick || contender.kind.side() != Side::Peer);
    all
}

pub(super) async fn play(run: &mut Run) -> Result<Section> {
    let contenders = contenders(run.quick);
    let urls = run.stage.urls(NODES)?;
    let rounds = rounds(run.quick);
    let plot = Plot::Bars(vec!["cpu", "instructions", "allocations", "calls"]);
    let mut table = Table::new("3 nodes, for one pair", &METRICS, &contenders)
        .ratio("instructions", "x floor, instructions")
        .plot(plot);
    let slice = async |contender: &Contender| Ok(Outcome::Numbers(measured(*contender, &urls).await?));
    rounds.play(&mut table, &contenders, "W6", &mut run.progress, slice).await?;
    let missing: Vec<_> = ["valgrind", "strace"].into_iter().filter(|program| !is_installed(program)).collect();
    let notes = missing.iter().map(|program| format!("Some figures are missing: install {program}.")).collect();
    Ok(Section {
        id: "W6",
        title: "What a pair costs",
        what: "A process with one thread acquires a free lock on three nodes and releases it a number of times, and \
               then twice as many times. The figure is the difference per pair, so that the start of the process does \
               not count. CPU time is that of the process, including the system's part. Instructions (without the \
               system's) and allocations are counted by valgrind's callgrind, and system calls by strace.",
        targets: targets(&table),
        tables: vec![table],
        notes,
    })
}

async fn measured(contender: Contender, urls: &[String]) -> Result<Slice> {
    let child = |count: usize| {
        let mut child = vec!["pairs".to_owned(), "--count".to_owned(), count.to_string()];
        child.extend(Who::arguments(contender, urls));
        child
    };
    let mut slice = Slice::new();
    let by_pair = |once: u64, twice: u64, count: usize| (twice as f64 - once as f64) / count as f64;

    let count = 1_000;
    let (once, twice) = (meter::cpu(&child(count)).await?, meter::cpu(&child(2 * count)).await?);
    slice.insert("cpu", by_pair(once, twice, count) / 1e3);

    let count = 200;
    if is_installed("valgrind") {
        let (once, twice) = (meter::counted(&child(count)).await?, meter::counted(&child(2 * count)).await?);
        slice.insert("instructions", by_pair(once.instructions, twice.instructions, count));
        slice.insert("allocations", by_pair(once.allocations, twice.allocations, count));
    }
    if is_installed("strace") {
        let (once, twice) = (meter::system_calls(&child(count)).await?, meter::system_calls(&child(2 * count)).await?);
        slice.insert("calls", by_pair(once, twice, count));
    }
    Ok(slice)
}

fn targets(table: &Table) -> Vec<Target> {
    let mut targets = Vec::new();
    for (row, _) in table.of_side(Side::Ours, "cpu") {
        for (key, limit) in [("instructions", 1.1), ("allocations", 1.15)] {
            if let Some(times) = table.times_floor(row, key) {
                targets.push(Target::at_most(format!("{}: {key}, times the floor", row.name), times, limit, " x"));
            }
        }
    }
    targets
}
