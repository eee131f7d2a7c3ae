//! The link from a simulated process to a node.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redlock_core::testing::Clock;
use tokio::time::{Instant, sleep_until};

use crate::{
    gate::Gate,
    network::{Journey, Network},
    record::Log,
};

/// The path between a simulated process and the node. Without it, the node is reached immediately.
#[derive(Clone)]
pub(crate) struct Link {
    pub(crate) process: usize,
    pub(crate) node: usize,
    pub(crate) network: Arc<Mutex<Network>>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) log: Log,
    /// The clock of the process.
    pub(crate) clock: Arc<dyn Clock>,
}

impl Link {
    pub(crate) fn journey(&self) -> Journey {
        self.network().journey(self.process, self.node)
    }

    /// Waits while answers are cut off; forever if they are lost.
    pub(crate) async fn answer_arrives(&self) {
        match self.arrival() {
            None => std::future::pending().await,
            Some(arrives) if arrives > Instant::now() => sleep_until(arrives).await,
            Some(_) => {}
        }
    }

    /// Returns when an answer arrives that would arrive now, if ever.
    pub(crate) fn arrival(&self) -> Option<Instant> {
        self.network().answer_arrives(self.process, self.node)
    }

    pub(crate) fn network(&self) -> MutexGuard<'_, Network> {
        self.network.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
