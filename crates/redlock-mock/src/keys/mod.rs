//! A node's memory: the effect of the scripts, on a map.

mod counters;
mod guard;
mod permits;
mod readers;
mod standing;
mod waiting;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    time::Duration,
};

use redlock_core::{
    NodeError, NodeErrorKind, Resource, Token, Ttl,
    backend::{
        AcquireAnswer, AcquireRequest, ExtendAnswer, ExtendRequest, FencingCounters, InspectAnswer, ReleaseAnswer,
        ReleaseRequest,
    },
};
use tokio::time::Instant;

use crate::{fault::Memory, waiters::Waiters};

/// A node's keys. Every method is one atomic step at the time `now` of the node's own clock.
#[derive(Debug)]
pub(crate) struct Keys {
    keys: HashMap<String, Key>,
    /// The number of this run of the server.
    run: u64,
    /// When the node's clock read [`Keys::EPOCH`].
    epoch: Instant,
    /// The waiters for the keys.
    pub(crate) waiters: Waiters,
    /// The changes that are not on disk yet, with the previous values; the oldest first.
    unsaved: VecDeque<(Instant, String, Option<Key>)>,
}

impl Default for Keys {
    fn default() -> Self {
        Self {
            keys: HashMap::new(),
            run: 1,
            epoch: Instant::now(),
            waiters: Waiters::default(),
            unsaved: VecDeque::new(),
        }
    }
}

#[derive(Debug, Clone)]
struct Key {
    value: Value,
    expires: Option<Instant>,
}

/// Members and scores: for readers, their tokens, and when their TTL ends, in microseconds of the node's clock.
type Members = BTreeMap<Vec<u8>, u64>;

#[derive(Debug, Clone, PartialEq)]
enum Value {
    String(Vec<u8>),
    List,
    Sorted(Members),
}

/// The content of a key of the right type.
struct Held<'a> {
    value: &'a [u8],
    remaining: Option<Duration>,
}

impl Held<'_> {
    fn outlasts(&self, ttl: Ttl) -> bool {
        self.remaining.is_some_and(|remaining| remaining >= expiry(ttl))
    }
}

/// The state of keys, as seen by the holder of a token.
enum Standing<'k> {
    /// No other token holds a key. Keys in `absent` are absent or the predecessor's; the others hold the token.
    Free { absent: Vec<&'k str>, follows: bool },
    /// Another token holds at least one of the keys, for `remaining` at most. `by_readers` says whether one of these
    /// keys is shared by readers.
    Held { remaining: Option<Duration>, by_readers: bool },
}

impl Keys {
    /// The interval at which a node writes to its disk, like Redis with `appendfsync everysec`.
    const SAVED_EVERY: Duration = Duration::from_secs(1);

    /// The reading of a node's clock when the node is created.
    const EPOCH: Duration = Duration::from_secs(1_700_000_000);

    pub(crate) fn acquire(&mut self, request: &AcquireRequest, now: Instant) -> Result<AcquireAnswer, NodeError> {
        let AcquireRequest { keys, token, ttl, fencing, guard, queue, predecessors, permits, .. } = request;
        if let Some(permits) = permits
            && let Some(other) = self.other_permits(permits, now)?
        {
            return Ok(AcquireAnswer::other_permits(other));
        }
        let since = guard.as_ref().map(|guard| self.guarded_since(guard, now)).transpose()?.unwrap_or(0);
        if let Some(guard) = guard {
            let left = (since + guard.longest.sent_millis() * 1000).saturating_sub(self.micros(now));
            if left > 0 {
                return Ok(AcquireAnswer::quarantined(Duration::from_millis(left.div_ceil(1000))));
            }
        }
        if request.shared {
            return self.acquire_shared(request, now);
        }
        let intents = request.intents(false);
        let standing = self.standing(keys, token, predecessors, now)?;
        let refusal = match (&standing, permits) {
            (Standing::Free { .. }, _) => None,
            (Standing::Held { remaining, .. }, Some(permits)) => Some(self.slot_held(permits, *remaining, now)),
            (Standing::Held { remaining, by_readers: true }, None) => {
                Some(AcquireAnswer::held(*remaining).by_readers())
            }
            (Standing::Held { remaining, .. }, None) => Some(AcquireAnswer::held(*remaining)),
        };
        if let (Standing::Held { by_readers: true, remaining }, Some(lives)) = (&standing, request.intent) {
            // The intent need not last much longer than the last reader, because the writer does not sleep past it.
            let longest = remaining.filter(|remaining| !remaining.is_zero()).map_or(lives, |remaining| 2 * remaining);
            let lives = Duration::from_millis(lives.min(longest).as_millis().max(1) as u64);
            self.leave_intents(&intents, token, lives, now);
        }
        // The plain command does not touch wait queues.
        let is_set = request.is_plain() && matches!(&standing, Standing::Free { absent, .. } if !absent.is_empty());
        let refusal = match queue.as_ref().filter(|_| !is_set) {
            Some(queue) => self.stand_in_line(queue, &queue.channel, refusal, now),
            None => refusal,
        };
        if let Some(refusal) = refusal {
            return Ok(refusal);
        }
        let (absent, follows) = match standing {
            Standing::Free { absent, follows } => (absent, follows),
            Standing::Held { remaining, .. } => return Ok(AcquireAnswer::held(remaining)),
        };
        let counter = match fencing {
            None => None,
            Some(counters) => Some(self.count(counters, !absent.is_empty(), since, now)?),
        };
        for key in absent {
            self.set(key, token.as_bytes(), Some(expiry(*ttl)), now);
        }
        if let Some(permits) = permits {
            self.keep_permits(permits, *ttl, now)?;
        }
        for intent in intents.iter().filter(|_| !is_set) {
            self.remove(intent.as_str(), now);
        }
        let granted = counter.map_or_else(AcquireAnswer::granted, AcquireAnswer::counted);
        Ok(if follows { granted.following() } else { granted })
    }

