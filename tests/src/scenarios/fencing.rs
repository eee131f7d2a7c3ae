//! Fencing tokens: a number for each lock, greater than all before.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use redlock_core::{AcquireOptions, FencingToken, Lock, LockParts, NodeErrorKind, Redlock, Release, UsingError};

use crate::lab::{Lab, eventually};

const TTL: Duration = Duration::from_secs(30);

fn fenced(lab: &Lab, nodes: usize) -> Redlock {
    lab.builder(nodes).fencing(true).build().unwrap()
}

/// Acquires the lock, releases it everywhere, and returns its token.
async fn token(lab: &Lab, redlock: &Redlock) -> FencingToken {
    let lock = redlock.acquire("r", TTL).await.unwrap();
    let token = lock.fencing_token().unwrap();
    let _ = lock.release().await.unwrap();
    lab.close(redlock).await;
    token
}

/// Waits until all of these nodes have counted up to this token.
async fn until_counted(lab: &Lab, nodes: usize, token: FencingToken) {
    let counted = eventually(async || {
        let mut counted = 0;
        for node in 0..nodes {
            let counter = lab.value(node, "{r}:fence").await.and_then(|counter| counter.parse::<u64>().ok());
            counted += usize::from(counter >= Some(token.get()));
        }
        counted == nodes
    });
    assert!(counted.await, "not all nodes have counted up to {token}");
}

pub(super) async fn each_token_is_greater_than_the_one_before(lab: &Lab) {
    let mut before = None;
    for _ in 0..30 {
        // Each from another process.
        let next = Some(token(lab, &fenced(lab, 5)).await);
        assert!(next > before, "{next:?} after {before:?}");
        before = next;
    }
}

pub(super) async fn contenders_get_tokens_in_the_order_of_their_locks(lab: &Lab) {
    let tokens = Arc::new(Mutex::new(Vec::new()));
    let contenders: Vec<_> = (0..6)
        .map(|_| {
            let (redlock, tokens) = (fenced(lab, 3), Arc::clone(&tokens));
            tokio::spawn(async move {
                for _ in 0..5 {
                    let options = AcquireOptions::new(TTL).timeout(Duration::from_secs(60));
                    let lock = redlock.acquire("r", options).await.unwrap();
                    tokens.lock().unwrap().push(lock.fencing_token().unwrap());
                    let _ = lock.release().await.unwrap();
                }
            })
        })
        .collect();
    for contender in contenders {
        contender.await.unwrap();
    }
    let tokens = tokens.lock().unwrap();
    assert_eq!(tokens.len(), 30);
    assert!(tokens.is_sorted_by(|before, after| before < after), "{tokens:?}");
}

pub(super) async fn without_fencing_there_is_no_token_and_no_counter(lab: &Lab) {
    let redlock = fenced(lab, 3);
    let lock = redlock.acquire("r", AcquireOptions::new(TTL).fencing(false)).await.unwrap();
    assert_eq!(lock.fencing_token(), None);
    assert_eq!(lab.value(0, "{r}:fence").await, None);
    let _ = lock.release().await.unwrap();
    let once = lab.redlock(3).acquire("r", AcquireOptions::new(TTL).fencing(true)).await.unwrap();
    assert!(once.fencing_token().is_some());
    let _ = once.release().await.unwrap();
}

pub(super) async fn a_counter_is_a_separate_key_that_outlives_its_lock(lab: &Lab) {
    let redlock = lab.builder(3).fencing(true).key_prefix("app:").build().unwrap();
    let (week, names) = (Duration::from_secs(7 * 24 * 60 * 60), ["r", "{slot}r"]);
    let lock = redlock.acquire(names, TTL).await.unwrap();
    assert!(lock.fencing_token().is_some());
    let _ = lock.release().await.unwrap();
    redlock.close().await.unwrap();
    for counter in ["{app:r}:fence", "app:{slot}r:fence"] {
        // A node that granted late may have another counter.
        let counted = lab.value(0, counter).await.unwrap().parse::<u64>().unwrap();
        assert!(FencingToken::new(counted).is_some(), "{counter}: {counted}");
        let remaining = lab.remaining(0, counter).await.unwrap();
        assert!(remaining <= week && remaining > week - Duration::from_secs(60), "{remaining:?}");
    }
}

pub(super) async fn an_extend_and_a_transfer_keep_the_fencing_token(lab: &Lab) {
    let (here, there) = (fenced(lab, 3), lab.redlock(3));
    let mut lock = here.acquire("r", TTL).await.unwrap();
    let token = lock.fencing_token().unwrap();
    lock.extend(2 * TTL).await.unwrap();
    assert_eq!(lock.fencing_token(), Some(token));
    let parts = lock.into_parts().await.unwrap();
    here.close().await.unwrap();

    // In the form in which it is transferred: text and numbers.
    let fence = FencingToken::new(parts.fencing_token().unwrap().get()).unwrap();
    let parts = LockParts::new(["r"], parts.token().as_str(), parts.ttl()).unwrap().with_fencing_token(fence);
    let mut lock = there.resume(parts).await.unwrap();
    assert_eq!(lock.fencing_token(), Some(token));
    // A node that lost all its data gets the counter back with the key.
    lab.remove(0, "r").await;
    lab.remove(0, "{r}:fence").await;
    lock.extend(2 * TTL).await.unwrap();
    until_counted(lab, 3, token).await;
    assert_eq!(lock.release().await.unwrap(), Release::Released);
}

