//! Readers and writers that wait for each other.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use redlock_core::{
    AcquireOptions, Lock, LockNode, NodeError, Redlock, Release, Retry,
    backend::{AcquireAnswer, AcquireRequest, ExtendAnswer, ExtendRequest, ReleaseAnswer, ReleaseRequest, Timed},
    testing::Clock,
};
use redlock_mock::MockNode;
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use super::TTL;
use crate::support::{ms, redlock};

/// Longer than any waiter that is notified waits.
const PAUSE: Duration = Duration::from_secs(3);

/// Polls so rarely that only a waiter that is notified is on time.
fn patient() -> AcquireOptions {
    AcquireOptions::new(TTL).retry(Retry::timeout(6 * PAUSE).fixed(PAUSE).jitter(Duration::ZERO))
}

fn waits(redlock: &Redlock, options: AcquireOptions) -> JoinHandle<(Lock, Instant)> {
    let redlock = redlock.clone();
    tokio::spawn(async move {
        let lock = redlock.acquire("r", options).await.unwrap();
        (lock, Instant::now())
    })
}

/// A node that notifies nobody.
#[derive(Debug, Clone)]
struct Silent(MockNode);

#[async_trait]
impl LockNode for Silent {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn clock(&self) -> Option<Arc<dyn Clock>> {
        self.0.clock()
    }

    async fn acquire(&self, request: &AcquireRequest) -> Result<Timed<AcquireAnswer>, NodeError> {
        self.0.acquire(request).await
    }

    async fn extend(&self, request: &ExtendRequest) -> Result<Timed<ExtendAnswer>, NodeError> {
        self.0.extend(request).await
    }

