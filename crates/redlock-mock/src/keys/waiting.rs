//! How callers join and leave the wait queue of a key, and who is notified.

use redlock_core::backend::{AcquireAnswer, Enqueue};
use tokio::time::Instant;

use super::Keys;

impl Keys {
    /// Adds a refused caller to the wait queue, and removes one that is granted and does not stay. Refuses one that has
    /// to yield.
    pub(super) fn stand_in_line(
        &mut self,
        queue: &Enqueue,
        channel: &str,
        refusal: Option<AcquireAnswer>,
        now: Instant,
    ) -> Option<AcquireAnswer> {
        let (line, micros) = (queue.waiters.as_str(), self.micros(now));
        let mut yields = || queue.yields && self.waiters.wake(line, Some(channel), now, micros);
        let refusal = refusal.or_else(|| yields().then_some(AcquireAnswer::Queued));
        match refusal.is_some() || queue.stays {
            true => self.waiters.join(line, channel, queue.yields, now, micros),
            false => self.waiters.leave(line, channel),
        }
        refusal
    }

    /// Notifies the first waiter. Returns whether one is on its way.
    pub(super) fn wake(&mut self, line: &str, key: &str, now: Instant) -> bool {
        // Also if another holds the key: that may be a waiter that lost the others to us.
        let micros = self.micros(now);
        let is_lock = self.readers(key, now).is_some() || self.string(key, now).is_ok();
        is_lock && self.waiters.wake(line, None, now, micros)
    }
}
