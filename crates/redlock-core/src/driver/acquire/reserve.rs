//! Waits for several names: reserves each in turn, then locks all of them in one round.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;

use super::{
    Acquire,
    intent::Intent,
    lost_round::Failure,
    reservations::{Reservations, longest_wait},
};
use crate::{
    driver::held::Held,
    names::{Resource, Resources},
    report::AcquireError,
};

impl Acquire<'_> {
    /// Reserves the names in their order, and waits in the queue of each. Returns the reservations that were made
    /// before the last attempt, or before a name took too long, and the attempt and the failure with which the call
    /// continues.
    pub(super) async fn reserve(
        &self,
        mut attempt: u32,
        mut failure: Option<Failure>,
        attempts: &mut u32,
    ) -> Result<(Reservations, u32, Option<Failure>), AcquireError> {
        let mut reserved = Reservations::default();
        for (resource, key) in self.resources.iter().zip(&self.keys) {
            let one = |name: &Resource| Resources::from(name.clone());
            let until = self.elapsed().saturating_add(longest_wait(&self.terms));
            let reservation = Acquire {
                fleet: self.fleet,
                runtime: self.runtime.clone(),
                resources: one(resource),
                keys: one(key),
                counters: None,
                terms: self.terms,
                retry: self.retry.clone().with_timeout(until.min(self.retry.ends_after().unwrap_or(until))),
                is_shared: self.is_shared,
                intent: Intent::default(),
                auto_extend: self.reserve,
                reserve: None,
                is_reservation: true,
                semaphore: None,
                called: self.called,
            };
            let mut machine = reservation.machine(attempt, failure.take());
            let lock = reservation.steps(&mut machine, attempts).await?;
            attempt = machine.attempts();
            match lock {
                Ok(lock) => {
                    reserved.locks.push(lock);
                    failure = machine.into_failure();
                }
                Err(last) => {
                    failure = last;
                    break;
                }
            }
        }
        Ok((reserved, attempt, failure))
    }

    /// Releases reservations that are not needed any more, and notifies the next waiters of their names. Releases that
    /// take longer than `until` follow in the background.
    pub(super) async fn release_reservations(&self, reservations: Reservations, until: Duration) {
        let released = join_all(reservations.locks.into_iter().map(Held::release_reservation));
        let _ = timeout(self.left_until(Some(until)), released).await;
    }
}
