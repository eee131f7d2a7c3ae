//! Draws together what is too small to be seen alone, so that a long run does not make an endless file.

use std::collections::BTreeMap;

use super::{
    Lane, Mark, MarkKind, Span, SpanKind,
    axis::{Axis, readable},
};

/// A span as it is drawn.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Bar {
    pub(super) kind: SpanKind,
    pub(super) left: f64,
    pub(super) right: f64,
    /// Which share of its width is covered: less than 1 for many small spans with gaps between them.
    pub(super) covered: f64,
    /// Written on it, if there is room.
    pub(super) label: String,
    /// The tooltip, after the kind.
    pub(super) detail: String,
}

/// A mark as it is drawn.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Point {
    pub(super) kind: MarkKind,
    pub(super) x: f64,
    pub(super) detail: String,
}

/// Narrower spans are merged.
const PIXEL: f64 = 1.0;
/// Returns how close marks of one kind may be: those of normal events make room for the others.
fn apart(kind: MarkKind) -> f64 {
    match kind {
        MarkKind::Acted | MarkKind::Released | MarkKind::Extended | MarkKind::Lost => 16.0,
        MarkKind::Killed | MarkKind::Restarted | MarkKind::Forgot | MarkKind::Violation => 6.0,
    }
}

/// Returns the visible spans of a lane, in the order in which they are drawn.
pub(super) fn bars(lane: &Lane, axis: &Axis) -> Vec<Bar> {
    let mut kinds: BTreeMap<SpanKind, Vec<&Span>> = BTreeMap::new();
    for span in lane.spans.iter().filter(|span| axis.shows(span.from, span.to)) {
        kinds.entry(span.kind).or_default().push(span);
    }
    kinds.into_values().flat_map(|spans| merged(spans, axis)).collect()
}

fn merged(mut spans: Vec<&Span>, axis: &Axis) -> Vec<Bar> {
    spans.sort_by_key(|span| (span.from, span.to));
    let mut bars = Vec::new();
    let mut small: Option<Small<'_>> = None;
    for span in spans {
        let (left, right) = (axis.x(span.from), axis.x(span.to));
        if right - left >= PIXEL {
            bars.push(Bar {
                kind: span.kind,
                left,
                right,
                covered: 1.0,
                label: span.label.clone(),
                detail: with_label(
                    format!("{} to {}, {}", readable(span.from), readable(span.to), readable(span.to - span.from)),
                    &span.label,
                ),
            });
            continue;
        }
        match &mut small {
            // A run of small spans is cut now and then, so that its tooltips are specific.
            Some(small) if left - small.right < PIXEL && right - small.left < 8.0 * PIXEL => {
                small.right = small.right.max(right);
                small.covers += right - left;
                small.count += 1;
                small.last = span;
            }
            _ => {
                let alone = Small { left, right, covers: right - left, count: 1, first: span, last: span };
                bars.extend(small.replace(alone).map(Small::into_bar));
            }
        }
    }
    bars.extend(small.map(Small::into_bar));
    bars
}

/// A run of spans that are too small to be seen alone.
struct Small<'a> {
    left: f64,
    right: f64,
    covers: f64,
    count: usize,
    first: &'a Span,
    last: &'a Span,
}

impl Small<'_> {
    fn into_bar(self) -> Bar {
        let right = self.right.max(self.left + PIXEL);
        let between = format!("{} to {}", readable(self.first.from), readable(self.last.to.max(self.first.to)));
        let detail = match self.count {
            1 => with_label(
                format!("{between}, {}", readable(self.first.to.saturating_sub(self.first.from))),
                &self.first.label,
            ),
            count => format!("{count} times, {between}"),
        };
        Bar {
            kind: self.first.kind,
            left: self.left,
            right,
            covered: (self.covers / (right - self.left)).min(1.0),
            label: String::new(),
            detail,
        }
    }
}

