//! Locks by name: whose they are, and that no unlock and no registry ever touches another's.

use std::{future::Future, sync::Arc, time::Duration};

use redlock_core::{
    AcquireError, AcquireOptions, AutoExtend, NamedLocks, Redlock, Release, ResourceError, Retry, TokioClock,
    UnlockError,
    named::{Entry, Key, MapRegistry, Registry},
};
use redlock_mock::MockNode;
use tokio::time::{Instant, sleep};

use crate::support::{builder, drop_after};

const TTL: Duration = Duration::from_secs(10);

/// Each promise is kept with every registry.
macro_rules! with_every_registry {
    ($($promise:ident,)+) => {
        mod with_a_map {
            $(#[tokio::test(start_paused = true)]
            async fn $promise() {
                super::$promise(std::sync::Arc::new(redlock_core::named::MapRegistry::default())).await;
            })+
        }

        #[cfg(feature = "bounded-registry")]
        mod with_a_bounded_one {
            $(#[tokio::test(start_paused = true)]
            async fn $promise() {
                let registry = redlock_core::named::BoundedRegistry::new(1024 * 1024);
                super::$promise(std::sync::Arc::new(registry)).await;
            })+
        }
    };
}

with_every_registry! {
    a_name_is_locked_and_unlocked,
    a_name_that_is_not_locked_is_told,
    a_name_that_cannot_be_locked_is_told,
    another_task_cannot_unlock,
    outside_of_tasks_the_thread_is_the_holder,
    a_newer_lock_of_another_task_is_never_deleted,
    an_unlock_that_takes_long_leaves_the_next_lock_alone,
    two_tasks_share_a_lock_by_a_label,
    an_expired_lock_is_told_and_takes_no_time,
    an_expired_lock_is_replaced_by_the_next_of_its_holder,
    a_holder_is_told_of_its_loss_also_when_another_holds_the_name_now,
    a_lock_that_others_took_is_told_already_gone,
    no_lock_is_reentrant,
    names_are_locks_like_all_others,
    a_lock_follows_its_work_until_it_is_unlocked,
    a_lock_that_is_dropped_half_way_leaves_no_entry_and_no_key,
    an_unlock_that_is_dropped_half_way_goes_on,
    an_unlock_that_too_few_nodes_answer_is_told_unknown,
    release_all_gives_all_back_and_tells_of_each,
    release_all_is_bounded_and_one_lock_does_not_wait_for_another,
    release_all_that_is_dropped_half_way_goes_on,
    a_registry_that_is_dropped_gives_nothing_back_and_extends_nothing,
}

fn redlock(nodes: &[MockNode]) -> Redlock {
    builder(nodes).retry(Retry::default().any_number()).build().unwrap()
}

fn fleet(registry: Arc<dyn Registry>) -> (Vec<MockNode>, NamedLocks) {
    let nodes = MockNode::fleet(3);
    let named = NamedLocks::new(&redlock(&nodes), registry);
    (nodes, named)
}

fn kept(lifetime: Duration) -> AcquireOptions {
    AcquireOptions::new(TTL).auto_extend(AutoExtend::default().max_lifetime(lifetime))
}

fn holding(nodes: &[MockNode], name: &str) -> usize {
    nodes.iter().filter(|node| node.peek(name).is_some()).count()
}

/// Runs as a task of its own.
async fn elsewhere<F: Future<Output: Send> + Send + 'static>(
    named: &NamedLocks,
    work: impl FnOnce(NamedLocks) -> F,
) -> F::Output {
    tokio::spawn(work(named.clone())).await.unwrap()
}

async fn unlocked_elsewhere(named: &NamedLocks, name: &'static str) -> Result<Release, UnlockError> {
    elsewhere(named, |named| async move { named.unlock(name).await }).await
}

async fn a_name_is_locked_and_unlocked(registry: Arc<dyn Registry>) {
    let (nodes, named) = fleet(registry);
    let validity = named.lock("r", TTL).await.unwrap();
    assert_eq!(validity, TTL - TTL / 100 - Duration::from_millis(2));
    assert_eq!((named.validity("r"), named.count(), holding(&nodes, "r")), (validity, 1, 3));
    assert_eq!(named.clone().unlock("r").await.unwrap(), Release::Released);
    assert_eq!((named.validity("r"), named.count(), holding(&nodes, "r")), (Duration::ZERO, 0, 0));
}

