//! Draws a timeline: headline, legend, lanes from top to bottom, and the axis below them.

use std::{
    collections::BTreeSet,
    fmt::{self, Display, Formatter, Write as _},
};

use super::{
    Lane, LaneKind, MarkKind, SpanKind, Timeline,
    axis::Axis,
    merge::{self, Bar},
    style::{HELD_COLOURS, PATTERNS, STYLE},
};

const PLOT_WIDTH: f64 = 1_160.0;
const MARGIN: f64 = 24.0;
/// The longest name to the left of a lane, and the width of one letter of it.
const LONGEST_NAME: usize = 28;
const LETTER: f64 = 6.6;
/// The distance of lanes, and how much of it they fill.
const NODE: (f64, f64) = (22.0, 16.0);
const PROCESS: (f64, f64) = (18.0, 13.0);
const HEADING: f64 = 24.0;
/// A violation is never narrower.
const LEAST_VIOLATION: f64 = 4.0;

pub(super) fn draw(timeline: &Timeline) -> String {
    let longest = timeline.lanes.iter().map(|lane| lane.name.chars().count()).max().unwrap_or(0).min(LONGEST_NAME);
    let left = MARGIN + longest as f64 * LETTER + 14.0;
    let mut picture = Picture {
        timeline,
        axis: Axis::new(timeline.from, timeline.until, left, PLOT_WIDTH),
        width: left + PLOT_WIDTH + 2.0 * MARGIN,
        y: MARGIN,
        svg: String::new(),
    };
    picture.headline();
    picture.legend();
    picture.plot();

    let mut svg = String::new();
    let (width, height) = (picture.width, picture.y + MARGIN / 2.0);
    let _ = write!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
         viewBox=\"0 0 {width:.0} {height:.0}\">\n<style>{STYLE}</style>\n<defs>{PATTERNS}</defs>\n\
         <rect class=\"ground\" width=\"100%\" height=\"100%\"/>\n{}</svg>\n",
        picture.svg
    );
    svg
}

/// A picture that is being drawn from top to bottom.
struct Picture<'a> {
    timeline: &'a Timeline,
    axis: Axis,
    width: f64,
    /// Where the next element goes.
    y: f64,
    svg: String,
}

