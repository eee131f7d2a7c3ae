//! Permits: at most K holders of one name, each with a slot of its own.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use redlock_core::{
    AcquireError, AcquireOptions, LockNode, Permit, PermitsError, Redlock, Release, Resource, ResourceError, Retry,
    Token, Ttl, UsingError,
    backend::{AcquireAnswer, AcquireRequest, ExtendAnswer, ExtendRequest, PermitSlots},
};
use tokio::time::timeout;

use crate::{
    lab::{Lab, eventually},
    servers::ServerOptions,
};

const TTL: Duration = Duration::from_secs(30);
/// Far longer than it takes to be notified.
const PAUSE: Duration = Duration::from_secs(20);

fn patient() -> AcquireOptions {
    AcquireOptions::new(TTL).retry(Retry::timeout(3 * PAUSE).fixed(PAUSE).jitter(Duration::ZERO))
}

async fn take(redlock: &Redlock, permits: u32) -> Option<Permit> {
    redlock.try_acquire_permit("s", permits, TTL).await.unwrap()
}

async fn hold(lab: &Lab, slots: impl Iterator<Item = u32>) {
    for slot in slots {
        for node in 0..3 {
            lab.set(node, &format!("{{s}}:permit:{slot}"), "another", Some(TTL)).await;
        }
    }
}

pub(super) async fn there_are_as_many_holders_as_permits(lab: &Lab) {
    let (here, there) = (lab.redlock(3), lab.redlock(3));
    let mut held = Vec::new();
    for redlock in [&here, &there].into_iter().cycle().take(5) {
        held.push(take(redlock, 5).await.unwrap());
    }
    assert_eq!(held.iter().map(Permit::slot).collect::<BTreeSet<_>>(), (0..5).collect());
    assert!(take(&here, 5).await.is_none() && take(&there, 5).await.is_none());
    let slot = held.last().unwrap().slot();
    assert_eq!(held.pop().unwrap().release().await.unwrap(), Release::Released);
    let again = there.acquire_permit("s", 5, patient()).await.unwrap();
    assert_eq!(again.slot(), slot);
    held.push(again);
    for permit in held {
        assert_eq!(permit.release().await.unwrap(), Release::Released);
    }
    for slot in 0..5 {
        lab.until_held_by(0, &format!("{{s}}:permit:{slot}")).await;
    }
}

pub(super) async fn the_only_free_slot_is_found(lab: &Lab) {
    const PERMITS: u32 = 1024;
    hold(lab, (0..PERMITS).filter(|slot| *slot != 700)).await;
    for _ in 0..3 {
        let redlock = lab.redlock(3);
        let permit = take(&redlock, PERMITS).await.unwrap();
        assert_eq!(permit.slot(), 700);
        assert!(take(&redlock, PERMITS).await.is_none());
        assert_eq!(permit.release().await.unwrap(), Release::Released);
        redlock.close().await.unwrap();
    }
}

pub(super) async fn a_release_notifies_a_waiter_of_another_process(lab: &Lab) {
    let (ours, theirs) = (lab.redlock(3), lab.redlock(3));
    let (kept, released) = (take(&ours, 2).await.unwrap(), take(&ours, 2).await.unwrap());
    let waiting = tokio::spawn(async move { theirs.acquire_permit("s", 2, patient()).await.unwrap() });
    lab.until_waiting(1).await;
    assert!(!waiting.is_finished());
    let slot = released.slot();
    assert_eq!(released.release().await.unwrap(), Release::Released);
    let permit = timeout(PAUSE / 2, waiting).await.expect("it was not notified").unwrap();
    assert_eq!(permit.slot(), slot);
    for permit in [kept, permit] {
        assert_eq!(permit.release().await.unwrap(), Release::Released);
    }
}

