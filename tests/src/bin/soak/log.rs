//! The log: the events of nodes, processes and tasks, one line each, timed by one clock.

use std::{
    fmt,
    str::{FromStr, SplitWhitespace},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use redlock_core::testing::{Clock as _, SystemClock};

/// One line of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    /// On the machine's monotonic clock, which all its processes share.
    pub(crate) at: Duration,
    pub(crate) who: Who,
    pub(crate) what: What,
}

/// The subject of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Who {
    Node(usize),
    Process(usize),
    Task { process: usize, task: usize },
}

/// The event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    /// A node fails in this way from now on.
    Fails(NodeFault),
    /// A node that was killed is being started.
    Starting,
    /// A node is well again.
    Well,
    /// A node did not answer a write of the soak itself in time, whether or not it should have.
    Silent,
    /// It answers such writes again.
    Answers,

    /// A process starts, for the first time or again.
    Begins,
    Paused,
    Resumed,
    Killed,

    /// A task requests this resource.
    Wants(usize),
    /// The task did not get it.
    NotGot(String),
    /// The task has it, and may rely on it until then.
    Holds {
        resource: usize,
        token: String,
        until: Duration,
    },
    /// The task may rely on it for longer.
    Extended {
        until: Duration,
    },
    NotExtended(String),
    /// The task no longer relies on it from here on, and releases it.
    Ends,
    /// The outcome of the release.
    GivenBack(String),
}

/// The ways in which a node fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum NodeFault {
    /// It accepts requests and answers none, until it is resumed and carries them out.
    Hung,
    /// It is killed and stays down for a while.
    Killed,
    /// It is killed and started at once.
    Restarted,
    /// It is disconnected from its network.
    CutOff,
}

/// The log of a run, written by many tasks.
#[derive(Debug, Default)]
pub(crate) struct Log {
    events: Mutex<Vec<Event>>,
}

impl Log {
    pub(crate) fn note(&self, who: Who, what: What) {
        self.events().push(Event { at: now(), who, what });
    }

    pub(crate) fn add(&self, event: Event) {
        self.events().push(event);
    }

    /// Returns all events so far, in the order of time.
    pub(crate) fn in_order(&self) -> Vec<Event> {
        let mut events = self.events().clone();
        // The sort is stable: events of one process at the same moment stay in their order.
        events.sort_by_key(|event| event.at);
        events
    }

    fn events(&self) -> MutexGuard<'_, Vec<Event>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the time by which everything is judged. It includes times in which the machine was suspended.
pub(crate) fn now() -> Duration {
    SystemClock.now()
}

impl NodeFault {
    pub(crate) const ALL: [Self; 4] = [Self::Hung, Self::Killed, Self::Restarted, Self::CutOff];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Hung => "hung",
            Self::Killed => "killed",
            Self::Restarted => "restarted",
            Self::CutOff => "cut-off",
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, who, what } = self;
        write!(f, "{} {who} ", at.as_nanos())?;
        match what {
            What::Fails(fault) => write!(f, "fails {}", fault.name()),
            What::Starting => f.write_str("starting"),
            What::Well => f.write_str("well"),
            What::Silent => f.write_str("silent"),
            What::Answers => f.write_str("answers"),
            What::Begins => f.write_str("begins"),
            What::Paused => f.write_str("paused"),
            What::Resumed => f.write_str("resumed"),
            What::Killed => f.write_str("killed"),
            What::Wants(resource) => write!(f, "wants {resource}"),
            What::NotGot(why) => write!(f, "not-got {why}"),
            What::Holds { resource, token, until } => write!(f, "holds {resource} {token} {}", until.as_nanos()),
            What::Extended { until } => write!(f, "extended {}", until.as_nanos()),
            What::NotExtended(why) => write!(f, "not-extended {why}"),
            What::Ends => f.write_str("ends"),
            What::GivenBack(outcome) => write!(f, "given-back {outcome}"),
        }
    }
}

impl FromStr for Event {
    type Err = anyhow::Error;

