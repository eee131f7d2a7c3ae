//! Locks that are extended for as long as their work runs.

use std::time::Duration;

use redlock_core::{AcquireOptions, AutoExtend, LockLost, Redlock, Release, UsingError};
use tokio::time::{Instant, sleep, timeout};

use crate::lab::Lab;

/// Long enough that an extend survives a stall of one second.
const TTL: Duration = Duration::from_secs(4);

async fn kept(redlock: &Redlock, ttl: Duration) -> redlock_core::Lock {
    redlock.acquire("r", AcquireOptions::new(ttl).auto_extend(AutoExtend::default())).await.unwrap()
}

pub(super) async fn an_auto_extended_lock_lasts_as_long_as_its_work(lab: &Lab) {
    let redlock = lab.redlock(3);
    let lock = kept(&redlock, TTL).await;
    let start = Instant::now();
    while start.elapsed() < 3 * TTL {
        sleep(TTL / 5).await;
        lock.check().unwrap();
        assert!(lab.redlock(3).try_acquire("r", TTL).await.unwrap().is_none());
    }
    assert_eq!(lock.release().await.unwrap(), Release::Released);
    sleep(TTL / 2).await;
    assert_eq!(lab.holding("r").await, 0, "set again after the release");
}

pub(super) async fn an_auto_extended_lock_survives_the_restart_of_every_node_in_turn(lab: &Lab) {
    let redlock = lab.redlock(3);
    let lock = kept(&redlock, 2 * TTL).await;
    lab.until_held_by(3, "r").await;
    for index in 0..3 {
        lab.restart(index).await;
        // It is healed by the next extend, after a third of the TTL.
        lab.until_held_by(3, "r").await;
        lock.check().unwrap();
    }
    sleep(2 * TTL).await;
    lock.check().unwrap();
    assert!(lab.redlock(3).try_acquire("r", TTL).await.unwrap().is_none());
    assert_eq!(lock.release().await.unwrap(), Release::Released);
}

pub(super) async fn a_lock_that_no_quorum_confirms_is_reported_lost_before_its_keys_expire(lab: &Lab) {
    let redlock = lab.redlock(3);
    let lock = kept(&redlock, TTL).await;
    lab.until_held_by(3, "r").await;
    lab.stop(0).await;
    lab.stop(1).await;
    let loss = timeout(TTL, lock.lost()).await.unwrap();
    assert!(matches!(&loss, LockLost::Expired { last_extend: Some(_), .. }), "{loss}");
    assert!(lock.check().is_err());
    assert_eq!(lab.holding("r").await, 1, "the third node still holds it");
}

pub(super) async fn an_auto_extended_lock_that_another_holder_took_is_reported_lost(lab: &Lab) {
    let redlock = lab.redlock(3);
    let lock = kept(&redlock, TTL).await;
    lab.until_held_by(3, "r").await;
    for index in 0..3 {
        lab.set(index, "r", "another", None).await;
    }
    let loss = timeout(TTL, lock.lost()).await.unwrap();
    assert!(matches!(loss, LockLost::NotHeld { .. }), "{loss}");
    drop(lock);
    redlock.close().await.unwrap();
    assert_eq!(lab.holding("r").await, 3, "the keys of another holder remain");
}

pub(super) async fn using_runs_work_under_the_lock_and_releases_it(lab: &Lab) {
    let redlock = lab.redlock(3);
    let worked = redlock.using("r", TTL, async |lock| {
        sleep(2 * TTL).await;
        lock.check()?;
        Ok::<_, UsingError>(lab.redlock(3))
    });
    let others = worked.await.unwrap();
    redlock.close().await.unwrap();
    assert_eq!(others.try_acquire("r", TTL).await.unwrap().unwrap().release().await.unwrap(), Release::Released);
}

pub(super) async fn work_whose_lock_is_lost_is_dropped(lab: &Lab) {
    let redlock = lab.redlock(3);
    let start = Instant::now();
    let work = redlock.using("r", TTL, async |_| {
        lab.stop(0).await;
        lab.stop(2).await;
        std::future::pending::<Result<(), _>>().await
    });
    let error = timeout(10 * TTL, work).await.unwrap().unwrap_err();
    assert!(matches!(error, UsingError::Lost(LockLost::Expired { .. })), "{error}");
    assert!(start.elapsed() > TTL / 2);
}
