//! One operation as a script or a command with its keys and arguments, and the reply to it.

use std::{slice, time::Duration};

use super::script::{self, Script};
use crate::{
    algorithm::FencingToken,
    names::{Resource, Token},
    node::{
        AcquireRequest, ExtendRequest, InspectRequest, NodeError, NodeErrorKind, OpenRequest, PermitSlots,
        RaiseRequest, ReleaseRequest, RestartGuard,
    },
};

/// A script to run on a node, with its keys and its `ARGV`: the token, if there is one, then numbers, then texts. Or a
/// plain command, for a key that is likely to be free.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    script: Option<Script>,
    resources: &'a [Resource],
    counters: &'a [Resource],
    marker: Option<&'a Resource>,
    waiters: &'a [Resource],
    /// The key of the number of permits.
    permits: Option<&'a Resource>,
    intents: &'a [Resource],
    token: Option<&'a Token>,
    numbers: [u64; 9],
    count: usize,
    text: Option<&'a str>,
    predecessors: &'a [Token],
    /// Which of the numbers says how long an intent lives, or how many intents there are.
    intent: usize,
}

impl<'a> Call<'a> {
    /// Returns the plain command, which is enough if the key is free. If not, its reply reveals neither the holder nor
    /// the remaining TTL. Only a script can set several keys in one step, or return the node's time.
    pub(super) fn set(request: &'a AcquireRequest) -> Option<Self> {
        if !request.is_plain() {
            return None;
        }
        let set = Self { script: None, ..Self::new(script::ACQUIRE, request.keys.as_slice(), Some(&request.token)) };
        Some(set.with([request.ttl.sent_millis()]))
    }

    /// Returns the script, with the keys of its intents.
    pub(super) fn acquire(request: &'a AcquireRequest, intents: &'a [Resource]) -> Self {
        let AcquireRequest {
            keys,
            token,
            ttl,
            shared,
            fencing,
            guard,
            queue,
            predecessors,
            intent,
            wants_clock: _,
            permits,
        } = request;
        let ttl = ttl.sent_millis();
        let script = if *shared { script::ACQUIRE_SHARED } else { script::ACQUIRE };
        let call = Self::new(script, keys.as_slice(), Some(token));
        let is_waiting = queue.is_some() || !predecessors.is_empty() || !intents.is_empty();
        if fencing.is_none() && guard.is_none() && !is_waiting && permits.is_none() {
            return call.with([ttl]);
        }
        let retention = fencing.as_ref().map_or(0, |counters| millis(counters.retention));
        let longest = guard.as_ref().map_or(0, |guard| guard.longest.sent_millis());
        let numbers = [ttl, keys.len() as u64, retention, longest];
        let call = Self {
            counters: fencing.as_ref().map_or(&[], |counters| counters.keys.as_slice()),
            marker: guard.as_ref().map(|guard| &guard.marker),
            ..call.with(numbers)
        };
        if !is_waiting && permits.is_none() {
            return call;
        }
        let [ttl, resources, retention, longest] = numbers;
        let yields = queue.as_ref().is_some_and(|queue| queue.yields);
        let stays = queue.as_ref().is_some_and(|queue| queue.stays);
        let intent = if intents.is_empty() { 0 } else { millis(intent.unwrap_or_default()) };
        let channel = queue.as_ref().map_or("", |queue| &queue.channel);
        let numbers = [ttl, resources, retention, longest, yields.into(), stays.into(), intent];
        let call = Self {
            waiters: queue.as_ref().map_or(&[], |queue| slice::from_ref(&queue.waiters)),
            intents,
            text: Some(channel),
            predecessors,
            intent: 6,
            ..call.with(numbers)
        };
        let Some(PermitSlots { count, permits, offset }) = permits else { return call };
        let [ttl, resources, retention, longest, yields, stays, intent] = numbers;
        let numbers = [ttl, resources, retention, longest, yields, stays, intent, (*permits).into(), (*offset).into()];
        // No permit is handed off, so there are no predecessors.
        Self { script: Some(script::PERMIT), permits: Some(count), predecessors: &[], ..call.with(numbers) }
    }

    pub(super) fn extend(request: &'a ExtendRequest) -> Self {
        let ExtendRequest { keys, token, ttl, shared, fencing, permits } = request;
        let ttl = ttl.sent_millis();
        let script = if *shared { script::EXTEND_SHARED } else { script::EXTEND };
        let call = Self::new(script, keys.as_slice(), Some(token));
        let fencing = fencing.as_ref().filter(|_| !shared);
        if fencing.is_none() && permits.is_none() {
            return call.with([ttl]);
        }
        let (counters, retention, fence) = match fencing {
            None => (&[][..], 0, 0),
            Some((counters, fence)) => (counters.keys.as_slice(), millis(counters.retention).max(ttl), fence.get()),
        };
        let numbers = [ttl, keys.len() as u64, retention, fence];
        let call = Self { counters, ..call.with(numbers) };
        let Some(PermitSlots { count, permits, .. }) = permits else { return call };
        let [ttl, resources, retention, fence] = numbers;
        let call = call.with([ttl, resources, retention, fence, (*permits).into()]);
        Self { script: Some(script::PERMIT_EXTEND), permits: Some(count), ..call }
    }

