//! What takes how long, in virtual time: hung nodes, deadlines, validity, and the bounds of background work.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use redlock_core::{AcquireError, AcquireOptions, ExtendError, Redlock, Release, Retry, TokioClock, TtlError};
use redlock_mock::{Fault, Memory, MockNode};
use tokio::time::Instant;

const TTL: Duration = Duration::from_secs(10);
/// The default node timeout at this ttl.
const NODE_TIMEOUT: Duration = Duration::from_millis(200);

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn redlock(nodes: &[MockNode]) -> Redlock {
    Redlock::builder().nodes(nodes.iter().cloned()).clock(TokioClock::default()).build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_hung_minority_costs_no_time() {
    let nodes = MockNode::fleet(5);
    nodes[0].hang();
    nodes[3].hang();
    let redlock = redlock(&nodes);
    let start = Instant::now();
    let mut lock = redlock.acquire("r", TTL).await.unwrap();
    lock.extend(TTL).await.unwrap();
    assert_eq!(lock.release().await.unwrap(), Release::Released);
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_hung_majority_is_given_up_after_the_node_timeout() {
    let nodes = MockNode::fleet(3);
    nodes[0].hang();
    nodes[1].hang();
    let start = Instant::now();
    let error = redlock(&nodes).try_acquire("r", TTL).await.unwrap_err();
    assert!(matches!(error, AcquireError::NoQuorum(_)), "{error}");
    assert_eq!(start.elapsed(), NODE_TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn a_release_returns_within_the_node_timeout() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    let lock = redlock.acquire("r", TTL).await.unwrap();
    nodes[0].hang();
    nodes[1].hang();
    let start = Instant::now();
    let error = lock.release().await.unwrap_err();
    assert_eq!(start.elapsed(), NODE_TIMEOUT);
    assert_eq!(
        error.to_string(),
        "unknown whether the lock on \"r\" was released; its ttl ends it; 1 of 3 released, 2 needed: node-1 had not \
         answered after 200ms, node-2 had not answered after 200ms, node-3 released; look for a hung or overloaded \
         node, or raise the node timeout"
    );
}

#[tokio::test(start_paused = true)]
async fn validity_counts_from_before_the_first_byte() {
    let nodes: Vec<_> = MockNode::fleet(3).into_iter().map(|node| node.with_latency(ms(30))).collect();
    let redlock = redlock(&nodes);
    let lock = redlock.acquire("r", TTL).await.unwrap();
    // 10 s less 102 ms for drift, less the 30 ms that the round took.
    assert_eq!(lock.validity(), ms(9_868));
    assert_eq!(lock.valid_until(), Instant::now() + ms(9_868));
    tokio::time::advance(ms(9_867)).await;
    assert!(lock.is_valid());
    tokio::time::advance(ms(1)).await;
    assert!(!lock.is_valid());
    assert_eq!(lock.validity(), Duration::ZERO);
    tokio::time::advance(TTL).await;
    assert_eq!(lock.release().await.unwrap(), Release::AlreadyGone);
}

#[tokio::test(start_paused = true)]
async fn a_quorum_that_comes_too_late_is_lost_and_given_back() {
    /// A process that is suspended while it sends: the first reading of the clock is before, all others after.
    #[derive(Debug)]
    struct Suspended(std::sync::atomic::AtomicU32, TokioClock);

    impl redlock_core::Clock for Suspended {
        fn now(&self) -> Duration {
            let readings = self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            self.1.now() + if readings < 2 { Duration::ZERO } else { Duration::from_secs(60) }
        }
    }

    let nodes = MockNode::fleet(3);
    let clock = Suspended(0.into(), TokioClock::default());
    let redlock = Redlock::builder().nodes(nodes.clone()).clock(clock).build().unwrap();
    let error = redlock.try_acquire("r", TTL).await.unwrap_err();
    assert!(matches!(error, AcquireError::TooSlow(_)), "{error}");
    redlock.close().await.unwrap();
    assert!(nodes.iter().all(|node| node.resources().is_empty()));
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_the_call_whatever_is_in_flight() {
    let nodes = MockNode::fleet(3);
    nodes.iter().for_each(MockNode::hang);
    let start = Instant::now();
    let options = AcquireOptions::new(TTL).deadline(ms(50));
    let error = redlock(&nodes).acquire("r", options).await.unwrap_err();
    assert_eq!(start.elapsed(), ms(50));
    assert!(matches!(error, AcquireError::Deadline(_)), "{error}");
    assert!(!error.is_contended());
}

#[tokio::test(start_paused = true)]
async fn a_deadline_makes_as_many_attempts_as_fit_in() {
    let nodes = MockNode::fleet(3);
    nodes.iter().for_each(|node| node.set("r", "another", None));
    let start = Instant::now();
    let options = AcquireOptions::new(TTL).deadline(Duration::from_secs(60));
    let error = redlock(&nodes).acquire("r", options).await.unwrap_err();
    assert!(error.is_contended());
    assert!(start.elapsed() <= Duration::from_secs(60) && start.elapsed() >= Duration::from_secs(59));
    let AcquireError::Deadline(tried) = error else { panic!("{error}") };
    assert!((200..=600).contains(&tried.made), "a pause of 100 to 300 ms, not {} attempts", tried.made);
}

#[tokio::test(start_paused = true)]
async fn a_waiter_wakes_when_the_holders_ttl_ends() {
    let nodes = MockNode::fleet(3);
    nodes.iter().for_each(|node| node.set("r", "crashed", Some(ms(37))));
    let redlock = redlock(&nodes);
    let start = Instant::now();
    let patient = Retry::attempts(2).fixed(Duration::from_secs(5)).jitter(Duration::ZERO);
    let lock = redlock.acquire("r", AcquireOptions::new(TTL).retry(patient)).await.unwrap();
    assert_eq!(start.elapsed(), ms(38));
    drop(lock);
}

#[tokio::test(start_paused = true)]
async fn there_is_no_pause_after_the_last_attempt() {
    let nodes = MockNode::fleet(3);
    nodes.iter().for_each(|node| node.set("r", "another", None));
    let start = Instant::now();
    let twice = Retry::attempts(2).fixed(ms(100)).jitter(Duration::ZERO);
    let error = redlock(&nodes).acquire("r", AcquireOptions::new(TTL).retry(twice)).await.unwrap_err();
    assert_eq!(start.elapsed(), ms(100));
    assert_eq!(error.attempts().unwrap().made, 2);
}

#[tokio::test(start_paused = true)]
async fn an_extend_must_be_confirmed_before_the_validity_ends() {
    let nodes: Vec<_> = MockNode::fleet(3).into_iter().map(|node| node.with_latency(ms(100))).collect();
    let redlock = redlock(&nodes);
    let mut lock = redlock.acquire("r", TTL).await.unwrap();
    tokio::time::advance(lock.validity() - ms(50)).await;
    let error = lock.extend(TTL).await.unwrap_err();
    assert!(matches!(error, ExtendError::TooSlow { .. }), "{error}");
    assert!(!lock.is_valid());
    let error = lock.extend(TTL).await.unwrap_err();
    assert!(matches!(error, ExtendError::Expired { .. }), "an extend never revives a lost lock: {error}");
}

#[tokio::test(start_paused = true)]
async fn a_failed_extend_keeps_the_lock_and_its_deadline() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    let mut lock = redlock.acquire("r", TTL).await.unwrap();
    let until = lock.valid_until();
    nodes[0].stop();
    nodes[1].stop();
    let error = lock.extend(2 * TTL).await.unwrap_err();
    assert!(matches!(error, ExtendError::NoQuorum { .. }), "{error}");
    assert_eq!(lock.valid_until(), until);
    nodes[0].start(Memory::Kept);
    assert_eq!(lock.release().await.unwrap(), Release::Released);
}

#[tokio::test(start_paused = true)]
async fn a_failed_extend_to_a_shorter_ttl_leaves_the_shorter_validity() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    let mut lock = redlock.acquire("r", TTL).await.unwrap();
    nodes[0].stop();
    nodes[1].stop();
    lock.extend(TTL / 2).await.unwrap_err();
    assert_eq!(lock.validity(), ms(4_948));
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_another_took_is_lost_at_once() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    let mut lock = redlock.acquire("r", TTL).await.unwrap();
    nodes[1].set("r", "another", None);
    nodes[2].set("r", "another", None);
    let error = lock.extend(TTL).await.unwrap_err();
    assert!(matches!(error, ExtendError::Lost { .. }), "{error}");
    assert!(!lock.is_valid());
}

#[tokio::test(start_paused = true)]
async fn a_node_that_owes_too_many_answers_is_not_asked_until_it_answers() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    // One wave outlives the node timeout, and so the next finds the node in debt.
    nodes[2].hang();
    for wave in 0..2 {
        for i in 0..100 {
            let lock = redlock.acquire(format!("{wave}:{i}"), TTL).await.unwrap();
            lock.release().await.unwrap();
        }
        tokio::time::sleep(NODE_TIMEOUT + ms(1)).await;
    }
    let asked = nodes[2].requests();
    assert!((100..200).contains(&asked), "one wave and a few releases, not {asked} requests");
    nodes[2].resume();
    redlock.close().await.unwrap();
    drop(redlock.acquire("after", TTL).await.unwrap());
    assert!(nodes[2].requests() > asked, "the node is asked again");
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
    redlock.close().await.unwrap();
    assert!(start.elapsed() > Duration::from_secs(5), "it did wait for the node");
    assert!(start.elapsed() < Duration::from_secs(15), "but not for ever");
}

#[tokio::test(start_paused = true)]
async fn a_ttl_must_outlast_a_slow_node() {
    let redlock = redlock(&MockNode::fleet(3));
    let error = redlock.acquire("r", ms(40)).await.unwrap_err();
    assert!(matches!(error, AcquireError::Ttl(TtlError::TooShort { .. })), "{error}");
    assert_eq!(
        error.to_string(),
        "the ttl of 40ms is too short: a node may take 50ms to answer and 2.4ms are kept for clock drift; use a longer \
         ttl or a shorter node timeout"
    );
}

#[tokio::test(start_paused = true)]
async fn an_error_names_every_node_and_what_to_do() {
    let nodes = MockNode::fleet(5);
    nodes[0].set("invoice:42", "another", Some(ms(1_200)));
    nodes[2].inject(Fault::Fail(redlock_core::NodeErrorKind::Authentication));
    nodes[3].stop();
    nodes[4].hang();
    let error = redlock(&nodes).try_acquire("invoice:42", TTL).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "could not lock \"invoice:42\": held by others; 1 round in 0s; in the last 1 of 5 granted, 3 needed: node-1 \
         held by another (1.2s left), node-2 granted, node-3 failed (authentication failed), node-4 failed \
         (unreachable), node-5 had not answered after 0s; check the user and the password in the node's URL"
    );
}
