//! Waiting for several names at once, next to calls that wait for one of them.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use redlock_core::{AcquireError, AcquireOptions, Event, Observer, Redlock, Retry};
use redlock_mock::MockNode;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use super::{TTL, patient};
use crate::support::{builder, ms, redlock};

const NAMES: [&str; 3] = ["a", "b", "c"];

/// Starts two processes, in each of which four tasks per name acquire, hold and release it without a pause.
fn queued_single_locks(nodes: &[MockNode]) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    for name in NAMES {
        for redlock in [redlock(nodes), redlock(nodes)] {
            for _ in 0..4 {
                let redlock = redlock.clone();
                tasks.spawn(async move {
                    loop {
                        let lock = redlock.acquire(name, patient()).await.unwrap();
                        sleep(ms(20)).await;
                        let _ = lock.release().await.unwrap();
                    }
                });
            }
        }
    }
    tasks
}

fn nodes() -> Vec<MockNode> {
    MockNode::fleet(3).into_iter().map(|node| node.with_latency(ms(1))).collect()
}

async fn acquires_all(redlock: &Redlock, names: [&str; 3]) {
    let options = AcquireOptions::new(TTL).retry(Retry::timeout(ms(8_000)));
    let lock = redlock.acquire(names, options).await.unwrap();
    sleep(ms(20)).await;
    let _ = lock.release().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_call_for_several_names_does_not_starve_next_to_queued_calls_for_one() {
    let nodes = nodes();
    let _tasks = queued_single_locks(&nodes);
    let redlock = redlock(&nodes);
    for _ in 0..5 {
        acquires_all(&redlock, NAMES).await;
    }
}

#[tokio::test(start_paused = true)]
async fn several_calls_for_several_names_never_wait_for_each_other() {
    let nodes = nodes();
    let _tasks = queued_single_locks(&nodes);
    let mut all = JoinSet::new();
    for names in [["a", "b", "c"], ["c", "a", "b"], ["b", "c", "a"]] {
        let redlock = redlock(&nodes);
        all.spawn(async move {
            for _ in 0..3 {
                acquires_all(&redlock, names).await;
            }
        });
    }
    while let Some(done) = all.join_next().await {
        done.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_for_several_names_that_gives_up_leaves_nothing_behind() {
    let nodes = nodes();
    let (ours, theirs) = (redlock(&nodes), redlock(&nodes));
    let held = theirs.acquire("b", TTL).await.unwrap();
    let options = AcquireOptions::new(TTL).retry(Retry::timeout(ms(1_000)));
    let begun = Instant::now();
    let error = ours.acquire(NAMES, options).await.unwrap_err();
    assert!(error.is_contended(), "{error}");
    assert!(error.to_string().contains("\"c\""), "{error}");
    assert!(begun.elapsed() >= ms(1_000));
    ours.close().await.unwrap();
    for name in ["a", "c"] {
        assert!(nodes.iter().all(|node| node.peek(name).is_none()), "{name} is still locked");
    }
    let _ = held.release().await.unwrap();
    let lock = ours.acquire(NAMES, TTL).await.unwrap();
    let _ = lock.release().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_task_that_holds_one_of_the_names_and_waits_for_another_gets_it() {
    let nodes = nodes();
    let (ours, theirs) = (redlock(&nodes), redlock(&nodes));
    let second = theirs.acquire("b", patient()).await.unwrap();
    let all = tokio::spawn(async move {
        let forever = AcquireOptions::new(TTL).retry(Retry::default().unlimited());
        ours.acquire(NAMES, forever).await.map(|_| ())
    });
    // By then it has reserved the first name and waits for the second.
    sleep(ms(1_000)).await;
    let begun = Instant::now();
    let first = theirs.acquire("a", patient()).await.unwrap();
    assert!(begun.elapsed() <= 2 * TTL, "{:?}", begun.elapsed());
    drop((first, second));
    all.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn attempts_are_counted_by_the_pauses_between_them_and_not_by_the_names() {
    for attempts in 1..5 {
        let nodes = nodes();
        let (ours, theirs) = (redlock(&nodes), redlock(&nodes));
        let _held = theirs.acquire("c", patient()).await.unwrap();
        let retry = Retry::attempts(attempts).fixed(ms(100)).jitter(Duration::ZERO);
        let begun = Instant::now();
        let error = ours.acquire(NAMES, AcquireOptions::new(TTL).retry(retry)).await.unwrap_err();
        let AcquireError::Contended(tried) = error else { panic!("{error}") };
        assert_eq!(tried.made, attempts);
        let pauses = ms(100) * (attempts - 1);
        assert!((pauses..pauses + ms(50)).contains(&begun.elapsed()), "{attempts}: {:?}", begun.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_name_that_is_released_during_the_first_pause_is_locked_at_once() {
    let nodes = nodes();
    let (ours, theirs) = (redlock(&nodes), redlock(&nodes));
    let held = theirs.acquire("b", TTL).await.unwrap();
    let all = tokio::spawn(async move {
        let retry = Retry::attempts(3).fixed(ms(3_000)).jitter(Duration::ZERO);
        let lock = ours.acquire(NAMES, AcquireOptions::new(TTL).retry(retry)).await.unwrap();
        (lock, Instant::now())
    });
    sleep(ms(500)).await;
    let released = Instant::now();
    let _ = held.release().await.unwrap();
    let (_lock, acquired) = all.await.unwrap();
    assert!(acquired - released < ms(100), "{:?}", acquired - released);
}

/// Records the events of locks.
#[derive(Debug, Clone, Default)]
struct Heard(Arc<Mutex<Vec<String>>>);

impl Observer for Heard {
    fn observe(&self, event: &Event<'_>) {
        let heard = match event {
            Event::Acquired { resources, attempts, .. } => format!("acquired {resources} after {attempts}"),
            Event::Ended { resources, ending, .. } => format!("ended {resources} {ending:?}"),
            Event::NodeAsked { .. } | Event::ReleasesOwed { .. } => return,
            other => format!("{other:?}"),
        };
        self.0.lock().unwrap().push(heard);
    }
}

#[tokio::test(start_paused = true)]
async fn observers_receive_events_of_the_lock_and_not_of_reservations() {
    let nodes = nodes();
    let heard = Heard::default();
    let ours = builder(&nodes).observer(heard.clone()).fencing(true).build().unwrap();
    let theirs = redlock(&nodes);
    let held = theirs.acquire("c", TTL).await.unwrap();
    // Long enough for a reservation to be extended.
    let releases = tokio::spawn(async move {
        sleep(TTL * 3 / 4).await;
        let _ = held.release().await.unwrap();
    });
    let retry = Retry::timeout(2 * TTL);
    let lock = ours.acquire(NAMES, AcquireOptions::new(TTL).retry(retry)).await.unwrap();
    releases.await.unwrap();
    let first = lock.fencing_token().unwrap();
    let _ = lock.release().await.unwrap();
    let events = heard.0.lock().unwrap().clone();
    assert_eq!(events.len(), 2, "{events:?}");
    assert!(events[0].starts_with("acquired \"a\", \"b\", \"c\""), "{events:?}");
    assert!(events[1].contains("Released"), "{events:?}");
    let second = ours.acquire(NAMES, TTL).await.unwrap().fencing_token().unwrap();
    assert!(first < second);
}
