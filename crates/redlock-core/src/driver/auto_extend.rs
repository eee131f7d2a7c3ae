//! The watchdog: one task for each runtime extends all locks that were acquired there.
//!
//! On a runtime with several workers, a thread of the watchdog starts or wakes that task when a lock is due: the alarm.
//! Without it, a task that blocks its worker would stop all extends, however many workers are idle. Tokio runs the task
//! that a worker woke last only on that worker, and no other worker needs to be watching the timers.

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

use super::keep::Keep;
use crate::algorithm::{Schedule, Upkeep};

/// Extends locks while they are held, each on the runtime on which it was acquired.
#[derive(Debug, Default)]
pub(crate) struct Watchdog(Arc<Shifts>);

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.0.state().is_over = true;
        self.0.earlier.notify_one();
    }
}

#[derive(Debug, Default)]
struct Shifts {
    state: Mutex<State>,
    /// Wakes the alarm, which has to ring earlier than it thought.
    earlier: Condvar,
    numbers: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    /// The locks of each runtime that has any.
    by_runtime: HashMap<Id, Shift>,
    /// When the alarm rings next. None if its thread does not run.
    rings: Option<Instant>,
    /// Whether there will be no more locks.
    is_over: bool,
}

/// The locks of one runtime.
#[derive(Debug)]
struct Shift {
    runtime: Handle,
    /// Whether the alarm starts the task when a lock is due. Otherwise the task stays until there are no locks left.
    has_alarm: bool,
    has_task: bool,
    locks: HashMap<u64, Watched>,
    /// When each is to be extended next, but for those below and those that are being extended now.
    due: BTreeSet<(Instant, u64)>,
    /// Those for which it is time, by the end of their validity.
    overdue: BTreeSet<(Instant, u64)>,
    /// Wakes the task: a lock is due, or due earlier than the others, or there are no locks left.
    changed: Arc<Notify>,
}

/// A lock that is kept.
#[derive(Debug, Clone)]
struct Watched {
    kept: Arc<dyn Keep>,
    schedule: Schedule,
    /// When the lock was acquired, on the fleet's clock.
    acquired: Duration,
    next: Turn,
}

/// When a lock is extended next.
#[derive(Debug, Clone, Copy)]
struct Turn {
    due: Instant,
    /// About when its validity ends.
    ends: Instant,
}

/// Keeps one lock, until it is dropped.
#[derive(Debug)]
pub(crate) struct Watch {
    shifts: Arc<Shifts>,
    runtime: Id,
    number: u64,
}

impl Watchdog {
    /// Extends this lock from now on; nothing if there is no use in it.
    pub(crate) fn watch(&self, kept: Arc<dyn Keep>, schedule: Schedule, acquired: Duration) -> Option<Watch> {
        let now = Instant::now();
        let lives_on = kept.runtime().clone();
        let mut watched = Watched { kept, schedule, acquired, next: Turn { due: now, ends: now } };
        watched.next = watched.turn(now, Duration::ZERO, Schedule::first)?;
        let number = self.0.numbers.fetch_add(1, Ordering::Relaxed);
        let runtime = lives_on.id();
        let mut state = self.0.state();
        let shift = state.by_runtime.entry(runtime).or_insert_with(|| Shift::new(&lives_on));
        let is_first = shift.insert(number, watched);
        let start = if is_first { self.0.arrange(&mut state, runtime) } else { None };
        drop(state);
        self.0.start(start, runtime);
        Some(Watch { shifts: Arc::clone(&self.0), runtime, number })
    }
}

impl Shifts {
    /// How many locks are extended at the same moment. When more are due, those go first whose validity ends first.
    const AT_ONCE: usize = 1024;

    /// While extends are out, the alarm wakes a worker this often: one that waits for the answers may be blocked.
    const STEP: Duration = Duration::from_millis(50);

    /// How long the alarm stays when there is no lock. Locks that come and go would start a thread each.
    const LINGERS: Duration = Duration::from_secs(10);