async fn a_name_that_is_not_locked_is_told(registry: Arc<dyn Registry>) {
    let (nodes, named) = fleet(registry);
    let error = named.unlock("r").await.unwrap_err();
    assert!(matches!(&error, UnlockError::NotLocked { name } if name.as_str() == "r"), "{error}");
    named.lock("r", TTL).await.unwrap();
    named.unlock("r").await.unwrap();
    let requests = nodes[0].requests();
    let error = named.unlock("r").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "could not unlock \"r\": it is not locked here, or no longer; each `named()` has locks of its own"
    );
    assert_eq!(nodes[0].requests(), requests);
}

async fn a_name_that_cannot_be_locked_is_told(registry: Arc<dyn Registry>) {
    let (nodes, named) = fleet(registry);
    assert!(matches!(named.lock("", TTL).await, Err(AcquireError::Resource(ResourceError::Empty))));
    assert!(matches!(named.unlock("").await, Err(UnlockError::Resource(ResourceError::Empty))));
    assert!(matches!(named.lock("r", Duration::ZERO).await, Err(AcquireError::Ttl(_))));
    assert_eq!((named.validity(""), named.count(), nodes[0].requests()), (Duration::ZERO, 0, 0));
}

async fn another_task_cannot_unlock(registry: Arc<dyn Registry>) {
    let (nodes, named) = fleet(registry);
    let holder = named.clone();
    let (locked, told) = (Arc::new(tokio::sync::Notify::new()), Arc::new(tokio::sync::Notify::new()));
    let (is_locked, is_told) = (Arc::clone(&locked), Arc::clone(&told));
    let holding_task = tokio::spawn(async move {
        holder.lock("r", TTL).await.unwrap();
        is_locked.notify_one();
        is_told.notified().await;
        holder.unlock("r").await
    });
    locked.notified().await;
    for error in [named.unlock("r").await.unwrap_err(), unlocked_elsewhere(&named, "r").await.unwrap_err()] {
        assert!(matches!(&error, UnlockError::HeldByAnother { name } if name.as_str() == "r"), "{error}");
        assert!(error.to_string().contains("another task holds it"), "{error}");
    }
    assert_eq!((named.validity("r"), holding(&nodes, "r")), (Duration::ZERO, 3));
    told.notify_one();
    assert_eq!(holding_task.await.unwrap().unwrap(), Release::Released);
}

async fn outside_of_tasks_the_thread_is_the_holder(registry: Arc<dyn Registry>) {
    let (nodes, named) = fleet(registry);
    named.lock("r", TTL).await.unwrap();
    let (other, runtime) = (named.clone(), tokio::runtime::Handle::current());
    let error = std::thread::spawn(move || runtime.block_on(other.unlock("r"))).join().unwrap().unwrap_err();
    assert!(matches!(error, UnlockError::HeldByAnother { .. }), "{error}");
    assert_eq!(holding(&nodes, "r"), 3);
    named.unlock("r").await.unwrap();
}

async fn a_newer_lock_of_another_task_is_never_deleted(registry: Arc<dyn Registry>) {
    let (nodes, named) = fleet(registry);
    named.lock("r", TTL).await.unwrap();
    sleep(2 * TTL).await;
    let newer = named.on_behalf_of("another");
    newer.lock("r", TTL).await.unwrap();
    let values: Vec<_> = nodes.iter().map(|node| node.peek("r")).collect();

    let error = named.unlock("r").await.unwrap_err();
    assert!(matches!(error, UnlockError::Expired { .. }), "{error}");
    // Nothing is left to expire, and somebody holds it.
    assert!(matches!(named.unlock("r").await, Err(UnlockError::HeldByAnother { .. })));
    assert!(matches!(unlocked_elsewhere(&named, "r").await, Err(UnlockError::HeldByAnother { .. })));
    sleep(TTL / 2).await;
    assert_eq!(nodes.iter().map(|node| node.peek("r")).collect::<Vec<_>>(), values);
    assert!(newer.validity("r") > TTL / 3);
    assert_eq!(newer.unlock("r").await.unwrap(), Release::Released);
}

