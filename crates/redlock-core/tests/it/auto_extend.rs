//! Locks that are extended automatically for as long as they are held, and that report it when they are lost.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use redlock_core::{
    AcquireError, AcquireOptions, AutoExtend, AutoExtendError, Event, ExtendError, Lock, LockLost, Observer, Redlock,
    UsingError, testing::TokioClock,
};
use redlock_mock::{Memory, MockNode};
use tokio::{
    runtime::{Builder, Handle},
    time::{Instant, sleep, timeout},
};

use crate::support::{SameByte, builder, holding, ms, redlock};

const TTL: Duration = Duration::from_secs(30);
/// An extend may come up to a tenth of the period earlier.
const PERIOD: Duration = Duration::from_secs(10);

fn kept() -> AcquireOptions {
    AcquireOptions::new(TTL).auto_extend(AutoExtend::default())
}

async fn kept_lock(nodes: &[MockNode]) -> (Redlock, Lock) {
    let redlock = redlock(nodes);
    let lock = redlock.acquire("r", kept()).await.unwrap();
    (redlock, lock)
}

#[tokio::test(start_paused = true)]
async fn an_auto_extended_lock_lasts_as_long_as_its_work() {
    let nodes = MockNode::fleet(3);
    let (redlock, lock) = kept_lock(&nodes).await;
    for _ in 0..100 {
        sleep(TTL).await;
        assert!(lock.validity() > TTL / 2, "{:?}", lock.validity());
        assert!(redlock.try_acquire("r", TTL).await.unwrap().is_none());
    }
    let extends = nodes[0].requests() - 1 - 200;
    assert!((300..=334).contains(&extends), "{extends}");
    let _ = lock.release().await.unwrap();
    sleep(TTL).await;
    assert!(nodes.iter().all(|node| node.resources().is_empty()));
}

#[tokio::test(start_paused = true)]
async fn a_lock_is_not_extended_beyond_its_maximum_lifetime() {
    let nodes = MockNode::fleet(3);
    let start = Instant::now();
    let options = AcquireOptions::new(TTL).auto_extend(AutoExtend::default().max_lifetime(ms(100_000)));
    let lock = redlock(&nodes).acquire("r", options).await.unwrap();
    let loss = lock.lost().await;
    assert!(matches!(loss, LockLost::LifetimeOver { .. }), "{loss}");
    assert!((ms(98_500)..ms(100_000)).contains(&start.elapsed()), "{:?}", start.elapsed());
    assert!(lock.check().is_err());
}

