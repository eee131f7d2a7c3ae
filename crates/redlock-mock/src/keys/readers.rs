//! Shared locks: the effect of the scripts on sorted sets of readers.

use std::time::Duration;

use redlock_core::{
    NodeError, Resource, Token,
    backend::{AcquireAnswer, AcquireRequest, ExtendAnswer, ExtendRequest, InspectAnswer, Reader, ReleaseRequest},
};
use tokio::time::Instant;

use super::{Key, Keys, Members, Value, longest};

impl Keys {
    /// Returns the readers of a key, if it is a sorted set of readers that expires.
    pub(super) fn readers(&self, key: &str, now: Instant) -> Option<&Members> {
        match self.keys.get(key).filter(|key| key.lives(now)) {
            Some(Key { value: Value::Sorted(members), expires: Some(_) }) => {
                Some(members).filter(|members| are_readers(members))
            }
            _ => None,
        }
    }

    /// Returns the remaining TTL of the key.
    pub(super) fn remaining(&self, key: &str, now: Instant) -> Option<Duration> {
        let expires = self.keys.get(key).and_then(|key| key.expires);
        expires.map(|expires| super::whole_millis(expires.saturating_duration_since(now)))
    }

    pub(super) fn acquire_shared(
        &mut self,
        request: &AcquireRequest,
        now: Instant,
    ) -> Result<AcquireAnswer, NodeError> {
        let AcquireRequest { keys, token, ttl, queue, predecessors, .. } = request;
        let (ends, intents) = (self.micros(now) + ttl.sent_millis() * 1000, request.intents(false));
        let (mut others, mut is_behind, mut follows) = (Vec::new(), false, !predecessors.is_empty());
        for (number, key) in keys.iter().map(Resource::as_str).enumerate() {
            if self.readers(key, now).is_none()
                && let Some(held) = self.string(key, now)?
            {
                if held.value != token.as_bytes() {
                    others.push(held.remaining);
                }
                continue;
            }
            self.prune(key, now);
            let intent = intents.get(number).and_then(|intent| self.keys.get(intent.as_str()));
            let ours = [Some(token), predecessors.get(number)];
            let is_in = |members: &Members| ours.iter().flatten().any(|ours| members.contains_key(ours.as_bytes()));
            let is_in = self.readers(key, now).is_some_and(is_in);
            is_behind |= intent.is_some_and(|intent| intent.lives(now)) && !is_in;
        }
        let held = (!others.is_empty()).then(|| AcquireAnswer::held(longest(others)));
        let mut refusal = held.or_else(|| is_behind.then_some(AcquireAnswer::Queued));
        if let Some(queue) = queue {
            refusal = self.stand_in_line(queue, &format!("{}:shared", queue.channel), refusal, now);
        }
        if let Some(refusal) = refusal {
            return Ok(refusal);
        }
        for (number, key) in keys.iter().map(Resource::as_str).enumerate() {
            if matches!(self.string(key, now), Ok(Some(_))) {
                follows = false;
                continue;
            }
            let mut members = self.readers(key, now).cloned().unwrap_or_default();
            members.entry(token.as_bytes().to_owned()).or_insert(ends);
            let predecessor = predecessors.get(number).and_then(|before| members.remove(before.as_bytes()));
            follows &= predecessor.is_some();
            self.share(key, members, now);
        }
        let granted = AcquireAnswer::granted();
        Ok(if follows { granted.following() } else { granted })
    }

    pub(super) fn extend_shared(&mut self, request: &ExtendRequest, now: Instant) -> Result<ExtendAnswer, NodeError> {
        let ExtendRequest { keys, token, ttl, .. } = request;
        let (time, ours) = (self.micros(now), token.as_bytes());
        let mut others = Vec::new();
        for key in keys.iter().map(Resource::as_str) {
            if self.readers(key, now).is_none()
                && let Some(held) = self.string(key, now)?.filter(|held| held.value != ours)
            {
                others.push(held.remaining);
            }
        }
        if !others.is_empty() {
            return Ok(ExtendAnswer::held(longest(others)));
        }
        let mut is_healed = false;
        for key in keys.iter().map(Resource::as_str) {
            self.prune(key, now);
            let downgraded = self.string(key, now).ok().flatten();
            let left = downgraded.as_ref().and_then(|held| held.remaining).unwrap_or_default();
            let is_writers = downgraded.is_some();
            let mut members = self.readers(key, now).cloned().unwrap_or_default();
            is_healed |= !is_writers && !members.contains_key(ours);
            let ends = time + (ttl.sent_millis() * 1000).max(left.as_micros() as u64);
            let before = members.get(ours).copied().unwrap_or_default();
            members.insert(ours.to_owned(), ends.max(before));
            self.share(key, members, now);
        }
        Ok(if is_healed { ExtendAnswer::Healed } else { ExtendAnswer::Extended })
    }

