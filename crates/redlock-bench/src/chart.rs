//! The plots of the report, as SVG: bars for contenders side by side, lines over the number of nodes.

use std::fmt::{Display, Formatter, Result, Write as _};

use crate::{
    results::{Better, Metric, Row, Table},
    table::number,
};

const WIDTH: f64 = 560.0;
const NAMES: f64 = 150.0;
/// The space after the longest bar, for its number.
const NUMBERS: f64 = 90.0;
const PITCH: f64 = 24.0;
const BAR: f64 = 15.0;
/// Beyond this ratio of the greatest to the least number, the scale is logarithmic.
const LINEAR: f64 = 60.0;

/// Returns the class of a row, to which the page's style sheet gives a color.
pub(crate) fn class(row: &Row) -> String {
    let colour = match row.name.as_str() {
        name if name.starts_with("ours, fred") => "fred",
        name if name.starts_with("ours") => "ours",
        name if name.starts_with("rslock") => "rslock",
        name if name.starts_with("redlock") => "redlock",
        name if name.starts_with("floor, fred") => "floorfred",
        _ => "floor",
    };
    let variant = row.name.ends_with(", 3 ms") || row.name.ends_with(", fenced");
    if variant { format!("{colour} variant") } else { colour.to_owned() }
}

/// Draws a bar for each row that has the metric, and a thin line over it from the least to the greatest of all rounds.
pub(crate) fn bars(table: &Table, metric: &Metric) -> String {
    let rows: Vec<_> = table.rows.iter().map(|row| (row, row.median(metric.key))).collect();
    let numbers = || rows.iter().filter_map(|(_, number)| *number).filter(|number| *number > 0.0);
    let median = numbers().fold(0.0, f64::max);
    // One bad round must not make all bars short.
    let greatest = rows.iter().filter_map(|(row, _)| row.range(metric.key)).map(|(_, most)| most);
    let greatest = greatest.fold(median, f64::max).min(1.5 * median);
    let least = numbers().fold(f64::INFINITY, f64::min);
    let scale = if greatest > LINEAR * least { Scale::Log(least / 2.0, greatest) } else { Scale::Linear(greatest) };
    let height = 30.0 + PITCH * rows.len() as f64 + 6.0;
    let mut svg = String::new();
    let _ = writeln!(svg, r#"<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{}">"#, Text(metric.name));
    let _ = writeln!(svg, r#"<text class="caption" x="0" y="16">{}</text>"#, Text(&caption(metric, &scale)));
    for (index, (row, number)) in rows.iter().enumerate() {
        let middle = 30.0 + PITCH * (index as f64 + 0.5);
        bar(&mut svg, row, metric, *number, middle, &scale);
    }
    svg.push_str("</svg>\n");
    svg
}

fn bar(svg: &mut String, row: &Row, metric: &Metric, measured: Option<f64>, middle: f64, scale: &Scale) {
    let text = middle + 4.0;
    let _ = writeln!(svg, r#"<text x="{:.1}" y="{text:.1}" text-anchor="end">{}</text>"#, NAMES - 8.0, Text(&row.name));
    let Some(measured) = measured else {
        let why = row.note.as_deref().unwrap_or("not measured");
        let short: String = why.chars().take(56).collect();
        let _ = writeln!(svg, r#"<text class="small" x="{NAMES}" y="{text:.1}">{}</text>"#, Text(&short));
        return;
    };
    let length = |number: f64| scale.share(number) * (WIDTH - NAMES - NUMBERS);
    let (top, width) = (middle - BAR / 2.0, length(measured).max(1.0));
    let _ = writeln!(
        svg,
        r#"<rect class="{}" x="{NAMES}" y="{top:.1}" width="{width:.1}" height="{BAR}" rx="2"><title>{}: {} {}</title></rect>"#,
        class(row),
        Text(&row.name),
        number(Some(measured)),
        Text(metric.unit)
    );
    let mut end = NAMES + width;
    if let Some((from, to)) = row.range(metric.key).filter(|(from, to)| to > from) {
        let (from, to) = (NAMES + length(from), (NAMES + length(to)).min(WIDTH - NUMBERS + 12.0));
        let _ = writeln!(svg, r#"<path class="range" d="M{from:.1} {middle:.1}H{to:.1}"/>"#);
        end = end.max(to);
    }
    let _ = writeln!(svg, r#"<text x="{:.1}" y="{text:.1}">{}</text>"#, end + 6.0, number(Some(measured)));
}

fn caption(metric: &Metric, scale: &Scale) -> String {
    let unit = if metric.unit.is_empty() { String::new() } else { format!(", {}", metric.unit) };
    let better = match metric.better {
        Better::Lower => ": shorter is better",
        Better::Higher => ": longer is better",
        Better::Neither => "",
    };
    let log = if matches!(scale, Scale::Log(..)) { " (logarithmic)" } else { "" };
    format!("{}{unit}{better}{log}", metric.name)
}

/// Draws one line for each row, over all metrics in order.
pub(crate) fn lines(table: &Table, axis: &str) -> String {
    const LEFT: f64 = 60.0;
    const RIGHT: f64 = 610.0;
    const TOP: f64 = 30.0;
    const BOTTOM: f64 = 300.0;
    let medians = || table.rows.iter().flat_map(|row| table.metrics.iter().filter_map(|metric| row.median(metric.key)));
    let scale = Scale::Linear(medians().fold(0.0, f64::max) * 1.05);
    let steps = table.metrics.len().saturating_sub(1).max(1) as f64;
    let x = |index: usize| LEFT + (RIGHT - LEFT) * index as f64 / steps;
    let y = |number: f64| BOTTOM - (BOTTOM - TOP) * scale.share(number);

    let mut svg = format!("<svg class=\"wide\" viewBox=\"0 0 {} {}\" role=\"img\">\n", RIGHT + 150.0, BOTTOM + 44.0);
    let unit = table.metrics.first().map_or("", |metric| metric.unit);
    let _ =
        writeln!(svg, r#"<text class="caption" x="0" y="16">{}, {unit}: lower is better</text>"#, Text(&table.title));
    for part in 0..=4 {
        let number = medians().fold(0.0, f64::max) * f64::from(part) / 4.0;
        let at = y(number);
        let _ = writeln!(svg, r#"<path class="grid" d="M{LEFT} {at:.1}H{RIGHT}"/>"#);
        let text = crate::table::number(Some(number));
        let _ = writeln!(
            svg,
            r#"<text class="small" x="{}" y="{:.1}" text-anchor="end">{text}</text>"#,
            LEFT - 8.0,
            at + 4.0
        );
    }
    for (index, metric) in table.metrics.iter().enumerate() {
        let (at, under) = (x(index), BOTTOM + 18.0);
        let _ =
            writeln!(svg, r#"<text class="small" x="{at:.1}" y="{under}" text-anchor="middle">{}</text>"#, metric.name);
    }
    let (middle, under) = (f64::midpoint(LEFT, RIGHT), BOTTOM + 38.0);
    let _ = writeln!(svg, r#"<text class="small" x="{middle}" y="{under}" text-anchor="middle">{}</text>"#, Text(axis));

    // Names are at the ends of the lines, at least one line of text apart.
    let last = |row: &Row| table.metrics.last().and_then(|metric| row.median(metric.key)).unwrap_or(0.0);
    let mut rows: Vec<&Row> = table.rows.iter().collect();
    rows.sort_by(|one, other| last(other).total_cmp(&last(one)));
    let mut free = 0.0;
    for row in rows {
        let points = table.metrics.iter().enumerate();
        let points = points.filter_map(|(index, metric)| Some((x(index), y(row.median(metric.key)?))));
        let points: Vec<String> = points.map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let name = y(last(row)).max(free);
        free = name + 16.0;
        let (class, label) = (class(row), Text(&row.name));
        let _ = writeln!(svg, r#"<polyline class="line {class}" points="{}"/>"#, points.join(" "));
        let _ = writeln!(svg, r#"<circle class="{class}" cx="{}" cy="{:.1}" r="4"/>"#, RIGHT + 14.0, name);
        let _ = writeln!(svg, r#"<text x="{}" y="{:.1}">{label}</text>"#, RIGHT + 24.0, name + 4.0);
    }
    svg.push_str("</svg>\n");
    svg
}

enum Scale {
    Linear(f64),
    /// From and to.
    Log(f64, f64),
}

impl Scale {
    /// Returns how far along the axis a number is, from 0 to 1 within its range.
    fn share(&self, number: f64) -> f64 {
        match *self {
            Self::Linear(to) if to > 0.0 => number / to,
            Self::Linear(_) => 0.0,
            Self::Log(..) if number <= 0.0 => 0.0,
            Self::Log(from, to) => ((number / from).ln() / (to / from).ln()).max(0.0),
        }
    }
}

/// Text within an element or an attribute, escaped.
pub(crate) struct Text<'a>(pub(crate) &'a str);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        for letter in self.0.chars() {
            match letter {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                _ => f.write_char(letter)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        contender::{Kind, Side},
        library::Tuning,
        results::{Plot, Slice},
    };

    fn table() -> Table {
        let metrics = [Metric::new("1", "one", "µs", Better::Lower), Metric::new("2", "two", "µs", Better::Lower)];
        let contenders = [Kind::OursFred, Kind::Rslock, Kind::FloorFred].map(|kind| kind.with(Tuning::Defaults));
        let mut table = Table::new("t <&>", &metrics, &contenders).plot(Plot::Lines("nodes"));
        for (row, number) in table.rows.iter_mut().zip([100.0, 200.0]) {
            row.add(0, Slice::from([("1", number), ("2", 2.0 * number)]));
            row.add(1, Slice::from([("1", number + 10.0)]));
        }
        if let Some(row) = table.rows.last_mut() {
            row.note = Some("no pair within 10 s".to_owned());
        }
        table
    }

    #[test]
    fn the_longest_bar_fills_the_plot_and_a_missing_one_is_explained() {
        let table = table();
        let svg = bars(&table, &table.metrics[0]);
        assert!(svg.contains(r#"class="rslock" x="150" y="58.5" width="312.4""#), "{svg}");
        assert!(svg.contains("no pair within 10 s") && svg.contains("shorter is better"));
        assert_eq!(svg.matches("<rect").count(), 2);
        assert_eq!(svg.matches(r#"class="range""#).count(), 2);
    }

    #[test]
    fn numbers_far_apart_are_drawn_on_a_logarithmic_scale() {
        let mut table = table();
        table.rows[1].slices.clear();
        table.rows[1].add(0, Slice::from([("1", 1e6)]));
        let svg = bars(&table, &table.metrics[0]);
        assert!(svg.contains("(logarithmic)"));
        let half = Scale::Log(1.0, 100.0).share(10.0);
        assert!((half - 0.5).abs() < 1e-9);
    }

    #[test]
    fn each_contender_has_a_line_and_a_name() {
        let svg = lines(&table(), "nodes");
        assert_eq!(svg.matches("<polyline").count(), 3);
        assert!(svg.contains(">ours, fred<") && svg.contains("t &lt;&amp;&gt;") && svg.contains(">nodes<"));
    }

    #[test]
    fn another_setup_has_the_color_of_its_library() {
        let row = |name: &str| Row::named(name, Side::Ours, None);
        assert_eq!(class(&row("ours, redis-rs")), "ours");
        assert_eq!(class(&row("ours, redis-rs, 3 ms")), "ours variant");
        assert_eq!(class(&row("floor, fred")), "floorfred");
    }
}
