//! The watchdog: extends locks while they are held, in one task for all locks of a runtime.
//!
//! On a runtime with several workers, a thread of the watchdog starts or wakes that task when a lock is due: the alarm.
//! Without it, a task that blocks its worker would stop all extends, however many workers are idle. Tokio runs the task
//! that a worker woke last only on that worker, and no other worker needs to be watching the timers.

use std::{
    collections::{BTreeSet, HashMap},
    ops::Bound,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::{
    runtime::{Handle, Id, RuntimeFlavor},
    select,
    sync::Notify,
    time::{Instant, sleep_until},
};

use crate::{
    algorithm::{Schedule, Upkeep},
    claim::Claimed,
};

/// Extends locks while they are held, each on the runtime on which it was acquired.
#[derive(Debug, Clone, Default)]
pub(crate) struct Watchdog(Arc<Shifts>);

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
    claimed: Arc<Claimed>,
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
    watchdog: Watchdog,
    runtime: Id,
    number: u64,
}

impl Watchdog {
    /// How many locks are extended at the same moment. When more are due, those go first whose validity ends first.
    const AT_ONCE: usize = 1024;

    /// How long the alarm sleeps while all locks are being extended. It is told when one is due.
    const LINGERS: Duration = Duration::from_secs(10);

    /// Extends this lock from now on; nothing if there is no use in it.
    pub(crate) fn watch(&self, claimed: &Arc<Claimed>, schedule: Schedule, acquired: Duration) -> Option<Watch> {
        let now = Instant::now();
        let mut watched =
            Watched { claimed: Arc::clone(claimed), schedule, acquired, next: Turn { due: now, ends: now } };
        watched.next = watched.turn(now, Duration::ZERO, Schedule::first)?;
        let number = self.0.numbers.fetch_add(1, Ordering::Relaxed);
        let runtime = claimed.runtime.id();
        let mut state = self.state();
        let shift = state.by_runtime.entry(runtime).or_insert_with(|| Shift::new(&claimed.runtime));
        let is_first = shift.insert(number, watched);
        let start = if is_first { self.arrange(&mut state, runtime) } else { None };
        drop(state);
        self.start(start, runtime);
        Some(Watch { watchdog: self.clone(), runtime, number })
    }

    /// Makes sure that somebody looks when the first lock of this runtime is due. Returns where to start a task for it.
    fn arrange(&self, state: &mut State, runtime: Id) -> Option<Handle> {
        let State { by_runtime, rings } = state;
        let shift = by_runtime.get_mut(&runtime)?;
        let due = shift.next_due()?;
        if shift.has_alarm {
            match rings {
                Some(rings) if *rings <= due => return None,
                Some(rings) => {
                    *rings = due;
                    self.0.earlier.notify_one();
                    return None;
                }
                None => {
                    let watchdog = self.clone();
                    let alarm = thread::Builder::new().name("redlock-extend".to_owned());
                    if alarm.spawn(move || watchdog.ring()).is_ok() {
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

    /// The alarm: wakes or starts the task of each runtime that has a lock that is due. Ends when no lock is left.
    fn ring(self) {
        let mut state = self.state();
        loop {
            let now = Instant::now();
            let mut start = Vec::new();
            let mut next = None;
            let mut is_over = true;
            for (runtime, shift) in state.by_runtime.iter_mut().filter(|(_, shift)| shift.has_alarm) {
                is_over = false;
                if shift.next_due().is_some_and(|due| due <= now) {
                    start.extend(shift.wake().map(|handle| (handle, *runtime)));
                }
                // What is due already is taken by the task, as soon as it can.
                next = [next, shift.due_after(now)].into_iter().flatten().min();
            }
            if start.is_empty() {
                let next = next.unwrap_or(now + Self::LINGERS);
                state.rings = (!is_over).then_some(next);
                if is_over {
                    return;
                }
                let sleeps = self.0.earlier.wait_timeout(state, next.saturating_duration_since(now));
                (state, _) = sleeps.unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            drop(state);
            start.into_iter().for_each(|(handle, runtime)| self.start(Some(handle), runtime));
            state = self.state();
        }
    }

    /// Not under the lock: if the runtime has ended, the task is dropped at once, and the shift with it.
    fn start(&self, runtime: Option<Handle>, id: Id) {
        if let Some(runtime) = runtime {
            runtime.spawn(OnDuty { watchdog: self.clone(), runtime: id, is_over: false }.run());
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut state = self.watchdog.state();
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
            has_alarm: runtime.runtime_flavor() != RuntimeFlavor::CurrentThread,
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
    watchdog: Watchdog,
    runtime: Id,
    is_over: bool,
}

impl OnDuty {
    async fn run(mut self) {
        let mut extending = FuturesUnordered::new();
        loop {
            let (changed, next_due) = {
                let mut state = self.watchdog.state();
                let Some(shift) = state.by_runtime.get_mut(&self.runtime) else { break };
                if shift.locks.is_empty() {
                    state.by_runtime.remove(&self.runtime);
                    break;
                }
                while extending.len() < Watchdog::AT_ONCE {
                    let Some((number, watched)) = shift.take_due() else { break };
                    extending.push(async move { (number, watched.extend().await) });
                }
                if shift.has_alarm && extending.is_empty() {
                    shift.has_task = false;
                    break;
                }
                let is_busy = extending.len() == Watchdog::AT_ONCE;
                (Arc::clone(&shift.changed), shift.next_due().filter(|_| !is_busy && !shift.has_alarm))
            };
            select! {
                Some((number, next)) = extending.next(), if !extending.is_empty() => {
                    let mut state = self.watchdog.state();
                    if let Some(shift) = state.by_runtime.get_mut(&self.runtime) {
                        shift.put_back(number, next);
                        if shift.has_alarm {
                            self.watchdog.arrange(&mut state, self.runtime);
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
            let ended = self.watchdog.state().by_runtime.remove(&self.runtime);
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
        let extended = match self.claimed.extend(self.schedule.ttl(self.age())).await {
            Ok(_) => true,
            Err(failure) => {
                self.claimed.standing.failed(failure);
                false
            }
        };
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
        let left = self.claimed.check().ok()?;
        // Without randomness there is no jitter.
        let random = self.claimed.fleet.random().unwrap_or_default();
        match next(&self.schedule, self.age(), left, random) {
            Upkeep::After(pause) => {
                let now = Instant::now();
                Some(Turn { due: (from + pause).max(now + shortest / 2), ends: now + left })
            }
            Upkeep::Over => {
                let resource = &self.claimed.resources;
                tracing::info!(%resource, ?left, "not extended any more: its longest lifetime ends");
                self.claimed.standing.lifetime_over();
                None
            }
        }
    }

    fn age(&self) -> Duration {
        self.claimed.fleet.clock.now().saturating_sub(self.acquired)
    }
}
