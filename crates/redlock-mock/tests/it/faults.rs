//! Tests that every fault does what its documentation says.

use std::time::Duration;

use redlock_core::{
    LockNode, NodeError, NodeErrorKind, Resource, Token, Ttl,
    backend::{AcquireAnswer, AcquireRequest},
};
use redlock_mock::{Fault, Memory, MockNode};
use tokio::time::Instant;

const TTL: Duration = Duration::from_secs(10);

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

async fn acquire(node: &MockNode, resource: &str) -> Result<AcquireAnswer, NodeError> {
    let resource = Resource::new(resource).unwrap();
    node.acquire(&AcquireRequest::new(resource, Token::from_bytes([1; 20]), Ttl::new(TTL).unwrap()))
        .await
        .map(|timed| timed.answer)
}

/// Returns the kind of the error, and after how long it came.
async fn failure(node: &MockNode, resource: &str) -> (NodeErrorKind, Duration) {
    let start = Instant::now();
    (acquire(node, resource).await.unwrap_err().kind(), start.elapsed())
}

#[tokio::test(start_paused = true)]
async fn faults_are_taken_in_order_one_for_each_request() {
    let node = MockNode::new("node");
    node.inject(Fault::None);
    node.inject(Fault::Refuse);
    node.inject(Fault::Fail(NodeErrorKind::Loading));
    acquire(&node, "a").await.unwrap();
    assert_eq!(failure(&node, "b").await, (NodeErrorKind::Unreachable, Duration::ZERO));
    assert_eq!(failure(&node, "c").await, (NodeErrorKind::Loading, Duration::ZERO));
    acquire(&node, "d").await.unwrap();
    assert_eq!(node.resources(), ["a", "d"]);
    assert_eq!(node.requests(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_lost_request_is_not_carried_out_and_a_lost_answer_is() {
    let node = MockNode::new("node").with_response_timeout(ms(300));
    node.inject(Fault::LoseRequest);
    node.inject(Fault::LoseAnswer);
    assert_eq!(failure(&node, "request").await, (NodeErrorKind::Timeout, ms(300)));
    assert_eq!(failure(&node, "answer").await, (NodeErrorKind::Timeout, ms(300)));
    assert_eq!(node.resources(), ["answer"]);
}

#[tokio::test(start_paused = true)]
async fn a_delayed_request_is_carried_out_although_its_caller_gave_up() {
    let node = MockNode::new("node");
    node.inject(Fault::DelayRequest(ms(500)));
    tokio::time::timeout(ms(100), acquire(&node, "r")).await.unwrap_err();
    assert_eq!(node.peek("r"), None);
    tokio::time::sleep(ms(400)).await;
    assert_eq!(node.remaining("r"), Some(TTL));
}

#[tokio::test(start_paused = true)]
async fn a_request_with_a_delayed_answer_is_carried_out_at_once() {
    let node = MockNode::new("node");
    node.inject(Fault::DelayAnswer(ms(500)));
    let start = Instant::now();
    assert_eq!(acquire(&node, "r").await.unwrap(), AcquireAnswer::granted());
    assert_eq!((start.elapsed(), node.remaining("r")), (ms(500), Some(TTL - ms(500))));
}

#[tokio::test(start_paused = true)]
async fn a_hung_node_carries_everything_out_when_it_resumes() {
    let node = MockNode::new("node");
    node.hang();
    node.inject(Fault::None);
    node.inject(Fault::Fail(NodeErrorKind::Loading));
    assert_eq!(failure(&node, "r").await, (NodeErrorKind::Timeout, ms(1_000)));
    assert_eq!(failure(&node, "s").await, (NodeErrorKind::Timeout, ms(1_000)), "a hung node answers no error either");
    assert_eq!(node.peek("r"), None);
    node.resume();
    assert_eq!(node.remaining("r"), Some(TTL));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_stops_loses_the_requests_on_their_way() {
    let node = MockNode::new("node").with_latency(ms(50));
    let (acquired, ()) = tokio::join!(acquire(&node, "r"), async {
        tokio::time::sleep(ms(20)).await;
        node.restart(Memory::Kept);
    });
    assert_eq!(acquired.unwrap_err().kind(), NodeErrorKind::Unreachable);
    tokio::time::sleep(ms(100)).await;
    assert_eq!(node.peek("r"), None);
}

#[tokio::test(start_paused = true)]
async fn memory_is_kept_or_lost_as_requested() {
    let node = MockNode::new("node");
    acquire(&node, "r").await.unwrap();
    node.restart(Memory::Kept);
    assert_eq!(node.resources(), ["r"]);
    node.inject(Fault::Restart(Memory::Lost));
    assert_eq!(failure(&node, "s").await, (NodeErrorKind::Unreachable, Duration::ZERO));
    assert_eq!(node.resources(), [""; 0]);
    node.inject(Fault::Stop);
    assert_eq!(failure(&node, "s").await.0, NodeErrorKind::Unreachable);
    assert_eq!(failure(&node, "s").await.0, NodeErrorKind::Unreachable, "it stays down");
    node.start(Memory::Lost);
    acquire(&node, "s").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_key_lives_for_its_ttl() {
    let node = MockNode::new("node").with_latency(ms(30));
    acquire(&node, "r").await.unwrap();
    tokio::time::sleep(TTL).await;
    assert_eq!(node.resources(), ["r"]);
    tokio::time::sleep(ms(1)).await;
    assert_eq!(node.resources(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn endless_delays_do_not_panic() {
    let node = MockNode::new("node").with_latency(Duration::MAX);
    node.inject(Fault::DelayRequest(Duration::MAX));
    assert_eq!(failure(&node, "r").await.0, NodeErrorKind::Timeout);
    node.set("s", "another", Some(Duration::MAX));
    assert_eq!(node.remaining("s"), None);
}

#[tokio::test(start_paused = true)]
async fn the_last_second_before_a_stop_is_lost_however_long_the_node_is_down() {
    let node = MockNode::new("node");
    acquire(&node, "kept").await.unwrap();
    tokio::time::sleep(ms(1_500)).await;
    acquire(&node, "lost").await.unwrap();
    tokio::time::sleep(ms(500)).await;
    node.stop();
    tokio::time::sleep(ms(2_000)).await;
    node.start(Memory::LastSecondLost);
    assert_eq!(node.resources(), ["kept"]);
}

#[tokio::test(start_paused = true)]
async fn a_hang_does_not_change_the_order_in_which_requests_arrived() {
    let node = MockNode::new("node");
    node.inject(Fault::DelayRequest(ms(300)));
    let late = tokio::spawn({
        let node = node.clone();
        async move { acquire(&node, "r").await }
    });
    tokio::task::yield_now().await;
    node.hang();
    let early = tokio::spawn({
        let node = node.clone();
        async move {
            let resource = Resource::new("r").unwrap();
            let token = Token::from_bytes([2; 20]);
            node.acquire(&AcquireRequest::new(resource, token, Ttl::new(TTL).unwrap())).await.map(|timed| timed.answer)
        }
    });
    tokio::time::sleep(ms(500)).await;
    node.resume();
    assert_eq!(early.await.unwrap().unwrap(), AcquireAnswer::granted());
    assert_ne!(late.await.unwrap().unwrap(), AcquireAnswer::granted());
}
