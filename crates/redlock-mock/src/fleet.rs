//! Several nodes, the network before them, and the processes that share them.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

use crate::{
    clock::later,
    event::What,
    gate::Gate,
    history::History,
    network::Network,
    node::{Link, MockNode},
    process::Process,
    record::{Log, Record},
};

/// Several nodes, the network before them, and the processes that share them. Made within a runtime, whose clock is the
/// true time; make it with `start_paused`, and hours pass in milliseconds.
pub struct Fleet {
    start: Instant,
    nodes: Vec<MockNode>,
    processes: Vec<Process>,
    network: Arc<Mutex<Network>>,
    log: Log,
}

impl Fleet {
    /// So many nodes and processes. All randomness comes from `seed`.
    #[must_use]
    pub fn new(nodes: usize, processes: usize, seed: u64) -> Self {
        let start = Instant::now();
        let log = Log::new(start);
        let network = Arc::new(Mutex::new(Network::new(nodes, processes, seed)));
        let nodes = MockNode::fleet(nodes);
        let process = |process| {
            let gate = Arc::<Gate>::default();
            let linked = nodes.iter().enumerate().map(|(number, node)| {
                let (network, gate, log) = (Arc::clone(&network), Arc::clone(&gate), log.clone());
                node.linked(Link { process, node: number, network, gate, log })
            });
            Process::new(process, linked.collect(), Arc::clone(&gate), seed)
        };
        let processes = (0..processes).map(process).collect();
        Self { start, nodes, processes, network, log }
    }

    /// The nodes and processes of a history, before anything has happened.
    #[must_use]
    pub fn of(history: &History) -> Self {
        Self::new(history.nodes, history.processes, history.seed)
    }

    /// The nodes, as an observer beside each of them sees them: no network between, no pauses.
    #[must_use]
    pub fn nodes(&self) -> &[MockNode] {
        &self.nodes
    }

    /// The processes.
    #[must_use]
    pub fn processes(&self) -> &[Process] {
        &self.processes
    }

    /// How long ago the fleet was made, in true time.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Reads what was sent so far, in the order in which it was sent, and what became of it. `read` must not use a node
    /// of the fleet: the records stand still meanwhile, and the node would wait for them.
    pub fn records<R>(&self, read: impl FnOnce(&[Record]) -> R) -> R {
        self.log.read(read)
    }

    /// Lets everything in the history happen when it is its time. Returns when the last of it is over.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it leaves the fleet as it is then.
    pub async fn befall(&self, history: &History) {
        let mut steps: Vec<_> = history.events.iter().flat_map(|event| steps(event.at, &event.what)).collect();
        steps.sort_by_key(|(at, _)| *at);
        for (at, step) in steps {
            sleep_until(later(self.start, Duration::from_millis(at))).await;
            self.take(step);
        }
    }

    fn take(&self, step: Step<'_>) {
        let millis = Duration::from_millis;
        let on_node = |node: usize, act: &dyn Fn(&MockNode)| self.nodes.get(node).map_or((), act);
        let on_process = |process: usize, act: &dyn Fn(&Process)| self.processes.get(process).map_or((), act);
        let mut network = self.network.lock().unwrap_or_else(PoisonError::into_inner);
        match step {
            Step::Begin(What::Hang { node, .. }) => on_node(*node, &MockNode::hang),
            Step::End(What::Hang { node, .. }) => on_node(*node, &MockNode::resume),
            Step::Begin(What::Down { node, .. }) => on_node(*node, &MockNode::stop),
            Step::End(What::Down { node, memory, .. }) => on_node(*node, &|node| node.start(*memory)),
            Step::Begin(What::ClockRate { node, ppm }) => on_node(*node, &|node| node.set_clock_rate(*ppm)),
            Step::Begin(What::ClockJump { node, millis }) => on_node(*node, &|node| node.jump_clock(*millis)),
            Step::Begin(What::Faults { node, faults }) => {
                on_node(*node, &|node| faults.iter().for_each(|fault| node.inject(fault.clone())));
            }
            Step::Begin(What::Weather { process, node, weather }) => network.set_weather(*process, *node, *weather),
            Step::Begin(What::Cut { process, node, requests, answers, millis: lasts }) => {
                let until = later(Instant::now(), millis(*lasts));
                network.cut(*process, *node, *requests, *answers, until);
            }
            Step::Begin(What::ProcessClockRate { process, ppm }) => {
                on_process(*process, &|process| process.clock().set_rate(*ppm));
            }
            Step::Begin(What::Pause { process, polls, millis: lasts }) => {
                on_process(*process, &|process| process.gate().pause(*polls, millis(*lasts)));
            }
            Step::Begin(What::Cancel { process, polls }) => {
                on_process(*process, &|process| process.gate().cancel(*polls));
            }
            Step::End(_) => {}
        }
    }
}

/// An event begins, or what it began ends.
enum Step<'a> {
    Begin(&'a What),
    End(&'a What),
}

fn steps(at: u64, what: &What) -> impl Iterator<Item = (u64, Step<'_>)> {
    let lasts = match what {
        What::Hang { millis, .. } | What::Down { millis, .. } => Some(*millis),
        _ => None,
    };
    let end = lasts.map(|lasts| (at.saturating_add(lasts), Step::End(what)));
    [Some((at, Step::Begin(what))), end].into_iter().flatten()
}

impl fmt::Debug for Fleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fleet").field("nodes", &self.nodes).field("processes", &self.processes).finish_non_exhaustive()
    }
}
