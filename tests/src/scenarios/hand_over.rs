//! Locks that continue in another process. Each `Redlock` has its own connections, as a process has.

use std::time::Duration;

use redlock_core::{AcquireOptions, AutoExtend, LockLost, LockParts, Redlock, Release, ResumeError};

use crate::lab::Lab;

const TTL: Duration = Duration::from_secs(30);

/// Returns a lock in transfer that all of these nodes hold.
async fn parts(lab: &Lab, nodes: usize, ttl: Duration) -> LockParts {
    let here = lab.redlock(nodes);
    let parts = here.acquire("r", ttl).await.unwrap().into_parts().await.unwrap();
    here.close().await.unwrap();
    parts
}

async fn is_lost(there: &Redlock, parts: LockParts) {
    let error = there.resume(parts).await.unwrap_err();
    assert!(matches!(error, ResumeError::Lost { .. }), "{error}");
    there.close().await.unwrap();
}

pub(super) async fn a_lock_continues_in_another_process(lab: &Lab) {
    let (here, there) = (lab.redlock(5), lab.redlock(5));
    let lock = here.acquire("r", TTL).await.unwrap();
    let (token, lost) = (*lock.token(), lock.lost());
    let parts = lock.into_parts().await.unwrap();
    assert!(matches!(lost.await, LockLost::Transferred { .. }));
    here.close().await.unwrap();
    assert!(here.try_acquire("r", TTL).await.unwrap().is_none(), "nothing was released");

    // In the form in which it is transferred: only text and a number.
    let names: Vec<_> = parts.resources().iter().map(|resource| resource.as_str()).collect();
    let parts = LockParts::new(names, parts.token().as_str(), parts.ttl()).unwrap();
    let mut lock = there.resume(parts).await.unwrap();
    assert_eq!(*lock.token(), token);
    assert!(lock.validity() > TTL / 2 && lock.validity() < TTL.mul_f64(0.99), "{:?}", lock.validity());
    assert!(here.try_acquire("r", TTL).await.unwrap().is_none());
    assert!(lock.extend(2 * TTL).await.unwrap() > TTL);
    assert_eq!(lock.release().await.unwrap(), Release::Released);
    for redlock in [here, there] {
        redlock.close().await.unwrap();
    }
    assert_eq!(lab.holding("r").await, 0);
}

pub(super) async fn several_names_are_resumed_as_one_lock(lab: &Lab) {
    let (here, there) = (lab.redlock(3), lab.redlock(3));
    let names: Vec<_> = (0..50).map(|number| format!("r{number}")).collect();
    let parts = here.acquire(&names, TTL).await.unwrap().into_parts().await.unwrap();
    let lock = there.resume(parts).await.unwrap();
    assert_eq!(lock.resources().len(), 50);
    assert!(here.try_acquire("r7", TTL).await.unwrap().is_none());
    // A request that is still in flight must not find the node without the key.
    here.close().await.unwrap();
    // A node that lost one of the keys does not count, and neither does a node on which another holder has one.
    let parts = lock.into_parts().await.unwrap();
    lab.remove(0, "r7").await;
    lab.set(1, "r49", "another", Some(TTL)).await;
    is_lost(&there, parts).await;
    for name in &names {
        assert_eq!(lab.holding(name).await, usize::from(name == "r49"), "{name} is released");
    }
}

pub(super) async fn an_expired_lock_is_not_resumed(lab: &Lab) {
    let ttl = Duration::from_secs(3);
    let parts = parts(lab, 3, ttl).await;
    tokio::time::sleep(2 * ttl).await;
    is_lost(&lab.redlock(3), parts).await;
    assert_eq!(lab.holding("r").await, 0);
}

pub(super) async fn a_lock_that_another_holder_took_is_not_resumed(lab: &Lab) {
    let ttl = Duration::from_secs(3);
    let (there, parts) = (lab.redlock(3), parts(lab, 3, ttl).await);
    tokio::time::sleep(2 * ttl).await;
    let another = there.acquire("r", TTL).await.unwrap();
    lab.until_held_by(3, "r").await;
    is_lost(&there, parts).await;
    assert_eq!(lab.holding("r").await, 3, "the keys of another holder remain");
    assert_eq!(another.release().await.unwrap(), Release::Released);
    there.close().await.unwrap();
}

