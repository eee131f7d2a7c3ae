//! Acquiring a lock, and waiting for it.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use redlock_core::{AcquireError, AcquireOptions, NodeAnswer, Owner, Release, ReleaseError, Retry};

use crate::lab::{Lab, once};

const TTL: Duration = Duration::from_secs(30);

pub(super) async fn a_free_lock_is_acquired_on_all_nodes(lab: &Lab) {
    let redlock = lab.redlock(5);
    let lock = redlock.acquire("r", TTL).await.unwrap();
    assert_eq!(lock.resource(), "r");
    assert!(lock.check().is_ok());
    assert!(lock.validity() <= TTL - TTL / 100 - Duration::from_millis(2));
    // By now a quorum has granted; the late nodes follow.
    assert!(lab.holding("r").await >= 3);
    lab.until_held_by(5, "r").await;
    assert_eq!(lab.value(0, "r").await.as_deref(), Some(lock.token().as_str()));
    assert_eq!(lock.release().await.unwrap(), Release::Released);
}

pub(super) async fn a_held_lock_is_contended(lab: &Lab) {
    let (ours, theirs) = (lab.redlock(3), lab.redlock(3));
    let lock = ours.acquire("r", TTL).await.unwrap();
    lab.until_held_by(3, "r").await;
    let error = theirs.acquire("r", once(TTL)).await.unwrap_err();
    assert!(error.is_contended());
    let AcquireError::Contended(tried) = error else { panic!("{error}") };
    assert_eq!(tried.made, 1);
    let votes = tried.last_round;
    assert_eq!((votes.granted(), votes.needed(), votes.nodes().len()), (0, 2, 3));
    let told = |answer: &NodeAnswer| matches!(answer, NodeAnswer::Held { remaining: Some(left) } if *left <= TTL);
    assert!(votes.nodes().iter().any(|node| told(&node.answer)), "{votes}");
    // The release of the lost round must not have touched the holder's keys.
    theirs.close().await.unwrap();
    assert_eq!(lab.holding("r").await, 3);
    assert_eq!(lock.release().await.unwrap(), Release::Released);
}

