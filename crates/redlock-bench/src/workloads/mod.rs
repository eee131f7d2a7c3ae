//! The workloads, and what they share.

mod pairs;
mod throughput;
mod contention;
mod faults;
mod cost;
mod count;
mod kept;
mod fencing;
mod nodes;
mod permits;
mod shared;

mod instructions;
mod meter;

use std::time::Duration;

use anyhow::Result;

pub(crate) use self::instructions::count as count_instructions;
use crate::{
    args::Workload,
    contender::Side,
    progress::Progress,
    results::{Better, Metric, Section, Table, Target},
    stage::Stage,
};

/// The context of every workload.
pub(crate) struct Run {
    pub(crate) stage: Stage,
    pub(crate) progress: Progress,
    pub(crate) quick: bool,
}

impl Workload {
    /// Returns how long it takes.
    pub(crate) fn planned(self, quick: bool) -> Duration {
        match self {
            Self::Pairs => pairs::planned(quick),
            Self::Throughput => throughput::planned(quick),
            Self::Contention => contention::planned(quick),
            Self::Hung | Self::Dead => faults::planned(quick),
            Self::Cost => cost::planned(quick),
            Self::Count => count::planned(quick),
            Self::Kept => kept::planned(quick),
            Self::Fencing => fencing::planned(quick),
            Self::Nodes => nodes::planned(quick),
            Self::Permits => permits::planned(quick),
            Self::Shared => shared::planned(quick),
        }
    }

    pub(crate) async fn play(self, run: &mut Run) -> Result<Section> {
        match self {
            Self::Pairs => pairs::play(run).await,
            Self::Throughput => throughput::play(run).await,
            Self::Contention => contention::play(run).await,
            Self::Hung => faults::play(run, faults::Fault::Hung).await,
            Self::Dead => faults::play(run, faults::Fault::Dead).await,
            Self::Cost => cost::play(run).await,
            Self::Count => count::play(run).await,
            Self::Kept => kept::play(run).await,
            Self::Fencing => fencing::play(run).await,
            Self::Nodes => nodes::play(run).await,
            Self::Permits => permits::play(run).await,
            Self::Shared => shared::play(run).await,
        }
    }
}

/// Targets: within this many times the floor of the same client, and better than all peers.
fn against_floor_and_peers(table: &Table, metric: Metric, limit: f64) -> Vec<Target> {
    let (key, higher) = (metric.key, metric.better == Better::Higher);
    // The inverse of rates, so that the number is always the time that it takes.
    let time = |times: f64| if higher { 1.0 / times } else { times };
    let peers = table.of_side(Side::Peer, key);
    let best = peers.iter().min_by(|one, other| time(one.1).total_cmp(&time(other.1)));
    let mut targets = Vec::new();
    for (row, figure) in table.of_side(Side::Ours, key) {
        if let Some(times) = table.times_floor(row, key) {
            let what = format!("{}, {}: time, times the floor's", table.title, row.name);
            targets.push(Target::at_most(what, time(times), limit, " x"));
        }
        if let Some((peer, of_peer)) = best {
            let what = format!("{}, {}: time, times that of {}", table.title, row.name, peer.name);
            targets.push(Target::at_most(what, time(figure / of_peer), 1.0, " x"));
        }
    }
    targets
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{contender::Contender, results::Slice};

    #[test]
    fn a_rate_below_the_floor_counts_as_a_longer_time() {
        let metric = Metric::new("pairs", "pairs", "/s", Better::Higher);
        let mut table = Table::new("64 tasks", &[metric], &Contender::all());
        for (row, pairs) in table.rows.iter_mut().zip([40.0, 20.0, 50.0, 1.0, 50.0, 22.0]) {
            row.add(0, Slice::from([("pairs", pairs)]));
        }
        let measured: Vec<_> = against_floor_and_peers(&table, metric, 1.1)
            .into_iter()
            .map(|target| (target.measured, target.met))
            .collect();
        let expected = [("1.25 x", false), ("1.25 x", false), ("1.10 x", true), ("2.50 x", false)];
        assert_eq!(measured, expected.map(|(text, met)| (text.to_owned(), met)));
    }
}
