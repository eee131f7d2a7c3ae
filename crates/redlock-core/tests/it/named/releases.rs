//! Named locks that are released one by one, all at once, or by calls that are dropped.

use std::{sync::Arc, time::Duration};

use redlock_core::{NamedLocks, Release, UnlockError, named::Registry};
use redlock_mock::MockNode;
use tokio::time::{Instant, sleep};

use super::{TTL, fleet, holding, kept, redlock};
use crate::support::drop_after;

with_every_registry! {
    a_lock_call_that_is_dropped_halfway_leaves_no_entry_and_no_key,
    an_unlock_that_is_dropped_halfway_continues,
    an_unlock_that_too_few_nodes_answer_has_an_unknown_outcome,
    release_all_releases_every_lock_and_reports_each_outcome,
    release_all_runs_a_bounded_number_of_releases_at_once,
    release_all_that_is_dropped_halfway_continues,
    a_registry_that_is_dropped_releases_nothing_and_extends_nothing,
}

async fn a_lock_call_that_is_dropped_halfway_leaves_no_entry_and_no_key(registry: Arc<dyn Registry>) {
    let nodes: Vec<_> =
        (0..3).map(|n| MockNode::new(format!("{n}")).with_latency(Duration::from_millis(3 * n))).collect();
    let redlock = redlock(&nodes);
    let named = NamedLocks::new(&redlock, registry);
    let mut dropped = 0;
    for polls in 0.. {
        let locked = drop_after(polls, named.lock("r", kept(20 * TTL))).await;
        if let Some(validity) = locked {
            validity.unwrap();
            let _ = named.unlock("r").await.unwrap();
            break;
        }
        dropped += 1;
        assert_eq!(named.count(), 0);
        assert!(matches!(named.unlock("r").await, Err(UnlockError::NotLocked { .. })));
        redlock.close().await.unwrap();
        assert_eq!(holding(&nodes, "r"), 0, "dropped after {polls} polls");
    }
    assert!(dropped > 1);
}

async fn an_unlock_that_is_dropped_halfway_continues(registry: Arc<dyn Registry>) {
    let nodes: Vec<_> =
        (0..3).map(|n| MockNode::new(format!("{n}")).with_latency(Duration::from_millis(3 * n))).collect();
    let redlock = redlock(&nodes);
    let named = NamedLocks::new(&redlock, registry);
    for polls in 1.. {
        named.lock("r", TTL).await.unwrap();
        let unlocked = drop_after(polls, named.unlock("r")).await;
        assert_eq!(named.count(), 0);
        redlock.close().await.unwrap();
        assert_eq!(holding(&nodes, "r"), 0, "dropped after {polls} polls");
        if let Some(released) = unlocked {
            assert_eq!((released.unwrap(), polls > 1), (Release::Released, true));
            break;
        }
    }
}

async fn an_unlock_that_too_few_nodes_answer_has_an_unknown_outcome(registry: Arc<dyn Registry>) {
    let (nodes, named) = fleet(registry);
    named.lock("r", TTL).await.unwrap();
    nodes[0].stop();
    nodes[1].hang();
    let error = named.unlock("r").await.unwrap_err();
    let UnlockError::Release(error) = error else { panic!("{error}") };
    assert_eq!(error.votes().unwrap().granted(), 1);
    assert_eq!(named.count(), 0);
}

async fn release_all_releases_every_lock_and_reports_each_outcome(registry: Arc<dyn Registry>) {
    let (nodes, named) = fleet(registry);
    for (number, name) in ["d", "a", "c", "b"].into_iter().enumerate() {
        let ttl = if name == "c" { TTL / 10 } else { TTL };
        named.with_owner(number.to_string()).lock(name, ttl).await.unwrap();
    }
    named.lock("e", kept(20 * TTL)).await.unwrap();
    nodes.iter().for_each(|node| node.set("b", "another", None));
    sleep(TTL / 5).await;
    let outcomes = named.release_all().await;
    let outcomes: Vec<_> = outcomes.iter().map(|(name, outcome)| (name.as_str(), *outcome.as_ref().unwrap())).collect();
    let expected = [
        ("a", Release::Released),
        ("b", Release::NotHeld),
        ("c", Release::NotHeld),
        ("d", Release::Released),
        ("e", Release::Released),
    ];
    assert_eq!(outcomes, expected);
    assert_eq!((named.count(), named.validity("e")), (0, Duration::ZERO));
    sleep(2 * TTL).await;
    assert!(nodes.iter().all(|node| node.resources() == ["b"]));
    assert!(named.release_all().await.is_empty());
    assert!(matches!(named.unlock("e").await, Err(UnlockError::NotLocked { .. })));
    // It can still be used.
    named.lock("a", TTL).await.unwrap();
    nodes[..2].iter().for_each(MockNode::stop);
    assert!(named.release_all().await[0].1.is_err());
}

async fn release_all_runs_a_bounded_number_of_releases_at_once(registry: Arc<dyn Registry>) {
    let latency = Duration::from_millis(10);
    let nodes: Vec<_> = (0..3).map(|n| MockNode::new(format!("{n}")).with_latency(latency)).collect();
    let named = NamedLocks::new(&redlock(&nodes), registry);
    for number in 0..600 {
        named.lock(format!("r{number}"), 100 * TTL).await.unwrap();
    }
    let start = Instant::now();
    assert_eq!(named.release_all().await.len(), 600);
    // Three times 256, less a few: each release that ends makes room for another.
    assert_eq!(start.elapsed(), 3 * latency);
    assert!(nodes.iter().all(|node| node.resources().is_empty()));
}

async fn release_all_that_is_dropped_halfway_continues(registry: Arc<dyn Registry>) {
    let latency = Duration::from_millis(10);
    let nodes: Vec<_> = (0..3).map(|n| MockNode::new(format!("{n}")).with_latency(latency)).collect();
    let redlock = redlock(&nodes);
    let named = NamedLocks::new(&redlock, registry);
    for number in 0..600 {
        named.lock(format!("r{number}"), 100 * TTL).await.unwrap();
    }
    assert!(tokio::time::timeout(latency / 2, named.release_all()).await.is_err());
    redlock.close().await.unwrap();
    assert!(nodes.iter().all(|node| node.resources().is_empty()));
}

async fn a_registry_that_is_dropped_releases_nothing_and_extends_nothing(registry: Arc<dyn Registry>) {
    let (nodes, named) = fleet(registry);
    for number in 0..200 {
        named.lock(format!("r{number}"), kept(100 * TTL)).await.unwrap();
    }
    named.lock("r", kept(100 * TTL)).await.unwrap();
    named.lock("s", TTL).await.unwrap();
    sleep(TTL / 2).await;
    let requests = nodes[0].requests();
    drop(named);
    sleep(TTL / 4).await;
    assert_eq!((nodes[0].requests(), holding(&nodes, "r"), holding(&nodes, "s")), (requests, 3, 3));
    sleep(2 * TTL).await;
    assert_eq!((nodes[0].requests(), holding(&nodes, "r"), holding(&nodes, "s")), (requests, 0, 0));
}
