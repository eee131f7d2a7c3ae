//! Work that continues after its caller is gone is bounded in number and in time, whatever the nodes do.

use std::time::Duration;

use redlock_core::{
    AcquireError, AcquireOptions, CloseError, LockNode, NodeError, Redlock, Release,
    backend::{AcquireAnswer, AcquireRequest, ExtendAnswer, ExtendRequest, ReleaseAnswer, ReleaseRequest, Timed},
    testing::TokioClock,
};
use redlock_mock::{Fault, MockNode};
use tokio::time::Instant;

use crate::support::{ms, redlock};

const TTL: Duration = Duration::from_secs(10);
/// The default node timeout for this TTL.
const NODE_TIMEOUT: Duration = Duration::from_millis(200);

#[tokio::test(start_paused = true)]
async fn a_node_with_too_many_unanswered_requests_is_not_queried_until_it_answers() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    // One wave of requests passes the node timeout, so the next wave finds too many requests unanswered.
    nodes[2].hang();
    let mut asked = Vec::new();
    for wave in 0..2 {
        for i in 0..100 {
            let lock = redlock.acquire(format!("{wave}:{i}"), TTL).await.unwrap();
            let _ = lock.release().await.unwrap();
        }
        asked.push(nodes[2].requests());
        tokio::time::sleep(NODE_TIMEOUT + ms(1)).await;
    }
    assert_eq!(asked, [100, 100]);
    nodes[2].resume();
    redlock.close().await.unwrap();
    drop(redlock.acquire("after", TTL).await.unwrap());
    assert_eq!(nodes[2].peek("after").map(|_| ()), Some(()), "the node gets requests again");
}

#[tokio::test(start_paused = true)]
async fn calls_with_short_timeouts_do_not_exclude_slow_nodes_for_other_calls() {
    let nodes: Vec<_> = MockNode::fleet(3).into_iter().map(|node| node.with_latency(ms(20))).collect();
    let redlock = redlock(&nodes);
    for i in 0..100 {
        let hurry = AcquireOptions::new(TTL).timeout(Duration::from_micros(20));
        let error = redlock.acquire(format!("{i}"), hurry).await.unwrap_err();
        assert!(matches!(error, AcquireError::TimedOut(_)), "{error}");
    }
    let _ = redlock.try_acquire("r", TTL).await.unwrap().unwrap().release().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_node_may_owe_64_overdue_answers_and_no_more() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    nodes[2].hang();
    let mut locks = Vec::new();
    // First 63 requests are overdue, then exactly 64.
    for (name, wave) in [("a", 0..63), ("b", 0..1), ("c", 0..1)] {
        for i in wave {
            locks.push(redlock.acquire(format!("{name}:{i}"), TTL).await.unwrap());
        }
        tokio::time::sleep(NODE_TIMEOUT + ms(1)).await;
    }
    assert_eq!(nodes[2].requests(), 64);
}

#[tokio::test(start_paused = true)]
async fn a_node_may_have_4096_requests_in_flight_and_no_more() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    nodes[2].hang();
    let mut locks = Vec::new();
    for i in 0..4_200 {
        locks.push(redlock.acquire(format!("{i}"), TTL).await.unwrap());
        tokio::task::yield_now().await;
    }
    assert_eq!(nodes[2].requests(), 4_096);
}

