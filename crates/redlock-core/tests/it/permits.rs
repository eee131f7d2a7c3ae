//! Permits: at most K holders of one name, each on a slot of its own.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use redlock_core::{
    AcquireError, AcquireOptions, AutoExtend, DowngradeError, Event, ExtendError, Lock, LockLost, LockParts,
    NodeRequest, Observer, Permit, PermitsError, Redlock, Release, ResourceError, Retry, UsingError,
};
use redlock_mock::{Memory, MockNode};
use tokio::time::{Instant, sleep, timeout};

use crate::support::{builder, drop_after, keys, ms, once, redlock};

const TTL: Duration = Duration::from_secs(10);
/// Longer than any waiter that is notified waits.
const PAUSE: Duration = Duration::from_secs(3);

fn patient() -> AcquireOptions {
    AcquireOptions::new(TTL).retry(Retry::timeout(Duration::from_secs(60)).fixed(PAUSE).jitter(Duration::ZERO))
}

/// Counts the rounds of a `Redlock`.
#[derive(Debug, Clone, Default)]
struct Rounds(Arc<AtomicUsize>);

impl Rounds {
    fn take(&self) -> usize {
        self.0.swap(0, Ordering::Relaxed)
    }
}

impl Observer for Rounds {
    fn observe(&self, event: &Event<'_>) {
        if matches!(event, Event::NodeAsked { node: "node-1", request: NodeRequest::Acquire, .. }) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

async fn take(redlock: &Redlock, name: &str, permits: u32) -> Option<Permit> {
    redlock.try_acquire_permit(name, permits, TTL).await.unwrap()
}

/// Sets slots of `{s}` like another process that holds them.
fn hold(nodes: &[MockNode], slots: impl Iterator<Item = u32>) {
    for slot in slots {
        nodes.iter().for_each(|node| node.set(&format!("{{s}}:permit:{slot}"), "another", Some(TTL)));
    }
}

fn slots_held(nodes: &[MockNode]) -> usize {
    keys(nodes).iter().filter(|key| key.contains(":permit:")).count()
}

#[tokio::test(start_paused = true)]
async fn there_are_never_more_holders_than_permits_and_each_has_a_slot_of_its_own() {
    let nodes = MockNode::fleet(3);
    let (here, there) = (redlock(&nodes), redlock(&nodes));
    let mut held = Vec::new();
    for redlock in [&here, &there].into_iter().cycle().take(5) {
        held.push(take(redlock, "s", 5).await.unwrap());
    }
    let slots: BTreeSet<_> = held.iter().map(Permit::slot).collect();
    assert_eq!(slots, (0..5).collect());
    assert!(take(&here, "s", 5).await.is_none() && take(&there, "s", 5).await.is_none());
    let freed = held.swap_remove(2);
    let slot = freed.slot();
    assert_eq!(freed.release().await.unwrap(), Release::Released);
    assert_eq!(take(&there, "s", 5).await.unwrap().slot(), slot);
}

#[tokio::test(start_paused = true)]
async fn the_last_free_slot_of_many_is_found_in_three_rounds() {
    let rounds = Rounds::default();
    for (permits, free) in [(16, 3), (1024, 700), (4096, 4095)] {
        let nodes = MockNode::fleet(3);
        hold(&nodes, (0..permits).filter(|slot| *slot != free));
        for _ in 0..8 {
            let redlock = builder(&nodes).observer(rounds.clone()).build().unwrap();
            let permit = take(&redlock, "s", permits).await.unwrap();
            assert_eq!(permit.slot(), free);
            assert!((1..=3).contains(&rounds.take()));
            let _ = permit.release().await.unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_forgot_its_slots_hides_no_free_one() {
    let rounds = Rounds::default();
    let nodes = MockNode::fleet(3);
    hold(&nodes, (0..1024).filter(|slot| *slot != 700));
    nodes[0].restart(Memory::Lost);
    nodes[2].stop();
    for _ in 0..8 {
        let redlock = builder(&nodes).observer(rounds.clone()).build().unwrap();
        let permit = take(&redlock, "s", 1024).await.unwrap();
        assert_eq!(permit.slot(), 700);
        assert!(rounds.take() <= 3);
        let _ = permit.release().await.unwrap();
        redlock.close_within(ms(0)).await.unwrap_err();
    }
}

#[tokio::test(start_paused = true)]
async fn a_free_slot_costs_the_releasing_process_one_round() {
    let nodes = MockNode::fleet(3);
    hold(&nodes, 0..8);
    let rounds = Rounds::default();
    let redlock = builder(&nodes).observer(rounds.clone()).build().unwrap();
    let _ = take(&redlock, "s", 16).await.unwrap().release().await.unwrap();
    rounds.take();
    for _ in 0..20 {
        let _ = take(&redlock, "s", 16).await.unwrap().release().await.unwrap();
        assert_eq!(rounds.take(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn the_release_of_any_slot_notifies_the_first_waiter_of_another_process() {
    let nodes = MockNode::fleet(3);
    let redlocks: Vec<_> = (0..3).map(|_| redlock(&nodes)).collect();
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(take(&redlocks[0], "s", 3).await.unwrap());
    }
    let mut waiting = Vec::new();
    for redlock in [&redlocks[1], &redlocks[2], &redlocks[1]] {
        let redlock = redlock.clone();
        waiting.push(tokio::spawn(async move {
            (redlock.acquire_permit("s", 3, patient()).await.unwrap(), Instant::now())
        }));
        sleep(ms(300)).await;
    }
    for (permit, waiting) in held.into_iter().zip(waiting) {
        let (slot, released) = (permit.slot(), Instant::now());
        let _ = permit.release().await.unwrap();
        let (permit, acquired) = waiting.await.unwrap();
        assert_eq!((permit.slot(), acquired), (slot, released));
        std::mem::forget(permit);
        sleep(ms(10)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn slots_that_are_released_at_the_same_time_notify_as_many_waiters() {
    let nodes = MockNode::fleet(3);
    let holder = redlock(&nodes);
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(take(&holder, "s", 4).await.unwrap());
    }
    let waiters: Vec<_> = (0..4).map(|_| redlock(&nodes)).collect();
    let mut waiting = Vec::new();
    for redlock in waiters.clone() {
        waiting.push(tokio::spawn(async move {
            (redlock.acquire_permit("s", 4, patient()).await.unwrap(), Instant::now())
        }));
        sleep(ms(100)).await;
    }
    let released = Instant::now();
    futures_util::future::join_all(held.into_iter().map(Permit::release)).await;
    for waiting in waiting {
        let (permit, acquired) = waiting.await.unwrap();
        assert!(acquired - released < PAUSE / 4, "{:?}", acquired - released);
        std::mem::forget(permit);
    }
}

#[tokio::test(start_paused = true)]
async fn many_tasks_share_few_permits_without_polling() {
    const PERMITS: u32 = 16;
    let nodes: Vec<_> = MockNode::fleet(3).into_iter().map(|node| node.with_latency(ms(1))).collect();
    let redlock = redlock(&nodes);
    let (inside, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let started = Instant::now();
    let tasks = (0..64).map(|_| {
        let (redlock, inside, most) = (redlock.clone(), Arc::clone(&inside), Arc::clone(&most));
        tokio::spawn(async move {
            for _ in 0..4 {
                let permit = redlock.acquire_permit("s", PERMITS, patient()).await.unwrap();
                most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                sleep(ms(50)).await;
                inside.fetch_sub(1, Ordering::SeqCst);
                assert_eq!(permit.release().await.unwrap(), Release::Released);
            }
        })
    });
    futures_util::future::join_all(tasks).await.into_iter().for_each(|task| task.unwrap());
    assert_eq!(most.load(Ordering::SeqCst), PERMITS as usize);
    // 256 holds of 50 ms, 16 at a time, and the exchanges.
    assert!(started.elapsed() < 2 * ms(50 * 256 / 16), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_permit_of_a_process_that_crashed_is_free_after_its_ttl() {
    let nodes = MockNode::fleet(3);
    let (crashed, waits) = (redlock(&nodes), redlock(&nodes));
    let short = Duration::from_secs(2);
    std::mem::forget(crashed.acquire_permit("s", 1, short).await.unwrap());
    let started = Instant::now();
    let slow = AcquireOptions::new(TTL).retry(Retry::timeout(TTL).fixed(Duration::from_secs(9)));
    let permit = waits.acquire_permit("s", 1, slow).await.unwrap();
    assert!(started.elapsed() <= short + ms(100), "{:?}", started.elapsed());
    assert_eq!(permit.release().await.unwrap(), Release::Released);
}

#[tokio::test(start_paused = true)]
async fn another_number_of_permits_is_refused_while_somebody_holds_one() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    let permit = take(&redlock, "s", 5).await.unwrap();
    for other in [8, 1] {
        let started = Instant::now();
        let error = redlock.acquire_permit("s", other, patient()).await.unwrap_err();
        let AcquireError::Permits(PermitsError::Different { asked, found, .. }) = &error else { panic!("{error}") };
        assert_eq!((*asked, *found, started.elapsed()), (other, 5, Duration::ZERO));
        assert!(error.to_string().starts_with(&format!("the permits of \"s\" are 5, not {other}:")), "{error}");
    }
    let _ = permit.release().await.unwrap();
    // Nobody holds one any more.
    let permit = take(&redlock, "s", 8).await.unwrap();
    assert!(redlock.try_acquire_permit("s", 5, TTL).await.is_err());
    drop(permit);
}

#[tokio::test(start_paused = true)]
async fn two_first_callers_with_different_numbers_never_both_win() {
    let mut won = [0; 2];
    for round in 0..50 {
        let nodes = MockNode::fleet(3);
        let here: Vec<_> = nodes.iter().map(|node| node.clone().with_latency(ms(round % 5))).collect();
        let there: Vec<_> = nodes.iter().rev().map(|node| node.clone().with_latency(ms(round % 3))).collect();
        let (here, there) = (redlock(&here), redlock(&there));
        let (two, three) =
            tokio::join!(here.acquire_permit("s", 2, once(TTL)), there.acquire_permit("s", 3, once(TTL)));
        assert!(two.is_err() || three.is_err());
        won[0] += usize::from(two.is_ok());
        won[1] += usize::from(three.is_ok());
        drop((two, three));
        for redlock in [here, there] {
            redlock.close().await.unwrap();
        }
        assert_eq!(slots_held(&nodes), 0);
    }
    assert!(won[0] + won[1] > 25, "{won:?}");
}

#[tokio::test(start_paused = true)]
async fn the_number_of_permits_outlives_every_slot() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    let outlives = |nodes: &[MockNode], slot: u32| {
        nodes.iter().all(|node| {
            let left = |key: &str| node.remaining(key).unwrap();
            left("{s}:permits") > left(&format!("{{s}}:permit:{slot}"))
        })
    };
    let mut long = redlock.acquire_permit("s", 2, TTL).await.unwrap();
    let short = redlock.acquire_permit("s", 2, TTL / 4).await.unwrap();
    assert!(outlives(&nodes, long.slot()) && outlives(&nodes, short.slot()));
    sleep(TTL / 2).await;
    long.extend(3 * TTL).await.unwrap();
    assert!(outlives(&nodes, long.slot()));
    sleep(2 * TTL).await;
    let error = redlock.try_acquire_permit("s", 3, TTL).await.unwrap_err();
    assert!(matches!(error, AcquireError::Permits(PermitsError::Different { found: 2, .. })), "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_extend_restores_the_number_of_permits() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    let mut permit = take(&redlock, "s", 2).await.unwrap();
    nodes.iter().for_each(|node| node.remove("{s}:permits"));
    nodes[0].restart(Memory::Lost);
    permit.extend(TTL).await.unwrap();
    sleep(ms(10)).await;
    for node in &nodes {
        assert_eq!(node.peek("{s}:permits").as_deref(), Some(&b"2"[..]));
        assert!(node.peek(&format!("{{s}}:permit:{}", permit.slot())).is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn a_slot_is_not_restored_on_nodes_that_have_another_number_of_permits() {
    let nodes = MockNode::fleet(3);
    let (here, there) = (redlock(&nodes), redlock(&nodes));
    let mut permit = take(&here, "s", 2).await.unwrap();
    // Two of three nodes forget everything, which no lock survives.
    nodes.iter().take(2).for_each(|node| node.restart(Memory::Lost));
    let other = there.acquire_permit("s", 3, TTL).await.unwrap();
    let error = permit.extend(TTL).await.unwrap_err();
    assert!(matches!(error, ExtendError::Lost { .. }), "{error}");
    assert!(other.check().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_call_and_a_dropped_permit_leave_no_slot_behind() {
    for polls in 0..40 {
        let nodes: Vec<_> = MockNode::fleet(3).into_iter().map(|node| node.with_latency(ms(5))).collect();
        hold(&nodes, 0..12);
        let redlock = redlock(&nodes);
        let dropped = drop_after(polls, redlock.acquire_permit("s", 16, TTL)).await;
        drop(dropped);
        redlock.close().await.unwrap();
        assert_eq!(slots_held(&nodes), 3 * 12, "after {polls} polls");
    }
}

#[tokio::test(start_paused = true)]
async fn a_minority_that_hangs_or_is_down_is_not_waited_for() {
    for node in 0..3 {
        for hangs in [true, false] {
            let nodes = MockNode::fleet(3);
            hold(&nodes, (0..64).filter(|slot| *slot != 9));
            if hangs {
                nodes[node].hang()
            } else {
                nodes[node].stop()
            }
            let redlock = redlock(&nodes);
            let started = Instant::now();
            let permit = timeout(TTL, redlock.acquire_permit("s", 64, once(TTL))).await.unwrap().unwrap();
            assert_eq!(permit.slot(), 9);
            assert!(started.elapsed() < ms(300), "{:?}", started.elapsed());
            assert_eq!(permit.release().await.unwrap(), Release::Released);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_permit_is_extended_automatically_and_reported_lost() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    let options = AcquireOptions::new(TTL).auto_extend(AutoExtend::default());
    let permit = redlock.acquire_permit("s", 2, options).await.unwrap();
    sleep(5 * TTL).await;
    assert!(permit.validity() > TTL / 4);
    let lost = permit.lost();
    let slot = format!("{{s}}:permit:{}", permit.slot());
    nodes.iter().for_each(|node| node.set(&slot, "another", Some(TTL)));
    assert!(matches!(lost.await, LockLost::NotHeld { .. }));
    assert_eq!(permit.release().await.unwrap(), Release::NotHeld);
}

#[tokio::test(start_paused = true)]
async fn work_with_a_permit_knows_its_slot_and_ends_with_its_loss() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    let slot = redlock.using_permit("s", 4, TTL, async |permit| Ok::<_, UsingError>(permit.slot())).await.unwrap();
    assert!(slot < 4 && slots_held(&nodes) == 0);
    let worked = redlock.using_permit("s", 4, TTL, async |permit| {
        let slot = format!("{{s}}:permit:{}", permit.slot());
        nodes.iter().for_each(|node| node.set(&slot, "another", Some(10 * TTL)));
        std::future::pending::<Result<(), UsingError>>().await
    });
    assert!(matches!(worked.await, Err(UsingError::Lost(_))));
}

#[tokio::test(start_paused = true)]
async fn the_fencing_tokens_of_one_slot_increase() {
    let nodes = MockNode::fleet(3);
    let redlock = builder(&nodes).fencing(true).build().unwrap();
    let mut last = None;
    for _ in 0..5 {
        let mut permit = take(&redlock, "s", 1).await.unwrap();
        permit.extend(2 * TTL).await.unwrap();
        let token = permit.fencing_token();
        assert!(token > last, "{token:?} after {last:?}");
        last = token;
        let _ = permit.release().await.unwrap();
    }
    assert!(keys(&nodes).contains(&"{s}:permit:0:fence".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_node_in_quarantine_grants_no_permit() {
    let nodes = MockNode::fleet(3);
    let redlock = builder(&nodes).restart_guard(TTL).build().unwrap();
    redlock.initialize().await.unwrap();
    let permit = take(&redlock, "s", 1).await.unwrap();
    nodes.iter().take(2).for_each(|node| node.restart(Memory::Lost));
    let error = redlock.try_acquire_permit("s", 1, TTL).await.unwrap_err();
    assert!(matches!(error, AcquireError::NoQuorum(_)), "{error}");
    drop(permit);
    sleep(TTL + ms(10)).await;
    assert!(take(&redlock, "s", 1).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn names_and_prefixes_with_braces_are_semaphores_of_their_own() {
    let nodes = MockNode::fleet(3);
    let mut held = Vec::new();
    for prefix in ["", "app:", "{app}:", "a{b"] {
        let redlock = builder(&nodes).key_prefix(prefix).build().unwrap();
        for name in ["s", "{tenant}:s", "s{", "}s", "{}s"] {
            held.push(take(&redlock, name, 1).await.unwrap_or_else(|| panic!("{prefix:?} {name:?}")));
            assert!(take(&redlock, name, 1).await.is_none());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_lock_and_a_semaphore_of_one_name_are_independent() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    let _permit = take(&redlock, "s", 1).await.unwrap();
    assert!(redlock.try_acquire("s", TTL).await.unwrap().is_some());
    for name in ["{s}:permit:0", "{s}:permits", "s:redlock:permits"] {
        let error = redlock.try_acquire(name, TTL).await.unwrap_err();
        assert!(matches!(&error, AcquireError::Resource(ResourceError::Reserved { key }) if key == name), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_permit_is_never_shared() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    let error = redlock.acquire_permit("s", 2, once(TTL).shared()).await.unwrap_err();
    assert!(matches!(error, AcquireError::Permits(PermitsError::Shared)), "{error}");
    let mut lock = Lock::from(take(&redlock, "s", 2).await.unwrap());
    let error = lock.downgrade().await.unwrap_err();
    assert!(matches!(error, DowngradeError::Permit { .. }) && !lock.is_shared(), "{error}");
    assert_eq!(lock.release().await.unwrap(), Release::Released);
}

#[tokio::test]
async fn numbers_and_names_that_no_semaphore_can_have_are_refused() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    let error = async |name: &str, permits| redlock.acquire_permit(name, permits, TTL).await.unwrap_err();
    let zero = error("s", 0).await;
    assert!(matches!(zero, AcquireError::Permits(PermitsError::Zero)), "{zero}");
    for permits in [4097, u32::MAX] {
        let many = error("s", permits).await;
        assert!(matches!(many, AcquireError::Permits(PermitsError::TooMany { .. })), "{many}");
        assert_eq!(many.to_string(), format!("{permits} permits are too many: a semaphore has at most 4096"));
    }
    assert!(matches!(error("", 1).await, AcquireError::Resource(ResourceError::Empty)));
    let long = error(&"n".repeat(65_530), 1).await;
    assert!(matches!(long, AcquireError::Resource(ResourceError::PermitsTooLong { len: 65_530 })), "{long}");
    assert!(matches!(error("s:fence", 1).await, AcquireError::Resource(ResourceError::Reserved { .. })));
    assert_eq!(nodes.iter().map(MockNode::requests).sum::<usize>(), 0);
    assert_eq!(take(&redlock, "s", Permit::MAX).await.map(|permit| permit.slot() < 4096), Some(true));
}

#[tokio::test]
async fn a_number_of_permits_that_is_none_is_an_error_and_stays() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    for value in ["05", "x", "12345"] {
        nodes.iter().for_each(|node| node.set("{s}:permits", value, None));
        let error = redlock.try_acquire_permit("s", 5, TTL).await.unwrap_err();
        assert!(matches!(error, AcquireError::NoQuorum(_)), "{error}");
        assert!(nodes.iter().all(|node| node.peek("{s}:permits").as_deref() == Some(value.as_bytes())));
    }
}

#[tokio::test(start_paused = true)]
async fn a_permit_is_transferred_with_its_slot() {
    let nodes = MockNode::fleet(3);
    let (here, there) = (builder(&nodes).fencing(true).build().unwrap(), redlock(&nodes));
    let permit = take(&here, "s", 5).await.unwrap();
    let (slot, fencing_token) = (permit.slot(), permit.fencing_token());
    let parts = permit.into_parts().await.unwrap();
    assert_eq!(parts.permit(), Some((slot, 5)));
    sleep(TTL / 2).await;
    let mut permit = Permit::try_from(there.resume(parts).await.unwrap()).unwrap();
    assert_eq!((permit.slot(), permit.fencing_token()), (slot, fencing_token));
    permit.extend(2 * TTL).await.unwrap();
    sleep(TTL).await;
    assert_eq!(nodes.iter().filter(|node| node.peek(&format!("{{s}}:permit:{slot}")).is_some()).count(), 3);
    assert!(matches!(there.try_acquire_permit("s", 4, TTL).await, Err(AcquireError::Permits(_))), "its number is kept");
    // The parts that were sent one by one, of the same lock.
    let (token, fencing_token) = (permit.token().as_str().to_owned(), fencing_token.unwrap());
    let parts = permit.into_parts().await.unwrap();
    let sent = LockParts::new(["s"], &token, parts.ttl()).unwrap().with_fencing_token(fencing_token);
    assert_eq!(sent.of_permit(slot, 5).unwrap(), parts);
    let permit = Permit::try_from(here.resume(parts).await.unwrap()).unwrap();
    assert_eq!(permit.release().await.unwrap(), Release::Released);
    assert!(nodes.iter().all(|node| node.peek(&format!("{{s}}:permit:{slot}")).is_none()));
    let lock = here.acquire("s", once(TTL)).await.unwrap();
    assert!(Permit::try_from(lock).is_err(), "it is no permit");
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_does_not_wait_gets_a_free_slot_while_a_waiter_is_on_its_way() {
    let nodes: Vec<_> = MockNode::fleet(3).into_iter().map(|node| node.with_latency(ms(20))).collect();
    let [holder, waits, newcomer] = [redlock(&nodes), redlock(&nodes), redlock(&nodes)];
    let mut held = [take(&holder, "s", 2).await.unwrap(), take(&holder, "s", 2).await.unwrap()].into_iter();
    let waiting = tokio::spawn(async move { waits.acquire_permit("s", 2, patient()).await.unwrap() });
    sleep(ms(500)).await;
    let released = tokio::spawn(futures_util::future::join_all(held.by_ref().map(Permit::release)));
    sleep(ms(21)).await;
    assert!(!waiting.is_finished());
    assert!(take(&newcomer, "s", 2).await.is_some());
    assert!(waiting.await.is_ok() && released.await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_inspection_believes_the_number_of_permits_that_most_nodes_have() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    let permit = take(&redlock, "s", 5).await.unwrap();
    nodes[1].set("{s}:permits", "4000", Some(TTL));
    let inspection = redlock.inspect_permits("s").await.unwrap();
    assert_eq!((inspection.permits(), inspection.holders().count(), inspection.unknown()), (5, 1, 0));
    drop(permit);
}
