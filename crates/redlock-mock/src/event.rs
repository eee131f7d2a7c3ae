//! The events that can happen to a fleet, as plain data.

use std::fmt;

use crate::{
    fault::{Fault, Memory},
    network::{Cut, Weather},
};

/// An event of a fleet, and when it happens.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Event {
    /// Milliseconds since the start of the fleet.
    pub at: u64,
    /// The event.
    pub what: What,
}

/// An event of a fleet. Nodes and processes are counted from 0, and those that do not exist are ignored. `None` as a
/// process or a node means all of them.
///
/// Events of one kind that overlap end together, when the last of them ends: a node that is down twice at the same time
/// starts once, and forgets what the worse of the two events makes it forget.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum What {
    /// A node hangs: it accepts requests, and carries them out when it resumes. A stop ends the hang.
    Hang {
        /// The node.
        node: usize,
        /// The duration in milliseconds.
        millis: u64,
    },
    /// A node stops, and starts again: it refuses connections, and requests on their way to it are lost.
    Down {
        /// The node.
        node: usize,
        /// The duration in milliseconds.
        millis: u64,
        /// The part of its memory that it keeps.
        memory: Memory,
    },
    /// A node's clock runs fast or slow from now on.
    ClockRate {
        /// The node.
        node: usize,
        /// Millionths by which it runs fast; slow if negative.
        ppm: i32,
    },
    /// A node's clock jumps.
    ClockJump {
        /// The node.
        node: usize,
        /// Milliseconds by which it jumps; backwards if negative.
        millis: i64,
    },
    /// The next requests to a node meet these faults, one after the other.
    Faults {
        /// The node.
        node: usize,
        /// The faults.
        faults: Vec<Fault>,
    },
    /// The weather between processes and nodes changes.
    Weather {
        /// The process.
        process: Option<usize>,
        /// The node.
        node: Option<usize>,
        /// The new weather.
        weather: Weather,
    },
    /// Processes and nodes are cut off from each other, in one direction or both. If one cut loses messages and another
    /// holds them up, they are lost.
    Cut {
        /// The process.
        process: Option<usize>,
        /// The node.
        node: Option<usize>,
        /// The effect on requests, if they are cut off.
        requests: Option<Cut>,
        /// The effect on answers, if they are cut off.
        answers: Option<Cut>,
        /// The duration in milliseconds.
        millis: u64,
    },
    /// Something in the network forgets existing connections, without notifying either side; see
    /// [`MockNode::cut_connection`](crate::MockNode::cut_connection). Without
    /// [connections](crate::Fleet::with_connections) nothing happens.
    CutConnection {
        /// The process.
        process: Option<usize>,
        /// The node.
        node: Option<usize>,
        /// The time in milliseconds after which everything arrives that is written to the connection meanwhile; `None`
        /// if it never does.
        arrives: Option<u64>,
    },
    /// A process's clock runs fast or slow from now on.
    ProcessClockRate {
        /// The process.
        process: usize,
        /// Millionths by which it runs fast; slow if negative.
        ppm: i32,
    },
    /// A process pauses, wherever it is at that moment, while clocks keep running. So do timers of tasks that it has
    /// spawned, but none of their requests to nodes makes progress.
    Pause {
        /// The process.
        process: usize,
        /// The number of polls until then, so that it can happen at any await point.
        polls: u32,
        /// The duration in milliseconds.
        millis: u64,
    },
    /// The call that a process waits for is dropped; see [`Process::cancellable`](crate::Process::cancellable).
    Cancel {
        /// The process.
        process: usize,
        /// The number of polls of the call until then, so that it can happen at any await point.
        polls: u32,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>6} ms  {}", self.at, self.what)
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one = |number: &usize| (number + 1).to_string();
        let any = |number: &Option<usize>, all: &str, a: &str| match number {
            Some(number) => format!("{a}-{}", number + 1),
            None => all.to_owned(),
        };
        let speed = |ppm: &i32| format!("runs {} ppm {}", ppm.unsigned_abs(), if *ppm < 0 { "slow" } else { "fast" });
        match self {
            Self::Hang { node, millis } => write!(f, "node-{} hangs for {millis} ms", one(node)),
            Self::Down { node, millis, memory } => {
                let memory = match memory {
                    Memory::Kept => "remembers all",
                    Memory::LastSecondLost => "has lost its last second",
                    Memory::Lost => "has forgotten everything",
                };
                write!(f, "node-{} is down for {millis} ms, and {memory}", one(node))
            }
            Self::ClockRate { node, ppm } => write!(f, "the clock of node-{} {} from now on", one(node), speed(ppm)),
            Self::ClockJump { node, millis } => write!(f, "the clock of node-{} jumps by {millis:+} ms", one(node)),
            Self::Faults { node, faults } => write!(f, "the next requests to node-{}: {faults:?}", one(node)),
            Self::Weather { process, node, weather } => {
                let (process, node) = (any(process, "all processes", "process"), any(node, "all nodes", "node"));
                let Weather { request, answer, lost_requests, lost_answers, duplicates } = weather;
                write!(
                    f,
                    "between {process} and {node}: requests take {}-{} ms, answers {}-{} ms; of 1000, {lost_requests} \
                     requests and {lost_answers} answers are lost, {duplicates} requests arrive twice",
                    request.0, request.1, answer.0, answer.1
                )
            }
            Self::Cut { process, node, requests, answers, millis } => {
                let (process, node) = (any(process, "all processes", "process"), any(node, "all nodes", "node"));
                let fate = |cut: &Option<Cut>| match cut {
                    None => "pass",
                    Some(Cut::Lost) => "are lost",
                    Some(Cut::Held) => "are held up",
                };
                let (requests, answers) = (fate(requests), fate(answers));
                write!(f, "between {process} and {node}, for {millis} ms: requests {requests}, answers {answers}")
            }
            Self::CutConnection { process, node, arrives } => {
                let (process, node) = (any(process, "all processes", "process"), any(node, "all nodes", "node"));
                write!(f, "the connections between {process} and {node} are cut, and requests over them ")?;
                match arrives {
                    None => f.write_str("never arrive"),
                    Some(millis) => write!(f, "arrive {millis} ms later"),
                }
            }
            Self::ProcessClockRate { process, ppm } => {
                write!(f, "the clock of process-{} {} from now on", one(process), speed(ppm))
            }
            Self::Pause { process, polls, millis } => {
                write!(f, "process-{} is paused for {millis} ms, {polls} polls later", one(process))
            }
            Self::Cancel { process, polls } => {
                write!(f, "the call of process-{} is dropped, {polls} polls later", one(process))
            }
        }
    }
}