async fn an_unlock_that_takes_long_leaves_the_next_lock_alone(registry: Arc<dyn Registry>) {
    let latency = Duration::from_millis(40);
    let nodes: Vec<_> = (0..3).map(|n| MockNode::new(format!("{n}")).with_latency(latency)).collect();
    let named = NamedLocks::new(&redlock(&nodes), registry).on_behalf_of("all");
    named.lock("r", TTL).await.unwrap();
    let unlocks = tokio::spawn({
        let named = named.clone();
        async move { named.unlock("r").await }
    });
    sleep(latency / 2).await;
    // It has not returned when the next one locks, whose requests are not answered before it.
    assert!(!unlocks.is_finished());
    named.lock("r", TTL).await.unwrap();
    assert_eq!(unlocks.await.unwrap().unwrap(), Release::Released);
    assert!(named.validity("r") > TTL / 2);
    assert_eq!((named.count(), holding(&nodes, "r")), (1, 3));
    assert_eq!(named.unlock("r").await.unwrap(), Release::Released);
}

async fn two_tasks_share_a_lock_by_a_label(registry: Arc<dyn Registry>) {
    let (nodes, named) = fleet(registry);
    elsewhere(&named, |named| async move { named.on_behalf_of("order 7").lock("r", TTL).await.unwrap() }).await;
    assert!(matches!(named.unlock("r").await, Err(UnlockError::HeldByAnother { .. })));
    assert!(matches!(named.on_behalf_of("order 8").unlock("r").await, Err(UnlockError::HeldByAnother { .. })));
    assert!(named.on_behalf_of("order 7").validity("r") > TTL / 2);
    assert_eq!(unlocked_elsewhere(&named.on_behalf_of("order 7"), "r").await.unwrap(), Release::Released);
    assert_eq!(holding(&nodes, "r"), 0);
}

async fn an_expired_lock_is_told_and_takes_no_time(registry: Arc<dyn Registry>) {
    let (nodes, named) = fleet(registry);
    let validity = named.lock("r", TTL).await.unwrap();
    sleep(validity).await;
    assert_eq!(named.validity("r"), Duration::ZERO);
    sleep(Duration::from_secs(3)).await;
    nodes.iter().for_each(MockNode::hang);
    let start = Instant::now();
    let error = named.unlock("r").await.unwrap_err();
    assert_eq!(start.elapsed(), Duration::ZERO);
    let UnlockError::Expired { ago: Some(ago), .. } = error else { panic!("{error}") };
    // Timers count in milliseconds.
    assert!((3_000..=3_002).contains(&ago.as_millis()), "{ago:?}");
    assert!(error.to_string().contains("the lock had ended 3.0s before"), "{error}");
    // Once.
    assert!(matches!(named.unlock("r").await, Err(UnlockError::NotLocked { .. })));
}

async fn an_expired_lock_is_replaced_by_the_next_of_its_holder(registry: Arc<dyn Registry>) {
    let (nodes, named) = fleet(registry);
    for _ in 0..5 {
        named.lock("r", TTL).await.unwrap();
        assert_eq!((named.count(), holding(&nodes, "r")), (1, 3));
        sleep(2 * TTL).await;
    }
    named.lock("r", TTL).await.unwrap();
    assert_eq!(named.unlock("r").await.unwrap(), Release::Released);
    // What came before is forgotten.
    assert!(matches!(named.unlock("r").await, Err(UnlockError::NotLocked { .. })));
    assert_eq!(named.count(), 0);
}

async fn a_holder_is_told_of_its_loss_also_when_another_holds_the_name_now(registry: Arc<dyn Registry>) {
    let (_, named) = fleet(registry);
    let (ours, theirs) = (named.on_behalf_of("ours"), named.on_behalf_of("theirs"));
    for _ in 0..3 {
        ours.lock("r", TTL).await.unwrap();
        sleep(2 * TTL).await;
        theirs.lock("r", TTL).await.unwrap();
        assert_eq!(ours.validity("r"), Duration::ZERO);
        assert!(matches!(ours.unlock("r").await, Err(UnlockError::Expired { .. })));
        sleep(2 * TTL).await;
        // It has expired too, so nobody holds the name.
        assert!(matches!(named.unlock("r").await, Err(UnlockError::NotLocked { .. })));
    }
}

