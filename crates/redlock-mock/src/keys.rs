//! A node's memory: what the scripts do, on a map.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use redlock_core::{
    AcquireAnswer, AcquireRequest, Counters, ExtendAnswer, ExtendRequest, FencingToken, Guard, InspectAnswer,
    NodeError, NodeErrorKind, OpenAnswer, RaiseAnswer, RaiseRequest, ReleaseAnswer, ReleaseRequest, Resource,
    Resources, Token, Ttl,
};
use tokio::time::Instant;

use crate::fault::Memory;

/// A node's keys. Every method is one atomic step at the time `now` of the node's own clock.
#[derive(Debug)]
pub(crate) struct Keys {
    keys: HashMap<String, Key>,
    /// Which run of the server this is.
    run: u64,
    /// When the node's clock read [`Keys::EPOCH`].
    epoch: Instant,
    /// The changes that are not on disk yet, with what was there before; the oldest first.
    unsaved: VecDeque<(Instant, String, Option<Key>)>,
}

impl Default for Keys {
    fn default() -> Self {
        Self { keys: HashMap::new(), run: 1, epoch: Instant::now(), unsaved: VecDeque::new() }
    }
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

    /// What a node's clock reads when it is made.
    const EPOCH: Duration = Duration::from_secs(1_700_000_000);

    /// The greatest fencing counter.
    const GREATEST: u64 = FencingToken::MAX.get();

    pub(crate) fn acquire(&mut self, request: &AcquireRequest, now: Instant) -> Result<AcquireAnswer, NodeError> {
        let AcquireRequest { keys, token, ttl, fencing, guard, .. } = request;
        if let Some(remaining) = guard.as_ref().map(|guard| self.quarantine(guard, now)).transpose()?.flatten() {
            return Ok(AcquireAnswer::quarantined(remaining));
        }
        let absent = match self.standing(keys, token, now)? {
            Standing::Free { absent } => absent,
            Standing::Held { remaining } => return Ok(AcquireAnswer::held(remaining)),
        };
        let counter = match fencing {
            None => None,
            Some(counters) => Some(self.count(counters, !absent.is_empty(), *ttl, now)?),
        };
        for key in absent {
            self.set(key, token.as_bytes(), Some(expiry(*ttl)), now);
        }
        Ok(counter.map_or_else(AcquireAnswer::granted, AcquireAnswer::counted))
    }

    /// Counts a grant, unless it is one that was sent again.
    fn count(&mut self, counters: &Counters, is_new: bool, ttl: Ttl, now: Instant) -> Result<u64, NodeError> {
        let begin = self.micros(now);
        let mut counter = 0;
        for key in counters.keys.iter().map(Resource::as_str) {
            counter = counter.max(self.counter(key, now)?.unwrap_or(begin));
        }
        let counter = counter + u64::from(is_new);
        if counter > Self::GREATEST {
            return Err(NodeErrorKind::Other.into());
        }
        self.set_counters(counters, counter, expiry(ttl), now);
        Ok(counter)
    }

    pub(crate) fn raise(&mut self, request: &RaiseRequest, now: Instant) -> Result<RaiseAnswer, NodeError> {
        let RaiseRequest { keys, token, counters, candidate, .. } = request;
        for key in keys.iter().map(Resource::as_str) {
            if self.string(key, now)?.is_none_or(|held| held.value != token.as_bytes()) {
                return Ok(RaiseAnswer::NotHeld);
            }
        }
        let mut greatest = 0;
        for key in counters.keys.iter().map(Resource::as_str) {
            greatest = greatest.max(self.counter(key, now)?.unwrap_or(0));
        }
        if greatest > *candidate {
            return Ok(RaiseAnswer::Higher(greatest));
        }
        self.set_counters(counters, *candidate, Duration::ZERO, now);
        Ok(RaiseAnswer::Confirmed)
    }

