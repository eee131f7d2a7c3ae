//! The fleet on which a case is played, and the knowledge of the checks.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use redlock_core::Lock;
use redlock_mock::{Connection, Fleet, MockNode, Process, Record, What};

use crate::{
    case::Case,
    ledger::Ledger,
    sabotage::Sabotage,
    scope::Scope,
    violation::{Oracle, Violation},
};

/// The fleet, and the knowledge of the checks.
pub(crate) struct Stage {
    pub(crate) fleet: Fleet,
    pub(crate) scope: Scope,
    pub(crate) sabotage: Sabotage,
    /// Whether locks get fencing tokens.
    pub(crate) fencing: bool,
    /// The number of permits, if the processes acquire permits.
    pub(crate) permits: Option<u32>,
    pub(crate) longest_ttl: Duration,
    /// Whether a node's clock ever jumps.
    pub(crate) clocks_jump: bool,
    /// When the last event of the history is over.
    pub(crate) calm: Duration,
    /// Whether each process is ever paused: then it may be late through no fault of its own.
    paused: Vec<bool>,
    ledger: Mutex<Ledger>,
    violations: Mutex<Vec<Violation>>,
}

impl Stage {
    /// The connections of the processes: like those of the Redis backends. Requests in an old socket may be executed
    /// after those on the new connection.
    const CONNECTION: Connection = Connection {
        silence: Duration::from_secs(2),
        connect_timeout: Duration::from_secs(1),
        socket: usize::MAX,
        late: Duration::from_millis(100),
    };

    pub(crate) fn new(case: &Case, scope: Scope, sabotage: Sabotage) -> Self {
        let is_paused = |process| {
            let pauses = |what: &What| matches!(what, What::Pause { process: paused, .. } if *paused == process);
            case.history.events.iter().any(|event| pauses(&event.what))
        };
        Self {
            fleet: Fleet::of(&case.history).with_connections(Self::CONNECTION),
            scope,
            sabotage,
            fencing: case.fencing,
            permits: case.permits,
            longest_ttl: case.longest_ttl(),
            clocks_jump: case.history.events.iter().any(|event| matches!(event.what, What::ClockJump { .. })),
            calm: case
                .history
                .events
                .iter()
                .map(|event| ends(&event.what, event.at))
                .max()
                .map_or(Duration::ZERO, Duration::from_millis),
            paused: (0..case.history.processes).map(is_paused).collect(),
            ledger: Mutex::default(),
            violations: Mutex::default(),
        }
    }

    /// Returns whether the process is ever paused.
    pub(crate) fn is_paused(&self, process: &Process) -> bool {
        self.paused.get(process.number()).is_some_and(|paused| *paused)
    }

    /// Checks that a call that began at `from` has ended within `bound`, give or take the granularity of timers, unless
    /// the process was paused.
    pub(crate) fn in_time(&self, process: &Process, from: Duration, bound: Duration, call: &str) {
        self.took(process.number(), self.fleet.elapsed() - from, bound, call);
    }

    pub(crate) fn took(&self, process: usize, took: Duration, bound: Duration, call: &str) {
        const TIMERS: Duration = Duration::from_millis(2);
        if !self.paused.get(process).is_some_and(|paused| *paused) && took > bound + TIMERS {
            let what = format!("{call} of process-{} took {took:?}, {bound:?} at most", process + 1);
            self.violation(Oracle::BoundedWork, what);
        }
    }

    pub(crate) fn violation(&self, oracle: Oracle, what: impl Into<String>) {
        let violation = Violation { oracle, at: self.fleet.elapsed(), what: what.into() };
        self.violations.lock().unwrap_or_else(PoisonError::into_inner).push(violation);
    }

    /// Returns how many requests were sent so far.
    pub(crate) fn sent(&self) -> usize {
        self.fleet.records(<[Record]>::len)
    }

    /// Returns on how many nodes all its keys hold the lock's token.
    pub(crate) fn holding(&self, lock: &Lock) -> usize {
        let token = lock.token();
        let reads = |node: &MockNode, key: &str| node.readers(key).iter().any(|(reader, _)| reader == token.as_str());
        let holds = |node: &&MockNode| {
            let keys = lock.resources().iter().map(redlock_core::Resource::as_str);
            keys.into_iter().all(|key| {
                // On a node that missed the downgrade, the key of a reader is still that of a writer.
                node.peek(key).as_deref() == Some(token.as_bytes()) || lock.is_shared() && reads(node, key)
            })
        };
        self.fleet.nodes().iter().filter(holds).count()
    }

    /// Returns the tokens of all holders on a node, including those of readers.
    pub(crate) fn tokens_on(node: &MockNode) -> Vec<Vec<u8>> {
        let readers = |key: &String| node.readers(key).into_iter().map(|(token, _)| token.into_bytes());
        node.resources().iter().flat_map(|key| readers(key).chain(node.peek(key))).collect()
    }

    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns and removes what was found so far.
    pub(crate) fn take_violations(&self) -> Vec<Violation> {
        std::mem::take(&mut *self.violations.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Returns when an event that began at `at` is over, in milliseconds since the start of the fleet.
fn ends(what: &What, at: u64) -> u64 {
    let lasts = match what {
        What::Hang { millis, .. } | What::Down { millis, .. } | What::Cut { millis, .. } => *millis,
        What::CutConnection { arrives, .. } => arrives.unwrap_or(0),
        _ => 0,
    };
    at.saturating_add(lasts)
}