#[tokio::test(start_paused = true)]
async fn an_error_counts_the_requests_that_a_node_has_not_answered() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    nodes[2].hang();
    let mut locks = Vec::new();
    for i in 0..70 {
        locks.push(redlock.acquire(format!("{i}"), TTL).await.unwrap());
    }
    tokio::time::sleep(NODE_TIMEOUT + ms(1)).await;
    nodes[1].stop();
    let error = redlock.try_acquire("r", TTL).await.unwrap_err().to_string();
    assert!(error.contains("node-3 failed (no answer in time: 70 earlier requests are still unanswered)"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn many_locks_dropped_at_once_do_not_exclude_slow_nodes() {
    let nodes: Vec<_> = MockNode::fleet(3).into_iter().map(|node| node.with_latency(ms(20))).collect();
    let redlock = redlock(&nodes);
    let mut locks = Vec::new();
    for i in 0..100 {
        locks.push(redlock.acquire(format!("{i}"), TTL).await.unwrap());
    }
    drop(locks);
    // Their releases are in flight, and none is overdue.
    tokio::time::sleep(ms(1)).await;
    let _ = redlock.try_acquire("r", TTL).await.unwrap().unwrap().release().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_extend_that_still_waits_is_not_sent_after_the_release() {
    let mut nodes = MockNode::fleet(3);
    nodes[2] = nodes[2].clone().with_latency(ms(100));
    let redlock = redlock(&nodes);
    let mut lock = redlock.acquire("r", TTL).await.unwrap();
    // On the slow node the extend waits for the acquire, which is still in flight.
    lock.extend(TTL).await.unwrap();
    let _ = lock.release().await.unwrap();
    redlock.close().await.unwrap();
    let requests: Vec<_> = nodes.iter().map(MockNode::requests).collect();
    assert_eq!(requests, [3, 3, 2]);
}

#[tokio::test(start_paused = true)]
async fn every_acquire_that_was_sent_can_be_released() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    nodes[2].hang();
    let mut locks = Vec::new();
    for i in 0..300 {
        locks.push(redlock.acquire(format!("{i}"), 1000 * TTL).await.unwrap());
    }
    tokio::time::sleep(ms(700)).await;
    drop(locks);
    tokio::time::sleep(ms(400)).await;
    nodes[2].resume();
    redlock.close().await.unwrap();
    assert_eq!(nodes[2].resources(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn requests_to_a_hung_node_are_bounded_in_number() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    nodes[2].hang();
    // Without a bound, the node would get an acquire and a release of each lock.
    for i in 0..3_000 {
        let _ = redlock.acquire(format!("{i}"), TTL).await.unwrap().release().await.unwrap();
    }
    assert!(nodes[2].requests() < 5_000, "{} requests", nodes[2].requests());
}

#[tokio::test(start_paused = true)]
async fn two_calls_may_close_at_once() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    nodes[0].inject(Fault::DelayAnswer(ms(500)));
    drop(redlock.acquire("r", TTL).await.unwrap());
    let (first, second) = tokio::join!(redlock.close(), redlock.close());
    assert_eq!((first, second), (Ok(()), Ok(())));
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_panics_is_one_failed_node() {
    /// Panics on every request.
    #[derive(Debug)]
    struct Panicking;

    #[async_trait::async_trait]
    impl LockNode for Panicking {
        fn name(&self) -> &str {
            "panicking"
        }

        async fn acquire(&self, _: &AcquireRequest) -> Result<Timed<AcquireAnswer>, NodeError> {
            panic!("acquire")
        }

        async fn extend(&self, _: &ExtendRequest) -> Result<Timed<ExtendAnswer>, NodeError> {
            panic!("extend")
        }

        async fn release(&self, _: &ReleaseRequest) -> Result<ReleaseAnswer, NodeError> {
            panic!("release")
        }
    }

    let nodes = MockNode::fleet(2);
    let builder = Redlock::builder().node(Panicking).nodes(nodes.clone()).clock(TokioClock::default());
    let redlock = builder.build().unwrap();
    let mut lock = redlock.acquire("r", TTL).await.unwrap();
    lock.extend(TTL).await.unwrap();
    assert_eq!(lock.release().await.unwrap(), Release::Released);
    drop(redlock.acquire("r", TTL).await.unwrap());
    let owed = vec![("panicking".to_owned(), 2)];
    assert_eq!(redlock.close().await.unwrap_err(), CloseError::Unfinished { tasks: 0, owed });
    assert!(nodes.iter().all(|node| node.resources().is_empty()));
}

#[tokio::test(start_paused = true)]
async fn background_work_ends_even_over_a_node_that_never_answers() {
    let nodes = MockNode::fleet(3);
    let never = MockNode::new("never").with_response_timeout(Duration::from_secs(1_000_000));
    never.hang();
    let builder = Redlock::builder().nodes(nodes).node(never).clock(TokioClock::default());
    let redlock = builder.build().unwrap();
    drop(redlock.acquire("r", TTL).await.unwrap());
    let start = Instant::now();
    redlock.close().await.unwrap_err();
    assert!(start.elapsed() > Duration::from_secs(5), "it waited for the node");
    assert!(start.elapsed() <= Duration::from_secs(15), "but not forever");
}

#[tokio::test(start_paused = true)]
async fn a_hung_node_delays_the_next_holder_of_a_name_only_once() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    nodes[0].hang();
    let mut waits = Vec::new();
    for _ in 0..4 {
        let start = Instant::now();
        let lock = redlock.acquire("r", TTL).await.unwrap();
        waits.push(start.elapsed());
        assert_eq!(lock.release().await.unwrap(), Release::Released);
    }
    assert_eq!(waits, [0, 50, 0, 0].map(ms), "the node has to say once whether another process waits");
    nodes[0].resume();
    tokio::time::sleep(ms(1)).await;
    nodes[0].hang();
    drop(redlock.acquire("r", TTL).await.unwrap());
    let start = Instant::now();
    drop(redlock.acquire("r", TTL).await.unwrap());
    assert_eq!(start.elapsed(), ms(50), "it has answered since");
}
