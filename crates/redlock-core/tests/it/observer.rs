//! The events that observers receive.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use redlock_core::{
    AcquireOptions, AutoExtend, Event, Lock, LockLost, NodeOutcome, NotAcquired, Observer, Redlock, Release, Retry,
};
use redlock_mock::{Fault, Memory, MockNode};
use tokio::time::{sleep, timeout};

use crate::support::{builder, ms};

const TTL: Duration = Duration::from_secs(10);

/// Writes a line for each event of a lock, and counts the answers of nodes.
#[derive(Debug, Clone, Default)]
struct Diary {
    lines: Arc<Mutex<Vec<String>>>,
    answers: Arc<Mutex<BTreeMap<String, usize>>>,
}

impl Observer for Diary {
    fn observe(&self, event: &Event<'_>) {
        let line = match event {
            Event::Acquired { resources, attempts, waited, validity, .. } => {
                format!("acquired {resources} in {attempts} after {waited:?} for {validity:?}")
            }
            Event::NotAcquired { resources, attempts, waited, why, .. } => {
                let is_contended = matches!(why, NotAcquired::Failed(error) if error.is_contended());
                format!("not acquired {resources} in {attempts} after {waited:?}: {} {is_contended}", why.as_str())
            }
            Event::Resumed { resources, .. } => format!("resumed {resources}"),
            Event::Extended { margin, validity, .. } => format!("extended with {margin:?} left to {validity:?}"),
            Event::NotExtended { left, error, .. } => format!("not extended, {left:?} left: {error}"),
            Event::Lost { loss: LockLost::NotHeld { .. }, .. } => "lost: gone".to_owned(),
            Event::Lost { loss, .. } => format!("lost: {loss}"),
            Event::Breached { left, .. } => format!("breached with {left:?} left"),
            Event::Ended { held, ending, .. } => format!("ended after {held:?}: {ending}"),
            Event::NodeAsked { node, request, took, outcome, .. } => {
                let error = match outcome {
                    NodeOutcome::Failed(error) => error.kind().as_str(),
                    _ => "",
                };
                let answer = format!("{node} {request} {took:?} {}{error}", outcome.as_str());
                *self.answers.lock().unwrap().entry(answer).or_default() += 1;
                return;
            }
            // Tested in `owed`.
            Event::ReleasesOwed { .. } => return,
            other => panic!("{other:?}"),
        };
        self.lines.lock().unwrap().push(line);
    }
}

impl Diary {
    /// Takes the lines written since the last call.
    fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().drain(..).collect()
    }

    fn answers(&self) -> Vec<(String, usize)> {
        std::mem::take(&mut *self.answers.lock().unwrap()).into_iter().collect()
    }
}

fn fleet() -> (Vec<MockNode>, Redlock, Diary) {
    let nodes: Vec<_> = MockNode::fleet(3).into_iter().map(|node| node.with_latency(ms(1))).collect();
    let diary = Diary::default();
    let redlock = builder(&nodes).observer(diary.clone()).build().unwrap();
    (nodes, redlock, diary)
}

