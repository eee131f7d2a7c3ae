//! W9: what a fencing token costs.

use std::time::Duration;

use anyhow::Result;

use super::{
    Run,
    pairs::{PATIENCE, many},
};
use crate::{
    contender::{Contender, Kind, with_library},
    library::{Library, Tuning},
    results::{Better, Metric, Plot, Section, Slice, Table},
    rounds::{Outcome, Rounds},
    statistics::percentile,
};

const NODES: usize = 3;

const METRICS: [Metric; 3] = [
    Metric::new("acquire50", "acquire p50", "µs", Better::Lower),
    Metric::new("acquire99", "acquire p99", "µs", Better::Lower),
    Metric::new("pair50", "pair p50", "µs", Better::Lower),
];

fn rounds(quick: bool) -> Rounds {
    let (count, millis) = if quick { (3, 150) } else { (12, 250) };
    Rounds { count, slice: Duration::from_millis(millis) }
}

fn contenders() -> Vec<Contender> {
    Kind::OURS.into_iter().flat_map(|kind| [kind.with(Tuning::Defaults), kind.with(Tuning::Fenced)]).collect()
}

pub(super) fn planned(quick: bool) -> Duration {
    rounds(quick).planned(contenders().len())
}

pub(super) async fn play(run: &mut Run) -> Result<Section> {
    let contenders = contenders();
    let urls = run.stage.urls(NODES)?;
    let rounds = rounds(run.quick);
    let mut table = Table::new("3 nodes", &METRICS, &contenders)
        .ratio("acquire50", "x without, acquire")
        .plot(Plot::Bars(vec!["acquire50"]));
    for (row, contender) in table.rows.iter_mut().zip(&contenders) {
        let plain = contender.kind.with(Tuning::Defaults).to_string();
        row.floor = (contender.tuning == Tuning::Fenced).then_some(plain);
    }
    let slice = async |contender: &Contender| measured(*contender, urls.clone(), rounds.slice.mul_f64(0.8)).await;
    rounds.play(&mut table, &contenders, "W9", &mut run.progress, slice).await?;
    Ok(Section {
        id: "W9",
        title: "With a fencing token",
        what: "One task acquires a free lock and releases it, with and without a fencing token: a number that grows \
               from lock to lock, so that storage can refuse a holder that is too late. Only this library has fencing \
               tokens.",
        tables: vec![table],
        targets: Vec::new(),
        notes: Vec::new(),
    })
}

async fn measured(contender: Contender, urls: Vec<String>, slice: Duration) -> Result<Outcome> {
    let measured = tokio::spawn(async move {
        with_library!(contender.kind, L => {
            let library = L::open(&urls, contender.tuning).await?;
            // Until the nodes agree on each counter.
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
