//! Plays a case: the processes at work while faults befall their fleet, and the judges beside them.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use redlock_core::{AcquireOptions, Clock as _, Lock, Redlock, TokioClock};
use redlock_mock::{Fleet, MockNode, Process, Record, SeededEntropy, What};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::{
    case::{Case, End, Hold, Scope},
    judge,
    ledger::{Act, Call, Holding, Ledger, Outcome},
    sabotage::Sabotage,
    violation::{Oracle, Violation},
};

/// What came of a case.
#[derive(Debug, PartialEq, Eq)]
pub struct Played {
    /// What the processes believed and did.
    pub ledger: Ledger,
    /// Every message, and what became of it.
    pub records: Vec<Record>,
    /// What must never happen, and did.
    pub violations: Vec<Violation>,
}

/// How long a round waits for a node.
pub(crate) const NODE_TIMEOUT: Duration = Duration::from_millis(60);

/// Plays a case on a runtime of its own, in virtual time.
///
/// # Panics
///
/// If the operating system gives no runtime.
#[must_use]
#[expect(clippy::expect_used, reason = "without a runtime there is nothing to be simulated")]
pub fn play(case: &Case, scope: Scope, sabotage: Sabotage) -> Played {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().expect("a runtime");
    runtime.block_on(async {
        let stage = Arc::new(Stage::new(case, scope, sabotage));
        stage.play(case).await;
        stage.played()
    })
}

/// The fleet, and what the judges know.
pub(crate) struct Stage {
    pub(crate) fleet: Fleet,
    pub(crate) scope: Scope,
    sabotage: Sabotage,
    /// Whether each process is ever paused: it is late then by no fault of its own.
    paused: Vec<bool>,
    ledger: Mutex<Ledger>,
    violations: Mutex<Vec<Violation>>,
}

impl Stage {
    /// Longer than any ttl and any delay together.
    const ALL_OVER: Duration = Duration::from_secs(20);

    fn new(case: &Case, scope: Scope, sabotage: Sabotage) -> Self {
        let is_paused = |process| {
            let pauses = |what: &What| matches!(what, What::Pause { process: paused, .. } if *paused == process);
            case.history.events.iter().any(|event| pauses(&event.what))
        };
        Self {
            fleet: Fleet::of(&case.history),
            scope,
            sabotage,
            paused: (0..case.history.processes).map(is_paused).collect(),
            ledger: Mutex::default(),
            violations: Mutex::default(),
        }
    }

    async fn play(self: &Arc<Self>, case: &Case) {
        self.sabotage.before(self.fleet.nodes());
        let programs = self.fleet.processes().iter().cloned().zip(case.programs.iter().cloned());
        let playing: Vec<_> = programs
            .map(|(process, holds)| {
                let stage = Arc::clone(self);
                tokio::spawn(async move { process.run(Box::pin(stage.program(&process, holds))).await })
            })
            .collect();
        self.fleet.befall(&case.history).await;
        for process in playing {
            if process.await.is_err() {
                self.violation(Oracle::BoundedWork, "a process panicked");
            }
        }
        self.afterwards(case.history.seed).await;
        for overlap in self.ledger().overlaps() {
            self.violation(Oracle::MutualExclusion, overlap.to_string());
        }
    }

    /// What one process does.
    async fn program(&self, process: &Process, holds: Vec<Hold>) {
        let Ok(redlock) = self.sabotage.builder(process).node_timeout(NODE_TIMEOUT).build() else { return };
        let alone = self.fleet.processes().len() == 1;
        for hold in holds {
            self.hold(process, &redlock, hold).await;
            if alone && self.scope == Scope::Healthy {
                // What it gave back must not be in the way of its own next lock.
                let _ = redlock.close().await;
            }
        }
        if let Err(error) = redlock.close().await {
            self.violation(Oracle::BoundedWork, format!("process-{}: {error}", process.number() + 1));
        }
        let closed = self.fleet.elapsed();
        judge::released_everywhere(self, process.number());
        if self.sabotage == Sabotage::WorksOn {
            let _ = redlock.try_acquire("r0", Duration::from_secs(1)).await;
        }
        sleep(Self::ALL_OVER).await;
        judge::silent_since(self, process.number(), closed);
    }

