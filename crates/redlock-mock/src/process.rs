//! One of the processes that share a fleet.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use redlock_core::{
    Redlock, RedlockBuilder,
    testing::{Entropy, EntropyError},
};

use crate::{clock::ProcessClock, connection::Connection, gate::Gate, node::MockNode};

/// One of the processes that share a [`Fleet`](crate::Fleet): its way to each node, its clock and its random numbers.
#[derive(Clone)]
pub struct Process {
    number: usize,
    nodes: Arc<[MockNode]>,
    clock: ProcessClock,
    entropy: SeededEntropy,
    gate: Arc<Gate>,
}

impl Process {
    pub(crate) fn new(number: usize, nodes: Arc<[MockNode]>, clock: ProcessClock, gate: Arc<Gate>, seed: u64) -> Self {
        let entropy = SeededEntropy::new(seed ^ (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        Self { number, nodes, clock, entropy, gate }
    }

    /// Returns the same process, with its own connection to each node.
    pub(crate) fn with_connections(self, connection: Connection) -> Self {
        Self { nodes: self.nodes.iter().map(|node| node.clone().with_connection(connection)).collect(), ..self }
    }

    /// Returns the number of this process, counted from 0.
    #[must_use]
    pub fn number(&self) -> usize {
        self.number
    }

    /// Returns the nodes, as this process reaches them.
    #[must_use]
    pub fn nodes(&self) -> &[MockNode] {
        &self.nodes
    }

    /// Returns the clock of this process.
    #[must_use]
    pub fn clock(&self) -> &ProcessClock {
        &self.clock
    }

    /// Returns a builder for a `Redlock` of this process: over all nodes, by its clock, with random numbers that are
    /// the same in every run.
    pub fn redlock(&self) -> RedlockBuilder {
        Redlock::builder().nodes(self.nodes.iter().cloned()).entropy(self.entropy.clone())
    }

    /// Returns the source of random numbers, which are the same in every run.
    #[must_use]
    pub fn entropy(&self) -> &SeededEntropy {
        &self.entropy
    }

    /// Runs the program of the process. While the process is paused, neither `program` nor any request that the process
    /// has sent continues.
    pub async fn run<F: Future>(&self, program: F) -> F::Output {
        self.gate.run(program).await
    }

    /// Runs a call that is dropped if the history says so ([`What::Cancel`](crate::What::Cancel)). Returns `None` then.
    pub async fn cancellable<F: Future>(&self, call: F) -> Option<F::Output> {
        self.gate.cancellable(call).await
    }

    pub(crate) fn gate(&self) -> &Gate {
        &self.gate
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").field("number", &self.number).finish_non_exhaustive()
    }
}

/// Random bytes that are the same in every run: for simulations only. Clones share one source.
#[derive(Debug, Clone)]
pub struct SeededEntropy(Arc<Mutex<fastrand::Rng>>);

impl SeededEntropy {
    /// Creates the source for this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(fastrand::Rng::with_seed(seed))))
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fill(bytes);
        Ok(())
    }
}
