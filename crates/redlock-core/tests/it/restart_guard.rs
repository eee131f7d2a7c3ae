//! The restart guard as the driver uses it: what it rejects before anything is sent, and what its errors report.

use std::{task::Poll, time::Duration};

use redlock_core::{
    AcquireError, AcquireOptions, BuildError, InitializeError, NodeErrorKind, Redlock, RedlockBuilder, Retry, TtlError,
};
use redlock_mock::{Fault, Memory, MockNode};
use tokio::time::{Instant, advance, sleep};

use crate::support::{self, ms, once, poll_once};

const LONGEST: Duration = Duration::from_secs(10);
const MARKER: &str = "redlock:restart-guard";

fn builder(nodes: &[MockNode]) -> RedlockBuilder {
    support::builder(nodes).restart_guard(LONGEST)
}

async fn open(nodes: &[MockNode]) -> Redlock {
    let redlock = builder(nodes).build().unwrap();
    redlock.initialize().await.unwrap();
    redlock
}

#[tokio::test(start_paused = true)]
async fn a_node_that_restarts_grants_nothing_for_the_longest_ttl_whatever_it_remembers() {
    for memory in [Memory::Kept, Memory::LastSecondLost, Memory::Lost] {
        let nodes = MockNode::fleet(1);
        let redlock = open(&nodes).await;
        let _ = redlock.try_acquire("r", LONGEST).await.unwrap().unwrap().release().await.unwrap();
        sleep(ms(5_000)).await;
        nodes[0].restart(memory);
        let error = redlock.acquire("r", once(LONGEST)).await.unwrap_err().to_string();
        assert!(error.contains("node-1 in quarantine after a restart (10s left)"), "{memory:?}: {error}");
        let start = Instant::now();
        // It attempts rarely until shortly before the end: if the quarantine ended too early, the next attempt would
        // succeed too.
        while start.elapsed() < LONGEST - ms(100) {
            assert!(redlock.acquire("r", once(LONGEST)).await.is_err(), "{memory:?}: {:?}", start.elapsed());
            sleep(ms(49)).await;
        }
        let retry = Retry::timeout(Duration::from_secs(60)).fixed(ms(1)).jitter(Duration::ZERO);
        let _ = redlock.acquire("r", AcquireOptions::new(LONGEST).retry(retry)).await.unwrap().release().await.unwrap();
        let took = start.elapsed();
        assert!(took >= LONGEST && took <= LONGEST + ms(5), "{memory:?}: {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_back_extends_no_quarantine_beyond_the_longest_ttl() {
    let nodes = MockNode::fleet(1);
    let redlock = builder(&nodes).build().unwrap();
    redlock.acquire("r", once(LONGEST)).await.unwrap_err();
    nodes[0].jump_clock(-3_600_000);
    advance(ms(1)).await;
    redlock.acquire("r", once(LONGEST)).await.unwrap_err();
    sleep(LONGEST).await;
    let _ = redlock.try_acquire("r", LONGEST).await.unwrap().unwrap().release().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn nodes_that_are_in_use_or_silent_are_named_and_nothing_is_opened() {
    let nodes = MockNode::fleet(3);
    let redlock = builder(&nodes).build().unwrap();
    nodes[1].inject(Fault::Refuse);
    let error = redlock.initialize().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the fleet was not opened: not all nodes answered; node-2 failed (unreachable); check that the node runs and that \
         its address, port and TLS settings are right"
    );
    assert!(nodes.iter().all(|node| node.peek(MARKER).is_none()));

    nodes[2].set(MARKER, "7 10000 0", None);
    let error = redlock.initialize().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the fleet is in use and was not opened: node-3 is guarded already; it opens by itself"
    );
    nodes[0].set(MARKER, "7 10000 0", None);
    let error = redlock.initialize().await.unwrap_err().to_string();
    assert!(error.contains("node-1, node-3 are guarded already"), "{error}");
    assert!(nodes[1].peek(MARKER).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_node_that_fails_while_it_is_opened_opens_by_itself() {
    let nodes = MockNode::fleet(3);
    let redlock = builder(&nodes).build().unwrap();
    nodes[2].inject(Fault::None);
    nodes[2].inject(Fault::Refuse);
    let error = redlock.initialize().await.unwrap_err();
    assert!(matches!(&error, InitializeError::Failed { nodes } if nodes[0].0 == "node-3"), "{error}");
    // The two other nodes are a quorum.
    let _ = redlock.try_acquire("r", LONGEST).await.unwrap().unwrap().release().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn of_two_callers_that_open_a_fleet_at_once_neither_opens_a_node_that_restarted() {
    let nodes = MockNode::fleet(3);
    let (one, two) = (builder(&nodes).build().unwrap(), builder(&nodes).build().unwrap());
    // The answer to the second caller's first request comes late.
    nodes[2].inject(Fault::DelayAnswer(ms(900)));
    let late = tokio::spawn(async move { two.initialize().await });
    sleep(ms(1)).await;
    one.initialize().await.unwrap();
    nodes[2].inject(Fault::Refuse);
    let lock = one.try_acquire("r", LONGEST).await.unwrap().unwrap();
    nodes[0].restart(Memory::Lost);
    assert!(late.await.unwrap().is_err());
    let error = one.acquire("r", once(LONGEST)).await.unwrap_err();
    assert!(error.to_string().contains("node-1 in quarantine") && lock.check().is_ok(), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_guarded_node_that_forgot_its_last_data_issues_no_fencing_token_twice() {
    for memory in [Memory::Kept, Memory::LastSecondLost, Memory::Lost] {
        let nodes = MockNode::fleet(3);
        let redlock = builder(&nodes).fencing(true).build().unwrap();
        redlock.initialize().await.unwrap();
        let token = async || {
            let lock = redlock.acquire("r", AcquireOptions::new(LONGEST).timeout(6 * LONGEST)).await.unwrap();
            let token = lock.fencing_token().unwrap();
            let _ = lock.release().await.unwrap();
            token
        };
        token().await;
        sleep(ms(5_000)).await;
        // Never more than one node is down: the third misses a token, and the second loses its counter's last step.
        nodes[2].stop();
        let before = token().await;
        nodes[2].start(Memory::Kept);
        nodes[1].restart(memory);
        sleep(2 * LONGEST).await;
        nodes[0].stop();
        let after = token().await;
        assert!(after > before, "{memory:?}: {after} after {before}");
    }
}

#[tokio::test(start_paused = true)]
async fn beyond_the_promise_a_clock_that_is_corrected_after_the_start_ends_the_quarantine() {
    let nodes = MockNode::fleet(3);
    let redlock = open(&nodes).await;
    nodes[2].inject(Fault::Refuse);
    let first = redlock.try_acquire("r", LONGEST).await.unwrap().unwrap();
    nodes[1].jump_clock(-3_600_000);
    nodes[1].restart(Memory::Lost);
    advance(ms(10)).await;
    redlock.acquire("r", once(LONGEST)).await.unwrap_err();
    redlock.close().await.unwrap();
    nodes[1].jump_clock(3_600_000);
    let second = redlock.try_acquire("r", LONGEST).await.unwrap().unwrap();
    assert!(first.check().is_ok() && second.check().is_ok(), "two holders");
}

#[tokio::test(start_paused = true)]
async fn without_a_guard_there_is_nothing_to_open() {
    let redlock = Redlock::new(MockNode::fleet(1)).unwrap();
    assert!(matches!(redlock.initialize().await, Err(InitializeError::NoGuard)));
}

#[test]
fn without_a_runtime_nothing_is_opened() {
    let redlock = builder(&MockNode::fleet(1)).build().unwrap();
    let Poll::Ready(opened) = poll_once(redlock.initialize()) else { unreachable!() };
    assert!(matches!(opened, Err(InitializeError::NoRuntime)));
}

#[cfg(feature = "blocking")]
#[test]
fn a_fleet_is_opened_without_async() {
    let redlock = Redlock::builder().nodes(MockNode::fleet(3)).restart_guard(LONGEST).build().unwrap();
    let redlock = redlock_core::blocking::Redlock::try_from(redlock).unwrap();
    redlock.initialize().unwrap();
    let lock = redlock.try_acquire("r", LONGEST).unwrap().unwrap();
    assert_eq!(lock.fencing_token(), None);
    assert!(matches!(redlock.initialize(), Err(InitializeError::InUse { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_ttl_above_the_longest_is_rejected_before_anything_is_sent() {
    let nodes = MockNode::fleet(1);
    let redlock = builder(&nodes).build().unwrap();
    let ttl = LONGEST + ms(1);
    let error = redlock.acquire("r", ttl).await.unwrap_err();
    assert!(matches!(error, AcquireError::Ttl(TtlError::AboveGuard { longest: LONGEST, .. })), "{error}");
    assert_eq!(error.to_string(), "the TTL of 10.001s is above 10s, the longest TTL of the restart guard");
    assert_eq!(nodes[0].requests(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_marker_of_another_guard_is_a_guard_error() {
    let nodes = MockNode::fleet(1);
    open(&nodes).await;
    let other = builder(&nodes).restart_guard(2 * LONGEST).build().unwrap();
    let error = other.acquire("r", once(LONGEST)).await.unwrap_err().to_string();
    assert!(error.contains(&NodeErrorKind::Guard.to_string()), "{error}");
    for marker in ["", "7", "7 10000", "7 10000 0 0", "x 10000 0", "7 x 0", "7 10000 x"] {
        nodes[0].set(MARKER, marker, None);
        let error = other.acquire("r", once(LONGEST)).await.unwrap_err().to_string();
        assert!(error.contains(&NodeErrorKind::Guard.to_string()), "{marker:?}: {error}");
    }
}

#[test]
fn an_impossible_guard_is_rejected() {
    for longest in [Duration::ZERO, Duration::MAX] {
        let error = builder(&MockNode::fleet(1)).restart_guard(longest).build().unwrap_err();
        assert!(matches!(error, BuildError::RestartGuard { .. }), "{error}");
    }
    let prefix = "x".repeat(65_530);
    let error = builder(&MockNode::fleet(1)).key_prefix(prefix).build().unwrap_err();
    assert_eq!(error, BuildError::KeyPrefixTooLong { len: 65_530 });
}
