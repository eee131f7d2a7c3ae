//! Small promises of the API: what the builder sets, how many requests a call sends, and what errors report.

use std::{sync::Arc, time::Duration};

use redlock_core::{
    AcquireError, AcquireOptions, BuildError, CloseError, Drift, LockNode, NodeErrorKind, Owner, Redlock, Release,
    ReleaseError, Resource, Retry, RoundFailure,
    algorithm::Next,
    backend::{DescribeRequest, InspectRequest},
    testing::{Entropy, EntropyError, TokioClock},
};
use redlock_mock::{Fault, MockNode};
use tokio::time::Instant;

use crate::support::{SameByte, ms, redlock};

const TTL: Duration = Duration::from_secs(10);

#[tokio::test(start_paused = true)]
async fn each_node_receives_one_request_for_each_step() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    let mut lock = redlock.acquire("r", TTL).await.unwrap();
    lock.extend(TTL).await.unwrap();
    let _ = lock.release().await.unwrap();
    redlock.close().await.unwrap();
    assert!(nodes.iter().all(|node| node.requests() == 3));
    drop(redlock.acquire("r", TTL).await.unwrap());
    redlock.close().await.unwrap();
    assert!(nodes.iter().all(|node| node.requests() == 5));
}

#[tokio::test(start_paused = true)]
async fn a_release_without_a_quorum_of_answers_is_an_unknown_outcome() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    let lock = redlock.acquire("r", TTL).await.unwrap();
    nodes[0].remove("r");
    nodes[1].stop();
    nodes[2].hang();
    let error = lock.release().await.unwrap_err();
    assert!(matches!(error, ReleaseError::Unknown { .. }), "{error}");
    assert_eq!(error.votes().unwrap().granted(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_last_round_is_cut_off_at_the_deadline() {
    let nodes = MockNode::fleet(3);
    nodes.iter().for_each(|node| node.set("r", "another", None));
    let redlock = redlock(&nodes);
    let call = tokio::spawn(async move {
        let start = Instant::now();
        let options = AcquireOptions::new(TTL).timeout(ms(250)).retry(Retry::attempts(9).jitter(Duration::ZERO));
        (redlock.acquire("r", options).await, start.elapsed())
    });
    tokio::time::sleep(ms(100)).await;
    nodes.iter().for_each(MockNode::hang);
    let (acquired, elapsed) = call.await.unwrap();
    let AcquireError::TimedOut(tried) = acquired.unwrap_err() else { unreachable!() };
    assert_eq!((tried.made, tried.failure, elapsed), (2, RoundFailure::Contended, ms(250)));
}

#[tokio::test(start_paused = true)]
async fn a_single_attempt_that_the_deadline_cuts_off_is_reported_as_timed_out() {
    let nodes: Vec<_> = MockNode::fleet(3).into_iter().map(|node| node.with_latency(ms(60))).collect();
    let options = AcquireOptions::new(TTL).retry(Retry::never()).timeout(ms(50));
    let error = redlock(&nodes).acquire("r", options).await.unwrap_err();
    assert!(matches!(error, AcquireError::TimedOut(_)), "{error}");
}

#[tokio::test(start_paused = true)]
async fn every_setting_of_the_builder_takes_effect() {
    let nodes = MockNode::fleet(3);
    let builder = || Redlock::builder().nodes(nodes.clone()).clock(TokioClock::default());

    let drift = Drift::new(0.5, ms(1_000)).unwrap();
    let lock = builder().drift(drift).build().unwrap().acquire("a", TTL).await.unwrap();
    assert_eq!(lock.validity(), ms(4_000));

    nodes.iter().for_each(|node| node.set("b", "another", None));
    let brief = Retry::attempts(3).fixed(ms(1)).jitter(Duration::ZERO);
    let error = builder().retry(brief).build().unwrap().acquire("b", TTL).await.unwrap_err();
    assert_eq!(error.attempts().unwrap().made, 3);

    let owner = Owner::new("web-3").unwrap();
    let lock = builder().owner(owner).key_prefix("app:").build().unwrap().acquire("a", TTL).await.unwrap();
    assert_eq!((lock.resource(), lock.token().owner()), ("a", Some("web-3")));
    assert_eq!(nodes[0].peek("app:a").as_deref(), Some(lock.token().as_bytes()));

    nodes.iter().for_each(MockNode::hang);
    let start = Instant::now();
    builder().node_timeout(ms(77)).build().unwrap().try_acquire("c", TTL).await.unwrap_err();
    assert_eq!(start.elapsed(), ms(77));

    let zero = builder().node_timeout(Duration::ZERO).build();
    assert_eq!(zero.unwrap_err(), BuildError::ZeroNodeTimeout);
    let len = Resource::MAX_LEN;
    let prefix = |len: usize| builder().key_prefix("x".repeat(len)).build();
    assert_eq!(prefix(len).unwrap_err(), BuildError::KeyPrefixTooLong { len });
    assert!(prefix(len + 1).is_err() && prefix(len - 1).is_ok());
    let twice = builder().node(nodes[1].clone()).build();
    assert_eq!(twice.unwrap_err(), BuildError::DuplicateNode { name: "node-2".into() });
    let none: [MockNode; 0] = [];
    assert_eq!(Redlock::new(none).unwrap_err(), BuildError::NoNodes);
}

#[tokio::test(start_paused = true)]
async fn close_reports_the_tasks_that_it_did_not_wait_for() {
    let nodes = MockNode::fleet(3);
    let never = MockNode::new("never").with_response_timeout(Duration::from_secs(1_000_000));
    let builder = Redlock::builder().nodes(nodes).node(never.clone()).clock(TokioClock::default());
    let redlock = builder.node_timeout(Duration::from_secs(20)).build().unwrap();
    never.hang();
    let lock = redlock.acquire("r", 10 * TTL).await.unwrap();
    let start = Instant::now();
    let error = redlock.close().await.unwrap_err();
    assert_eq!(start.elapsed(), Duration::from_secs(15));
    assert_eq!(error, CloseError::Unfinished { tasks: 1, owed: vec![] });
    let _ = lock.release().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_arc_of_a_node_is_a_node() {
    let node = MockNode::new("shared");
    let shared: Arc<dyn LockNode> = Arc::new(node.clone());
    let redlock = Redlock::builder().node(Arc::new(shared)).clock(TokioClock::default()).build().unwrap();
    let mut lock = redlock.acquire("r", TTL).await.unwrap();
    lock.extend(2 * TTL).await.unwrap();
    assert_eq!(node.remaining("r"), Some(2 * TTL));
    let look = InspectRequest::new(Resource::new("r").unwrap());
    let shared = Arc::new(node.clone());
    assert_eq!(shared.inspect(&look).await.unwrap(), node.inspect(&look).await.unwrap());
    let describe = DescribeRequest::new(Resource::new("r").unwrap());
    assert_eq!(shared.describe(&describe).await.unwrap().run_id, node.describe(&describe).await.unwrap().run_id);
    assert_eq!(LockNode::name(&shared), "shared");
    assert_eq!(lock.release().await.unwrap(), Release::Released);
    assert_eq!(node.peek("r"), None);
}

#[tokio::test(start_paused = true)]
async fn without_randomness_no_lock_is_acquired() {
    #[derive(Debug)]
    struct Dry;

    impl Entropy for Dry {
        fn fill(&self, _: &mut [u8]) -> Result<(), EntropyError> {
            Err(EntropyError("dry".into()))
        }
    }

    let nodes = MockNode::fleet(3);
    let redlock = Redlock::builder().nodes(nodes.clone()).entropy(Dry).build().unwrap();
    let error = redlock.acquire("r", TTL).await.unwrap_err();
    assert!(matches!(error, AcquireError::Entropy(_)), "{error}");
    assert_eq!(nodes[0].requests(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_random_source_decides_the_jitter() {
    for byte in [0, 7, 0x5a, 0xff] {
        let nodes = MockNode::fleet(3);
        nodes.iter().for_each(|node| node.set("r", "another", None));
        let retry = Retry::attempts(2).fixed(ms(500)).jitter(ms(500));
        let Next::After(pause) = retry.next(1, Duration::ZERO, None, u64::from_ne_bytes([byte; 8])) else { panic!() };
        let builder = Redlock::builder().nodes(nodes).clock(TokioClock::default()).entropy(SameByte(byte)).retry(retry);
        let start = Instant::now();
        builder.build().unwrap().acquire("r", TTL).await.unwrap_err();
        // Tokio's timers count whole milliseconds.
        assert!((pause..=pause + ms(1)).contains(&start.elapsed()), "{pause:?} became {:?}", start.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_answer_names_its_kind_and_cause() {
    let nodes = MockNode::fleet(1);
    nodes[0].inject(Fault::Fail(NodeErrorKind::ReadOnly));
    let error = redlock(&nodes).try_acquire("r", TTL).await.unwrap_err().to_string();
    assert!(error.contains("node-1 failed (read-only); use a primary's address"), "{error}");
}