    async fn release(&self, request: &ReleaseRequest) -> Result<ReleaseAnswer, NodeError> {
        self.0.release(request).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_comes_behind_a_waiting_writer_waits_for_it() {
    let nodes = MockNode::fleet(3);
    let processes: Vec<_> = (0..4).map(|_| redlock(&nodes)).collect();
    let first = processes[0].acquire_shared("r", TTL).await.unwrap();
    let writer = waits(&processes[1], patient());
    sleep(ms(100)).await;
    assert!(processes[2].try_acquire_shared("r", TTL).await.unwrap().is_none(), "a writer waits");
    let readers = [waits(&processes[2], patient().shared()), waits(&processes[3], patient().shared())];
    sleep(ms(100)).await;
    assert!(!writer.is_finished() && readers.iter().all(|reader| !reader.is_finished()));

    let released = Instant::now();
    assert_eq!(first.release().await.unwrap(), Release::Released);
    let (writer, taken) = writer.await.unwrap();
    assert_eq!(taken, released, "the writer is notified first");
    sleep(ms(100)).await;
    assert!(readers.iter().all(|reader| !reader.is_finished()));

    let released = Instant::now();
    assert_eq!(writer.release().await.unwrap(), Release::Released);
    for reader in readers {
        let (reader, taken) = reader.await.unwrap();
        assert_eq!(taken, released, "then all readers together");
        assert!(reader.check().is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn a_release_notifies_readers_up_to_the_next_writer() {
    let nodes = MockNode::fleet(3);
    let processes: Vec<_> = (0..6).map(|_| redlock(&nodes)).collect();
    let writer = processes[0].acquire("r", TTL).await.unwrap();
    let mut waiting = Vec::new();
    for (process, is_shared) in processes[1..].iter().zip([true, true, false, true, true]) {
        waiting.push(waits(process, if is_shared { patient().shared() } else { patient() }));
        sleep(ms(50)).await;
    }
    let finished =
        |waiting: &[JoinHandle<(Lock, Instant)>]| waiting.iter().map(JoinHandle::is_finished).collect::<Vec<_>>();
    assert_eq!(writer.release().await.unwrap(), Release::Released);
    sleep(ms(100)).await;
    assert_eq!(finished(&waiting), [true, true, false, false, false]);
    for reader in waiting.drain(..2) {
        assert_eq!(reader.await.unwrap().0.release().await.unwrap(), Release::Released);
    }
    sleep(ms(100)).await;
    assert_eq!(finished(&waiting), [true, false, false]);
    let writer = waiting.remove(0).await.unwrap().0;
    assert_eq!(writer.release().await.unwrap(), Release::Released);
    sleep(ms(100)).await;
    assert_eq!(finished(&waiting), [true, true]);
}

#[tokio::test(start_paused = true)]
async fn readers_of_one_process_do_not_wait_for_each_other_and_a_writer_there_comes_in_its_turn() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    let first = redlock.acquire_shared("r", TTL).await.unwrap();
    let together: Vec<_> = (0..8).map(|_| waits(&redlock, patient().shared())).collect();
    let mut readers = Vec::new();
    for reader in together {
        let (reader, taken) = reader.await.unwrap();
        assert_eq!(taken, Instant::now());
        readers.push(reader);
    }
    let writer = waits(&redlock, patient());
    sleep(ms(50)).await;
    let behind = waits(&redlock, patient().shared());
    sleep(ms(50)).await;
    for reader in readers {
        assert_eq!(reader.release().await.unwrap(), Release::Released);
    }
    sleep(ms(50)).await;
    assert!(!writer.is_finished() && !behind.is_finished());
    let released = Instant::now();
    assert_eq!(first.release().await.unwrap(), Release::Released);
    let (writer, taken) = writer.await.unwrap();
    assert_eq!(taken, released);
    assert!(!behind.is_finished());
    assert_eq!(writer.release().await.unwrap(), Release::Released);
    assert!(behind.await.unwrap().0.check().is_ok());
}

/// Starts readers so frequently that there is always one, and a writer among them. Returns how long the writer has
/// waited.
async fn a_writer_among_readers(processes: &[Redlock], writer: &Redlock) -> Duration {
    let often = || AcquireOptions::new(TTL).retry(Retry::timeout(6 * TTL).fixed(ms(50)).jitter(ms(25)));
    let read = Arc::new(AtomicUsize::new(0));
    let readers: Vec<_> = processes
        .iter()
        .enumerate()
        .map(|(number, process)| {
            let (process, read) = (process.clone(), Arc::clone(&read));
            tokio::spawn(async move {
                sleep(ms(30 * number as u64)).await;
                loop {
                    let reader = process.acquire_shared("r", often()).await.unwrap();
                    read.fetch_add(1, Ordering::SeqCst);
                    sleep(ms(100)).await;
                    let _ = reader.release().await.unwrap();
                }
            })
        })
        .collect();
    sleep(ms(1_000)).await;
    assert!(read.load(Ordering::SeqCst) >= 20);
    let asked = Instant::now();
    let lock = writer.acquire("r", often()).await.unwrap();
    let waited = asked.elapsed();
    assert_eq!(lock.release().await.unwrap(), Release::Released);
    let before = read.load(Ordering::SeqCst);
    sleep(ms(1_000)).await;
    assert!(read.load(Ordering::SeqCst) >= before + 20, "the readers continue");
    readers.iter().for_each(JoinHandle::abort);
    waited
}

#[tokio::test(start_paused = true)]
async fn a_writer_does_not_starve_among_readers_that_are_notified() {
    let nodes = MockNode::fleet(3);
    let processes: Vec<_> = (0..4).map(|_| redlock(&nodes)).collect();
    let waited = a_writer_among_readers(&processes[1..], &processes[0]).await;
    assert!(waited <= ms(150), "it waited {waited:?} for readers that take 100 ms");
}

#[tokio::test(start_paused = true)]
async fn a_writer_does_not_starve_where_nobody_is_notified() {
    let nodes: Vec<_> = MockNode::fleet(3).into_iter().map(Silent).collect();
    let processes: Vec<_> = (0..4).map(|_| Redlock::new(nodes.clone()).unwrap()).collect();
    let waited = a_writer_among_readers(&processes[1..], &processes[0]).await;
    assert!(waited <= ms(300), "it waited {waited:?} for readers that take 100 ms");
}

/// Whether a reader is refused.
async fn is_kept_out(redlock: &Redlock) -> bool {
    redlock.try_acquire_shared("r", TTL).await.unwrap().is_none()
}

#[tokio::test(start_paused = true)]
async fn a_writer_that_gives_up_keeps_no_reader_out() {
    for (retry, cancelled_after) in [
        (Retry::attempts(2), None),
        (Retry::timeout(ms(3_500)), None),
        // During its first round, during the pause, and during its second round.
        (Retry::attempts(9), Some(ms(5))),
        (Retry::attempts(9), Some(ms(500))),
        (Retry::attempts(9), Some(PAUSE + ms(5))),
    ] {
        let nodes: Vec<_> = MockNode::fleet(3).into_iter().map(|node| node.with_latency(ms(10))).collect();
        let [ours, theirs, others] = [redlock(&nodes), redlock(&nodes), redlock(&nodes)];
        let first = ours.acquire_shared("r", 2 * TTL).await.unwrap();
        let options = AcquireOptions::new(TTL).retry(retry.fixed(PAUSE).jitter(Duration::ZERO));
        let call = theirs.acquire("r", options);
        match cancelled_after {
            Some(after) => assert!(timeout(after, call).await.is_err()),
            None => assert!(call.await.is_err()),
        }
        sleep(ms(100)).await;
        assert!(!is_kept_out(&others).await, "cancelled after {cancelled_after:?}");
        theirs.close().await.unwrap();
        assert!(nodes.iter().all(|node| node.resources() == ["r"]));
        assert_eq!(first.release().await.unwrap(), Release::Released);
    }
}

#[tokio::test(start_paused = true)]
async fn a_writer_that_gives_up_leaves_the_intent_of_another_writer() {
    let nodes = MockNode::fleet(3);
    let [ours, theirs, others] = [redlock(&nodes), redlock(&nodes), redlock(&nodes)];
    let first = ours.acquire_shared("r", TTL).await.unwrap();
    let brief = AcquireOptions::new(TTL).retry(Retry::timeout(ms(500)).fixed(ms(400)).jitter(Duration::ZERO));
    let gives_up = tokio::spawn(async move { theirs.acquire("r", brief).await });
    sleep(ms(450)).await;
    let waiting = waits(&others, patient());
    assert!(gives_up.await.unwrap().is_err());
    sleep(ms(100)).await;
    assert!(nodes.iter().all(|node| node.resources().contains(&"r:redlock:writer".to_owned())));
    assert!(is_kept_out(&ours).await);
    assert_eq!(first.release().await.unwrap(), Release::Released);
    assert!(waiting.await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_writer_that_wins_with_its_last_attempt_takes_its_intent_back() {
    let nodes: Vec<_> = MockNode::fleet(3).into_iter().map(Silent).collect();
    let [ours, theirs] = [Redlock::new(nodes.clone()).unwrap(), Redlock::new(nodes).unwrap()];
    let reader = ours.acquire_shared("r", TTL).await.unwrap();
    let options = AcquireOptions::new(TTL).retry(Retry::attempts(3).fixed(PAUSE).jitter(Duration::ZERO));
    let writer = waits(&theirs, options);
    sleep(PAUSE + PAUSE / 2).await;
    assert!(is_kept_out(&ours).await);
    assert_eq!(reader.release().await.unwrap(), Release::Released);
    let (writer, _) = writer.await.unwrap();
    assert_eq!(writer.release().await.unwrap(), Release::Released);
    assert!(!is_kept_out(&ours).await);
}

#[tokio::test(start_paused = true)]
async fn one_attempt_of_a_writer_keeps_nobody_out() {
    let nodes = MockNode::fleet(3);
    let (ours, theirs) = (redlock(&nodes), redlock(&nodes));
    let first = ours.acquire_shared("r", TTL).await.unwrap();
    assert!(theirs.try_acquire("r", TTL).await.unwrap().is_none());
    assert!(theirs.try_acquire_shared("r", TTL).await.unwrap().is_some());
    assert!(nodes.iter().all(|node| node.resources() == ["r"]));
    drop(first);
}

#[tokio::test(start_paused = true)]
async fn a_writer_that_wins_takes_its_intent_back() {
    let nodes = MockNode::fleet(3);
    let (ours, theirs) = (redlock(&nodes), redlock(&nodes));
    let reader = ours.acquire_shared("r", TTL).await.unwrap();
    let writer = waits(&theirs, patient());
    sleep(ms(100)).await;
    assert!(nodes.iter().all(|node| node.resources().contains(&"r:redlock:writer".to_owned())));
    assert_eq!(reader.release().await.unwrap(), Release::Released);
    let (writer, _) = writer.await.unwrap();
    sleep(ms(10)).await;
    assert!(nodes.iter().all(|node| node.resources() == ["r"]));
    assert_eq!(writer.release().await.unwrap(), Release::Released);
    assert!(ours.try_acquire_shared("r", TTL).await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_arrives_while_another_of_its_process_releases_does_not_wait() {
    let nodes: Vec<_> = MockNode::fleet(3).into_iter().map(|node| node.with_latency(ms(10))).collect();
    let redlock = redlock(&nodes);
    let [one, _two] =
        [redlock.acquire_shared("r", TTL).await.unwrap(), redlock.acquire_shared("r", TTL).await.unwrap()];
    let begun = Instant::now();
    let (released, three) = tokio::join!(one.release(), redlock.acquire_shared("r", patient()));
    assert_eq!(released.unwrap(), Release::Released);
    assert!(three.is_ok() && begun.elapsed() < ms(100), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_notified_reader_that_an_intent_keeps_out_passes_the_wake_up_on_to_the_writer() {
    let nodes: Vec<_> = MockNode::fleet(3).into_iter().map(|node| node.with_latency(ms(10))).collect();
    let [ours, theirs] = [redlock(&nodes), redlock(&nodes)];
    // The writer of a process that holds a reader leaves its intent, and queues only after a pause.
    let reader = ours.acquire_shared("r", TTL).await.unwrap();
    let writer = waits(&ours, patient());
    sleep(ms(100)).await;
    let behind = waits(&theirs, patient().shared());
    sleep(ms(200)).await;
    let released = Instant::now();
    let _ = reader.release().await.unwrap();
    let (lock, taken) = writer.await.unwrap();
    assert!(taken - released < ms(200), "{:?}", taken - released);
    let _ = lock.release().await.unwrap();
    let (lock, _) = behind.await.unwrap();
    assert!(lock.is_shared());
}

#[tokio::test(start_paused = true)]
async fn a_notified_reader_passes_the_wake_up_on_although_a_minority_of_the_nodes_is_held() {
    let nodes: Vec<_> = MockNode::fleet(3).into_iter().map(|node| node.with_latency(ms(10))).collect();
    let [ours, theirs] = [redlock(&nodes), redlock(&nodes)];
    let reader = ours.acquire_shared("r", TTL).await.unwrap();
    let writer = waits(&ours, patient());
    sleep(ms(100)).await;
    let behind = waits(&theirs, patient().shared());
    sleep(ms(200)).await;
    // The round of another writer, which has not released it yet.
    nodes[2].set("r", "another", Some(TTL));
    let released = Instant::now();
    let _ = reader.release().await.unwrap();
    let (lock, taken) = writer.await.unwrap();
    assert!(taken - released < ms(200), "{:?}", taken - released);
    let _ = lock.release().await.unwrap();
    assert!(behind.await.unwrap().0.is_shared());
}
