//! Nodes whose clocks jump, as seen by a process that has queried them before.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use redlock_core::{
    AcquireError, LockNode, NodeAnswer, NodeError, NodeErrorKind, Redlock, RedlockBuilder, Retry,
    backend::{AcquireAnswer, AcquireRequest, ExtendAnswer, ExtendRequest, ReleaseAnswer, ReleaseRequest, Timed},
    testing::TokioClock,
};
use redlock_mock::{Memory, MockNode};
use tokio::time::advance;

use crate::support;

const TTL: Duration = Duration::from_secs(10);

fn builder(nodes: &[MockNode]) -> RedlockBuilder {
    support::builder(nodes).retry(Retry::attempts(1))
}

/// Acquires and releases a lock, so that each node has reported the time of its clock.
async fn ask(redlock: &Redlock) {
    let _ = redlock.acquire("r", TTL).await.unwrap().release().await.unwrap();
    redlock.close().await.unwrap();
}

/// Counts the nodes whose answers do not count because their clocks have jumped.
fn distrusted(error: &AcquireError) -> usize {
    let votes = error.attempts().unwrap().last_round.nodes();
    let is_jump =
        |answer: &NodeAnswer| matches!(answer, NodeAnswer::Failed(error) if error.kind() == NodeErrorKind::ClockJumped);
    votes.iter().filter(|vote| is_jump(&vote.answer)).count()
}

