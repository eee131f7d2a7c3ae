//! Waiting for a lock: in the wait queue, notified by the holder, and by polling without notifications.

mod several;
mod wake_ups;
mod queue;
mod hand_off;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use redlock_core::{AcquireOptions, Event, Lock, NodeRequest, Observer, Redlock, Retry};
use redlock_mock::MockNode;
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};

use crate::support::ms;

const TTL: Duration = Duration::from_secs(10);
/// The pause between polls, much longer than a notified waiter waits.
const PAUSE: Duration = Duration::from_secs(3);

/// Polls so rarely that only a notified waiter is on time.
fn patient() -> AcquireOptions {
    AcquireOptions::new(TTL).retry(Retry::timeout(Duration::from_secs(60)).fixed(PAUSE).jitter(Duration::ZERO))
}

/// Starts a call that waits. Returns its lock, and when it got it.
fn waits(redlock: &Redlock) -> JoinHandle<(Lock, Instant)> {
    let redlock = redlock.clone();
    tokio::spawn(async move {
        let lock = redlock.acquire("r", patient()).await.unwrap();
        (lock, Instant::now())
    })
}

/// Starts calls that wait, in this order.
async fn wait_in_order(redlocks: &[&Redlock]) -> Vec<JoinHandle<(Lock, Instant)>> {
    let mut waiting = Vec::new();
    for redlock in redlocks {
        waiting.push(waits(redlock));
        sleep(ms(20)).await;
    }
    waiting
}

/// Counts how often a `Redlock` requests a lock from the first node: its rounds.
#[derive(Debug, Clone, Default)]
struct Rounds(Arc<AtomicUsize>);

impl Rounds {
    fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Observer for Rounds {
    fn observe(&self, event: &Event<'_>) {
        if matches!(event, Event::NodeAsked { node: "node-1", request: NodeRequest::Acquire, .. }) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn requests(nodes: &[MockNode]) -> usize {
    nodes.iter().map(MockNode::requests).sum()
}

fn with_latencies(nodes: &[MockNode], latencies: [u64; 3]) -> Vec<MockNode> {
    nodes.iter().zip(latencies).map(|(node, latency)| node.clone().with_latency(ms(latency))).collect()
}
