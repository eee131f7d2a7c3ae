//! A node's memory: what the scripts do, on a map.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use redlock_core::{
    AcquireAnswer, AcquireRequest, ExtendAnswer, ExtendRequest, InspectAnswer, NodeError, NodeErrorKind, ReleaseAnswer,
    ReleaseRequest, Resource, Resources, Token, Ttl,
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

/// How keys stand to a token.
enum Standing<'k> {
    /// No other token holds one. These are absent, the rest holds the token.
    Free { absent: Vec<&'k str> },
    /// Another holds one at least, for so long at most.
    Held { remaining: Option<Duration> },
}

impl Keys {
    /// How often a node writes to its disk, as Redis with `appendfsync everysec`.
    const SAVED_EVERY: Duration = Duration::from_secs(1);

    pub(crate) fn acquire(&mut self, request: &AcquireRequest, now: Instant) -> Result<AcquireAnswer, NodeError> {
        let AcquireRequest { keys, token, ttl, .. } = request;
        let absent = match self.standing(keys, token, now)? {
            Standing::Free { absent } => absent,
            Standing::Held { remaining } => return Ok(AcquireAnswer::held(remaining)),
        };
        for key in absent {
            self.set(key, token.as_bytes(), Some(expiry(*ttl)), now);
        }
        Ok(AcquireAnswer::granted())
    }

    pub(crate) fn extend(&mut self, request: &ExtendRequest, now: Instant) -> Result<ExtendAnswer, NodeError> {
        let ExtendRequest { keys, token, ttl, .. } = request;
        let absent = match self.standing(keys, token, now)? {
            Standing::Free { absent } => absent,
            Standing::Held { remaining } => return Ok(ExtendAnswer::held(remaining)),
        };
        for key in keys.iter().map(Resource::as_str) {
            // Never shortens.
            if !self.string(key, now)?.is_some_and(|held| held.outlasts(*ttl)) {
                self.set(key, token.as_bytes(), Some(expiry(*ttl)), now);
            }
        }
        Ok(if absent.is_empty() { ExtendAnswer::Extended } else { ExtendAnswer::Healed })
    }

    /// Goes on past a key that is not a string, as the script does: it keeps none of the others.
    pub(crate) fn release(&mut self, request: &ReleaseRequest, now: Instant) -> Result<ReleaseAnswer, NodeError> {
        let mut answer = Ok(ReleaseAnswer::Released);
        for key in request.keys.iter().map(Resource::as_str) {
            match self.string(key, now) {
                Ok(Some(held)) if held.value == request.token.as_bytes() => self.put(key, None, now),
                Ok(_) => answer = answer.map(|_| ReleaseAnswer::NotHeld),
                Err(error) => answer = Err(error),
            }
        }
        answer
    }

    pub(crate) fn inspect(&self, resource: &str, now: Instant) -> Result<InspectAnswer, NodeError> {
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

    fn standing<'k>(&self, keys: &'k Resources, token: &Token, now: Instant) -> Result<Standing<'k>, NodeError> {
        let (mut absent, mut others) = (Vec::new(), Vec::new());
        for key in keys.iter().map(Resource::as_str) {
            match self.string(key, now)? {
                None => absent.push(key),
                Some(held) if held.value == token.as_bytes() => {}
                Some(held) => others.push(held.remaining),
            }
        }
        Ok(match others.is_empty() {
            true => Standing::Free { absent },
            // No expiry is the longest.
            false => {
                let all: Option<Vec<_>> = others.into_iter().collect();
                Standing::Held { remaining: all.and_then(|all| all.into_iter().max()) }
            }
        })
    }

    /// A key's value and remaining ttl; an error if it is not a string.
    fn string(&self, resource: &str, now: Instant) -> Result<Option<Held<'_>>, NodeError> {
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
