//! What befalls a fleet, as plain data.

use std::fmt;

use crate::{
    fault::{Fault, Memory},
    network::{Cut, Weather},
};

/// What befalls a fleet, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Event {
    /// Milliseconds since the start of the fleet.
    pub at: u64,
    /// What happens.
    pub what: What,
}

/// What befalls a fleet. Nodes and processes are counted from 0; those that do not exist are left alone. Where there is
/// an `Option`, none means all of them.
///
/// Events of one kind that overlap end together, when the last of them ends: a node that was down twice at once starts
/// once, and has forgotten what the worse of the two made it forget.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum What {
    /// A node hangs: it takes requests, and carries them out when it goes on. Stopped, it hangs no more.
    Hang {
        /// Which node.
        node: usize,
        /// For how many milliseconds.
        millis: u64,
    },
    /// A node stops, and starts again: connections are refused, requests on their way to it are gone.
    Down {
        /// Which node.
        node: usize,
        /// For how many milliseconds.
        millis: u64,
        /// What it remembers then.
        memory: Memory,
    },
    /// A node's clock runs fast or slow from now on.
    ClockRate {
        /// Which node.
        node: usize,
        /// By how many millionths it runs fast; slow if negative.
        ppm: i32,
    },
    /// A node's clock jumps.
    ClockJump {
        /// Which node.
        node: usize,
        /// By how many milliseconds; backwards if negative.
        millis: i64,
    },
    /// Something goes wrong with the next requests to a node, one after the other.
    Faults {
        /// Which node.
        node: usize,
        /// What goes wrong.
        faults: Vec<Fault>,
    },
    /// The weather changes between processes and nodes.
    Weather {
        /// Between which process,
        process: Option<usize>,
        /// and which node.
        node: Option<usize>,
        /// How messages fare from now on.
        weather: Weather,
    },
    /// Processes and nodes are cut off from each other, in one direction or both. Where one cut loses messages and
    /// another holds them up, they are lost.
    Cut {
        /// Which process,
        process: Option<usize>,
        /// and which node.
        node: Option<usize>,
        /// What becomes of requests, if they are cut off.
        requests: Option<Cut>,
        /// What becomes of answers, if they are cut off.
        answers: Option<Cut>,
        /// For how many milliseconds.
        millis: u64,
    },
    /// Something on the way forgets connections that exist, and tells neither side; see
    /// [`MockNode::cut_connection`](crate::MockNode::cut_connection). Without
    /// [connections](crate::Fleet::with_connections) nothing happens.
    CutConnection {
        /// Between which process,
        process: Option<usize>,
        /// and which node.
        node: Option<usize>,
        /// After how many milliseconds everything arrives that is written to it meanwhile; none if it never does.
        arrives: Option<u64>,
    },
    /// A process' clock runs fast or slow from now on.
    ProcessClockRate {
        /// Which process.
        process: usize,
        /// By how many millionths it runs fast; slow if negative.
        ppm: i32,
    },
    /// A process stands still, wherever it is then; clocks go on. So do timers of tasks that it has spawned, but nothing
    /// that they ask a node for.
    Pause {
        /// Which process.
        process: usize,
        /// After how many more polls, so that it is met at any await point.
        polls: u32,
        /// For how many milliseconds.
        millis: u64,
    },
    /// The call that a process waits for is dropped; see [`Process::cancellable`](crate::Process::cancellable).
    Cancel {
        /// Which process.
        process: usize,
        /// After how many more polls of the call, so that it is met at any await point.
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
                    Memory::Lost => "has forgotten all",
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
                write!(f, "process-{} stands still for {millis} ms, {polls} polls later", one(process))
            }
            Self::Cancel { process, polls } => {
                write!(f, "the call of process-{} is dropped, {polls} polls later", one(process))
            }
        }
    }
}
