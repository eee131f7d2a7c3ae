//! Waiting for several names at once, next to calls that wait for one of them.

use redlock_core::{AcquireOptions, Redlock, Retry};
use redlock_mock::MockNode;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use super::{TTL, patient};
use crate::support::{ms, redlock};

const NAMES: [&str; 3] = ["a", "b", "c"];

/// Two processes, in each of which four tasks for each name acquire, hold and release it without a pause.
fn queued_single_locks(nodes: &[MockNode]) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    for name in NAMES {
        for redlock in [redlock(nodes), redlock(nodes)] {
            for _ in 0..4 {
                let redlock = redlock.clone();
                tasks.spawn(async move {
                    loop {
                        let lock = redlock.acquire(name, patient()).await.unwrap();
                        sleep(ms(20)).await;
                        lock.release().await.unwrap();
                    }
                });
            }
        }
    }
    tasks
}

fn nodes() -> Vec<MockNode> {
    MockNode::fleet(3).into_iter().map(|node| node.with_latency(ms(1))).collect()
}

async fn acquires_all(redlock: &Redlock, names: [&str; 3]) {
    let options = AcquireOptions::new(TTL).retry(Retry::until(ms(8_000)));
    let lock = redlock.acquire_all(names, options).await.unwrap();
    sleep(ms(20)).await;
    lock.release().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_call_for_several_names_does_not_starve_next_to_queued_calls_for_one() {
    let nodes = nodes();
    let _tasks = queued_single_locks(&nodes);
    let redlock = redlock(&nodes);
    for _ in 0..5 {
        acquires_all(&redlock, NAMES).await;
    }
}

#[tokio::test(start_paused = true)]
async fn several_calls_for_several_names_never_wait_for_each_other() {
    let nodes = nodes();
    let _tasks = queued_single_locks(&nodes);
    let mut all = JoinSet::new();
    for names in [["a", "b", "c"], ["c", "a", "b"], ["b", "c", "a"]] {
        let redlock = redlock(&nodes);
        all.spawn(async move {
            for _ in 0..3 {
                acquires_all(&redlock, names).await;
            }
        });
    }
    while let Some(done) = all.join_next().await {
        done.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_for_several_names_that_gives_up_leaves_nothing_behind() {
    let nodes = nodes();
    let (ours, theirs) = (redlock(&nodes), redlock(&nodes));
    let held = theirs.acquire("b", TTL).await.unwrap();
    let options = AcquireOptions::new(TTL).retry(Retry::until(ms(1_000)));
    let begun = Instant::now();
    let error = ours.acquire_all(NAMES, options).await.unwrap_err();
    assert!(error.is_contended(), "{error}");
    assert!(error.to_string().contains("\"c\""), "{error}");
    assert!(begun.elapsed() >= ms(1_000));
    ours.close().await.unwrap();
    for name in ["a", "c"] {
        assert!(nodes.iter().all(|node| node.peek(name).is_none()), "{name} is still locked");
    }
    held.release().await.unwrap();
    let lock = ours.acquire_all(NAMES, TTL).await.unwrap();
    lock.release().await.unwrap();
}
