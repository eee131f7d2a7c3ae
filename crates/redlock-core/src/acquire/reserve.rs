//! Waiting for several names: in line for each of them, one after the other.

use super::Acquire;
use crate::{
    algorithm::AutoExtend, error::AcquireError, lock::Lock, resource::Resource, resources::Resources, waiting::Turn,
};

impl Acquire<'_> {
    /// Whether the attempt after this one (counted from 1) waits in line for each of several names.
    ///
    /// The last attempt asks for all names at once. So does every attempt where the clocks of the nodes are watched: a
    /// node is not asked for its time when a lock is taken over.
    pub(super) fn waits_in_order(&self, attempt: u32) -> bool {
        self.keys.len() > 1 && self.fleet.distrust.is_none() && !self.is_last(attempt.saturating_add(1))
    }

    /// Reserves the names one after the other, waiting in line for each, and then locks them all in one round.
    ///
    /// Calls for several names never wait for each other in a circle, because all of them reserve in the order of the
    /// names. A reservation is a lock of its own. It decides nothing: the last round takes the names over from it on
    /// each node, or asks for them where it was lost. `None` if that round was lost.
    pub(super) async fn attempts_in_order(&self, attempts: &mut u32) -> Result<Option<Lock>, AcquireError> {
        let Ok(schedule) = self.fleet.schedule(AutoExtend::default(), &self.terms) else { return Ok(None) };
        let mut reservations = Vec::with_capacity(self.keys.len());
        for (resource, key) in self.resources.iter().zip(&self.keys) {
            let one = |name: &Resource| Resources::from(name.clone());
            let reservation = Acquire {
                fleet: self.fleet,
                runtime: self.runtime.clone(),
                resources: one(resource),
                keys: one(key),
                counters: None,
                terms: self.terms,
                retry: self.retry.clone(),
                auto_extend: Some(schedule),
                is_reservation: true,
                called: self.called,
            };
            match reservation.attempts_at_once(attempts).await {
                Ok(lock) => reservations.extend(lock),
                Err(error) => return Err(error.asked_for(&self.resources)),
            }
        }
        let tokens = reservations.iter().map(Lock::token).copied().collect();
        let Ok(lock) = self.round(Turn::Reserved(tokens), true, &mut None, &mut None).await? else { return Ok(None) };
        reservations.into_iter().for_each(|reservation| lock.take_over(reservation));
        Ok(Some(lock))
    }
}
