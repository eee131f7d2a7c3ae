//! The nodes of one `Redlock` and what all its locks share.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use crate::{
    algorithm::{Drift, NodeTimeout, Quorum, Retry, Ttl, TtlError},
    background::Background,
    clock::Clock,
    entropy::{Entropy, EntropyError},
    node::{LockNode, NodeError, NodeErrorKind},
};

/// The nodes, the rules, the clock and the random source.
#[derive(Debug)]
pub(crate) struct Fleet {
    pub(crate) members: Box<[Member]>,
    pub(crate) quorum: Quorum,
    pub(crate) drift: Drift,
    pub(crate) node_timeout: NodeTimeout,
    pub(crate) retry: Retry,
    pub(crate) clock: Box<dyn Clock>,
    pub(crate) entropy: Box<dyn Entropy>,
    pub(crate) background: Background,
}

impl Fleet {
    /// What a ttl means with this fleet.
    pub(crate) fn terms(&self, ttl: Duration) -> Result<Terms, TtlError> {
        let ttl = Ttl::new(ttl)?;
        let node_timeout = self.node_timeout.of(ttl, &self.drift)?;
        Ok(Terms { ttl, node_timeout, validity: self.drift.validity(ttl, Duration::ZERO) })
    }

    /// A random number, for jitter.
    pub(crate) fn random(&self) -> Result<u64, EntropyError> {
        let mut bytes = [0; 8];
        self.entropy.fill(&mut bytes)?;
        Ok(u64::from_ne_bytes(bytes))
    }
}

/// A checked ttl and what follows from it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    pub(crate) ttl: Ttl,
    pub(crate) node_timeout: Duration,
    /// What the ttl leaves after drift, counted from before the first byte is sent.
    pub(crate) validity: Duration,
}

/// One node of the fleet.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) node: Arc<dyn LockNode>,
    overdue: AtomicUsize,
}

impl Member {
    /// How many requests may be outstanding past the node timeout before the next one fails at once. A hung node
    /// never errors by itself: without a bound, what it owes grows until memory ends.
    const MAX_OVERDUE: usize = 64;

    pub(crate) fn new(node: Arc<dyn LockNode>) -> Self {
        Self { node, overdue: AtomicUsize::new(0) }
    }

    /// Whether the node may be sent another acquire or extend.
    pub(crate) fn admit(&self) -> Result<(), NodeError> {
        self.admit_below(Self::MAX_OVERDUE)
    }

    /// Whether the node may be sent another release: for longer, so that what was admitted can be given back.
    pub(crate) fn admit_release(&self) -> Result<(), NodeError> {
        self.admit_below(2 * Self::MAX_OVERDUE)
    }

    fn admit_below(&self, bound: usize) -> Result<(), NodeError> {
        match self.overdue.load(Ordering::Relaxed) {
            overdue if overdue < bound => Ok(()),
            overdue => {
                Err(NodeError::new(NodeErrorKind::Timeout, format!("{overdue} earlier requests are still unanswered")))
            }
        }
    }
}

/// Counts one request of one node as overdue until it is dropped.
#[derive(Debug)]
pub(crate) struct Overdue {
    fleet: Arc<Fleet>,
    member: usize,
}

impl Overdue {
    pub(crate) fn count(fleet: &Arc<Fleet>, member: usize) -> Self {
        if let Some(member) = fleet.members.get(member) {
            member.overdue.fetch_add(1, Ordering::Relaxed);
        }
        Self { fleet: Arc::clone(fleet), member }
    }
}

impl Drop for Overdue {
    fn drop(&mut self) {
        if let Some(member) = self.fleet.members.get(self.member) {
            member.overdue.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
