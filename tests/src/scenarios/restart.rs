//! Nodes that stop and start empty.

use std::time::Duration;

use redlock_core::{ExtendError, Release};

use crate::lab::{Lab, eventually};

const TTL: Duration = Duration::from_secs(30);

pub(super) async fn a_lock_survives_the_restart_of_a_minority(lab: &Lab) {
    let redlock = lab.redlock(5);
    let lock = redlock.acquire("r", TTL).await.unwrap();
    lab.until_held_by(5, "r").await;
    lab.restart(0).await;
    lab.restart(3).await;
    assert!(lab.redlock(5).try_acquire("r", TTL).await.unwrap().is_none());
    assert_eq!(lock.release().await.unwrap(), Release::Released);
}

pub(super) async fn an_extended_lock_survives_the_restart_of_every_node_in_turn(lab: &Lab) {
    let redlock = lab.redlock(3);
    let mut lock = redlock.acquire("r", TTL).await.unwrap();
    lab.until_held_by(3, "r").await;
    for index in 0..3 {
        lab.restart(index).await;
        // A node is used again within a second after it has started.
        let healed = eventually(async || {
            tokio::time::sleep(Duration::from_millis(10)).await;
            lab.holding("r").await == 3
        });
        tokio::pin!(healed);
        loop {
            lock.extend(TTL).await.unwrap();
            tokio::select! {
                biased;
                healed = &mut healed => break assert!(healed, "node {index} was not healed"),
                () = tokio::time::sleep(Duration::from_millis(50)) => {}
            }
        }
    }
    assert!(lab.redlock(3).try_acquire("r", TTL).await.unwrap().is_none());
    assert_eq!(lock.release().await.unwrap(), Release::Released);
}

pub(super) async fn beyond_the_promise_one_node_that_restarts_empty_makes_two_holders(lab: &Lab) {
    let ours = lab.redlock(3);
    lab.stop(2).await;
    let mut lock = ours.acquire("r", TTL).await.unwrap();
    lab.until_held_by(2, "r").await;
    lab.mend(2).await;
    lab.restart(1).await;
    let next = lab.redlock(3).acquire("r", TTL).await.unwrap();
    assert!(lock.check().is_ok() && next.check().is_ok(), "two holders");
    // Still promised: the first holder learns of it as soon as it reaches the nodes, and takes nothing from the second.
    let told = async {
        while !matches!(lock.extend(TTL).await, Err(ExtendError::Lost { .. })) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(TTL / 3, told).await.unwrap();
    assert!(lock.check().is_err());
    drop(lock);
    ours.close().await.unwrap();
    lab.until_held_by(2, "r").await;
    assert_eq!(next.release().await.unwrap(), Release::Released);
}

pub(super) async fn a_node_that_was_down_at_the_start_is_used_once_it_is_up(lab: &Lab) {
    lab.stop(2).await;
    let redlock = lab.redlock(3);
    let _ = redlock.acquire("before", TTL).await.unwrap().release().await.unwrap();
    lab.mend(2).await;
    is_used(lab, 2, &redlock).await;
}

pub(super) async fn a_node_that_restarts_is_used_again(lab: &Lab) {
    let redlock = lab.redlock(3);
    let _ = redlock.acquire("before", TTL).await.unwrap().release().await.unwrap();
    lab.restart(1).await;
    is_used(lab, 1, &redlock).await;
}

/// Checks that locks reach the node again after a while.
async fn is_used(lab: &Lab, index: usize, redlock: &redlock_core::Redlock) {
    let used = eventually(async || {
        let lock = redlock.acquire("r", TTL).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        let holds = lab.value(index, "r").await.is_some();
        let _ = lock.release().await.unwrap();
        redlock.close().await.unwrap();
        holds
    });
    assert!(used.await, "node {index} is not used");
}
