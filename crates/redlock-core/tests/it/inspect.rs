//! Inspecting locks: who holds them, for how long, and the result when nodes do not answer.

use std::{task::Poll, time::Duration};

use redlock_core::{
    Finding, InspectError, KeyState, LockNode, NodeError, Owner, Redlock,
    backend::{AcquireAnswer, AcquireRequest, ExtendAnswer, ExtendRequest, ReleaseAnswer, ReleaseRequest, Timed},
    testing::TokioClock,
};
use redlock_mock::{Fault, MockNode};
use tokio::time::{Instant, sleep, timeout};

use crate::support::{ms, poll_once, redlock};

const TTL: Duration = Duration::from_secs(10);
/// How long an inspection waits for a node by default.
const NODE_TIMEOUT: Duration = Duration::from_millis(500);
const DIGITS: &str = "5f0c6c1be1c8b4b4e0d7f3c2a1908f7e6d5c4b3a";

/// Sets the key on each node to a value that expires after the given number of seconds, or removes it.
fn set(nodes: &[MockNode], held: &[Option<(&str, u64)>]) {
    for (node, held) in nodes.iter().zip(held) {
        match held {
            Some((value, left)) => node.set("r", value, Some(Duration::from_secs(*left))),
            None => node.remove("r"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_inspection_reports_the_holder_and_the_remaining_time() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    let lock = redlock.acquire("r", TTL).await.unwrap();
    sleep(ms(1_500)).await;
    let inspection = redlock.inspect("r").await.unwrap();
    let holder = inspection.holder().unwrap();
    assert_eq!((holder.value(), holder.owner()), (lock.token().as_bytes(), None));
    assert_eq!(holder.remaining(), Some(ms(8_500)));
    assert_eq!((inspection.is_locked(), inspection.resource(), inspection.needed()), (Some(true), "r", 2));
    let names: Vec<_> = inspection.nodes().iter().map(|view| view.node.as_str()).collect();
    assert_eq!(names, ["node-1", "node-2", "node-3"]);
    assert!(inspection.nodes().iter().all(|view| view.state.holder() == Some(holder)));
    assert_eq!(redlock.remaining("r").await.unwrap(), Some(ms(8_500)));
    assert!(redlock.is_locked("r").await.unwrap());

    let _ = lock.release().await.unwrap();
    let inspection = redlock.inspect("r").await.unwrap();
    assert_eq!((inspection.finding(), inspection.holder()), (&Finding::Free, None));
    assert!(inspection.nodes().iter().all(|view| matches!(view.state, KeyState::Absent)));
    assert!(!redlock.is_locked("r").await.unwrap());
    assert_eq!(redlock.remaining("r").await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn a_lock_is_held_until_a_quorum_no_longer_holds_it() {
    let nodes = MockNode::fleet(5);
    let redlock = redlock(&nodes);
    set(&nodes, &[Some(("a", 1)), Some(("a", 9)), Some(("b", 99)), Some(("a", 5)), Some(("a", 3))]);
    assert_eq!(redlock.remaining("r").await.unwrap(), Some(ms(3_000)));
    sleep(ms(3_000)).await;
    // At the exact moment of its expiry, a key still exists.
    assert_eq!(redlock.remaining("r").await.unwrap(), Some(Duration::ZERO));
    sleep(ms(1)).await;
    assert!(!redlock.is_locked("r").await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_lock_without_expiry_is_reported_as_such() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    nodes[..2].iter().for_each(|node| node.set("r", "a", None));
    let inspection = redlock.inspect("r").await.unwrap();
    assert_eq!(inspection.holder().unwrap().remaining(), None);
    assert_eq!(redlock.remaining("r").await.unwrap(), Some(Duration::MAX));
    assert!(inspection.to_string().starts_with(r#""r" is held by "a" (no expiry): on 2 of 3 nodes, 2 needed"#));
}

#[tokio::test(start_paused = true)]
async fn a_free_lock_and_a_split_vote_are_distinguished() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    for (held, finding, text) in [
        ([None, None, None], Finding::Free, r#""r" is free: 3 of 3 nodes answered, 0 with a token"#),
        ([Some(("a", 9)), None, None], Finding::Free, r#""r" is free: 3 of 3 nodes answered, 1 with a token"#),
        (
            [Some(("a", 9)), Some(("b", 9)), None],
            Finding::Split,
            r#""r" is held by nobody: 2 of 3 nodes hold tokens, no 2 the same"#,
        ),
    ] {
        set(&nodes, &held);
        let inspection = redlock.inspect("r").await.unwrap();
        assert_eq!(inspection.finding(), &finding);
        assert_eq!((inspection.is_locked(), inspection.holder()), (Some(false), None));
        assert_eq!(inspection.to_string().lines().next(), Some(text));
        assert!(!redlock.is_locked("r").await.unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn too_few_answers_are_an_error_and_no_guess() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    let lock = redlock.acquire("r", TTL).await.unwrap();
    nodes[0].hang();
    nodes[1].stop();
    let inspection = redlock.inspect("r").await.unwrap();
    assert_eq!((inspection.is_locked(), inspection.finding()), (None, &Finding::Unknown));
    let error = redlock.is_locked("r").await.unwrap_err();
    let beginning = lock.token().as_str().get(..8).unwrap();
    assert_eq!(
        error.to_string(),
        format!(
            "unknown whether \"r\" is held: 1 of 3 nodes answered, too few to decide: node-1 did not answer within \
             500ms, node-2 failed (unreachable), node-3 {beginning}... (9s left); look for a hung or overloaded node, \
             or raise the node timeout"
        )
    );
    let InspectError::TooFewAnswers(inspection) = redlock.remaining("r").await.unwrap_err() else { panic!() };
    assert!(matches!(inspection.nodes()[0].state, KeyState::Silent { after: NODE_TIMEOUT }));
    assert!(matches!(inspection.nodes()[1].state, KeyState::Failed(_)));
}

#[tokio::test(start_paused = true)]
async fn an_inspection_is_certain_without_a_minority() {
    let nodes = MockNode::fleet(5);
    let redlock = redlock(&nodes);
    let _lock = redlock.acquire("r", TTL).await.unwrap();
    nodes[0].hang();
    nodes[1].stop();
    let start = Instant::now();
    assert!(redlock.is_locked("r").await.unwrap());
    assert!(!redlock.is_locked("other").await.unwrap());
    // It waits for all nodes, because it reports on each of them.
    assert_eq!(start.elapsed(), 2 * NODE_TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn an_inspection_waits_for_a_node_for_the_node_timeout_that_was_set() {
    let nodes = MockNode::fleet(3);
    nodes[0].hang();
    let builder = Redlock::builder().nodes(nodes.clone()).clock(TokioClock::default()).node_timeout(ms(70));
    let start = Instant::now();
    let inspection = builder.build().unwrap().inspect("r").await.unwrap();
    assert_eq!(start.elapsed(), ms(70));
    assert!(matches!(inspection.nodes()[0].state, KeyState::Silent { after } if after == ms(70)));
}

#[tokio::test(start_paused = true)]
async fn remaining_times_count_from_the_end_of_the_inspection() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    set(&nodes, &[Some(("a", 10)); 3]);
    nodes[2].hang();
    let remaining = redlock.remaining("r").await.unwrap();
    assert_eq!(remaining, Some(TTL - NODE_TIMEOUT));
    assert_eq!(nodes[0].remaining("r"), remaining);
    // A slow answer may be from any moment during the exchange, so this is the least that remains.
    nodes[2].resume();
    nodes[1].inject(Fault::DelayAnswer(ms(200)));
    nodes[2].inject(Fault::DelayRequest(ms(200)));
    let inspection = redlock.inspect("r").await.unwrap();
    let left: Vec<_> =
        inspection.nodes().iter().map(|view| view.state.holder().unwrap().remaining().unwrap()).collect();
    assert_eq!(left, [ms(9_300), ms(9_300), ms(9_100)]);
    assert_eq!(nodes[0].remaining("r"), Some(ms(9_300)));
}

#[tokio::test(start_paused = true)]
async fn an_inspection_changes_nothing() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    set(&nodes, &[Some(("a", 10)), Some(("b", 20)), None]);
    for _ in 0..3 {
        redlock.inspect("r").await.unwrap();
    }
    redlock.close().await.unwrap();
    assert!(nodes.iter().all(|node| node.requests() == 3));
    assert_eq!((nodes[0].peek("r").as_deref(), nodes[0].remaining("r")), (Some(b"a".as_slice()), Some(TTL)));
    assert_eq!((nodes[1].peek("r").as_deref(), nodes[1].remaining("r")), (Some(b"b".as_slice()), Some(2 * TTL)));
    assert_eq!(nodes[2].peek("r"), None);
}

#[tokio::test(start_paused = true)]
async fn an_inspection_is_printed_as_a_table_without_secrets() {
    let nodes = ["10.0.0.1:6379", "b", "10.0.0.13:6379", "c", "d"].map(MockNode::new);
    let redlock = redlock(&nodes);
    let owned = format!("{DIGITS}:web-3:4711");
    set(&nodes, &[Some((owned.as_str(), 8)), Some((&owned, 7)), Some((&owned, 9)), Some(("\u{1b}[2J\nforged", 9))]);
    nodes[4].stop();
    let inspection = redlock.inspect("r").await.unwrap();
    let table = [
        r#""r" is held by 5f0c6c1b... of "web-3:4711" (7s left): on 3 of 5 nodes, 3 needed"#,
        r#"  10.0.0.1:6379   5f0c6c1b... of "web-3:4711" (8s left)"#,
        r#"  b               5f0c6c1b... of "web-3:4711" (7s left)"#,
        r#"  10.0.0.13:6379  5f0c6c1b... of "web-3:4711" (9s left)"#,
        r#"  c               "\x1b[2J\n"... (11 bytes) (9s left)"#,
        r#"  d               failed (unreachable)"#,
        "check that the node runs and that its address, port and TLS settings are right",
    ];
    assert_eq!(inspection.to_string(), table.join("\n"));
    for printed in [format!("{inspection}"), format!("{inspection:?}"), format!("{inspection:#?}")] {
        assert!(!printed.contains(&DIGITS[..12]) && !printed.contains("forged"), "{printed}");
    }
    assert_eq!(inspection.holder().unwrap().owner(), Some("web-3:4711"));
    assert_eq!(inspection.holder().unwrap().value(), owned.as_bytes());
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_no_lock_is_reported() {
    let nodes = MockNode::fleet(3);
    nodes.iter().for_each(|node| node.set_list("r"));
    let error = redlock(&nodes).is_locked("r").await.unwrap_err().to_string();
    assert!(error.ends_with("the key is used for something else: choose another resource name"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_bad_name_is_rejected_before_anything_is_sent() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    assert!(matches!(redlock.inspect("").await, Err(InspectError::Resource(_))));
    assert!(matches!(redlock.is_locked("x".repeat(100_000)).await, Err(InspectError::Resource(_))));
    assert!(matches!(redlock.remaining("").await, Err(InspectError::Resource(_))));
    assert_eq!(nodes[0].requests(), 0);
}

#[test]
fn without_a_runtime_an_inspection_is_an_error() {
    let redlock = Redlock::new(MockNode::fleet(3)).unwrap();
    let Poll::Ready(Err(error)) = poll_once(redlock.inspect("r")) else { panic!() };
    assert!(matches!(error, InspectError::NoRuntime));
}

#[tokio::test(start_paused = true)]
async fn the_future_of_an_inspection_can_be_spawned() {
    let redlock = redlock(&MockNode::fleet(3));
    let looks = tokio::spawn(async move { (redlock.inspect("r").await.is_ok(), redlock.is_locked("r").await) });
    assert!(matches!(looks.await.unwrap(), (true, Ok(false))));
}

#[tokio::test(start_paused = true)]
async fn late_requests_are_finished_in_the_background_even_after_a_cancelled_call() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    nodes[1].inject(Fault::DelayAnswer(ms(700)));
    let start = Instant::now();
    redlock.inspect("r").await.unwrap();
    redlock.close().await.unwrap();
    assert_eq!(start.elapsed(), ms(700));

    nodes[0].hang();
    assert!(timeout(ms(10), redlock.inspect("r")).await.is_err());
    let start = Instant::now();
    redlock.close().await.unwrap();
    // The client gives up after a second.
    assert_eq!(start.elapsed(), ms(990));
    nodes[0].resume();
    let _ = redlock.acquire("r", TTL).await.unwrap().release().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_hung_node_owes_a_bounded_number_of_answers_to_inspections() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    nodes[2].hang();
    let mut tasks = tokio::task::JoinSet::new();
    for i in 0..500 {
        let redlock = redlock.clone();
        tasks.spawn(async move {
            sleep(ms(i)).await;
            redlock.inspect("r").await.unwrap().is_locked()
        });
    }
    while let Some(locked) = tasks.join_next().await {
        assert_eq!(locked.unwrap(), Some(false), "the other nodes decide");
    }
    // All 500 were sent before the first was overdue, and none was sent once 64 were.
    for _ in 0..500 {
        let redlock = redlock.clone();
        tasks.spawn(async move { redlock.inspect("r").await.unwrap().is_locked() });
    }
    tasks.join_all().await;
    assert_eq!(nodes[2].requests(), 500);
    // Once it resumes, it owes nothing and is queried again.
    nodes[2].resume();
    redlock.close().await.unwrap();
    let lock = redlock.acquire("r", TTL).await.unwrap();
    redlock.close().await.unwrap();
    assert_eq!(nodes[2].peek("r").as_deref(), Some(lock.token().as_bytes()));
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_cannot_inspect_is_reported() {
    /// A backend that does not implement `inspect`.
    #[derive(Debug)]
    struct Blind(MockNode);

    #[async_trait::async_trait]
    impl LockNode for Blind {
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

    let nodes = MockNode::fleet(3);
    let builder = Redlock::builder().node(Blind(nodes[0].clone())).nodes(nodes[1..].to_vec());
    let redlock = builder.clock(TokioClock::default()).build().unwrap();
    let _lock = redlock.acquire("r", TTL).await.unwrap();
    let inspection = redlock.inspect("r").await.unwrap();
    assert!(inspection.to_string().contains("node-1  failed (not supported)"), "{inspection}");
    assert_eq!(inspection.is_locked(), Some(true));
}

#[tokio::test(start_paused = true)]
async fn a_lock_with_a_prefix_and_an_owner_is_looked_up_by_its_name() {
    let nodes = MockNode::fleet(3);
    let builder = Redlock::builder().nodes(nodes.clone()).clock(TokioClock::default());
    let redlock = builder.key_prefix("lock:").owner(Owner::new("web-3").unwrap()).build().unwrap();
    let _lock = redlock.acquire("r", TTL).await.unwrap();
    let inspection = redlock.inspect("r").await.unwrap();
    assert_eq!((inspection.resource(), nodes[0].resources()), ("r", vec!["lock:r".to_owned()]));
    assert_eq!(inspection.holder().unwrap().owner(), Some("web-3"));
}
