//! Plays a case: runs the processes while faults happen to their fleet, and checks the promises.

use std::{pin::pin, sync::Arc, time::Duration};

use redlock_core::{BuildError, CloseError, Redlock};
use redlock_mock::{MockNode, Process, Record, SeededEntropy};
use tokio::time::{sleep, timeout};

use crate::{
    case::{Case, Hold, NODE_TIMEOUT},
    judge,
    ledger::{Call, Ledger, Outcome},
    orphans::Watch,
    panics,
    permits::Crowd,
    residue,
    sabotage::Sabotage,
    scope::Scope,
    stage::Stage,
    violation::{Oracle, Violation},
};

/// The result of a case.
#[derive(Debug, PartialEq, Eq)]
pub struct Played {
    /// The beliefs and acts of the processes.
    pub ledger: Ledger,
    /// Every message, and its fate.
    pub records: Vec<Record>,
    /// The violations: things that must never happen, and did.
    pub violations: Vec<Violation>,
}

/// Plays a case on a runtime of its own, in virtual time.
///
/// # Panics
///
/// If the operating system does not start a runtime.
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

impl Stage {
    /// Longer than any delay; added to the longest TTL.
    const ALL_OVER: Duration = Duration::from_secs(20);

    /// How long a process lives on after the last fault, to release the locks that it left behind.
    const LIVES_ON: Duration = Duration::from_secs(10);

    async fn play(self: &Arc<Self>, case: &Case) {
        // Drop the panics of the case before.
        panics::take();
        self.sabotage.before(self.fleet.nodes());
        if self.scope == Scope::Guarded {
            self.open().await;
        }
        let programs = self.fleet.processes().iter().cloned().zip(case.programs.iter().cloned());
        let playing: Vec<_> = programs
            .map(|(process, holds)| {
                let stage = Arc::clone(self);
                tokio::spawn(async move { process.run(Box::pin(stage.program(&process, holds))).await })
            })
            .collect();
        let processes = async {
            self.fleet.befall(&case.history).await;
            for process in playing {
                // Its panic, if there was one, is found below, together with panics that no handle reports.
                let _ = process.await;
            }
        };
        if self.scope == Scope::Orphans {
            self.watch(processes).await;
            let orphans = self.fleet.records(|records| self.ledger().orphans(records));
            for orphan in orphans {
                self.violation(Oracle::Orphans, orphan.to_string());
            }
        } else {
            processes.await;
        }
        self.afterwards(case.history.seed).await;
        for panic in panics::take() {
            self.violation(Oracle::BoundedWork, panic);
        }
        // Fencing tokens are for cases where there may be two holders.
        let overlaps = if self.scope == Scope::Fenced { Vec::new() } else { self.ledger().overlaps() };
        for overlap in overlaps {
            self.violation(Oracle::MutualExclusion, overlap.to_string());
        }
        let mut crowds = self.ledger().crowds();
        // Nodes that count holders keep no slots apart.
        crowds.retain(|crowd| self.scope != Scope::CountedSemaphore || matches!(crowd, Crowd::TooMany(_)));
        for crowd in crowds {
            self.violation(Oracle::Permits, crowd.to_string());
        }
        // In other scopes, counters may begin again below their last value.
        let disorders = if self.scope.keeps_counters() { self.ledger().disorders() } else { Vec::new() };
        for disorder in disorders {
            self.violation(Oracle::Fencing, disorder.to_string());
        }
        let waits = if self.scope == Scope::Waiting { self.ledger().waits() } else { Vec::new() };
        for wait in waits.iter().filter(|wait| wait.is_too_long()) {
            self.violation(Oracle::Waiting, wait.to_string());
        }
    }

    /// Looks at the nodes while the processes work.
    async fn watch(&self, processes: impl Future<Output = ()>) {
        let (mut watch, mut processes) = (Watch::default(), pin!(processes));
        while timeout(Watch::EVERY, &mut processes).await.is_err() {
            watch.look(&self.fleet, &mut self.ledger());
        }
        watch.end(&mut self.ledger());
    }

