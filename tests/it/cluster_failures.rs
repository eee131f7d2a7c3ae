//! Failures of a Redis Cluster as a node: a failover, a member that is down, and slots that move.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use redlock_core::{LockNode, Redlock, Release, algorithm::hash_slot};
use redlock_tests::{lab::eventually, servers::Server};
use tokio::time::sleep;

use crate::cluster::{SLOTS, cluster_of, cluster_with, url};

const TTL: Duration = Duration::from_secs(5);

fn redlock(node: impl LockNode) -> Redlock {
    Redlock::builder().node(node).node_timeout(Duration::from_secs(2)).build().unwrap()
}

/// Returns a name whose slot the primary with this index has at first.
fn name_of(index: usize, primaries: usize) -> String {
    let mut names = (0..).map(|number| format!("name-{number}"));
    names.find(|name| usize::from(hash_slot(name)) * primaries / SLOTS == index).unwrap()
}

async fn locks(redlock: &Redlock, name: &str) -> bool {
    match redlock.try_acquire(name, TTL).await {
        Ok(Some(lock)) => lock.release().await.is_ok_and(|release| release == Release::Released),
        Ok(None) | Err(_) => false,
    }
}

async fn follows_a_failover<N: LockNode>(open: impl Fn(String) -> N) {
    let servers = cluster_with(3, 3).await;
    let redlock = redlock(open(url(&servers)));
    let names: Vec<_> = (0..3).map(|index| name_of(index, 3)).collect();
    for name in &names {
        assert!(locks(&redlock, name).await, "{name}");
    }

    servers[1].stop().await.unwrap();
    for name in [&names[0], &names[2]] {
        assert!(locks(&redlock, name).await, "the other members are left alone");
    }
    let name = &names[1];
    let is_promoted = eventually(async || locks(&redlock, name).await);
    assert!(is_promoted.await, "{:?}", redlock.try_acquire(name.as_str(), TTL).await);
    for name in &names {
        assert!(locks(&redlock, name).await, "{name}");
    }
    // The new primary has the key.
    let lock = redlock.try_acquire(name.as_str(), TTL).await.unwrap().unwrap();
    assert!(servers[4].command(&["GET", name]).await.unwrap().text().is_some());
    let _ = lock.release().await.unwrap();
}

async fn does_without_a_member<N: LockNode>(open: impl Fn(String) -> N) {
    let servers = cluster_of(3).await;
    let names: Vec<_> = (0..3).map(|index| name_of(index, 3)).collect();
    // The dead member is the first in the URL.
    let (before, url) = (redlock(open(url(&servers))), url(&servers));
    for name in &names {
        assert!(locks(&before, name).await, "{name}");
    }

    let others_work = async |what: &str| {
        // One `Redlock` that was connected before, and one that was not.
        for redlock in [&before, &redlock(open(url.clone()))] {
            for name in [&names[1], &names[2]].into_iter().cycle().take(20) {
                assert!(locks(redlock, name).await, "{what}: {name} is on a member that works");
            }
            let error = redlock.try_acquire(names[0].as_str(), TTL).await.unwrap_err();
            assert!(!error.is_contended(), "{what}: {error}");
            assert!(locks(redlock, &names[1]).await, "{what}: the connections to the other members are kept");
        }
    };
    servers[0].pause().await.unwrap();
    others_work("hung").await;
    servers[0].stop().await.unwrap();
    others_work("dead").await;

    servers[0].start().await.unwrap();
    assert!(eventually(async || locks(&before, &names[0]).await).await, "the member is back");
}

/// Moves a slot with its keys by the usual commands. Halfway, the keys are split between both members.
async fn move_slot(slot: u16, servers: &[Server], from: usize, to: usize, midway: impl AsyncFn()) {
    let id = async |server: &Server| server.command(&["CLUSTER", "MYID"]).await.unwrap().text().unwrap();
    let (slot, port) = (slot.to_string(), servers[to].port().to_string());
    let (from_id, to_id) = (id(&servers[from]).await, id(&servers[to]).await);
    servers[to].command(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id]).await.unwrap();
    servers[from].command(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id]).await.unwrap();
    midway().await;
    loop {
        let keys = servers[from].command(&["CLUSTER", "GETKEYSINSLOT", &slot, "10"]).await.unwrap();
        let redlock_tests::servers::Reply::Array(keys) = keys else { panic!("{keys:?}") };
        if keys.is_empty() {
            break;
        }
        let keys: Vec<_> = keys.iter().filter_map(redlock_tests::servers::Reply::text).collect();
        let migrate = ["MIGRATE", "127.0.0.1", &port, "", "0", "1000", "KEYS"];
        let migrate: Vec<_> = migrate.into_iter().chain(keys.iter().map(String::as_str)).collect();
        // A key may expire or be released meanwhile.
        servers[from].command(&migrate).await.unwrap();
        midway().await;
    }
    for server in [to, from, 3 - to - from] {
        servers[server].command(&["CLUSTER", "SETSLOT", &slot, "NODE", &to_id]).await.unwrap();
    }
}