impl Picture<'_> {
    fn add(&mut self, element: &str) {
        self.svg.push_str(element);
        self.svg.push('\n');
    }

    fn headline(&mut self) {
        self.y += 12.0;
        self.add(&format!(
            r#"<text class="title" x="{MARGIN}" y="{:.1}">{}</text>"#,
            self.y,
            Text(&self.timeline.title)
        ));
        for note in &self.timeline.notes {
            self.y += 19.0;
            self.add(&format!(r#"<text x="{MARGIN}" y="{:.1}">{}</text>"#, self.y, Text(note)));
        }
        let violations = self.violations();
        if violations > 0 {
            let plural = if violations == 1 { "" } else { "S" };
            self.y += 22.0;
            self.add(&format!(
                r#"<text class="alarm" x="{MARGIN}" y="{:.1}">&#9670; {violations} VIOLATION{plural}</text>"#,
                self.y
            ));
        }
        self.y += 14.0;
    }

    /// A violation appears on the lanes of all processes that take part in it, and counts once.
    fn violations(&self) -> usize {
        let spans = self.timeline.lanes.iter().flat_map(|lane| &lane.spans);
        let spans = spans.filter(|span| span.kind == SpanKind::Violation && self.axis.shows(span.from, span.to));
        let marks = self.timeline.lanes.iter().flat_map(|lane| &lane.marks);
        let marks = marks.filter(|mark| mark.kind == MarkKind::Violation && self.axis.shows(mark.at, mark.at));
        spans
            .map(|span| (span.from, span.to))
            .chain(marks.map(|mark| (mark.at, mark.at)))
            .collect::<BTreeSet<_>>()
            .len()
    }

    /// Explains what occurs in the picture, and only that.
    fn legend(&mut self) {
        let lanes = &self.timeline.lanes;
        let spans: BTreeSet<_> = lanes.iter().flat_map(|lane| &lane.spans).map(|span| span.kind).collect();
        let marks: BTreeSet<_> = lanes.iter().flat_map(|lane| &lane.marks).map(|mark| mark.kind).collect();
        let mut entries = Vec::new();
        let bar = |class: &str, height: f64| {
            format!(r#"<rect class="{class}" y="{:.1}" width="22" height="{height:.1}" rx="2"/>"#, -height / 2.0)
        };
        if lanes.iter().any(|lane| lane.kind == LaneKind::Node) {
            entries.push((bar("up", 12.0), "up".to_owned()));
        }
        let node_kinds = |kind: &SpanKind| *kind >= SpanKind::Hung;
        let (of_nodes, of_processes): (Vec<_>, Vec<_>) = spans.into_iter().partition(node_kinds);
        for kind in of_nodes.into_iter().chain(of_processes) {
            if matches!(kind, SpanKind::Held(resource) if resource >= HELD_COLOURS) {
                continue;
            }
            entries.push((bar(&kind.class(), 12.0 * kind.height()), kind.name(&self.timeline.resources)));
        }
        for kind in marks {
            entries.push((format!(r#"<g transform="translate(11 0)">{}</g>"#, kind.shape()), kind.name().to_owned()));
        }

        let mut x = MARGIN;
        self.y += 10.0;
        for (symbol, name) in entries {
            let name = shortened(&name, LONGEST_NAME);
            let needs = 30.0 + name.chars().count() as f64 * LETTER + 18.0;
            if x + needs > self.width - MARGIN {
                (x, self.y) = (MARGIN, self.y + 20.0);
            }
            self.add(&format!(
                r#"<g transform="translate({x:.1} {:.1})">{symbol}<text x="28" y="4">{}</text></g>"#,
                self.y,
                Text(&name)
            ));
            x += needs;
        }
        self.y += 10.0;
    }

    fn plot(&mut self) {
        let ticks = self.axis.ticks();
        self.y += 20.0;
        self.tick_texts(&ticks, self.y);
        let top = self.y + 6.0;
        let mut lanes: Vec<&Lane> = self.timeline.lanes.iter().collect();
        // Stable: the order within nodes and within processes remains.
        lanes.sort_by_key(|lane| lane.kind);
        let bottom = top + lanes_height(&lanes);
        for (x, _) in &ticks {
            self.add(&format!(r#"<path class="grid" d="M{x:.1} {top:.1}V{bottom:.1}"/>"#));
        }
        self.y = top;
        self.alarms(&lanes, top, bottom, |picture| {
            let mut kind = None;
            for lane in &lanes {
                if kind.replace(lane.kind) != Some(lane.kind) {
                    picture.y += HEADING;
                    let (y, heading) = (picture.y - 7.0, lane.kind.heading());
                    picture.add(&format!(r#"<text class="group" x="{MARGIN}" y="{y:.1}">{heading}</text>"#));
                }
                picture.lane(lane);
            }
        });
        let (left, right) = (self.axis.left(), self.axis.right());
        self.add(&format!(r#"<path class="edge" d="M{left:.1} {bottom:.1}H{right:.1}"/>"#));
        self.y = bottom + 18.0;
        self.tick_texts(&ticks, self.y);
    }

    fn tick_texts(&mut self, ticks: &[(f64, String)], y: f64) {
        for (x, text) in ticks {
            self.add(&format!(r#"<text class="small" x="{x:.1}" y="{y:.1}" text-anchor="middle">{text}</text>"#));
        }
    }

    /// Draws the lanes on a red band at every violation, and the edge of the band over them.
    fn alarms(&mut self, lanes: &[&Lane], top: f64, bottom: f64, lanes_between: impl FnOnce(&mut Self)) {
        let mut bands: Vec<(f64, f64)> = Vec::new();
        for lane in lanes {
            let spans = merge::bars(lane, &self.axis).into_iter().filter(|bar| bar.kind == SpanKind::Violation);
            bands.extend(spans.map(|bar| (bar.left, bar.right.max(bar.left + LEAST_VIOLATION))));
            let marks = merge::points(lane, &self.axis).into_iter().filter(|mark| mark.kind == MarkKind::Violation);
            bands.extend(marks.map(|mark| (mark.x, mark.x)));
        }
        bands.sort_by(|one, other| one.0.total_cmp(&other.0).then(one.1.total_cmp(&other.1)));
        bands.dedup();
        for (left, right) in &bands {
            let (width, height) = (right - left, bottom - top);
            self.add(&format!(
                r#"<rect class="band" x="{left:.1}" y="{top:.1}" width="{width:.1}" height="{height:.1}"/>"#
            ));
        }
        lanes_between(self);
        for (left, _) in &bands {
            self.add(&format!(r#"<path class="line" d="M{left:.1} {top:.1}V{bottom:.1}"/>"#));
        }
    }

    fn lane(&mut self, lane: &Lane) {
        let (pitch, full) = size(lane.kind);
        let middle = self.y + pitch / 2.0;
        let name = shortened(&lane.name, LONGEST_NAME);
        let (left, width) = (self.axis.left(), self.axis.right() - self.axis.left());
        self.add(&format!(
            r#"<text x="{:.1}" y="{:.1}" text-anchor="end">{}<title>{}</title></text>"#,
            left - 10.0,
            middle + 4.0,
            Text(&name),
            Text(&lane.name)
        ));
        self.add(&format!(
            r#"<rect class="{}" x="{left:.1}" y="{:.1}" width="{width:.1}" height="{full:.1}" rx="2"/>"#,
            lane.kind.ground(),
            middle - full / 2.0
        ));
        for bar in merge::bars(lane, &self.axis) {
            self.bar(&bar, middle, full);
        }
        for point in merge::points(lane, &self.axis) {
            self.add(&format!(
                r#"<g transform="translate({:.1} {middle:.1})">{}<title>{} {}</title></g>"#,
                point.x,
                point.kind.shape(),
                point.kind.name(),
                Text(&point.detail)
            ));
        }
        self.y += pitch;
    }

    fn bar(&mut self, bar: &Bar, middle: f64, full: f64) {
        let is_violation = bar.kind == SpanKind::Violation;
        let least = if is_violation { LEAST_VIOLATION } else { 0.0 };
        let (width, height) = ((bar.right - bar.left).max(least), full * bar.kind.height());
        let round = if width > 6.0 && height > 8.0 { r#" rx="2""# } else { "" };
        // Many small spans with gaps between them are drawn paler, but always visible.
        let opacity = match bar.covered {
            ..0.95 if !is_violation => format!(r#" fill-opacity="{:.2}""#, bar.covered.max(0.35)),
            _ => String::new(),
        };
        self.add(&format!(
            r#"<rect class="{}" x="{:.1}" y="{:.1}" width="{width:.1}" height="{height:.1}"{round}{opacity}><title>{}, {}</title></rect>"#,
            bar.kind.class(),
            bar.left,
            middle - height / 2.0,
            Text(&bar.kind.name(&self.timeline.resources)),
            Text(&bar.detail)
        ));
        let needs = bar.label.chars().count() as f64 * 5.8 + 8.0;
        if let Some(class) = bar.kind.words().filter(|_| !bar.label.is_empty() && width >= needs) {
            let (x, y) = (bar.left + 4.0, middle + 3.5);
            self.add(&format!(r#"<text class="{class}" x="{x:.1}" y="{y:.1}">{}</text>"#, Text(&bar.label)));
        }
    }
}

fn size(kind: LaneKind) -> (f64, f64) {
    match kind {
        LaneKind::Node => NODE,
        LaneKind::Process => PROCESS,
    }
}

/// Returns the height of the lanes, with one heading before each kind.
fn lanes_height(lanes: &[&Lane]) -> f64 {
    let kinds = lanes.iter().map(|lane| lane.kind).collect::<BTreeSet<_>>().len();
    kinds as f64 * HEADING + lanes.iter().map(|lane| size(lane.kind).0).sum::<f64>() + 6.0
}

fn shortened(text: &str, longest: usize) -> String {
    if text.chars().count() <= longest {
        return text.to_owned();
    }
    text.chars().take(longest - 1).chain(['…']).collect()
}

/// Text within an element, with characters replaced that XML does not allow.
struct Text<'a>(&'a str);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for letter in self.0.chars() {
            match letter {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '\n' | '\t' => f.write_char(letter)?,
                _ if letter.is_control() || matches!(letter, '\u{fffe}' | '\u{ffff}') => f.write_char('\u{fffd}')?,
                _ => f.write_char(letter)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn everything() -> Timeline {
        Timeline::new("all kinds <&> \"quoted\" \u{1b}[31m", at(10_000))
            .note("seed 42 & more")
            .resources(["a<b", "c"])
            .lane(
                Lane::process("p1")
                    .span(SpanKind::Waiting, at(0), at(500), "")
                    .span(SpanKind::Held(0), at(500), at(4_000), "token <7>")
                    .span(SpanKind::Expired, at(4_000), at(5_000), "")
                    .span(SpanKind::Paused, at(3_000), at(5_000), "")
                    .span(SpanKind::Dead, at(8_000), at(9_000), "")
                    .span(SpanKind::Violation, at(3_000), at(4_000), "with p2")
                    .mark(MarkKind::Acted, at(900), "")
                    .mark(MarkKind::Extended, at(1_000), "")
                    .mark(MarkKind::Lost, at(1_200), "a & b")
                    .mark(MarkKind::Killed, at(8_000), "")
                    .mark(MarkKind::Violation, at(3_000), ""),
            )
            .lane(
                Lane::process("p2")
                    .span(SpanKind::Held(1), at(3_000), at(6_000), "token 8")
                    .span(SpanKind::Violation, at(3_000), at(4_000), "with p1")
                    .mark(MarkKind::Released, at(6_000), ""),
            )
            .lane(
                Lane::node("node with a name that is far too long for its place")
                    .span(SpanKind::Hung, at(1_000), at(2_000), "paused")
                    .span(SpanKind::Stopped, at(3_000), at(4_000), "stopped")
                    .span(SpanKind::Restarting, at(4_000), at(4_100), "")
                    .span(SpanKind::CutOff, at(5_000), at(8_000), "")
                    .mark(MarkKind::Killed, at(3_000), "")
                    .mark(MarkKind::Restarted, at(4_100), "")
                    .mark(MarkKind::Forgot, at(9_000), ""),
            )
    }

    /// Checks that every tag is closed by its counterpart, that every attribute is quoted, and that there is no bare
    /// `&` or `<`.
    fn well_formed(svg: &str) -> Result<usize, String> {
        let mut open = Vec::new();
        let mut elements = 0;
        let mut rest = svg;
        while let Some((text, after)) = rest.split_once('<') {
            let (tag, after) = after.split_once('>').ok_or("a tag without an end")?;
            let known = ["&amp;", "&lt;", "&gt;", "&#9670;"];
            for (at, _) in text.match_indices('&') {
                if !known.iter().any(|entity| text[at..].starts_with(entity)) {
                    return Err(format!("bare & in {text:?}"));
                }
            }
            if tag.matches('"').count() % 2 != 0 {
                return Err(format!("quotes in <{tag}>"));
            }
            let name = |tag: &str| tag.split_whitespace().next().unwrap_or_default().trim_end_matches('/').to_owned();
            if let Some(closed) = tag.strip_prefix('/') {
                if open.pop().as_deref() != Some(closed) {
                    return Err(format!("</{closed}> closes nothing"));
                }
            } else if !tag.ends_with('/') {
                open.push(name(tag));
            }
            elements += 1;
            rest = after;
        }
        if open.is_empty() { Ok(elements) } else { Err(format!("left open: {open:?}")) }
    }

    #[test]
    fn a_picture_of_everything_is_well_formed() {
        let svg = everything().to_svg();
        assert!(well_formed(&svg).unwrap() > 100, "{svg}");
        assert!(well_formed(&Timeline::new("nothing", Duration::ZERO).to_svg()).is_ok());
    }

    #[test]
    fn text_is_escaped() {
        let svg = everything().to_svg();
        assert!(svg.contains("all kinds &lt;&amp;&gt; \"quoted\" \u{fffd}[31m"), "{svg}");
        assert!(svg.contains("held: a&lt;b") && svg.contains("token &lt;7&gt;") && !svg.contains('\u{1b}'));
    }

    #[test]
    fn nodes_are_drawn_above_processes() {
        let svg = everything().to_svg();
        let place = |what: &str| svg.find(what).unwrap();
        assert!(place("NODES") < place("node with a name"));
        assert!(place("node with a name") < place("PROCESSES"));
        assert!(place("PROCESSES") < place(">p1<") && place(">p1<") < place(">p2<"));
    }

    #[test]
    fn a_violation_by_two_processes_counts_once_and_crosses_all_lanes() {
        let mut timeline = everything();
        timeline.lanes[0].marks.retain(|mark| mark.kind != MarkKind::Violation);
        let svg = timeline.to_svg();
        assert!(svg.contains("1 VIOLATION<"), "{svg}");
        assert_eq!(svg.matches(r#"class="band""#).count(), 1);
        assert!(!Timeline::new("good", at(1)).to_svg().contains("VIOLATION"));
    }

    #[test]
    fn a_violation_of_a_microsecond_can_be_seen() {
        let (from, to) = (Duration::from_micros(5_000), Duration::from_micros(5_001));
        let lane = Lane::process("p").span(SpanKind::Violation, from, to, "");
        let svg = Timeline::new("t", Duration::from_secs(300)).lane(lane).to_svg();
        assert!(svg.contains(r#"<rect class="violation""#) && svg.contains(r#"width="4.0""#), "{svg}");
    }

    #[test]
    fn only_what_occurs_is_explained() {
        let svg = Timeline::new("t", at(9)).lane(Lane::node("n").span(SpanKind::Hung, at(1), at(2), "")).to_svg();
        assert!(svg.contains(">hung<") && svg.contains(">up<"));
        assert!(!svg.contains(">stopped<") && !svg.contains("PROCESSES"));
    }

    #[test]
    fn a_closer_view_leaves_the_rest_out() {
        let svg = everything().closer(at(5_000), at(7_000)).to_svg();
        assert!(svg.contains("cut off") && svg.contains(">6.0 s<") && !svg.contains(">hung"), "{svg}");
        assert!(!svg.contains("VIOLATION"));
    }
}
