//! A picture of nodes, holds and faults over time: plain data, drawn by [`Timeline::to_svg`].
//!
//! ```
//! use std::time::Duration;
//! use redlock_simulation::timeline::{Lane, MarkKind, SpanKind, Timeline};
//!
//! let at = Duration::from_millis;
//! let timeline = Timeline::new("two processes, one lock", at(3_000))
//!     .note("seed 42")
//!     .resources(["invoice"])
//!     .lane(Lane::node("a").span(SpanKind::Hung, at(200), at(900), ""))
//!     .lane(Lane::process("p1").span(SpanKind::Held(0), at(300), at(1_300), "token 7f3a"))
//!     .lane(Lane::process("p2").span(SpanKind::Waiting, at(400), at(1_350), "").mark(MarkKind::Lost, at(1_350), ""));
//! let svg = timeline.to_svg();
//! assert!(svg.starts_with("<svg") && svg.contains("two processes"));
//! ```

mod axis;
mod merge;
mod style;
mod svg;

use std::time::Duration;

/// Nodes and processes over time, each on a lane. All times count from the start of the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeline {
    /// The headline.
    pub title: String,
    /// Lines under the headline: seed, counts, the verdict.
    pub notes: Vec<String>,
    /// Where the picture begins. Everything before is cut off.
    pub from: Duration,
    /// Where the picture ends. Everything after is cut off.
    pub until: Duration,
    /// The names of the locked resources, for the legend; [`SpanKind::Held`] contains the index.
    pub resources: Vec<String>,
    /// Drawn from top to bottom, nodes first.
    pub lanes: Vec<Lane>,
}

/// One node or one process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lane {
    /// Written to the left of the lane.
    pub name: String,
    /// Whether it is a node or a process.
    pub kind: LaneKind,
    /// The spans, in any order. A node is up where there is none.
    pub spans: Vec<Span>,
    /// The marks, in any order.
    pub marks: Vec<Mark>,
}

/// The kind of a lane. Nodes are drawn above processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LaneKind {
    /// A node, which grants locks.
    Node,
    /// A process that acquires locks, or one of its tasks.
    Process,
}

/// Something that lasts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The kind of span.
    pub kind: SpanKind,
    /// When it begins.
    pub from: Duration,
    /// When it ends.
    pub to: Duration,
    /// Written on it if there is room, and shown as a tooltip. May be empty.
    pub label: String,
}

/// The kind of a span. Later kinds are drawn over earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SpanKind {
    /// A process waits for a lock.
    Waiting,
    /// A process holds the resource of this index in [`Timeline::resources`], within its validity.
    Held(usize),
    /// A process has not released its lock, and the validity is over.
    Expired,
    /// A process is suspended, by the scheduler or by `SIGSTOP`.
    Paused,
    /// A process has died and has not been restarted.
    Dead,
    /// A node keeps its connections and answers nothing.
    Hung,
    /// A node refuses connections.
    Stopped,
    /// A node runs, and no request reaches it.
    CutOff,
    /// A node is starting again.
    Restarting,
    /// Something that must never happen: drawn over all lanes, and never too small to see.
    Violation,
}

/// Something that happens at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The kind of mark.
    pub kind: MarkKind,
    /// When it happens.
    pub at: Duration,
    /// Shown as a tooltip. May be empty.
    pub label: String,
}

/// The kind of a mark. Later kinds are drawn over earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MarkKind {
    /// A process acted under a lock.
    Acted,
    /// A lock was released.
    Released,
    /// A lock was extended.
    Extended,
    /// A process learned that it does not have the lock, or that it lost it.
    Lost,
    /// A process or a node was killed.
    Killed,
    /// A node came back, and remembers its keys.
    Restarted,
    /// A node came back empty.
    Forgot,
    /// Something that must never happen: drawn over all lanes.
    Violation,
}

impl Timeline {
    /// Returns a timeline without lanes, from zero to `length`.
    #[must_use]
    pub fn new(title: impl Into<String>, length: Duration) -> Self {
        let (from, until) = (Duration::ZERO, length);
        Self { title: title.into(), notes: Vec::new(), from, until, resources: Vec::new(), lanes: Vec::new() }
    }

    /// Adds a line under the headline.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// Sets the names of the locked resources.
    #[must_use]
    pub fn resources(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.resources = names.into_iter().map(Into::into).collect();
        self
    }

    /// Adds a lane.
    #[must_use]
    pub fn lane(mut self, lane: Lane) -> Self {
        self.lanes.push(lane);
        self
    }

    /// Returns the part between two moments. The times remain as they were.
    #[must_use]
    pub fn closer(&self, from: Duration, until: Duration) -> Self {
        let mut closer = Self { from: from.max(self.from), until: until.min(self.until), ..self.clone() };
        for lane in &mut closer.lanes {
            lane.spans.retain(|span| (span.to > from || span.from >= from) && span.from <= until);
            lane.marks.retain(|mark| (from..=until).contains(&mark.at));
        }
        closer
    }

    /// Draws the picture: an SVG file without dependencies, to be opened in a browser. It follows the browser's light
    /// or dark scheme. Tooltips explain everything. Spans narrower than a pixel are drawn together with their neighbors
    /// of the same kind.
    #[must_use]
    pub fn to_svg(&self) -> String {
        svg::draw(self)
    }
}

impl Lane {
    /// Returns the lane of a node.
    #[must_use]
    pub fn node(name: impl Into<String>) -> Self {
        Self { name: name.into(), kind: LaneKind::Node, spans: Vec::new(), marks: Vec::new() }
    }

    /// Returns the lane of a process.
    #[must_use]
    pub fn process(name: impl Into<String>) -> Self {
        Self { kind: LaneKind::Process, ..Self::node(name) }
    }

    /// Adds a span.
    #[must_use]
    pub fn span(mut self, kind: SpanKind, from: Duration, to: Duration, label: impl Into<String>) -> Self {
        self.spans.push(Span { kind, from, to, label: label.into() });
        self
    }

    /// Adds a mark.
    #[must_use]
    pub fn mark(mut self, kind: MarkKind, at: Duration, label: impl Into<String>) -> Self {
        self.marks.push(Mark { kind, at, label: label.into() });
        self
    }
}
