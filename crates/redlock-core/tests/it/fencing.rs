//! Fencing tokens as the driver obtains them: how many exchanges they take, and what happens when nodes disagree.

use std::time::Duration;

use async_trait::async_trait;
use redlock_core::{
    AcquireError, AcquireOptions, BuildError, FencingToken, InspectError, LockNode, LockParts, NodeError, Redlock,
    RedlockBuilder, ResourceError, ResumeError, RoundFailure,
    backend::{AcquireAnswer, AcquireRequest, ExtendAnswer, ExtendRequest, ReleaseAnswer, ReleaseRequest, Timed},
    testing::TokioClock,
};
use redlock_mock::{Fault, MockNode};
use tokio::time::{Instant, advance};

use crate::support::{self, ms, once};

const TTL: Duration = Duration::from_secs(10);
const COUNTER: &str = "{r}:fence";

fn fenced(nodes: &[MockNode]) -> Redlock {
    builder(nodes).build().unwrap()
}

fn builder(nodes: &[MockNode]) -> RedlockBuilder {
    support::builder(nodes).fencing(true)
}

/// Creates a fleet whose counters have these values.
fn counted<const N: usize>(counters: [u64; N]) -> Vec<MockNode> {
    let nodes = MockNode::fleet(N);
    for (node, counter) in nodes.iter().zip(counters) {
        node.set(COUNTER, counter.to_string(), None);
    }
    nodes
}

fn requests(nodes: &[MockNode]) -> Vec<usize> {
    nodes.iter().map(MockNode::requests).collect()
}

fn counters(nodes: &[MockNode]) -> Vec<String> {
    nodes.iter().map(|node| String::from_utf8(node.peek(COUNTER).unwrap()).unwrap()).collect()
}

async fn token(redlock: &Redlock) -> u64 {
    redlock.try_acquire("r", TTL).await.unwrap().unwrap().fencing_token().unwrap().get()
}

#[tokio::test(start_paused = true)]
async fn nodes_that_agree_are_queried_once() {
    let nodes = counted([7, 7, 7]);
    let lock = fenced(&nodes).try_acquire("r", TTL).await.unwrap().unwrap();
    assert_eq!((lock.fencing_token(), requests(&nodes)), (FencingToken::new(8), vec![1, 1, 1]));
}

#[tokio::test(start_paused = true)]
async fn a_minority_that_is_behind_takes_no_second_exchange() {
    let nodes = counted([7, 7, 3]);
    let lock = fenced(&nodes).try_acquire("r", TTL).await.unwrap().unwrap();
    assert_eq!((lock.fencing_token(), requests(&nodes)), (FencingToken::new(8), vec![1, 1, 1]));
}

#[tokio::test(start_paused = true)]
async fn nodes_that_are_behind_are_raised_in_a_second_exchange() {
    let nodes = counted([7, 3, 5]);
    let lock = fenced(&nodes).try_acquire("r", TTL).await.unwrap().unwrap();
    assert_eq!((lock.fencing_token(), requests(&nodes)), (FencingToken::new(8), vec![1, 2, 2]));
    assert_eq!(counters(&nodes), ["8", "8", "8"]);
    drop(lock);
}

