//! A writer that becomes a reader.

use redlock_core::{DowngradeError, LockLost, Release};
use redlock_mock::{Fault, Memory, MockNode};
use tokio::time::sleep;

use super::{TTL, readers, shared_on};
use crate::support::{builder, drop_after, keys, ms, redlock};

#[tokio::test(start_paused = true)]
async fn a_writer_becomes_a_reader_without_a_gap() {
    let nodes = MockNode::fleet(3);
    let (ours, theirs) = (redlock(&nodes), redlock(&nodes));
    let mut lock = ours.acquire("r", TTL).await.unwrap();
    let token = *lock.token();
    sleep(ms(4_000)).await;
    let validity = lock.validity();
    lock.downgrade().await.unwrap();
    assert_eq!((lock.is_shared(), *lock.token(), lock.validity()), (true, token, validity));
    assert!(nodes.iter().all(|node| node.remaining("r") == Some(ms(6_000))), "the remaining TTL");
    assert!(theirs.try_acquire("r", TTL).await.unwrap().is_none());
    let other = theirs.acquire_shared("r", TTL).await.unwrap();
    lock.extend(TTL).await.unwrap();
    assert_eq!((shared_on(&nodes, &lock), shared_on(&nodes, &other)), (3, 3));
    assert_eq!(lock.release().await.unwrap(), Release::Released);
    assert_eq!(other.release().await.unwrap(), Release::Released);
    assert_eq!(keys(&nodes), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_lost_or_shared_lock_is_not_downgraded() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    let mut lock = redlock.acquire("r", TTL).await.unwrap();
    lock.downgrade().await.unwrap();
    let error = lock.downgrade().await.unwrap_err();
    assert!(matches!(error, DowngradeError::AlreadyShared { .. }), "{error}");
    assert!(lock.check().is_ok());
    drop(lock);
    redlock.close().await.unwrap();

    let mut lock = redlock.acquire("r", ms(1_000)).await.unwrap();
    sleep(ms(1_000)).await;
    let error = lock.downgrade().await.unwrap_err();
    assert!(matches!(error, DowngradeError::Lost(LockLost::Expired { .. })), "{error}");

    // Another holder may have had it meanwhile.
    let mut lock = redlock.acquire("r", TTL).await.unwrap();
    nodes[..2].iter().for_each(|node| node.restart(Memory::Lost));
    let error = lock.downgrade().await.unwrap_err();
    assert!(matches!(error, DowngradeError::Lost(LockLost::NotHeld { .. })), "{error}");
    assert!(lock.check().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_node_that_missed_the_downgrade_is_told_by_the_next_extend_or_the_release() {
    for ends in ["extended", "released"] {
        let nodes = MockNode::fleet(3);
        let redlock = redlock(&nodes);
        let mut lock = redlock.acquire("r", TTL).await.unwrap();
        nodes[0].inject(Fault::LoseRequest);
        lock.downgrade().await.unwrap();
        sleep(ms(1_500)).await;
        assert_eq!(nodes[0].peek("r").as_deref(), Some(lock.token().as_bytes()), "it is still a writer");
        // Two nodes are enough for another reader.
        let other = redlock.acquire_shared("r", TTL).await.unwrap();
        if ends == "extended" {
            lock.extend(TTL).await.unwrap();
            assert_eq!(shared_on(&nodes, &lock), 3);
        }
        assert_eq!(lock.release().await.unwrap(), Release::Released);
        assert_eq!(other.release().await.unwrap(), Release::Released);
        redlock.close().await.unwrap();
        assert_eq!(keys(&nodes), [""; 0], "{ends}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_downgrade_that_too_few_confirm_leaves_a_shared_lock_that_stands() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    let mut lock = redlock.acquire("r", TTL).await.unwrap();
    nodes[..2].iter().for_each(|node| node.inject(Fault::Refuse));
    let error = lock.downgrade().await.unwrap_err();
    assert!(matches!(error, DowngradeError::NoQuorum { .. }), "{error}");
    assert!(lock.is_shared() && lock.check().is_ok());
    assert!(redlock.try_acquire("r", TTL).await.unwrap().is_none());
    redlock.close().await.unwrap();
    lock.extend(TTL).await.unwrap();
    assert_eq!(shared_on(&nodes, &lock), 3);
}

#[tokio::test(start_paused = true)]
async fn a_downgrade_dropped_at_any_poll_leaves_a_shared_lock_that_is_released() {
    for polls in 0.. {
        let nodes: Vec<_> =
            MockNode::fleet(3).into_iter().zip([0, 3, 6]).map(|(node, late)| node.with_latency(ms(late))).collect();
        let redlock = redlock(&nodes);
        let mut lock = redlock.acquire("r", TTL).await.unwrap();
        sleep(ms(20)).await;
        nodes[0].inject(Fault::DelayRequest(ms(700)));
        let is_over = drop_after(polls, lock.downgrade()).await.is_some();
        assert!(lock.check().is_ok());
        assert!(polls == 0 || lock.is_shared());
        drop(lock);
        redlock.close().await.unwrap();
        sleep(ms(2_000)).await;
        assert_eq!(keys(&nodes), [""; 0], "dropped after {polls} polls");
        if is_over {
            break;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_extend_of_the_writer_changes_nothing_for_readers() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    let mut lock = redlock.acquire("r", TTL).await.unwrap();
    // It waits in an old socket, and is carried out after the downgrade.
    nodes[0].inject(Fault::SendAgain(ms(300)));
    lock.extend(TTL).await.unwrap();
    lock.downgrade().await.unwrap();
    let other = redlock.acquire_shared("r", TTL).await.unwrap();
    sleep(ms(500)).await;
    assert!(nodes.iter().all(|node| readers(node).len() == 2));
    // If the node had lost the keys meanwhile, the writer's token comes back, until the reader is released.
    nodes[0].inject(Fault::None);
    assert_eq!(lock.release().await.unwrap(), Release::Released);
    assert_eq!(other.release().await.unwrap(), Release::Released);
    redlock.close().await.unwrap();
    sleep(ms(2_000)).await;
    assert_eq!(keys(&nodes), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_downgraded_lock_has_no_fencing_token_and_goes_on_as_a_shared_one() {
    let nodes = MockNode::fleet(3);
    let (here, there) = (builder(&nodes).fencing(true).build().unwrap(), redlock(&nodes));
    let mut lock = here.acquire("r", TTL).await.unwrap();
    assert!(lock.fencing_token().is_some());
    lock.downgrade().await.unwrap();
    assert_eq!(lock.fencing_token(), None);
    let parts = lock.into_parts().await.unwrap();
    assert!(parts.is_shared() && parts.fencing_token().is_none());
    assert_eq!(there.resume(parts).await.unwrap().release().await.unwrap(), Release::Released);
}

#[tokio::test(start_paused = true)]
async fn a_downgrade_notifies_the_readers_that_wait() {
    let nodes = MockNode::fleet(3);
    let (ours, theirs) = (redlock(&nodes), redlock(&nodes));
    let mut lock = ours.acquire("r", TTL).await.unwrap();
    let waits = |redlock: &redlock_core::Redlock| {
        let redlock = redlock.clone();
        let retry = redlock_core::Retry::timeout(TTL).fixed(ms(5_000)).jitter(ms(0));
        let options = redlock_core::AcquireOptions::new(TTL).retry(retry);
        tokio::spawn(async move { redlock.acquire_shared("r", options).await.unwrap() })
    };
    let waiting = [waits(&ours), waits(&theirs)];
    sleep(ms(500)).await;
    assert!(waiting.iter().all(|waiting| !waiting.is_finished()));
    lock.downgrade().await.unwrap();
    sleep(ms(100)).await;
    assert!(waiting.iter().all(tokio::task::JoinHandle::is_finished));
}
