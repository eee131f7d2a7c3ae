//! A lock that leaves its process: nothing in the process touches it anymore.

use std::{task::Poll, time::Duration};

use redlock_core::{AcquireOptions, AutoExtend, LockLost, Redlock, Release, ResumeError};
use redlock_mock::{Fault, MockNode};
use tokio::{
    runtime::Builder,
    time::{Instant, sleep},
};

use super::{NODE_TIMEOUT, TTL, copy, parts};
use crate::support::{drop_after, keys, ms, poll_once, redlock};

#[tokio::test(start_paused = true)]
async fn a_transferred_lock_reports_its_transfer_and_is_no_longer_extended() {
    let nodes = MockNode::fleet(3);
    let here = redlock(&nodes);
    let kept = AcquireOptions::new(TTL).auto_extend(AutoExtend::default());
    let lock = here.acquire("r", kept).await.unwrap();
    let lost = tokio::spawn(lock.lost());
    sleep(5 * TTL).await;
    let parts = lock.into_parts().await.unwrap();
    let loss = lost.await.unwrap();
    assert!(matches!(loss, LockLost::Transferred { .. }), "{loss}");
    assert_eq!(loss.to_string(), "the lock on \"r\" was transferred to another process");
    let requests = nodes[0].requests();
    sleep(TTL).await;
    assert_eq!(nodes[0].requests(), requests);
    let there = redlock(&nodes);
    let error = there.resume(parts).await.unwrap_err();
    assert!(matches!(error, ResumeError::Lost { .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_lost_lock_is_not_transferred() {
    let nodes = MockNode::fleet(3);
    let here = redlock(&nodes);
    let lock = here.acquire("r", TTL).await.unwrap();
    sleep(lock.validity()).await;
    assert_eq!(keys(&nodes).len(), 3, "the keys outlive the validity");
    let loss = lock.into_parts().await.unwrap_err();
    assert!(matches!(loss, LockLost::Expired { .. }), "{loss}");
    here.close().await.unwrap();
    assert_eq!(keys(&nodes), [""; 0]);

    let mut lock = here.acquire("r", TTL).await.unwrap();
    nodes[..2].iter().for_each(|node| node.set("r", "another", None));
    lock.extend(TTL).await.unwrap_err();
    let loss = lock.into_parts().await.unwrap_err();
    assert!(matches!(loss, LockLost::NotHeld { .. }), "{loss}");
    here.close().await.unwrap();
    assert_eq!(keys(&nodes).len(), 2, "another's");
}

#[tokio::test(start_paused = true)]
async fn the_first_process_sets_no_key_that_the_second_released() {
    // An acquire that is late on one node, and extends that are in flight to all.
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
async fn an_extend_behind_a_slow_request_is_not_sent_after_the_transfer() {
    let mut nodes = MockNode::fleet(3);
    nodes[2] = nodes[2].clone().with_latency(ms(150));
    let here = redlock(&nodes);
    let mut lock = here.acquire("r", TTL).await.unwrap();
    // On the slow node the extend waits for the acquire, which is still in flight.
    lock.extend(2 * TTL).await.unwrap();
    let start = Instant::now();
    let _parts = lock.into_parts().await.unwrap();
    assert_eq!(start.elapsed(), ms(150));
    here.close().await.unwrap();
    assert_eq!(nodes.iter().map(MockNode::requests).collect::<Vec<_>>(), [2, 2, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_hung_node_delays_the_transfer_for_no_longer_than_the_node_timeout() {
    let nodes = MockNode::fleet(3);
    let (here, there) = (redlock(&nodes), redlock(&nodes));
    nodes[2].hang();
    let lock = here.acquire("r", TTL).await.unwrap();
    let start = Instant::now();
    let parts = lock.into_parts().await.unwrap();
    assert_eq!(start.elapsed(), NODE_TIMEOUT);
    assert_eq!(there.resume(parts).await.unwrap().release().await.unwrap(), Release::Released);
    // The acquire that waited in the node comes before the release that waits there.
    nodes[2].resume();
    there.close().await.unwrap();
    here.close().await.unwrap();
    assert_eq!(keys(&nodes), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_transfer_dropped_at_any_poll_releases_the_lock() {
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
            assert!(polls >= 3 && matches!(lost.await, LockLost::Transferred { .. }));
            assert_eq!(keys(&nodes).len(), 5);
            drop(parts);
            break;
        }
        assert!(matches!(lost.await, LockLost::Released { .. }));
        assert_eq!(keys(&nodes), [""; 0], "dropped after {polls} polls");
    }
}

#[test]
fn outside_a_runtime_resume_is_an_error_and_into_parts_does_not_wait() {
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
fn on_a_runtime_without_timers_resume_and_into_parts_panic_and_no_key_is_left() {
    let nodes = MockNode::fleet(3);
    let redlock = Redlock::new(nodes.clone()).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let timeless = Builder::new_current_thread().build().unwrap();
    let acquire = || runtime.block_on(redlock.acquire("r", TTL)).unwrap();

    let parts = runtime.block_on(acquire().into_parts()).unwrap();
    let call = std::panic::AssertUnwindSafe(|| timeless.block_on(redlock.resume(copy(&parts))));
    std::panic::catch_unwind(call).unwrap_err();
    assert_eq!(keys(&nodes).len(), 3);
    let _ = runtime.block_on(async { redlock.resume(parts).await.unwrap().release().await }).unwrap();
    runtime.block_on(redlock.close()).unwrap();

    let lock = acquire();
    let call = std::panic::AssertUnwindSafe(|| timeless.block_on(lock.into_parts()));
    std::panic::catch_unwind(call).unwrap_err();
    runtime.block_on(redlock.close()).unwrap();
    assert_eq!(keys(&nodes), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn no_printed_value_reveals_the_token() {
    let nodes = MockNode::fleet(3);
    let parts = parts(&nodes).await;
    let secret = parts.token().as_str().get(..9).unwrap().to_owned();
    let mut printed = format!("{parts:?}");
    nodes[..2].iter().for_each(MockNode::stop);
    let error = redlock(&nodes).resume(parts).await.unwrap_err();
    printed += &format!("{error} {error:?}");
    assert!(!printed.contains(&secret), "{printed}");
}