pub(super) async fn a_waiter_gets_the_lock_after_its_release(lab: &Lab) {
    let (ours, theirs) = (lab.redlock(3), lab.redlock(3));
    let lock = ours.acquire("r", TTL).await.unwrap();
    let waiter = tokio::spawn(async move { theirs.acquire("r", TTL).await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!waiter.is_finished());
    let _ = lock.release().await.unwrap();
    let lock = waiter.await.unwrap().unwrap();
    assert!(lock.check().is_ok());
    let _ = lock.release().await.unwrap();
}

pub(super) async fn a_waiter_gets_the_lock_after_its_holder_crashed(lab: &Lab) {
    for index in 0..3 {
        lab.set(index, "r", "crashed", Some(Duration::from_millis(300))).await;
    }
    let once = Retry::attempts(3).fixed(TTL);
    // A pause of half a minute is shortened to the holder's remaining TTL.
    let acquire = lab.redlock(3);
    let call = acquire.acquire("r", AcquireOptions::new(TTL).retry(once));
    let lock = tokio::time::timeout(TTL / 2, call).await.unwrap().unwrap();
    assert_eq!(lock.release().await.unwrap(), Release::Released);
}

pub(super) async fn locks_on_different_resources_are_independent(lab: &Lab) {
    let redlock = lab.redlock(3);
    let a = redlock.acquire("a", TTL).await.unwrap();
    let b = redlock.try_acquire("b", TTL).await.unwrap().unwrap();
    assert_eq!(a.release().await.unwrap(), Release::Released);
    assert_eq!(b.release().await.unwrap(), Release::Released);
}

pub(super) async fn every_lock_has_its_own_token(lab: &Lab) {
    let redlock = lab.redlock(3);
    let mut tokens = HashSet::new();
    for _ in 0..20 {
        let lock = redlock.acquire("r", TTL).await.unwrap();
        assert!(tokens.insert(*lock.token()));
        let _ = lock.release().await.unwrap();
    }
}

pub(super) async fn a_lock_names_its_owner_on_the_nodes(lab: &Lab) {
    let ours = lab.builder(3).owner(Owner::new("nightly report").unwrap()).build().unwrap();
    let (plain, theirs) = (lab.redlock(3), lab.builder(3).owner(Owner::this_process()).build().unwrap());
    let mut lock = ours.acquire("r", TTL).await.unwrap();
    assert_eq!(lock.token().owner(), Some("nightly report"));
    lab.until_held_by(3, "r").await;
    assert!(lab.value(0, "r").await.unwrap().ends_with(":nightly report"));
    // Locks with and without an owner exclude each other.
    assert!(theirs.try_acquire("r", TTL).await.unwrap().is_none());
    assert!(plain.try_acquire("r", TTL).await.unwrap().is_none());
    lock.extend(2 * TTL).await.unwrap();
    assert_eq!(lock.release().await.unwrap(), Release::Released);
    let lock = plain.acquire("r", TTL).await.unwrap();
    assert_eq!((lock.token().owner(), lock.token().as_str().len()), (None, 40));
    assert!(ours.try_acquire("r", TTL).await.unwrap().is_none());
    assert_eq!(lock.release().await.unwrap(), Release::Released);
}

pub(super) async fn every_key_begins_with_the_prefix(lab: &Lab) {
    let prefixed = || lab.builder(3).key_prefix("app:").build().unwrap();
    let (ours, theirs, plain) = (prefixed(), prefixed(), lab.redlock(3));
    let mut lock = ours.acquire("r", TTL).await.unwrap();
    assert_eq!(lock.resource(), "r");
    lab.until_held_by(3, "app:r").await;
    assert_eq!(lab.holding("r").await, 0);
    let error = theirs.acquire("r", once(TTL)).await.unwrap_err();
    assert!(error.is_contended() && error.to_string().starts_with(r#"could not lock "r": "#), "{error}");
    // Another prefix, or none, makes another lock, unless the keys are the same.
    let _ = plain.try_acquire("r", TTL).await.unwrap().unwrap().release().await.unwrap();
    assert!(plain.try_acquire("app:r", TTL).await.unwrap().is_none());
    // A request of theirs that is still in flight must not find the node without the key.
    for redlock in [&theirs, &plain] {
        redlock.close().await.unwrap();
    }
    lab.remove(0, "app:r").await;
    lock.extend(2 * TTL).await.unwrap();
    lab.until_held_by(3, "app:r").await;
    assert_eq!(lock.release().await.unwrap(), Release::Released);

    let lock = ours.acquire(["b", "a"], TTL).await.unwrap();
    for key in ["app:a", "app:b"] {
        lab.until_held_by(3, key).await;
    }
    assert_eq!(lock.resources().to_string(), r#""a", "b""#);
    assert_eq!(lock.release().await.unwrap(), Release::Released);
    ours.close().await.unwrap();
    for key in ["app:r", "app:a", "app:b", "r", "a", "b"] {
        assert_eq!(lab.holding(key).await, 0, "{key}");
    }
}

pub(super) async fn a_lost_round_leaves_nothing_behind(lab: &Lab) {
    lab.set(0, "r", "another", None).await;
    lab.set(1, "r", "another", None).await;
    let redlock = lab.redlock(3);
    assert!(redlock.try_acquire("r", TTL).await.unwrap().is_none());
    redlock.close().await.unwrap();
    assert_eq!(lab.value(2, "r").await, None);
    assert_eq!(lab.value(0, "r").await.as_deref(), Some("another"));
}

pub(super) async fn a_cancelled_call_leaves_nothing_behind(lab: &Lab) {
    let redlock = lab.redlock(5);
    for microseconds in [0, 50, 100, 150, 200, 300, 500, 1_000, 3_000] {
        let patience = Duration::from_micros(microseconds);
        drop(tokio::time::timeout(patience, redlock.acquire("r", TTL)).await);
        redlock.close().await.unwrap();
        assert_eq!(lab.holding("r").await, 0, "cancelled after {patience:?}");
    }
}

pub(super) async fn work_under_the_lock_is_exclusive(lab: &Lab) {
    const WORKERS: u32 = 8;
    const SECTIONS: u32 = 10;
    let (inside, done) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let brief = Retry::timeout(2 * TTL).fixed(Duration::from_millis(10)).jitter(Duration::from_millis(10));
    let workers: Vec<_> = (0..WORKERS)
        .map(|_| {
            let redlock = lab.builder(3).retry(brief.clone()).build().unwrap();
            let (inside, done) = (Arc::clone(&inside), Arc::clone(&done));
            tokio::spawn(async move {
                for _ in 0..SECTIONS {
                    let lock = redlock.acquire("r", TTL).await.unwrap();
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two holders");
                    let counted = done.load(Ordering::SeqCst);
                    tokio::task::yield_now().await;
                    done.store(counted + 1, Ordering::SeqCst);
                    inside.fetch_sub(1, Ordering::SeqCst);
                    // On a busy machine, too few nodes may have answered in time.
                    let released = lock.release().await;
                    assert!(
                        matches!(released, Ok(Release::Released) | Err(ReleaseError::Unknown { .. })),
                        "{released:?}"
                    );
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.unwrap();
    }
    assert_eq!(done.load(Ordering::SeqCst), WORKERS * SECTIONS);
}