    fn from_str(line: &str) -> Result<Self> {
        let mut words = line.split_whitespace();
        let event = parse(&mut words).with_context(|| format!("not a line of the log: {line:?}"))?;
        if words.next().is_some() {
            bail!("more than a line of the log: {line:?}");
        }
        Ok(event)
    }
}

fn parse(words: &mut SplitWhitespace<'_>) -> Result<Event> {
    let at = time(words)?;
    let who = word(words)?.parse()?;
    let what = match word(words)? {
        "fails" => {
            let name = word(words)?;
            What::Fails(NodeFault::ALL.into_iter().find(|fault| fault.name() == name).context("no such fault")?)
        }
        "starting" => What::Starting,
        "well" => What::Well,
        "silent" => What::Silent,
        "answers" => What::Answers,
        "begins" => What::Begins,
        "paused" => What::Paused,
        "resumed" => What::Resumed,
        "killed" => What::Killed,
        "wants" => What::Wants(word(words)?.parse()?),
        "not-got" => What::NotGot(word(words)?.to_owned()),
        "holds" => What::Holds { resource: word(words)?.parse()?, token: word(words)?.to_owned(), until: time(words)? },
        "extended" => What::Extended { until: time(words)? },
        "not-extended" => What::NotExtended(word(words)?.to_owned()),
        "ends" => What::Ends,
        "given-back" => What::GivenBack(word(words)?.to_owned()),
        other => bail!("nothing is called {other:?}"),
    };
    Ok(Event { at, who, what })
}

fn word<'a>(words: &mut SplitWhitespace<'a>) -> Result<&'a str> {
    words.next().context("too short")
}

fn time(words: &mut SplitWhitespace<'_>) -> Result<Duration> {
    Ok(Duration::from_nanos(word(words)?.parse()?))
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(node) => write!(f, "n{node}"),
            Self::Process(process) => write!(f, "p{process}"),
            Self::Task { process, task } => write!(f, "p{process}.{task}"),
        }
    }
}

impl FromStr for Who {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        if let Some(node) = text.strip_prefix('n') {
            return Ok(Self::Node(node.parse()?));
        }
        let process = text.strip_prefix('p').context("neither a node nor a process")?;
        Ok(match process.split_once('.') {
            Some((process, task)) => Self::Task { process: process.parse()?, task: task.parse()? },
            None => Self::Process(process.parse()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_can_be_parsed_back() {
        let until = Duration::from_nanos(7_000_000_001);
        let task = Who::Task { process: 3, task: 11 };
        let lines = [
            (Who::Node(4), What::Fails(NodeFault::CutOff)),
            (Who::Node(4), What::Starting),
            (Who::Node(4), What::Well),
            (Who::Node(4), What::Silent),
            (Who::Node(4), What::Answers),
            (Who::Process(3), What::Begins),
            (Who::Process(3), What::Paused),
            (Who::Process(3), What::Resumed),
            (Who::Process(3), What::Killed),
            (task, What::Wants(2)),
            (task, What::NotGot("contended".into())),
            (task, What::Holds { resource: 2, token: "ab12".into(), until }),
            (task, What::Extended { until }),
            (task, What::NotExtended("no-quorum".into())),
            (task, What::Ends),
            (task, What::GivenBack("released".into())),
        ];
        for (who, what) in lines {
            let event = Event { at: Duration::from_nanos(6_123_456_789), who, what };
            assert_eq!(event.to_string().parse::<Event>().unwrap(), event);
        }
    }

    #[test]
    fn a_malformed_line_is_rejected() {
        for bad in ["", "12", "12 p1.0", "12 p1.0 holds 2 ab12", "12 x1 ends", "12 p1.0 ends twice"] {
            assert!(bad.parse::<Event>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_log_is_in_the_order_of_time_whatever_was_written_first() {
        let log = Log::default();
        for (nanos, process) in [(20, 1), (10, 2), (20, 3)] {
            log.add(Event { at: Duration::from_nanos(nanos), who: Who::Process(process), what: What::Paused });
        }
        let order: Vec<_> = log.in_order().into_iter().map(|event| event.who).collect();
        assert_eq!(order, [2, 1, 3].map(Who::Process));
    }
}