#[tokio::test(start_paused = true)]
async fn grants_of_nodes_whose_clocks_have_jumped_do_not_count() {
    for jump in [5_000, -5_000] {
        let nodes = MockNode::fleet(3);
        let redlock = builder(&nodes).distrust_jumped_clocks(TTL).build().unwrap();
        ask(&redlock).await;
        // A quorum does without a minority.
        nodes[0].jump_clock(jump);
        ask(&redlock).await;
        nodes[1].jump_clock(jump);
        let error = redlock.acquire("r", TTL).await.unwrap_err();
        assert_eq!(distrusted(&error), 2, "{error}");
        let (text, sign) = (error.to_string(), if jump > 0 { "+" } else { "-" });
        assert!(text.contains("the clock has jumped") && text.contains(&format!("jumped by {sign}5s")), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_is_trusted_again_once_every_lock_that_its_jump_may_have_ended_is_over() {
    let nodes = MockNode::fleet(1);
    let redlock = builder(&nodes).distrust_jumped_clocks(TTL).build().unwrap();
    ask(&redlock).await;
    nodes[0].jump_clock(60_000);
    assert_eq!(distrusted(&redlock.acquire("r", TTL).await.unwrap_err()), 1);
    advance(TTL - Duration::from_millis(1)).await;
    assert_eq!(distrusted(&redlock.acquire("r", TTL).await.unwrap_err()), 1);
    advance(Duration::from_millis(1)).await;
    ask(&redlock).await;
}

#[tokio::test(start_paused = true)]
async fn a_grant_by_a_node_whose_clock_jumped_is_released() {
    let nodes = MockNode::fleet(1);
    let redlock = builder(&nodes).distrust_jumped_clocks(TTL).build().unwrap();
    ask(&redlock).await;
    nodes[0].jump_clock(60_000);
    redlock.acquire("r", TTL).await.unwrap_err();
    redlock.close().await.unwrap();
    assert_eq!(nodes[0].resources(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn by_default_a_clock_jump_fails_no_call() {
    let nodes = MockNode::fleet(3);
    let redlock = builder(&nodes).build().unwrap();
    ask(&redlock).await;
    nodes.iter().for_each(|node| node.jump_clock(60_000));
    ask(&redlock).await;
}

#[tokio::test(start_paused = true)]
async fn a_jump_before_the_first_query_is_not_noticed() {
    let nodes = MockNode::fleet(3);
    nodes.iter().for_each(|node| node.jump_clock(60_000));
    ask(&builder(&nodes).distrust_jumped_clocks(TTL).build().unwrap()).await;
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_drifts_within_the_allowance_is_trusted_however_late_its_answers_are() {
    for ppm in [9_900, -9_900] {
        let nodes = MockNode::fleet(3);
        nodes.iter().for_each(|node| node.set_clock_rate(ppm));
        let redlock = builder(&nodes).distrust_jumped_clocks(TTL).build().unwrap();
        for round in 0..50 {
            let delay = Duration::from_millis(round * 97 % 900);
            nodes.iter().for_each(|node| node.inject(redlock_mock::Fault::DelayAnswer(delay)));
            if let Err(error) = redlock.acquire("r", TTL).await {
                assert_eq!(distrusted(&error), 0, "{error}");
            }
            advance(Duration::from_millis(round * 331 % 2_000)).await;
        }
    }
}

/// A node that records which acquires requested the time of its clock.
#[derive(Debug)]
struct Asked(MockNode, Arc<Mutex<Vec<bool>>>);

#[async_trait]
impl LockNode for Asked {
    fn name(&self) -> &str {
        "asked"
    }

    async fn acquire(&self, request: &AcquireRequest) -> Result<Timed<AcquireAnswer>, NodeError> {
        self.1.lock().unwrap().push(request.wants_clock);
        self.0.acquire(request).await
    }

    async fn extend(&self, request: &ExtendRequest) -> Result<Timed<ExtendAnswer>, NodeError> {
        self.0.extend(request).await
    }

    async fn release(&self, request: &ReleaseRequest) -> Result<ReleaseAnswer, NodeError> {
        self.0.release(request).await
    }
}

/// Returns a fleet of one such node, and a function that takes its records.
fn asked(with: impl Fn(RedlockBuilder) -> RedlockBuilder) -> (MockNode, Redlock, impl Fn() -> Vec<bool>) {
    let (node, asked) = (MockNode::new("asked"), Arc::default());
    let builder = Redlock::builder().node(Asked(node.clone(), Arc::clone(&asked))).clock(TokioClock::default());
    let redlock = with(builder.retry(Retry::attempts(1))).build().unwrap();
    (node, redlock, move || std::mem::take(&mut *asked.lock().unwrap()))
}

#[tokio::test(start_paused = true)]
async fn the_time_of_a_node_is_requested_once_a_second() {
    let (node, redlock, asked) = asked(|builder| builder);
    // Every acquire requests it until the node has answered.
    node.stop();
    redlock.acquire("r", TTL).await.unwrap_err();
    redlock.close().await.unwrap();
    node.start(Memory::Kept);
    for _ in 0..3 {
        ask(&redlock).await;
    }
    assert_eq!(asked(), [true, true, false, false]);
    advance(Duration::from_millis(999)).await;
    ask(&redlock).await;
    advance(Duration::from_millis(1)).await;
    ask(&redlock).await;
    ask(&redlock).await;
    assert_eq!(asked(), [false, true, false]);
}

#[tokio::test(start_paused = true)]
async fn the_time_of_a_node_is_requested_every_time_if_grants_depend_on_it() {
    let (_, redlock, asked) = asked(|builder| builder.distrust_jumped_clocks(TTL));
    for _ in 0..3 {
        ask(&redlock).await;
    }
    assert_eq!(asked(), [true; 3]);
}

#[tokio::test(start_paused = true)]
async fn another_attempt_after_a_refusal_requests_the_time_as_well() {
    let (_, redlock, asked) = asked(|builder| builder);
    ask(&redlock).await;
    let holder = redlock.acquire("r", TTL).await.unwrap();
    asked();
    let twice = redlock_core::AcquireOptions::new(TTL).retry(Retry::attempts(2));
    redlock.acquire("r", twice).await.unwrap_err();
    assert_eq!(asked(), [false, true]);
    let _ = holder.release().await.unwrap();
}
