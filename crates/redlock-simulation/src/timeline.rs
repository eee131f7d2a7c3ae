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

/// What happened on which lane and when. All times count from the start of the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeline {
    /// The headline.
    pub title: String,
    /// Lines under the headline: seed, counts, the verdict.
    pub notes: Vec<String>,
    /// Where the picture begins; what was before is cut off.
    pub from: Duration,
    /// Where the picture ends; what comes later is cut off.
    pub until: Duration,
    /// The names of what is locked, for the legend; [`SpanKind::Held`] gives the index.
    pub resources: Vec<String>,
    /// Drawn from above, nodes first.
    pub lanes: Vec<Lane>,
}

/// One node or one process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lane {
    /// Stands at its left.
    pub name: String,
    /// Which of the two it is.
    pub kind: LaneKind,
    /// What lasts, in any order. A node is up where there is none.
    pub spans: Vec<Span>,
    /// What happens at one moment, in any order.
    pub marks: Vec<Mark>,
}

/// Whose lane it is. Nodes are drawn above processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LaneKind {
    /// One that grants locks.
    Node,
    /// One that takes locks: a process, or a task of one.
    Process,
}

/// Something that lasts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// What it is.
    pub kind: SpanKind,
    /// When it begins.
    pub from: Duration,
    /// When it ends.
    pub to: Duration,
    /// Said on it where there is room, and when it is pointed at. May be empty.
    pub label: String,
}

/// What lasts. Later kinds are drawn over earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SpanKind {
    /// A process has asked for a lock.
    Waiting,
    /// A process holds the resource of this index in [`Timeline::resources`], within its validity.
    Held(usize),
    /// A process has not given its lock back, and its validity is over.
    Expired,
    /// A process is stopped in its tracks, by the scheduler or by `SIGSTOP`.
    Paused,
    /// A process has died and is not there again.
    Dead,
    /// A node keeps its connections and answers nothing.
    Hung,
    /// A node refuses connections.
    Stopped,
    /// A node runs, and nothing reaches it.
    CutOff,
    /// A node comes up again.
    Restarting,
    /// What must never be: drawn over all lanes, and never too small to see.
    Violation,
}

/// Something that happens at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// What it is.
    pub kind: MarkKind,
    /// When it happens.
    pub at: Duration,
    /// Said when it is pointed at. May be empty.
    pub label: String,
}

/// What happens at one moment. Later kinds are drawn over earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MarkKind {
    /// Something was done under a lock.
    Acted,
    /// A lock was given back.
    Released,
    /// A lock was prolonged.
    Extended,
    /// A process learned that it does not have the lock, or no longer.
    Lost,
    /// A process or a node was killed.
    Killed,
    /// A node came back, and remembers its keys.
    Restarted,
    /// A node came back empty.
    Forgot,
    /// What must never be: drawn over all lanes.
    Violation,
}

impl Timeline {
    /// A timeline without lanes, from zero to `length`.
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

    /// Sets the names of what is locked.
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

    /// The same, seen closer: only what is between the two moments. The times stay what they were.
    #[must_use]
    pub fn closer(&self, from: Duration, until: Duration) -> Self {
        let mut closer = Self { from: from.max(self.from), until: until.min(self.until), ..self.clone() };
        for lane in &mut closer.lanes {
            lane.spans.retain(|span| (span.to > from || span.from >= from) && span.from <= until);
            lane.marks.retain(|mark| (from..=until).contains(&mark.at));
        }
        closer
    }

    /// The picture: an SVG file that needs nothing else, to be opened in a browser. It follows the browser's light or
    /// dark scheme. Pointing at something tells what it is. What is narrower than a pixel is drawn together with its
    /// neighbours of the same kind.
    #[must_use]
    pub fn to_svg(&self) -> String {
        svg::draw(self)
    }
}

impl Lane {
    /// A node's lane.
    #[must_use]
    pub fn node(name: impl Into<String>) -> Self {
        Self { name: name.into(), kind: LaneKind::Node, spans: Vec::new(), marks: Vec::new() }
    }

    /// A process's lane.
    #[must_use]
    pub fn process(name: impl Into<String>) -> Self {
        Self { kind: LaneKind::Process, ..Self::node(name) }
    }

    /// Adds what lasts.
    #[must_use]
    pub fn span(mut self, kind: SpanKind, from: Duration, to: Duration, label: impl Into<String>) -> Self {
        self.spans.push(Span { kind, from, to, label: label.into() });
        self
    }

    /// Adds what happens at one moment.
    #[must_use]
    pub fn mark(mut self, kind: MarkKind, at: Duration, label: impl Into<String>) -> Self {
        self.marks.push(Mark { kind, at, label: label.into() });
        self
    }
}
