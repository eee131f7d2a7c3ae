//! Delivers the releases that a node has not answered: one task for each such node.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::{FutureExt as _, StreamExt as _, stream::FuturesUnordered};
use tokio::{
    runtime::Handle,
    select,
    time::{Instant, sleep_until, timeout},
};

use super::Fleet;
use crate::{
    driver::{member::Member, owed::ledger::Entry},
    node::{LATE_LIMIT, NodeError, NodeErrorKind, ReleaseAnswer, ReleaseRequest},
    report::{Event, NodeRequest},
};

impl Fleet {
    /// The first and the longest pause after a release that failed. The pause doubles in between.
    const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(400));

    /// How many releases are in flight at once to a node that answers.
    const WINDOW: usize = 64;

    /// Enters a release into the ledger of a node, and makes sure that a task delivers it.
    pub(crate) fn owe(self: &Arc<Self>, number: usize, entry: Entry, runtime: &Handle) {
        let Some(member) = self.members.get(number) else { return };
        let dropped = member.owed.state().ledger.add(entry);
        if dropped > 0 {
            tracing::warn!(
                node = member.node.name(),
                dropped,
                "too many releases are owed to the node: the oldest are dropped, and their keys expire by themselves"
            );
        }
        self.report_owed(member);
        member.owed.arrived.notify_one();
        self.serve(number, runtime);
        // The other runtime may have ended.
        if let Ok(current) = Handle::try_current() {
            self.serve(number, &current);
        }
    }

    fn report_owed(&self, member: &Member) {
        if !self.observers.are_there() {
            return;
        }
        let mut state = member.owed.state();
        let now = state.ledger.unsettled();
        let before = std::mem::replace(&mut state.reported, now);
        drop(state);
        if before != now {
            self.observers.tell(&Event::ReleasesOwed { node: member.node.name(), before, now });
        }
    }

    /// Whether any node is owed a release.
    pub(crate) fn owes(&self) -> bool {
        self.members.iter().any(|member| member.owed.count() > 0)
    }

    /// Waits until nothing is owed to any node: until `limit` after the start, of which `passed` is over, and for at
    /// most `FAILING` for a node that fails. Returns what is left, by node.
    pub(crate) async fn settle(self: &Arc<Self>, limit: Duration, passed: Duration) -> Vec<(String, usize)> {
        const FAILING: Duration = Duration::from_secs(2);
        let mut owed = Vec::new();
        let started = Instant::now();
        for (number, member) in self.members.iter().enumerate() {
            self.serve(number, &Handle::current());
            let settled = async {
                // In short steps: a node may begin to fail during the wait.
                while timeout(Self::RETRY.1, member.owed.until_settled()).await.is_err() {
                    self.serve(number, &Handle::current());
                    if member.is_failing() && started.elapsed() >= FAILING {
                        return;
                    }
                }
            };
            let left = limit.saturating_sub(passed).saturating_sub(started.elapsed());
            let _ = timeout(left, settled).await;
            match member.owed.count() {
                0 => {}
                count => owed.push((member.node.name().to_owned(), count)),
            }
        }
        owed
    }

    /// Starts a task that delivers the releases owed to a node, if there are any and no task does so already.
    pub(crate) fn serve(self: &Arc<Self>, number: usize, runtime: &Handle) {
        let Some(member) = self.members.get(number) else { return };
        {
            let mut state = member.owed.state();
            if state.is_served || state.ledger.is_empty() {
                return;
            }
            state.is_served = true;
        }
        let serving = Serving { fleet: Arc::clone(self), number, is_over: false };
        // On a runtime that has ended, the task is dropped at once, and the next request to the node starts another.
        runtime.spawn(serving.deliver());
    }
}

impl Drop for Fleet {
    /// Owed releases are not delivered any more: their keys expire.
    fn drop(&mut self) {
        for member in &self.members {
            let before = member.owed.state().reported;
            if before > 0 {
                self.observers.tell(&Event::ReleasesOwed { node: member.node.name(), before, now: 0 });
            }
        }
    }
}

/// The task that delivers the releases that are owed to one node.
struct Serving {
    fleet: Arc<Fleet>,
    number: usize,
    is_over: bool,
}