#[tokio::test(start_paused = true)]
async fn failed_extends_are_tried_again_until_one_succeeds() {
    let nodes = MockNode::fleet(5);
    let (_, lock) = kept_lock(&nodes).await;
    nodes.iter().take(3).for_each(MockNode::stop);
    sleep(lock.validity() - ms(3_000)).await;
    assert!(lock.check().is_ok());
    nodes.iter().for_each(|node| node.start(Memory::Kept));
    sleep(ms(2_500)).await;
    assert!(lock.validity() > TTL - ms(5_000), "{:?}", lock.validity());
    let _ = lock.release().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_no_quorum_confirms_is_lost_when_its_validity_ends_and_reports_why() {
    let nodes = MockNode::fleet(3);
    let (redlock, lock) = kept_lock(&nodes).await;
    nodes[0].hang();
    nodes[1].stop();
    let deadline = Instant::now() + lock.validity();
    let loss = lock.lost().await;
    assert!(Instant::now() <= deadline && Instant::now() > deadline - ms(3));
    let LockLost::Expired { last_extend: Some(failure), .. } = &loss else { panic!("{loss}") };
    assert!(failure.to_string().contains("1 of 3 extended, 2 needed: node-1"), "{failure}");
    assert!(lock.check().is_err());

    // It does not become valid again.
    nodes.iter().for_each(MockNode::resume);
    nodes[1].start(Memory::Lost);
    sleep(2 * TTL).await;
    assert_eq!((lock.check().is_ok(), holding(&nodes, &lock)), (false, 0));
    drop(lock);
    redlock.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_another_holder_took_is_reported_lost_by_the_next_extend() {
    let nodes = MockNode::fleet(3);
    let (_, lock) = kept_lock(&nodes).await;
    nodes.iter().for_each(|node| node.set("r", "another", None));
    let start = Instant::now();
    let loss = lock.lost().await;
    assert!(matches!(loss, LockLost::NotHeld { .. }), "{loss}");
    assert!(start.elapsed() <= PERIOD);
    assert_eq!(lock.check().unwrap_err().to_string(), loss.to_string());
}

#[tokio::test(start_paused = true)]
async fn a_lock_outlives_a_rolling_restart_of_every_node() {
    let nodes = MockNode::fleet(3);
    let (redlock, lock) = kept_lock(&nodes).await;
    for _ in 0..3 {
        for node in &nodes {
            node.stop();
            sleep(PERIOD / 2).await;
            node.start(Memory::Lost);
            sleep(PERIOD).await;
            assert!(lock.check().is_ok());
            assert_eq!(holding(&nodes, &lock), 3);
            assert!(redlock.try_acquire("r", TTL).await.unwrap().is_none());
        }
    }
    let _ = lock.release().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn nothing_is_set_again_after_the_release_whenever_it_comes() {
    for after in (8_900..=10_100).step_by(20) {
        let nodes: Vec<_> = (0..3).map(|n| MockNode::new(format!("{n}")).with_latency(ms(50))).collect();
        let (redlock, lock) = kept_lock(&nodes).await;
        sleep(ms(after)).await;
        if after % 40 == 0 {
            let _ = lock.release().await.unwrap();
        } else {
            drop(lock);
        }
        redlock.close().await.unwrap();
        assert!(nodes.iter().all(|node| node.resources().is_empty()), "{after}");
        sleep(TTL).await;
        assert!(nodes.iter().all(|node| node.resources().is_empty()), "{after}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_task_extends_all_locks_and_ends_with_the_last() {
    let redlock = redlock(&MockNode::fleet(3));
    let tasks = || Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    let mut locks = Vec::new();
    for number in 0..100 {
        locks.push(redlock.acquire(format!("r{number}"), kept()).await.unwrap());
    }
    sleep(5 * TTL).await;
    assert!(locks.iter().all(|lock| lock.check().is_ok()));
    assert_eq!(tasks(), before + 1);
    let last = locks.pop().unwrap();
    drop(locks);
    redlock.close().await.unwrap();
    assert_eq!(tasks(), before + 1);
    sleep(5 * TTL).await;
    assert!(last.check().is_ok());
    let _ = last.release().await.unwrap();
    sleep(ms(1)).await;
    assert_eq!(tasks(), before);
    // And a new task starts with the next lock.
    let lock = redlock.acquire("r", kept()).await.unwrap();
    sleep(5 * TTL).await;
    assert!(lock.check().is_ok());
}

#[tokio::test(start_paused = true)]
async fn auto_extend_can_start_later_and_be_changed() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    let mut lock = redlock.acquire("r", TTL).await.unwrap();
    lock.auto_extend(AutoExtend::default()).unwrap();
    sleep(3 * TTL).await;
    assert!(lock.check().is_ok());
    lock.auto_extend(AutoExtend::default().max_lifetime(4 * TTL)).unwrap();
    sleep(TTL).await;
    assert!(lock.check().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_lock_whose_auto_extend_starts_late_is_extended_in_time() {
    for after in [ms(5_000), ms(15_000), TTL - ms(400)] {
        let nodes = MockNode::fleet(3);
        let mut lock = redlock(&nodes).acquire("r", TTL).await.unwrap();
        sleep(after).await;
        lock.auto_extend(AutoExtend::default()).unwrap();
        sleep(2 * TTL).await;
        assert!(lock.check().is_ok(), "{after:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn invalid_options_are_rejected_before_anything_is_sent() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    for options in [
        AutoExtend::default().period(TTL),
        AutoExtend::default().period(Duration::ZERO),
        AutoExtend::default().max_lifetime(TTL - ms(1)),
    ] {
        let error = redlock.acquire("r", AcquireOptions::new(TTL).auto_extend(options)).await.unwrap_err();
        assert!(matches!(error, AcquireError::AutoExtend(_)), "{error}");
    }
    assert_eq!(nodes[0].requests(), 0);
    let mut lock = redlock.acquire("r", TTL).await.unwrap();
    let error = lock.auto_extend(AutoExtend::default().period(TTL)).unwrap_err();
    assert!(matches!(error, AutoExtendError::PeriodTooLong { .. }), "{error}");
    assert!(matches!(lock.extend(Duration::ZERO).await, Err(ExtendError::Ttl(_))));
    assert!(lock.check().is_ok());
}

#[test]
fn a_lock_whose_runtime_has_ended_is_lost_in_time() {
    let redlock = Redlock::new(MockNode::fleet(3)).unwrap();
    let ttl = ms(400);
    let runtime = || Builder::new_current_thread().enable_all().build().unwrap();
    let options = AcquireOptions::new(ttl).auto_extend(AutoExtend::default());
    let first = runtime();
    let lock = first.block_on(redlock.acquire("r", options.clone())).unwrap();
    drop(first);
    runtime().block_on(async {
        let loss = timeout(ttl, lock.lost()).await.unwrap();
        assert!(matches!(loss, LockLost::Expired { .. }), "{loss}");
        // Another runtime has its own task.
        let next = redlock.acquire("r", options).await.unwrap();
        sleep(2 * ttl).await;
        assert!(next.check().is_ok());
        let _ = next.release().await.unwrap();
    });
}

#[test]
fn a_task_that_blocks_its_worker_costs_no_lock_while_another_worker_is_free() {
    // In real time, because the test blocks threads.
    let ttl = ms(1_500);
    for workers in [2, 4] {
        let runtime = Builder::new_multi_thread().worker_threads(workers).enable_all().build().unwrap();
        let redlock = Redlock::new(MockNode::fleet(3)).unwrap();
        let options = AcquireOptions::new(ttl).auto_extend(AutoExtend::default());
        let blocked = |number: usize| {
            let (redlock, options) = (redlock.clone(), options.clone());
            async move {
                let lock = redlock.acquire(format!("r{number}"), options).await.unwrap();
                std::thread::sleep(2 * ttl);
                lock.check().map(drop)
            }
        };
        let tasks: Vec<_> = (1..workers).map(|number| runtime.spawn(blocked(number))).collect();
        for task in tasks {
            let checked = runtime.block_on(task).unwrap();
            assert!(checked.is_ok(), "{workers} workers: {checked:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn locks_that_come_and_go_on_several_workers_are_extended_while_they_are_held() {
    let redlock = Redlock::new(MockNode::fleet(3)).unwrap();
    let options = AcquireOptions::new(ms(1_500)).auto_extend(AutoExtend::default());
    for round in 0..3 {
        let long = redlock.acquire("long", options.clone()).await.unwrap();
        let start = Instant::now();
        while start.elapsed() < ms(2_000) {
            let _ = redlock.acquire("short", options.clone()).await.unwrap().release().await.unwrap();
            sleep(ms(50)).await;
        }
        assert!(long.check().is_ok(), "round {round}");
        let _ = long.release().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn the_loss_can_be_awaited_in_another_task_and_is_reported_when_the_lock_is_released() {
    let (_, lock) = kept_lock(&MockNode::fleet(3)).await;
    let told = tokio::spawn(lock.lost());
    sleep(2 * TTL).await;
    assert!(!told.is_finished());
    let _ = lock.release().await.unwrap();
    assert!(matches!(told.await.unwrap(), LockLost::Released { .. }));
}

#[tokio::test(start_paused = true)]
async fn lost_does_not_resolve_while_the_lock_is_extended() {
    let mut lock = redlock(&MockNode::fleet(3)).acquire("r", TTL).await.unwrap();
    let start = Instant::now();
    let told = tokio::spawn(lock.lost());
    sleep(TTL / 2).await;
    lock.extend(2 * TTL).await.unwrap();
    told.await.unwrap();
    assert!(start.elapsed() > 2 * TTL, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_healed_holds_the_lock_for_as_long_as_the_others() {
    let nodes = MockNode::fleet(3);
    let (redlock, mut lock) = kept_lock(&nodes).await;
    lock.extend(10 * TTL).await.unwrap();
    // A rolling restart of two nodes: extends with the shorter TTL heal them.
    for node in nodes.iter().take(2) {
        node.restart(Memory::Lost);
        sleep(PERIOD).await;
    }
    let deadline = lock.validity();
    nodes.iter().for_each(MockNode::hang);
    sleep(2 * TTL).await;
    nodes.iter().for_each(MockNode::resume);
    assert!(lock.validity() + 2 * TTL >= deadline);
    assert!(nodes.iter().all(|node| node.remaining("r") >= Some(lock.validity())), "keys end before the lock");
    assert!(redlock.try_acquire("r", TTL).await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_a_quorum_forgot_is_lost_even_if_the_extend_that_restored_it_was_dropped() {
    let nodes: Vec<_> = (0..3).map(|n| MockNode::new(format!("{n}")).with_latency(ms(10))).collect();
    let mut lock = redlock(&nodes).acquire("r", TTL).await.unwrap();
    sleep(ms(100)).await;
    nodes.iter().for_each(|node| node.restart(Memory::Lost));
    assert!(timeout(ms(5), lock.extend(TTL)).await.is_err());
    sleep(TTL / 4).await;
    // All three hold it again, but had forgotten it before.
    assert_eq!(holding(&nodes, &lock), 3);
    let extended = lock.extend(TTL).await;
    assert!(matches!(extended, Err(ExtendError::Lost { .. })), "{extended:?}");
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_was_reported_lost_is_never_valid_again() {
    let nodes: Vec<_> = (0..3).map(|n| MockNode::new(format!("{n}")).with_latency(ms(50))).collect();
    let mut lock = redlock(&nodes).acquire("r", TTL).await.unwrap();
    let until_just_before = lock.validity() - ms(51);
    sleep(until_just_before).await;
    let lost = tokio::spawn(lock.lost());
    // The answers come at the very last moment.
    let extended = lock.extend(TTL).await;
    sleep(ms(5)).await;
    assert_eq!(lost.is_finished(), extended.is_err(), "{extended:?}");
    assert_eq!(lock.check().is_ok(), extended.is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_extend_that_a_quorum_confirmed_in_time_does_not_wait_until_it_is_too_late() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    let mut lock = redlock.acquire("r", TTL).await.unwrap();
    sleep(lock.validity() - ms(100)).await;
    nodes[0].restart(Memory::Lost);
    nodes[2].hang();
    lock.extend(TTL).await.unwrap();
    assert!(lock.check().is_ok());
}

#[tokio::test(start_paused = true)]
async fn the_lock_that_ends_first_is_extended_first() {
    // 1,024 locks are extended at once, which takes 150 ms. Without jitter, 4,200 are due at the same moment, and the
    // last of them wait for 600 ms. The short lock is due every 230 ms and would not survive that.
    let node = MockNode::new("far").with_latency(ms(150));
    let builder = Redlock::builder().node(node).clock(TokioClock::default()).entropy(SameByte(0));
    let redlock = builder.node_timeout(ms(200)).build().unwrap();
    let kept = |ttl| AcquireOptions::new(ttl).auto_extend(AutoExtend::default());
    let mut many = tokio::task::JoinSet::new();
    for number in 0..4_200 {
        let (redlock, kept) = (redlock.clone(), kept(TTL / 3));
        many.spawn(async move { redlock.acquire(format!("r{number}"), kept).await.unwrap() });
    }
    let many = many.join_all().await;
    let lock = redlock.acquire("short", kept(ms(700))).await.unwrap();
    sleep(TTL / 6).await;
    lock.check().unwrap();
    assert!(many.iter().all(|lock| lock.check().is_ok()));
}

#[tokio::test(start_paused = true)]
async fn a_ttl_above_the_default_lifetime_is_no_error() {
    let redlock = redlock(&MockNode::fleet(3));
    let two_hours = Duration::from_secs(2 * 3600);
    redlock.using("r", two_hours, async |lock| Ok::<_, UsingError>(lock.check()?)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn auto_extend_of_a_lock_that_has_ended_is_an_error() {
    let redlock = redlock(&MockNode::fleet(3));
    let mut old = redlock.acquire("old", 3 * TTL).await.unwrap();
    sleep(2 * TTL).await;
    let error = old.auto_extend(AutoExtend::default().max_lifetime(3 * TTL)).map(|()| old.check().is_ok());
    assert_eq!(error, Ok(true));
    old.extend(3 * TTL).await.unwrap();
    sleep(2 * TTL).await;
    let error = old.auto_extend(AutoExtend::default().max_lifetime(3 * TTL)).unwrap_err();
    assert!(matches!(error, AutoExtendError::LifetimeOver { .. }), "{error}");
    sleep(3 * TTL).await;
    assert_eq!(old.auto_extend(AutoExtend::default()), Err(AutoExtendError::Ended));
}

#[tokio::test(start_paused = true)]
async fn a_lock_is_no_longer_extended_after_stop_auto_extend() {
    let (_, mut lock) = kept_lock(&MockNode::fleet(3)).await;
    sleep(3 * TTL).await;
    lock.stop_auto_extend();
    let loss = timeout(TTL, lock.lost()).await.unwrap();
    assert!(matches!(loss, LockLost::Expired { last_extend: None, .. }), "{loss}");
}

#[tokio::test(start_paused = true)]
async fn try_acquire_can_auto_extend_its_lock() {
    let lock = redlock(&MockNode::fleet(3)).try_acquire("r", kept()).await.unwrap().unwrap();
    sleep(3 * TTL).await;
    lock.check().unwrap();
}

#[tokio::test(start_paused = true)]
async fn healing_nodes_late_one_after_the_other_loses_no_lock() {
    let nodes = vec![MockNode::new("slow").with_latency(ms(50)), MockNode::new("b"), MockNode::new("c")];
    let redlock = redlock(&nodes);
    let mut lock = redlock.acquire("r", TTL).await.unwrap();
    for node in nodes.iter().chain(&nodes).chain(&nodes) {
        sleep(ms(100)).await;
        node.restart(Memory::Lost);
        // The two other nodes decide it; if the slow node is the one that was restarted, it is healed later.
        lock.extend(TTL).await.unwrap();
    }
    sleep(ms(100)).await;
    assert_eq!(holding(&nodes, &lock), 3);
    lock.extend(TTL).await.unwrap();
}

/// When each extend has ended.
#[derive(Debug, Clone, Default)]
struct Extends(Arc<Mutex<Vec<Instant>>>);

impl Observer for Extends {
    fn observe(&self, event: &Event<'_>) {
        if matches!(event, Event::Extended { .. }) {
            self.0.lock().unwrap().push(Instant::now());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn locks_that_are_due_at_about_the_same_time_are_extended_together() {
    let extends = Extends::default();
    let redlock = builder(&MockNode::fleet(3)).observer(extends.clone()).build().unwrap();
    let start = Instant::now();
    let period = AutoExtend::default().period(ms(3_050));
    let options = || AcquireOptions::new(TTL).auto_extend(period);
    let mut locks = Vec::new();
    for number in 0..20 {
        locks.push(redlock.acquire(format!("lock-{number}"), options()).await.unwrap());
    }
    sleep(ms(3_100)).await;
    // At a clock whose ticks begin anywhere.
    let times: BTreeSet<_> = extends.0.lock().unwrap().iter().map(|at| (*at - start).as_millis()).collect();
    let last = times.last().copied().unwrap();
    assert!(last <= 3_050 && times.iter().all(|at| (last - at).is_multiple_of(100)), "{times:?}");
    assert!(times.len() <= 4, "{times:?}");
}
