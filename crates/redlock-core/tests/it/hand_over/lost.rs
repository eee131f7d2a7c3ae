//! Locks that cannot be resumed: they are lost or expired, or their state is unknown.

use redlock_core::{Redlock, Release, ResumeError, TtlError, testing::TokioClock};
use redlock_mock::{Memory, MockNode};
use tokio::time::{Instant, sleep};

use super::{NODE_TIMEOUT, TTL, parts};
use crate::support::{keys, ms, redlock};

#[tokio::test(start_paused = true)]
async fn a_node_that_lost_one_of_the_keys_does_not_count() {
    let nodes = MockNode::fleet(3);
    let (here, there) = (redlock(&nodes), redlock(&nodes));
    for another in [false, true] {
        let parts = here.acquire(["a", "b", "c"], TTL).await.unwrap().into_parts().await.unwrap();
        nodes[0].remove("b");
        if another {
            nodes[1].set("c", "another", Some(TTL));
        } else {
            nodes[1].remove("c");
        }
        let error = there.resume(parts).await.unwrap_err();
        assert!(matches!(error, ResumeError::Lost { .. }), "{error}");
        let told = if another { "node-2 held by another (10s left)" } else { "node-2 no longer held it" };
        assert!(
            error.to_string().contains(&format!("1 of 3 still held it, 2 needed: node-1 no longer held it, {told}"))
        );
        there.close().await.unwrap();
        assert_eq!(keys(&nodes), if another { vec!["c"] } else { vec![] }, "its remaining keys are released");
    }
}

#[tokio::test(start_paused = true)]
async fn resuming_an_expired_lock_reports_it_lost() {
    let nodes = MockNode::fleet(3);
    let parts = parts(&nodes).await;
    sleep(TTL + ms(1)).await;
    let error = redlock(&nodes).resume(parts).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the lock on \"r\" is lost and was not resumed; 0 of 3 still held it, 2 needed: node-1 no longer held it, \
         node-2 no longer held it, node-3 no longer held it"
    );
    assert_eq!((error.votes().unwrap().granted(), error.into_parts()), (0, None));
}

#[tokio::test(start_paused = true)]
async fn resuming_a_lock_without_remaining_validity_reports_it_expired() {
    let nodes = MockNode::fleet(3);
    let (there, parts) = (redlock(&nodes), parts(&nodes).await);
    sleep(TTL - ms(2)).await;
    let error = there.resume(parts).await.unwrap_err();
    assert!(matches!(error, ResumeError::Expired { .. }), "{error}");
    assert!(error.to_string().starts_with("the lock on \"r\" expired before it was resumed; 3 of 3 still held it"));
    assert_eq!(error.into_parts(), None);
    there.close().await.unwrap();
    assert_eq!(keys(&nodes), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_another_holder_has_is_lost_and_not_released() {
    let nodes = MockNode::fleet(3);
    let (there, parts) = (redlock(&nodes), parts(&nodes).await);
    sleep(TTL + ms(1)).await;
    let another = there.acquire("r", TTL).await.unwrap();
    let error = there.resume(parts).await.unwrap_err();
    assert!(matches!(error, ResumeError::Lost { .. }), "{error}");
    assert!(error.to_string().contains("node-1 held by another (10s left)"), "{error}");
    there.close().await.unwrap();
    assert_eq!(keys(&nodes).len(), 3);
    assert_eq!(another.release().await.unwrap(), Release::Released);
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_half_of_the_nodes_forgot_is_lost_and_released_on_the_others() {
    let nodes = MockNode::fleet(4);
    let (there, parts) = (redlock(&nodes), parts(&nodes).await);
    nodes[..2].iter().for_each(|node| node.restart(Memory::Lost));
    let error = there.resume(parts).await.unwrap_err();
    assert!(matches!(error, ResumeError::Lost { .. }), "{error}");
    assert_eq!(error.votes().unwrap().granted(), 2);
    there.close().await.unwrap();
    assert_eq!(keys(&nodes), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn with_too_few_answers_nothing_is_released_and_the_lock_can_be_resumed_again() {
    let nodes = MockNode::fleet(3);
    let (there, parts) = (redlock(&nodes), parts(&nodes).await);
    nodes[0].hang();
    nodes[1].stop();
    let start = Instant::now();
    let error = there.resume(parts).await.unwrap_err();
    assert_eq!(start.elapsed(), NODE_TIMEOUT);
    assert_eq!(
        error.to_string(),
        "unknown whether the lock on \"r\" is still held; nothing was released, it can be resumed again; 1 of 3 still \
         held it, 2 needed: node-1 did not answer within 200ms, node-2 failed (unreachable), node-3 still held it; look \
         for a hung or overloaded node, or raise the node timeout"
    );
    let parts = error.into_parts().unwrap();
    nodes[0].resume();
    there.close().await.unwrap();
    assert_eq!((nodes[0].peek("r").is_some(), nodes[2].peek("r").is_some()), (true, true));
    let lock = there.resume(parts).await.unwrap();
    assert!(lock.check().is_ok());
    // The node that did not answer is sent a release too.
    nodes[1].start(Memory::Kept);
    assert_eq!(lock.release().await.unwrap(), Release::Released);
    there.close().await.unwrap();
    assert_eq!(keys(&nodes), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn parts_that_cannot_be_resumed_here_are_returned_before_anything_is_sent() {
    let nodes = MockNode::fleet(3);
    let parts = parts(&nodes).await;
    let token = *parts.token();
    let builder = Redlock::builder().nodes(nodes.clone()).clock(TokioClock::default()).node_timeout(TTL);
    let error = builder.build().unwrap().resume(parts).await.unwrap_err();
    assert!(matches!(error, ResumeError::Ttl { reason: TtlError::TooShort { .. }, .. }), "{error}");
    assert!(error.votes().is_none());
    let parts = error.into_parts().unwrap();
    assert_eq!((*parts.token(), nodes[0].requests()), (token, 1));
    let _ = redlock(&nodes).resume(parts).await.unwrap().release().await.unwrap();
}
