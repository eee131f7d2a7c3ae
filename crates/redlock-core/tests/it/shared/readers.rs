//! Readers share a lock with each other, and never with a writer.

use redlock_core::{
    AcquireError, AcquireOptions, AutoExtend, Drift, Finding, LockLost, LockParts, Release, Resources, UsingError,
};
use redlock_mock::{Fault, Memory, MockNode};
use tokio::time::{Instant, sleep};

use super::{TTL, readers, shared_on};
use crate::support::{builder, drop_after, keys, ms, once, redlock};

#[tokio::test(start_paused = true)]
async fn readers_hold_a_lock_together_and_keep_a_writer_out_until_the_last_has_left() {
    let nodes = MockNode::fleet(3);
    let (ours, theirs) = (redlock(&nodes), redlock(&nodes));
    let one = ours.acquire_shared("r", TTL).await.unwrap();
    sleep(ms(1_000)).await;
    let other = theirs.try_acquire_shared("r", TTL).await.unwrap().unwrap();
    assert!(one.is_shared() && other.is_shared() && one.token() != other.token());
    assert_eq!((shared_on(&nodes, &one), shared_on(&nodes, &other)), (3, 3));
    let error = theirs.acquire("r", once(TTL)).await.unwrap_err();
    assert!(error.is_contended() && error.to_string().contains("held by another (10s left)"), "{error}");
    assert_eq!(other.release().await.unwrap(), Release::Released);
    assert!(nodes.iter().all(|node| node.remaining("r") == Some(ms(9_000))), "it lives as long as its last reader");
    assert!(theirs.try_acquire("r", TTL).await.unwrap().is_none());
    assert_eq!(one.release().await.unwrap(), Release::Released);
    assert_eq!(keys(&nodes), [""; 0]);

    let writer = theirs.acquire("r", TTL).await.unwrap();
    assert!(!writer.is_shared());
    assert!(ours.try_acquire_shared("r", TTL).await.unwrap().is_none());
    assert_eq!(writer.release().await.unwrap(), Release::Released);
}

