//! Holders of named locks: only the holder of a lock unlocks it.

use std::{future::Future, sync::Arc, time::Duration};

use redlock_core::{
    AcquireError, AcquireOptions, NamedLocks, Release, ResourceError, Retry, UnlockError, named::Registry,
};
use redlock_mock::MockNode;
use tokio::time::sleep;

use super::{TTL, fleet, holding, redlock};

with_every_registry! {
    a_name_is_locked_and_unlocked,
    unlocking_a_name_that_is_not_locked_is_an_error,
    locking_an_invalid_name_is_an_error,
    another_task_cannot_unlock,
    outside_of_tasks_the_thread_is_the_holder,
    a_newer_lock_of_another_task_is_never_deleted,
    a_slow_unlock_does_not_affect_the_next_lock,
    two_tasks_share_a_lock_by_an_owner_label,
    no_lock_is_reentrant,
    named_locks_and_other_locks_exclude_each_other,
}

/// Runs the work in its own task.
async fn elsewhere<F: Future<Output: Send> + Send + 'static>(
    named: &NamedLocks,
    work: impl FnOnce(NamedLocks) -> F,
) -> F::Output {
    tokio::spawn(work(named.clone())).await.unwrap()
}

async fn unlocked_elsewhere(named: &NamedLocks, name: &'static str) -> Result<Release, UnlockError> {
    elsewhere(named, |named| async move { named.unlock(name).await }).await
}

async fn a_name_is_locked_and_unlocked(registry: Arc<dyn Registry>) {
    let (nodes, named) = fleet(registry);
    let validity = named.lock("r", TTL).await.unwrap();
    assert_eq!(validity, TTL - TTL / 100 - Duration::from_millis(2));
    assert_eq!((named.validity("r"), named.count(), holding(&nodes, "r")), (validity, 1, 3));
    assert_eq!(named.clone().unlock("r").await.unwrap(), Release::Released);
    assert_eq!((named.validity("r"), named.count(), holding(&nodes, "r")), (Duration::ZERO, 0, 0));
}

async fn unlocking_a_name_that_is_not_locked_is_an_error(registry: Arc<dyn Registry>) {
    let (nodes, named) = fleet(registry);
    let error = named.unlock("r").await.unwrap_err();
    assert!(matches!(&error, UnlockError::NotLocked { name } if name.as_str() == "r"), "{error}");
    named.lock("r", TTL).await.unwrap();
    let _ = named.unlock("r").await.unwrap();
    let requests = nodes[0].requests();
    let error = named.unlock("r").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "could not unlock \"r\": it is not locked here, or no longer; each `named()` has locks of its own"
    );
    assert_eq!(nodes[0].requests(), requests);
}

async fn locking_an_invalid_name_is_an_error(registry: Arc<dyn Registry>) {
    let (nodes, named) = fleet(registry);
    assert!(matches!(named.lock("", TTL).await, Err(AcquireError::Resource(ResourceError::Empty))));
    assert!(matches!(named.unlock("").await, Err(UnlockError::Resource(ResourceError::Empty))));
    assert!(matches!(named.lock("r", Duration::ZERO).await, Err(AcquireError::Ttl(_))));
    assert_eq!((named.validity(""), named.count(), nodes[0].requests()), (Duration::ZERO, 0, 0));
}

async fn another_task_cannot_unlock(registry: Arc<dyn Registry>) {
    let (nodes, named) = fleet(registry);
    let holder = named.clone();
    let (locked, told) = (Arc::new(tokio::sync::Notify::new()), Arc::new(tokio::sync::Notify::new()));
    let (is_locked, is_told) = (Arc::clone(&locked), Arc::clone(&told));
    let holding_task = tokio::spawn(async move {
        holder.lock("r", TTL).await.unwrap();
        is_locked.notify_one();
        is_told.notified().await;
        holder.unlock("r").await
    });
    locked.notified().await;
    for error in [named.unlock("r").await.unwrap_err(), unlocked_elsewhere(&named, "r").await.unwrap_err()] {
        assert!(matches!(&error, UnlockError::HeldByAnother { name } if name.as_str() == "r"), "{error}");
        assert!(error.to_string().contains("another task holds it"), "{error}");
    }
    assert_eq!((named.validity("r"), holding(&nodes, "r")), (Duration::ZERO, 3));
    told.notify_one();
    assert_eq!(holding_task.await.unwrap().unwrap(), Release::Released);
}

async fn outside_of_tasks_the_thread_is_the_holder(registry: Arc<dyn Registry>) {
    let (nodes, named) = fleet(registry);
    named.lock("r", TTL).await.unwrap();
    let (other, runtime) = (named.clone(), tokio::runtime::Handle::current());
    let error = std::thread::spawn(move || runtime.block_on(other.unlock("r"))).join().unwrap().unwrap_err();
    assert!(matches!(error, UnlockError::HeldByAnother { .. }), "{error}");
    assert_eq!(holding(&nodes, "r"), 3);
    let _ = named.unlock("r").await.unwrap();
}

