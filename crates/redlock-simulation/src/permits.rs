//! The actions of a process with a permit, and an invariant checker: there are never more holders than permits, and
//! never two of one slot.

use std::{fmt, pin::pin, time::Duration};

use redlock_core::{AcquireError, Permit, Redlock};
use redlock_mock::Process;
use tokio::{
    select,
    time::{Instant, sleep, sleep_until, timeout},
};

use crate::{
    case::{End, Hold},
    ledger::{Call, Ledger, Outcome, PermitHolding},
    stage::Stage,
    violation::Oracle,
};

/// Permits that must not be held at the same time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Crowd {
    /// More holders than permits.
    TooMany(Vec<PermitHolding>),
    /// Two holders of one slot.
    OneSlot(Vec<PermitHolding>),
}

impl Crowd {
    /// Returns all of these holders.
    pub fn holders(&self) -> &[PermitHolding] {
        match self {
            Self::TooMany(holders) | Self::OneSlot(holders) => holders,
        }
    }

    /// Returns the time in which all of them hold a permit.
    pub fn time(&self) -> (Duration, Duration) {
        let holders = self.holders();
        let from = holders.iter().map(|holder| holder.from).max().unwrap_or_default();
        (from, holders.iter().map(|holder| holder.until).min().unwrap_or_default())
    }
}

impl Ledger {
    /// Returns every time at which there is one holder too many, or two of one slot.
    #[must_use]
    pub fn crowds(&self) -> Vec<Crowd> {
        let mut crowds = Vec::new();
        let held = |holding: &&PermitHolding| holding.from < holding.until;
        for last in self.permits.iter().filter(held) {
            let earlier = |holding: &&PermitHolding| {
                let is_there = holding.from <= last.from && last.from < holding.until;
                holding.semaphore == last.semaphore && is_there && !std::ptr::eq(*holding, last)
            };
            let others: Vec<_> = self.permits.iter().filter(held).filter(earlier).copied().collect();
            if others.len() >= last.permits as usize {
                crowds.push(Crowd::TooMany(others.iter().copied().chain([*last]).collect()));
            }
            let same = others.into_iter().filter(|other| other.slot == last.slot);
            crowds.extend(same.map(|other| Crowd::OneSlot(vec![other, *last])));
        }
        crowds
    }
}

impl fmt::Display for Crowd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = self.holders().first();
        match self {
            Self::TooMany(holders) => {
                write!(f, "{} processes hold {} permits", holders.len(), first.map_or(0, |first| first.permits))?;
            }
            Self::OneSlot(_) => write!(f, "two processes hold slot {}", first.map_or(0, |first| first.slot))?,
        }
        self.holders().iter().try_for_each(|holder| write!(f, "; {holder}"))
    }
}

impl fmt::Display for PermitHolding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { process, slot, from, until, .. } = self;
        write!(f, "process-{} holds slot {slot} from {from:?} to {until:?}", process + 1)
    }
}

impl Stage {
    /// Acquires a permit, holds it and releases it.
    pub(crate) async fn hold_permit(&self, process: &Process, redlock: &Redlock, hold: Hold, permits: u32) {
        let (number, from, name) = (process.number(), self.fleet.elapsed(), format!("r{}", hold.resource));
        let patience = hold.patience.map_or(Duration::MAX, Duration::from_millis);
        let call = timeout(patience, redlock.acquire_permit(name, permits, hold.options()));
        let answer = process.cancellable(call).await;
        let outcome = match &answer {
            Some(Ok(Ok(_))) => Outcome::Acquired,
            Some(Ok(Err(_))) => Outcome::Refused,
            Some(Err(_)) | None => Outcome::Dropped,
        };
        let call = Call { process: number, resource: hold.resource, from, to: self.fleet.elapsed(), outcome };
        self.ledger().calls.push(call);
        let mut permit = match answer {
            Some(Ok(Ok(permit))) => permit,
            Some(Ok(Err(error @ AcquireError::Permits(_)))) => {
                return self.violation(Oracle::Honesty, format!("all use the same number, and yet: {error}"));
            }
            _ => return,
        };
        let (slot, token, from) = (permit.slot(), *permit.token(), self.fleet.elapsed());
        if slot >= permits {
            self.violation(Oracle::Honesty, format!("slot {slot} of {permits}"));
        }
        let semaphore = hold.resource;
        let holding = PermitHolding { process: number, semaphore, permits, slot, token, from, until: from };
        let place = {
            let mut ledger = self.ledger();
            ledger.permits.push(holding);
            ledger.permits.len() - 1
        };
        self.believes_in(process, &permit, place);
        for (after, ttl) in &hold.extends {
            sleep(permit.validity() * *after as u32 / 100).await;
            let _ = process.cancellable(permit.extend(Duration::from_millis(*ttl))).await;
            self.believes_in(process, &permit, place);
        }
        let end = match hold.end {
            End::After(millis) => Some(Instant::now() + Duration::from_millis(millis)),
            End::Last | End::Dropped | End::Acts(_) => None,
        };
        self.hold_on_to_permit(process, &permit, place, end).await;
        {
            let now = self.fleet.elapsed();
            if let Some(holding) = self.ledger().permits.get_mut(place) {
                holding.until = holding.until.min(now);
            }
        }
        match hold.end {
            End::Dropped => drop(permit),
            _ => drop(process.cancellable(permit.release()).await),
        }
    }

