//! One operation as a script with its keys and arguments, and what came of it.

use std::{slice, time::Duration};

use crate::{
    algorithm::FencingToken,
    node_error::{NodeError, NodeErrorKind},
    request::{AcquireRequest, ExtendRequest, Guard, InspectRequest, OpenRequest, RaiseRequest, ReleaseRequest},
    resource::Resource,
    script::{self, Script},
    token::Token,
};

/// A script to run on a node: its keys, and its `ARGV`, which are the token, if there is one, and numbers.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    script: Script,
    resources: &'a [Resource],
    counters: &'a [Resource],
    marker: Option<&'a Resource>,
    token: Option<&'a Token>,
    numbers: [u64; 4],
    count: usize,
    text: Option<&'a str>,
}

impl<'a> Call<'a> {
    pub(super) fn acquire(request: &'a AcquireRequest) -> Self {
        let AcquireRequest { keys, token, ttl, fencing, guard } = request;
        let ttl = ttl.sent_millis();
        let call = Self::new(script::ACQUIRE, keys.as_slice(), Some(token));
        if fencing.is_none() && guard.is_none() {
            return call.with([ttl]);
        }
        let retention = fencing.as_ref().map_or(0, |counters| millis(counters.retention));
        let longest = guard.as_ref().map_or(0, |guard| guard.longest.sent_millis());
        Self {
            counters: fencing.as_ref().map_or(&[], |counters| counters.keys.as_slice()),
            marker: guard.as_ref().map(|guard| &guard.marker),
            ..call.with([ttl, keys.len() as u64, retention, longest])
        }
    }

    pub(super) fn extend(request: &'a ExtendRequest) -> Self {
        let ExtendRequest { keys, token, ttl, fencing } = request;
        let ttl = ttl.sent_millis();
        let call = Self::new(script::EXTEND, keys.as_slice(), Some(token));
        match fencing {
            None => call.with([ttl]),
            Some((counters, fence)) => Self {
                counters: counters.keys.as_slice(),
                ..call.with([ttl, keys.len() as u64, millis(counters.retention).max(ttl), fence.get()])
            },
        }
    }

    pub(super) fn release(request: &'a ReleaseRequest) -> Self {
        let ReleaseRequest { keys, token } = request;
        Self::new(script::RELEASE, keys.as_slice(), Some(token))
    }

    pub(super) fn inspect(request: &'a InspectRequest) -> Self {
        Self::new(script::INSPECT, slice::from_ref(&request.resource), None)
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
        let Guard { marker, longest } = &request.guard;
        let call = Self::new(script::OPEN, slice::from_ref(marker), None).with([longest.sent_millis()]);
        Self { text: request.run.as_deref(), ..call }
    }

    fn new(script: Script, resources: &'a [Resource], token: Option<&'a Token>) -> Self {
        Self { script, resources, counters: &[], marker: None, token, numbers: [0; 4], count: 0, text: None }
    }

    fn with<const N: usize>(mut self, numbers: [u64; N]) -> Self {
        self.numbers.iter_mut().zip(numbers).for_each(|(place, number)| *place = number);
        Self { count: N, ..self }
    }

    /// The script.
    #[must_use]
    pub fn script(&self) -> Script {
        self.script
    }

    /// The resources, which stand first among the keys: one at least. A pool must run all calls for the same resources over
    /// the same connection.
    #[must_use]
    pub fn resources(&self) -> &'a [Resource] {
        self.resources
    }

    /// All its keys.
    pub fn keys(&self) -> impl Iterator<Item = &'a Resource> + use<'a> {
        self.resources.iter().chain(self.counters).chain(self.marker)
    }

    /// How many keys there are.
    #[must_use]
    pub fn key_count(&self) -> usize {
        self.resources.len() + self.counters.len() + usize::from(self.marker.is_some())
    }

    /// Its first argument, if it takes one.
    #[must_use]
    pub fn token(&self) -> Option<&'a Token> {
        self.token
    }

    /// Its further arguments.
    #[must_use]
    pub fn numbers(&self) -> &[u64] {
        self.numbers.get(..self.count).unwrap_or_default()
    }

    /// Its last argument, if it takes a text.
    #[must_use]
    pub fn text(&self) -> Option<&'a str> {
        self.text
    }
}

/// At least one, since 0 is none.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).clamp(1, FencingToken::MAX.get())
}

/// What a script can answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Nil.
    Nothing,
    /// An integer.
    Integer(i64),
    /// An array of two or three integers; the third is 0 if there is none.
    Integers([i64; 3]),
    /// An array of bytes and an integer: a key's value and its `PTTL`.
    Holder(Vec<u8>, i64),
}

impl Reply {
    /// The integer.
    ///
    /// # Errors
    ///
    /// If it is none.
    pub fn integer(&self) -> Result<i64, NodeError> {
        match self {
            Self::Integer(integer) => Ok(*integer),
            other => Err(other.unexpected()),
        }
    }

    /// The integers of an array.
    ///
    /// # Errors
    ///
    /// If it is none.
    pub fn integers(&self) -> Result<[i64; 3], NodeError> {
        match self {
            Self::Integers(integers) => Ok(*integers),
            other => Err(other.unexpected()),
        }
    }

    /// The error for an answer that the script cannot give.
    #[must_use]
    pub fn unexpected(&self) -> NodeError {
        NodeError::new(NodeErrorKind::Other, format!("unexpected answer {self:?}"))
    }
}

/// A reply, and how it came about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// What the script answered.
    pub reply: Reply,
    /// Whether the script was sent before, on a connection that broke.
    pub sent_again: bool,
}
