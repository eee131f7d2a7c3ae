//! The measurements as plain data, from which the table, the report and `results.json` are made.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    contender::{Contender, Kind, Side},
    statistics::median,
};

/// Numbers of one slice, by the metric's key.
pub(crate) type Slice = BTreeMap<&'static str, f64>;

/// All results of a run.
#[derive(Debug, Serialize)]
pub(crate) struct Results {
    pub(crate) facts: Vec<(String, String)>,
    pub(crate) sections: Vec<Section>,
}

/// A workload.
#[derive(Debug, Serialize)]
pub(crate) struct Section {
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    /// The description of the work and of the figure, for readers who have never seen this.
    pub(crate) what: &'static str,
    pub(crate) tables: Vec<Table>,
    pub(crate) targets: Vec<Target>,
    pub(crate) notes: Vec<String>,
}

/// Contenders side by side.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Table {
    pub(crate) title: String,
    pub(crate) metrics: Vec<Metric>,
    pub(crate) rows: Vec<Row>,
    /// The metric by which a contender is compared with its floor, and the heading of that column.
    pub(crate) ratio: Option<(&'static str, &'static str)>,
    pub(crate) plot: Plot,
}

/// The plot of a table.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Plot {
    /// Bars, one chart for each of these metrics.
    Bars(Vec<&'static str>),
    /// One line for each contender, over all metrics, with this name of the axis.
    Lines(&'static str),
    None,
}

#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Metric {
    pub(crate) key: &'static str,
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) better: Better,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Better {
    Lower,
    Higher,
    /// Only shown.
    Neither,
}

/// The slices of one contender.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) side: Side,
    /// The name of the row that is the floor of this one.
    pub(crate) floor: Option<String>,
    /// One number for each round; `None` if it took no part or has no such number.
    pub(crate) slices: BTreeMap<&'static str, Vec<Option<f64>>>,
    /// Why numbers are missing.
    pub(crate) note: Option<String>,
}

/// A target of the library.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Target {
    pub(crate) what: String,
    pub(crate) wanted: String,
    pub(crate) measured: String,
    pub(crate) met: bool,
}

impl Metric {
    pub(crate) const fn new(key: &'static str, name: &'static str, unit: &'static str, better: Better) -> Self {
        Self { key, name, unit, better }
    }
}

impl Table {
    pub(crate) fn new(title: impl Into<String>, metrics: &[Metric], contenders: &[Contender]) -> Self {
        let rows = contenders.iter().map(Row::new).collect();
        Self { title: title.into(), metrics: metrics.to_vec(), rows, ratio: None, plot: Plot::None }
    }

    pub(crate) fn ratio(mut self, key: &'static str, head: &'static str) -> Self {
        self.ratio = Some((key, head));
        self
    }

    pub(crate) fn plot(mut self, plot: Plot) -> Self {
        self.plot = plot;
        self
    }

    pub(crate) fn row(&self, name: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.name == name)
    }

    /// Returns how many times its client's floor a contender takes: the median of the ratios of all rounds.
    pub(crate) fn times_floor(&self, row: &Row, key: &str) -> Option<f64> {
        row.times(self.row(row.floor.as_ref()?)?, key)
    }

    /// Returns the figure of each row on a side.
    pub(crate) fn of_side(&self, side: Side, key: &str) -> Vec<(&Row, f64)> {
        let rows = self.rows.iter().filter(|row| row.side == side);
        rows.filter_map(|row| Some((row, row.median(key)?))).collect()
    }
}

impl Row {
    fn new(contender: &Contender) -> Self {
        let floor = contender.kind.floor().map(|kind: Kind| kind.name().to_owned());
        Self::named(contender.to_string(), contender.kind.side(), floor)
    }

    pub(crate) fn named(name: impl Into<String>, side: Side, floor: Option<String>) -> Self {
        Self { name: name.into(), side, floor, slices: BTreeMap::new(), note: None }
    }

