//! Named locks that expire, are lost, or are extended while their work runs.

use std::{sync::Arc, time::Duration};

use redlock_core::{
    AcquireOptions, AutoExtend, NamedLocks, Redlock, Release, UnlockError,
    named::{MapRegistry, Registry},
    testing::TokioClock,
};
use redlock_mock::MockNode;
use tokio::time::{Instant, sleep};

use super::{TTL, fleet, holding, kept};

with_every_registry! {
    unlocking_an_expired_lock_reports_it_and_takes_no_time,
    an_expired_lock_is_replaced_by_the_next_of_its_holder,
    unlock_reports_a_lost_lock_even_if_another_holder_has_the_name_now,
    unlocking_a_lock_that_another_holder_took_returns_not_held,
    an_auto_extended_lock_lasts_until_it_is_unlocked,
}

async fn unlocking_an_expired_lock_reports_it_and_takes_no_time(registry: Arc<dyn Registry>) {
    let (nodes, named) = fleet(registry);
    let validity = named.lock("r", TTL).await.unwrap();
    sleep(validity).await;
    assert_eq!(named.validity("r"), Duration::ZERO);
    sleep(Duration::from_secs(3)).await;
    nodes.iter().for_each(MockNode::hang);
    let start = Instant::now();
    let error = named.unlock("r").await.unwrap_err();
    assert_eq!(start.elapsed(), Duration::ZERO);
    let UnlockError::Expired { ago: Some(ago), .. } = error else { panic!("{error}") };
    // Timers count in milliseconds.
    assert!((3_000..=3_002).contains(&ago.as_millis()), "{ago:?}");
    assert!(error.to_string().contains("the lock had ended 3s before"), "{error}");
    // Only the first unlock reports it.
    assert!(matches!(named.unlock("r").await, Err(UnlockError::NotLocked { .. })));
}

async fn an_expired_lock_is_replaced_by_the_next_of_its_holder(registry: Arc<dyn Registry>) {
    let (nodes, named) = fleet(registry);
    for _ in 0..5 {
        named.lock("r", TTL).await.unwrap();
        assert_eq!((named.count(), holding(&nodes, "r")), (1, 3));
        sleep(2 * TTL).await;
    }
    named.lock("r", TTL).await.unwrap();
    assert_eq!(named.unlock("r").await.unwrap(), Release::Released);
    // The earlier locks are forgotten.
    assert!(matches!(named.unlock("r").await, Err(UnlockError::NotLocked { .. })));
    assert_eq!(named.count(), 0);
}

async fn unlock_reports_a_lost_lock_even_if_another_holder_has_the_name_now(registry: Arc<dyn Registry>) {
    let (_, named) = fleet(registry);
    let (ours, theirs) = (named.with_owner("ours"), named.with_owner("theirs"));
    for _ in 0..3 {
        ours.lock("r", TTL).await.unwrap();
        sleep(2 * TTL).await;
        theirs.lock("r", TTL).await.unwrap();
        assert_eq!(ours.validity("r"), Duration::ZERO);
        assert!(matches!(ours.unlock("r").await, Err(UnlockError::Expired { .. })));
        sleep(2 * TTL).await;
        // It has expired too, so nobody holds the name.
        assert!(matches!(named.unlock("r").await, Err(UnlockError::NotLocked { .. })));
    }
}

async fn unlocking_a_lock_that_another_holder_took_returns_not_held(registry: Arc<dyn Registry>) {
    let (nodes, named) = fleet(registry);
    named.lock("r", TTL).await.unwrap();
    nodes.iter().for_each(|node| node.set("r", "another", None));
    assert_eq!(named.unlock("r").await.unwrap(), Release::NotHeld);

    // Also if an extend has found that out before.
    named.lock("s", kept(20 * TTL)).await.unwrap();
    nodes.iter().for_each(|node| node.set("s", "another", None));
    sleep(TTL).await;
    assert_eq!(named.validity("s"), Duration::ZERO);
    assert_eq!(named.unlock("s").await.unwrap(), Release::NotHeld);
    assert_eq!((holding(&nodes, "r"), holding(&nodes, "s")), (3, 3));
}

async fn an_auto_extended_lock_lasts_until_it_is_unlocked(registry: Arc<dyn Registry>) {
    let (nodes, named) = fleet(registry);
    named.lock("r", kept(20 * TTL)).await.unwrap();
    for _ in 0..15 {
        sleep(TTL).await;
        assert!(named.validity("r") > TTL / 2, "{:?}", named.validity("r"));
    }
    assert_eq!(named.unlock("r").await.unwrap(), Release::Released);
    let requests = nodes[0].requests();
    sleep(2 * TTL).await;
    assert_eq!((nodes[0].requests(), holding(&nodes, "r")), (requests, 0));
    // And it lives no longer than its maximum lifetime.
    let start = Instant::now();
    named.lock("r", kept(3 * TTL)).await.unwrap();
    sleep(4 * TTL).await;
    let error = named.unlock("r").await.unwrap_err();
    let UnlockError::Expired { ago: Some(ago), .. } = error else { panic!("{error}") };
    let lived = start.elapsed() - ago;
    assert!(lived <= 3 * TTL && lived > 3 * TTL - TTL / 10, "{lived:?}");
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_was_lost_and_never_unlocked_leaves_no_keys_behind() {
    let nodes = MockNode::fleet(3);
    let redlock = Redlock::builder().nodes(nodes.clone()).clock(TokioClock::default()).build().unwrap();
    let named = NamedLocks::new(&redlock, MapRegistry::default().collect_every(Duration::ZERO));
    let hour = Duration::from_secs(3600);
    named
        .lock("r", AcquireOptions::new(hour).auto_extend(AutoExtend::default().max_lifetime(10 * hour)))
        .await
        .unwrap();
    nodes.iter().for_each(|node| node.restart(redlock_mock::Memory::Lost));
    // The next extend sets the keys again, and finds that the lock is lost.
    sleep(hour / 3).await;
    assert!(nodes.iter().all(|node| node.peek("r").is_some()) && named.validity("r").is_zero());
    assert!(named.unlock("another").await.is_err());
    redlock.close().await.unwrap();
    assert!(nodes.iter().all(|node| node.resources().is_empty()));
    let _ = redlock.try_acquire("r", TTL).await.unwrap().unwrap().release().await.unwrap();
}