#[tokio::test(start_paused = true)]
async fn observers_receive_the_events_of_a_lock_from_beginning_to_end() {
    let (_nodes, redlock, diary) = fleet();
    let mut lock = redlock.acquire("r", TTL).await.unwrap();
    let began = diary.lines();
    assert!(began.len() == 1 && began[0].starts_with("acquired \"r\" in 1 after 1ms for 9.89"), "{began:?}");
    sleep(ms(4000)).await;
    lock.extend(TTL).await.unwrap();
    let extended = diary.lines();
    assert!(extended.len() == 1 && extended[0].starts_with("extended with 5.89"), "{extended:?}");
    let _ = lock.release().await.unwrap();
    redlock.close().await.unwrap();
    let ended = diary.lines();
    assert!(
        ended.len() == 1 && ended[0].starts_with("ended after 4.00") && ended[0].ends_with(": released"),
        "{ended:?}"
    );
    let answers = diary.answers();
    let requests = ["redlock.acquire", "redlock.extend", "redlock.release"];
    assert_eq!(answers.iter().map(|(_, times)| times).sum::<usize>(), 9, "{answers:?}");
    for request in requests {
        let told: Vec<_> =
            answers.iter().filter(|(answer, _)| answer.contains(&format!("{request} 1ms done"))).collect();
        assert_eq!(told.len(), 3, "each node once: {answers:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_acquire_is_reported_with_its_reason() {
    let (nodes, redlock, diary) = fleet();
    for node in &nodes {
        node.set("r", "another", Some(ms(60_000)));
    }
    let twice = AcquireOptions::new(TTL).retry(Retry::attempts(2).fixed(ms(500)).jitter(Duration::ZERO));
    redlock.acquire("r", twice).await.unwrap_err();
    let lines = diary.lines();
    assert!(lines.len() == 1 && lines[0].starts_with("not acquired \"r\" in "), "{lines:?}");
    assert!(lines[0].ends_with(": contended true"), "{lines:?}");
    let answers = diary.answers();
    assert!(answers.iter().any(|(answer, _)| answer.ends_with("redlock.acquire 1ms refused")), "{answers:?}");

    let cut_off = AcquireOptions::new(TTL).retry(Retry::timeout(ms(700)));
    redlock.acquire("r", cut_off).await.unwrap_err();
    let lines = diary.lines();
    assert!(lines.len() == 1 && lines[0].ends_with(": timed_out true"), "{lines:?}");

    nodes[0].stop();
    nodes[1].stop();
    redlock.try_acquire("free", TTL).await.unwrap_err();
    let lines = diary.lines();
    assert!(lines.len() == 1 && lines[0].ends_with(": no_quorum false"), "{lines:?}");
    let answers = diary.answers();
    assert!(
        answers
            .iter()
            .any(|(answer, _)| answer.starts_with("node-1 redlock.acquire") && answer.ends_with("failedunreachable")),
        "{answers:?}"
    );

    // A call that is rejected before anything is sent is not reported.
    redlock.acquire("", TTL).await.unwrap_err();
    redlock.acquire("r", Duration::ZERO).await.unwrap_err();
    assert_eq!(diary.lines(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_call_is_reported_as_cancelled_only_when_it_is_dropped() {
    let (nodes, redlock, diary) = fleet();
    for node in &nodes {
        node.set("r", "another", Some(ms(60_000)));
    }
    timeout(ms(300), redlock.acquire("r", TTL)).await.unwrap_err();
    let lines = diary.lines();
    assert!(lines.len() == 1 && lines[0].contains("after 300ms: cancelled"), "{lines:?}");
    // Never polled, so the call never started.
    drop(redlock.acquire("r", TTL));
    assert_eq!(diary.lines(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_reported_even_if_nobody_waits_for_it_anymore() {
    let nodes: Vec<_> = MockNode::fleet(3).into_iter().map(|node| node.with_response_timeout(ms(60_000))).collect();
    let diary = Diary::default();
    let redlock = builder(&nodes).observer(diary.clone()).build().unwrap();
    nodes[2].hang();
    drop(redlock.acquire("r", TTL).await.unwrap());
    redlock.close().await.unwrap_err();
    let answers = diary.answers();
    assert!(answers.contains(&("node-3 redlock.acquire 5.2s unanswered".to_owned(), 1)), "{answers:?}");
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_expires_is_reported_lost_once_however_it_is_noticed() {
    let (_nodes, redlock, diary) = fleet();
    let lost = "lost: the lock on \"r\" is lost: its validity has ended";
    // A task waits for the loss.
    let lock = redlock.acquire("r", TTL).await.unwrap();
    lock.lost().await;
    assert!(lock.check().is_err());
    assert!(diary.lines()[1].starts_with(lost));
    // The nodes keep the key longer, by the allowance for drift.
    sleep(ms(200)).await;
    assert_eq!(lock.release().await.unwrap(), Release::NotHeld);
    let lines = diary.lines();
    assert!(lines.len() == 1 && lines[0].ends_with(": not_held"), "no breach: {lines:?}");
    // The holder calls `check`.
    let lock = redlock.acquire("r", TTL).await.unwrap();
    sleep(TTL).await;
    lock.check().unwrap_err();
    drop(lock);
    let lines = diary.lines();
    assert!(lines.len() == 3 && lines[1].starts_with(lost) && lines[2].ends_with(": dropped"), "{lines:?}");
    // Nobody notices before the lock is dropped or released.
    let lock = redlock.acquire("r", TTL).await.unwrap();
    sleep(TTL).await;
    drop(lock);
    let lines = diary.lines();
    assert!(lines.len() == 3 && lines[1].starts_with(lost), "{lines:?}");
    redlock.close().await.unwrap();
    let lock = redlock.acquire("r", TTL).await.unwrap();
    sleep(TTL).await;
    let _ = lock.release().await.unwrap();
    let lines = diary.lines();
    assert!(lines.len() == 3 && lines[1].starts_with(lost), "{lines:?}");
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_a_quorum_does_not_hold_while_it_is_valid_is_a_breach() {
    let (nodes, redlock, diary) = fleet();
    // Found by an extend.
    let kept = AcquireOptions::new(TTL).auto_extend(AutoExtend::default());
    let lock = redlock.acquire("r", kept).await.unwrap();
    nodes[0].restart(Memory::Lost);
    nodes[1].restart(Memory::Lost);
    lock.lost().await;
    let lines = diary.lines();
    assert!(lines.len() == 4 && lines[1].starts_with("breached with 6."), "{lines:?}");
    assert!(lines[2] == "lost: gone" && lines[3].starts_with("not extended, 0ns left"), "{lines:?}");
    drop(lock);
    redlock.close().await.unwrap();
    assert_eq!(diary.lines().len(), 1, "only its end");

    // Found by the release.
    let lock = redlock.acquire("r", TTL).await.unwrap();
    nodes[0].remove("r");
    nodes[1].set("r", "another", None);
    assert_eq!(lock.release().await.unwrap(), Release::NotHeld);
    let lines = diary.lines();
    assert!(lines.len() == 4 && lines[1].starts_with("breached with 9.") && lines[2] == "lost: gone", "{lines:?}");
    assert!(lines[3].ends_with(": not_held"), "{lines:?}");
}

#[tokio::test(start_paused = true)]
async fn an_extend_that_fails_is_reported_with_the_remaining_validity() {
    let (nodes, redlock, diary) = fleet();
    let mut lock = redlock.acquire("r", TTL).await.unwrap();
    for node in &nodes {
        node.inject(Fault::LoseRequest);
    }
    lock.extend(TTL).await.unwrap_err();
    let lines = diary.lines();
    assert!(lines.len() == 2 && lines[1].starts_with("not extended, 9."), "{lines:?}");
    sleep(TTL).await;
    lock.extend(TTL).await.unwrap_err();
    let lines = diary.lines();
    assert!(
        lines.len() == 2 && lines[0].starts_with("lost: ") && lines[1].starts_with("not extended, 0ns"),
        "{lines:?}"
    );
    // An extend that is rejected before anything is sent is not reported.
    lock.extend(Duration::ZERO).await.unwrap_err();
    assert_eq!(diary.lines(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn every_way_in_which_a_lock_ends_is_reported_by_name() {
    let (nodes, redlock, diary) = fleet();
    let end = |diary: &Diary| diary.lines().pop().unwrap().rsplit_once(": ").unwrap().1.to_owned();

    let parts = redlock.acquire("r", TTL).await.unwrap().into_parts().await.unwrap();
    assert_eq!(end(&diary), "transferred");
    let lock = redlock.resume(parts).await.unwrap();
    assert_eq!(diary.lines(), ["resumed \"r\""]);
    nodes.iter().for_each(MockNode::stop);
    lock.release().await.unwrap_err();
    assert_eq!(end(&diary), "unknown");
    nodes.iter().for_each(|node| node.start(Memory::Lost));

    // A release that is dropped, and one that never started.
    let lock = redlock.acquire("r", TTL).await.unwrap();
    timeout(ms(0), lock.release()).await.unwrap_err();
    assert_eq!(end(&diary), "dropped");
    redlock.close().await.unwrap();
    drop(redlock.acquire("r", TTL).await.unwrap().release());
    assert_eq!(end(&diary), "dropped");
}

#[derive(Debug)]
struct Panics;

impl Observer for Panics {
    fn observe(&self, _: &Event<'_>) {
        panic!("an observer that panics");
    }
}

#[tokio::test(start_paused = true)]
async fn an_observer_that_panics_changes_nothing_and_other_observers_receive_every_event() {
    let nodes = MockNode::fleet(3);
    let diary = Diary::default();
    let redlock = builder(&nodes).observer(Panics).observer(diary.clone()).build().unwrap();
    let _ = redlock.acquire("r", TTL).await.unwrap().release().await.unwrap();
    drop(redlock.acquire("r", TTL).await.unwrap());
    redlock.close().await.unwrap();
    assert_eq!(diary.lines().len(), 4);
    assert!(nodes.iter().all(|node| node.resources().is_empty()));
}

/// Checks a lock whenever it receives an event about a loss.
#[derive(Debug, Default)]
struct Looks(OnceLock<Arc<Lock>>, Mutex<usize>);

impl Observer for Looks {
    fn observe(&self, event: &Event<'_>) {
        if let (Some(lock), Event::Lost { .. }) = (self.0.get(), event) {
            assert!(lock.check().is_err());
            *self.1.lock().unwrap() += 1;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_observer_may_check_the_lock_whose_event_it_receives() {
    let nodes = MockNode::fleet(3);
    let looks = Arc::new(Looks::default());
    let redlock = builder(&nodes).observer(Arc::clone(&looks)).build().unwrap();
    let lock = Arc::new(redlock.acquire("r", TTL).await.unwrap());
    looks.0.set(Arc::clone(&lock)).unwrap();
    sleep(TTL).await;
    assert!(lock.check().is_err());
    assert_eq!(*looks.1.lock().unwrap(), 1);
}
