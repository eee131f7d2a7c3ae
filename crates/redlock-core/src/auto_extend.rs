//! The watchdog: extends locks while they are held, in one task for all locks of a runtime.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::{
    runtime::Id,
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
    /// The locks of each runtime that has a task for them.
    by_runtime: Mutex<HashMap<Id, Shift>>,
    numbers: AtomicU64,
}

/// The locks of one runtime. Their task ends with the last of them.
#[derive(Debug, Default)]
struct Shift {
    locks: HashMap<u64, Watched>,
    /// When each is to be extended next, but for those below and those that are being extended now.
    due: BTreeSet<(Instant, u64)>,
    /// Those for which it is time, by the end of their validity.
    overdue: BTreeSet<(Instant, u64)>,
    /// Tells the task that the first of these has changed, or that there are no locks left.
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

    /// Extends this lock from now on; nothing if there is no use in it.
    pub(crate) fn watch(&self, claimed: &Arc<Claimed>, schedule: Schedule, acquired: Duration) -> Option<Watch> {
        let now = Instant::now();
        let mut watched =
            Watched { claimed: Arc::clone(claimed), schedule, acquired, next: Turn { due: now, ends: now } };
        watched.next = watched.turn(now, Duration::ZERO, Schedule::first)?;
        let number = self.0.numbers.fetch_add(1, Ordering::Relaxed);
        let watch = Watch { watchdog: self.clone(), runtime: claimed.runtime.id(), number };
        let is_first = {
            let mut shifts = self.shifts();
            let is_first = !shifts.contains_key(&watch.runtime);
            shifts.entry(watch.runtime).or_default().insert(number, watched);
            is_first
        };
        if is_first {
            // If the runtime has ended, this is dropped at once, and the shift with it.
            claimed.runtime.spawn(OnDuty { watchdog: self.clone(), runtime: watch.runtime, is_over: false }.run());
        }
        Some(watch)
    }

    fn shifts(&self) -> MutexGuard<'_, HashMap<Id, Shift>> {
        self.0.by_runtime.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut shifts = self.watchdog.shifts();
        let removed = shifts.get_mut(&self.runtime).and_then(|shift| shift.remove(self.number));
        drop(shifts);
        drop(removed);
    }
}

impl Shift {
    fn insert(&mut self, number: u64, watched: Watched) {
        let due = watched.next.due;
        self.due.insert((due, number));
        if self.next_due() == Some(due) {
            self.changed.notify_one();
        }
        self.locks.insert(number, watched);
    }

    fn remove(&mut self, number: u64) -> Option<Watched> {
        let watched = self.locks.remove(&number)?;
        self.due.remove(&(watched.next.due, number));
        self.overdue.remove(&(watched.next.ends, number));
        if self.locks.is_empty() {
            self.changed.notify_one();
        }
        Some(watched)
    }

    fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
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
        let Some(next) = next else {
            self.remove(number);
            return;
        };
        if let Some(watched) = self.locks.get_mut(&number) {
            watched.next = next;
            self.due.insert((next.due, number));
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
                let mut shifts = self.watchdog.shifts();
                let Some(shift) = shifts.get_mut(&self.runtime) else { break };
                if shift.locks.is_empty() {
                    shifts.remove(&self.runtime);
                    break;
                }
                while extending.len() < Watchdog::AT_ONCE {
                    let Some((number, watched)) = shift.take_due() else { break };
                    extending.push(async move { (number, watched.extend().await) });
                }
                let is_busy = extending.len() == Watchdog::AT_ONCE;
                (Arc::clone(&shift.changed), shift.next_due().filter(|_| !is_busy))
            };
            select! {
                Some((number, next)) = extending.next(), if !extending.is_empty() => {
                    if let Some(shift) = self.watchdog.shifts().get_mut(&self.runtime) {
                        shift.put_back(number, next);
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
            let ended = self.watchdog.shifts().remove(&self.runtime);
            let locks = ended.as_ref().map_or(0, |shift| shift.locks.len());
            tracing::error!(locks, panicked = std::thread::panicking(), "locks are not extended any more");
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