    /// With the keys of its intents.
    pub(super) fn release(request: &'a ReleaseRequest, intents: &'a [Resource]) -> Self {
        let ReleaseRequest { keys, token, wake, intent: _ } = request;
        let call = Self::new(script::RELEASE, keys.as_slice(), Some(token));
        if wake.is_none() && intents.is_empty() {
            return call;
        }
        let if_free = wake.as_ref().is_some_and(|wake| wake.if_free);
        Self {
            waiters: wake.as_ref().map_or(&[], |wake| &wake.waiters),
            intents,
            intent: 2,
            text: Some(wake.as_ref().and_then(|wake| wake.leaving.as_deref()).unwrap_or_default()),
            ..call.with([keys.len() as u64, if_free.into(), intents.len() as u64])
        }
    }

    pub(super) fn inspect(request: &'a InspectRequest) -> Self {
        Self::new(script::INSPECT, slice::from_ref(&request.resource), request.token.as_ref())
    }

    pub(super) fn raise(request: &'a RaiseRequest) -> Self {
        let RaiseRequest { keys, token, counters, candidate } = request;
        let call = Self::new(script::RAISE, keys.as_slice(), Some(token));
        Self {
            counters: counters.keys.as_slice(),
            ..call.with([keys.len() as u64, millis(counters.retention), *candidate])
        }
    }

    pub(super) fn open(request: &'a OpenRequest) -> Self {
        let RestartGuard { marker, longest } = &request.guard;
        let call = Self::new(script::OPEN, slice::from_ref(marker), None).with([longest.sent_millis()]);
        Self { text: request.run.as_deref(), ..call }
    }

    fn new(script: Script, resources: &'a [Resource], token: Option<&'a Token>) -> Self {
        Self {
            script: Some(script),
            resources,
            counters: &[],
            marker: None,
            waiters: &[],
            permits: None,
            intents: &[],
            token,
            numbers: [0; 9],
            count: 0,
            text: None,
            predecessors: &[],
            intent: 0,
        }
    }

    fn with<const N: usize>(mut self, numbers: [u64; N]) -> Self {
        self.numbers.iter_mut().zip(numbers).for_each(|(place, number)| *place = number);
        Self { count: N, ..self }
    }

    /// Returns whether its keys include a wait queue or intents of writers.
    pub(super) fn has_waiters(&self) -> bool {
        !self.waiters.is_empty() || !self.intents.is_empty()
    }

    /// Returns the same call without wait queues and intents: nobody joins a queue, nobody is notified, and nobody
    /// comes first.
    pub(super) fn without_waiters(self) -> Self {
        let mut call = Self { waiters: &[], intents: &[], text: self.text.map(|_| ""), ..self };
        // Without their keys, the script must not take one of the keys before them for an intent.
        if let Some(intent) = call.numbers.get_mut(self.intent).filter(|_| !self.intents.is_empty()) {
            *intent = 0;
        }
        call
    }

    /// Returns the script. `None` means `SET key token NX PX number`, with the only key, the token and the only number.
    #[must_use]
    pub fn script(&self) -> Option<Script> {
        self.script
    }

    /// Returns the resources, which are the first keys: at least one. A pool must run all calls for the same resources
    /// over the same connection.
    #[must_use]
    pub fn resources(&self) -> &'a [Resource] {
        self.resources
    }

    /// Returns all its keys.
    pub fn keys(&self) -> impl Iterator<Item = &'a Resource> + use<'a> {
        let keys = self.resources.iter().chain(self.counters).chain(self.marker).chain(self.waiters);
        keys.chain(self.intents).chain(self.permits)
    }

    /// Returns the number of keys.
    #[must_use]
    pub fn key_count(&self) -> usize {
        let single = usize::from(self.marker.is_some()) + usize::from(self.permits.is_some());
        self.resources.len() + self.counters.len() + self.waiters.len() + self.intents.len() + single
    }

    /// Returns its first argument, if that is a token.
    #[must_use]
    pub fn token(&self) -> Option<&'a Token> {
        self.token
    }

    /// Returns the arguments that follow the token.
    #[must_use]
    pub fn numbers(&self) -> &[u64] {
        self.numbers.get(..self.count).unwrap_or_default()
    }

    /// Returns all tokens among its arguments.
    pub(super) fn tokens(&self) -> impl Iterator<Item = &'a Token> + use<'a> {
        self.token.into_iter().chain(self.predecessors)
    }

    /// Returns its last arguments, if they are texts.
    pub fn texts(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.text.into_iter().chain(self.predecessors.iter().map(Token::as_str))
    }
}

