//! Which waiters a release notifies, and what happens to those that are not notified.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use redlock_core::{
    AcquireError, AcquireOptions, LockNode, NodeError, NodeErrorKind, Redlock, Retry,
    backend::{
        AcquireAnswer, AcquireRequest, ExtendAnswer, ExtendRequest, ListenRequest, ReleaseAnswer, ReleaseRequest,
        Timed, WakeUps,
    },
    testing::TokioClock,
};
use redlock_mock::{Memory, MockNode};
use tokio::time::{Instant, sleep};

use super::{PAUSE, Rounds, TTL, patient, requests, wait_in_order, waits, with_latencies};
use crate::support::{builder, ms, redlock};

#[tokio::test(start_paused = true)]
async fn a_release_notifies_a_waiter_of_another_process() {
    let nodes = MockNode::fleet(3);
    let (first, second) = (redlock(&nodes), redlock(&nodes));
    let lock = first.acquire("r", TTL).await.unwrap();
    let waiting = waits(&second);
    sleep(ms(100)).await;
    let before = requests(&nodes);
    let released = Instant::now();
    let _ = lock.release().await.unwrap();
    let (_lock, taken) = waiting.await.unwrap();
    assert_eq!(taken, released);
    assert_eq!(requests(&nodes) - before, 2 * nodes.len(), "a release and an acquire on each node");
}

#[tokio::test(start_paused = true)]
async fn a_waiter_whose_subscription_takes_long_is_notified() {
    let nodes: Vec<_> = MockNode::fleet(3).into_iter().map(|node| node.with_latency(ms(80))).collect();
    let (first, second) = (redlock(&nodes), redlock(&nodes));
    let lock = first.acquire("r", TTL).await.unwrap();
    let waiting = waits(&second);
    sleep(ms(1500)).await;
    assert!(!waiting.is_finished());
    let _ = lock.release().await.unwrap();
    let released = Instant::now();
    let (_, won) = waiting.await.unwrap();
    assert!(won - released < PAUSE / 4, "{:?}", won - released);
}

#[tokio::test(start_paused = true)]
async fn dropping_a_lock_notifies_a_waiter() {
    let nodes = MockNode::fleet(3);
    let (first, second) = (redlock(&nodes), redlock(&nodes));
    let lock = first.acquire("r", TTL).await.unwrap();
    let waiting = waits(&second);
    sleep(ms(100)).await;
    let dropped = Instant::now();
    drop(lock);
    assert_eq!(waiting.await.unwrap().1, dropped);
}

