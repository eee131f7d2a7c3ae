//! False alarms and harmful observers: events that must not be reported, must come in order, or must come once; and
//! observers that panic.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use redlock_core::{AcquireOptions, AutoExtend, Event, Observer, RedlockBuilder, Release};
use redlock_mock::{Fault, Memory, MockNode};
use tokio::time::sleep;

use crate::support::{self, clocks::Ticks, log::capture, ms};

const TTL: Duration = Duration::from_secs(10);

/// Records the names of the events of locks.
#[derive(Debug, Clone, Default)]
struct Names(Arc<Mutex<Vec<&'static str>>>);

impl Observer for Names {
    fn observe(&self, event: &Event<'_>) {
        let name = match event {
            Event::Acquired { .. } => "acquired",
            Event::Resumed { .. } => "resumed",
            Event::NotAcquired { .. } => "not acquired",
            Event::Extended { .. } => "extended",
            Event::NotExtended { .. } => "not extended",
            Event::Lost { .. } => "lost",
            Event::Breached { .. } => "breached",
            Event::Ended { ending, .. } => ending.as_str(),
            _ => return,
        };
        self.0.lock().unwrap().push(name);
    }
}

impl Names {
    fn take(&self) -> Vec<&'static str> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

fn builder(nodes: &[MockNode]) -> (RedlockBuilder, Names) {
    let names = Names::default();
    (support::builder(nodes).node_timeout(ms(500)).observer(names.clone()), names)
}

#[tokio::test(start_paused = true)]
async fn keys_that_expire_while_their_release_is_in_flight_are_no_breach() {
    let nodes = MockNode::fleet(3);
    let (builder, names) = builder(&nodes);
    let redlock = builder.build().unwrap();
    let lock = redlock.acquire("r", TTL).await.unwrap();
    sleep(lock.validity() - ms(20)).await;
    assert!(lock.check().is_ok());
    // Longer than the allowance for drift.
    nodes.iter().for_each(|node| node.inject(Fault::DelayRequest(ms(200))));
    assert_eq!(lock.release().await.unwrap(), Release::NotHeld);
    assert_eq!(names.take(), ["acquired", "not_held"]);

    // A release that arrives in time and finds no keys is a breach.
    let lock = redlock.acquire("r", TTL).await.unwrap();
    sleep(lock.validity() - ms(220)).await;
    nodes.iter().for_each(|node| node.remove("r"));
    nodes.iter().for_each(|node| node.inject(Fault::DelayRequest(ms(200))));
    assert_eq!(lock.release().await.unwrap(), Release::NotHeld);
    assert_eq!(names.take(), ["acquired", "breached", "lost", "not_held"]);
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_half_of_the_nodes_lost_is_no_breach() {
    for (count, lost, is_breach) in [(2, 1, false), (2, 2, true), (4, 2, false), (4, 3, true)] {
        let nodes = MockNode::fleet(count);
        let (builder, names) = builder(&nodes);
        let redlock = builder.build().unwrap();
        let lock = redlock.acquire("r", TTL).await.unwrap();
        sleep(ms(10)).await;
        nodes.iter().take(lost).for_each(|node| node.restart(Memory::Lost));
        assert_eq!(lock.release().await.unwrap(), Release::NotHeld);
        assert_eq!(names.take().contains(&"breached"), is_breach, "{lost} of {count}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_extend_that_a_release_overtakes_is_not_reported_as_failed() {
    let nodes: Vec<_> = MockNode::fleet(3).into_iter().map(|node| node.with_latency(ms(50))).collect();
    let (builder, names) = builder(&nodes);
    let redlock = builder.build().unwrap();
    let kept = || AcquireOptions::new(TTL).auto_extend(AutoExtend::default().period(ms(1000)));
    // Another auto-extended lock keeps the extending task alive. It ends with the last lock, together with the extends
    // that it has started.
    let other = redlock.acquire("other", kept()).await.unwrap();
    for wait in (700..1200).step_by(20) {
        let lock = redlock.acquire("r", kept()).await.unwrap();
        sleep(ms(wait - 50)).await;
        assert_eq!(lock.release().await.unwrap(), Release::Released);
        sleep(ms(2000)).await;
        assert!(!names.take().contains(&"not extended"), "{wait}");
        let lock = redlock.acquire("r", kept()).await.unwrap();
        sleep(ms(wait - 50)).await;
        drop(lock.into_parts().await.unwrap());
        sleep(TTL).await;
        assert!(!names.take().contains(&"not extended"), "{wait}");
    }
    other.check().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_loss_is_not_reported_before_the_acquire() {
    let mut acquired = 0;
    for seconds in 1..60 {
        let (builder, names) = builder(&MockNode::fleet(3));
        let redlock = builder.clock(Ticks::default()).build().unwrap();
        drop(redlock.try_acquire("r", Duration::from_secs(seconds)).await);
        let names = names.take();
        assert!(matches!(names[0], "acquired" | "not acquired"), "{seconds}: {names:?}");
        acquired += usize::from(names[0] == "acquired");
    }
    assert!(acquired > 0 && acquired < 59);
}

/// Panics in every method.
struct Panics;

impl Observer for Panics {
    fn observe(&self, _: &Event<'_>) {
        panic!("an observer that panics");
    }
}

impl fmt::Debug for Panics {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("an observer that cannot be shown");
    }
}

#[tokio::test(start_paused = true)]
async fn an_observer_that_panics_while_a_task_panics_ends_only_that_task() {
    let subscriber = tracing_subscriber::fmt().with_writer(std::io::sink).finish();
    let _log = capture(subscriber);
    let nodes = MockNode::fleet(3);
    let (builder, names) = builder(&nodes);
    let redlock = builder.observer(Panics).build().unwrap();
    let there = redlock.clone();
    let task = tokio::spawn(async move {
        let _lock = there.acquire("r", TTL).await.unwrap();
        panic!("the work");
    });
    assert!(task.await.unwrap_err().is_panic());
    redlock.close().await.unwrap();
    assert_eq!(names.take(), ["acquired", "dropped"]);
    assert!(nodes.iter().all(|node| node.resources().is_empty()));
}

#[tokio::test(start_paused = true)]
async fn each_call_and_each_lock_is_reported_once_whenever_anything_is_dropped() {
    let nodes: Vec<_> =
        [3, 7, 20].into_iter().zip(MockNode::fleet(3)).map(|(late, node)| node.with_latency(ms(late))).collect();
    let mut told = BTreeSet::new();
    for (drop_after, prolong) in
        (0..100).chain((1000..1300).step_by(9)).flat_map(|after| [(after, false), (after, true)])
    {
        let (builder, names) = builder(&nodes);
        let redlock = builder.build().unwrap();
        let other = redlock.acquire("r", TTL).await.unwrap();
        let waiter = redlock.acquire("r", TTL);
        let work = async {
            sleep(ms(4)).await;
            let _ = other.release().await.unwrap();
            let mut lock = redlock.acquire("r", ms(1100)).await.unwrap();
            if prolong {
                let _ = lock.extend(ms(1000)).await;
            } else {
                lock = redlock.resume(lock.into_parts().await.unwrap()).await.unwrap();
                sleep(ms(1100)).await;
            }
            let _ = lock.release().await;
        };
        let called = Box::pin(async { tokio::join!(work, async { waiter.await.map(drop) }) });
        let _ = tokio::time::timeout(ms(drop_after), called).await;
        redlock.close().await.unwrap();
        let names = names.take();
        let count = |some: &[&str]| names.iter().filter(|name| some.contains(name)).count();
        let ended = ["released", "not_held", "unknown", "dropped", "transferred", "left_to_expire"];
        assert_eq!(count(&["acquired", "resumed"]), count(&ended), "{drop_after}: {names:?}");
        assert!(count(&["lost"]) <= count(&ended), "{drop_after}: {names:?}");
        assert!((2..=3).contains(&count(&["acquired", "not acquired"])), "{drop_after}: {names:?}");
        told.extend(names);
    }
    assert!(
        ["released", "not_held", "dropped", "transferred", "lost", "not acquired"].iter().all(|end| told.contains(end))
    );
}

#[cfg(feature = "bounded-registry")]
mod of_named_locks {
    use std::sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    };

    use redlock_core::{NamedLocks, named::BoundedRegistry};

    use super::*;

    /// Counts the named locks whenever one ends.
    #[derive(Default)]
    struct Counts(OnceLock<NamedLocks>, AtomicU64);

    impl Observer for Counts {
        fn observe(&self, event: &Event<'_>) {
            if let (Some(named), Event::Ended { .. }) = (self.0.get(), event) {
                assert!(named.count() < 100);
                self.1.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    impl fmt::Debug for Counts {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("Counts")
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_observer_may_count_the_named_locks_when_one_is_left_to_expire() {
        let nodes = MockNode::fleet(3);
        let counts = Arc::new(Counts::default());
        let (builder, names) = builder(&nodes);
        let redlock = builder.observer(Arc::clone(&counts)).build().unwrap();
        let named = NamedLocks::new(&redlock, BoundedRegistry::new(10_000));
        counts.0.set(named.clone()).unwrap();
        for number in 0..20 {
            named.lock(format!("r{number}"), TTL).await.unwrap();
        }
        assert!(names.take().contains(&"left_to_expire"));
        assert!(counts.1.load(Ordering::Relaxed) > 0);
    }
}