pub(super) async fn many_tasks_of_many_processes_share_few_permits(lab: &Lab) {
    const PERMITS: u32 = 3;
    let (inside, most) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let options = AcquireOptions::new(TTL).retry(Retry::timeout(3 * PAUSE).fixed(Duration::from_millis(100)));
    let mut tasks = Vec::new();
    for redlock in (0..3).map(|_| lab.redlock(3)).collect::<Vec<_>>() {
        for _ in 0..4 {
            let (redlock, inside, most) = (redlock.clone(), Arc::clone(&inside), Arc::clone(&most));
            let options = options.clone();
            tasks.push(tokio::spawn(async move {
                for _ in 0..3 {
                    let permit = redlock.acquire_permit("s", PERMITS, options.clone()).await.unwrap();
                    most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    inside.fetch_sub(1, Ordering::SeqCst);
                    assert_eq!(permit.release().await.unwrap(), Release::Released);
                }
            }));
        }
    }
    for task in tasks {
        task.await.unwrap();
    }
    let most = most.load(Ordering::SeqCst);
    assert!((1..=PERMITS).contains(&most), "{most} holders of {PERMITS} permits");
}

pub(super) async fn another_number_of_permits_is_refused_while_one_is_held(lab: &Lab) {
    let redlock = lab.redlock(3);
    let permit = take(&redlock, 5).await.unwrap();
    for node in 0..3 {
        assert!(eventually(async || lab.value(node, "{s}:permits").await.as_deref() == Some("5")).await);
        let outlives = lab.remaining(node, "{s}:permits").await >= lab.remaining(node, &slot_of(&permit)).await;
        assert!(outlives);
    }
    let error = redlock.acquire_permit("s", 8, patient()).await.unwrap_err();
    let is_told = matches!(&error, AcquireError::Permits(PermitsError::Different { asked: 8, found: 5, .. }));
    assert!(is_told && error.to_string().contains("are 5, not 8"), "{error}");
    assert_eq!(permit.release().await.unwrap(), Release::Released);
    redlock.close().await.unwrap();
    let permit = take(&redlock, 8).await.unwrap();
    assert_eq!(permit.release().await.unwrap(), Release::Released);
}

fn slot_of(permit: &Permit) -> String {
    format!("{{s}}:permit:{}", permit.slot())
}

pub(super) async fn a_permit_is_extended_and_restored_with_its_number(lab: &Lab) {
    let redlock = lab.redlock(3);
    let mut permit = take(&redlock, 2).await.unwrap();
    let slot = slot_of(&permit);
    lab.until_held_by(3, &slot).await;
    lab.remove(0, &slot).await;
    for node in 0..3 {
        lab.remove(node, "{s}:permits").await;
    }
    permit.extend(2 * TTL).await.unwrap();
    lab.until_held_by(3, &slot).await;
    for node in 0..3 {
        assert!(eventually(async || lab.value(node, "{s}:permits").await.as_deref() == Some("2")).await);
        assert!(lab.remaining(node, "{s}:permits").await.unwrap() > TTL + TTL / 2);
    }
    assert_eq!(permit.release().await.unwrap(), Release::Released);
}

pub(super) async fn a_permit_whose_slot_another_took_is_told_gone(lab: &Lab) {
    let redlock = lab.redlock(3);
    let permit = take(&redlock, 2).await.unwrap();
    let slot = slot_of(&permit);
    lab.until_held_by(3, &slot).await;
    for node in 0..3 {
        lab.set(node, &slot, "another", Some(TTL)).await;
    }
    assert_eq!(permit.release().await.unwrap(), Release::NotHeld);
    assert_eq!(lab.holding(&slot).await, 3);
}

pub(super) async fn a_cancelled_call_leaves_no_slot_behind(lab: &Lab) {
    let redlock = lab.redlock(3);
    hold(lab, 0..4).await;
    for micros in [0, 50, 100, 200, 400, 800, 1_600, 3_200] {
        let _ = timeout(Duration::from_micros(micros), redlock.acquire_permit("s", 6, TTL)).await;
    }
    redlock.close().await.unwrap();
    for slot in 4..6 {
        lab.until_held_by(0, &format!("{{s}}:permit:{slot}")).await;
    }
}

pub(super) async fn a_minority_that_hangs_costs_no_permit(lab: &Lab) {
    let redlock = lab.redlock(3);
    hold(lab, (0..16).filter(|slot| *slot != 9)).await;
    lab.hang(2).await;
    let permit = redlock.acquire_permit("s", 16, TTL).await.unwrap();
    assert_eq!(permit.slot(), 9);
    assert_eq!(permit.release().await.unwrap(), Release::Released);
    lab.mend(2).await;
    lab.until_held_by(0, "{s}:permit:9").await;
}