impl Serving {
    async fn deliver(mut self) {
        let fleet = Arc::clone(&self.fleet);
        let Some(member) = fleet.members.get(self.number) else { return };
        let mut pause = Fleet::RETRY.0;
        // After a failure, nothing is sent before this time.
        let mut resumes = Instant::now();
        let mut out = FuturesUnordered::new();
        // When a timer has ended, its time has come, also on a clock that lags behind Tokio's timers.
        let mut reached = Duration::ZERO;
        loop {
            // One release at a time while the node fails, many once it answers.
            let most = if member.is_failing() && !member.fails_in_parts() { 1 } else { Fleet::WINDOW };
            let is_paused = Instant::now() < resumes;
            let room = if is_paused { 0 } else { most.saturating_sub(out.len()) };
            let now = fleet.clock.now();
            reached = reached.max(now);
            let (due, wait) = {
                let mut state = member.owed.state();
                let due = state.ledger.take_due(now, reached, room);
                let wait = state.ledger.due_in(reached);
                if wait.is_none() && due.is_empty() && out.is_empty() {
                    // Under the lock: a release that is entered after this starts another task.
                    state.is_served = false;
                    self.is_over = true;
                    break;
                }
                (due, wait)
            };
            if due.is_empty() && out.is_empty() {
                // Some keys may have expired.
                fleet.report_owed(member);
            }
            out.extend(due.into_iter().map(|(number, entry)| send(&fleet, member, number, entry)));
            let next = wait.filter(|_| out.len() < most).map(|wait| (Instant::now() + wait).max(resumes));
            select! {
                // In this order, so that a simulation runs the same way each time.
                biased;
                Some(answered) = out.next() => {
                    let mut answered = Some(answered);
                    let mut all_failed = true;
                    while let Some((number, answer)) = answered {
                        let has_failed = !settle(member, number, answer, fleet.clock.now());
                        all_failed &= has_failed;
                        if !has_failed {
                            pause = Fleet::RETRY.0;
                        } else if Instant::now() >= resumes && !member.fails_in_parts() {
                            resumes = Instant::now() + pause;
                            pause = (pause * 2).min(Fleet::RETRY.1);
                        }
                        answered = out.next().now_or_never().flatten();
                    }
                    if all_failed && member.fails_in_parts() {
                        // All members may be down.
                        resumes = resumes.max(Instant::now() + Fleet::RETRY.0);
                    }
                    fleet.report_owed(member);
                    if member.owed.count() == 0 {
                        member.owed.settled.notify_waiters();
                    }
                }
                () = sleep_until(next.unwrap_or(resumes)), if next.is_some() => {
                    reached = reached.saturating_add(wait.unwrap_or_default());
                }
                () = member.owed.arrived.notified(), if out.len() < most => {}
                () = member.owed.answers.notified(), if is_paused => resumes = Instant::now(),
            }
        }
        member.owed.settled.notify_waiters();
        fleet.report_owed(member);
    }
}

/// Sends a release. Returns its number, and the node's answer.
async fn send(fleet: &Fleet, member: &Member, number: u64, entry: Entry) -> (u64, Result<ReleaseAnswer, NodeError>) {
    let request = ReleaseRequest::new(entry.keys, entry.token);
    let answer = fleet.call(member, NodeRequest::Release, member.node.release(&request));
    // A backend that panics is a node that fails.
    let answer = match timeout(LATE_LIMIT, AssertUnwindSafe(answer).catch_unwind()).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => Err(NodeError::new(NodeErrorKind::Other, "the node panicked")),
        Err(_) => Err(NodeError::no_answer(LATE_LIMIT)),
    };
    (number, member.observe(answer))
}

/// Records an answer in the ledger. Returns whether the release is delivered.
fn settle(member: &Member, number: u64, answer: Result<ReleaseAnswer, NodeError>, now: Duration) -> bool {
    let mut state = member.owed.state();
    match answer {
        Ok(_) => state.ledger.delivered(number, now),
        // The key has another type, so it does not hold our token.
        Err(error) if error.kind() == NodeErrorKind::WrongType => state.ledger.delivered(number, now),
        Err(_) => {
            // The others of a cluster need not wait for this one.
            let pause = if member.fails_in_parts() { Fleet::RETRY.1 } else { Duration::ZERO };
            state.ledger.failed(number, pause, now);
            return false;
        }
    }
    true
}

impl Drop for Serving {
    /// If it is dropped with its runtime, another task may deliver the rest.
    fn drop(&mut self) {
        let Some(member) = self.fleet.members.get(self.number).filter(|_| !self.is_over) else { return };
        let mut state = member.owed.state();
        state.is_served = false;
        state.ledger.nothing_is_out();
    }
}