async fn a_lock_that_others_took_is_told_already_gone(registry: Arc<dyn Registry>) {
    let (nodes, named) = fleet(registry);
    named.lock("r", TTL).await.unwrap();
    nodes.iter().for_each(|node| node.set("r", "another", None));
    assert_eq!(named.unlock("r").await.unwrap(), Release::AlreadyGone);

    // Also when an extend has found that out before.
    named.lock("s", kept(20 * TTL)).await.unwrap();
    nodes.iter().for_each(|node| node.set("s", "another", None));
    sleep(TTL).await;
    assert_eq!(named.validity("s"), Duration::ZERO);
    assert_eq!(named.unlock("s").await.unwrap(), Release::AlreadyGone);
    assert_eq!((holding(&nodes, "r"), holding(&nodes, "s")), (3, 3));
}

async fn no_lock_is_reentrant(registry: Arc<dyn Registry>) {
    let (_, named) = fleet(registry);
    named.lock("r", TTL).await.unwrap();
    let once = AcquireOptions::new(TTL).retry(Retry::never());
    assert!(named.lock("r", once.clone()).await.unwrap_err().is_contended());
    assert!(named.on_behalf_of("another").lock("r", once).await.unwrap_err().is_contended());
    // What failed has changed nothing.
    assert_eq!((named.count(), named.unlock("r").await.unwrap()), (1, Release::Released));
}

async fn names_are_locks_like_all_others(registry: Arc<dyn Registry>) {
    let (nodes, named) = fleet(registry);
    let redlock = redlock(&nodes);
    named.lock("r", TTL).await.unwrap();
    assert!(redlock.try_acquire("r", TTL).await.unwrap_err().is_contended());
    named.unlock("r").await.unwrap();
    let lock = redlock.try_acquire("r", TTL).await.unwrap();
    assert!(matches!(named.unlock("r").await, Err(UnlockError::NotLocked { .. })));
    lock.release().await.unwrap();
}

async fn a_lock_follows_its_work_until_it_is_unlocked(registry: Arc<dyn Registry>) {
    let (nodes, named) = fleet(registry);
    named.lock("r", kept(20 * TTL)).await.unwrap();
    for _ in 0..15 {
        sleep(TTL).await;
        assert!(named.validity("r") > TTL / 2, "{:?}", named.validity("r"));
    }
    assert_eq!(named.unlock("r").await.unwrap(), Release::Released);
    let requests = nodes[0].requests();
    sleep(2 * TTL).await;
    assert_eq!((nodes[0].requests(), holding(&nodes, "r")), (requests, 0));
    // And no longer than its longest lifetime.
    let start = Instant::now();
    named.lock("r", kept(3 * TTL)).await.unwrap();
    sleep(4 * TTL).await;
    let error = named.unlock("r").await.unwrap_err();
    let UnlockError::Expired { ago: Some(ago), .. } = error else { panic!("{error}") };
    let lived = start.elapsed() - ago;
    assert!(lived <= 3 * TTL && lived > 3 * TTL - TTL / 10, "{lived:?}");
}

