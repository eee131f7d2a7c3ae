//! Faults that other implementations had, with one test each, named after the promise that the fault would break. The
//! tests at the end, whose names begin with `beyond_the_promise`, show what no lock with timeouts can promise.

use std::time::Duration;

use redlock_core::{
    AcquireError, AcquireOptions, Drift, ExtendError, LockNode, NodeError, NodeErrorKind, Redlock, Release, Retry,
    backend::{AcquireAnswer, AcquireRequest, ExtendAnswer, ExtendRequest, ReleaseAnswer, ReleaseRequest, Timed},
    testing::TokioClock,
};
use redlock_mock::{Fault, Memory, MockNode};
use tokio::time::{Instant, advance};

use crate::support::{builder, clocks::SuspendAware, holding, keys, ms, once, redlock};

const TTL: Duration = Duration::from_secs(10);

#[tokio::test(start_paused = true)]
async fn a_late_release_of_one_round_does_not_delete_the_keys_of_a_later_one() {
    let nodes = MockNode::fleet(3);
    nodes[1].set("r", "another", Some(ms(50)));
    nodes[2].set("r", "another", None);
    // The first round acquires the first node and is lost. Its release arrives after later rounds.
    nodes[0].inject(Fault::None);
    nodes[0].inject(Fault::DelayRequest(ms(700)));
    let eager = Retry::attempts(9).fixed(ms(200)).jitter(Duration::ZERO);
    let redlock = redlock(&nodes);
    let lock = redlock.acquire("r", AcquireOptions::new(TTL).retry(eager)).await.unwrap();
    tokio::time::sleep(ms(2_000)).await;
    assert!(lock.check().is_ok());
    assert_eq!(holding(&nodes, &lock), 2);
    assert_eq!(lock.release().await.unwrap(), Release::Released);
}

#[tokio::test(start_paused = true)]
async fn a_tie_in_an_even_fleet_is_decided_at_once_and_released() {
    for half in 1..=3 {
        let nodes = MockNode::fleet(2 * half);
        nodes[..half].iter().for_each(|node| node.set("r", "another", None));
        let redlock = redlock(&nodes);
        let start = Instant::now();
        assert!(redlock.try_acquire("r", TTL).await.unwrap().is_none());
        assert_eq!(start.elapsed(), Duration::ZERO);
        redlock.close().await.unwrap();
        assert_eq!(keys(&nodes).len(), half, "the other half is free again");
    }
}

#[tokio::test(start_paused = true)]
async fn validity_counts_from_the_round_that_won() {
    let nodes: Vec<_> = MockNode::fleet(3).into_iter().map(|node| node.with_latency(ms(30))).collect();
    nodes.iter().for_each(|node| node.set("r", "another", Some(ms(1_900))));
    let start = Instant::now();
    let lock = redlock(&nodes).acquire("r", TTL).await.unwrap();
    assert!(start.elapsed() > ms(1_900), "it has waited");
    // 10 s minus 102 ms for drift and the 30 ms of the last round: it counts neither from the answer nor from the start
    // of the call.
    assert_eq!(lock.validity(), ms(9_868));
}

#[tokio::test(start_paused = true)]
async fn an_extend_that_arrives_too_late_does_not_revive_the_lock() {
    let nodes = MockNode::fleet(3);
    let (ours, theirs) = (redlock(&nodes), redlock(&nodes));
    let mut lock = ours.acquire("r", TTL).await.unwrap();
    // The extend is sent while the lock is valid, and carried out after it has expired and another holder has it.
    nodes.iter().for_each(|node| node.inject(Fault::DelayRequest(ms(900))));
    tokio::time::sleep(lock.validity() - ms(100)).await;
    let error = lock.extend(TTL).await.unwrap_err();
    assert!(matches!(error, ExtendError::NoQuorum { .. } | ExtendError::ExtendedTooLate { .. }), "{error}");
    let next = theirs.acquire("r", TTL).await.unwrap();
    tokio::time::sleep(ms(2_000)).await;
    assert_eq!(holding(&nodes, &next), 3);
    assert!(lock.check().is_err());
    let error = lock.extend(TTL).await.unwrap_err();
    assert!(matches!(error, ExtendError::Expired { .. }), "{error}");
    drop(lock);
    ours.close().await.unwrap();
    assert_eq!(holding(&nodes, &next), 3);
}

