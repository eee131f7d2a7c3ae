//! The actions of a process with a lock that it has acquired, and the checks along the way.

use std::{future::pending, ops::Range, pin::pin, time::Duration};

use redlock_core::{Lock, LockLost, testing::Clock as _};
use redlock_mock::Process;
use tokio::{
    select,
    time::{Instant, sleep, sleep_until},
};

use crate::{
    case::{End, Hold, NODE_TIMEOUT},
    judge,
    ledger::{Act, Holding},
    sabotage::Sabotage,
    stage::Stage,
    violation::Oracle,
};

impl Stage {
    /// Holds the lock, and releases it.
    pub(crate) async fn held(&self, process: &Process, mut lock: Lock, hold: Hold, since: usize) {
        judge::held_honestly(self, &lock, "acquired");
        judge::in_the_first_round(self, process.number(), since);
        let acquired = self.fleet.elapsed();
        let mut places = self.begins_to_believe(process, &lock, &hold);
        for (after, ttl) in &hold.extends {
            sleep(lock.validity() * *after as u32 / 100).await;
            self.extend(process, &mut lock, Duration::from_millis(*ttl), &hold).await;
            self.believes(process, &lock, &places);
        }
        if let Some(after) = hold.downgrades.filter(|_| !hold.shared) {
            sleep(lock.validity() * after as u32 / 100).await;
            places = self.downgrade(process, &mut lock, &hold, places).await;
        }
        match hold.end {
            End::Last | End::Dropped => self.hold_on(process, &lock, &hold, acquired, &places, None).await,
            End::After(millis) => {
                let end = Instant::now() + Duration::from_millis(millis);
                self.hold_on(process, &lock, &hold, acquired, &places, Some(end)).await;
            }
            End::Acts(every) => {
                while lock.check().is_ok() {
                    // Between the check and the act any process may be paused.
                    tokio::task::yield_now().await;
                    let act = Act { process: process.number(), resource: hold.resource, at: self.fleet.elapsed() };
                    self.ledger().acts.push(act);
                    sleep(Duration::from_millis(every)).await;
                }
            }
        }
        self.believes_no_longer(&places);
        match hold.end {
            End::Dropped => drop(lock),
            _ => {
                let now = self.fleet.elapsed();
                let (token, valid_until) = (*lock.token(), now + process.clock().true_time(lock.validity()));
                // If it is dropped, the release continues in the background: no caller gets its result, and `close`
                // waits for it.
                if let Some(released) = process.cancellable(lock.release()).await {
                    judge::released_honestly(self, process.number(), token, valid_until, &released);
                    self.in_time(process, now, NODE_TIMEOUT, "a release");
                }
            }
        }
    }

    /// Holds the lock until `end`, or until the last moment of its validity. The process must learn of a loss by then.
    async fn hold_on(
        &self,
        process: &Process,
        lock: &Lock,
        hold: &Hold,
        acquired: Duration,
        places: &Range<usize>,
        end: Option<Instant>,
    ) {
        let is_deaf = self.sabotage == Sabotage::HoldsTooLong;
        let mut lost = pin!(async {
            let loss = if is_deaf { pending().await } else { lock.lost().await };
            if self.sabotage == Sabotage::TellsLate {
                sleep(Duration::from_millis(5)).await;
            }
            loss
        });
        let is_over = |now: Instant| end.is_some_and(|end| end <= now);
        loop {
            let believed = self.believed(process, lock);
            let until = Instant::now() + believed;
            self.believes(process, lock, places);
            select! {
                biased;
                loss = &mut lost => {
                    judge::told_honestly(self, process, lock, hold, acquired, &loss);
                    if lock.check().is_ok() {
                        self.violation(Oracle::Honesty, format!("a lock is valid that is said to be lost: {loss}"));
                    }
                    if matches!(loss, LockLost::Expired { .. } | LockLost::LifetimeOver { .. }) {
                        sleep_until(end.map_or(until, |end| end.min(until))).await;
                    }
                }
                () = sleep_until(end.map_or(until, |end| end.min(until))) => {
                    if lock.check().is_ok() && !is_over(Instant::now()) {
                        continue;
                    }
                    if lock.check().is_err() && !is_deaf && !self.is_paused(process) {
                        let what = format!("process-{} missed that it lost r{}", process.number() + 1, hold.resource);
                        self.violation(Oracle::Honesty, what);
                    }
                }
            }
            if !believed.is_zero() && !is_over(until) && Instant::now() < until + Duration::from_millis(1) {
                judge::held_to_the_end(self, lock, until);
            }
            return;
        }
    }

    async fn extend(&self, process: &Process, lock: &mut Lock, ttl: Duration, hold: &Hold) {
        let (from, deadline) = (self.fleet.elapsed(), process.clock().now() + lock.validity());
        let extended = process.cancellable(lock.extend(ttl)).await;
        // Otherwise the deadline may be raised at any time.
        let deadline = Some(deadline).filter(|_| hold.kept.is_none());
        match extended {
            Some(extended) => {
                judge::extended_honestly(self, process, lock, deadline, &extended);
                self.in_time(process, from, NODE_TIMEOUT, "an extend");
            }
            None => judge::deadline_stands(self, process, lock, deadline, "it was dropped"),
        }
    }

    /// Makes the lock shared. Whatever the outcome, the process is a reader from the start of the call. Returns the
    /// positions in the ledger.
    async fn downgrade(&self, process: &Process, lock: &mut Lock, hold: &Hold, places: Range<usize>) -> Range<usize> {
        self.believes_no_longer(&places);
        if lock.check().is_err() {
            return places;
        }
        let from = self.fleet.elapsed();
        let reads = Hold { shared: true, ..hold.clone() };
        let places = self.begins_to_believe(process, lock, &reads);
        if process.cancellable(lock.downgrade()).await.is_some_and(|downgraded| downgraded.is_ok()) {
            judge::held_honestly(self, lock, "downgraded");
        }
        self.in_time(process, from, NODE_TIMEOUT, "a downgrade");
        self.believes(process, lock, &places);
        places
    }

    /// Records that the process believes in its lock from now on, until the validity ends. Returns the positions in the
    /// ledger.
    fn begins_to_believe(&self, process: &Process, lock: &Lock, hold: &Hold) -> Range<usize> {
        let from = self.fleet.elapsed();
        let until = from + self.believed(process, lock);
        let (process, token, is_shared) = (process.number(), *lock.token(), hold.shared);
        let mut ledger = self.ledger();
        let first = ledger.holdings.len();
        let holding = |resource| Holding { process, resource, token, is_shared, from, until };
        ledger.holdings.extend(hold.resources().into_iter().map(holding));
        first..ledger.holdings.len()
    }

    /// Updates until when the process believes in its lock, by what the library says now.
    fn believes(&self, process: &Process, lock: &Lock, places: &Range<usize>) {
        let now = self.fleet.elapsed();
        let until = now + self.believed(process, lock);
        for holding in self.ledger().holdings.get_mut(places.clone()).into_iter().flatten() {
            // It resumed too late, and lost the lock before it checked the lock again.
            holding.until = if until > now { until } else { holding.until.min(now) };
        }
    }

    fn believes_no_longer(&self, places: &Range<usize>) {
        let now = self.fleet.elapsed();
        for holding in self.ledger().holdings.get_mut(places.clone()).into_iter().flatten() {
            holding.until = holding.until.min(now);
        }
    }

    /// Returns for how long from now, in true time, the process believes in its lock.
    fn believed(&self, process: &Process, lock: &Lock) -> Duration {
        process.clock().true_time(self.sabotage.believed(lock.validity()))
    }
}
