//! A node's memory: what the scripts do, on a map.

use std::{collections::HashMap, time::Duration};

use redlock_core::{
    AcquireAnswer, AcquireRequest, ExtendAnswer, ExtendRequest, InspectAnswer, NodeError, NodeErrorKind, ReleaseAnswer,
    ReleaseRequest, Ttl,
};
use tokio::time::Instant;

/// A node's keys. Every method is one atomic step at the time `now`.
#[derive(Debug, Default)]
pub(crate) struct Keys(HashMap<String, Key>);

#[derive(Debug)]
struct Key {
    value: Value,
    expires: Option<Instant>,
}

#[derive(Debug, PartialEq)]
enum Value {
    String(Vec<u8>),
    List,
}

/// What a key of the right type holds.
struct Held<'a> {
    value: &'a [u8],
    remaining: Option<Duration>,
}

impl Held<'_> {
    fn outlasts(&self, ttl: Ttl) -> bool {
        self.remaining.is_some_and(|remaining| remaining >= expiry(ttl))
    }
}

impl Keys {
    pub(crate) fn acquire(&mut self, request: &AcquireRequest, now: Instant) -> Result<AcquireAnswer, NodeError> {
        let resource = request.resource.as_str();
        Ok(match self.string(resource, now)? {
            None => {
                self.set(resource, request.token.as_bytes(), Some(expiry(request.ttl)), now);
                AcquireAnswer::granted()
            }
            Some(held) if held.value == request.token.as_bytes() => AcquireAnswer::granted(),
            Some(held) => AcquireAnswer::held(held.remaining),
        })
    }

    pub(crate) fn extend(&mut self, request: &ExtendRequest, now: Instant) -> Result<ExtendAnswer, NodeError> {
        let resource = request.resource.as_str();
        let answer = match self.string(resource, now)? {
            None => ExtendAnswer::Healed,
            // Never shortens.
            Some(held) if held.value == request.token.as_bytes() && held.outlasts(request.ttl) => {
                return Ok(ExtendAnswer::Extended);
            }
            Some(held) if held.value == request.token.as_bytes() => ExtendAnswer::Extended,
            Some(held) => return Ok(ExtendAnswer::held(held.remaining)),
        };
        self.set(resource, request.token.as_bytes(), Some(expiry(request.ttl)), now);
        Ok(answer)
    }

    pub(crate) fn release(&mut self, request: &ReleaseRequest, now: Instant) -> Result<ReleaseAnswer, NodeError> {
        let resource = request.resource.as_str();
        match self.string(resource, now)? {
            Some(held) if held.value == request.token.as_bytes() => {
                self.0.remove(resource);
                Ok(ReleaseAnswer::Released)
            }
            _ => Ok(ReleaseAnswer::NotHeld),
        }
    }

    pub(crate) fn inspect(&mut self, resource: &str, now: Instant) -> Result<InspectAnswer, NodeError> {
        Ok(match self.string(resource, now)? {
            None => InspectAnswer::Absent,
            Some(held) => InspectAnswer::held(held.value, held.remaining),
        })
    }

    pub(crate) fn set(&mut self, resource: &str, value: &[u8], ttl: Option<Duration>, now: Instant) {
        let key = Key { value: Value::String(value.to_owned()), expires: ttl.and_then(|ttl| now.checked_add(ttl)) };
        self.0.insert(resource.to_owned(), key);
    }

    pub(crate) fn set_list(&mut self, resource: &str) {
        self.0.insert(resource.to_owned(), Key { value: Value::List, expires: None });
    }

    pub(crate) fn remove(&mut self, resource: &str) {
        self.0.remove(resource);
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// The names of all keys.
    pub(crate) fn names(&mut self, now: Instant) -> Vec<String> {
        self.0.retain(|_, key| key.lives(now));
        let mut names: Vec<_> = self.0.keys().cloned().collect();
        names.sort_unstable();
        names
    }

    /// A key's value and remaining ttl; an error if it is not a string.
    fn string(&mut self, resource: &str, now: Instant) -> Result<Option<Held<'_>>, NodeError> {
        match self.0.get(resource).filter(|key| key.lives(now)) {
            None => Ok(None),
            Some(Key { value: Value::List, .. }) => Err(NodeErrorKind::WrongType.into()),
            Some(Key { value: Value::String(value), expires }) => {
                Ok(Some(Held { value, remaining: expires.map(|expires| whole_millis(expires - now)) }))
            }
        }
    }
}

impl Key {
    /// As in Redis, a key still lives in the very moment of its expiry.
    fn lives(&self, now: Instant) -> bool {
        self.expires.is_none_or(|expires| expires >= now)
    }
}

fn expiry(ttl: Ttl) -> Duration {
    Duration::from_millis(ttl.sent_millis())
}

/// As `PTTL` tells it.
fn whole_millis(remaining: Duration) -> Duration {
    Duration::from_millis(remaining.as_millis() as u64)
}