pub(super) async fn work_under_a_lock_can_read_its_fencing_token(lab: &Lab) {
    let redlock = fenced(lab, 3);
    let token = async |lock: &Lock| Ok::<_, UsingError>(lock.fencing_token().unwrap());
    let first = redlock.using("r", TTL, token).await.unwrap();
    let second = redlock.using("r", TTL, token).await.unwrap();
    assert!(first < second);
}

pub(super) async fn a_node_that_forgot_its_counter_does_not_lower_the_next_token(lab: &Lab) {
    let redlock = fenced(lab, 3);
    let mut before = token(lab, &redlock).await;
    for node in 0..3 {
        // In virtual time, a counter that starts again from the clock would not be above the counters of the same
        // moment.
        tokio::time::sleep(Duration::from_millis(2)).await;
        lab.restart(node).await;
        // The node that lost its data is needed now.
        let other = (node + 1) % 3;
        lab.stop(other).await;
        let next = token(lab, &redlock).await;
        assert!(next > before, "{next} after {before}");
        tokio::time::sleep(Duration::from_millis(2)).await;
        lab.mend(other).await;
        // The other node has lost its data as well; a lock on all nodes raises both counters.
        before = token(lab, &redlock).await;
        assert!(before > next, "{before} after {next}");
    }
}

pub(super) async fn nodes_with_different_counters_agree_on_the_greatest(lab: &Lab) {
    let redlock = fenced(lab, 3);
    let first = token(lab, &redlock).await;
    let ahead = first.get() + 60_000_000;
    lab.set(2, "{r}:fence", &ahead.to_string(), Some(TTL)).await;
    lab.stop(0).await;
    assert_eq!(token(lab, &redlock).await.get(), ahead + 1, "the other one was raised");
    lab.stop(2).await;
    lab.mend(0).await;
    let next = token(lab, &redlock).await.get();
    assert!(next > ahead + 1, "{next} after {}", ahead + 1);
}

pub(super) async fn a_lock_with_several_names_has_one_token_above_those_of_each_name(lab: &Lab) {
    let redlock = fenced(lab, 3);
    for _ in 0..5 {
        token(lab, &redlock).await;
    }
    let before = token(lab, &redlock).await;
    let both = redlock.acquire(["q", "r"], TTL).await.unwrap();
    let of_both = both.fencing_token().unwrap();
    let _ = both.release().await.unwrap();
    redlock.close().await.unwrap();
    assert!(of_both > before);
    assert!(token(lab, &redlock).await > of_both);
    let other = redlock.acquire("q", TTL).await.unwrap();
    assert!(other.fencing_token().unwrap() > of_both);
}

pub(super) async fn a_minority_is_not_needed_for_a_token(lab: &Lab) {
    let redlock = fenced(lab, 5);
    let mut before = token(lab, &redlock).await;
    lab.stop(0).await;
    lab.hang(1).await;
    for _ in 0..3 {
        let lock = redlock.acquire("r", TTL).await.unwrap();
        let next = lock.fencing_token().unwrap();
        assert!(next > before);
        before = next;
        let _ = lock.release().await.unwrap();
    }
}

pub(super) async fn a_counter_that_is_no_number_is_an_error_and_not_changed(lab: &Lab) {
    let redlock = fenced(lab, 3);
    for node in 0..2 {
        lab.set(node, "{r}:fence", "a lock of another", None).await;
    }
    let error = redlock.try_acquire("r", TTL).await.unwrap_err();
    assert!(error.to_string().contains("too many nodes failed"), "{error}");
    redlock.close().await.unwrap();
    assert_eq!(lab.value(0, "{r}:fence").await.as_deref(), Some("a lock of another"));
    assert_eq!(lab.holding("r").await, 0);

    for node in 0..2 {
        lab.remove(node, "{r}:fence").await;
        lab.set_list(node, "{r}:fence").await;
    }
    let error = redlock.try_acquire("r", TTL).await.unwrap_err();
    assert!(error.to_string().contains(&NodeErrorKind::WrongType.to_string()), "{error}");
}

pub(super) async fn a_counter_far_ahead_of_the_clock_counts_against_its_node(lab: &Lab) {
    const DAMAGED: &str = "9007199254740990";
    lab.set(0, "{r}:fence", DAMAGED, None).await;
    let redlock = fenced(lab, 3);
    let mut before = 0;
    for _ in 0..3 {
        let lock = redlock.try_acquire("r", TTL).await.unwrap().unwrap();
        let token = lock.fencing_token().unwrap().get();
        assert!(before < token && token < 8_000_000_000_000_000, "{token}");
        before = token;
        assert_eq!(lock.release().await.unwrap(), Release::Released);
    }
    assert_eq!(lab.value(0, "{r}:fence").await.as_deref(), Some(DAMAGED));

    let error = fenced(lab, 1).try_acquire("r", TTL).await.unwrap_err();
    assert!(error.to_string().contains("too many nodes failed"), "{error}");
    // Several names have several counters, and none of them may be ahead.
    let error = fenced(lab, 1).try_acquire(["q", "r"], TTL).await.unwrap_err();
    assert!(error.to_string().contains("too many nodes failed"), "{error}");
    lab.remove(0, "{r}:fence").await;
    assert!(fenced(lab, 1).try_acquire(["q", "r"], TTL).await.unwrap().is_some());
}
