//! Random fault histories in virtual time: the real driver on simulated nodes, judged by what must never happen.
//!
//! A history is plain data, so that a failing one is shrunk and printed. Everything stays within what the README
//! assumes: clocks of one rate, and nodes that keep their keys. Holders hold to the very end of their validity.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

use std::{
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use redlock_core::{AcquireOptions, Entropy, EntropyError, Redlock, Retry, TokioClock};
use redlock_mock::{Fault, Memory, MockNode};
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// What happens, and when.
#[derive(Debug, Clone)]
struct History {
    /// The latency of each node, in milliseconds.
    nodes: Vec<u64>,
    /// What each process does, one thing after the other.
    processes: Vec<Vec<Hold>>,
    /// What befalls the nodes, and how many milliseconds after the event before it.
    events: Vec<(u64, usize, Event)>,
    seed: u64,
}

/// One lock taken, held and given back.
#[derive(Debug, Clone)]
struct Hold {
    ttl: u64,
    /// The call is dropped after so many milliseconds.
    patience: u64,
    /// Whether it is extended half-way, and to which ttl.
    extend: Option<u64>,
    end: End,
}

#[derive(Debug, Clone, Copy)]
enum End {
    /// Released at the last moment of its validity.
    Last,
    /// Released after so many milliseconds.
    After(u64),
    /// Dropped at the last moment of its validity.
    Dropped,
}

#[derive(Debug, Clone)]
enum Event {
    /// The node hangs for so many milliseconds.
    Hang(u64),
    /// The node restarts and remembers.
    Restart,
    /// The node is down for so many milliseconds, and remembers.
    Down(u64),
    /// Something happens to the next requests.
    Faults(Vec<Fault>),
}

fn history() -> impl Strategy<Value = History> {
    let latency = prop_oneof![Just(0), 0..30_u64];
    let processes = prop::collection::vec(prop::collection::vec(hold(), 1..6), 1..5);
    let events = prop::collection::vec((0..800_u64, any::<usize>(), event()), 0..16);
    (prop::collection::vec(latency, 1..=5), processes, events, any::<u64>())
        .prop_map(|(nodes, processes, events, seed)| History { nodes, processes, events, seed })
}

fn hold() -> impl Strategy<Value = Hold> {
    let end = prop_oneof![
        3 => Just(End::Last),
        2 => (0..1_000_u64).prop_map(End::After),
        1 => Just(End::Dropped),
    ];
    (100..2_000_u64, 1..3_000_u64, prop::option::of(100..2_000_u64), end)
        .prop_map(|(ttl, patience, extend, end)| Hold { ttl, patience, extend, end })
}

fn event() -> impl Strategy<Value = Event> {
    let millis = || 1..1_500_u64;
    let fault = prop_oneof![
        Just(Fault::None),
        Just(Fault::Refuse),
        Just(Fault::LoseRequest),
        Just(Fault::LoseAnswer),
        millis().prop_map(|delay| Fault::DelayRequest(Duration::from_millis(delay))),
        millis().prop_map(|delay| Fault::DelayAnswer(Duration::from_millis(delay))),
    ];
    prop_oneof![
        millis().prop_map(Event::Hang),
        Just(Event::Restart),
        millis().prop_map(Event::Down),
        prop::collection::vec(fault, 1..8).prop_map(Event::Faults),
    ]
}

/// Random bytes that are the same in every run of a history.
#[derive(Debug)]
struct Seeded(AtomicU64);

impl Entropy for Seeded {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError> {
        for chunk in bytes.chunks_mut(8) {
            // Consecutive numbers, mixed so that they look random (the finalizer of MurmurHash3).
            let mut mixed = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
            mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
            mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
            chunk.copy_from_slice(&(mixed ^ (mixed >> 33)).to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

/// Until when each process believes in its lock.
#[derive(Debug, Clone, Default)]
struct Beliefs(Arc<Mutex<Vec<Option<Instant>>>>);

impl Beliefs {
    fn new(processes: usize) -> Self {
        Self(Arc::new(Mutex::new(vec![None; processes])))
    }

    /// A process believes in its lock from now until then; nobody else may.
    fn believe(&self, process: usize, until: Instant) {
        let beliefs = {
            let mut beliefs = self.0.lock().unwrap();
            beliefs[process] = Some(until);
            beliefs.clone()
        };
        let now = Instant::now();
        let holders = beliefs.iter().flatten().filter(|until| **until > now).count();
        assert!(holders <= 1, "{holders} processes hold the lock: {beliefs:?}");
    }

    fn give_up(&self, process: usize) {
        self.0.lock().unwrap()[process] = None;
    }
}

fn redlock(nodes: &[MockNode], seed: u64) -> Redlock {
    Redlock::builder()
        .nodes(nodes.iter().cloned())
        .clock(TokioClock::default())
        .entropy(Seeded(seed.into()))
        .node_timeout(Duration::from_millis(60))
        .build()
        .unwrap()
}

async fn process(redlock: Redlock, holds: Vec<Hold>, me: usize, beliefs: Beliefs) -> u64 {
    let millis = Duration::from_millis;
    let mut acquired = 0;
    for Hold { ttl, patience, extend, end } in holds {
        let eager = Retry::attempts(30).fixed(millis(20)).jitter(millis(20));
        let call = redlock.acquire("r", AcquireOptions::new(millis(ttl)).retry(eager));
        let Ok(Ok(mut lock)) = timeout(millis(patience), call).await else { continue };
        acquired += 1;
        beliefs.believe(me, lock.valid_until());
        if let Some(ttl) = extend {
            sleep(lock.validity() / 2).await;
            let _ = lock.extend(millis(ttl)).await;
            beliefs.believe(me, lock.valid_until());
        }
        match end {
            End::After(held) => sleep(millis(held).min(lock.validity())).await,
            End::Last | End::Dropped => sleep_until(lock.valid_until()).await,
        }
        beliefs.give_up(me);
        match end {
            End::Dropped => drop(lock),
            End::After(_) | End::Last => drop(lock.release().await),
        }
    }
    redlock.close().await.unwrap();
    acquired
}

async fn befall(nodes: Vec<MockNode>, events: Vec<(u64, usize, Event)>) {
    let millis = Duration::from_millis;
    for (after, node, event) in events {
        sleep(millis(after)).await;
        let node = nodes[node % nodes.len()].clone();
        match event {
            Event::Restart => node.restart(Memory::Kept),
            Event::Faults(faults) => faults.into_iter().for_each(|fault| node.inject(fault)),
            Event::Hang(lasts) => {
                node.hang();
                tokio::spawn(async move {
                    sleep(millis(lasts)).await;
                    node.resume();
                });
            }
            Event::Down(lasts) => {
                node.stop();
                tokio::spawn(async move {
                    sleep(millis(lasts)).await;
                    node.start(Memory::Kept);
                });
            }
        }
    }
}

/// Plays a history and judges it. Returns how many locks were taken.
async fn play(history: History) -> u64 {
    let History { nodes, processes, events, seed } = history;
    let nodes: Vec<_> = MockNode::fleet(nodes.len())
        .into_iter()
        .zip(nodes)
        .map(|(node, latency)| node.with_latency(Duration::from_millis(latency)))
        .collect();
    let beliefs = Beliefs::new(processes.len());
    let playing: Vec<_> = processes
        .into_iter()
        .enumerate()
        .map(|(me, holds)| tokio::spawn(process(redlock(&nodes, seed ^ me as u64), holds, me, beliefs.clone())))
        .collect();
    befall(nodes.clone(), events).await;
    let mut acquired = 0;
    for process in playing {
        acquired += process.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
    }

    // After the longest ttl, and all that was on its way, nothing is left; and whoever comes now gets the lock at once.
    sleep(Duration::from_secs(10)).await;
    for node in &nodes {
        assert_eq!(node.resources(), [""; 0], "a key outlived its ttl on {node:?}");
    }
    nodes.iter().for_each(MockNode::clear_faults);
    let late = redlock(&nodes, !seed);
    let lock = late.try_acquire("r", Duration::from_secs(1)).await.unwrap();
    lock.release().await.unwrap();
    late.close().await.unwrap();
    assert!(nodes.iter().all(|node| node.resources().is_empty()), "a clean release left a key");
    assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), 0, "a task outlived its work");
    acquired
}

/// Plays on a runtime of its own, in virtual time.
fn simulate<F: Future>(play: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(play)
}

#[test]
fn no_history_makes_two_holders_or_leaves_anything_behind() {
    const HISTORIES: u32 = 1_000;
    let mut runner = TestRunner::new(Config { cases: HISTORIES, failure_persistence: None, ..Config::default() });
    let acquired = AtomicU64::new(0);
    let result = runner.run(&history(), |history| {
        acquired.fetch_add(simulate(play(history)), Ordering::Relaxed);
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
    let acquired = acquired.into_inner();
    assert!(acquired > HISTORIES.into(), "only {acquired} locks were taken: the histories prove little");
}

/// The judge can find: where nodes forget their keys, two processes hold one lock.
#[test]
fn a_node_that_forgets_its_keys_is_found_out() {
    let found = simulate(async {
        let nodes = MockNode::fleet(3);
        let beliefs = Beliefs::new(2);
        let hold = Hold { ttl: 2_000, patience: 3_000, extend: None, end: End::Last };
        let first = tokio::spawn(process(redlock(&nodes, 1), vec![hold.clone()], 0, beliefs.clone()));
        sleep(Duration::from_millis(100)).await;
        nodes[..2].iter().for_each(|node| node.restart(Memory::Lost));
        let second = tokio::spawn(process(redlock(&nodes, 2), vec![hold], 1, beliefs));
        let (first, second) = tokio::join!(first, second);
        first.is_ok() && second.is_err()
    });
    assert!(found);
}
