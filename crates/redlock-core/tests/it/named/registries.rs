//! Registries: what they evict, what they collect, and how large they grow.

use std::{sync::Arc, time::Duration};

use redlock_core::{
    AcquireOptions, NamedLocks, Redlock, Release, Retry, UnlockError,
    named::{Entry, Key, MapRegistry, Registry},
};
use redlock_mock::MockNode;
use tokio::time::sleep;

use super::{TTL, fleet, holding, kept};

/// Runs on several threads, so that calls meet in the registry and in its records.
async fn many_tasks_at_once_unlock_only_their_own(registry: Arc<dyn Registry>) {
    let nodes = MockNode::fleet(3);
    let pauses = Retry::default().unlimited().fixed(Duration::from_millis(1));
    let redlock = Redlock::builder().nodes(nodes.clone()).retry(pauses).build().unwrap();
    let named = NamedLocks::new(&redlock, registry);
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..8 {
        let named = named.clone();
        tasks.spawn(async move {
            for round in 0..50 {
                let name = format!("r{}", (task + round) % 4);
                // First, it unlocks a name that it does not hold.
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

/// A registry that drops all its entries on request.
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
async fn an_evicted_lock_stays_held_until_its_ttl_ends_and_is_reported() {
    let (nodes, named, registry) = forgetful();
    let validity = named.lock("r", TTL).await.unwrap();
    let requests = nodes[0].requests();
    sleep(TTL / 2).await;
    registry.forget();
    // The holder still relies on the validity that `lock` returned.
    assert_eq!(named.validity("r"), validity - TTL / 2);
    assert_eq!(named.with_owner("another").validity("r"), Duration::ZERO);
    let once = AcquireOptions::new(TTL).retry(Retry::never());
    assert!(named.with_owner("another").lock("r", once.clone()).await.unwrap_err().is_contended());
    let error = named.unlock("r").await.unwrap_err();
    let UnlockError::Evicted { left, .. } = error else { panic!("{error}") };
    assert_eq!(left, validity - TTL / 2);
    assert!(error.to_string().contains("the registry has dropped it"), "{error}");
    // Only the first unlock reports it. Only the refused acquire and its release were sent.
    assert!(matches!(named.unlock("r").await, Err(UnlockError::NotLocked { .. })));
    sleep(TTL / 4).await;
    assert_eq!((nodes[0].requests(), holding(&nodes, "r")), (requests + 2, 3));
    sleep(TTL / 2).await;
    assert_eq!(holding(&nodes, "r"), 0);
    named.lock("r", once).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_evicted_lock_is_no_longer_extended() {
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
async fn a_lock_that_ended_before_it_was_evicted_is_reported_as_expired() {
    let (nodes, named, registry) = forgetful();
    named.lock("r", TTL).await.unwrap();
    named.lock("s", kept(20 * TTL)).await.unwrap();
    nodes.iter().for_each(|node| node.set("s", "another", None));
    sleep(2 * TTL).await;
    registry.forget();
    sleep(TTL).await;
    named.with_owner("another").lock("r", TTL).await.unwrap();
    let error = named.unlock("r").await.unwrap_err();
    let UnlockError::Expired { ago: Some(ago), .. } = error else { panic!("{error}") };
    assert!(ago > 2 * TTL && ago < 2 * TTL + TTL / 10, "{ago:?}");
    assert_eq!(named.validity("s"), Duration::ZERO);
    let error = named.unlock("s").await.unwrap_err();
    assert!(matches!(error, UnlockError::Expired { .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_entry_prints_its_name_and_caller_and_not_its_token() {
    let (nodes, named, registry) = forgetful();
    named.with_owner("order 7").lock("r", TTL).await.unwrap();
    let token = String::from_utf8(nodes[0].peek("r").unwrap()).unwrap();
    let printed = format!("{:?}", registry.take_all());
    assert!(printed.contains(r#"name: "r", caller: Label("order 7")"#) && printed.contains("validity"), "{printed}");
    assert!(!printed.contains(&token), "{printed}");
}

#[tokio::test(start_paused = true)]
async fn thousands_of_evicted_locks_are_reported_as_such() {
    let (_, named, registry) = forgetful();
    for number in 0..3_000 {
        named.lock(format!("r{number}"), 100 * TTL).await.unwrap();
    }
    assert!(format!("{named:?}").contains("held: 3000, departed: 0"), "{named:?}");
    registry.forget();
    assert!(format!("{named:?}").contains("held: 0, departed: 3000"), "{named:?}");
    for number in 0..3_000 {
        let error = named.unlock(format!("r{number}")).await.unwrap_err();
        assert!(matches!(error, UnlockError::Evicted { .. }), "{error}");
    }
    assert!(matches!(named.unlock("none").await, Err(UnlockError::NotLocked { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_map_collects_expired_locks_and_nothing_else() {
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
    // The call that collects them reports it, and so do later ones.
    for number in 0..100 {
        assert!(matches!(named.unlock(format!("r{number}")).await, Err(UnlockError::Expired { ago: Some(_), .. })));
    }
    assert!(named.validity("kept") > TTL / 2);
    assert_eq!(named.unlock("kept").await.unwrap(), Release::Released);
    assert_eq!(named.unlock("long").await.unwrap(), Release::Released);
}

#[tokio::test(start_paused = true)]
async fn a_map_collects_as_often_as_configured() {
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

#[cfg(feature = "bounded-registry")]
mod bounded {
    use redlock_core::{AutoExtend, named::BoundedRegistry};
    use tokio::time::Instant;

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
        // All of these are still held.
        assert_eq!(nodes[0].resources().len(), evicted.len());
    }

    #[tokio::test(start_paused = true)]
    async fn the_bytes_of_names_count_toward_the_bound() {
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

    /// Its cache uses the machine's clock, and so does this test.
    #[tokio::test]
    async fn expired_locks_make_room_by_themselves_and_are_reported() {
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
        // These are replaced, each by one with its own expiry.
        let patient = |ttl| AcquireOptions::new(ttl).timeout(3 * TTL);
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
