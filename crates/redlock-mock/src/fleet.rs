//! A fleet: several nodes, the network in front of them, and the processes that share them.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use redlock_core::testing::Clock;
use tokio::time::{Instant, sleep_until};

use crate::{
    clock::{ProcessClock, later},
    connection::Connection,
    event::What,
    gate::Gate,
    history::History,
    link::Link,
    network::{Cut, Network},
    node::MockNode,
    process::Process,
    record::{Log, Record},
    timetable::{Spell, Step, timetable},
};

/// Several nodes, the network in front of them, and the processes that share them. It is created within a runtime,
/// whose clock is the true time: with `start_paused`, hours pass in milliseconds.
pub struct Fleet {
    start: Instant,
    nodes: Vec<MockNode>,
    processes: Vec<Process>,
    network: Arc<Mutex<Network>>,
    log: Log,
}

impl Fleet {
    /// Creates this many nodes and processes. All randomness comes from `seed`.
    ///
    /// # Panics
    ///
    /// If there are more than any memory could hold. More than this machine's memory holds abort the program, as usual.
    #[must_use]
    pub fn new(nodes: usize, processes: usize, seed: u64) -> Self {
        let start = Instant::now();
        let log = Log::new(start);
        let network = Arc::new(Mutex::new(Network::new(nodes, processes, seed)));
        let nodes = MockNode::fleet(nodes);
        let process = |process| {
            let gate = Arc::<Gate>::default();
            let process_clock = ProcessClock::new();
            let clock: Arc<dyn Clock> = Arc::new(process_clock.clone());
            let linked = nodes.iter().enumerate().map(|(number, node)| {
                let (network, gate) = (Arc::clone(&network), Arc::clone(&gate));
                node.linked(Link { process, node: number, network, gate, log: log.clone(), clock: Arc::clone(&clock) })
            });
            Process::new(process, linked.collect(), process_clock, Arc::clone(&gate), seed)
        };
        let processes = (0..processes).map(process).collect();
        Self { start, nodes, processes, network, log }
    }

    /// Creates the nodes and processes of a history, before anything has happened.
    ///
    /// # Panics
    ///
    /// Like [`Fleet::new`]: if the history comes from elsewhere, check its numbers first.
    #[must_use]
    pub fn of(history: &History) -> Self {
        Self::new(history.nodes, history.processes, history.seed)
    }

    /// Models the connections of the processes: each process has its own connection to each node. Default: no
    /// connections, so that every request reaches a node that hangs.
    #[must_use]
    pub fn with_connections(self, connection: Connection) -> Self {
        let processes = self.processes.into_iter().map(|process| process.with_connections(connection)).collect();
        Self { processes, ..self }
    }

    /// Returns the nodes as an observer next to each of them sees them: no network in between, no pauses.
    #[must_use]
    pub fn nodes(&self) -> &[MockNode] {
        &self.nodes
    }

    /// Returns the processes.
    #[must_use]
    pub fn processes(&self) -> &[Process] {
        &self.processes
    }

    /// Returns how long ago the fleet was created, in true time.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Passes the records of all requests so far to `read`, in the order in which they were sent. `read` must not use a
    /// node of the fleet: the records are locked meanwhile, and the node would wait for them.
    pub fn records<R>(&self, read: impl FnOnce(&[Record]) -> R) -> R {
        self.log.read(read)
    }

    /// Lets every event of the history happen at its time. Returns when the last event is over. It does not wait for a
    /// pause or a cancellation that its process has not reached by then: the process may never reach it.
    ///
    /// # Cancel safety
    ///
    /// If it is dropped, the fleet stays as it is at that moment.
    pub async fn befall(&self, history: &History) {
        for (at, step) in timetable(history, self.nodes.len(), self.processes.len()) {
            sleep_until(self.at(at)).await;
            self.take(step);
        }
        for process in &self.processes {
            process.gate().goes_on().await;
        }
    }

    fn take(&self, step: Step<'_>) {
        match step {
            Step::Event(what) => self.happens(what),
            Step::Begin(Spell::Hang { node }, _) => self.on_node(node, MockNode::hang),
            Step::End(Spell::Hang { node }, _) => self.on_node(node, MockNode::resume),
            Step::Begin(Spell::Down { node }, _) => self.on_node(node, MockNode::stop),
            Step::End(Spell::Down { node }, memory) => self.on_node(node, |node| node.start(memory)),
            Step::Begin(Spell::Lost { process, node, way }, until) => {
                self.network().cut(process, node, way, Cut::Lost, self.at(until));
            }
            Step::Begin(Spell::Held { process, node, way }, until) => {
                self.network().cut(process, node, way, Cut::Held, self.at(until));
            }
            // The network ends cuts by itself.
            Step::End(Spell::Lost { .. } | Spell::Held { .. }, _) => {}
        }
    }

    fn happens(&self, what: &What) {
        let millis = Duration::from_millis;
        match what {
            What::ClockRate { node, ppm } => self.on_node(*node, |node| node.set_clock_rate(*ppm)),
            What::ClockJump { node, millis } => self.on_node(*node, |node| node.jump_clock(*millis)),
            What::Faults { node, faults } => {
                self.on_node(*node, |node| faults.iter().for_each(|fault| node.inject(fault.clone())));
            }
            What::Weather { process, node, weather } => self.network().set_weather(*process, *node, *weather),
            What::CutConnection { process, node, arrives } => {
                let arrives = arrives.map(millis);
                let is = |asked: &Option<usize>, number: usize| asked.is_none_or(|asked| asked == number);
                for process in self.processes.iter().filter(|one| is(process, one.number())) {
                    let nodes = process.nodes().iter().enumerate().filter(|(number, _)| is(node, *number));
                    nodes.for_each(|(_, node)| node.cut_connection(arrives));
                }
            }
            What::ProcessClockRate { process, ppm } => {
                self.on_process(*process, |process| process.clock().set_rate(*ppm));
            }
            What::Pause { process, polls, millis: lasts } => {
                self.on_process(*process, |process| process.gate().pause(*polls, millis(*lasts)));
            }
            What::Cancel { process, polls } => self.on_process(*process, |process| process.gate().cancel(*polls)),
            // These last for some time, and come as spells.
            What::Hang { .. } | What::Down { .. } | What::Cut { .. } => {}
        }
    }

    fn on_node(&self, node: usize, act: impl FnOnce(&MockNode)) {
        if let Some(node) = self.nodes.get(node) {
            act(node);
        }
    }

    fn on_process(&self, process: usize, act: impl FnOnce(&Process)) {
        if let Some(process) = self.processes.get(process) {
            act(process);
        }
    }

    fn network(&self) -> MutexGuard<'_, Network> {
        self.network.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the time this many milliseconds after the start of the fleet.
    fn at(&self, millis: u64) -> Instant {
        later(self.start, Duration::from_millis(millis))
    }
}

impl fmt::Debug for Fleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fleet").field("nodes", &self.nodes).field("processes", &self.processes).finish_non_exhaustive()
    }
}