    /// Returns the reading of the node's clock, since 1970.
    pub(crate) fn time(&self, now: Instant) -> Duration {
        match now.checked_duration_since(self.epoch) {
            Some(since) => Self::EPOCH + since,
            None => Self::EPOCH.saturating_sub(self.epoch - now),
        }
    }

    /// Returns when the node's clock reads this.
    fn at(&self, time: Duration) -> Instant {
        match time.checked_sub(Self::EPOCH) {
            Some(since) => self.epoch + since,
            None => self.epoch - (Self::EPOCH - time),
        }
    }

    fn micros(&self, now: Instant) -> u64 {
        self.time(now).as_micros() as u64
    }

    pub(crate) fn extend(&mut self, request: &ExtendRequest, now: Instant) -> Result<ExtendAnswer, NodeError> {
        let ExtendRequest { keys, token, ttl, fencing, permits, .. } = request;
        if let Some(permits) = permits
            && self.other_permits(permits, now)?.is_some()
        {
            return Ok(ExtendAnswer::held(None));
        }
        if request.shared {
            return self.extend_shared(request, now);
        }
        let absent = match self.standing(keys, token, &[], now)? {
            Standing::Free { absent, .. } => absent,
            Standing::Held { remaining, .. } => return Ok(ExtendAnswer::held(remaining)),
        };
        if let Some((counters, fence)) = fencing {
            let begin = self.micros(now);
            for key in &counters.keys {
                let counter = self.counter(key.as_str(), now)?.unwrap_or(begin).max(fence.get());
                self.check_room(counter, now)?;
                let counters = FencingCounters::new(key.clone(), counters.retention);
                self.set_counters(&counters, counter, expiry(*ttl), now);
            }
        }
        for key in keys.iter().map(Resource::as_str) {
            // Never shortens.
            if !self.string(key, now)?.is_some_and(|held| held.outlasts(*ttl)) {
                self.set(key, token.as_bytes(), Some(expiry(*ttl)), now);
            }
        }
        if let Some(permits) = permits {
            self.keep_permits(permits, *ttl, now)?;
        }
        Ok(if absent.is_empty() { ExtendAnswer::Extended } else { ExtendAnswer::Healed })
    }

    /// Continues past a key that is not a string, as the script does: the others are released anyway.
    pub(crate) fn release(&mut self, request: &ReleaseRequest, now: Instant) -> Result<ReleaseAnswer, NodeError> {
        let mut answer = Ok(ReleaseAnswer::Released);
        self.withdraw_intents(request, now);
        let is_held = |key: &&str| !matches!(self.string(key, now), Ok(None));
        let held: Vec<_> = request.keys.iter().map(Resource::as_str).filter(is_held).collect();
        let mut shared = Vec::new();
        for key in request.keys.iter().map(Resource::as_str) {
            if self.readers(key, now).is_some() {
                let (was_in, others) = self.leave(key, &request.token, now);
                if !was_in {
                    answer = answer.map(|_| ReleaseAnswer::NotHeld);
                }
                shared.extend(others.then_some(key));
                continue;
            }
            match self.string(key, now) {
                Ok(Some(held)) if held.value == request.token.as_bytes() => self.put(key, None, now),
                Ok(_) => answer = answer.map(|_| ReleaseAnswer::NotHeld),
                Err(error) => answer = Err(error),
            }
        }
        let mut woken = false;
        if let Some(wake) = &request.wake {
            for (key, line) in request.keys.iter().zip(&*wake.waiters) {
                if let Some(leaving) = &wake.leaving {
                    self.waiters.leave(line.as_str(), leaving);
                    self.waiters.leave(line.as_str(), &format!("{leaving}:shared"));
                }
                // While readers hold the key, no writer is notified: the last reader will do that.
                let is_free_for_first =
                    !shared.contains(&key.as_str()) || self.waiters.is_shared_first(line.as_str(), now);
                let may_wake = is_free_for_first && (!wake.if_free || !held.contains(&key.as_str()));
                woken |= may_wake && self.wake(line.as_str(), key.as_str(), now);
            }
        }
        answer.map(|answer| answer.waking(woken))
    }