    /// One lock taken, held and given back.
    async fn hold(&self, process: &Process, redlock: &Redlock, hold: Hold) {
        let millis = Duration::from_millis;
        let (number, resource) = (process.number(), format!("r{}", hold.resource));
        let options = AcquireOptions::new(millis(hold.ttl)).retry(hold.retry.policy());
        let (from, since) = (self.fleet.elapsed(), self.sent());
        let call = timeout(hold.patience.map_or(Duration::MAX, millis), redlock.acquire(&resource, options));
        let answer = process.cancellable(call).await;
        let to = self.fleet.elapsed();
        let outcome = match &answer {
            Some(Ok(Ok(_))) => Outcome::Acquired,
            Some(Ok(Err(_))) => Outcome::Refused,
            Some(Err(_)) | None => Outcome::Dropped,
        };
        let call = Call { process: number, resource: hold.resource, from, to, outcome };
        self.ledger().calls.push(call);
        judge::acquire_ended(self, &call, &hold);
        match answer {
            Some(Ok(Ok(lock))) => self.held(process, lock, hold, since).await,
            Some(Ok(Err(error))) => judge::refused_honestly(self, number, &resource, since, &error),
            Some(Err(_)) | None => {}
        }
    }

    /// The lock is held, and given back.
    async fn held(&self, process: &Process, mut lock: Lock, hold: Hold, since: usize) {
        judge::held_honestly(self, &lock, "acquired");
        judge::in_the_first_round(self, process.number(), since);
        let place = self.believes(process, &lock, hold.resource, None);
        for (after, ttl) in hold.extends {
            sleep(lock.validity() * after as u32 / 100).await;
            self.extend(process, &mut lock, Duration::from_millis(ttl)).await;
            self.believes(process, &lock, hold.resource, Some(place));
        }
        let believed = self.believed(process, &lock);
        let until = Instant::now() + believed;
        match hold.end {
            End::Last | End::Dropped => {
                sleep_until(until).await;
                if !believed.is_zero() && Instant::now() < until + Duration::from_millis(1) {
                    judge::held_to_the_end(self, &lock, until);
                }
            }
            End::After(millis) => sleep_until(until.min(Instant::now() + Duration::from_millis(millis))).await,
            End::Acts(every) => {
                while lock.is_valid() {
                    // Between the look and the act any process may be paused.
                    tokio::task::yield_now().await;
                    let act = Act { process: process.number(), resource: hold.resource, at: self.fleet.elapsed() };
                    self.ledger().acts.push(act);
                    sleep(Duration::from_millis(every)).await;
                }
            }
        }
        let now = self.fleet.elapsed();
        if let Some(holding) = self.ledger().holdings.get_mut(place) {
            holding.until = holding.until.min(now);
        }
        match hold.end {
            End::Dropped => drop(lock),
            _ => {
                let (token, valid_until) = (*lock.token(), now + process.clock().true_time(lock.validity()));
                let released = lock.release().await;
                judge::released_honestly(self, process.number(), token, valid_until, &released);
                self.in_time(process, now, NODE_TIMEOUT, "a release");
            }
        }
    }

    async fn extend(&self, process: &Process, lock: &mut Lock, ttl: Duration) {
        let (from, since, deadline) = (self.fleet.elapsed(), self.sent(), process.clock().now() + lock.validity());
        let extended = lock.extend(ttl).await;
        judge::extended_honestly(self, process, lock, since, deadline, &extended);
        self.in_time(process, from, NODE_TIMEOUT, "an extend");
    }

