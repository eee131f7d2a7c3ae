//! The backends under test. Adding one takes one entry here.

use std::sync::Arc;

use redlock_core::LockNode;
use redlock_mock::MockNode;

use crate::servers::Server;

/// A way to reach nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// `redlock-mock`: in memory, in virtual time.
    Mock,
    /// `redlock-redis-rs` on real servers.
    RedisRs,
    /// `redlock-fred` on real servers.
    Fred,
    /// Both clients in one fleet, by turns, on real servers.
    Mixed,
}

/// Every backend: the matrix of the conformance suite.
pub const BACKENDS: [Backend; 4] = [Backend::Mock, Backend::RedisRs, Backend::Fred, Backend::Mixed];

impl Backend {
    /// Returns the name that each test of this backend begins with.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mock => "mock",
            Self::RedisRs => "redis-rs",
            Self::Fred => "fred",
            Self::Mixed => "mixed",
        }
    }

    /// Opens the node behind this URL as the `index`th of its fleet.
    pub fn open(self, index: usize, url: &str) -> Arc<dyn LockNode> {
        match self {
            Self::Mock => panic!("an in-memory node has no URL"),
            Self::Mixed if index.is_multiple_of(2) => Self::RedisRs.open(index, url),
            Self::Mixed => Self::Fred.open(index, url),
            Self::RedisRs => Arc::new(redlock_redis_rs::RedisNode::open(url).unwrap()),
            Self::Fred => Arc::new(redlock_fred::RedisNode::open(url).unwrap()),
        }
    }
}

/// Where a node's keys are stored.
#[derive(Debug)]
pub enum Site {
    /// In this process.
    Memory(MockNode),
    /// In a real server.
    Server(Server),
}
