//! A lock that is handed off to the next waiter of the same process.

use std::{sync::Arc, time::Duration};

use redlock_core::{AcquireOptions, Release, ReleaseError, UsingError};
use redlock_mock::{Fault, MockNode};
use tokio::time::{Instant, sleep};

use super::{TTL, patient, waits, with_latencies};
use crate::support::{ms, redlock};

#[tokio::test(start_paused = true)]
async fn fencing_tokens_increase_with_each_hand_off_within_a_process() {
    let nodes = MockNode::fleet(3);
    let redlock = Arc::new(redlock(&nodes));
    let first = redlock.acquire("r", AcquireOptions::new(TTL).fencing(true)).await.unwrap();
    let waiting: Vec<_> = (0..6)
        .map(|_| {
            let redlock = Arc::clone(&redlock);
            tokio::spawn(async move { redlock.acquire("r", patient().fencing(true)).await })
        })
        .collect();
    sleep(ms(20)).await;
    let mut last = first.fencing_token();
    let _ = first.release().await.unwrap();
    for next in waiting {
        let lock = next.await.unwrap().unwrap();
        assert!(lock.fencing_token() > last, "{:?} after {last:?}", lock.fencing_token());
        last = lock.fencing_token();
        let _ = lock.release().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_successor_that_is_not_polled_does_not_delay_the_release() {
    let nodes = with_latencies(&MockNode::fleet(3), [5; 3]);
    let redlock = redlock(&nodes);
    let lock = redlock.acquire("r", TTL).await.unwrap();
    let mut successor = Box::pin(redlock.acquire("r", patient()));
    assert!(tokio::time::timeout(ms(300), &mut successor).await.is_err());
    let released = tokio::spawn(lock.release());
    tokio::task::yield_now().await;
    // It gets its turn and sends its requests, and then it is not polled for a while.
    assert!(tokio::time::timeout(Duration::ZERO, &mut successor).await.is_err());
    assert_eq!(released.await.unwrap().unwrap(), Release::Released);
    let _ = successor.await.unwrap().release().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_handed_off_lock_is_reported_released_even_if_answers_are_lost() {
    let nodes: Vec<_> = MockNode::fleet(3).into_iter().map(|node| node.with_response_timeout(ms(30))).collect();
    let nodes = with_latencies(&nodes, [1; 3]);
    let redlock = redlock(&nodes);
    let lock = redlock.acquire("r", TTL).await.unwrap();
    let waiting = waits(&redlock);
    sleep(ms(300)).await;
    nodes[..2].iter().for_each(|node| node.inject(Fault::LoseAnswer));
    assert_eq!(lock.release().await.unwrap(), Release::Released);
    drop(waiting.await.unwrap().0);
}

#[tokio::test(start_paused = true)]
async fn a_hand_off_whose_requests_were_sent_twice_is_unknown_and_not_lost() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    let waiting = std::sync::Mutex::new(None);
    let twice = || nodes.iter().for_each(|node| node.inject(Fault::SendAgain(Duration::ZERO)));
    let done = redlock.using("r", TTL, async |_| {
        *waiting.lock().unwrap() = Some(waits(&redlock));
        sleep(ms(300)).await;
        twice();
        Ok::<_, UsingError>("done")
    });
    assert_eq!(done.await.unwrap(), "done");
    let waiting = waiting.into_inner().unwrap().unwrap();
    let (lock, _) = waiting.await.unwrap();
    let waiting = waits(&redlock);
    sleep(ms(300)).await;
    twice();
    let released = lock.release().await;
    assert!(matches!(released, Err(ReleaseError::Unknown { .. })), "{released:?}");
    drop(waiting.await.unwrap().0);
}

#[tokio::test(start_paused = true)]
async fn a_hung_node_delays_hand_offs_only_at_first_and_briefly() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    let mut lock = redlock.acquire("r", TTL).await.unwrap();
    // The node that would notify the next waiter.
    nodes[0].hang();
    let mut waits = Vec::new();
    for _ in 0..10 {
        let _ = lock.release().await.unwrap();
        let released = Instant::now();
        lock = redlock.acquire("r", patient()).await.unwrap();
        waits.push(released.elapsed());
        sleep(ms(100)).await;
    }
    assert!(waits.iter().all(|wait| *wait <= ms(60)), "{waits:?}");
    assert!(waits[6..].iter().all(|wait| *wait <= ms(2)), "{waits:?}");
    drop(lock);
}

#[tokio::test(start_paused = true)]
async fn releasing_a_lock_that_another_holder_took_returns_not_held_even_if_a_successor_waits() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    let lock = redlock.acquire("r", TTL).await.unwrap();
    let waiting = waits(&redlock);
    sleep(ms(100)).await;
    nodes.iter().for_each(|node| node.set("r", "another", Some(ms(500))));
    assert_eq!(lock.release().await.unwrap(), Release::NotHeld);
    let _ = waiting.await.unwrap().0.release().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_handed_off_lock_is_reported_released_however_slow_the_nodes_are() {
    // The TTL is so short that the node timeout is hardly longer than the latency.
    let ttl = ms(3000);
    for latency in (24..40).map(ms) {
        let nodes: Vec<_> = MockNode::fleet(3).into_iter().map(|node| node.with_latency(latency)).collect();
        let redlock = redlock(&nodes);
        for _ in 0..5 {
            let lock = redlock.acquire("r", ttl).await.unwrap();
            let next = tokio::spawn({
                let redlock = redlock.clone();
                async move { redlock.acquire("r", ttl).await.map(drop) }
            });
            sleep(ms(300)).await;
            // The release may stop waiting until its successor's request has ended, and then follows that request.
            assert_eq!(lock.release().await.unwrap(), Release::Released, "{latency:?}");
            next.await.unwrap().unwrap();
            sleep(ms(500)).await;
        }
    }
}
