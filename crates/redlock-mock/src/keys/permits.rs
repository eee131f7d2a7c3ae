//! The slots of semaphores, and the number of their permits.

use std::time::Duration;

use redlock_core::{
    NodeError, NodeErrorKind, Ttl,
    backend::{AcquireAnswer, PermitSlots, SlotHeld},
};
use tokio::time::Instant;

use super::{Keys, expiry, number};

impl Keys {
    /// The greatest number of permits.
    const MOST: u64 = 9999;

    /// Returns another number of permits that the key contains, if one of them is held.
    pub(super) fn other_permits(&self, permits: &PermitSlots, now: Instant) -> Result<Option<u32>, NodeError> {
        let Some(held) = self.string(permits.count.as_str(), now)? else { return Ok(None) };
        let is_number = !held.value.starts_with(b"0");
        let kept = number(held.value).filter(|kept| is_number && *kept <= Self::MOST).ok_or(NodeErrorKind::Other)?;
        let kept = u32::try_from(kept).unwrap_or(u32::MAX);
        let is_held = |slot| self.lives(&slot_key(permits, slot), now);
        Ok(Some(kept).filter(|kept| *kept != permits.permits && (0..*kept).any(is_held)))
    }

    /// Keeps the number of permits for longer than a slot that is held from now on.
    pub(super) fn keep_permits(&mut self, permits: &PermitSlots, ttl: Ttl, now: Instant) -> Result<(), NodeError> {
        let (key, count) = (permits.count.as_str(), permits.permits.to_string());
        let is_kept = self.string(key, now)?.is_some_and(|held| held.value == count.as_bytes() && held.outlasts(ttl));
        if !is_kept {
            self.set(key, count.as_bytes(), Some(expiry(ttl) + Duration::from_secs(1)), now);
        }
        Ok(())
    }

    /// Returns the refusal of a slot that is held, with the slots that are free.
    pub(super) fn slot_held(&self, permits: &PermitSlots, remaining: Option<Duration>, now: Instant) -> AcquireAnswer {
        let (mut shortest, mut free) = (remaining, Vec::new());
        for place in 0..permits.permits {
            let slot = (permits.offset + place) % permits.permits;
            let key = slot_key(permits, slot);
            if self.lives(&key, now) {
                let remaining = self.remaining(&key, now);
                shortest = shortest.into_iter().chain(remaining).min();
            } else {
                free.push(slot);
                if free.len() == PermitSlots::LISTED {
                    break;
                }
            }
        }
        let is_complete = free.len() < PermitSlots::LISTED;
        AcquireAnswer::SlotHeld(SlotHeld::new(shortest, free, is_complete))
    }
}

fn slot_key(permits: &PermitSlots, slot: u32) -> String {
    let count = permits.count.as_str();
    format!("{}:{slot}", count.strip_suffix('s').unwrap_or(count))
}