    /// Makes sure that somebody looks when the first lock of this runtime is due. Returns where to start a task for it.
    fn arrange(self: &Arc<Self>, state: &mut State, runtime: Id) -> Option<Handle> {
        let State { by_runtime, rings, .. } = state;
        let shift = by_runtime.get_mut(&runtime)?;
        let due = shift.next_due()?;
        if shift.has_alarm {
            match rings {
                Some(rings) if *rings <= due => return None,
                Some(rings) => {
                    *rings = due;
                    self.earlier.notify_one();
                    return None;
                }
                None => {
                    let shifts = Arc::clone(self);
                    let alarm = thread::Builder::new().name("redlock-extend".to_owned());
                    if alarm.spawn(move || shifts.ring()).is_ok() {
                        *rings = Some(due);
                        return None;
                    }
                    // Without a thread, a task that stays is better than nothing.
                    shift.has_alarm = false;
                }
            }
        }
        shift.wake()
    }

    /// The alarm: wakes or starts the task of each runtime that has a lock that is due, and wakes those that wait for
    /// answers. Ends some time after the last lock.
    fn ring(self: &Arc<Self>) {
        let mut state = self.state();
        let mut last_lock = Instant::now();
        loop {
            let now = Instant::now();
            let mut start = Vec::new();
            let mut next = now + Self::LINGERS;
            for (runtime, shift) in state.by_runtime.iter_mut().filter(|(_, shift)| shift.has_alarm) {
                last_lock = now;
                if shift.has_task || shift.next_due().is_some_and(|due| due <= now) {
                    start.extend(shift.wake().map(|handle| (handle, *runtime)));
                    next = next.min(now + Self::STEP);
                }
                next = shift.due_after(now).map_or(next, |due| due.min(next));
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

    /// Not under the lock: if the runtime has ended, the task is dropped at once, and the shift with it.
    fn start(self: &Arc<Self>, runtime: Option<Handle>, id: Id) {
        if let Some(runtime) = runtime {
            let task = OnDuty { shifts: Arc::clone(self), runtime: id, is_over: false }.run();
            // What a program does with log messages may panic, and must not end the alarm.
            let _ = catch_unwind(AssertUnwindSafe(|| runtime.spawn(task)));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut state = self.shifts.state();
        let Some(shift) = state.by_runtime.get_mut(&self.runtime) else { return };
        let removed = shift.remove(self.number);
        if shift.locks.is_empty() && !shift.has_task {
            state.by_runtime.remove(&self.runtime);
        }
        drop(state);
        drop(removed);
    }
}

impl Shift {
    fn new(runtime: &Handle) -> Self {
        Self {
            runtime: runtime.clone(),
            // With one worker there is nobody else to run the task.
            has_alarm: runtime.metrics().num_workers() > 1,
            has_task: false,
            locks: HashMap::new(),
            due: BTreeSet::new(),
            overdue: BTreeSet::new(),
            changed: Arc::default(),
        }
    }

    /// Whether it is the first to be due.
    fn insert(&mut self, number: u64, watched: Watched) -> bool {
        let due = watched.next.due;
        self.due.insert((due, number));
        self.locks.insert(number, watched);
        self.next_due() == Some(due)
    }

    /// Wakes the task, or returns where to start it.
    fn wake(&mut self) -> Option<Handle> {
        if self.has_task {
            self.changed.notify_one();
            return None;
        }
        self.has_task = true;
        Some(self.runtime.clone())
    }

    fn remove(&mut self, number: u64) -> Option<Watched> {
        let watched = self.locks.remove(&number)?;
        self.due.remove(&(watched.next.due, number));
        self.overdue.remove(&(watched.next.ends, number));
        // A task that the alarm starts ends by itself. It is not woken here, or it might wait for this worker.
        if self.locks.is_empty() && !self.has_alarm {
            self.changed.notify_one();
        }
        Some(watched)
    }

    fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    fn due_after(&self, now: Instant) -> Option<Instant> {
        let later = (Bound::Excluded((now, u64::MAX)), Bound::Unbounded);
        self.due.range(later).next().map(|(due, _)| *due)
    }

    /// Takes a lock that is to be extended now.
    fn take_due(&mut self) -> Option<(u64, Watched)> {
        let now = Instant::now();
        while let Some((_, number)) = self.due.first().copied().filter(|(due, _)| *due <= now) {
            self.due.pop_first();
            if let Some(watched) = self.locks.get(&number) {
                self.overdue.insert((watched.next.ends, number));
            }
        }
        let (_, number) = self.overdue.pop_first()?;
        Some((number, self.locks.get(&number)?.clone()))
    }

    /// The lock was extended, and is to be extended again then, or never. Unless it was given back meanwhile.
    fn put_back(&mut self, number: u64, next: Option<Turn>) {
        match (next, self.locks.get_mut(&number)) {
            (Some(next), Some(watched)) => {
                watched.next = next;
                self.due.insert((next.due, number));
            }
            (None, _) => drop(self.remove(number)),
            (Some(_), None) => {}
        }
    }
}

/// The task of one shift.
struct OnDuty {
    shifts: Arc<Shifts>,
    runtime: Id,
    is_over: bool,
}

impl OnDuty {
    async fn run(mut self) {
        let mut extending = FuturesUnordered::new();
        loop {
            let (changed, next_due) = {
                let mut state = self.shifts.state();
                let Some(shift) = state.by_runtime.get_mut(&self.runtime) else { break };
                if shift.locks.is_empty() {
                    state.by_runtime.remove(&self.runtime);
                    break;
                }
                while extending.len() < Shifts::AT_ONCE {
                    let Some((number, watched)) = shift.take_due() else { break };
                    extending.push(async move { (number, watched.extend().await) });
                }
                if shift.has_alarm && extending.is_empty() {
                    shift.has_task = false;
                    break;
                }
                let is_busy = extending.len() == Shifts::AT_ONCE;
                (Arc::clone(&shift.changed), shift.next_due().filter(|_| !is_busy && !shift.has_alarm))
            };
            select! {
                Some((number, next)) = extending.next(), if !extending.is_empty() => {
                    let mut state = self.shifts.state();
                    if let Some(shift) = state.by_runtime.get_mut(&self.runtime) {
                        shift.put_back(number, next);
                        if shift.has_alarm {
                            self.shifts.arrange(&mut state, self.runtime);
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

impl Drop for OnDuty {
    /// The runtime has ended, or a seam panicked: these locks end with their validity, and whoever waits is told.
    fn drop(&mut self) {
        if !self.is_over {
            let ended = self.shifts.state().by_runtime.remove(&self.runtime);
            let locks = ended.as_ref().map_or(0, |shift| shift.locks.len());
            tracing::error!(locks, panicked = thread::panicking(), "locks are not extended any more");
            drop(ended);
        }
    }
}

impl Watched {
    /// Extends once. Returns when to do so again, if ever.
    async fn extend(&self) -> Option<Turn> {
        let began = Instant::now();
        let extended = Arc::clone(&self.kept).extend_once(self.schedule.ttl(self.age())).await;
        // Periods count from one begin to the next, and pauses after a failure from its end.
        let from = if extended { began } else { Instant::now() };
        self.turn(from, Schedule::SHORTEST, |schedule, age, left, random| schedule.next(age, left, extended, random))
    }

    /// The next turn: a pause after `from`, and no sooner than after the `shortest` from now.
    fn turn(
        &self,
        from: Instant,
        shortest: Duration,
        next: impl Fn(&Schedule, Duration, Duration, u64) -> Upkeep,
    ) -> Option<Turn> {
        let left = self.kept.left()?;
        let random = self.kept.random();
        match next(&self.schedule, self.age(), left, random) {
            Upkeep::After(pause) => {
                let now = Instant::now();
                Some(Turn { due: (from + pause).max(now + shortest / 2), ends: now + left })
            }
            Upkeep::Over => {
                let resource = self.kept.resources();
                tracing::info!(%resource, ?left, "not extended any more: its longest lifetime ends");
                self.kept.lifetime_over();
                None
            }
        }
    }

    fn age(&self) -> Duration {
        self.kept.now().saturating_sub(self.acquired)
    }
}