#[tokio::test(start_paused = true)]
async fn a_lost_round_is_released_on_nodes_that_answer_late_or_not_at_all() {
    let nodes = MockNode::fleet(5);
    nodes[0].inject(Fault::LoseAnswer);
    nodes[1].inject(Fault::DelayRequest(ms(800)));
    nodes[2..].iter().for_each(|node| node.set("r", "another", None));
    let redlock = redlock(&nodes);
    let start = Instant::now();
    assert!(redlock.try_acquire("r", TTL).await.unwrap().is_none());
    assert_eq!(start.elapsed(), Duration::ZERO, "no call waits for these answers");
    assert_eq!(nodes[0].resources(), ["r"], "the answer alone was lost");
    redlock.close().await.unwrap();
    assert_eq!(keys(&nodes[..2]), [""; 0]);
    assert_eq!(keys(&nodes[2..]).len(), 3);
}

#[tokio::test(start_paused = true)]
async fn one_broken_node_fails_no_call_that_a_quorum_granted() {
    use NodeErrorKind::{
        Authentication, Loading, Other, OutOfMemory, Permission, ReadOnly, Timeout, Unreachable, Unsupported, WrongType,
    };
    let kinds = [
        Timeout,
        Unreachable,
        Authentication,
        Permission,
        WrongType,
        ReadOnly,
        Loading,
        OutOfMemory,
        Unsupported,
        Other,
    ];
    for kind in kinds {
        // Including the first and the last answer.
        for broken in 0..3 {
            let nodes = MockNode::fleet(3);
            (0..3).for_each(|_| nodes[broken].inject(Fault::Fail(kind)));
            let mut lock = redlock(&nodes).try_acquire("r", TTL).await.unwrap().unwrap();
            lock.extend(TTL).await.unwrap();
            assert_eq!(lock.release().await.unwrap(), Release::Released, "{kind} of node {broken}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn validity_is_the_ttl_minus_drift_and_a_shorter_ttl_is_rejected() {
    for (factor, offset) in [(0.01, ms(2)), (0.0, Duration::ZERO), (0.9, ms(60))] {
        let node = MockNode::new("node");
        let builder = Redlock::builder().node(node.clone()).clock(TokioClock::default());
        let redlock = builder.drift(Drift::new(factor, offset).unwrap()).node_timeout(ms(1)).build().unwrap();
        let mut locked = 0;
        for ttl in (1..1_000).map(ms) {
            // The same unit for all three: parts of the TTL, not of a second.
            let expected = ttl.checked_sub(ttl.mul_f64(factor) + offset).unwrap_or_default();
            match redlock.acquire(format!("{ttl:?}"), once(ttl)).await {
                Ok(lock) => {
                    let validity = lock.validity();
                    assert!(validity > Duration::ZERO, "{ttl:?}");
                    assert!(validity.abs_diff(expected) <= Duration::from_micros(1), "{validity:?} of {ttl:?}");
                    locked += 1;
                }
                Err(error) => {
                    assert!(matches!(error, AcquireError::Ttl(_)), "{ttl:?}: {error}");
                    assert!(expected <= ms(1), "{ttl:?} is enough: {error}");
                }
            }
        }
        redlock.close().await.unwrap();
        assert!(locked > 380, "{locked} of 999");
        assert_eq!(node.requests(), 2 * locked, "rejected calls sent nothing");
    }
}

#[tokio::test(start_paused = true)]
async fn an_old_lock_of_a_process_does_not_release_its_newer_one() {
    for is_dropped in [false, true] {
        let nodes = MockNode::fleet(3);
        let redlock = redlock(&nodes);
        let old = redlock.acquire("r", TTL).await.unwrap();
        tokio::time::sleep(2 * TTL).await;
        let newer = redlock.acquire("r", TTL).await.unwrap();
        if is_dropped {
            drop(old);
        } else {
            assert_eq!(old.release().await.unwrap(), Release::NotHeld);
        }
        redlock.close().await.unwrap();
        assert_eq!(holding(&nodes, &newer), 3);
        assert_eq!(newer.release().await.unwrap(), Release::Released);
    }
}

#[tokio::test(start_paused = true)]
async fn releasing_an_expired_lock_takes_no_time_and_is_no_error() {
    let nodes = MockNode::fleet(3);
    let lock = redlock(&nodes).acquire("r", TTL).await.unwrap();
    tokio::time::sleep(2 * TTL).await;
    nodes[1].hang();
    let start = Instant::now();
    assert_eq!(lock.release().await.unwrap(), Release::NotHeld);
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_was_paused_finds_its_lock_ended() {
    let nodes = MockNode::fleet(3);
    let clock = SuspendAware::default();
    let redlock = builder(&nodes).clock(clock.clone()).build().unwrap();
    let mut lock = redlock.acquire("r", TTL).await.unwrap();
    assert!(lock.check().is_ok());
    clock.suspend(60);
    assert!(lock.check().is_err());
    assert_eq!(lock.validity(), Duration::ZERO);
    let error = lock.extend(TTL).await.unwrap_err();
    assert!(matches!(error, ExtendError::Expired { .. }), "{error}");
    assert!(nodes.iter().all(|node| node.requests() == 1), "nothing was sent");
}

#[tokio::test(start_paused = true)]
async fn a_minority_that_forgets_makes_no_second_holder() {
    // The key is gone too early, because of a clock jump, eviction, or a restart.
    let forget: [fn(&MockNode); 2] = [|node| node.remove("r"), |node| node.restart(Memory::Lost)];
    for forget in forget {
        let nodes = MockNode::fleet(5);
        let (ours, theirs) = (redlock(&nodes), redlock(&nodes));
        let lock = ours.acquire("r", TTL).await.unwrap();
        nodes[1..3].iter().for_each(forget);
        assert!(theirs.try_acquire("r", TTL).await.unwrap().is_none());
        theirs.close().await.unwrap();
        assert_eq!(lock.release().await.unwrap(), Release::Released);
    }
}

#[tokio::test(start_paused = true)]
async fn nodes_that_restart_with_their_memory_make_no_second_holder() {
    let nodes = MockNode::fleet(3);
    let (ours, theirs) = (redlock(&nodes), redlock(&nodes));
    let lock = ours.acquire("r", TTL).await.unwrap();
    nodes.iter().for_each(|node| node.restart(Memory::Kept));
    assert!(theirs.try_acquire("r", TTL).await.unwrap().is_none());
    theirs.close().await.unwrap();
    assert_eq!(lock.release().await.unwrap(), Release::Released);
}

#[tokio::test(start_paused = true)]
async fn beyond_the_promise_a_holder_paused_after_its_check_overlaps_with_the_next() {
    let nodes = MockNode::fleet(3);
    let (ours, theirs) = (redlock(&nodes), redlock(&nodes));
    let lock = ours.acquire("r", TTL).await.unwrap();
    let asked = lock.check().is_ok();
    // The process is paused between the check and the write, and cannot notice it.
    tokio::time::sleep(2 * TTL).await;
    let next = theirs.acquire("r", TTL).await.unwrap();
    assert!(asked && next.check().is_ok(), "both write now");
    assert!(lock.check().is_err(), "the next check notices the loss");
}

#[tokio::test(start_paused = true)]
async fn beyond_the_promise_one_node_that_restarts_empty_makes_two_holders() {
    let nodes = MockNode::fleet(3);
    let (ours, theirs) = (redlock(&nodes), redlock(&nodes));
    nodes[2].stop();
    let mut lock = ours.acquire("r", TTL).await.unwrap();
    nodes[2].start(Memory::Kept);
    nodes[1].restart(Memory::Lost);
    let next = theirs.acquire("r", TTL).await.unwrap();
    assert!(lock.check().is_ok() && next.check().is_ok(), "two holders");
    // Still promised: the first holder learns of it with its next request, and takes nothing from the second.
    let error = lock.extend(TTL).await.unwrap_err();
    assert!(matches!(error, ExtendError::Lost { .. }), "{error}");
    assert!(lock.check().is_err());
    drop(lock);
    ours.close().await.unwrap();
    assert_eq!(holding(&nodes, &next), 2);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_grants_late_confirms_the_fencing_token_instead_of_one_that_fails() {
    let nodes = MockNode::fleet(3);
    let builder = Redlock::builder().nodes(nodes.clone()).clock(TokioClock::default());
    let redlock = builder.fencing(true).retry(Retry::attempts(1)).build().unwrap();
    nodes[1].set("{r}:fence", "1800000000000000", Some(TTL));
    // The first two nodes grant but disagree. Then the first stops answering, and the third answers at last.
    nodes[0].inject(Fault::None);
    nodes[0].inject(Fault::LoseAnswer);
    nodes[2].inject(Fault::DelayAnswer(ms(20)));
    let lock = redlock.acquire("r", TTL).await.unwrap();
    assert_eq!(lock.fencing_token().unwrap().get(), 1_800_000_000_000_001);
}

#[tokio::test(start_paused = true)]
async fn a_counter_that_an_extend_restores_starts_above_all_earlier_tokens() {
    let nodes = MockNode::fleet(3);
    let builder = Redlock::builder().nodes(nodes.clone()).clock(TokioClock::default());
    let redlock = builder.fencing(true).retry(Retry::attempts(1)).build().unwrap();
    let restart = async |node: &MockNode| {
        node.stop();
        advance(ms(10)).await;
        node.start(Memory::Lost);
    };
    let mut first = redlock.acquire("r", TTL).await.unwrap();
    restart(&nodes[0]).await;
    restart(&nodes[1]).await;
    let second = redlock.acquire("r", TTL).await.unwrap();
    // The first holder sets its keys again on a node that had confirmed the second's token and has forgotten it.
    restart(&nodes[0]).await;
    let _ = first.extend(TTL).await;
    assert_eq!(holding(&nodes, &first), 2);
    let _ = first.release().await.unwrap();
    // A quorum of that node and the one that the second never had: no other node knows the second's token.
    nodes[1].stop();
    let third = redlock.acquire("r", TTL).await.unwrap();
    assert!(third.fencing_token() > second.fencing_token(), "{:?}", (third.fencing_token(), second.fencing_token()));
}

#[tokio::test(start_paused = true)]
async fn beyond_the_promise_a_node_that_loses_its_last_second_issues_a_fencing_token_twice() {
    let nodes = MockNode::fleet(1);
    let builder = Redlock::builder().nodes(nodes.clone()).clock(TokioClock::default());
    let redlock = builder.fencing(true).retry(Retry::attempts(1)).build().unwrap();
    let _ = redlock.acquire("r", TTL).await.unwrap().release().await.unwrap();
    advance(ms(2_000)).await;
    let first = redlock.acquire("r", TTL).await.unwrap();
    // The counter still exists, so it does not start from the clock, but it has its value from before the first token.
    nodes[0].restart(Memory::LastSecondLost);
    let second = redlock.acquire("r", TTL).await.unwrap();
    assert_eq!(first.fencing_token(), second.fencing_token());
}

#[tokio::test(start_paused = true)]
async fn beyond_the_promise_a_majority_that_forgets_early_makes_two_holders() {
    let nodes = MockNode::fleet(3);
    let (ours, theirs) = (redlock(&nodes), redlock(&nodes));
    let lock = ours.acquire("r", TTL).await.unwrap();
    // Because of wall clocks that are set ahead, or eviction.
    nodes[..2].iter().for_each(|node| node.remove("r"));
    let next = theirs.acquire("r", TTL).await.unwrap();
    assert!(lock.check().is_ok() && next.check().is_ok(), "two holders");
    // Still promised: the first holder learns of it at its release, and takes nothing from the second.
    assert_eq!(lock.release().await.unwrap(), Release::NotHeld);
    ours.close().await.unwrap();
    assert_eq!(holding(&nodes, &next), 2);
}

#[tokio::test(start_paused = true)]
async fn beyond_the_promise_one_server_under_two_names_votes_twice() {
    /// The same server by another name.
    #[derive(Debug)]
    struct Alias(MockNode);

    #[async_trait::async_trait]
    impl LockNode for Alias {
        fn name(&self) -> &str {
            "alias"
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

    let nodes = MockNode::fleet(2);
    let redlock = || {
        let builder = Redlock::builder().nodes(nodes.clone()).node(Alias(nodes[0].clone()));
        builder.clock(TokioClock::default()).build().unwrap()
    };
    let lock = redlock().acquire("r", TTL).await.unwrap();
    // Of three independent nodes one might forget the key, because all three hold it.
    nodes[0].remove("r");
    let next = redlock().acquire("r", TTL).await.unwrap();
    assert!(lock.check().is_ok() && next.check().is_ok(), "two holders");
}

#[tokio::test(start_paused = true)]
async fn a_lock_on_several_names_that_has_lost_one_of_them_frees_the_others_at_once() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    let mut lock = redlock.acquire(["a", "b"], TTL).await.unwrap();
    nodes.iter().for_each(|node| node.set("b", "another", None));
    lock.extend(TTL).await.unwrap_err();
    drop(lock);
    redlock.close().await.unwrap();
    assert!(nodes.iter().all(|node| node.resources() == ["b"]));
}

#[tokio::test(start_paused = true)]
async fn a_permit_whose_semaphore_has_changed_frees_its_slot_at_once() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    let mut permit = redlock.acquire_permit("s", 4, TTL).await.unwrap();
    let slot = format!("{{s}}:permit:{}", permit.slot());
    nodes.iter().for_each(|node| node.set("{s}:permits", "9", None));
    permit.extend(TTL).await.unwrap_err();
    drop(permit);
    redlock.close().await.unwrap();
    assert!(nodes.iter().all(|node| !node.resources().contains(&slot)));
}