    /// Returns the content of a key. If it is a set of readers, the reader with this token comes first.
    pub(crate) fn inspect(
        &self,
        resource: &str,
        token: Option<&Token>,
        now: Instant,
    ) -> Result<InspectAnswer, NodeError> {
        if let Some(shared) = self.inspect_shared(resource, token, now) {
            return Ok(shared);
        }
        Ok(match self.string(resource, now)? {
            None => InspectAnswer::Absent,
            Some(held) => InspectAnswer::held(held.value, held.remaining),
        })
    }

    /// Returns the keys that begin with the prefix and are locks.
    pub(crate) fn locks(&mut self, prefix: &str, now: Instant) -> Vec<String> {
        let mut names = self.names(now);
        names.retain(|name| {
            let held = self.string(name, now).ok().flatten();
            let is_held = held.is_some_and(|held| Token::is_one(held.value)) || self.readers(name, now).is_some();
            name.starts_with(prefix) && is_held
        });
        names
    }

    pub(crate) fn set(&mut self, resource: &str, value: &[u8], ttl: Option<Duration>, now: Instant) {
        let key = Key { value: Value::String(value.to_owned()), expires: ttl.and_then(|ttl| now.checked_add(ttl)) };
        self.put(resource, Some(key), now);
    }

    pub(crate) fn set_list(&mut self, resource: &str, now: Instant) {
        self.put(resource, Some(Key { value: Value::List, expires: None }), now);
    }

    pub(crate) fn persist(&mut self, resource: &str, now: Instant) {
        let key = self.keys.get(resource).filter(|key| key.lives(now));
        let key = key.map(|key| Key { expires: None, ..key.clone() });
        self.put(resource, key, now);
    }

    pub(crate) fn remove(&mut self, resource: &str, now: Instant) {
        self.put(resource, None, now);
    }

    /// Restores what is left after a restart of a node that had stopped at this time.
    pub(crate) fn restart(&mut self, memory: Memory, stopped: Instant) {
        self.run += 1;
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
        self.waiters.hang_up();
        if memory != Memory::Kept {
            self.waiters.forget();
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

    /// Returns the names of all keys.
    pub(crate) fn names(&mut self, now: Instant) -> Vec<String> {
        self.keys.retain(|_, key| key.lives(now));
        let mut names: Vec<_> = self.keys.keys().cloned().collect();
        names.sort_unstable();
        names
    }

    /// Returns whether the key exists, of any type.
    fn lives(&self, resource: &str, now: Instant) -> bool {
        self.keys.get(resource).is_some_and(|key| key.lives(now))
    }

    /// Returns a key's value and remaining TTL, or an error if it is not a string.
    fn string(&self, resource: &str, now: Instant) -> Result<Option<Held<'_>>, NodeError> {
        match self.keys.get(resource).filter(|key| key.lives(now)) {
            None => Ok(None),
            Some(Key { value: Value::List | Value::Sorted(_), .. }) => Err(NodeErrorKind::WrongType.into()),
            Some(Key { value: Value::String(value), expires }) => {
                Ok(Some(Held { value, remaining: expires.map(|expires| whole_millis(expires - now)) }))
            }
        }
    }
}

/// Returns the longest of these times; no expiry counts as longer than any.
fn longest(remaining: Vec<Option<Duration>>) -> Option<Duration> {
    let all: Option<Vec<_>> = remaining.into_iter().collect();
    all.and_then(|all| all.into_iter().max())
}

/// Parses a number that consists only of digits. A number that is too great for the type counts as the greatest one.
fn number(digits: &[u8]) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let digits = str::from_utf8(digits).ok().filter(|_| is_number)?;
    Some(digits.parse().unwrap_or(u64::MAX))
}

impl Key {
    /// Returns whether the key still exists. As in Redis, it does at the very moment of its expiry.
    fn lives(&self, now: Instant) -> bool {
        self.expires.is_none_or(|expires| expires >= now)
    }
}

fn expiry(ttl: Ttl) -> Duration {
    Duration::from_millis(ttl.sent_millis())
}

/// Rounds as `PTTL` does.
fn whole_millis(remaining: Duration) -> Duration {
    Duration::from_millis(remaining.as_millis() as u64)
}
