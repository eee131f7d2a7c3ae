//! Locks by name.

use std::time::Duration;

use redlock_core::{AcquireOptions, NamedLocks, Release, UnlockError};

use crate::lab::Lab;

const TTL: Duration = Duration::from_secs(30);
/// Long enough for every backend, and short enough to wait for.
const SHORT: Duration = Duration::from_secs(3);

/// Unlocks in another task.
async fn unlocked_elsewhere(named: &NamedLocks, name: &'static str) -> Result<Release, UnlockError> {
    let named = named.clone();
    tokio::spawn(async move { named.unlock(name).await }).await.unwrap()
}

pub(super) async fn a_name_is_locked_and_unlocked(lab: &Lab) {
    let redlock = lab.redlock(5);
    let (ours, theirs) = (redlock.named(), lab.redlock(5).named());
    for named in [&ours, &theirs, &ours] {
        let validity = named.lock("r", TTL).await.unwrap();
        assert!(validity > TTL / 2 && validity < TTL, "{validity:?}");
        assert!(lab.holding("r").await >= 3);
        assert_eq!(named.unlock("r").await.unwrap(), Release::Released);
        assert!(matches!(named.unlock("r").await, Err(UnlockError::NotLocked { .. })));
    }
    redlock.close().await.unwrap();
    lab.until_held_by(0, "r").await;
}

pub(super) async fn another_task_cannot_unlock(lab: &Lab) {
    let named = lab.redlock(3).named();
    named.lock("r", TTL).await.unwrap();
    lab.until_held_by(3, "r").await;
    let error = unlocked_elsewhere(&named, "r").await.unwrap_err();
    assert!(matches!(error, UnlockError::HeldByAnother { .. }), "{error}");
    assert_eq!(lab.holding("r").await, 3);
    assert_eq!(named.unlock("r").await.unwrap(), Release::Released);
}

pub(super) async fn a_newer_lock_of_another_task_is_never_deleted(lab: &Lab) {
    let redlock = lab.redlock(3);
    let named = redlock.named();
    named.lock("r", SHORT).await.unwrap();
    let newer = named.with_owner("another");
    newer.lock("r", AcquireOptions::new(TTL).timeout(10 * SHORT)).await.unwrap();
    let error = named.unlock("r").await.unwrap_err();
    assert!(matches!(error, UnlockError::Expired { .. }), "{error}");
    let error = unlocked_elsewhere(&named, "r").await.unwrap_err();
    assert!(matches!(error, UnlockError::HeldByAnother { .. }), "{error}");
    // The background releases do not release the newer lock either.
    redlock.close().await.unwrap();
    // One node, on which the older lock expired last, may have refused the newer one.
    assert!(lab.holding("r").await >= 2);
    assert_eq!(unlocked_elsewhere(&newer, "r").await.unwrap(), Release::Released);
}

pub(super) async fn unlocking_an_expired_lock_is_an_error(lab: &Lab) {
    let named = lab.redlock(3).named();
    named.lock("r", SHORT).await.unwrap();
    tokio::time::sleep(2 * SHORT).await;
    assert!(named.validity("r").is_zero());
    let error = named.unlock("r").await.unwrap_err();
    let UnlockError::Expired { ago: Some(ago), .. } = error else { panic!("{error}") };
    assert!(ago >= SHORT, "{ago:?}");
}

pub(super) async fn release_all_leaves_nothing_behind(lab: &Lab) {
    let redlock = lab.redlock(3);
    let named = redlock.named();
    for number in 0..50 {
        named.with_owner(number.to_string()).lock(format!("r{number:02}"), TTL).await.unwrap();
    }
    let outcomes = named.release_all().await;
    assert_eq!(outcomes.len(), 50);
    for (number, (name, outcome)) in outcomes.into_iter().enumerate() {
        assert_eq!((name.as_str(), outcome.unwrap()), (format!("r{number:02}").as_str(), Release::Released));
    }
    redlock.close().await.unwrap();
    for number in 0..50 {
        assert_eq!(lab.holding(&format!("r{number:02}")).await, 0);
    }
}
