//! A lock that is resumed: how long it is valid, and what the nodes must hold.

use std::time::Duration;

use proptest::prelude::*;
use redlock_core::{AutoExtend, ExtendError, LockLost, LockParts, Release, Token};
use redlock_mock::{Fault, Memory, MockNode};
use tokio::{
    runtime::Builder,
    time::{Instant, sleep},
};

use super::{TTL, copy, parts};
use crate::support::{drop_after, keys, ms, redlock};

#[tokio::test(start_paused = true)]
async fn a_lock_continues_in_another_process() {
    let nodes = MockNode::fleet(3);
    let (here, there) = (redlock(&nodes), redlock(&nodes));
    let lock = here.acquire("r", TTL).await.unwrap();
    let token = *lock.token();
    sleep(ms(3_000)).await;
    let parts = lock.into_parts().await.unwrap();
    assert_eq!((parts.resources().first().as_str(), *parts.token(), parts.ttl()), ("r", token, TTL));
    here.close().await.unwrap();
    assert!(there.try_acquire("r", TTL).await.unwrap().is_none(), "nothing was released");

    let mut lock = there.resume(parts).await.unwrap();
    assert_eq!((lock.resource(), *lock.token()), ("r", token));
    // The remaining seven seconds, minus one percent of them and 2 ms.
    assert_eq!(lock.validity(), ms(6_928));
    assert!(here.try_acquire("r", TTL).await.unwrap().is_none());
    lock.extend(TTL).await.unwrap();
    assert_eq!(lock.validity(), ms(9_898));
    assert_eq!(lock.release().await.unwrap(), Release::Released);
    there.close().await.unwrap();
    assert_eq!(keys(&nodes), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn several_resources_are_resumed_as_one_lock() {
    let nodes = MockNode::fleet(3);
    let names: Vec<_> = (0..100).map(|number| format!("r{number:02}")).collect();
    let parts = redlock(&nodes).acquire(&names, TTL).await.unwrap().into_parts().await.unwrap();
    // Of each node, the key that expires first counts.
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
async fn the_validity_counts_from_before_the_first_byte() {
    let nodes = MockNode::fleet(3);
    let parts = parts(&nodes).await;
    let far: Vec<_> = nodes.iter().map(|node| node.clone().with_latency(ms(30))).collect();
    let start = Instant::now();
    let lock = redlock(&far).resume(parts).await.unwrap();
    assert_eq!(start.elapsed(), ms(30));
    // The nodes reported 9.97 s.
    assert_eq!(lock.validity(), ms(9_970).mul_f64(0.99) - ms(2) - ms(30));
    sleep(lock.validity() - ms(1)).await;
    assert!(lock.check().is_ok());
    sleep(ms(1)).await;
    assert!(lock.check().is_err());
    assert!(nodes.iter().all(|node| node.peek("r").is_some()), "the validity is over before the first key expires");
}

proptest! {
    /// For each node: how long it holds the lock, by how many millionths its clock is fast, and its latency.
    #[test]
    fn a_quorum_holds_a_resumed_lock_until_its_validity_ends_for_any_keys_and_clocks(
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
async fn a_minority_may_have_forgotten_the_lock_and_is_healed() {
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
    // It is the first to answer, and the last one to answer reports the longest time.
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
    assert!(one.check().is_ok() && other.check().is_ok());
    // The release by one handle makes the other lose the lock.
    assert_eq!(one.release().await.unwrap(), Release::Released);
    first.close().await.unwrap();
    let error = other.extend(TTL).await.unwrap_err();
    assert!(matches!(error, ExtendError::Lost { .. }), "{error}");
    assert!(other.check().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_resumed_lock_is_extended_and_its_lifetime_counts_from_the_resume() {
    let nodes = MockNode::fleet(3);
    let (there, parts) = (redlock(&nodes), parts(&nodes).await);
    // Later than the first extend after an acquire would be.
    sleep(TTL - ms(200)).await;
    let start = Instant::now();
    let mut lock = there.resume(parts).await.unwrap();
    lock.auto_extend(AutoExtend::default().max_lifetime(6 * TTL)).unwrap();
    sleep(5 * TTL).await;
    assert!(lock.check().is_ok());
    let loss = lock.lost().await;
    assert!(matches!(loss, LockLost::LifetimeOver { .. }), "{loss}");
    assert!((ms(59_500)..=6 * TTL).contains(&start.elapsed()), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_resume_dropped_at_any_poll_changes_nothing() {
    for polls in 0.. {
        let nodes = MockNode::fleet(3);
        let parts = parts(&nodes).await;
        let far: Vec<_> = (1..).zip(&nodes).map(|(i, node)| node.clone().with_latency(ms(i * 10))).collect();
        let there = redlock(&far);
        // Less than half of the validity is left, so slow nodes are awaited too.
        sleep(ms(6_000)).await;
        let resumed = drop_after(polls, there.resume(copy(&parts))).await;
        if let Some(lock) = resumed {
            assert!(polls >= 3 && lock.unwrap().check().is_ok());
            break;
        }
        there.close().await.unwrap();
        assert_eq!(keys(&nodes).len(), 3, "dropped after {polls} polls");
        assert_eq!(there.resume(parts).await.unwrap().release().await.unwrap(), Release::Released);
    }
}

#[tokio::test(start_paused = true)]
async fn a_resumed_lock_that_is_dropped_is_released_everywhere() {
    let nodes = MockNode::fleet(3);
    let (there, parts) = (redlock(&nodes), parts(&nodes).await);
    // This node never receives the request with which this process resumes the lock.
    nodes[2].inject(Fault::LoseRequest);
    drop(there.resume(parts).await.unwrap());
    there.close().await.unwrap();
    assert_eq!(keys(&nodes), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn the_futures_of_into_parts_and_resume_can_be_spawned() {
    let nodes = MockNode::fleet(3);
    let (here, there) = (redlock(&nodes), redlock(&nodes));
    let parts = tokio::spawn(async move { here.acquire("r", TTL).await.unwrap().into_parts().await });
    let parts = parts.await.unwrap().unwrap();
    let resumed = tokio::spawn(async move { there.resume(parts).await });
    assert!(resumed.await.unwrap().unwrap().check().is_ok());
}
