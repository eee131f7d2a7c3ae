//! Waiting for a lock: in the wait queue, notified by the holder, and by polling where nobody notifies.

mod wake_ups;
mod queue;
mod hand_off;

use std::time::Duration;

use redlock_core::{AcquireOptions, Lock, Redlock, Retry};
use redlock_mock::MockNode;
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};

use crate::support::ms;

const TTL: Duration = Duration::from_secs(10);
/// Longer than whatever is not told to anybody.
const PAUSE: Duration = Duration::from_secs(3);

/// Polls so rarely that only who is woken is on time.
fn patient() -> AcquireOptions {
    AcquireOptions::new(TTL).retry(Retry::until(Duration::from_secs(60)).fixed(PAUSE).jitter(Duration::ZERO))
}

/// A call that waits, and when it had the lock.
fn waits(redlock: &Redlock) -> JoinHandle<(Lock, Instant)> {
    let redlock = redlock.clone();
    tokio::spawn(async move {
        let lock = redlock.acquire("r", patient()).await.unwrap();
        (lock, Instant::now())
    })
}

/// Calls that wait, in this order.
async fn wait_in_order(redlocks: &[&Redlock]) -> Vec<JoinHandle<(Lock, Instant)>> {
    let mut waiting = Vec::new();
    for redlock in redlocks {
        waiting.push(waits(redlock));
        sleep(ms(20)).await;
    }
    waiting
}

fn requests(nodes: &[MockNode]) -> usize {
    nodes.iter().map(MockNode::requests).sum()
}

fn with_latencies(nodes: &[MockNode], latencies: [u64; 3]) -> Vec<MockNode> {
    nodes.iter().zip(latencies).map(|(node, latency)| node.clone().with_latency(ms(latency))).collect()
}