    async fn hold_on_to_permit(&self, process: &Process, permit: &Permit, place: usize, end: Option<Instant>) {
        let mut lost = pin!(permit.lost());
        loop {
            let until = self.believes_in(process, permit, place);
            let wakes = end.map_or(until, |end| end.min(until));
            select! {
                biased;
                _ = &mut lost => return,
                () = sleep_until(wakes) => {
                    if permit.check().is_err() || end.is_some_and(|end| end <= Instant::now()) {
                        return;
                    }
                }
            }
        }
    }

    /// Updates until when the process believes in its permit, according to the library.
    fn believes_in(&self, process: &Process, permit: &Permit, place: usize) -> Instant {
        let (now, left) = (self.fleet.elapsed(), process.clock().true_time(self.sabotage.believed(permit.validity())));
        if let Some(holding) = self.ledger().permits.get_mut(place) {
            // The process continued too late, and lost the permit before it checked it again.
            holding.until = if left.is_zero() { holding.until.min(now) } else { now + left };
        }
        Instant::now() + left
    }

    /// Checks that all permits are free when everything is over.
    pub(crate) async fn all_permits_are_free(&self, redlock: &Redlock, permits: u32) {
        let mut held = Vec::new();
        for _ in 0..permits {
            match redlock.try_acquire_permit("r0", permits, Duration::from_secs(1)).await {
                Ok(Some(permit)) => held.push(permit),
                Ok(None) => self.violation(Oracle::Progress, "nobody is there, and yet no permit is free"),
                Err(error) => self.violation(Oracle::Progress, format!("nobody is there, and yet: {error}")),
            }
        }
        for permit in held {
            let _ = permit.release().await;
        }
        sleep(Duration::from_secs(3)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holding(process: usize, slot: u32, from: u64, until: u64) -> PermitHolding {
        let (from, until) = (Duration::from_millis(from), Duration::from_millis(until));
        let token = redlock_core::Token::from_bytes([0; 20]);
        PermitHolding { process, semaphore: 0, permits: 2, slot, token, from, until }
    }

    fn crowds(permits: &[PermitHolding]) -> Vec<Crowd> {
        Ledger { permits: permits.to_vec(), ..Ledger::default() }.crowds()
    }

    #[test]
    fn as_many_holders_as_permits_are_no_crowd() {
        assert_eq!(crowds(&[holding(0, 0, 0, 10), holding(1, 1, 0, 10), holding(2, 0, 10, 20)]), []);
        let elsewhere = PermitHolding { semaphore: 1, ..holding(2, 0, 0, 10) };
        assert_eq!(crowds(&[holding(0, 0, 0, 10), holding(1, 1, 0, 10), elsewhere]), []);
    }

    #[test]
    fn one_holder_too_many_is_found() {
        let found = crowds(&[holding(0, 0, 0, 10), holding(1, 1, 2, 10), holding(2, 5, 9, 20)]);
        assert!(matches!(found.as_slice(), [Crowd::TooMany(holders)] if holders.len() == 3), "{found:?}");
        assert_eq!(found[0].time(), (Duration::from_millis(9), Duration::from_millis(10)));
        assert!(!crowds(&[holding(0, 0, 0, 10), holding(1, 1, 0, 10), holding(2, 5, 0, 10)]).is_empty());
    }

    #[test]
    fn two_holders_of_one_slot_are_found() {
        let found = crowds(&[holding(0, 1, 0, 10), holding(1, 1, 9, 20)]);
        assert!(matches!(found.as_slice(), [Crowd::OneSlot(..)]), "{found:?}");
    }
}
