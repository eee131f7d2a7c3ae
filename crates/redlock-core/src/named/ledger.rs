//! The ledger of named locks: which caller holds which name, and what happened to the locks that the registry has
//! dropped.

use std::{
    collections::{HashMap, hash_map},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{
    Key, UnlockError,
    departures::{Departure, Departures},
    key::Caller,
};
use crate::{driver::LeaseState, names::Resource};

/// The ledger of named locks. No other mutex is locked while this one is.
#[derive(Default)]
pub(crate) struct Ledger(Mutex<Books>);

#[derive(Default)]
struct Books {
    /// The last caller that locked each name, unless it has unlocked it.
    held: HashMap<Resource, Held>,
    departures: Departures,
}

struct Held {
    caller: Caller,
    lease: Arc<LeaseState>,
}

impl Ledger {
    /// Records that a lock was acquired.
    pub(crate) fn opened(&self, key: &Key, lease: &Arc<LeaseState>) {
        let held = Held { caller: key.caller().clone(), lease: Arc::clone(lease) };
        let mut books = self.books();
        books.departures.take(key);
        let before = books.held.insert(key.name().clone(), held);
        drop(books);
        drop(before);
    }

    /// Records that its holder has removed a lock from the registry, to release it.
    pub(crate) fn taken(&self, key: &Key, lease: &Arc<LeaseState>) {
        let mut books = self.books();
        books.departures.take(key);
        books.close(key, lease);
    }

    /// Records that the registry has dropped a lock.
    pub(crate) fn departed(&self, key: &Key, lease: &Arc<LeaseState>) {
        let left = lease.validity.left(lease.fleet.clock.now());
        let was_valid = !left.is_zero();
        let mut books = self.books();
        books.close(key, lease);
        if books.held.get(key.name()).is_some_and(|held| held.caller == *key.caller()) {
            // Its holder has locked the name again, so nothing is to be reported about the earlier lock.
            return;
        }
        books.departures.note(key, Departure { deadline: lease.validity.deadline(), was_valid });
        drop(books);
        if was_valid {
            let resource = &lease.resources;
            tracing::warn!(%resource, ?left, "the registry of named locks has dropped a valid one: its TTL ends it");
        }
    }

    /// Returns how long this holder may rely on its lock from `now`.
    pub(crate) fn validity(&self, key: &Key, now: Duration) -> Duration {
        let books = self.books();
        match books.held.get(key.name()) {
            Some(held) if held.caller == *key.caller() => held.lease.validity.left(now),
            _ => books.departures.get(key).map_or(Duration::ZERO, |departure| departure.left(now)),
        }
    }

    /// Returns why there is nothing to unlock under a key. Reports a dropped lock once.
    pub(crate) fn why_not(&self, key: &Key, now: Duration) -> UnlockError {
        let name = key.name().clone();
        let mut books = self.books();
        if let Some(departure) = books.departures.take(key) {
            return match departure.was_valid {
                true => UnlockError::Evicted { name, left: departure.left(now) },
                false => UnlockError::Expired { name, ago: now.checked_sub(departure.deadline) },
            };
        }
        match books.held.get(key.name()) {
            Some(held) if held.caller != *key.caller() && !held.lease.validity.left(now).is_zero() => {
                UnlockError::HeldByAnother { name }
            }
            _ => UnlockError::NotLocked { name },
        }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Books {
    /// Removes the holder of a name, if this lock is its lock.
    fn close(&mut self, key: &Key, lease: &Arc<LeaseState>) {
        if let hash_map::Entry::Occupied(held) = self.held.entry(key.name().clone())
            && Arc::ptr_eq(&held.get().lease, lease)
        {
            held.remove();
        }
    }
}

impl Departure {
    /// Returns how long its holder may still rely on it.
    fn left(&self, now: Duration) -> Duration {
        if self.was_valid { self.deadline.saturating_sub(now) } else { Duration::ZERO }
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let books = self.books();
        f.debug_struct("Ledger").field("held", &books.held.len()).field("departed", &books.departures.len()).finish()
    }
}