#[tokio::test(start_paused = true)]
async fn waiters_are_notified_while_any_minority_is_down() {
    for down in 0..3 {
        let nodes = MockNode::fleet(3);
        let (first, second) = (redlock(&nodes), redlock(&nodes));
        nodes[down].stop();
        let lock = first.acquire("r", TTL).await.unwrap();
        let waiting = waits(&second);
        sleep(ms(100)).await;
        let released = Instant::now();
        let _ = lock.release().await.unwrap();
        assert_eq!(waiting.await.unwrap().1, released, "node {down} is down");
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_dies_during_the_wait_costs_one_pause_at_most() {
    for down in 0..3 {
        let nodes = MockNode::fleet(3);
        let (first, second) = (redlock(&nodes), redlock(&nodes));
        let lock = first.acquire("r", TTL).await.unwrap();
        let waiting = waits(&second);
        sleep(ms(100)).await;
        nodes[down].stop();
        let released = Instant::now();
        let _ = lock.release().await.unwrap();
        assert!(waiting.await.unwrap().1 - released < PAUSE, "node {down} died");
        nodes[down].start(Memory::Kept);
    }
}

#[tokio::test(start_paused = true)]
async fn waiters_wait_for_a_crashed_holder_until_its_ttl_ends() {
    let nodes = MockNode::fleet(3);
    nodes.iter().for_each(|node| node.set("r", "crashed", Some(ms(700))));
    let (first, second) = (redlock(&nodes), redlock(&nodes));
    let start = Instant::now();
    let mut waiting = wait_in_order(&[&first, &second]).await;
    let last = waiting.pop().unwrap();
    let (lock, taken) = waiting.pop().unwrap().await.unwrap();
    assert!(taken - start < ms(710), "{:?}", taken - start);
    let _ = lock.release().await.unwrap();
    let _ = last.await.unwrap().0.release().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_redlock_listens_only_from_the_first_waiting_call_until_close() {
    let nodes = MockNode::fleet(3);
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let (first, second) = (redlock(&nodes), redlock(&nodes));
    let lock = first.acquire("r", TTL).await.unwrap();
    assert!(second.try_acquire("r", TTL).await.unwrap().is_none());
    first.close().await.unwrap();
    second.close().await.unwrap();
    assert_eq!(tasks(), 0);
    let waiting = waits(&second);
    sleep(ms(100)).await;
    assert_eq!(tasks(), 1 + nodes.len());
    let _ = lock.release().await.unwrap();
    let _ = waiting.await.unwrap().0.release().await.unwrap();
    second.close().await.unwrap();
    sleep(ms(1)).await;
    assert_eq!(tasks(), 0);
}

/// Counts the rounds of a waiter while another holder has the lock on these nodes.
async fn rounds_while_held_on(held: &[usize]) -> usize {
    let nodes = MockNode::fleet(3);
    held.iter().filter_map(|node| nodes.get(*node)).for_each(|node| node.set("r", "other", None));
    let rounds = Rounds::default();
    let redlock = builder(&nodes).observer(rounds.clone()).build().unwrap();
    let twice = Retry::attempts(2).fixed(ms(450)).jitter(Duration::ZERO);
    let error = redlock.acquire("r", AcquireOptions::new(TTL).retry(twice)).await.unwrap_err();
    assert!(matches!(error, AcquireError::Contended(_)), "nobody has released it: {error}");
    rounds.count()
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_the_notifying_node_granted_tries_once_more() {
    let in_line = rounds_while_held_on(&[0, 1, 2]).await;
    assert_eq!(rounds_while_held_on(&[1, 2]).await, in_line + 2);
}

#[tokio::test(start_paused = true)]
async fn an_expired_lock_of_the_same_process_hides_no_release() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    let expired = redlock.acquire("r", ms(200)).await.unwrap();
    sleep(ms(300)).await;
    let lock = redlock.acquire("r", TTL).await.unwrap();
    let waiting = waits(&redlock);
    sleep(ms(100)).await;
    let released = Instant::now();
    drop(lock);
    let (_lock, taken) = waiting.await.unwrap();
    assert!(taken - released < PAUSE / 4, "{:?}", taken - released);
    drop(expired);
}

#[tokio::test(start_paused = true)]
async fn an_expired_lock_that_is_not_dropped_does_not_prevent_notifications() {
    let nodes = MockNode::fleet(3);
    let (ours, theirs) = (redlock(&nodes), redlock(&nodes));
    let expired = ours.acquire("r", ms(100)).await.unwrap();
    sleep(ms(200)).await;
    let lock = theirs.acquire("r", Duration::from_secs(3600)).await.unwrap();
    let waiting = waits(&ours);
    // The poll after one pause shows that another process has the lock.
    sleep(PAUSE + ms(100)).await;
    let released = Instant::now();
    let _ = lock.release().await.unwrap();
    assert_eq!(waiting.await.unwrap().1, released);
    drop(expired);
}

#[tokio::test(start_paused = true)]
async fn a_waiter_refused_within_a_pause_does_not_sleep_beyond_the_holders_ttl() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    let lock = redlock.acquire("r", TTL).await.unwrap();
    let waiting = waits(&redlock);
    sleep(ms(100)).await;
    // When its own process releases the lock, another holder has it, and has crashed.
    nodes.iter().for_each(|node| node.set("r", "crashed", Some(ms(300))));
    drop(lock);
    let dropped = Instant::now();
    let (_lock, taken) = waiting.await.unwrap();
    assert!(taken - dropped < ms(400), "{:?}", taken - dropped);
}

/// A node that refuses subscriptions until the permissions are corrected.
#[derive(Debug)]
struct Forbidden(MockNode, Arc<AtomicBool>);

#[async_trait::async_trait]
impl LockNode for Forbidden {
    fn name(&self) -> &str {
        self.0.name()
    }

    async fn acquire(&self, request: &AcquireRequest) -> Result<Timed<AcquireAnswer>, NodeError> {
        self.0.acquire(request).await
    }

    async fn extend(&self, request: &ExtendRequest) -> Result<Timed<ExtendAnswer>, NodeError> {
        self.0.extend(request).await
    }

    async fn release(&self, request: &ReleaseRequest) -> Result<ReleaseAnswer, NodeError> {
        self.0.release(request).await
    }

    async fn listen(&self, request: &ListenRequest) -> Result<Box<dyn WakeUps>, NodeError> {
        match self.1.load(Ordering::SeqCst) {
            true => Err(NodeErrorKind::Permission.into()),
            false => self.0.listen(request).await,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_waiter_is_notified_again_a_minute_after_the_permissions_were_corrected() {
    let (nodes, is_forbidden) = (MockNode::fleet(3), Arc::new(AtomicBool::new(true)));
    let forbidden = nodes.iter().cloned().map(|node| Forbidden(node, Arc::clone(&is_forbidden)));
    let theirs = Redlock::builder().nodes(forbidden).clock(TokioClock::default()).build().unwrap();
    let ours = redlock(&nodes);
    for is_notified in [false, true] {
        let lock = ours.acquire("r", TTL).await.unwrap();
        let waiting = waits(&theirs);
        sleep(ms(100)).await;
        let released = Instant::now();
        let _ = lock.release().await.unwrap();
        let (lock, taken) = waiting.await.unwrap();
        assert_eq!(taken == released, is_notified, "{:?}", taken - released);
        let _ = lock.release().await.unwrap();
        is_forbidden.store(false, Ordering::SeqCst);
        sleep(Duration::from_secs(60)).await;
    }
}

/// A node without subscriptions.
#[derive(Debug)]
struct Deaf(MockNode);

#[async_trait::async_trait]
impl LockNode for Deaf {
    fn name(&self) -> &str {
        self.0.name()
    }

    async fn acquire(&self, request: &AcquireRequest) -> Result<Timed<AcquireAnswer>, NodeError> {
        self.0.acquire(request).await
    }

    async fn extend(&self, request: &ExtendRequest) -> Result<Timed<ExtendAnswer>, NodeError> {
        self.0.extend(request).await
    }

    async fn release(&self, request: &ReleaseRequest) -> Result<ReleaseAnswer, NodeError> {
        self.0.release(request).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_release_of_several_keys_notifies_the_waiters_of_each() {
    let deaf = MockNode::fleet(3).into_iter().map(Deaf);
    let deaf = Redlock::builder().nodes(deaf).clock(TokioClock::default()).build().unwrap();
    for redlock in [redlock(&MockNode::fleet(3)), deaf] {
        let all = redlock.acquire(["a", "b", "c"], TTL).await.unwrap();
        let waiting = ["a", "b"].map(|key| {
            let redlock = redlock.clone();
            tokio::spawn(async move { redlock.acquire(key, patient()).await.map(|lock| (lock, Instant::now())) })
        });
        sleep(ms(100)).await;
        let released = Instant::now();
        let _ = all.release().await.unwrap();
        for waiting in waiting {
            let (_lock, taken) = waiting.await.unwrap().unwrap();
            assert_eq!(taken, released);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_notified_waiter_that_leaves_passes_the_wake_up_on() {
    let nodes: Vec<_> = MockNode::fleet(3).into_iter().map(|node| node.with_latency(ms(10))).collect();
    let [first, second, third] = [redlock(&nodes), redlock(&nodes), redlock(&nodes)];
    let lock = first.acquire("r", TTL).await.unwrap();
    let mut waiting = wait_in_order(&[&second, &third]).await;
    sleep(ms(200)).await;
    let _ = lock.release().await.unwrap();
    // Before the notified second process, another holder gets the lock on a quorum. That holder notifies nobody when it
    // is gone.
    nodes[..2].iter().for_each(|node| node.set("r", "another", None));
    sleep(ms(300)).await;
    nodes.iter().for_each(|node| node.remove("r"));
    waiting.remove(0).abort();
    let left = Instant::now();
    let (_lock, taken) = waiting.remove(0).await.unwrap();
    assert!(taken - left < ms(100), "{:?}", taken - left);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_messages_costs_a_waiter_few_rounds_and_no_tasks() {
    // Also if the others refuse before the node that notifies has answered.
    for latencies in [[0, 0, 0], [2, 0, 0], [10, 1, 1]] {
        let nodes = with_latencies(&MockNode::fleet(3), latencies);
        let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
        let rounds = Rounds::default();
        let (first, second) = (redlock(&nodes), builder(&nodes).observer(rounds.clone()).build().unwrap());
        let _lock = first.acquire("r", TTL).await.unwrap();
        let three = AcquireOptions::new(TTL).retry(Retry::attempts(3).fixed(ms(200)).jitter(Duration::ZERO));
        let waiting = tokio::spawn(async move { second.acquire("r", three).await });
        sleep(ms(40)).await;
        let channel = nodes[0].waiters("r").remove(0);
        let (before, mut most) = (tasks(), 0);
        while !waiting.is_finished() {
            for node in &nodes {
                for message in ["r", "r", "not:waited:for", "r:redlock:waiters", ""] {
                    node.publish(&channel, message);
                }
            }
            sleep(ms(1)).await;
            most = most.max(tasks());
        }
        assert!(most <= before + 9, "{latencies:?}: {before} tasks, and {most} in the flood");
        let error = waiting.await.unwrap().unwrap_err();
        assert!(matches!(error, AcquireError::Contended(_)), "it is held all the time: {error}");
        assert!(rounds.count() <= 3 + 2 * 8, "{latencies:?}: {} rounds", rounds.count());
    }
}
