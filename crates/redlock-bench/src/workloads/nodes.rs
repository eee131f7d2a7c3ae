//! W10: an acquire and a release, by the number of nodes.

use std::time::Duration;

use anyhow::Result;

use super::{
    Run,
    pairs::{latencies, timed},
};
use crate::{
    contender::{Contender, Kind},
    results::{Better, Metric, Plot, Section, Slice, Table},
    rounds::{Outcome, Rounds},
    stage::MOST,
};

const METRICS: [Metric; MOST] = [
    Metric::new("1", "1", "µs", Better::Lower),
    Metric::new("2", "2", "µs", Better::Lower),
    Metric::new("3", "3", "µs", Better::Lower),
    Metric::new("4", "4", "µs", Better::Lower),
    Metric::new("5", "5", "µs", Better::Lower),
    Metric::new("6", "6", "µs", Better::Lower),
    Metric::new("7", "7", "µs", Better::Lower),
    Metric::new("8", "8", "µs", Better::Lower),
    Metric::new("9", "9", "µs", Better::Lower),
];

fn rounds(quick: bool) -> Rounds {
    let (count, millis) = if quick { (1, 450) } else { (4, 1_100) };
    Rounds { count, slice: Duration::from_millis(millis) }
}

/// All contenders except the one that would be off the chart: it sends to one node after the other.
fn contenders() -> Vec<Contender> {
    let mut all = Contender::all();
    all.retain(|contender| contender.kind != Kind::Redlock);
    all
}

pub(super) fn planned(quick: bool) -> Duration {
    rounds(quick).planned(contenders().len())
}

pub(super) async fn play(run: &mut Run) -> Result<Section> {
    let contenders = contenders();
    let urls = run.stage.urls(MOST)?;
    let rounds = rounds(run.quick);
    let mut table = Table::new("p50 of a pair, by the number of nodes", &METRICS, &contenders)
        .ratio("9", "x floor at 9")
        .plot(Plot::Lines("nodes"));
    let slice = async |contender: &Contender| {
        let mut slice = Slice::new();
        for (metric, count) in METRICS.iter().zip(1..) {
            let part = rounds.slice.mul_f64(0.8) / u32::try_from(MOST)?;
            let timed = timed(*contender, urls.get(..count).unwrap_or(&urls), part).await?;
            let p50 = timed.ok().and_then(|mut nanos| latencies(&mut nanos).remove("p50"));
            slice.extend(p50.map(|p50| (metric.key, p50)));
        }
        Ok(Outcome::Numbers(slice))
    };
    rounds.play(&mut table, &contenders, "W10", &mut run.progress, slice).await?;
    Ok(Section {
        id: "W10",
        title: "More nodes",
        what: "One task acquires a free lock and releases it, over and over, on one to nine nodes. The figure is the \
               median time of such a pair. All servers run on this machine, so each further node is more work for the \
               same CPUs.",
        tables: vec![table],
        targets: Vec::new(),
        notes: Vec::new(),
    })
}