    /// Keeps new readers out for this time.
    pub(super) fn leave_intents(&mut self, intents: &[Resource], token: &Token, lives: Duration, now: Instant) {
        let ours = intent_of(token);
        intents.iter().for_each(|intent| self.set(intent.as_str(), ours.as_bytes(), Some(lives), now));
    }

    /// Takes back the intents that the token of this release has left, and no others.
    pub(super) fn withdraw_intents(&mut self, request: &ReleaseRequest, now: Instant) {
        let ours = intent_of(&request.token);
        for intent in request.intents(false) {
            let held = self.string(intent.as_str(), now).ok().flatten();
            if held.is_some_and(|held| held.value == ours.as_bytes()) {
                self.remove(intent.as_str(), now);
            }
        }
    }

    /// Removes a reader from its key. Returns whether it was a reader, and whether there are others.
    pub(super) fn leave(&mut self, key: &str, token: &Token, now: Instant) -> (bool, bool) {
        self.prune(key, now);
        let Some(mut members) = self.readers(key, now).cloned() else { return (false, false) };
        let was_in = members.remove(token.as_bytes()).is_some();
        let others = !members.is_empty();
        if was_in {
            self.share(key, members, now);
        }
        (was_in, others)
    }

    pub(super) fn inspect_shared(&self, key: &str, first: Option<&Token>, now: Instant) -> Option<InspectAnswer> {
        let time = self.micros(now);
        let left = |(token, ends): (&Vec<u8>, &u64)| Reader {
            token: token.clone(),
            remaining: Duration::from_millis(ends.saturating_sub(time) / 1000),
        };
        let members = self.readers(key, now)?.iter().filter(|(_, ends)| **ends >= time);
        let mut readers: Vec<_> = members.clone().collect();
        readers.sort_by_key(|(token, ends)| std::cmp::Reverse((**ends, (*token).clone())));
        readers.truncate(InspectAnswer::READERS);
        let first = members.clone().find(|(token, _)| first.is_some_and(|first| **token == first.as_bytes()));
        readers.retain(|reader| first != Some(*reader));
        let readers: Vec<_> = first.into_iter().chain(readers).map(left).collect();
        let count = members.count();
        if count == 0 {
            return Some(InspectAnswer::Absent);
        }
        Some(InspectAnswer::shared(readers, count, self.remaining(key, now)))
    }

    /// Sets the key to a sorted set that lives as long as its last member.
    pub(crate) fn share(&mut self, key: &str, members: Members, now: Instant) {
        let last = members.values().max().copied();
        let expires = last.map(|last| self.at(Duration::from_millis(last.div_ceil(1000))));
        self.put(key, last.map(|_| Key { value: Value::Sorted(members), expires }), now);
    }

    /// Removes the readers whose TTL has ended.
    fn prune(&mut self, key: &str, now: Instant) {
        let time = self.micros(now);
        let Some(members) = self.readers(key, now) else { return };
        if members.values().any(|ends| *ends < time) {
            let members = members.iter().filter(|(_, ends)| **ends >= time);
            let members = members.map(|(token, ends)| (token.clone(), *ends)).collect();
            self.share(key, members, now);
        }
    }
}

/// The value of the intent of a writer with this token.
fn intent_of(token: &Token) -> String {
    let digits = token.as_str().get(..40).unwrap_or_default();
    format!("writer:{digits}")
}

/// Decides as the scripts do: by the last member.
fn are_readers(members: &Members) -> bool {
    let last = members.iter().max_by_key(|(member, ends)| (**ends, (*member).clone()));
    last.is_some_and(|(member, _)| {
        let digits = member.iter().take_while(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')).count();
        digits == 40 && matches!(member.get(40), None | Some(b':'))
    })
}