async fn a_newer_lock_of_another_task_is_never_deleted(registry: Arc<dyn Registry>) {
    let (nodes, named) = fleet(registry);
    named.lock("r", TTL).await.unwrap();
    sleep(2 * TTL).await;
    let newer = named.with_owner("another");
    newer.lock("r", TTL).await.unwrap();
    let values: Vec<_> = nodes.iter().map(|node| node.peek("r")).collect();

    let error = named.unlock("r").await.unwrap_err();
    assert!(matches!(error, UnlockError::Expired { .. }), "{error}");
    // The expired lock is forgotten, and another holder has the name.
    assert!(matches!(named.unlock("r").await, Err(UnlockError::HeldByAnother { .. })));
    assert!(matches!(unlocked_elsewhere(&named, "r").await, Err(UnlockError::HeldByAnother { .. })));
    sleep(TTL / 2).await;
    assert_eq!(nodes.iter().map(|node| node.peek("r")).collect::<Vec<_>>(), values);
    assert!(newer.validity("r") > TTL / 3);
    assert_eq!(newer.unlock("r").await.unwrap(), Release::Released);
}

async fn a_slow_unlock_does_not_affect_the_next_lock(registry: Arc<dyn Registry>) {
    let latency = Duration::from_millis(40);
    let nodes: Vec<_> = (0..3).map(|n| MockNode::new(format!("{n}")).with_latency(latency)).collect();
    let named = NamedLocks::new(&redlock(&nodes), registry).with_owner("all");
    named.lock("r", TTL).await.unwrap();
    let unlocks = tokio::spawn({
        let named = named.clone();
        async move { named.unlock("r").await }
    });
    sleep(latency / 2).await;
    // It has not returned when the next holder locks, and that one's requests are answered after it.
    assert!(!unlocks.is_finished());
    named.lock("r", TTL).await.unwrap();
    assert_eq!(unlocks.await.unwrap().unwrap(), Release::Released);
    assert!(named.validity("r") > TTL / 2);
    assert_eq!((named.count(), holding(&nodes, "r")), (1, 3));
    assert_eq!(named.unlock("r").await.unwrap(), Release::Released);
}

async fn two_tasks_share_a_lock_by_an_owner_label(registry: Arc<dyn Registry>) {
    let (nodes, named) = fleet(registry);
    elsewhere(&named, |named| async move { named.with_owner("order 7").lock("r", TTL).await.unwrap() }).await;
    assert!(matches!(named.unlock("r").await, Err(UnlockError::HeldByAnother { .. })));
    assert!(matches!(named.with_owner("order 8").unlock("r").await, Err(UnlockError::HeldByAnother { .. })));
    assert!(named.with_owner("order 7").validity("r") > TTL / 2);
    assert_eq!(unlocked_elsewhere(&named.with_owner("order 7"), "r").await.unwrap(), Release::Released);
    assert_eq!(holding(&nodes, "r"), 0);
}

async fn no_lock_is_reentrant(registry: Arc<dyn Registry>) {
    let (_, named) = fleet(registry);
    named.lock("r", TTL).await.unwrap();
    let once = AcquireOptions::new(TTL).retry(Retry::never());
    assert!(named.lock("r", once.clone()).await.unwrap_err().is_contended());
    assert!(named.with_owner("another").lock("r", once).await.unwrap_err().is_contended());
    // The failed calls have changed nothing.
    assert_eq!((named.count(), named.unlock("r").await.unwrap()), (1, Release::Released));
}

async fn named_locks_and_other_locks_exclude_each_other(registry: Arc<dyn Registry>) {
    let (nodes, named) = fleet(registry);
    let redlock = redlock(&nodes);
    named.lock("r", TTL).await.unwrap();
    assert!(redlock.try_acquire("r", TTL).await.unwrap().is_none());
    let _ = named.unlock("r").await.unwrap();
    let lock = redlock.try_acquire("r", TTL).await.unwrap().unwrap();
    assert!(matches!(named.unlock("r").await, Err(UnlockError::NotLocked { .. })));
    let _ = lock.release().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn each_call_to_named_has_its_own_locks() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    let named = redlock.named();
    named.lock("r", TTL).await.unwrap();
    assert!(matches!(redlock.named().unlock("r").await, Err(UnlockError::NotLocked { .. })));
    assert!(format!("{named:?}").contains("MapRegistry { interval: Some(60s), count: 1 }"), "{named:?}");
    let _ = named.unlock("r").await.unwrap();
}