pub(super) async fn a_lock_that_half_of_the_nodes_forgot_is_not_resumed(lab: &Lab) {
    let (there, parts) = (lab.redlock(4), parts(lab, 4, TTL).await);
    lab.restart(0).await;
    lab.restart(1).await;
    is_lost(&there, parts).await;
    assert_eq!(lab.holding("r").await, 0, "it is released wherever it remains");
}

pub(super) async fn a_minority_may_have_forgotten_the_lock(lab: &Lab) {
    let (there, parts) = (lab.redlock(3), parts(lab, 3, TTL).await);
    lab.restart(1).await;
    let mut lock = there.resume(parts).await.unwrap();
    lock.extend(TTL).await.unwrap();
    lab.until_held_by(3, "r").await;
    assert_eq!(lock.release().await.unwrap(), Release::Released);
    there.close().await.unwrap();
    assert_eq!(lab.holding("r").await, 0);
}

pub(super) async fn with_too_few_answers_a_lock_can_be_resumed_again(lab: &Lab) {
    let (there, parts) = (lab.redlock(3), parts(lab, 3, TTL).await);
    lab.hang(0).await;
    lab.hang(1).await;
    let error = there.resume(parts).await.unwrap_err();
    assert!(matches!(error, ResumeError::TooFewAnswers { .. }), "{error}");
    assert!(error.to_string().contains("1 of 3 still held it, 2 needed"), "{error}");
    let parts = error.into_parts().unwrap();
    lab.mend(0).await;
    lab.mend(1).await;
    there.close().await.unwrap();
    assert_eq!(lab.holding("r").await, 3, "nothing was released");
    let lock = there.resume(parts).await.unwrap();
    assert_eq!(lock.release().await.unwrap(), Release::Released);
    there.close().await.unwrap();
    assert_eq!(lab.holding("r").await, 0);
}

pub(super) async fn a_hung_minority_is_not_waited_for(lab: &Lab) {
    // A resume that waited for a hung node would take 20 seconds here, because the client does not give up before.
    let parts = parts(lab, 5, 2 * TTL).await;
    let nodes = lab.patient_nodes(5, Duration::from_secs(30));
    let there = lab.builder(0).nodes(nodes).node_timeout(Duration::from_secs(20)).build().unwrap();
    lab.hang(1).await;
    lab.hang(4).await;
    let lock = tokio::time::timeout(Duration::from_secs(10), there.resume(parts)).await.unwrap().unwrap();
    lab.mend(1).await;
    lab.mend(4).await;
    assert_eq!(lock.release().await.unwrap(), Release::Released);
    there.close().await.unwrap();
    // Including the nodes that did not answer.
    assert_eq!(lab.holding("r").await, 0);
}

pub(super) async fn a_resumed_lock_can_be_extended_automatically(lab: &Lab) {
    let ttl = Duration::from_secs(2);
    let (there, parts) = (lab.redlock(3), parts(lab, 3, ttl).await);
    tokio::time::sleep(ttl / 2).await;
    let mut lock = there.resume(parts).await.unwrap();
    lock.auto_extend(AutoExtend::default()).unwrap();
    tokio::time::sleep(2 * ttl).await;
    assert!(lock.check().is_ok());
    assert_eq!(lock.release().await.unwrap(), Release::Released);
    there.close().await.unwrap();
}

pub(super) async fn the_first_process_sets_no_key_that_the_second_released(lab: &Lab) {
    let (here, there) = (lab.redlock(5), lab.redlock(5));
    let always = AutoExtend::default().period(Duration::from_millis(20));
    for pause in 0..20 {
        // It is extended all the time, even during the transfer, and some nodes may still be receiving their first
        // request.
        let lock = here.acquire("r", AcquireOptions::new(TTL).auto_extend(always)).await.unwrap();
        tokio::time::sleep(Duration::from_micros(17_500 + 250 * pause)).await;
        let lock = there.resume(lock.into_parts().await.unwrap()).await.unwrap();
        assert_eq!(lock.release().await.unwrap(), Release::Released);
        there.close().await.unwrap();
        assert_eq!(lab.holding("r").await, 0);
    }
    here.close().await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(lab.holding("r").await, 0, "a key came back");
}
