//! Releasing a lock.

use std::time::Duration;

use redlock_core::Release;

use crate::{
    lab::{Lab, eventually},
    servers::ServerOptions,
};

const TTL: Duration = Duration::from_secs(30);

pub(super) async fn a_released_lock_is_free_at_once(lab: &Lab) {
    let (ours, theirs) = (lab.redlock(5), lab.redlock(5));
    for _ in 0..20 {
        let lock = ours.acquire("r", TTL).await.unwrap();
        assert_eq!(lock.release().await.unwrap(), Release::Released);
        // Nodes that had not answered when the release returned are released in the background.
        ours.close().await.unwrap();
        let lock = theirs.try_acquire("r", TTL).await.unwrap().unwrap();
        assert_eq!(lock.release().await.unwrap(), Release::Released);
        theirs.close().await.unwrap();
    }
    assert_eq!(lab.holding("r").await, 0);
}

pub(super) async fn a_dropped_lock_is_released(lab: &Lab) {
    let redlock = lab.redlock(5);
    drop(redlock.acquire("r", TTL).await.unwrap());
    redlock.close().await.unwrap();
    assert_eq!(lab.holding("r").await, 0);
}

pub(super) async fn releasing_an_expired_lock_returns_not_held(lab: &Lab) {
    let redlock = lab.redlock(3);
    let ttl = Duration::from_secs(3);
    let lock = redlock.acquire("r", ttl).await.unwrap();
    tokio::time::sleep(2 * ttl).await;
    assert!(lock.check().is_err());
    assert_eq!(lock.release().await.unwrap(), Release::NotHeld);
}

pub(super) async fn a_late_release_does_not_release_the_next_holder(lab: &Lab) {
    let (ours, theirs) = (lab.redlock(3), lab.redlock(3));
    let ttl = Duration::from_secs(3);
    let lock = ours.acquire("r", ttl).await.unwrap();
    tokio::time::sleep(2 * ttl).await;
    let next = theirs.acquire("r", TTL).await.unwrap();
    lab.until_held_by(3, "r").await;
    assert_eq!(lock.release().await.unwrap(), Release::NotHeld);
    ours.close().await.unwrap();
    assert_eq!(lab.holding("r").await, 3);
    assert_eq!(next.release().await.unwrap(), Release::Released);
}

pub(super) async fn a_release_without_a_quorum_has_an_unknown_outcome(lab: &Lab) {
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
    lab.close(&redlock).await;
}

pub(super) async fn many_locks_dropped_at_once_leave_nothing_behind(lab: &Lab) {
    const LOCKS: usize = 3_000;
    let redlock = lab.redlock(3);
    let mut locks = Vec::with_capacity(LOCKS);
    for number in 0..LOCKS {
        locks.push(redlock.acquire(format!("r{number}"), Duration::from_secs(600)).await.unwrap());
    }
    drop(locks);
    redlock.close().await.unwrap();
    for number in 0..LOCKS {
        assert_eq!(lab.holding(&format!("r{number}")).await, 0, "r{number} is held by nobody");
    }
}

pub(super) async fn a_release_that_a_stopped_node_missed_is_delivered_once_it_is_up_again(lab: &Lab) {
    let server = lab.server(&ServerOptions::new().keep_memory()).await;
    let redlock = lab.builder(2).node(lab.open(&server.url())).build().unwrap();
    let lock = redlock.acquire("r", Duration::from_secs(600)).await.unwrap();
    assert!(eventually(async || !server.command(&["GET", "r"]).await.unwrap().is_nil()).await);
    server.stop().await.unwrap();
    assert_eq!(lock.release().await.unwrap(), Release::Released);
    let error = redlock.close().await.unwrap_err();
    assert!(error.to_string().contains("has not answered 1 releases"), "{error}");
    server.start().await.unwrap();
    assert!(eventually(async || server.command(&["GET", "r"]).await.unwrap().is_nil()).await);
    redlock.close().await.unwrap();
}
