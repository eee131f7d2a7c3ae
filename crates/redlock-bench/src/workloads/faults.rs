//! W4 and W5: one node of three is hung, or dead.

use std::time::Duration;

use anyhow::{Context, Result};
use redlock_tests::servers::Server;

use super::{
    Run,
    pairs::{Times, latencies, many},
};
use crate::{
    contender::{Contender, Kind, Side, with_library},
    library::Library,
    results::{Better, Metric, Plot, Section, Slice, Table, Target},
    rounds::{Outcome, Rounds},
};

const NODES: usize = 3;

const METRICS: [Metric; 7] = [
    Metric::new("before50", "healthy p50", "µs", Better::Lower),
    Metric::new("p50", "faulty p50", "µs", Better::Lower),
    Metric::new("times50", "p50, faulty to healthy", "", Better::Lower),
    Metric::new("before99", "healthy p99", "µs", Better::Lower),
    Metric::new("p99", "faulty p99", "µs", Better::Lower),
    Metric::new("times99", "p99, faulty to healthy", "", Better::Lower),
    Metric::new("failures", "failures", "", Better::Lower),
];

/// The fault of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Hung,
    Dead,
}

impl Fault {
    async fn befall(self, server: &Server) -> Result<()> {
        match self {
            Self::Hung => server.pause().await,
            Self::Dead => server.stop().await,
        }
    }

    async fn end(self, server: &Server) -> Result<()> {
        match self {
            Self::Hung => server.resume().await,
            Self::Dead => server.start().await,
        }
    }
}

fn rounds(quick: bool) -> Rounds {
    let (count, millis) = if quick { (2, 400) } else { (6, 600) };
    Rounds { count, slice: Duration::from_millis(millis) }
}

pub(super) fn planned(quick: bool) -> Duration {
    // A library that hangs with the node uses up the whole patience, once.
    rounds(quick).planned(contenders(quick).len()) + patience(quick)
}

/// One contender is known to hang with the node, and it takes time to see that.
fn contenders(quick: bool) -> Vec<Contender> {
    let mut all = Contender::all();
    all.retain(|contender| !quick || contender.kind != Kind::Redlock);
    all
}

fn patience(quick: bool) -> Duration {
    Duration::from_secs(if quick { 3 } else { 10 })
}

pub(super) async fn play(run: &mut Run, fault: Fault) -> Result<Section> {
    let (id, title, what) = match fault {
        Fault::Hung => (
            "W4",
            "One node of three is hung",
            "One task acquires a free lock and releases it, over and over: first with three healthy nodes, then while \
             one of them accepts requests and answers none (a signal stops its process). All contenders have their \
             defaults.",
        ),
        Fault::Dead => (
            "W5",
            "One node of three is dead",
            "One task acquires a free lock and releases it, over and over: first with three healthy nodes, then while \
             one of them is down and refuses connections. All contenders have their defaults.",
        ),
    };
    let contenders = contenders(run.quick);
    let plot = Plot::Bars(vec!["p50", "times50"]);
    let mut table = Table::new("", &METRICS, &contenders).plot(plot);
    let mut section = Section { id, title, what, tables: Vec::new(), targets: Vec::new(), notes: Vec::new() };
    let Run { stage, progress, quick } = &mut *run;
    if !stage.can_fail {
        section.notes.push("Not measured: the bench cannot make servers fail that it has not started.".to_owned());
        return Ok(section);
    }
    let urls = stage.urls(NODES)?;
    let (rounds, patience) = (rounds(*quick), patience(*quick));
    let mut turn = 0;
    let slice = async |contender: &Contender| {
        turn += 1;
        let server = stage.servers(NODES)?.get(turn % NODES).context("no server")?;
        let part = rounds.slice.mul_f64(0.4);
        let (before, after) =
            with_library!(contender.kind, L => befallen::<L>(*contender, &urls, part, patience, fault, server).await?);
        Ok(outcome(before, after))
    };
    rounds.play(&mut table, &contenders, id, progress, slice).await?;
    section.targets = targets(&table);
    section.tables.push(table);
    Ok(section)
}

/// Runs pairs with all nodes healthy, and with one that is not.
async fn befallen<L: Library>(
    contender: Contender,
    urls: &[String],
    part: Duration,
    patience: Duration,
    fault: Fault,
    server: &Server,
) -> Result<(Times, Times)> {
    let library = L::open(urls, contender.tuning).await?;
    let in_a_task = async |part, patience| {
        let library = library.clone();
        tokio::spawn(async move { many(&library, part, patience).await }).await
    };
    in_a_task(part / 4, patience).await?;
    let before = in_a_task(part, patience).await?;
    fault.befall(server).await?;
    let after = in_a_task(part, patience).await;
    fault.end(server).await?;
    library.settle().await;
    Ok((before, after?))
}

fn outcome(mut before: Times, mut after: Times) -> Outcome {
    if after.pairs.is_empty() {
        return Outcome::Nothing(match after.failed {
            Some(why) if after.failures > 0 => format!("every lock fails: {why}"),
            Some(why) => why,
            None => "no pair".to_owned(),
        });
    }
    let mut slice = latencies(&mut after.pairs);
    let healthy = latencies(&mut before.pairs);
    for (key, times, before) in [("p50", "times50", "before50"), ("p99", "times99", "before99")] {
        if let (Some(faulty), Some(healthy)) = (slice.get(key).copied(), healthy.get(key).copied()) {
            slice.extend(Slice::from([(times, faulty / healthy), (before, healthy)]));
        }
    }
    slice.insert("failures", after.failures as f64);
    Outcome::Numbers(slice)
}

fn targets(table: &Table) -> Vec<Target> {
    let mut targets = Vec::new();
    for (row, _) in table.of_side(Side::Ours, "p50") {
        for (key, what, limit) in [("times50", "p50", 1.2), ("times99", "p99", 2.0)] {
            if let Some(times) = row.median(key) {
                let what = format!("{}: {what}, times that with all nodes healthy", row.name);
                targets.push(Target::at_most(what, times, limit, " x"));
            }
        }
        targets.push(Target::exactly(format!("{}: failures", row.name), row.sum("failures").unwrap_or(0.0), 0.0));
    }
    targets
}
