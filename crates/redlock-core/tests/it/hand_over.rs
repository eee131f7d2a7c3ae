//! Locks that go on in another process: each `Redlock` here stands for a process of its own.

use std::{task::Poll, time::Duration};

use proptest::prelude::*;
use redlock_core::{
    AcquireOptions, AutoExtend, ExtendError, LockParts, Loss, Redlock, Release, ResumeError, Token, TokioClock,
    TtlError,
};
use redlock_mock::{Fault, Memory, MockNode};
use tokio::{
    runtime::Builder,
    time::{Instant, sleep},
};

use crate::support::{drop_after, keys, ms, poll_once, redlock};

const TTL: Duration = Duration::from_secs(10);
/// The default node timeout at this ttl.
const NODE_TIMEOUT: Duration = Duration::from_millis(200);

/// A lock on its way, of a process that has ended all its work.
async fn parts(nodes: &[MockNode]) -> LockParts {
    let here = redlock(nodes);
    let parts = here.acquire("r", TTL).await.unwrap().into_parts().await.unwrap();
    here.close().await.unwrap();
    parts
}

fn copy(parts: &LockParts) -> LockParts {
    let names = parts.resources().iter().map(|resource| resource.as_str());
    LockParts::new(names, parts.token().as_str(), parts.ttl()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_lock_goes_on_in_another_process() {
    let nodes = MockNode::fleet(3);
    let (here, there) = (redlock(&nodes), redlock(&nodes));
    let lock = here.acquire("r", TTL).await.unwrap();
    let token = *lock.token();
    sleep(ms(3_000)).await;
    let parts = lock.into_parts().await.unwrap();
    assert_eq!((parts.resources().first().as_str(), *parts.token(), parts.ttl()), ("r", token, TTL));
    here.close().await.unwrap();
    assert!(there.try_acquire("r", TTL).await.unwrap_err().is_contended(), "nothing was released");

    let mut lock = there.resume(parts).await.unwrap();
    assert_eq!((lock.resource(), *lock.token()), ("r", token));
    // The seven seconds that are left, less one percent of them and 2 ms.
    assert_eq!(lock.validity(), ms(6_928));
    assert!(here.try_acquire("r", TTL).await.unwrap_err().is_contended());
    lock.extend(TTL).await.unwrap();
    assert_eq!(lock.validity(), ms(9_898));
    assert_eq!(lock.release().await.unwrap(), Release::Released);
    there.close().await.unwrap();
    assert_eq!(keys(&nodes), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn many_resources_go_on_as_one() {
    let nodes = MockNode::fleet(3);
    let names: Vec<_> = (0..100).map(|number| format!("r{number:02}")).collect();
    let parts = redlock(&nodes).acquire_all(&names, TTL).await.unwrap().into_parts().await.unwrap();
    // Of each node counts the key that ends first.
    nodes[0].set("r07", parts.token().as_str(), Some(ms(4_000)));
    nodes[1].set("r42", parts.token().as_str(), Some(ms(3_000)));
    let there = redlock(&nodes);
    let lock = there.resume(parts).await.unwrap();
    assert_eq!((lock.resources().len(), lock.validity()), (100, ms(3_958)));
    assert_eq!(lock.release().await.unwrap(), Release::Released);
    there.close().await.unwrap();
    assert_eq!(keys(&nodes), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_lost_one_of_the_keys_does_not_count() {
    let nodes = MockNode::fleet(3);
    let (here, there) = (redlock(&nodes), redlock(&nodes));
    for another in [false, true] {
        let parts = here.acquire_all(["a", "b", "c"], TTL).await.unwrap().into_parts().await.unwrap();
        nodes[0].remove("b");
        if another {
            nodes[1].set("c", "another", Some(TTL));
        } else {
            nodes[1].remove("c");
        }
        let error = there.resume(parts).await.unwrap_err();
        assert!(matches!(error, ResumeError::Lost { .. }), "{error}");
        let told = if another { "node-2 held by another (10.0s left)" } else { "node-2 no longer held it" };
        assert!(
            error.to_string().contains(&format!("1 of 3 still held it, 2 needed: node-1 no longer held it, {told}"))
        );
        there.close().await.unwrap();
        assert_eq!(keys(&nodes), if another { vec!["c"] } else { vec![] }, "what is left of it is given back");
    }
}

#[tokio::test(start_paused = true)]
async fn the_validity_counts_from_before_the_first_byte() {
    let nodes = MockNode::fleet(3);
    let parts = parts(&nodes).await;
    let far: Vec<_> = nodes.iter().map(|node| node.clone().with_latency(ms(30))).collect();
    let start = Instant::now();
    let lock = redlock(&far).resume(parts).await.unwrap();
    assert_eq!(start.elapsed(), ms(30));
    // The nodes told 9.97 s.
    assert_eq!(lock.validity(), ms(9_970).mul_f64(0.99) - ms(2) - ms(30));
    sleep(lock.validity() - ms(1)).await;
    assert!(lock.is_valid());
    sleep(ms(1)).await;
    assert!(!lock.is_valid());
    assert!(nodes.iter().all(|node| node.peek("r").is_some()), "it is over before the first key expires");
}

proptest! {
    /// Of each node: for how long it holds the lock, by how many millionths its clock runs fast, how far away it is.
    #[test]
    fn to_the_end_of_its_validity_a_quorum_holds_it_whatever_nodes_hold_and_however_their_clocks_run(
        held in prop::collection::vec((prop::option::of(0_u64..20_000), -10_000..=10_000_i32, 0_u64..60), 1..6),
    ) {
        let runtime = Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let nodes = MockNode::fleet(held.len());
            let parts = LockParts::new(["r"], Token::from_bytes([7; 20]).as_str(), TTL).unwrap();
            let token = *parts.token();
            let mut far = Vec::new();
            for (node, (left, ppm, latency)) in nodes.iter().zip(&held) {
                node.set_clock_rate(*ppm);
                far.push(node.clone().with_latency(ms(*latency)));
                if let Some(left) = left {
                    node.set("r", token.as_str(), Some(ms(*left)));
                }
            }
            let Ok(lock) = redlock(&far).resume(parts).await else { return };
            sleep(lock.validity().saturating_sub(ms(1))).await;
            let holding = nodes.iter().filter(|node| node.peek("r").as_deref() == Some(token.as_bytes())).count();
            assert!(2 * holding > nodes.len(), "{holding} of {} hold it", nodes.len());
        });
    }
}

#[tokio::test(start_paused = true)]
async fn the_handle_is_told_and_nobody_extends_the_lock_meanwhile() {
    let nodes = MockNode::fleet(3);
    let here = redlock(&nodes);
    let kept = AcquireOptions::new(TTL).auto_extend(AutoExtend::default());
    let lock = here.acquire("r", kept).await.unwrap();
    let lost = tokio::spawn(lock.lost());
    sleep(5 * TTL).await;
    let parts = lock.into_parts().await.unwrap();
    let loss = lost.await.unwrap();
    assert!(matches!(loss, Loss::HandedOver { .. }), "{loss}");
    assert_eq!(loss.to_string(), "the lock on \"r\" was handed over to another process");
    let requests = nodes[0].requests();
    sleep(TTL).await;
    assert_eq!(nodes[0].requests(), requests);
    let there = redlock(&nodes);
    let error = there.resume(parts).await.unwrap_err();
    assert!(matches!(error, ResumeError::Lost { .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_is_lost_is_not_handed_over() {
    let nodes = MockNode::fleet(3);
    let here = redlock(&nodes);
    let lock = here.acquire("r", TTL).await.unwrap();
    sleep(lock.validity()).await;
    assert_eq!(keys(&nodes).len(), 3, "the keys outlive the validity");
    let loss = lock.into_parts().await.unwrap_err();
    assert!(matches!(loss, Loss::Expired { .. }), "{loss}");
    here.close().await.unwrap();
    assert_eq!(keys(&nodes), [""; 0]);

    let mut lock = here.acquire("r", TTL).await.unwrap();
    nodes[..2].iter().for_each(|node| node.set("r", "another", None));
    lock.extend(TTL).await.unwrap_err();
    let loss = lock.into_parts().await.unwrap_err();
    assert!(matches!(loss, Loss::Gone { .. }), "{loss}");
    here.close().await.unwrap();
    assert_eq!(keys(&nodes).len(), 2, "another's");
}

#[tokio::test(start_paused = true)]
async fn an_expired_lock_is_told_lost() {
    let nodes = MockNode::fleet(3);
    let parts = parts(&nodes).await;
    sleep(TTL + ms(1)).await;
    let error = redlock(&nodes).resume(parts).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the lock on \"r\" is lost and was not resumed; 0 of 3 still held it, 2 needed: node-1 no longer held it, \
         node-2 no longer held it, node-3 no longer held it"
    );
    assert_eq!((error.votes().unwrap().granted(), error.into_parts()), (0, None));
}

#[tokio::test(start_paused = true)]
async fn a_lock_of_which_nothing_is_left_is_told_expired() {
    let nodes = MockNode::fleet(3);
    let (there, parts) = (redlock(&nodes), parts(&nodes).await);
    sleep(TTL - ms(2)).await;
    let error = there.resume(parts).await.unwrap_err();
    assert!(matches!(error, ResumeError::Expired { .. }), "{error}");
    assert!(error.to_string().starts_with("the lock on \"r\" expired before it was resumed; 3 of 3 still held it"));
    assert_eq!(error.into_parts(), None);
    there.close().await.unwrap();
    assert_eq!(keys(&nodes), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_another_holds_is_lost_and_another_keeps_it() {
    let nodes = MockNode::fleet(3);
    let (there, parts) = (redlock(&nodes), parts(&nodes).await);
    sleep(TTL + ms(1)).await;
    let another = there.acquire("r", TTL).await.unwrap();
    let error = there.resume(parts).await.unwrap_err();
    assert!(matches!(error, ResumeError::Lost { .. }), "{error}");
    assert!(error.to_string().contains("node-1 held by another (10.0s left)"), "{error}");
    there.close().await.unwrap();
    assert_eq!(keys(&nodes).len(), 3);
    assert_eq!(another.release().await.unwrap(), Release::Released);
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_half_of_the_nodes_forgot_is_lost_and_given_back_on_the_others() {
    let nodes = MockNode::fleet(4);
    let (there, parts) = (redlock(&nodes), parts(&nodes).await);
    nodes[..2].iter().for_each(|node| node.restart(Memory::Lost));
    let error = there.resume(parts).await.unwrap_err();
    assert!(matches!(error, ResumeError::Lost { .. }), "{error}");
    assert_eq!(error.votes().unwrap().granted(), 2);
    there.close().await.unwrap();
    assert_eq!(keys(&nodes), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_minority_may_have_forgotten_it_and_gets_it_again() {
    let nodes = MockNode::fleet(5);
    let (there, parts) = (redlock(&nodes), parts(&nodes).await);
    nodes[..2].iter().for_each(|node| node.restart(Memory::Lost));
    let mut lock = there.resume(parts).await.unwrap();
    lock.extend(TTL).await.unwrap();
    assert_eq!(keys(&nodes).len(), 5);
    assert_eq!(lock.release().await.unwrap(), Release::Released);
    there.close().await.unwrap();
    assert_eq!(keys(&nodes), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_key_without_expiry_counts_for_no_more_than_the_ttl() {
    let nodes = MockNode::fleet(3);
    let (there, parts) = (redlock(&nodes), parts(&nodes).await);
    sleep(ms(4_000)).await;
    nodes.iter().for_each(|node| node.set("r", parts.token().as_str(), None));
    let mut lock = there.resume(parts).await.unwrap();
    assert_eq!(lock.validity(), ms(9_898));
    lock.extend(TTL).await.unwrap();
    assert_eq!(nodes[0].remaining("r"), Some(TTL), "it expires again");
}

#[tokio::test(start_paused = true)]
async fn with_too_few_answers_nothing_is_released_and_it_can_be_resumed_again() {
    let nodes = MockNode::fleet(3);
    let (there, parts) = (redlock(&nodes), parts(&nodes).await);
    nodes[0].hang();
    nodes[1].stop();
    let start = Instant::now();
    let error = there.resume(parts).await.unwrap_err();
    assert_eq!(start.elapsed(), NODE_TIMEOUT);
    assert_eq!(
        error.to_string(),
        "unknown whether the lock on \"r\" is still held; nothing was released, it can be resumed again; 1 of 3 still \
         held it, 2 needed: node-1 did not answer within 200ms, node-2 failed (unreachable), node-3 still held it; look \
         for a hung or overloaded node, or raise the node timeout"
    );
    let parts = error.into_parts().unwrap();
    nodes[0].resume();
    there.close().await.unwrap();
    assert_eq!((nodes[0].peek("r").is_some(), nodes[2].peek("r").is_some()), (true, true));
    let lock = there.resume(parts).await.unwrap();
    assert!(lock.is_valid());
    // Also the node that was not heard of is given its release.
    nodes[1].start(Memory::Kept);
    assert_eq!(lock.release().await.unwrap(), Release::Released);
    there.close().await.unwrap();
    assert_eq!(keys(&nodes), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_hung_minority_is_not_waited_for() {
    let nodes = MockNode::fleet(5);
    let (there, parts) = (redlock(&nodes), parts(&nodes).await);
    nodes[..2].iter().for_each(MockNode::hang);
    let start = Instant::now();
    let lock = there.resume(parts).await.unwrap();
    assert_eq!((start.elapsed(), lock.validity()), (Duration::ZERO, ms(9_898)));
    nodes[..2].iter().for_each(MockNode::resume);
    assert_eq!(lock.release().await.unwrap(), Release::Released);
    there.close().await.unwrap();
    assert_eq!(keys(&nodes), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_missed_the_last_extend_does_not_shorten_the_lock() {
    let nodes = MockNode::fleet(3);
    let parts = parts(&nodes).await;
    nodes[0].set("r", parts.token().as_str(), Some(ms(500)));
    // It is the first to answer, and the last to answer tells the most.
    let latencies = [ms(0), ms(10), ms(20)];
    let far: Vec<_> = nodes.iter().zip(latencies).map(|(node, latency)| node.clone().with_latency(latency)).collect();
    let lock = redlock(&far).resume(parts).await.unwrap();
    assert!(lock.validity() > ms(9_800), "{:?}", lock.validity());
}

#[tokio::test(start_paused = true)]
async fn beyond_the_promise_a_lock_that_is_resumed_twice_has_two_handles() {
    let nodes = MockNode::fleet(3);
    let parts = parts(&nodes).await;
    let (first, second) = (redlock(&nodes), redlock(&nodes));
    let one = first.resume(copy(&parts)).await.unwrap();
    let mut other = second.resume(parts).await.unwrap();
    assert!(one.is_valid() && other.is_valid());
    // What one gives back, the other loses.
    assert_eq!(one.release().await.unwrap(), Release::Released);
    first.close().await.unwrap();
    let error = other.extend(TTL).await.unwrap_err();
    assert!(matches!(error, ExtendError::Lost { .. }), "{error}");
    assert!(!other.is_valid());
}

#[tokio::test(start_paused = true)]
async fn a_resumed_lock_is_kept_and_its_lifetime_counts_from_there() {
    let nodes = MockNode::fleet(3);
    let (there, parts) = (redlock(&nodes), parts(&nodes).await);
    // Later than the first extend would be after an acquire.
    sleep(TTL - ms(200)).await;
    let start = Instant::now();
    let mut lock = there.resume(parts).await.unwrap();
    lock.auto_extend(AutoExtend::default().max_lifetime(6 * TTL)).unwrap();
    sleep(5 * TTL).await;
    assert!(lock.is_valid());
    let loss = lock.lost().await;
    assert!(matches!(loss, Loss::LifetimeOver { .. }), "{loss}");
    assert!((ms(59_500)..=6 * TTL).contains(&start.elapsed()), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn nothing_of_the_first_process_sets_a_key_that_the_second_released() {
    // An acquire that is late on one node, and extends that are on their way on all.
    for after in (2_900..=3_500).step_by(10) {
        let nodes = MockNode::fleet(3);
        let slow: Vec<_> = nodes.iter().map(|node| node.clone().with_latency(ms(60))).collect();
        let (here, there) = (redlock(&slow), redlock(&nodes));
        let kept = AcquireOptions::new(TTL).auto_extend(AutoExtend::default());
        let lock = here.acquire("r", kept).await.unwrap();
        sleep(ms(after)).await;
        let lock = there.resume(lock.into_parts().await.unwrap()).await.unwrap();
        assert_eq!(lock.release().await.unwrap(), Release::Released);
        there.close().await.unwrap();
        sleep(ms(500)).await;
        assert_eq!(keys(&nodes), [""; 0], "{after}");
    }
    for delay in (0..=NODE_TIMEOUT.as_millis() as u64).step_by(20) {
        let nodes = MockNode::fleet(3);
        let (here, there) = (redlock(&nodes), redlock(&nodes));
        nodes[1].inject(Fault::DelayRequest(ms(delay)));
        let start = Instant::now();
        let lock = here.acquire("r", TTL).await.unwrap();
        assert_eq!(start.elapsed(), Duration::ZERO);
        let lock = there.resume(lock.into_parts().await.unwrap()).await.unwrap();
        assert_eq!(start.elapsed(), ms(delay));
        assert_eq!(lock.release().await.unwrap(), Release::Released);
        there.close().await.unwrap();
        sleep(ms(500)).await;
        assert_eq!(keys(&nodes), [""; 0], "{delay}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_waits_behind_a_slow_request_is_not_sent_after_the_hand_over() {
    let mut nodes = MockNode::fleet(3);
    nodes[2] = nodes[2].clone().with_latency(ms(150));
    let here = redlock(&nodes);
    let mut lock = here.acquire("r", TTL).await.unwrap();
    // On the far node it waits for the acquire, which is still on its way.
    lock.extend(2 * TTL).await.unwrap();
    let start = Instant::now();
    let _parts = lock.into_parts().await.unwrap();
    assert_eq!(start.elapsed(), ms(150));
    here.close().await.unwrap();
    assert_eq!(nodes.iter().map(MockNode::requests).collect::<Vec<_>>(), [2, 2, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_hung_node_holds_the_hand_over_up_for_no_longer_than_the_node_timeout() {
    let nodes = MockNode::fleet(3);
    let (here, there) = (redlock(&nodes), redlock(&nodes));
    nodes[2].hang();
    let lock = here.acquire("r", TTL).await.unwrap();
    let start = Instant::now();
    let parts = lock.into_parts().await.unwrap();
    assert_eq!(start.elapsed(), NODE_TIMEOUT);
    assert_eq!(there.resume(parts).await.unwrap().release().await.unwrap(), Release::Released);
    // The acquire that waited in the node is before the release that waits there.
    nodes[2].resume();
    there.close().await.unwrap();
    here.close().await.unwrap();
    assert_eq!(keys(&nodes), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_hand_over_dropped_at_any_poll_gives_the_lock_back() {
    for polls in 0.. {
        let nodes = MockNode::fleet(5);
        let here = redlock(&nodes);
        nodes[1].inject(Fault::DelayAnswer(ms(50)));
        nodes[2].inject(Fault::DelayRequest(ms(100)));
        let lock = here.acquire("r", TTL).await.unwrap();
        let lost = lock.lost();
        let handed_over = drop_after(polls, lock.into_parts()).await;
        here.close().await.unwrap();
        if let Some(parts) = handed_over {
            assert!(polls >= 3 && matches!(lost.await, Loss::HandedOver { .. }));
            assert_eq!(keys(&nodes).len(), 5);
            drop(parts);
            break;
        }
        assert!(matches!(lost.await, Loss::Released { .. }));
        assert_eq!(keys(&nodes), [""; 0], "dropped after {polls} polls");
    }
}

#[tokio::test(start_paused = true)]
async fn a_resume_dropped_at_any_poll_changes_nothing() {
    for polls in 0.. {
        let nodes = MockNode::fleet(3);
        let parts = parts(&nodes).await;
        let far: Vec<_> = (1..).zip(&nodes).map(|(i, node)| node.clone().with_latency(ms(i * 10))).collect();
        let there = redlock(&far);
        // Not enough for a slow node not to be waited for.
        sleep(ms(6_000)).await;
        let resumed = drop_after(polls, there.resume(copy(&parts))).await;
        if let Some(lock) = resumed {
            assert!(polls >= 3 && lock.unwrap().is_valid());
            break;
        }
        there.close().await.unwrap();
        assert_eq!(keys(&nodes).len(), 3, "dropped after {polls} polls");
        assert_eq!(there.resume(parts).await.unwrap().release().await.unwrap(), Release::Released);
    }
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_is_dropped_after_it_was_resumed_is_given_back_everywhere() {
    let nodes = MockNode::fleet(3);
    let (there, parts) = (redlock(&nodes), parts(&nodes).await);
    // A request of this process was never seen by this node.
    nodes[2].inject(Fault::LoseRequest);
    drop(there.resume(parts).await.unwrap());
    there.close().await.unwrap();
    assert_eq!(keys(&nodes), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn both_can_be_spawned() {
    let nodes = MockNode::fleet(3);
    let (here, there) = (redlock(&nodes), redlock(&nodes));
    let parts = tokio::spawn(async move { here.acquire("r", TTL).await.unwrap().into_parts().await });
    let parts = parts.await.unwrap().unwrap();
    let resumed = tokio::spawn(async move { there.resume(parts).await });
    assert!(resumed.await.unwrap().unwrap().is_valid());
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_resumed_here_is_given_back_to_the_caller_before_anything_is_sent() {
    let nodes = MockNode::fleet(3);
    let parts = parts(&nodes).await;
    let token = *parts.token();
    let builder = Redlock::builder().nodes(nodes.clone()).clock(TokioClock::default()).node_timeout(TTL);
    let error = builder.build().unwrap().resume(parts).await.unwrap_err();
    assert!(matches!(error, ResumeError::Ttl { reason: TtlError::TooShort { .. }, .. }), "{error}");
    assert!(error.votes().is_none());
    let parts = error.into_parts().unwrap();
    assert_eq!((*parts.token(), nodes[0].requests()), (token, 1));
    redlock(&nodes).resume(parts).await.unwrap().release().await.unwrap();
}

#[test]
fn outside_a_runtime_resuming_is_an_error_and_handing_over_does_not_wait() {
    let nodes = MockNode::fleet(3);
    nodes[2].hang();
    let redlock = Redlock::new(nodes.clone()).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let lock = runtime.block_on(redlock.acquire("r", TTL)).unwrap();
    let Poll::Ready(parts) = poll_once(lock.into_parts()) else { panic!("it waits, and nothing bounds it") };
    let Poll::Ready(Err(error)) = poll_once(redlock.resume(parts.unwrap())) else { panic!() };
    assert!(matches!(error, ResumeError::NoRuntime { .. }), "{error}");
    nodes[2].resume();
    let lock = runtime.block_on(redlock.resume(error.into_parts().unwrap())).unwrap();
    assert_eq!(runtime.block_on(lock.release()).unwrap(), Release::Released);
    runtime.block_on(redlock.close()).unwrap();
    assert_eq!(keys(&nodes), [""; 0]);
}

#[test]
fn on_a_runtime_without_timers_both_panic_and_nothing_is_lost() {
    let nodes = MockNode::fleet(3);
    let redlock = Redlock::new(nodes.clone()).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let timeless = Builder::new_current_thread().build().unwrap();
    let acquire = || runtime.block_on(redlock.acquire("r", TTL)).unwrap();

    let parts = runtime.block_on(acquire().into_parts()).unwrap();
    let call = std::panic::AssertUnwindSafe(|| timeless.block_on(redlock.resume(copy(&parts))));
    std::panic::catch_unwind(call).unwrap_err();
    assert_eq!(keys(&nodes).len(), 3);
    runtime.block_on(async { redlock.resume(parts).await.unwrap().release().await }).unwrap();
    runtime.block_on(redlock.close()).unwrap();

    let lock = acquire();
    let call = std::panic::AssertUnwindSafe(|| timeless.block_on(lock.into_parts()));
    std::panic::catch_unwind(call).unwrap_err();
    runtime.block_on(redlock.close()).unwrap();
    assert_eq!(keys(&nodes), [""; 0]);
}

#[cfg(feature = "serde")]
#[tokio::test(start_paused = true)]
async fn a_lock_travels_as_data_and_is_checked_when_it_arrives() {
    let nodes = MockNode::fleet(3);
    let (here, there) = (redlock(&nodes), redlock(&nodes));
    let lock = here.acquire_all(["b\n\u{8ba2}", "a"], ms(10_500)).await.unwrap();
    let token = lock.token().as_str().to_owned();
    let sent = serde_json::to_string(&lock.into_parts().await.unwrap()).unwrap();
    assert_eq!(sent, format!(r#"{{"resources":["a","b\n{}"],"token":"{token}","ttl_ms":10500}}"#, '\u{8ba2}'));
    let parts: LockParts = serde_json::from_str(&sent).unwrap();
    assert_eq!(serde_json::to_string(&parts).unwrap(), sent);
    assert_eq!(there.resume(parts).await.unwrap().release().await.unwrap(), Release::Released);

    for (forged, why) in [
        (sent.replace(r#""a","#, r#""","#), "the resource name is empty"),
        (sent.replace(&token, &token[1..]), "the token is none that this library has made"),
        (sent.replace(&token, &token.to_uppercase()), "the token is none that this library has made"),
        (sent.replace("10500", "0"), "the ttl is zero"),
        (sent.replace("10500", "604800001"), "is above"),
        (sent.replace("10500", "-1"), "invalid value"),
        (r#"{"resources":[],"token":"","ttl_ms":1}"#.to_owned(), "there are no resources"),
        ("{}".to_owned(), "missing field"),
    ] {
        let error = serde_json::from_str::<LockParts>(&forged).unwrap_err().to_string();
        assert!(error.contains(why) && !error.contains(&token[1..]), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_that_is_printed_gives_the_lock_away() {
    let nodes = MockNode::fleet(3);
    let parts = parts(&nodes).await;
    let secret = parts.token().as_str().get(..9).unwrap().to_owned();
    let mut printed = format!("{parts:?}");
    nodes[..2].iter().for_each(MockNode::stop);
    let error = redlock(&nodes).resume(parts).await.unwrap_err();
    printed += &format!("{error} {error:?}");
    assert!(!printed.contains(&secret), "{printed}");
}
