//! The fencing counters of a node.

use std::time::Duration;

use redlock_core::{
    FencingToken, NodeError, NodeErrorKind, Resource,
    backend::{FencingCounters, RaiseAnswer, RaiseRequest},
};
use tokio::time::Instant;

use super::{Keys, number};

impl Keys {
    /// The greatest fencing counter.
    const GREATEST: u64 = FencingToken::MAX.get();

    /// How far a counter may be ahead of the clock, in microseconds: 100 years. A counter that is farther ahead was not
    /// counted.
    const AHEAD: u64 = 3_155_760_000_000_000;

    /// Counts a grant, unless its request was sent again. The result is above everything that was counted before this
    /// run of the server, which the guard has protected since `since`.
    pub(super) fn count(
        &mut self,
        counters: &FencingCounters,
        is_new: bool,
        since: u64,
        now: Instant,
    ) -> Result<u64, NodeError> {
        let begin = self.micros(now);
        let mut counter = since;
        for key in counters.keys.iter().map(Resource::as_str) {
            // Redis counts up only a number in the form in which it would write it.
            if self.string(key, now)?.is_some_and(|held| held.value.len() > 1 && held.value.starts_with(b"0")) {
                return Err(NodeErrorKind::Other.into());
            }
            let counted = self.counter(key, now)?.filter(|counter| *counter > 0);
            counter = counter.max(counted.unwrap_or(begin));
        }
        let counter = counter.saturating_add(is_new.into());
        self.check_room(counter, now)?;
        self.set_counters(counters, counter, Duration::ZERO, now);
        Ok(counter)
    }

    pub(crate) fn raise(&mut self, request: &RaiseRequest, now: Instant) -> Result<RaiseAnswer, NodeError> {
        let RaiseRequest { keys, token, counters, candidate, .. } = request;
        for key in keys.iter().map(Resource::as_str) {
            if self.readers(key, now).is_some()
                || self.string(key, now)?.is_none_or(|held| held.value != token.as_bytes())
            {
                return Ok(RaiseAnswer::NotHeld);
            }
        }
        let mut greatest = 0;
        for key in counters.keys.iter().map(Resource::as_str) {
            // It may have been raised above the candidate for another holder, and lost since.
            let Some(counter) = self.counter(key, now)? else { return Ok(RaiseAnswer::NotHeld) };
            greatest = greatest.max(counter);
        }
        if greatest > *candidate {
            return Ok(RaiseAnswer::Higher(greatest));
        }
        self.check_room(*candidate, now)?;
        self.set_counters(counters, *candidate, Duration::ZERO, now);
        Ok(RaiseAnswer::Confirmed)
    }

    /// Refuses a counter that leaves no room to count, because it is far ahead of the node's own clock.
    pub(super) fn check_room(&self, counter: u64, now: Instant) -> Result<(), NodeError> {
        if counter > Self::GREATEST.min(self.micros(now) + Self::AHEAD) {
            return Err(NodeErrorKind::Other.into());
        }
        Ok(())
    }

    /// Returns the value of a fencing counter, if it exists.
    pub(super) fn counter(&self, key: &str, now: Instant) -> Result<Option<u64>, NodeError> {
        let Some(held) = self.string(key, now)? else { return Ok(None) };
        number(held.value).map(Some).ok_or_else(|| NodeErrorKind::Other.into())
    }

    pub(super) fn set_counters(&mut self, counters: &FencingCounters, counter: u64, at_least: Duration, now: Instant) {
        let retention = counters.retention.max(at_least);
        for key in counters.keys.iter().map(Resource::as_str) {
            self.set(key, counter.to_string().as_bytes(), Some(retention), now);
        }
    }
}
