//! The keeper of auto-extend: one task for each runtime extends all locks that were acquired there.
//!
//! On a runtime with several workers, a thread of the keeper, the alarm, starts or notifies that task when a lock is
//! due. Without it, a task that blocks its worker could stop all extends although other workers are idle: Tokio runs
//! the task that a worker scheduled last only on that worker, and possibly no other worker watches the timers.

mod kept_lock;

use std::{
    collections::{BTreeSet, HashMap},
    ops::Bound,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::{
    runtime::{Handle, Id},
    select,
    sync::Notify,
    time::{Instant, sleep_until},
};

use self::kept_lock::{KeptLock, NextExtend};
use super::keep::Keep;
use crate::algorithm::Schedule;

/// Extends locks while they are held, each on the runtime on which it was acquired.
#[derive(Debug, Default)]
pub(crate) struct Keeper(Arc<Groups>);

impl Drop for Keeper {
    fn drop(&mut self) {
        self.0.state().is_over = true;
        self.0.earlier.notify_one();
    }
}

#[derive(Debug, Default)]
struct Groups {
    state: Mutex<State>,
    /// Notifies the alarm, which has to ring earlier.
    earlier: Condvar,
    numbers: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    /// The locks of each runtime that has any.
    by_runtime: HashMap<Id, Group>,
    /// When the alarm rings next. `None` if its thread does not run.
    rings: Option<Instant>,
    /// Whether the keeper was dropped, so that no more locks follow.
    is_over: bool,
}

/// The locks of one runtime.
#[derive(Debug)]
struct Group {
    runtime: Handle,
    /// Whether the alarm starts the task when a lock is due. Otherwise the task runs until there are no locks left.
    has_alarm: bool,
    has_task: bool,
    locks: HashMap<u64, KeptLock>,
    /// When each lock is extended next, except the overdue locks and the locks that are being extended now.
    due: BTreeSet<(Instant, u64)>,
    /// The locks that are due, by the end of their validity.
    overdue: BTreeSet<(Instant, u64)>,
    /// Notifies the task when a lock is due, when a lock is due earlier than the others, or when there are no locks
    /// left.
    changed: Arc<Notify>,
}

/// Extends one lock until it is dropped.
#[derive(Debug)]
pub(crate) struct KeepGuard {
    groups: Arc<Groups>,
    runtime: Id,
    number: u64,
}

impl Keeper {
    /// Extends this lock from now on. `None` if it is lost already or its longest lifetime ends.
    pub(crate) fn watch(&self, kept: Arc<dyn Keep>, schedule: Schedule, acquired: Duration) -> Option<KeepGuard> {
        let now = Instant::now();
        let lives_on = kept.runtime().clone();
        let mut kept_lock = KeptLock { kept, schedule, acquired, next: NextExtend { due: now, ends: now } };
        kept_lock.next = kept_lock.turn(now, Duration::ZERO, Schedule::first)?;
        let number = self.0.numbers.fetch_add(1, Ordering::Relaxed);
        let runtime = lives_on.id();
        let mut state = self.0.state();
        let group = state.by_runtime.entry(runtime).or_insert_with(|| Group::new(&lives_on));
        let is_first = group.insert(number, kept_lock);
        let start = if is_first { self.0.arrange(&mut state, runtime) } else { None };
        drop(state);
        self.0.start(start, runtime);
        Some(KeepGuard { groups: Arc::clone(&self.0), runtime, number })
    }
}

impl Groups {
    /// How many locks are extended at the same time. If more are due, the locks whose validity ends first go first.
    const AT_ONCE: usize = 1024;

    /// How often the alarm notifies the task while extends are in flight, since the worker that waits for the answers
    /// may be blocked.
    const STEP: Duration = Duration::from_millis(50);

    /// How long the alarm stays without a lock, so that short locks do not start a thread each.
    const LINGERS: Duration = Duration::from_secs(10);

    /// Makes sure that the alarm or a task runs when the first lock of this runtime is due. Returns the runtime if a
    /// task has to be started there.
    fn arrange(self: &Arc<Self>, state: &mut State, runtime: Id) -> Option<Handle> {
        let State { by_runtime, rings, .. } = state;
        let group = by_runtime.get_mut(&runtime)?;
        let due = group.next_due()?;
        if group.has_alarm {
            match rings {
                Some(rings) if *rings <= due => return None,
                Some(rings) => {
                    *rings = due;
                    self.earlier.notify_one();
                    return None;
                }
                None => {
                    let groups = Arc::clone(self);
                    let alarm = thread::Builder::new().name("redlock-extend".to_owned());
                    if alarm.spawn(move || groups.ring()).is_ok() {
                        *rings = Some(due);
                        return None;
                    }
                    // Without a thread, use a task that stays.
                    group.has_alarm = false;
                }
            }
        }
        group.wake()
    }

    /// Runs the alarm: notifies or starts the task of each runtime that has a lock that is due, and notifies the tasks
    /// that wait for answers. Ends some time after the last lock.
    fn ring(self: &Arc<Self>) {
        let mut state = self.state();
        let mut last_lock = Instant::now();
        loop {
            let now = Instant::now();
            let mut start = Vec::new();
            let mut next = now + Self::LINGERS;
            for (runtime, group) in state.by_runtime.iter_mut().filter(|(_, group)| group.has_alarm) {
                last_lock = now;
                if group.has_task || group.next_due().is_some_and(|due| due <= now) {
                    start.extend(group.wake().map(|handle| (handle, *runtime)));
                    next = next.min(now + Self::STEP);
                }
                next = group.due_after(now).map_or(next, |due| due.min(next));
            }
            if !start.is_empty() {
                drop(state);
                start.into_iter().for_each(|(handle, runtime)| self.start(Some(handle), runtime));
                state = self.state();
            }
            if state.is_over || now.saturating_duration_since(last_lock) >= Self::LINGERS {
                state.rings = None;
                return;
            }
            state.rings = Some(next);
            let sleeps = self.earlier.wait_timeout(state, next.saturating_duration_since(Instant::now()));
            (state, _) = sleeps.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Call without the lock: if the runtime has ended, the task is dropped at once, and its drop takes the lock.
    fn start(self: &Arc<Self>, runtime: Option<Handle>, id: Id) {
        if let Some(runtime) = runtime {
            let task = ExtendTask { groups: Arc::clone(self), runtime: id, is_over: false }.run();
            // The program's handler of log messages may panic, which must not end the alarm.
            let _ = catch_unwind(AssertUnwindSafe(|| runtime.spawn(task)));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for KeepGuard {
    fn drop(&mut self) {
        let mut state = self.groups.state();
        let Some(group) = state.by_runtime.get_mut(&self.runtime) else { return };
        let removed = group.remove(self.number);
        if group.locks.is_empty() && !group.has_task {
            state.by_runtime.remove(&self.runtime);
        }
        drop(state);
        drop(removed);
    }
}

impl Group {
    fn new(runtime: &Handle) -> Self {
        Self {
            runtime: runtime.clone(),
            // With one worker, no other worker could run the task.
            has_alarm: runtime.metrics().num_workers() > 1,
            has_task: false,
            locks: HashMap::new(),
            due: BTreeSet::new(),
            overdue: BTreeSet::new(),
            changed: Arc::default(),
        }
    }

    /// Adds a lock. Returns whether it is the first to be due.
    fn insert(&mut self, number: u64, kept_lock: KeptLock) -> bool {
        let due = kept_lock.next.due;
        self.due.insert((due, number));
        self.locks.insert(number, kept_lock);
        self.next_due() == Some(due)
    }

    /// Notifies the task, or returns the runtime on which to start it.
    fn wake(&mut self) -> Option<Handle> {
        if self.has_task {
            self.changed.notify_one();
            return None;
        }
        self.has_task = true;
        Some(self.runtime.clone())
    }

    fn remove(&mut self, number: u64) -> Option<KeptLock> {
        let kept_lock = self.locks.remove(&number)?;
        self.due.remove(&(kept_lock.next.due, number));
        self.overdue.remove(&(kept_lock.next.ends, number));
        // A task that the alarm starts ends by itself. If it were notified here, it might wait for this worker.
        if self.locks.is_empty() && !self.has_alarm {
            self.changed.notify_one();
        }
        Some(kept_lock)
    }

    fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    fn due_after(&self, now: Instant) -> Option<Instant> {
        let later = (Bound::Excluded((now, u64::MAX)), Bound::Unbounded);
        self.due.range(later).next().map(|(due, _)| *due)
    }

    /// Takes a lock that is due.
    fn take_due(&mut self) -> Option<(u64, KeptLock)> {
        let now = Instant::now();
        while let Some((_, number)) = self.due.first().copied().filter(|(due, _)| *due <= now) {
            self.due.pop_first();
            if let Some(kept_lock) = self.locks.get(&number) {
                self.overdue.insert((kept_lock.next.ends, number));
            }
        }
        let (_, number) = self.overdue.pop_first()?;
        Some((number, self.locks.get(&number)?.clone()))
    }

    /// Puts a lock back that was extended, if it was not released meanwhile. Removes it if there is no next extend.
    fn put_back(&mut self, number: u64, next: Option<NextExtend>) {
        match (next, self.locks.get_mut(&number)) {
            (Some(next), Some(kept_lock)) => {
                kept_lock.next = next;
                self.due.insert((next.due, number));
            }
            (None, _) => drop(self.remove(number)),
            (Some(_), None) => {}
        }
    }
}

/// The task that extends the locks of one runtime.
struct ExtendTask {
    groups: Arc<Groups>,
    runtime: Id,
    is_over: bool,
}

impl ExtendTask {
    async fn run(mut self) {
        let mut extending = FuturesUnordered::new();
        loop {
            let (changed, next_due) = {
                let mut state = self.groups.state();
                let Some(group) = state.by_runtime.get_mut(&self.runtime) else { break };
                if group.locks.is_empty() {
                    state.by_runtime.remove(&self.runtime);
                    break;
                }
                while extending.len() < Groups::AT_ONCE {
                    let Some((number, kept_lock)) = group.take_due() else { break };
                    extending.push(async move { (number, kept_lock.extend().await) });
                }
                if group.has_alarm && extending.is_empty() {
                    group.has_task = false;
                    break;
                }
                let is_busy = extending.len() == Groups::AT_ONCE;
                (Arc::clone(&group.changed), group.next_due().filter(|_| !is_busy && !group.has_alarm))
            };
            select! {
                Some((number, next)) = extending.next(), if !extending.is_empty() => {
                    let mut state = self.groups.state();
                    if let Some(group) = state.by_runtime.get_mut(&self.runtime) {
                        group.put_back(number, next);
                        if group.has_alarm {
                            self.groups.arrange(&mut state, self.runtime);
                        }
                    }
                }
                () = sleep_until(next_due.unwrap_or_else(Instant::now)), if next_due.is_some() => {}
                () = changed.notified() => {}
            }
        }
        self.is_over = true;
    }
}

impl Drop for ExtendTask {
    /// The runtime has ended, or a node, clock or observer panicked. The locks end with their validity, which notifies
    /// callers that wait for their loss.
    fn drop(&mut self) {
        if !self.is_over {
            let ended = self.groups.state().by_runtime.remove(&self.runtime);
            let locks = ended.as_ref().map_or(0, |group| group.locks.len());
            tracing::error!(locks, panicked = thread::panicking(), "locks are not extended any more");
            drop(ended);
        }
    }
}
