//! Releases that a node did not answer are delivered once it answers again.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use redlock_core::{CloseError, Event, NodeErrorKind, Observer, Redlock, Release, testing::TokioClock};
use redlock_mock::{Fault, Memory, MockNode};
use tokio::time::{Instant, sleep};

use crate::support::{clocks::StandsStill, redlock};

const TTL: Duration = Duration::from_secs(600);
/// A node that answers again has carried out every release within this time.
const SOON: Duration = Duration::from_secs(1);

fn keys(node: &MockNode) -> Vec<String> {
    node.resources()
}

#[tokio::test(start_paused = true)]
async fn a_release_that_a_node_refused_is_delivered_once_it_is_up_again() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    let lock = redlock.acquire("r", TTL).await.unwrap();
    nodes[2].stop();
    assert_eq!(lock.release().await.unwrap(), Release::Released);
    sleep(Duration::from_secs(60)).await;
    nodes[2].start(Memory::Kept);
    assert_eq!(keys(&nodes[2]), ["r"]);
    sleep(SOON).await;
    assert_eq!(keys(&nodes[2]), [""; 0]);
    redlock.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_release_that_a_replica_rejects_is_delivered_once_the_node_is_a_primary() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    let lock = redlock.acquire("r", TTL).await.unwrap();
    // The node rejects releases for a little longer than a second.
    for _ in 0..6 {
        nodes[2].inject(Fault::Fail(NodeErrorKind::ReadOnly));
    }
    assert_eq!(lock.release().await.unwrap(), Release::Released);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(keys(&nodes[2]), ["r"]);
    redlock.close().await.unwrap();
    assert_eq!(keys(&nodes[2]), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_release_whose_request_is_lost_is_sent_again() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    for end in ["released", "dropped"] {
        let lock = redlock.acquire("r", TTL).await.unwrap();
        sleep(SOON).await;
        nodes[0].inject(Fault::LoseRequest);
        nodes[1].inject(Fault::LoseRequest);
        match end {
            "released" => drop(lock.release().await),
            _ => drop(lock),
        }
        redlock.close().await.unwrap();
        assert!(nodes.iter().all(|node| keys(node).is_empty()), "{end}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_acquire_that_a_node_carries_out_after_the_release_leaves_nothing_behind() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    // The request arrives long after the release has been answered, as over another connection.
    nodes[0].inject(Fault::DelayRequest(Duration::from_secs(7)));
    drop(redlock.acquire("r", TTL).await.unwrap());
    sleep(Duration::from_secs(6)).await;
    assert_eq!(keys(&nodes[0]), [""; 0]);
    sleep(Duration::from_secs(2)).await;
    assert_eq!(keys(&nodes[0]), ["r"]);
    // The node keeps the key no longer than the request took to arrive.
    sleep(Duration::from_secs(6)).await;
    assert!(nodes.iter().all(|node| keys(node).is_empty()));
}

#[tokio::test(start_paused = true)]
async fn the_first_copy_of_a_request_that_was_sent_twice_leaves_nothing_behind() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    for request in ["acquire", "extend"] {
        let twice = || nodes[0].inject(Fault::SendAgain(Duration::from_secs(7)));
        if request == "acquire" {
            twice();
        }
        let mut lock = redlock.acquire("r", TTL).await.unwrap();
        if request == "extend" {
            twice();
            lock.extend(TTL).await.unwrap();
        }
        drop(lock);
        sleep(Duration::from_secs(6)).await;
        assert_eq!(keys(&nodes[0]), [""; 0], "{request}");
        sleep(Duration::from_millis(1_100)).await;
        assert_eq!(keys(&nodes[0]), ["r"], "{request}");
        // The node keeps the key no longer than the request took to arrive.
        sleep(Duration::from_secs(7)).await;
        assert!(nodes.iter().all(|node| keys(node).is_empty()), "{request}");
    }
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_releases_are_delivered_within_five_seconds() {
    let nodes: Vec<_> =
        MockNode::fleet(3).into_iter().map(|node| node.with_latency(Duration::from_millis(1))).collect();
    let redlock = redlock(&nodes);
    let mut locks = Vec::new();
    for number in 0..10_000 {
        locks.push(redlock.acquire(format!("r{number}"), TTL).await.unwrap());
    }
    nodes[2].stop();
    drop(locks);
    sleep(Duration::from_secs(20)).await;
    nodes[2].start(Memory::Kept);
    assert_eq!(keys(&nodes[2]).len(), 10_000);
    sleep(Duration::from_secs(5)).await;
    assert_eq!(keys(&nodes[2]).len(), 0);
    redlock.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn close_waits_briefly_for_a_node_that_fails_and_counts_its_owed_releases() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    let locks = [redlock.acquire("a", TTL).await.unwrap(), redlock.acquire("b", TTL).await.unwrap()];
    nodes[1].stop();
    drop(locks);
    let start = Instant::now();
    let error = redlock.close().await.unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    assert_eq!(error, CloseError::Unfinished { tasks: 0, owed: vec![("node-2".to_owned(), 2)] });
    assert_eq!(
        error.to_string(),
        "not everything was released: node-2 has not answered 2 releases; the keys expire with their TTL"
    );
    nodes[1].start(Memory::Kept);
    redlock.close().await.unwrap();
    assert_eq!(keys(&nodes[1]), [""; 0]);
}

/// Records how many releases each node is owed.
#[derive(Debug, Clone, Default)]
struct Noted(Arc<Mutex<Vec<(String, usize, usize)>>>);

impl Observer for Noted {
    fn observe(&self, event: &Event<'_>) {
        if let Event::ReleasesOwed { node, before, now, .. } = *event
            && before != now
        {
            self.0.lock().unwrap().push((node.to_owned(), before, now));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn observers_learn_how_many_releases_a_node_is_owed() {
    let nodes = MockNode::fleet(3);
    let noted = Noted::default();
    let redlock = Redlock::builder().nodes(nodes.clone()).clock(TokioClock::default()).observer(noted.clone());
    let redlock = redlock.build().unwrap();
    let locks = [redlock.acquire("a", TTL).await.unwrap(), redlock.acquire("b", TTL).await.unwrap()];
    nodes[2].stop();
    for lock in locks {
        let _ = lock.release().await.unwrap();
    }
    sleep(SOON).await;
    nodes[2].start(Memory::Kept);
    redlock.close().await.unwrap();
    let name = redlock_core::LockNode::name(&nodes[2]).to_owned();
    let noted = noted.0.lock().unwrap().clone();
    assert_eq!(noted.iter().filter(|(node, ..)| *node != name).count(), 0, "{noted:?}");
    assert_eq!(noted.iter().map(|(_, _, now)| *now).max(), Some(2), "{noted:?}");
    let change: i64 = noted.iter().map(|(_, before, now)| *now as i64 - *before as i64).sum();
    assert_eq!((change, noted.last().map(|(_, _, now)| *now)), (0, Some(0)), "{noted:?}");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_never_held_the_lock_is_owed_nothing() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    nodes[0].stop();
    nodes[1].set("r", "another", None);
    assert!(redlock.try_acquire("r", TTL).await.unwrap().is_none());
    nodes[1].remove("r");
    nodes[1].stop();
    let start = Instant::now();
    redlock.close().await.unwrap();
    assert!(start.elapsed() < SOON);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_has_expired_is_owed_no_release() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    let lock = redlock.acquire("r", Duration::from_secs(10)).await.unwrap();
    nodes[2].stop();
    let _ = lock.release().await.unwrap();
    sleep(Duration::from_secs(11)).await;
    redlock.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_another_holder_acquired_meanwhile_is_not_released() {
    let nodes = MockNode::fleet(3);
    let (ours, theirs) = (redlock(&nodes), redlock(&nodes));
    let lock = ours.acquire("r", TTL).await.unwrap();
    nodes[2].stop();
    let _ = lock.release().await.unwrap();
    // The node starts without its keys, and grants the lock to another holder before the release reaches it.
    nodes[2].start(Memory::Lost);
    let other = theirs.acquire("r", TTL).await.unwrap();
    sleep(SOON + SOON).await;
    assert_eq!(keys(&nodes[2]), ["r"]);
    assert_eq!(other.release().await.unwrap(), Release::Released);
}

#[tokio::test(start_paused = true)]
async fn a_new_release_does_not_wait_for_the_repetition_of_an_old_one() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    // The release is repeated for a minute, at growing intervals.
    nodes[0].inject(Fault::LoseAnswer);
    let _ = redlock.acquire("old", TTL).await.unwrap().release().await.unwrap();
    sleep(Duration::from_secs(20)).await;
    let lock = redlock.acquire("new", TTL).await.unwrap();
    nodes[0].inject(Fault::LoseRequest);
    let _ = lock.release().await.unwrap();
    sleep(SOON + SOON).await;
    assert_eq!(keys(&nodes[0]), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_release_is_repeated_even_if_the_clock_of_the_nodes_is_frozen() {
    let nodes = MockNode::fleet(3);
    let redlock = Redlock::builder().nodes(nodes.clone()).clock(StandsStill).build().unwrap();
    // The acquire may still be carried out, so its release is repeated.
    nodes[0].inject(Fault::LoseAnswer);
    let _ = redlock.acquire("r", TTL).await.unwrap().release().await;
    assert_eq!(redlock.close().await, Ok(()));
}