    /// From now on the process believes in its lock, until it ends.
    fn believes(&self, process: &Process, lock: &Lock, resource: usize, place: Option<usize>) -> usize {
        let now = self.fleet.elapsed();
        let until = now + self.believed(process, lock);
        let mut ledger = self.ledger();
        match place.and_then(|place| Some((place, ledger.holdings.get_mut(place)?))) {
            Some((place, holding)) => {
                // Woken up too late, it lost the lock before it asked for more.
                holding.until = if until > now { until } else { holding.until.min(now) };
                place
            }
            None => {
                let (process, token) = (process.number(), *lock.token());
                ledger.holdings.push(Holding { process, resource, token, from: now, until });
                ledger.holdings.len() - 1
            }
        }
    }

    /// For how long from now, in true time, the process believes in its lock.
    fn believed(&self, process: &Process, lock: &Lock) -> Duration {
        process.clock().true_time(self.sabotage.believed(lock.validity()))
    }

    /// When all is over nothing is left, and whoever comes now gets the lock at once.
    async fn afterwards(&self, seed: u64) {
        let clocks_jumped = self.scope == Scope::ClockJumps;
        for node in self.fleet.nodes() {
            node.clear_faults();
            if !clocks_jumped && !node.resources().is_empty() {
                let what = format!("keys outlived their ttl on {node:?}: {:?}", node.resources());
                self.violation(Oracle::NoResidue, what);
            }
        }
        if clocks_jumped || self.sabotage == Sabotage::DeadMajority {
            return;
        }
        let builder = Redlock::builder().nodes(self.fleet.nodes().iter().cloned());
        let Ok(late) = builder.clock(TokioClock::default()).entropy(SeededEntropy::new(!seed)).build() else { return };
        for resource in ["r0", "r1"] {
            match late.try_acquire(resource, Duration::from_secs(1)).await {
                Ok(lock) => drop(lock.release().await),
                Err(error) => self.violation(Oracle::Progress, format!("nobody is there, and yet: {error}")),
            }
        }
        if late.close().await.is_err() || !self.fleet.nodes().iter().all(|node| node.resources().is_empty()) {
            self.violation(Oracle::NoResidue, "a clean release has left a key");
        }
        let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
        if tasks > 0 {
            self.violation(Oracle::BoundedWork, format!("{tasks} tasks outlived their work"));
        }
    }

    /// A call that began then is over in time, give or take the granularity of timers; unless the process was paused.
    pub(crate) fn in_time(&self, process: &Process, from: Duration, bound: Duration, call: &str) {
        self.took(process.number(), self.fleet.elapsed() - from, bound, call);
    }

    pub(crate) fn took(&self, process: usize, took: Duration, bound: Duration, call: &str) {
        const TIMERS: Duration = Duration::from_millis(2);
        let paused = self.paused.get(process).is_some_and(|paused| *paused);
        if !paused && took > bound + TIMERS {
            let what = format!("{call} of process-{} took {took:?}, {bound:?} at most", process + 1);
            self.violation(Oracle::BoundedWork, what);
        }
    }

    pub(crate) fn violation(&self, oracle: Oracle, what: impl Into<String>) {
        let violation = Violation { oracle, at: self.fleet.elapsed(), what: what.into() };
        self.violations.lock().unwrap_or_else(PoisonError::into_inner).push(violation);
    }

    /// How many requests were sent so far.
    fn sent(&self) -> usize {
        self.fleet.records(<[Record]>::len)
    }

    /// On how many nodes the key holds this token.
    pub(crate) fn holding(&self, lock: &Lock) -> usize {
        let holds = |node: &&MockNode| node.peek(lock.resource()).as_deref() == Some(lock.token().as_bytes());
        self.fleet.nodes().iter().filter(holds).count()
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn played(&self) -> Played {
        let violations = std::mem::take(&mut *self.violations.lock().unwrap_or_else(PoisonError::into_inner));
        let ledger = std::mem::take(&mut *self.ledger());
        Played { ledger, records: self.fleet.records(<[Record]>::to_vec), violations }
    }
}
