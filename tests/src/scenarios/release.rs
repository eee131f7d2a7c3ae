//! Giving a lock back.

use std::time::Duration;

use redlock_core::Release;

use crate::lab::Lab;

const TTL: Duration = Duration::from_secs(30);

pub(super) async fn a_released_lock_is_free_at_once(lab: &Lab) {
    let (ours, theirs) = (lab.redlock(5), lab.redlock(5));
    for _ in 0..20 {
        let lock = ours.acquire("r", TTL).await.unwrap();
        assert_eq!(lock.release().await.unwrap(), Release::Released);
        // Nodes that had not answered when the release was done are asked in the background.
        ours.close().await.unwrap();
        let lock = theirs.try_acquire("r", TTL).await.unwrap();
        assert_eq!(lock.release().await.unwrap(), Release::Released);
        theirs.close().await.unwrap();
    }
    assert_eq!(lab.holding("r").await, 0);
}

pub(super) async fn a_dropped_lock_is_given_back(lab: &Lab) {
    let redlock = lab.redlock(5);
    drop(redlock.acquire("r", TTL).await.unwrap());
    redlock.close().await.unwrap();
    assert_eq!(lab.holding("r").await, 0);
}

pub(super) async fn a_lock_that_expired_is_told_gone(lab: &Lab) {
    let redlock = lab.redlock(3);
    let ttl = Duration::from_secs(3);
    let lock = redlock.acquire("r", ttl).await.unwrap();
    tokio::time::sleep(2 * ttl).await;
    assert!(!lock.is_valid());
    assert_eq!(lock.release().await.unwrap(), Release::AlreadyGone);
}

pub(super) async fn the_next_holder_is_not_released(lab: &Lab) {
    let (ours, theirs) = (lab.redlock(3), lab.redlock(3));
    let ttl = Duration::from_secs(3);
    let lock = ours.acquire("r", ttl).await.unwrap();
    tokio::time::sleep(2 * ttl).await;
    let next = theirs.acquire("r", TTL).await.unwrap();
    lab.until_held_by(3, "r").await;
    assert_eq!(lock.release().await.unwrap(), Release::AlreadyGone);
    ours.close().await.unwrap();
    assert_eq!(lab.holding("r").await, 3);
    assert_eq!(next.release().await.unwrap(), Release::Released);
}

pub(super) async fn a_release_without_a_quorum_is_told_unknown(lab: &Lab) {
    let redlock = lab.redlock(3);
    let lock = redlock.acquire("r", TTL).await.unwrap();
    lab.until_held_by(3, "r").await;
    lab.stop(0).await;
    lab.hang(1).await;
    let error = lock.release().await.unwrap_err();
    let votes = error.votes().unwrap();
    assert_eq!((votes.granted(), votes.needed()), (1, 2), "{error}");
    assert_eq!(lab.value(2, "r").await, None);
    lab.mend(1).await;
    redlock.close().await.unwrap();
}