pub(super) async fn a_slot_counts_its_fencing_tokens(lab: &Lab) {
    let redlock = lab.builder(3).fencing(true).build().unwrap();
    let mut last = None;
    for _ in 0..3 {
        let mut permit = take(&redlock, 1).await.unwrap();
        assert!(permit.fencing_token() > last, "{permit:?}");
        last = permit.fencing_token();
        permit.extend(TTL).await.unwrap();
        assert_eq!(permit.fencing_token(), last);
        assert_eq!(permit.release().await.unwrap(), Release::Released);
    }
    assert!(lab.value(0, "{s}:permit:0:fence").await.is_some());
}

pub(super) async fn permits_and_the_restart_guard_go_together(lab: &Lab) {
    let redlock = lab.builder(3).restart_guard(TTL).fencing(true).build().unwrap();
    redlock.initialize().await.unwrap();
    let permit = take(&redlock, 2).await.unwrap();
    assert_eq!(permit.release().await.unwrap(), Release::Released);
    redlock.close().await.unwrap();
}

pub(super) async fn an_inspection_names_the_holders_of_permits(lab: &Lab) {
    let redlock = lab.redlock(3);
    let nobody = redlock.inspect_permits("s").await.unwrap();
    assert_eq!((nobody.permits(), nobody.to_string().as_str()), (0, "no permits of \"s\" are held"));
    let (one, two) = (take(&redlock, 70).await.unwrap(), take(&redlock, 70).await.unwrap());
    for permit in [&one, &two] {
        lab.until_held_by(3, &slot_of(permit)).await;
    }
    let inspection = redlock.inspect_permits("s").await.unwrap();
    let holders: BTreeSet<_> = inspection.holders().map(|(slot, holder)| (slot, holder.value().to_vec())).collect();
    let held = [&one, &two].map(|permit| (permit.slot(), permit.token().as_bytes().to_vec()));
    assert_eq!(holders, held.into_iter().collect());
    assert_eq!((inspection.permits(), inspection.unknown()), (70, 0));
    assert!(inspection.to_string().starts_with("2 of 70 permits of \"s\" are held\n  slot "), "{inspection}");
    for permit in [one, two] {
        assert_eq!(permit.release().await.unwrap(), Release::Released);
    }
}

pub(super) async fn work_with_a_permit_knows_its_slot(lab: &Lab) {
    let redlock = lab.redlock(3);
    let slot = redlock.using_permit("s", 4, TTL, async |permit| Ok::<_, UsingError>(permit.slot())).await.unwrap();
    assert!(slot < 4);
    lab.until_held_by(0, &format!("{{s}}:permit:{slot}")).await;
}

pub(super) async fn a_node_lists_the_slots_that_are_free(lab: &Lab) {
    let node = lab.node(0);
    let acquire = async |slot: u32, token: u8, permits: u32, offset: u32| {
        let key = Resource::new(format!("{{s}}:permit:{slot}")).unwrap();
        let mut request = AcquireRequest::new(key, Token::from_bytes([token; 20]), Ttl::new(TTL).unwrap());
        request.permits = Some(slots(permits, offset));
        node.acquire(&request).await.unwrap().answer
    };
    assert!(matches!(acquire(2, 1, 100, 0).await, AcquireAnswer::Granted { .. }));
    assert!(matches!(acquire(2, 1, 100, 0).await, AcquireAnswer::Granted { .. }), "its own token");
    assert!(matches!(acquire(99, 2, 100, 0).await, AcquireAnswer::Granted { .. }));
    let AcquireAnswer::SlotHeld(held) = acquire(2, 3, 100, 97).await else { panic!("it was granted") };
    // From 97 on, the first 64 without 99 and 2.
    let free: Vec<_> = [97, 98, 0, 1].into_iter().chain(3..).take(64).collect();
    assert_eq!((held.free, held.is_complete), (free, false));
    assert!(held.remaining.is_some_and(|left| left > TTL / 2 && left <= TTL), "{:?}", held.remaining);
    assert!(matches!(acquire(0, 4, 101, 0).await, AcquireAnswer::OtherPermits { permits: 100, .. }));
    // Nobody holds one of 2 permits, because slot 2 is not one of them.
    lab.set(0, "{s}:permits", "2", Some(TTL)).await;
    assert!(matches!(acquire(0, 4, 3, 0).await, AcquireAnswer::Granted { .. }));
    assert_eq!(lab.value(0, "{s}:permits").await.as_deref(), Some("3"));
    let AcquireAnswer::SlotHeld(held) = acquire(0, 5, 3, 0).await else { panic!("it was granted") };
    assert_eq!((held.free, held.is_complete), (vec![1], true));
    lab.set(0, "{s}:permits", "three", Some(TTL)).await;
    let key = Resource::new("{s}:permit:1").unwrap();
    let mut request = AcquireRequest::new(key, Token::from_bytes([6; 20]), Ttl::new(TTL).unwrap());
    request.permits = Some(slots(3, 0));
    node.acquire(&request).await.unwrap_err();
    assert_eq!(lab.value(0, "{s}:permit:1").await, None);
}

