//! W8: many held locks that are extended again and again.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use redlock_core::{AcquireOptions, AutoExtend, Lock, LockNode, Redlock};
use redlock_mock::MockNode;
use tokio::{task::JoinSet, time::sleep};

use super::Run;
use crate::{
    clock,
    contender::{Kind, Side},
    libraries::{Backend as _, Fred, RedisRs},
    results::{Better, Metric, Plot, Row, Section, Slice, Table, Target},
    rounds::{Outcome, Rounds},
};

const NODES: usize = 3;
const LOCKS: usize = 10_000;
/// Each lock is extended every 10 seconds, less up to one second at random.
const TTL: Duration = Duration::from_secs(30);
/// The average time between two extends, as a share of the TTL.
const PERIOD: f64 = 0.95 / 3.0;

const METRICS: [Metric; 4] = [
    Metric::new("core", "of a core", "%", Better::Lower),
    Metric::new("extends", "extends", "/s", Better::Neither),
    Metric::new("each", "CPU per extend", "µs", Better::Lower),
    Metric::new("lost", "lost", "", Better::Lower),
];

/// The nodes on which locks are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Over {
    Memory,
    RedisRs,
    Fred,
}

impl Over {
    fn all(quick: bool) -> &'static [Self] {
        if quick { &[Self::RedisRs] } else { &[Self::Memory, Self::RedisRs, Self::Fred] }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Memory => "ours, nodes in memory",
            Self::RedisRs => Kind::OursRedisRs.name(),
            Self::Fred => Kind::OursFred.name(),
        }
    }

    fn redlock(self, urls: &[String]) -> Result<Redlock> {
        match self {
            Self::Memory => {
                let nodes = MockNode::fleet(NODES).into_iter().map(|node| Arc::new(node) as Arc<dyn LockNode>);
                Ok(Redlock::new(nodes)?)
            }
            Self::RedisRs => RedisRs::redlock(urls),
            Self::Fred => Fred::redlock(urls),
        }
    }
}

/// At least a whole period, since locks that were acquired together are extended together.
fn watched(quick: bool) -> Duration {
    Duration::from_secs(if quick { 10 } else { 20 })
}

fn rounds(quick: bool) -> Rounds {
    Rounds { count: 1, slice: watched(quick) + Duration::from_secs(4) }
}

pub(super) fn planned(quick: bool) -> Duration {
    rounds(quick).planned(Over::all(quick).len())
}

pub(super) async fn play(run: &mut Run) -> Result<Section> {
    let urls = run.stage.urls(NODES)?;
    let all = Over::all(run.quick);
    let title = format!("{LOCKS} locks with a TTL of {} s, three nodes", TTL.as_secs());
    let mut table = Table::new(title, &METRICS, &[]).plot(Plot::Bars(vec!["core"]));
    table.rows = all.iter().map(|over| Row::named(over.name(), Side::Ours, None)).collect();
    let watched = watched(run.quick);
    let slice = async |over: &Over| {
        let redlock = over.redlock(&urls)?;
        Ok(Outcome::Numbers(tokio::spawn(async move { kept(redlock, watched).await }).await??))
    };
    rounds(run.quick).play(&mut table, all, "W8", &mut run.progress, slice).await?;
    let mut targets = Vec::new();
    for (row, core) in table.of_side(Side::Ours, "core") {
        targets.push(Target::at_most(format!("{}: of a core", row.name), core, 1.0, " %"));
        targets.push(Target::exactly(format!("{}: lost", row.name), row.sum("lost").unwrap_or(0.0), 0.0));
    }
    Ok(Section {
        id: "W8",
        title: "Many locks with auto-extend",
        what: "One process holds ten thousand locks and does nothing else. Each lock is extended on all nodes before \
               it ends, again and again. The figure is the CPU time of that process, including the Redis client, in \
               percent of one core. Peers have no such feature: rslock extends while one piece of work runs.",
        tables: vec![table],
        targets,
        notes: Vec::new(),
    })
}

async fn kept(redlock: Redlock, watched: Duration) -> Result<Slice> {
    let mut acquiring = JoinSet::new();
    let mut locks = Vec::with_capacity(LOCKS);
    for number in 0..LOCKS {
        let redlock = redlock.clone();
        let options = AcquireOptions::new(TTL).auto_extend(AutoExtend::default());
        acquiring.spawn(async move { redlock.acquire(format!("kept:{number}"), options).await });
        if acquiring.len() >= 64 {
            locks.push(acquiring.join_next().await.context("no task")???);
        }
    }
    for lock in acquiring.join_all().await {
        locks.push(lock?);
    }
    redlock.close().await?;

    let (start, before) = (Instant::now(), clock::cpu_time());
    sleep(watched).await;
    let (used, took) = (clock::cpu_time() - before, start.elapsed());

    let lost = locks.iter().filter(|lock| lock.check().is_err()).count();
    let extends = LOCKS as f64 / (TTL.as_secs_f64() * PERIOD);
    let mut releasing = JoinSet::new();
    for lock in locks {
        releasing.spawn(Lock::release(lock));
        if releasing.len() >= 64 {
            releasing.join_next().await;
        }
    }
    releasing.join_all().await;
    redlock.close().await?;
    Ok(Slice::from([
        ("core", 100.0 * used.as_secs_f64() / took.as_secs_f64()),
        ("extends", extends),
        ("each", used.as_secs_f64() * 1e6 / (extends * took.as_secs_f64())),
        ("lost", lost as f64),
    ]))
}
