//! Several locks that are acquired as one.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use redlock_core::{AcquireOptions, ExtendError, Release, Retry};

use crate::lab::{Lab, once};

const TTL: Duration = Duration::from_secs(30);

pub(super) async fn several_locks_are_acquired_and_released_as_one(lab: &Lab) {
    let redlock = lab.redlock(5);
    let lock = redlock.acquire(["b", "a", "c"], TTL).await.unwrap();
    assert_eq!(lock.resource(), "a");
    let names: Vec<_> = lock.resources().iter().map(|resource| resource.as_str()).collect();
    assert_eq!(names, ["a", "b", "c"]);
    assert!(lock.check().is_ok());
    for name in names {
        lab.until_held_by(5, name).await;
        assert_eq!(lab.value(0, name).await.as_deref(), Some(lock.token().as_str()));
    }
    assert_eq!(lock.release().await.unwrap(), Release::Released);
    redlock.close().await.unwrap();
    for name in ["a", "b", "c"] {
        assert_eq!(lab.holding(name).await, 0);
    }
}

pub(super) async fn overlapping_locks_exclude_each_other(lab: &Lab) {
    let (ours, theirs) = (lab.redlock(3), lab.redlock(3));
    let lock = ours.acquire(["a", "b"], TTL).await.unwrap();
    for names in [vec!["b", "c"], vec!["a"], vec!["b", "a"]] {
        let error = theirs.acquire(&names, once(TTL)).await.unwrap_err();
        assert!(error.is_contended(), "{error}");
        assert!(error.to_string().contains(r#""a""#) || error.to_string().contains(r#""b""#), "{error}");
    }
    assert!(theirs.try_acquire("a", TTL).await.unwrap().is_none());
    let other = theirs.try_acquire(["c", "d"], TTL).await.unwrap().unwrap();
    assert_eq!(other.release().await.unwrap(), Release::Released);

    assert_eq!(lock.release().await.unwrap(), Release::Released);
    // A lock on one name excludes all sets that contain the name.
    let one = ours.acquire("b", TTL).await.unwrap();
    assert!(theirs.try_acquire(["a", "b"], TTL).await.unwrap().is_none());
    assert_eq!(one.release().await.unwrap(), Release::Released);
}

pub(super) async fn several_locks_are_extended_as_one(lab: &Lab) {
    let redlock = lab.redlock(3);
    let mut lock = redlock.acquire(["a", "b"], TTL).await.unwrap();
    for name in ["a", "b"] {
        lab.until_held_by(3, name).await;
    }
    // A node that lost one of the keys gets it again.
    lab.remove(0, "b").await;
    assert!(lock.extend(4 * TTL).await.unwrap() > 3 * TTL);
    for name in ["a", "b"] {
        lab.until_held_by(3, name).await;
        assert!(lab.remaining(0, name).await.unwrap() > 3 * TTL);
    }
    // If another holder took one of the keys on a quorum, the whole lock is lost.
    for index in 0..3 {
        lab.set(index, "b", "another", None).await;
    }
    let error = lock.extend(4 * TTL).await.unwrap_err();
    assert!(matches!(error, ExtendError::Lost { .. }), "{error}");
    assert!(error.to_string().starts_with(r#"the lock on "a", "b" is lost"#), "{error}");
    assert_eq!(lock.release().await.unwrap(), Release::NotHeld);
    redlock.close().await.unwrap();
    assert_eq!((lab.holding("a").await, lab.holding("b").await), (0, 3));
}

pub(super) async fn a_lost_round_over_several_names_leaves_nothing_behind(lab: &Lab) {
    let redlock = lab.redlock(3);
    for index in 0..2 {
        lab.set(index, "b", "another", None).await;
    }
    assert!(redlock.try_acquire(["a", "b", "c"], TTL).await.unwrap().is_none());
    redlock.close().await.unwrap();
    assert_eq!((lab.holding("a").await, lab.holding("b").await, lab.holding("c").await), (0, 2, 0));
}

pub(super) async fn names_in_different_orders_never_deadlock(lab: &Lab) {
    let (inside, done) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let workers: Vec<_> = [["a", "b", "c"], ["c", "b", "a"], ["b", "c", "a"]]
        .into_iter()
        .map(|names| {
            let (redlock, inside, done) = (lab.redlock(3), Arc::clone(&inside), Arc::clone(&done));
            tokio::spawn(async move {
                let pause = Duration::from_millis(20);
                let retry = Retry::timeout(Duration::from_secs(60)).fixed(pause).jitter(pause);
                for _ in 0..5 {
                    let lock = redlock.acquire(names, AcquireOptions::new(TTL).retry(retry.clone())).await.unwrap();
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two holders");
                    tokio::time::sleep(Duration::from_millis(2)).await;
                    inside.fetch_sub(1, Ordering::SeqCst);
                    done.fetch_add(1, Ordering::SeqCst);
                    assert_eq!(lock.release().await.unwrap(), Release::Released);
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.unwrap();
    }
    assert_eq!(done.load(Ordering::SeqCst), 15);
}

pub(super) async fn several_names_are_locked_in_time_next_to_queued_locks_of_each(lab: &Lab) {
    let mut queued = tokio::task::JoinSet::new();
    for name in ["a", "b"] {
        for redlock in [lab.redlock(3), lab.redlock(3)] {
            for _ in 0..4 {
                let redlock = redlock.clone();
                queued.spawn(async move {
                    loop {
                        let retry = Retry::timeout(Duration::from_secs(60));
                        let lock = redlock.acquire(name, AcquireOptions::new(TTL).retry(retry)).await.unwrap();
                        tokio::time::sleep(Duration::from_millis(20)).await;
                        let _ = lock.release().await;
                    }
                });
            }
        }
    }
    let redlock = lab.redlock(3);
    for _ in 0..3 {
        let retry = Retry::timeout(Duration::from_secs(30));
        let lock = redlock.acquire(["b", "a"], AcquireOptions::new(TTL).retry(retry)).await.unwrap();
        assert_eq!(lock.release().await.unwrap(), Release::Released);
    }
    queued.shutdown().await;
}

pub(super) async fn duplicate_names_count_once(lab: &Lab) {
    let redlock = lab.redlock(3);
    let lock = redlock.acquire(["a", "b", "a"], TTL).await.unwrap();
    assert_eq!(lock.resources().len(), 2);
    assert_eq!(lock.release().await.unwrap(), Release::Released);
    let lock = redlock.acquire(["a", "a"], TTL).await.unwrap();
    assert_eq!(lock.resources().len(), 1);
    assert_eq!(lock.release().await.unwrap(), Release::Released);
}