#[tokio::test(start_paused = true)]
async fn a_reader_whose_validity_ended_is_lost_and_its_place_is_free() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    let short = redlock.acquire_shared("r", ms(1_000)).await.unwrap();
    let long = redlock.acquire_shared("r", TTL).await.unwrap();
    assert!(matches!(short.lost().await, LockLost::Expired { .. }));
    sleep(ms(20)).await;
    assert!(nodes.iter().all(|node| readers(node).len() == 1), "one reader is left");
    assert_eq!(short.release().await.unwrap(), Release::NotHeld);
    assert_eq!(long.release().await.unwrap(), Release::Released);
    assert_eq!(keys(&nodes), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn an_extended_reader_outlives_its_ttl_and_the_loss_of_a_minority() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    let options = AcquireOptions::new(ms(1_000)).shared().auto_extend(AutoExtend::default());
    let reader = redlock.acquire("r", options).await.unwrap();
    for node in &nodes {
        sleep(ms(1_000)).await;
        node.restart(Memory::Lost);
    }
    sleep(ms(2_000)).await;
    assert_eq!((reader.check().is_ok(), shared_on(&nodes, &reader)), (true, 3));
    assert!(redlock.try_acquire("r", TTL).await.unwrap().is_none());
    // A quorum that has forgotten the reader may have let a writer in.
    nodes[..2].iter().for_each(|node| node.restart(Memory::Lost));
    assert!(matches!(reader.lost().await, LockLost::NotHeld { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_shared_acquire_dropped_at_any_poll_leaves_no_key() {
    for polls in 0.. {
        let nodes: Vec<_> =
            MockNode::fleet(3).into_iter().zip([0, 3, 6]).map(|(node, late)| node.with_latency(ms(late))).collect();
        nodes[0].inject(Fault::DelayRequest(ms(700)));
        let redlock = redlock(&nodes);
        let acquired = drop_after(polls, redlock.acquire_shared("r", TTL)).await;
        let is_over = acquired.is_some();
        drop(acquired);
        redlock.close().await.unwrap();
        sleep(ms(2_000)).await;
        assert_eq!(keys(&nodes), [""; 0], "dropped after {polls} polls");
        if is_over {
            assert!(polls >= 2);
            break;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_lay_in_the_socket_of_a_hung_node_is_released_again() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    let other = redlock.acquire_shared("r", TTL).await.unwrap();
    nodes[0].hang();
    let reader = redlock.acquire_shared("r", TTL).await.unwrap();
    assert_eq!(reader.release().await.unwrap(), Release::Released);
    sleep(ms(3_000)).await;
    nodes[0].resume();
    sleep(ms(1_000)).await;
    assert!(nodes.iter().all(|node| readers(node) == [other.token().as_str()]));
    assert_eq!(other.release().await.unwrap(), Release::Released);
    redlock.close().await.unwrap();
    assert_eq!(keys(&nodes), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_late_acquire_that_follows_its_release_is_released_again() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    // The first copy arrives long after the release.
    nodes[0].inject(Fault::SendAgain(ms(800)));
    let reader = redlock.acquire_shared("r", TTL).await.unwrap();
    assert_eq!(reader.release().await.unwrap(), Release::Released);
    sleep(ms(810)).await;
    assert_eq!(keys(&nodes), ["r"], "the late copy");
    sleep(ms(2_000)).await;
    assert_eq!(keys(&nodes), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_jump_of_a_nodes_clock_ends_readers_there_early_and_no_others() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    let mut reader = redlock.acquire_shared("r", TTL).await.unwrap();
    nodes[0].jump_clock(20_000);
    assert_eq!(shared_on(&nodes, &reader), 2);
    assert!(redlock.try_acquire("r", TTL).await.unwrap().is_none());
    redlock.close().await.unwrap();
    reader.extend(TTL).await.unwrap();
    assert_eq!(shared_on(&nodes, &reader), 3);
    // The clock jumps backwards: the reader stays for longer than its TTL, until it is released.
    nodes[1].jump_clock(-20_000);
    assert_eq!(reader.release().await.unwrap(), Release::Released);
    assert_eq!(keys(&nodes), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn several_names_are_shared_and_excluded_as_one() {
    let nodes = MockNode::fleet(3);
    let (ours, theirs) = (redlock(&nodes), redlock(&nodes));
    let both = ours.acquire_shared(["a", "b"], TTL).await.unwrap();
    let one = theirs.acquire_shared("b", TTL).await.unwrap();
    assert!(theirs.try_acquire(["b", "c"], TTL).await.unwrap().is_none());
    assert_eq!(both.release().await.unwrap(), Release::Released);
    let waiting = tokio::spawn({
        let ours = ours.clone();
        async move { ours.acquire(["a", "b"], TTL).await.unwrap() }
    });
    sleep(ms(500)).await;
    assert!(!waiting.is_finished());
    assert_eq!(one.release().await.unwrap(), Release::Released);
    let writer = waiting.await.unwrap();
    let reading = tokio::spawn({
        let theirs = theirs.clone();
        async move { theirs.acquire_shared(["b", "a"], TTL).await.unwrap() }
    });
    sleep(ms(500)).await;
    assert!(!reading.is_finished());
    assert_eq!(writer.release().await.unwrap(), Release::Released);
    let readers = reading.await.unwrap();
    assert_eq!((readers.is_shared(), readers.resources().len()), (true, 2));
    assert_eq!(readers.release().await.unwrap(), Release::Released);
    ours.close().await.unwrap();
    theirs.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_shared_lock_goes_on_in_another_process() {
    let nodes = MockNode::fleet(3);
    let (here, there) = (redlock(&nodes), redlock(&nodes));
    let other = here.acquire_shared("r", TTL).await.unwrap();
    let parts = here.acquire_shared("r", TTL).await.unwrap().into_parts().await.unwrap();
    assert!(parts.is_shared());
    let unmarked = LockParts::new(["r"], parts.token().as_str(), parts.ttl()).unwrap();
    assert_ne!(unmarked, parts);
    let mut lock = there.resume(unmarked.shared()).await.unwrap();
    assert!(lock.is_shared());
    lock.extend(TTL).await.unwrap();
    assert_eq!(shared_on(&nodes, &lock), 3);
    assert_eq!(lock.release().await.unwrap(), Release::Released);
    assert_eq!(other.release().await.unwrap(), Release::Released);

    // The parts say that the lock is exclusive, so it is not found: other readers may hold it.
    let parts = here.acquire_shared("r", TTL).await.unwrap().into_parts().await.unwrap();
    let exclusive = LockParts::new(["r"], parts.token().as_str(), parts.ttl()).unwrap();
    assert!(there.resume(exclusive).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn one_of_many_readers_is_resumed() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    let parts = redlock.acquire_shared("r", TTL).await.unwrap().into_parts().await.unwrap();
    let mut others = Vec::new();
    for _ in 0..150 {
        others.push(redlock.acquire_shared("r", 2 * TTL).await.unwrap());
    }
    assert_eq!(redlock.inspect("r").await.unwrap().readers(), 100, "the number of readers that are reported");
    let lock = redlock.resume(parts).await.unwrap();
    assert_eq!(lock.release().await.unwrap(), Release::Released);
}

#[tokio::test(start_paused = true)]
async fn a_shared_lock_has_no_fencing_token_and_asks_for_none() {
    let nodes = MockNode::fleet(3);
    let fenced = builder(&nodes).fencing(true).build().unwrap();
    let error = fenced.acquire_shared("r", TTL).await.unwrap_err();
    assert!(matches!(error, AcquireError::SharedFencing), "{error}");
    assert_eq!(nodes[0].requests(), 0);
    let reader = fenced.acquire_shared("r", AcquireOptions::new(TTL).fencing(false)).await.unwrap();
    assert_eq!(reader.fencing_token(), None);
    assert_eq!(reader.release().await.unwrap(), Release::Released);
    let plain = redlock(&nodes);
    let wanted = AcquireOptions::new(TTL).fencing(true);
    assert!(matches!(plain.try_acquire_shared("r", wanted).await.unwrap_err(), AcquireError::SharedFencing));
}

#[tokio::test(start_paused = true)]
async fn work_is_done_under_a_shared_lock_and_a_name_is_locked_as_one() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    let shared = || AcquireOptions::new(TTL).shared();
    let done: Result<_, UsingError> = redlock
        .using("r", shared(), async |lock| {
            assert!(lock.is_shared());
            assert!(redlock.try_acquire_shared("r", TTL).await?.is_some());
            Ok(7)
        })
        .await;
    assert_eq!(done.unwrap(), 7);
    redlock.close().await.unwrap();
    let (one, other) = (redlock.named().with_owner("one"), redlock.named().with_owner("other"));
    one.lock("r", shared()).await.unwrap();
    other.lock("r", shared()).await.unwrap();
    assert!(redlock.try_acquire("r", TTL).await.unwrap().is_none());
    assert_eq!(one.unlock("r").await.unwrap(), Release::Released);
    assert_eq!(other.unlock("r").await.unwrap(), Release::Released);
    assert_eq!(keys(&nodes), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn readers_are_told_and_counted() {
    let nodes = MockNode::fleet(3);
    let owned = builder(&nodes).owner(redlock_core::Owner::new("web-3").unwrap()).key_prefix("app:").build().unwrap();
    let one = owned.acquire_shared("r", TTL).await.unwrap();
    let _other = owned.acquire_shared("r", TTL / 2).await.unwrap();
    let inspection = owned.inspect("r").await.unwrap();
    assert_eq!((inspection.readers(), inspection.is_locked(), inspection.holder()), (2, Some(true), None));
    assert!(matches!(inspection.finding(), Finding::Shared { readers: 2, remaining } if *remaining == TTL));
    let beginning = &one.token().as_str()[..8];
    let text = inspection.to_string();
    assert!(text.starts_with("\"r\" is shared by 2 readers (10s left): on 3 of 3 nodes, 2 needed\n"), "{text}");
    assert!(text.contains(&format!("2 readers: {beginning}... of \"web-3\" (10s left), ")), "{text}");
    assert_eq!(owned.remaining("r").await.unwrap(), Some(TTL));
    assert!(owned.list().await.unwrap().names().eq(["r"]));
}

#[tokio::test(start_paused = true)]
async fn a_sorted_set_of_something_else_is_a_key_of_another_type() {
    let nodes = MockNode::fleet(3);
    nodes.iter().for_each(|node| node.set_members("r", &[("a job", TTL), ("another", TTL)]));
    let redlock = redlock(&nodes);
    for error in [redlock.acquire_shared("r", once(TTL)).await, redlock.acquire("r", once(TTL)).await] {
        let error = error.unwrap_err();
        assert!(matches!(error, AcquireError::NoQuorum(_)), "{error}");
    }
    assert!(nodes.iter().all(|node| node.remaining("r").is_none() && node.resources() == ["r"]), "it is unchanged");
}

#[tokio::test(start_paused = true)]
async fn the_restart_guard_and_the_clock_watch_cover_readers() {
    let nodes = MockNode::fleet(3);
    let guarded = builder(&nodes).restart_guard(TTL).build().unwrap();
    guarded.initialize().await.unwrap();
    let reader = guarded.acquire_shared("r", TTL).await.unwrap();
    nodes[..2].iter().for_each(|node| node.restart(Memory::Lost));
    // Both have forgotten the reader, and grant nothing for as long as it may be valid.
    assert!(guarded.acquire("r", once(TTL)).await.is_err() && guarded.acquire_shared("r", once(TTL)).await.is_err());
    assert!(reader.check().is_ok());
    sleep(TTL).await;
    assert!(guarded.try_acquire("r", TTL).await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn the_validity_of_a_reader_counts_from_before_the_first_byte() {
    let nodes: Vec<_> = MockNode::fleet(3).into_iter().map(|node| node.with_latency(ms(30))).collect();
    let redlock = builder(&nodes).drift(Drift::default()).build().unwrap();
    let started = Instant::now();
    let reader = redlock.acquire_shared("r", TTL).await.unwrap();
    assert_eq!(reader.validity() + started.elapsed(), ms(9_898));
    assert_eq!(reader.resources(), &Resources::try_from("r").unwrap());
}