/// Locks, extends, inspects and releases while the slot is halfway moved.
async fn works_midway(redlock: &Redlock, name: &str) {
    let mut lock = redlock.try_acquire(name, TTL).await.unwrap().unwrap();
    lock.extend(2 * TTL).await.unwrap();
    assert!(redlock.is_locked(name).await.unwrap());
    assert!(redlock.try_acquire(name, TTL).await.unwrap().is_none());
    assert_eq!(lock.release().await.unwrap(), Release::Released);
}

async fn survives_resharding<N: LockNode>(open: impl Fn(String) -> N) {
    let servers = cluster_of(3).await;
    let names: Arc<Vec<String>> = Arc::new((0..8).map(|number| format!("{{{}}}", name_at(number))).collect());
    let redlock = redlock(open(url(&servers)));
    let is_over = Arc::new(AtomicBool::new(false));
    let held: Arc<Vec<AtomicUsize>> = Arc::new(names.iter().map(|_| AtomicUsize::new(0)).collect());
    let counts: Arc<[AtomicUsize; 2]> = Arc::default();
    let workers: Vec<_> = (0..2 * names.len())
        .map(|worker| {
            let index = worker % names.len();
            let (redlock, names, held, counts, is_over) =
                (redlock.clone(), Arc::clone(&names), Arc::clone(&held), Arc::clone(&counts), Arc::clone(&is_over));
            tokio::spawn(async move {
                while !is_over.load(Ordering::SeqCst) {
                    match redlock.try_acquire(names[index].as_str(), TTL).await {
                        Ok(Some(lock)) => {
                            let others = held[index].fetch_add(1, Ordering::SeqCst);
                            sleep(Duration::from_millis(1)).await;
                            // On a machine that stalled, the lock may have ended.
                            assert!(others == 0 || lock.check().is_err(), "two hold {}", names[index]);
                            held[index].fetch_sub(1, Ordering::SeqCst);
                            counts[0].fetch_add(1, Ordering::SeqCst);
                            let _ = lock.release().await;
                        }
                        Ok(None) => sleep(Duration::from_millis(1)).await,
                        Err(_) => {
                            counts[1].fetch_add(1, Ordering::SeqCst);
                            sleep(Duration::from_millis(5)).await;
                        }
                    }
                }
            })
        })
        .collect();

    for (name, to) in names.iter().zip([1, 2].into_iter().cycle()) {
        let other = format!("{name}:other");
        move_slot(hash_slot(name), &servers, 0, to, async || works_midway(&redlock, &other).await).await;
        works_midway(&redlock, &other).await;
    }
    is_over.store(true, Ordering::SeqCst);
    for worker in workers {
        worker.await.unwrap();
    }
    let [acquired, failed] = &*counts;
    let (acquired, failed) = (acquired.load(Ordering::SeqCst), failed.load(Ordering::SeqCst));
    assert!(acquired > names.len() && failed < acquired, "{acquired} acquired, {failed} failed");
    for name in names.iter() {
        assert!(eventually(async || locks(&redlock, name).await).await, "{name}");
        let source = servers[0].command(&["CLUSTER", "COUNTKEYSINSLOT", &hash_slot(name).to_string()]).await.unwrap();
        assert_eq!(source.integer(), Some(0), "{name} is still on the member that it left");
    }
}

/// Returns names with different slots of the first of three primaries.
fn name_at(number: usize) -> String {
    let names = (0..).map(|number| format!("moves-{number}"));
    let mut ours = names.filter(|name| usize::from(hash_slot(name)) * 3 / SLOTS == 0);
    ours.nth(number).unwrap()
}

fn redis_rs(url: String) -> redlock_redis_rs::RedisNode {
    redlock_redis_rs::RedisNode::open(url).unwrap()
}

fn fred(url: String) -> redlock_fred::RedisNode {
    redlock_fred::RedisNode::open(url).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_rs_follows_the_failover_of_a_member() {
    follows_a_failover(redis_rs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fred_follows_the_failover_of_a_member() {
    follows_a_failover(fred).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_redis_rs_a_member_that_is_down_affects_only_its_slots() {
    does_without_a_member(redis_rs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_fred_a_member_that_is_down_affects_only_its_slots() {
    does_without_a_member(fred).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_redis_rs_locks_exclude_each_other_while_slots_move() {
    survives_resharding(redis_rs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_fred_locks_exclude_each_other_while_slots_move() {
    survives_resharding(fred).await;
}