/// Returns whole milliseconds: at least one, since zero means none.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).clamp(1, FencingToken::MAX.get())
}

/// The possible replies to a script or the command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// `OK`: the command set the key.
    Done,
    /// Nil: the inspected key does not exist, or the command found the key set and did not change it.
    Nothing,
    /// An integer.
    Integer(i64),
    /// An array of two or three integers; the third is 0 if there is none.
    Integers([i64; 3]),
    /// An array of bytes and an integer: a key's value and its `PTTL`.
    Holder(Vec<u8>, i64),
    /// An array of bytes and two integers: some readers of a shared key, its `PTTL`, and how many readers there are.
    Readers(Vec<u8>, i64, i64),
}

impl Reply {
    /// Returns the integer.
    ///
    /// # Errors
    ///
    /// If the reply is not an integer.
    pub fn integer(&self) -> Result<i64, NodeError> {
        match self {
            Self::Integer(integer) => Ok(*integer),
            other => Err(other.unexpected()),
        }
    }

    /// Returns the integers of an array.
    ///
    /// # Errors
    ///
    /// If the reply is not such an array.
    pub fn integers(&self) -> Result<[i64; 3], NodeError> {
        match self {
            Self::Integers(integers) => Ok(*integers),
            other => Err(other.unexpected()),
        }
    }

    /// Returns the error for an answer that the script cannot give. It does not show values, because a value may be a
    /// token.
    #[must_use]
    pub fn unexpected(&self) -> NodeError {
        let what = match self {
            Self::Holder(value, pttl) => format!("a value of {} bytes and {pttl}", value.len()),
            Self::Readers(_, _, count) => format!("{count} readers"),
            other => format!("{other:?}"),
        };
        NodeError::new(NodeErrorKind::Other, format!("unexpected answer {what}"))
    }
}

/// A reply, and whether the call was sent twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// The node's reply.
    pub reply: Reply,
    /// Whether the same call was already sent over a connection that broke.
    pub sent_again: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{algorithm::Ttl, node::Enqueue};

    /// Returns what a node receives for an acquire: the keys, and all arguments after the token.
    fn sent(call: &Call<'_>) -> (Vec<String>, Vec<String>) {
        let numbers = call.numbers().iter().map(u64::to_string);
        let texts = call.texts().map(str::to_owned);
        (call.keys().map(|key| key.as_str().to_owned()).collect(), numbers.chain(texts).collect())
    }

    #[test]
    fn without_waiters_no_key_is_taken_for_an_intent_and_all_else_is_the_same() {
        let resource = |name: &str| Resource::new(name).unwrap();
        let mut request =
            AcquireRequest::new(resource("r"), Token::from_bytes([1; 20]), Ttl::new(Duration::from_secs(9)).unwrap());
        request.queue = Some(Enqueue::new(resource("r:redlock:waiters"), "channel".into()));
        request.intent = Some(Duration::from_millis(700));
        let intents = [resource("r:redlock:writer")];
        let call = Call::acquire(&request, &intents);
        let numbers = |intent: &str| ["9000", "1", "0", "0", "0", "0", intent].map(str::to_owned).to_vec();
        let (keys, arguments) = sent(&call);
        assert_eq!(keys, ["r", "r:redlock:waiters", "r:redlock:writer"]);
        assert_eq!(arguments, [numbers("700"), vec!["channel".to_owned()]].concat());
        let (keys, arguments) = sent(&call.without_waiters());
        assert_eq!((keys, arguments), (vec!["r".to_owned()], [numbers("0"), vec![String::new()]].concat()));

        request.permits = Some(PermitSlots::new(resource("{s}:permits"), 100, 97));
        let mut release = ReleaseRequest::new(resource("r"), Token::from_bytes([1; 20]));
        release.intent = true;
        let call = Call::release(&release, &intents);
        assert_eq!(
            sent(&call),
            (vec!["r".to_owned(), "r:redlock:writer".to_owned()], ["1", "0", "1", ""].map(str::to_owned).to_vec())
        );
        assert_eq!(
            sent(&call.without_waiters()),
            (vec!["r".to_owned()], ["1", "0", "0", ""].map(str::to_owned).to_vec())
        );

        let (keys, arguments) = sent(&Call::acquire(&request, &[]).without_waiters());
        assert_eq!(keys, ["r", "{s}:permits"]);
        let permits = ["100", "97", ""].map(str::to_owned).to_vec();
        assert_eq!(arguments, [numbers("0"), permits].concat());
    }
}
