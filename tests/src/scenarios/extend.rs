//! Extending a lock.

use std::time::Duration;

use redlock_core::{ExtendError, Release};

use crate::lab::Lab;

/// Long enough to survive a stall of one second.
const TTL: Duration = Duration::from_secs(3);

pub(super) async fn an_extended_lock_outlives_its_first_ttl(lab: &Lab) {
    let redlock = lab.redlock(3);
    let mut lock = redlock.acquire("r", TTL).await.unwrap();
    let validity = lock.extend(100 * TTL).await.unwrap();
    assert!(validity > 90 * TTL && validity <= 99 * TTL);
    tokio::time::sleep(2 * TTL).await;
    assert!(lock.check().is_ok());
    assert!(lab.redlock(3).try_acquire("r", 100 * TTL).await.unwrap().is_none());
    assert_eq!(lock.release().await.unwrap(), Release::Released);
}

pub(super) async fn an_expired_lock_is_not_revived(lab: &Lab) {
    let redlock = lab.redlock(3);
    let mut lock = redlock.acquire("r", TTL).await.unwrap();
    tokio::time::sleep(2 * TTL).await;
    let error = lock.extend(TTL).await.unwrap_err();
    assert!(matches!(error, ExtendError::Expired { .. }), "{error}");
    assert_eq!(lab.holding("r").await, 0, "the extend must not have set anything");
}

pub(super) async fn extending_a_lock_that_another_holder_took_reports_it_lost(lab: &Lab) {
    let redlock = lab.redlock(3);
    let mut lock = redlock.acquire("r", 100 * TTL).await.unwrap();
    lab.until_held_by(3, "r").await;
    for index in 0..3 {
        lab.set(index, "r", "another", None).await;
    }
    let error = lock.extend(100 * TTL).await.unwrap_err();
    assert!(matches!(error, ExtendError::Lost { .. }), "{error}");
    assert!(lock.check().is_err());
    drop(lock);
    redlock.close().await.unwrap();
    assert_eq!(lab.holding("r").await, 3, "the keys of another holder remain");
}

pub(super) async fn a_failed_extend_does_not_lose_the_lock(lab: &Lab) {
    let redlock = lab.redlock(3);
    let mut lock = redlock.acquire("r", 100 * TTL).await.unwrap();
    lab.until_held_by(3, "r").await;
    lab.hang(0).await;
    lab.hang(1).await;
    let error = lock.extend(200 * TTL).await.unwrap_err();
    assert!(matches!(error, ExtendError::NoQuorum { .. }), "{error}");
    assert!(lock.check().is_ok());
    assert!(lock.validity() < 100 * TTL, "the old deadline remains");
    lab.mend(0).await;
    lab.mend(1).await;
    // A release would be done in the background.
    redlock.close().await.unwrap();
    assert_eq!(lab.holding("r").await, 3, "nothing was released");
    lock.extend(200 * TTL).await.unwrap();
    assert_eq!(lock.release().await.unwrap(), Release::Released);
    redlock.close().await.unwrap();
}
