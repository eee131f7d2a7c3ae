//! A node's memory: what the scripts do, on a map.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use redlock_core::{
    AcquireAnswer, AcquireRequest, ExtendAnswer, ExtendRequest, InspectAnswer, NodeError, NodeErrorKind, ReleaseAnswer,
    ReleaseRequest, Ttl,
};
use tokio::time::Instant;

use crate::fault::Memory;

/// A node's keys. Every method is one atomic step at the time `now` of the node's own clock.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    keys: HashMap<String, Key>,
    /// The changes that are not on disk yet, with what was there before; the oldest first.
    unsaved: VecDeque<(Instant, String, Option<Key>)>,
}

#[derive(Debug, Clone)]
struct Key {
    value: Value,
    expires: Option<Instant>,
}

#[derive(Debug, Clone, PartialEq)]
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
    /// How often a node writes to its disk, as Redis with `appendfsync everysec`.
    const SAVED_EVERY: Duration = Duration::from_secs(1);

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
                self.put(resource, None, now);
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
        self.put(resource, Some(key), now);
    }

    pub(crate) fn set_list(&mut self, resource: &str, now: Instant) {
        self.put(resource, Some(Key { value: Value::List, expires: None }), now);
    }

    pub(crate) fn remove(&mut self, resource: &str, now: Instant) {
        self.put(resource, None, now);
    }

    /// What is left after a restart of a node that had stopped then.
    pub(crate) fn restart(&mut self, memory: Memory, stopped: Instant) {
        match memory {
            Memory::Kept => {}
            Memory::LastSecondLost => {
                while let Some((_, resource, before)) =
                    self.unsaved.pop_back().filter(|(at, ..)| *at + Self::SAVED_EVERY > stopped)
                {
                    match before {
                        Some(key) => self.keys.insert(resource, key),
                        None => self.keys.remove(&resource),
                    };
                }
            }
            Memory::Lost => self.keys.clear(),
        }
        self.unsaved.clear();
    }

    fn put(&mut self, resource: &str, key: Option<Key>, now: Instant) {
        while self.unsaved.front().is_some_and(|(at, ..)| *at + Self::SAVED_EVERY <= now) {
            self.unsaved.pop_front();
        }
        let before = match key {
            Some(key) => self.keys.insert(resource.to_owned(), key),
            None => self.keys.remove(resource),
        };
        self.unsaved.push_back((now, resource.to_owned(), before));
    }

    /// The names of all keys.
    pub(crate) fn names(&mut self, now: Instant) -> Vec<String> {
        self.keys.retain(|_, key| key.lives(now));
        let mut names: Vec<_> = self.keys.keys().cloned().collect();
        names.sort_unstable();
        names
    }

    /// A key's value and remaining ttl; an error if it is not a string.
    fn string(&mut self, resource: &str, now: Instant) -> Result<Option<Held<'_>>, NodeError> {
        match self.keys.get(resource).filter(|key| key.lives(now)) {
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
