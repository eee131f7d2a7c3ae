//! The guard against nodes that lose locks when they restart.

use std::time::Duration;

use redlock_core::{
    AcquireError, AcquireOptions, ExtendError, InitializeError, NodeAnswer, NodeErrorKind, Redlock, Release, TtlError,
};

use tokio::time::Instant;

use crate::{
    lab::{Lab, eventually, once},
    servers::ServerOptions,
};

/// Long enough that nothing ends before its scenario does.
const LONG: Duration = Duration::from_secs(600);
const SHORT: Duration = Duration::from_secs(4);

fn guarded(lab: &Lab, nodes: usize, longest: Duration) -> Redlock {
    lab.builder(nodes).restart_guard(longest).build().unwrap()
}

/// Initializes a guarded fleet.
async fn open(lab: &Lab, nodes: usize, longest: Duration) -> Redlock {
    let redlock = guarded(lab, nodes, longest);
    redlock.initialize().await.unwrap();
    redlock
}

/// Closes them all, so that no request of this scenario reaches the next one.
async fn close<const N: usize>(all: [Redlock; N]) {
    for redlock in all {
        redlock.close().await.unwrap();
    }
}

/// Returns how long each node of the last round was still in quarantine, if it was.
fn quarantines(error: &AcquireError) -> Vec<Option<Duration>> {
    let votes = &error.attempts().unwrap().last_round;
    let quarantine = |answer: &NodeAnswer| match answer {
        NodeAnswer::Quarantined { remaining } => Some(*remaining),
        _ => None,
    };
    votes.nodes().iter().map(|vote| quarantine(&vote.answer)).collect()
}

pub(super) async fn a_new_fleet_is_opened_once(lab: &Lab) {
    let redlock = open(lab, 3, LONG).await;
    let lock = redlock.try_acquire("r", LONG).await.unwrap().unwrap();
    assert_eq!(lock.release().await.unwrap(), Release::Released);
    let error = redlock.initialize().await.unwrap_err();
    assert!(matches!(&error, InitializeError::InUse { nodes } if nodes.len() == 3), "{error}");
    close([redlock]).await;
}

pub(super) async fn a_new_fleet_opens_by_itself_after_the_longest_ttl(lab: &Lab) {
    let (redlock, started) = (guarded(lab, 3, SHORT), Instant::now());
    let error = redlock.try_acquire("r", SHORT).await.unwrap_err();
    assert!(matches!(error, AcquireError::NoQuorum(_)), "{error}");
    assert!(error.to_string().contains("in quarantine after a restart ("), "{error}");
    let told = quarantines(&error).into_iter().flatten().max().unwrap();
    assert!(told > SHORT / 2 && told <= SHORT, "{told:?}");
    let options = AcquireOptions::new(SHORT).timeout(Duration::from_secs(30));
    let lock = redlock.acquire("r", options).await.unwrap();
    assert!(started.elapsed() >= SHORT);
    let _ = lock.release().await.unwrap();
    close([redlock]).await;
}

pub(super) async fn a_node_that_restarts_empty_makes_no_second_holder(lab: &Lab) {
    let (ours, theirs) = (open(lab, 3, LONG).await, guarded(lab, 3, LONG));
    lab.stop(2).await;
    let lock = ours.acquire("r", LONG).await.unwrap();
    lab.until_held_by(2, "r").await;
    lab.mend(2).await;
    lab.restart(1).await;
    // Two nodes have no lock, but no guard either. On a busy machine, the last round before a deadline may be too short
    // for an answer.
    let is_quarantined = async || {
        let error = theirs.acquire("r", once(LONG)).await.unwrap_err();
        quarantines(&error).into_iter().flatten().count() > 0 && error.to_string().contains("in quarantine")
    };
    assert!(eventually(is_quarantined).await);
    assert!(lock.check().is_ok());
    drop(lock);
    close([ours, theirs]).await;
}

pub(super) async fn a_holder_may_extend_on_a_node_in_quarantine(lab: &Lab) {
    let redlock = open(lab, 3, LONG).await;
    let mut lock = redlock.acquire("r", LONG).await.unwrap();
    lab.until_held_by(3, "r").await;
    lab.restart(1).await;
    assert!(redlock.try_acquire("r", LONG).await.unwrap().is_none());
    let healed = eventually(async || lab.holding("r").await == 3);
    tokio::pin!(healed);
    loop {
        lock.extend(LONG).await.unwrap();
        tokio::select! {
            biased;
            healed = &mut healed => break assert!(healed),
            () = tokio::time::sleep(Duration::from_millis(50)) => {}
        }
    }
    assert_eq!(lock.release().await.unwrap(), Release::Released);
    close([redlock]).await;
}

pub(super) async fn a_minority_in_quarantine_is_not_needed(lab: &Lab) {
    let redlock = open(lab, 3, LONG).await;
    lab.restart(0).await;
    let lock = redlock.acquire("r", LONG).await.unwrap();
    assert_eq!(lock.release().await.unwrap(), Release::Released);
    close([redlock]).await;
}