pub(super) async fn a_node_restores_no_slot_beside_another_number_of_permits(lab: &Lab) {
    let node = lab.node(0);
    let extend = async |slot: u32, permits: u32| {
        let key = Resource::new(format!("{{s}}:permit:{slot}")).unwrap();
        let mut request = ExtendRequest::new(key, Token::from_bytes([1; 20]), Ttl::new(TTL).unwrap());
        request.permits = Some(slots(permits, 0));
        node.extend(&request).await.unwrap().answer
    };
    assert_eq!(extend(1, 2).await, ExtendAnswer::Healed);
    assert_eq!(extend(1, 2).await, ExtendAnswer::Extended);
    assert!(matches!(extend(0, 3).await, ExtendAnswer::Held { .. }));
    lab.remove(0, "{s}:permit:1").await;
    assert_eq!(extend(0, 3).await, ExtendAnswer::Healed);
    assert_eq!(lab.value(0, "{s}:permits").await.as_deref(), Some("3"));
}

fn slots(permits: u32, offset: u32) -> PermitSlots {
    PermitSlots::new(Resource::new("{s}:permits").unwrap(), permits, offset)
}

pub(super) async fn permits_that_no_semaphore_can_have_are_refused(lab: &Lab) {
    let redlock = lab.redlock(3);
    let error = async |name: &str, permits| redlock.acquire_permit(name, permits, TTL).await.unwrap_err();
    assert!(matches!(error("s", 0).await, AcquireError::Permits(PermitsError::Zero)));
    assert!(matches!(error("s", 4097).await, AcquireError::Permits(PermitsError::TooMany { permits: 4097 })));
    let long = error(&"n".repeat(Resource::MAX_LEN - 10), 1).await;
    assert!(matches!(long, AcquireError::Resource(ResourceError::PermitsTooLong { .. })), "{long}");
}

pub(super) async fn a_user_may_use_permits_with_no_more_than_the_guide_says(lab: &Lab) {
    let server = lab.server(&ServerOptions::new()).await;
    let user = ["ACL", "SETUSER", "clerk", "reset", "on", ">hunter2"];
    let lock = ["~lock:*", "+eval", "+evalsha", "+set", "+getrange", "+del", "+pttl"];
    let permits = ["~{lock:*", "+exists"];
    server.command(&[&user[..], &lock, &permits].concat()).await.unwrap();
    let node = lab.open(&format!("redis://clerk:hunter2@127.0.0.1:{}", server.port()));
    let redlock = Redlock::builder().nodes([node]).key_prefix("lock:").build().unwrap();
    const PERMITS: u32 = 300;
    let one = take(&redlock, PERMITS).await.unwrap();
    for slot in (0..PERMITS).filter(|slot| *slot != one.slot()) {
        server.command(&["SET", &format!("{{lock:s}}:permit:{slot}"), "another"]).await.unwrap();
    }
    assert!(take(&redlock, PERMITS).await.is_none());
    let error = redlock.try_acquire_permit("s", 2, TTL).await.unwrap_err();
    assert!(matches!(error, AcquireError::Permits(_)), "{error}");
    assert_eq!(one.release().await.unwrap(), Release::Released);
    assert!(take(&redlock, PERMITS).await.is_some());
}