    pub(crate) fn add(&mut self, round: usize, slice: Slice) {
        for (key, number) in slice {
            let numbers = self.slices.entry(key).or_default();
            numbers.resize(round, None);
            numbers.push(Some(number));
        }
    }

    /// Returns the median over all rounds.
    pub(crate) fn median(&self, key: &str) -> Option<f64> {
        median(self.slices.get(key)?.iter().flatten().copied().collect())
    }

    /// Returns the sum over all rounds.
    pub(crate) fn sum(&self, key: &str) -> Option<f64> {
        self.slices.get(key).map(|numbers| numbers.iter().flatten().sum())
    }

    /// Returns the least and the greatest of all rounds.
    pub(crate) fn range(&self, key: &str) -> Option<(f64, f64)> {
        let all = || self.slices.get(key).into_iter().flatten().flatten().copied();
        Some((all().min_by(f64::total_cmp)?, all().max_by(f64::total_cmp)?))
    }

    /// Returns the ratio to the other row: the median of the ratios of all rounds.
    pub(crate) fn times(&self, other: &Self, key: &str) -> Option<f64> {
        let pairs = self.slices.get(key)?.iter().zip(other.slices.get(key)?);
        median(pairs.filter_map(|(own, other)| Some((*own)? / (*other)?)).collect())
    }
}

impl Target {
    /// Returns a target for a number that must not be above a limit.
    pub(crate) fn at_most(what: impl Into<String>, measured: f64, limit: f64, unit: &str) -> Self {
        Self {
            what: what.into(),
            wanted: format!("at most {limit}{unit}"),
            measured: format!("{measured:.2}{unit}"),
            met: measured <= limit,
        }
    }

    /// Returns a target for an exact number.
    pub(crate) fn exactly(what: impl Into<String>, measured: f64, wanted: f64) -> Self {
        Self {
            what: what.into(),
            wanted: format!("exactly {wanted}"),
            measured: format!("{measured}"),
            met: measured.total_cmp(&wanted).is_eq(),
        }
    }

    /// Returns a target for a number that must not be below a limit.
    pub(crate) fn at_least(what: impl Into<String>, measured: f64, limit: f64, unit: &str) -> Self {
        Self {
            what: what.into(),
            wanted: format!("at least {limit}{unit}"),
            measured: format!("{measured:.3}{unit}"),
            met: measured >= limit,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::library::Tuning;

    fn table() -> Table {
        let kinds = [Kind::OursFred, Kind::FloorFred];
        let metrics = [Metric::new("p50", "p50", "us", Better::Lower)];
        Table::new("t", &metrics, &kinds.map(|kind| kind.with(Tuning::Defaults)))
    }

    #[test]
    fn a_ratio_is_taken_within_each_round() {
        let mut table = table();
        for (round, (ours, floor)) in [(110.0, 100.0), (440.0, 400.0), (33.0, 30.0)].into_iter().enumerate() {
            table.rows[0].add(round, Slice::from([("p50", ours)]));
            table.rows[1].add(round, Slice::from([("p50", floor)]));
        }
        let times = table.times_floor(&table.rows[0], "p50").unwrap();
        assert!((times - 1.1).abs() < 1e-9, "{times}");
        assert_eq!(table.times_floor(&table.rows[1], "p50"), None);
        assert_eq!(table.rows[0].median("p50"), Some(110.0));
    }

    #[test]
    fn a_round_without_a_number_is_left_out_of_the_ratio() {
        let mut table = table();
        table.rows[0].add(1, Slice::from([("p50", 20.0)]));
        table.rows[1].add(0, Slice::from([("p50", 1.0)]));
        table.rows[1].add(1, Slice::from([("p50", 10.0)]));
        assert_eq!(table.times_floor(&table.rows[0], "p50"), Some(2.0));
    }

    #[test]
    fn a_target_shows_its_limit() {
        let target = Target::at_most("ours", 1.2, 1.1, " x");
        assert!(!target.met && target.wanted == "at most 1.1 x" && target.measured == "1.20 x");
        assert!(Target::at_least("ours", 0.995, 0.99, "").met);
    }
}