#[tokio::test(start_paused = true)]
async fn a_fencing_token_takes_one_exchange_or_two() {
    let slow = |counters| counted::<3>(counters).into_iter().map(|node| node.with_latency(ms(5))).collect::<Vec<_>>();
    for (counters, round_trips) in [([7, 7, 7], 1), ([7, 5, 3], 2)] {
        let (nodes, start) = (slow(counters), Instant::now());
        let lock = fenced(&nodes).try_acquire("r", TTL).await.unwrap().unwrap();
        assert_eq!(start.elapsed(), round_trips * ms(5), "{counters:?}");
        assert!(lock.validity() < TTL.mul_f64(0.99) - start.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_counter_starts_from_the_clock_of_its_node() {
    let nodes = MockNode::fleet(3);
    advance(ms(1)).await;
    assert_eq!(token(&fenced(&nodes)).await, 1_700_000_000_001_001);
}

#[tokio::test(start_paused = true)]
async fn a_greater_counter_that_arrives_during_a_raise_is_adopted() {
    // The third node grants late, after the round was won.
    let nodes = counted([7, 3, 90]);
    nodes[2].inject(Fault::DelayAnswer(ms(5)));
    nodes[1].inject(Fault::None);
    nodes[1].inject(Fault::Refuse);
    let redlock = fenced(&nodes);
    let lock = redlock.acquire("r", once(TTL)).await;
    // The second node is down when it should be raised, so the first and the third have to agree.
    assert_eq!(lock.unwrap().fencing_token().map(FencingToken::get), Some(91));
    redlock.close().await.unwrap();
    assert_eq!(counters(&nodes)[0], "91");
}

#[tokio::test(start_paused = true)]
async fn a_hung_minority_is_not_waited_for() {
    let nodes = counted([7, 3, 7]);
    nodes[2].hang();
    let start = Instant::now();
    assert_eq!(token(&fenced(&nodes)).await, 8);
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn without_a_quorum_for_its_token_the_round_fails_and_is_released() {
    let nodes = counted([7, 3, 5]);
    for node in &nodes[1..] {
        node.inject(Fault::None);
        node.inject(Fault::Refuse);
    }
    let redlock = fenced(&nodes);
    let error = redlock.try_acquire("r", TTL).await.unwrap_err();
    assert!(matches!(&error, AcquireError::NoQuorum(tried) if tried.failure == RoundFailure::NoQuorum), "{error}");
    let text = error.to_string();
    assert!(
        text.contains("1 of 3 confirmed the fencing token, 2 needed: node-1 confirmed the fencing token"),
        "{text}"
    );
    assert!(text.contains("node-2 failed (unreachable)"), "{text}");
    redlock.close().await.unwrap();
    assert!(nodes.iter().all(|node| node.peek("r").is_none()));
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_was_taken_away_before_it_had_its_token_is_contended() {
    let nodes = counted([7, 3, 5]);
    for node in &nodes[1..] {
        node.inject(Fault::None);
        node.inject(Fault::DelayRequest(ms(3)));
    }
    let redlock = fenced(&nodes);
    let taken = async {
        tokio::time::sleep(ms(1)).await;
        nodes[1..].iter().for_each(|node| node.set("r", "another", Some(TTL)));
    };
    let (lock, ()) = tokio::join!(redlock.acquire("r", once(TTL)), taken);
    let error = lock.unwrap_err();
    assert!(error.is_contended() && error.to_string().contains("no longer held it"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_raise_waits_no_longer_than_the_node_timeout() {
    let nodes = counted([7, 3, 5]);
    for node in &nodes[1..] {
        node.inject(Fault::None);
        node.inject(Fault::DelayAnswer(ms(90)));
    }
    let redlock = builder(&nodes).node_timeout(ms(60)).build().unwrap();
    let start = Instant::now();
    let error = redlock.try_acquire("r", ms(80)).await.unwrap_err();
    assert!(start.elapsed() <= ms(60), "{:?}", start.elapsed());
    assert!(matches!(error, AcquireError::NoQuorum(_)), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_call_cancelled_before_it_has_its_token_releases_its_keys() {
    let nodes = counted([7, 3, 5]);
    for node in &nodes[1..] {
        node.inject(Fault::None);
        node.inject(Fault::DelayAnswer(ms(30)));
    }
    let redlock = fenced(&nodes);
    let call = tokio::time::timeout(ms(10), redlock.acquire("r", TTL)).await;
    assert!(call.is_err());
    redlock.close().await.unwrap();
    assert!(nodes.iter().all(|node| node.peek("r").is_none()));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_lost_its_counter_confirms_nothing() {
    let nodes = counted([7, 3, 5]);
    for node in &nodes[1..] {
        node.inject(Fault::None);
        node.inject(Fault::DelayRequest(ms(3)));
    }
    let redlock = fenced(&nodes);
    let forgotten = async {
        tokio::time::sleep(ms(1)).await;
        nodes[1..].iter().for_each(|node| node.remove(COUNTER));
    };
    let (lock, ()) = tokio::join!(redlock.acquire("r", once(TTL)), forgotten);
    assert!(lock.unwrap_err().to_string().contains("no longer held it"));
}

#[tokio::test(start_paused = true)]
async fn an_extend_restores_lost_counters_and_lowers_none() {
    let nodes = counted([7, 7, 7]);
    let mut lock = fenced(&nodes).try_acquire("r", TTL).await.unwrap().unwrap();
    nodes[0].remove(COUNTER);
    nodes[1].set(COUNTER, "99", None);
    nodes[2].set(COUNTER, "2", None);
    lock.extend(2 * TTL).await.unwrap();
    // The lost counter starts from the clock again, because it may have been above this lock's token.
    assert_eq!(counters(&nodes), ["1700000000000000", "99", "8"]);
    assert_eq!(lock.fencing_token().map(FencingToken::get), Some(8));
}

#[tokio::test(start_paused = true)]
async fn counters_are_retained_for_the_set_time_and_at_least_as_long_as_the_lock() {
    let nodes = MockNode::fleet(1);
    for (retention, kept) in [(ms(60_000), ms(60_000)), (ms(5), TTL)] {
        let redlock = builder(&nodes).fencing_retention(retention).build().unwrap();
        let mut lock = redlock.try_acquire("r", TTL).await.unwrap().unwrap();
        assert_eq!(nodes[0].remaining(COUNTER), Some(kept));
        lock.extend(2 * TTL).await.unwrap();
        assert_eq!(nodes[0].remaining(COUNTER), Some(kept.max(2 * TTL)));
        let _ = lock.release().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_raise_retains_counters_at_least_as_long_as_the_lock() {
    let nodes = counted([7, 3, 5]);
    let redlock = builder(&nodes).fencing_retention(ms(1_000)).build().unwrap();
    let lock = redlock.try_acquire("r", TTL).await.unwrap().unwrap();
    let kept: Vec<_> = nodes.iter().map(|node| node.remaining(COUNTER).unwrap()).collect();
    assert_eq!(kept, [TTL; 3]);
    drop(lock);
}

#[tokio::test(start_paused = true)]
async fn a_name_that_the_library_reserves_is_rejected_in_every_call() {
    let nodes = MockNode::fleet(1);
    for name in [COUNTER, "x{r}y:fence", "r:fence", "r:redlock:waiters"] {
        let prefixed = builder(&nodes).key_prefix("lock:").build().unwrap();
        for redlock in [fenced(&nodes), support::redlock(&nodes), prefixed] {
            let is_reserved =
                |error: &ResourceError| matches!(error, ResourceError::Reserved { key } if key.ends_with(name));
            let error = redlock.try_acquire(["r", name], TTL).await.unwrap_err();
            assert!(matches!(&error, AcquireError::Resource(error) if is_reserved(error)), "{error}");
            let error = redlock.acquire(name, TTL).await.unwrap_err();
            assert!(matches!(&error, AcquireError::Resource(error) if is_reserved(error)), "{error}");
            let error = redlock.inspect(name).await.unwrap_err();
            assert!(matches!(&error, InspectError::Resource(error) if is_reserved(error)), "{error}");
            let parts = LockParts::new([name], &"ab".repeat(20), TTL).unwrap();
            let error = redlock.resume(parts).await.unwrap_err();
            assert!(matches!(&error, ResumeError::Resource { reason, .. } if is_reserved(reason)), "{error}");
        }
    }
    assert!(support::is_free(&nodes));
}

#[tokio::test(start_paused = true)]
async fn the_error_of_a_failed_raise_names_the_node_that_refused_the_lock() {
    let nodes = counted([7, 3, 5]);
    nodes[2].set("r", "another", Some(ms(5_000)));
    nodes[1].inject(Fault::None);
    nodes[1].inject(Fault::LoseAnswer);
    let error = fenced(&nodes).acquire("r", once(TTL)).await.unwrap_err().to_string();
    assert!(error.contains("node-3 held by another (5s left)"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_fencing_token_is_transferred_with_its_lock() {
    let nodes = counted([7, 7, 7]);
    let lock = fenced(&nodes).try_acquire("r", TTL).await.unwrap().unwrap();
    let parts = lock.into_parts().await.unwrap();
    let there = Redlock::builder().nodes(nodes.clone()).clock(TokioClock::default()).build().unwrap();
    let mut lock = there.resume(parts).await.unwrap();
    assert_eq!(lock.fencing_token().map(FencingToken::get), Some(8));
    nodes[0].remove(COUNTER);
    lock.extend(TTL).await.unwrap();
    assert_eq!(counters(&nodes), ["1700000000000000", "8", "8"]);
}

#[cfg(feature = "serde")]
#[test]
fn parts_with_and_without_a_token_survive_serialization() {
    use redlock_core::LockParts;

    let token = "5f0c6c1be1c8b4b4e0d7f3c2a1908f7e6d5c4b3a";
    for fence in [None, FencingToken::new(8)] {
        let parts = LockParts::new(["r"], token, TTL).unwrap();
        let parts =
            fence.map_or_else(|| LockParts::new(["r"], token, TTL).unwrap(), |fence| parts.with_fencing_token(fence));
        let text = serde_json::to_string(&parts).unwrap();
        assert_eq!(text.contains("fencing_token"), fence.is_some(), "{text}");
        assert_eq!(serde_json::from_str::<LockParts>(&text).unwrap(), parts);
    }
    let zero = format!(r#"{{"resources":["r"],"token":"{token}","ttl_ms":10,"fencing_token":0}}"#);
    assert!(serde_json::from_str::<LockParts>(&zero).is_err());
}

#[tokio::test(start_paused = true)]
async fn a_call_can_override_the_fencing_setting() {
    let nodes = MockNode::fleet(1);
    let lock = fenced(&nodes).try_acquire("r", AcquireOptions::new(TTL).fencing(false)).await.unwrap().unwrap();
    assert_eq!((lock.fencing_token(), nodes[0].peek(COUNTER)), (None, None));
    let _ = lock.release().await.unwrap();
    let plain = Redlock::builder().nodes(nodes).clock(TokioClock::default()).build().unwrap();
    let lock = plain.try_acquire("r", AcquireOptions::new(TTL).fencing(true)).await.unwrap().unwrap();
    assert!(lock.fencing_token().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_node_with_a_wrong_clock_does_not_make_names_impossible_to_lock() {
    const CENTURIES: i64 = 200 * 365 * 24 * 60 * 60 * 1000;
    let nodes = MockNode::fleet(3);
    let before = fenced(&nodes).try_acquire("other", TTL).await.unwrap().unwrap().fencing_token().unwrap();
    nodes[0].jump_clock(CENTURIES);
    for jump in [0, -CENTURIES] {
        nodes[0].jump_clock(jump);
        for _ in 0..5 {
            let mut lock = fenced(&nodes).try_acquire("r", TTL).await.unwrap().unwrap();
            let token = lock.fencing_token().unwrap();
            assert!(token >= before && token.get() - before.get() < 60_000_000, "{token:?}");
            nodes[2].remove(COUNTER);
            lock.extend(TTL).await.unwrap();
            let _ = lock.release().await.unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_name_too_long_for_its_counter_is_rejected() {
    let nodes = MockNode::fleet(1);
    let longest = "x".repeat(65_536);
    let plain = AcquireOptions::new(TTL).fencing(false);
    let _ = fenced(&nodes).try_acquire(&longest, plain).await.unwrap().unwrap().release().await.unwrap();
    let error = fenced(&nodes).try_acquire(&longest, TTL).await.unwrap_err();
    assert!(matches!(error, AcquireError::Resource(ResourceError::CounterTooLong { len: 65_536 })), "{error}");
}

#[test]
fn an_impossible_retention_is_rejected() {
    for retention in [Duration::ZERO, Duration::MAX] {
        let error = builder(&MockNode::fleet(1)).fencing_retention(retention).build().unwrap_err();
        assert_eq!(error, BuildError::FencingRetention { retention });
    }
    assert!(builder(&MockNode::fleet(1)).fencing_retention(ms(1)).build().is_ok());
    let century = Duration::from_secs(100 * 365 * 24 * 60 * 60);
    assert!(builder(&MockNode::fleet(1)).fencing_retention(century).build().is_ok());
}

/// A backend from before there was fencing.
#[derive(Debug)]
struct Old(MockNode);

#[async_trait]
impl LockNode for Old {
    fn name(&self) -> &str {
        self.0.name()
    }

    async fn acquire(&self, request: &AcquireRequest) -> Result<Timed<AcquireAnswer>, NodeError> {
        let AcquireRequest { keys, token, ttl, .. } = request.clone();
        self.0.acquire(&AcquireRequest::new(keys, token, ttl)).await
    }

    async fn extend(&self, request: &ExtendRequest) -> Result<Timed<ExtendAnswer>, NodeError> {
        self.0.extend(request).await
    }

    async fn release(&self, request: &ReleaseRequest) -> Result<ReleaseAnswer, NodeError> {
        self.0.release(request).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_without_fencing_counters_is_named_in_the_error_and_keeps_no_key() {
    let node = MockNode::new("old");
    let redlock =
        Redlock::builder().node(Old(node.clone())).fencing(true).clock(TokioClock::default()).build().unwrap();
    let error = redlock.try_acquire("r", TTL).await.unwrap_err().to_string();
    assert!(error.contains("old failed (not supported: the node counts no fencing tokens)"), "{error}");
    redlock.close().await.unwrap();
    assert_eq!(node.peek("r"), None);
}
