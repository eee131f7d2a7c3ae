//! Helpers that several modules share.

pub(crate) mod clocks;
pub(crate) mod log;
mod polls;

use std::time::Duration;

use redlock_core::{
    AcquireOptions, Lock, Redlock, RedlockBuilder, Retry,
    testing::{Entropy, EntropyError},
};
use redlock_mock::MockNode;

pub(crate) use self::polls::{drop_after, poll_in_task, poll_once};

pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Starts a `Redlock` over these nodes. It follows their clock, which is Tokio's and which tests pause.
pub(crate) fn builder(nodes: &[MockNode]) -> RedlockBuilder {
    Redlock::builder().nodes(nodes.iter().cloned())
}

/// Makes a `Redlock` with the default settings. Each one represents one process.
pub(crate) fn redlock(nodes: &[MockNode]) -> Redlock {
    builder(nodes).build().unwrap()
}

/// Makes one attempt, so that the error shows what each node answered in it.
pub(crate) fn once(ttl: Duration) -> AcquireOptions {
    AcquireOptions::new(ttl).retry(Retry::never())
}

/// Lists the keys of all nodes.
pub(crate) fn keys(nodes: &[MockNode]) -> Vec<String> {
    nodes.iter().flat_map(MockNode::resources).collect()
}

pub(crate) fn is_free(nodes: &[MockNode]) -> bool {
    keys(nodes).is_empty()
}

/// Counts the nodes on which `lock` holds its key.
pub(crate) fn holding(nodes: &[MockNode], lock: &Lock) -> usize {
    nodes.iter().filter(|node| node.peek(lock.resource()).as_deref() == Some(lock.token().as_bytes())).count()
}

/// A source of random numbers that always yields this byte. With 0 no pause is shortened by jitter.
#[derive(Debug)]
pub(crate) struct SameByte(pub(crate) u8);

impl Entropy for SameByte {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError> {
        bytes.fill(self.0);
        Ok(())
    }
}