    pub(crate) fn open(&mut self, guard: &Guard, now: Instant) -> Result<OpenAnswer, NodeError> {
        if self.string(guard.marker.as_str(), now)?.is_some() {
            return Ok(OpenAnswer::InUse);
        }
        self.mark(guard, 0, now);
        Ok(OpenAnswer::Opened)
    }

    /// How long the node grants nothing yet. Plants the marker if there is none of this run.
    fn quarantine(&mut self, guard: &Guard, now: Instant) -> Result<Option<Duration>, NodeError> {
        let time = self.micros(now);
        let quarantine = guard.longest.sent_millis() * 1000;
        let opens = match self.string(guard.marker.as_str(), now)? {
            None => None,
            Some(held) => {
                let marker = Marker::parse(held.value).ok_or(NodeErrorKind::Guard)?;
                if marker.longest != guard.longest.sent_millis() {
                    return Err(NodeErrorKind::Guard.into());
                }
                let is_valid = marker.run == self.run && marker.opens <= time + quarantine;
                is_valid.then_some(marker.opens)
            }
        };
        let opens = opens.unwrap_or_else(|| {
            self.mark(guard, time + quarantine, now);
            time + quarantine
        });
        Ok(opens.checked_sub(time).filter(|left| *left > 0).map(|left| Duration::from_millis(left.div_ceil(1000))))
    }

    fn mark(&mut self, guard: &Guard, opens: u64, now: Instant) {
        let marker = format!("{:x} {} {opens}", self.run, guard.longest.sent_millis());
        self.set(guard.marker.as_str(), marker.as_bytes(), None, now);
    }

    /// What a fencing counter has counted up to, if it is there.
    fn counter(&self, key: &str, now: Instant) -> Result<Option<u64>, NodeError> {
        let Some(held) = self.string(key, now)? else { return Ok(None) };
        let is_number = !held.value.is_empty() && held.value.iter().all(u8::is_ascii_digit);
        let number = str::from_utf8(held.value).ok().filter(|_| is_number).and_then(|number| number.parse().ok());
        number.map(Some).ok_or_else(|| NodeErrorKind::Other.into())
    }

    fn set_counters(&mut self, counters: &Counters, counter: u64, at_least: Duration, now: Instant) {
        let retention = counters.retention.max(at_least);
        for key in counters.keys.iter().map(Resource::as_str) {
            self.set(key, counter.to_string().as_bytes(), Some(retention), now);
        }
    }

    /// What the node's clock reads, since 1970.
    pub(crate) fn time(&self, now: Instant) -> Duration {
        match now.checked_duration_since(self.epoch) {
            Some(since) => Self::EPOCH + since,
            None => Self::EPOCH.saturating_sub(self.epoch - now),
        }
    }

    fn micros(&self, now: Instant) -> u64 {
        self.time(now).as_micros() as u64
    }

    pub(crate) fn extend(&mut self, request: &ExtendRequest, now: Instant) -> Result<ExtendAnswer, NodeError> {
        let ExtendRequest { keys, token, ttl, fencing, .. } = request;
        let absent = match self.standing(keys, token, now)? {
            Standing::Free { absent } => absent,
            Standing::Held { remaining } => return Ok(ExtendAnswer::held(remaining)),
        };
        if let Some((counters, fence)) = fencing {
            let begin = self.micros(now);
            for key in &counters.keys {
                let counter = self.counter(key.as_str(), now)?.unwrap_or(begin).max(fence.get());
                let counters = Counters::new(key.clone(), counters.retention);
                self.set_counters(&counters, counter, expiry(*ttl), now);
            }
        }
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

/// The marker of the restart guard.
struct Marker {
    run: u64,
    longest: u64,
    /// When the quarantine ends, by the node's clock.
    opens: u64,
}

impl Marker {
    fn parse(marker: &[u8]) -> Option<Self> {
        let mut parts = str::from_utf8(marker).ok()?.split(' ');
        let run = u64::from_str_radix(parts.next()?, 16).ok()?;
        let (longest, opens) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        parts.next().is_none().then_some(Self { run, longest, opens })
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
