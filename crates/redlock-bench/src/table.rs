//! The results as text, for a terminal.

use std::fmt::Write as _;

use crate::results::{Metric, Row, Section, Table};

/// Prints all tables of a workload, with its notes and targets.
pub(crate) fn text(section: &Section) -> String {
    let mut text = format!("{} {}\n{}\n", section.id, section.title, wrapped(section.what, 118));
    for table in &section.tables {
        let _ = write!(text, "\n{}", rendered(table));
    }
    for note in &section.notes {
        let _ = writeln!(text, "\n{}", wrapped(note, 118));
    }
    if !section.targets.is_empty() {
        text.push('\n');
    }
    for target in &section.targets {
        let verdict = if target.met { "met   " } else { "MISSED" };
        let _ = writeln!(text, "  {verdict}  {}: {}, wanted {}", target.what, target.measured, target.wanted);
    }
    text
}

fn rendered(table: &Table) -> String {
    let cells = cells(table);
    let columns = cells.first().map_or(0, Vec::len);
    let width = |column: usize| {
        cells.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = if table.title.is_empty() { String::new() } else { format!("{}\n", table.title) };
    for (index, row) in cells.iter().enumerate() {
        text.push_str("  ");
        for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
            let _ = if column == 0 { write!(text, "{cell:<width$}") } else { write!(text, "  {cell:>width$}") };
        }
        if let Some(note) = index.checked_sub(1).and_then(|row| table.rows.get(row)?.note.as_ref()) {
            let _ = write!(text, "  {note}");
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text
}

/// Returns the heading and all rows. Leaves out columns without a number.
pub(crate) fn cells(table: &Table) -> Vec<Vec<String>> {
    let head = |metric: &Metric| {
        if metric.unit.is_empty() { metric.name.to_owned() } else { format!("{}, {}", metric.name, metric.unit) }
    };
    let is_measured = |metric: &&Metric| table.rows.iter().any(|row| row.median(metric.key).is_some());
    let metrics = || table.metrics.iter().filter(is_measured);
    let mut first: Vec<String> = std::iter::once(String::new()).chain(metrics().map(head)).collect();
    first.extend(table.ratio.map(|(_, head)| head.to_owned()));
    let mut cells = vec![first];
    for row in &table.rows {
        let numbers = metrics().map(|metric| number(row.median(metric.key)));
        let mut line: Vec<String> = std::iter::once(row.name.clone()).chain(numbers).collect();
        line.extend(table.ratio.map(|(key, _)| ratio(table, row, key)));
        cells.push(line);
    }
    cells
}

fn ratio(table: &Table, row: &Row, key: &str) -> String {
    table.times_floor(row, key).map_or_else(|| "-".to_owned(), |times| format!("{times:.2}"))
}

/// Prints about three digits, with thousands separated.
pub(crate) fn number(number: Option<f64>) -> String {
    let Some(number) = number else { return "-".to_owned() };
    match number.abs() {
        0.0 => "0".to_owned(),
        ..0.095 => format!("{number:.3}"),
        ..9.95 => format!("{number:.2}"),
        ..99.5 => format!("{number:.1}"),
        _ => thousands(number.round() as i64),
    }
}

fn thousands(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = if number < 0 { "-".to_owned() } else { String::new() };
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn wrapped(text: &str, width: usize) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let long = lines.last().is_some_and(|line| !line.is_empty() && line.len() + 1 + word.len() > width);
        if long {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        contender::Side,
        results::{Better, Plot, Slice, Target},
    };

    #[test]
    fn numbers_have_about_three_digits() {
        let texts = [0.0, 0.0123, 1.234, 56.78, 146.4, 49_800.0, 1_234_567.0].map(|value| number(Some(value)));
        assert_eq!(texts, ["0", "0.012", "1.23", "56.8", "146", "49,800", "1,234,567"]);
        assert_eq!(number(None), "-");
    }

    #[test]
    fn a_workload_is_a_table_with_verdicts() {
        let metrics = vec![Metric::new("p50", "p50", "us", Better::Lower)];
        let mut ours = Row::named("ours", Side::Ours, Some("floor".to_owned()));
        ours.add(0, Slice::from([("p50", 220.0)]));
        let mut floor = Row::named("floor", Side::Floor, None);
        floor.add(0, Slice::from([("p50", 200.0)]));
        let mut peer = Row::named("peer", Side::Peer, None);
        peer.note = Some("no pair within 10 s".to_owned());
        let rows = vec![ours, floor, peer];
        let table =
            Table { title: "N = 3".to_owned(), metrics, rows, ratio: Some(("p50", "x floor")), plot: Plot::None };
        let section = Section {
            id: "W1",
            title: "pairs",
            what: "One task.",
            tables: vec![table],
            targets: vec![Target::at_most("ours", 1.1, 1.1, " x")],
            notes: vec![],
        };
        let expected = "W1 pairs\nOne task.\n\nN = 3\n         p50, us  x floor\n  ours       220     1.10\n  \
                        floor      200        -\n  peer         -        -  no pair within 10 s\n\n  \
                        met     ours: 1.10 x, wanted at most 1.1 x\n";
        assert_eq!(text(&section), expected);
    }

    #[test]
    fn long_text_is_wrapped_between_words() {
        assert_eq!(wrapped("one two three", 8), "one two\nthree");
    }
}