async fn a_lock_that_is_dropped_half_way_leaves_no_entry_and_no_key(registry: Arc<dyn Registry>) {
    let nodes: Vec<_> =
        (0..3).map(|n| MockNode::new(format!("{n}")).with_latency(Duration::from_millis(3 * n))).collect();
    let redlock = redlock(&nodes);
    let named = NamedLocks::new(&redlock, registry);
    let mut dropped = 0;
    for polls in 0.. {
        let locked = drop_after(polls, named.lock("r", kept(20 * TTL))).await;
        if let Some(validity) = locked {
            validity.unwrap();
            named.unlock("r").await.unwrap();
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

async fn an_unlock_that_is_dropped_half_way_goes_on(registry: Arc<dyn Registry>) {
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

async fn an_unlock_that_too_few_nodes_answer_is_told_unknown(registry: Arc<dyn Registry>) {
    let (nodes, named) = fleet(registry);
    named.lock("r", TTL).await.unwrap();
    nodes[0].stop();
    nodes[1].hang();
    let error = named.unlock("r").await.unwrap_err();
    let UnlockError::Release(error) = error else { panic!("{error}") };
    assert_eq!(error.votes().unwrap().granted(), 1);
    assert_eq!(named.count(), 0);
}

async fn release_all_gives_all_back_and_tells_of_each(registry: Arc<dyn Registry>) {
    let (nodes, named) = fleet(registry);
    for (number, name) in ["d", "a", "c", "b"].into_iter().enumerate() {
        let ttl = if name == "c" { TTL / 10 } else { TTL };
        named.on_behalf_of(number.to_string()).lock(name, ttl).await.unwrap();
    }
    named.lock("e", kept(20 * TTL)).await.unwrap();
    nodes.iter().for_each(|node| node.set("b", "another", None));
    sleep(TTL / 5).await;
    let outcomes = named.release_all().await;
    let outcomes: Vec<_> = outcomes.iter().map(|(name, outcome)| (name.as_str(), *outcome.as_ref().unwrap())).collect();
    let expected = [
        ("a", Release::Released),
        ("b", Release::AlreadyGone),
        ("c", Release::AlreadyGone),
        ("d", Release::Released),
        ("e", Release::Released),
    ];
    assert_eq!(outcomes, expected);
    assert_eq!((named.count(), named.validity("e")), (0, Duration::ZERO));
    sleep(2 * TTL).await;
    assert!(nodes.iter().all(|node| node.resources() == ["b"]));
    assert!(named.release_all().await.is_empty());
    assert!(matches!(named.unlock("e").await, Err(UnlockError::NotLocked { .. })));
    // It can be used on.
    named.lock("a", TTL).await.unwrap();
    nodes[..2].iter().for_each(MockNode::stop);
    assert!(named.release_all().await[0].1.is_err());
}

async fn release_all_is_bounded_and_one_lock_does_not_wait_for_another(registry: Arc<dyn Registry>) {
    let latency = Duration::from_millis(10);
    let nodes: Vec<_> = (0..3).map(|n| MockNode::new(format!("{n}")).with_latency(latency)).collect();
    let named = NamedLocks::new(&redlock(&nodes), registry);
    for number in 0..600 {
        named.lock(format!("r{number}"), 100 * TTL).await.unwrap();
    }
    let start = Instant::now();
    assert_eq!(named.release_all().await.len(), 600);
    // Three times 256, less a few: each that is done makes room for one.
    assert_eq!(start.elapsed(), 3 * latency);
    assert!(nodes.iter().all(|node| node.resources().is_empty()));
}

async fn release_all_that_is_dropped_half_way_goes_on(registry: Arc<dyn Registry>) {
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

async fn a_registry_that_is_dropped_gives_nothing_back_and_extends_nothing(registry: Arc<dyn Registry>) {
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

/// On threads of their own, so that calls meet in the registry and in its books.
async fn many_tasks_at_once_unlock_only_their_own(registry: Arc<dyn Registry>) {
    let nodes = MockNode::fleet(3);
    let pauses = Retry::default().any_number().fixed(Duration::from_millis(1));
    let redlock = Redlock::builder().nodes(nodes.clone()).retry(pauses).build().unwrap();
    let named = NamedLocks::new(&redlock, registry);
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..8 {
        let named = named.clone();
        tasks.spawn(async move {
            for round in 0..50 {
                let name = format!("r{}", (task + round) % 4);
                // Now and then there is nothing to unlock.
                let error = named.unlock(&name).await.unwrap_err();
                assert!(matches!(error, UnlockError::NotLocked { .. } | UnlockError::HeldByAnother { .. }), "{error}");
                named.lock(&name, 100 * TTL).await.unwrap();
                assert!(named.validity(&name) > TTL);
                assert_eq!(named.unlock(&name).await.unwrap(), Release::Released);
            }
        });
    }
    tasks.join_all().await;
    assert_eq!(named.count(), 0);
    assert!(format!("{named:?}").contains("held: 0, departed: 0"), "{named:?}");
    redlock.close().await.unwrap();
    assert!(nodes.iter().all(|node| node.resources().is_empty()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_tasks_at_once_unlock_only_their_own_in_a_map() {
    many_tasks_at_once_unlock_only_their_own(Arc::new(MapRegistry::default().collect_every(Duration::ZERO))).await;
}

/// A registry that drops all it has when it is told to.
#[derive(Debug, Default)]
struct Forgetful(MapRegistry);

impl Forgetful {
    fn forget(&self) {
        drop(self.0.take_all());
    }
}

impl Registry for Forgetful {
    fn keep(&self, entry: Entry, now: Duration) {
        self.0.keep(entry, now);
    }

    fn take(&self, key: &Key, now: Duration) -> Option<Entry> {
        self.0.take(key, now)
    }

    fn take_all(&self) -> Vec<Entry> {
        self.0.take_all()
    }

    fn count(&self) -> usize {
        self.0.count()
    }
}

fn forgetful() -> (Vec<MockNode>, NamedLocks, Arc<Forgetful>) {
    let registry = Arc::new(Forgetful::default());
    let (nodes, named) = fleet(Arc::clone(&registry) as _);
    (nodes, named, registry)
}

#[tokio::test(start_paused = true)]
async fn an_evicted_lock_stays_held_until_its_ttl_ends_and_is_told() {
    let (nodes, named, registry) = forgetful();
    let validity = named.lock("r", TTL).await.unwrap();
    let requests = nodes[0].requests();
    sleep(TTL / 2).await;
    registry.forget();
    // Its holder relies on what it was told.
    assert_eq!(named.validity("r"), validity - TTL / 2);
    assert_eq!(named.on_behalf_of("another").validity("r"), Duration::ZERO);
    let once = AcquireOptions::new(TTL).retry(Retry::never());
    assert!(named.on_behalf_of("another").lock("r", once.clone()).await.unwrap_err().is_contended());
    let error = named.unlock("r").await.unwrap_err();
    let UnlockError::Evicted { left, .. } = error else { panic!("{error}") };
    assert_eq!(left, validity - TTL / 2);
    assert!(error.to_string().contains("the registry has dropped it"), "{error}");
    // Once. Nothing but the refused acquire and its release was sent.
    assert!(matches!(named.unlock("r").await, Err(UnlockError::NotLocked { .. })));
    sleep(TTL / 4).await;
    assert_eq!((nodes[0].requests(), holding(&nodes, "r")), (requests + 2, 3));
    sleep(TTL / 2).await;
    assert_eq!(holding(&nodes, "r"), 0);
    named.lock("r", once).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_evicted_lock_is_not_extended_any_more() {
    let (nodes, named, registry) = forgetful();
    named.lock("r", kept(20 * TTL)).await.unwrap();
    sleep(5 * TTL).await;
    let requests = nodes[0].requests();
    registry.forget();
    let left = named.validity("r");
    assert!(left > TTL / 2);
    sleep(left).await;
    assert_eq!(named.validity("r"), Duration::ZERO);
    sleep(TTL).await;
    assert_eq!((nodes[0].requests(), holding(&nodes, "r")), (requests, 0));
    let error = named.unlock("r").await.unwrap_err();
    assert!(matches!(error, UnlockError::Evicted { left: Duration::ZERO, .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_ended_before_the_registry_dropped_it_is_told_expired() {
    let (nodes, named, registry) = forgetful();
    named.lock("r", TTL).await.unwrap();
    named.lock("s", kept(20 * TTL)).await.unwrap();
    nodes.iter().for_each(|node| node.set("s", "another", None));
    sleep(2 * TTL).await;
    registry.forget();
    sleep(TTL).await;
    named.on_behalf_of("another").lock("r", TTL).await.unwrap();
    let error = named.unlock("r").await.unwrap_err();
    let UnlockError::Expired { ago: Some(ago), .. } = error else { panic!("{error}") };
    assert!(ago > 2 * TTL && ago < 2 * TTL + TTL / 10, "{ago:?}");
    assert_eq!(named.validity("s"), Duration::ZERO);
    let error = named.unlock("s").await.unwrap_err();
    assert!(matches!(error, UnlockError::Expired { .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_entry_says_what_it_is_and_not_how_to_unlock_it() {
    let (nodes, named, registry) = forgetful();
    named.on_behalf_of("order 7").lock("r", TTL).await.unwrap();
    let token = String::from_utf8(nodes[0].peek("r").unwrap()).unwrap();
    let printed = format!("{:?}", registry.take_all());
    assert!(printed.contains(r#"name: "r", caller: Label("order 7")"#) && printed.contains("validity"), "{printed}");
    assert!(!printed.contains(&token), "{printed}");
}

#[tokio::test(start_paused = true)]
async fn what_became_of_the_last_1024_evicted_locks_is_known() {
    let (_, named, registry) = forgetful();
    for number in 0..1025 {
        named.lock(format!("r{number}"), 100 * TTL).await.unwrap();
    }
    assert!(format!("{named:?}").contains("held: 1025, departed: 0"), "{named:?}");
    registry.forget();
    assert!(format!("{named:?}").contains("held: 0, departed: 1024"), "{named:?}");
    let mut unknown = 0;
    for number in 0..1025 {
        match named.unlock(format!("r{number}")).await.unwrap_err() {
            UnlockError::Evicted { .. } => {}
            UnlockError::NotLocked { .. } => unknown += 1,
            error => panic!("{error}"),
        }
    }
    assert_eq!(unknown, 1);
}

#[tokio::test(start_paused = true)]
async fn a_map_collects_what_has_expired_and_nothing_else() {
    let (_, named) = fleet(Arc::new(MapRegistry::default()));
    for number in 0..100 {
        named.lock(format!("r{number}"), TTL).await.unwrap();
    }
    named.lock("kept", kept(100 * TTL)).await.unwrap();
    named.lock("long", 100 * TTL).await.unwrap();
    sleep(MapRegistry::INTERVAL - Duration::from_millis(1)).await;
    assert!(matches!(named.unlock("none").await, Err(UnlockError::NotLocked { .. })));
    assert_eq!(named.count(), 102);
    sleep(Duration::from_millis(1)).await;
    assert!(matches!(named.unlock("none").await, Err(UnlockError::NotLocked { .. })));
    assert_eq!(named.count(), 2);
    // With the call that takes them it is told, and so it is later.
    for number in 0..100 {
        assert!(matches!(named.unlock(format!("r{number}")).await, Err(UnlockError::Expired { ago: Some(_), .. })));
    }
    assert!(named.validity("kept") > TTL / 2);
    assert_eq!(named.unlock("kept").await.unwrap(), Release::Released);
    assert_eq!(named.unlock("long").await.unwrap(), Release::Released);
}

#[tokio::test(start_paused = true)]
async fn a_map_collects_as_often_as_it_is_told() {
    for (registry, kept_after) in [
        (MapRegistry::default().collect_every(Duration::ZERO), [1, 1, 1]),
        (MapRegistry::default().collect_every(5 * TTL), [1, 2, 1]),
        (MapRegistry::default().never_collect(), [1, 2, 3]),
    ] {
        let (_, named) = fleet(Arc::new(registry));
        let mut counts = Vec::new();
        for name in ["a", "b", "c"] {
            named.lock(name, TTL).await.unwrap();
            counts.push(named.count());
            sleep(3 * TTL).await;
        }
        assert_eq!(counts, kept_after);
    }
}

#[tokio::test(start_paused = true)]
async fn each_call_to_named_has_locks_of_its_own() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    let named = redlock.named();
    named.lock("r", TTL).await.unwrap();
    assert!(matches!(redlock.named().unlock("r").await, Err(UnlockError::NotLocked { .. })));
    assert!(format!("{named:?}").contains("MapRegistry { interval: Some(60s), count: 1 }"), "{named:?}");
    named.unlock("r").await.unwrap();
}

#[cfg(feature = "bounded-registry")]
mod bounded {
    use redlock_core::named::BoundedRegistry;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_bounded_registry_stays_within_its_bytes_and_drops_the_oldest() {
        let registry = Arc::new(BoundedRegistry::new(100 * 1024));
        let (nodes, named) = fleet(Arc::clone(&registry) as _);
        let mut most = 0;
        for number in 0..500 {
            named.lock(format!("r{number}"), 100 * TTL).await.unwrap();
            most = most.max(named.count());
        }
        assert!((60..=80).contains(&most), "{most}");
        assert_eq!(named.count(), most);
        let printed = format!("{registry:?}");
        assert!(printed.starts_with("BoundedRegistry { max_bytes: Some(102400), bytes: "), "{printed}");
        let mut outcomes = Vec::new();
        for number in 0..500 {
            outcomes.push(named.unlock(format!("r{number}")).await);
        }
        let (evicted, released) = outcomes.split_at(500 - most);
        assert!(evicted.iter().all(|outcome| matches!(outcome, Err(UnlockError::Evicted { .. }))));
        assert!(released.iter().all(|outcome| matches!(outcome, Ok(Release::Released))));
        // All of them are still held.
        assert_eq!(nodes[0].resources().len(), evicted.len());
    }

    #[tokio::test(start_paused = true)]
    async fn the_bytes_of_names_count() {
        let (_, named) = fleet(Arc::new(BoundedRegistry::new(100 * 1024)));
        for number in 0..5 {
            named.lock(format!("{number:017000}"), TTL).await.unwrap();
        }
        assert_eq!(named.count(), 2);
        // One for which there is no room at all.
        named.lock("x".repeat(65_536), TTL).await.unwrap();
        assert!(matches!(named.unlock("x".repeat(65_536)).await, Err(UnlockError::Evicted { .. })));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn many_tasks_at_once_unlock_only_their_own_in_a_bounded_registry() {
        many_tasks_at_once_unlock_only_their_own(Arc::new(BoundedRegistry::new(1024 * 1024))).await;
    }

    /// Its cache has the machine's clock, and so has this test.
    #[tokio::test]
    async fn what_has_expired_makes_room_by_itself_and_is_told() {
        let redlock = Redlock::new(MockNode::fleet(3)).unwrap();
        let named = NamedLocks::new(&redlock, BoundedRegistry::new(1024 * 1024));
        let ttl = Duration::from_millis(300);
        for name in ["short", "again", "renewed"] {
            named.lock(name, ttl).await.unwrap();
        }
        named.lock("long", 100 * TTL).await.unwrap();
        let auto_extend = AutoExtend::default().max_lifetime(100 * TTL);
        named.lock("kept", AcquireOptions::new(TTL).auto_extend(auto_extend)).await.unwrap();
        let start = Instant::now();
        // These are replaced, each by one with an expiry of its own.
        let patient = |ttl| AcquireOptions::new(ttl).deadline(3 * TTL);
        named.lock("renewed", patient(100 * TTL)).await.unwrap();
        named.lock("again", patient(ttl)).await.unwrap();
        while named.count() > 3 {
            assert!(start.elapsed() < 3 * TTL, "never expires");
            sleep(Duration::from_millis(20)).await;
        }
        assert!(start.elapsed() > ttl / 2, "{:?}", start.elapsed());
        for name in ["short", "again"] {
            let error = named.unlock(name).await.unwrap_err();
            assert!(matches!(error, UnlockError::Expired { ago: Some(_), .. }), "{error}");
        }
        for name in ["renewed", "long", "kept"] {
            assert_eq!(named.unlock(name).await.unwrap(), Release::Released);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_was_lost_and_never_unlocked_leaves_no_keys_behind() {
    let nodes = MockNode::fleet(3);
    let redlock = Redlock::builder().nodes(nodes.clone()).clock(TokioClock::default()).build().unwrap();
    let named = NamedLocks::new(&redlock, MapRegistry::default().collect_every(Duration::ZERO));
    let hour = Duration::from_secs(3600);
    named
        .lock("r", AcquireOptions::new(hour).auto_extend(AutoExtend::default().max_lifetime(10 * hour)))
        .await
        .unwrap();
    nodes.iter().for_each(|node| node.restart(redlock_mock::Memory::Lost));
    // The next extend sets the keys again, and finds that the lock is lost.
    sleep(hour / 3).await;
    assert!(nodes.iter().all(|node| node.peek("r").is_some()) && named.validity("r").is_zero());
    assert!(named.unlock("another").await.is_err());
    redlock.close().await.unwrap();
    assert!(nodes.iter().all(|node| node.resources().is_empty()));
    redlock.try_acquire("r", TTL).await.unwrap().release().await.unwrap();
}