    /// Puts a new fleet into service, before the first fault.
    async fn open(&self) {
        let builder = Redlock::builder().nodes(self.fleet.nodes().iter().cloned());
        let opened = match builder.restart_guard(self.sabotage.quarantine(self.longest_ttl)).build() {
            Ok(redlock) => redlock.initialize().await.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = opened {
            self.violation(Oracle::Progress, format!("the fleet cannot be opened: {error}"));
        }
    }

    /// Builds the `Redlock` of a process.
    fn redlock(&self, process: &Process) -> Result<Redlock, BuildError> {
        let builder = self.sabotage.builder(process).node_timeout(NODE_TIMEOUT).fencing(self.fencing);
        // Beyond the promises, it must break with the default settings.
        let builder = match self.scope {
            Scope::ClockJumps => builder,
            _ => builder.distrust_jumped_clocks(self.longest_ttl),
        };
        let builder = match self.scope {
            Scope::Guarded => builder.restart_guard(self.longest_ttl),
            _ => builder,
        };
        builder.build()
    }

    /// Runs one process.
    async fn program(&self, process: &Process, holds: Vec<Hold>) {
        let redlock = match self.redlock(process) {
            Ok(redlock) => redlock,
            Err(error) => {
                return self
                    .violation(Oracle::Progress, format!("process-{} cannot begin: {error}", process.number() + 1));
            }
        };
        let alone = self.fleet.processes().len() == 1;
        for hold in holds {
            match self.permits {
                None => self.hold(process, &redlock, hold).await,
                Some(permits) => self.hold_permit(process, &redlock, hold, permits).await,
            }
            if alone && self.scope == Scope::Healthy {
                // The keys that it released must not be in the way of its own next lock.
                let _ = redlock.close().await;
            }
        }
        if self.scope == Scope::Waiting {
            // If it is notified just after it has closed, the notification is lost, and the waiters behind it poll.
            sleep(Duration::from_secs(1)).await;
        }
        if self.scope == Scope::Orphans {
            // A process that lives on has time to repeat releases that failed.
            sleep(self.calm.saturating_sub(self.fleet.elapsed()) + Self::LIVES_ON).await;
        }
        self.ledger().closed.insert(process.number());
        // A node that fails just now may be owed releases: the keys that are left on the nodes show whether they
        // arrive.
        if let Err(error) = redlock.close().await
            && !matches!(error, CloseError::Unfinished { tasks: 0, .. })
        {
            self.violation(Oracle::BoundedWork, format!("process-{}: {error}", process.number() + 1));
        }
        let closed = self.sent();
        residue::released_everywhere(self, process.number());
        if self.sabotage == Sabotage::WorksOn {
            let _ = redlock.try_acquire("r0", Duration::from_secs(1)).await;
        }
        sleep(Self::ALL_OVER + self.longest_ttl).await;
        residue::silent_since(self, process.number(), closed);
    }

    /// Acquires, holds and releases one lock.
    async fn hold(&self, process: &Process, redlock: &Redlock, hold: Hold) {
        let millis = Duration::from_millis;
        let number = process.number();
        let names: Vec<_> = hold.resources().iter().map(|resource| format!("r{resource}")).collect();
        let options = hold.options();
        let (from, since, before) = (self.fleet.elapsed(), self.sent(), self.ledger().issued.len());
        let call = timeout(hold.patience.map_or(Duration::MAX, millis), redlock.acquire(&names, options));
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
            Some(Ok(Ok(lock))) => {
                judge::fenced(self, &lock, number, hold.resources(), before, from);
                self.held(process, lock, hold, since).await;
            }
            Some(Ok(Err(error))) => judge::refused_honestly(self, number, &hold, &names, since, &error),
            Some(Err(_)) | None => {}
        }
    }

    /// Checks that nothing is left when everything is over, and that a new caller gets the lock immediately.
    async fn afterwards(&self, seed: u64) {
        let clocks_jumped = self.clocks_jump;
        for node in self.fleet.nodes() {
            node.clear_faults();
            if !clocks_jumped && !Self::locks_on(node).is_empty() {
                let what = format!("keys outlived their TTL on {node:?}: {:?}", Self::locks_on(node));
                self.violation(Oracle::NoResidue, what);
            }
        }
        if clocks_jumped || self.sabotage == Sabotage::DeadMajority {
            return;
        }
        let builder = Redlock::builder().nodes(self.fleet.nodes().iter().cloned());
        let late = match builder.entropy(SeededEntropy::new(!seed)).fencing(self.fencing).build() {
            Ok(late) => late,
            Err(error) => return self.violation(Oracle::Progress, format!("nobody can come afterwards: {error}")),
        };
        for (resource, name) in ["r0", "r1"].into_iter().enumerate() {
            let (from, before) = (self.fleet.elapsed(), self.ledger().issued.len());
            match late.try_acquire(name, Duration::from_secs(1)).await {
                Ok(Some(lock)) => {
                    judge::fenced(self, &lock, self.fleet.processes().len(), [resource].into(), before, from);
                    drop(lock.release().await);
                }
                Ok(None) => self.violation(Oracle::Progress, "nobody is there, and yet it is held"),
                Err(error) => self.violation(Oracle::Progress, format!("nobody is there, and yet: {error}")),
            }
        }
        if let Some(permits) = self.permits {
            self.all_permits_are_free(&late, permits).await;
        }
        if late.close().await.is_err() || !self.fleet.nodes().iter().all(|node| Self::locks_on(node).is_empty()) {
            self.violation(Oracle::NoResidue, "a clean release has left a key");
        }
        // Owed releases are forgotten ten minutes after their TTL, however bad the network is.
        sleep(Duration::from_secs(700)).await;
        let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
        if tasks > 0 {
            self.violation(Oracle::BoundedWork, format!("{tasks} tasks outlived their work"));
        }
    }

    /// Returns the keys on a node that are locks.
    fn locks_on(node: &MockNode) -> Vec<String> {
        let is_lock = |key: &String| !key.contains(":fence") && !key.contains("restart-guard");
        node.resources().into_iter().filter(is_lock).collect()
    }

    fn played(&self) -> Played {
        let violations = self.take_violations();
        let ledger = std::mem::take(&mut *self.ledger());
        Played { ledger, records: self.fleet.records(<[Record]>::to_vec), violations }
    }
}