pub(super) async fn the_quarantine_ends_after_the_longest_ttl(lab: &Lab) {
    let redlock = open(lab, 1, SHORT).await;
    let _ = redlock.try_acquire("r", SHORT).await.unwrap().unwrap().release().await.unwrap();
    lab.restart(0).await;
    let options = AcquireOptions::new(SHORT).timeout(Duration::from_secs(30));
    let _ = redlock.acquire("r", options).await.unwrap().release().await.unwrap();
    let _ = redlock.try_acquire("r", SHORT).await.unwrap().unwrap().release().await.unwrap();
    close([redlock]).await;
}

pub(super) async fn a_fleet_with_a_node_in_use_is_not_opened(lab: &Lab) {
    let redlock = open(lab, 3, LONG).await;
    lab.restart(0).await;
    lab.restart(1).await;
    let error = redlock.initialize().await.unwrap_err();
    assert!(matches!(&error, InitializeError::InUse { nodes } if nodes.len() == 1), "{error}");
    assert_eq!(lab.value(0, "redlock:restart-guard").await, None);
}

pub(super) async fn a_fleet_with_a_node_that_is_down_is_not_opened(lab: &Lab) {
    let redlock = guarded(lab, 3, LONG);
    lab.stop(2).await;
    let error = redlock.initialize().await.unwrap_err();
    assert!(matches!(&error, InitializeError::Failed { nodes } if nodes.len() == 1), "{error}");
    assert!(error.to_string().contains("unreachable"), "{error}");
    assert_eq!(lab.value(0, "redlock:restart-guard").await, None);
}

pub(super) async fn a_ttl_above_the_longest_is_rejected(lab: &Lab) {
    let redlock = open(lab, 3, LONG).await;
    let above = LONG + Duration::from_millis(1);
    let error = redlock.acquire("r", above).await.unwrap_err();
    assert!(matches!(error, AcquireError::Ttl(TtlError::AboveGuard { .. })), "{error}");
    let mut lock = redlock.acquire("r", LONG).await.unwrap();
    let error = lock.extend(above).await.unwrap_err();
    assert!(matches!(error, ExtendError::Ttl(TtlError::AboveGuard { .. })), "{error}");
    assert!(lock.check().is_ok());
    let _ = lock.release().await.unwrap();
    close([redlock]).await;
}

pub(super) async fn nodes_reject_a_different_longest_ttl(lab: &Lab) {
    open(lab, 3, LONG).await;
    for other in [LONG / 2, LONG * 2] {
        let redlock = guarded(lab, 3, other);
        let error = redlock.try_acquire("r", SHORT).await.unwrap_err();
        close([redlock]).await;
        let kind = NodeErrorKind::Guard;
        assert!(error.to_string().contains(&kind.to_string()), "{error}");
        assert!(error.to_string().contains(kind.advice().unwrap()), "{error}");
    }
    assert_eq!(lab.holding("r").await, 0);
}

pub(super) async fn a_marker_that_cannot_be_read_is_an_error_and_not_changed(lab: &Lab) {
    let redlock = guarded(lab, 1, LONG);
    lab.set(0, "redlock:restart-guard", "something else", None).await;
    let error = redlock.try_acquire("r", LONG).await.unwrap_err();
    assert!(error.to_string().contains(&NodeErrorKind::Guard.to_string()), "{error}");
    assert_eq!(lab.value(0, "redlock:restart-guard").await.as_deref(), Some("something else"));
    close([redlock]).await;
}

pub(super) async fn fencing_and_the_restart_guard_work_together(lab: &Lab) {
    let redlock = lab.builder(3).fencing(true).restart_guard(LONG).key_prefix("app:").build().unwrap();
    redlock.initialize().await.unwrap();
    let lock = redlock.acquire(["q", "r"], LONG).await.unwrap();
    assert!(lock.fencing_token().is_some());
    assert!(lab.value(0, "app:redlock:restart-guard").await.is_some());
    assert_eq!(lock.release().await.unwrap(), Release::Released);
    close([redlock]).await;
}

pub(super) async fn a_restarted_node_that_kept_its_data_is_quarantined_as_well(lab: &Lab) {
    let server = lab.server(&ServerOptions::new().keep_memory()).await;
    let redlock = lab.builder(0).node(lab.open(&server.url())).restart_guard(LONG).build().unwrap();
    redlock.initialize().await.unwrap();
    let lock = redlock.try_acquire("kept", LONG).await.unwrap().unwrap();
    server.stop().await.unwrap();
    server.start().await.unwrap();
    // Nobody can know whether its last writes are missing.
    let options = AcquireOptions::new(LONG).timeout(Duration::from_secs(5));
    let error = redlock.acquire("r", options).await.unwrap_err();
    assert!(error.to_string().contains("in quarantine"), "{error}");
    assert_eq!(lock.release().await.unwrap(), Release::Released);
}