/// Returns the visible marks of a lane, in the order in which they are drawn.
pub(super) fn points(lane: &Lane, axis: &Axis) -> Vec<Point> {
    let mut marks: Vec<&Mark> = lane.marks.iter().filter(|mark| axis.shows(mark.at, mark.at)).collect();
    marks.sort_by_key(|mark| (mark.kind, mark.at));
    let mut points: Vec<(Point, usize)> = Vec::new();
    for mark in marks {
        let x = axis.x(mark.at);
        match points.last_mut() {
            Some((last, count)) if last.kind == mark.kind && x - last.x < apart(mark.kind) => *count += 1,
            _ => points.push((Point { kind: mark.kind, x, detail: with_label(readable(mark.at), &mark.label) }, 1)),
        }
    }
    let with_count = |(mut point, count): (Point, usize)| {
        if count > 1 {
            point.detail = format!("{count} times from {}", point.detail);
        }
        point
    };
    points.into_iter().map(with_count).collect()
}

fn with_label(detail: String, label: &str) -> String {
    if label.is_empty() { detail } else { format!("{detail}\n{label}") }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// 100 ms per pixel.
    fn axis() -> Axis {
        Axis::new(at(0), at(100_000), 0.0, 1_000.0)
    }

    #[test]
    fn later_kinds_are_drawn_over_earlier_ones() {
        let lane = Lane::process("p")
            .span(SpanKind::Violation, at(0), at(9_000), "")
            .span(SpanKind::Paused, at(0), at(9_000), "")
            .span(SpanKind::Held(1), at(5_000), at(9_000), "")
            .span(SpanKind::Held(1), at(0), at(4_000), "")
            .span(SpanKind::Waiting, at(0), at(9_000), "");
        let drawn: Vec<_> = bars(&lane, &axis()).into_iter().map(|bar| (bar.kind, bar.left)).collect();
        let held = SpanKind::Held(1);
        let expected = [(SpanKind::Waiting, 0.0), (held, 0.0), (held, 50.0), (SpanKind::Paused, 0.0)];
        assert_eq!(drawn, [&expected[..], &[(SpanKind::Violation, 0.0)]].concat());
    }

    #[test]
    fn spans_below_a_pixel_are_drawn_together_and_counted() {
        let mut lane = Lane::process("p");
        for start in (0..400).step_by(20) {
            lane = lane.span(SpanKind::Held(0), at(start), at(start + 10), "x");
        }
        let drawn = bars(&lane, &axis());
        assert_eq!(drawn.len(), 1);
        assert!((drawn[0].covered - 0.5).abs() < 0.05, "{drawn:?}");
        assert_eq!(drawn[0].detail, "20 times, 0 s to 390.0 ms");
    }

    #[test]
    fn a_hundred_thousand_spans_make_no_more_than_the_picture_has_pixels() {
        let mut lane = Lane::process("p");
        for start in 0..100_000 {
            lane = lane.span(SpanKind::Held(0), at(start), at(start + 1), "").mark(MarkKind::Released, at(start), "");
        }
        let drawn = bars(&lane, &axis());
        assert!(drawn.len() <= 1_000, "{}", drawn.len());
        assert_eq!(drawn.iter().map(|bar| bar.right).fold(0.0, f64::max), 1_000.0);
        assert!(points(&lane, &axis()).len() <= 250);
    }

    #[test]
    fn a_small_span_alone_is_a_pixel_wide_and_keeps_its_label() {
        let lane = Lane::process("p").span(SpanKind::Held(0), at(100), at(101), "token 7");
        let drawn = bars(&lane, &axis());
        assert_eq!(drawn[0].right - drawn[0].left, 1.0);
        assert!(drawn[0].detail.ends_with("\ntoken 7"), "{drawn:?}");
    }

    #[test]
    fn nothing_outside_the_picture_is_drawn() {
        let near = Axis::new(at(1_000), at(2_000), 0.0, 1_000.0);
        let lane = Lane::node("n")
            .span(SpanKind::Hung, at(0), at(999), "")
            .span(SpanKind::Hung, at(900), at(1_500), "")
            .mark(MarkKind::Killed, at(2_001), "");
        let drawn = bars(&lane, &near);
        assert_eq!(drawn.iter().map(|bar| (bar.left, bar.right)).collect::<Vec<_>>(), [(0.0, 500.0)]);
        assert!(drawn[0].detail.contains("600.0 ms"), "its true length is shown: {drawn:?}");
        assert_eq!(points(&lane, &near), []);
    }
}
