//! One operation as a script with its keys and arguments, and what came of it.

use std::slice;

use crate::{
    node::{AcquireRequest, ExtendRequest, InspectRequest, ReleaseRequest},
    node_error::{NodeError, NodeErrorKind},
    resource::Resource,
    script::{self, Script},
    token::Token,
};

/// A script to run on a node: its keys are the resources, its `ARGV` are the token and the ttl, as far as there are any.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    script: Script,
    keys: &'a [Resource],
    token: Option<&'a Token>,
    ttl_millis: Option<u64>,
}

impl<'a> Call<'a> {
    pub(super) fn acquire(request: &'a AcquireRequest) -> Self {
        let AcquireRequest { keys, token, ttl } = request;
        Self { script: script::ACQUIRE, keys: keys.as_slice(), token: Some(token), ttl_millis: Some(ttl.sent_millis()) }
    }

    pub(super) fn extend(request: &'a ExtendRequest) -> Self {
        let ExtendRequest { keys, token, ttl } = request;
        Self { script: script::EXTEND, keys: keys.as_slice(), token: Some(token), ttl_millis: Some(ttl.sent_millis()) }
    }

    pub(super) fn release(request: &'a ReleaseRequest) -> Self {
        let ReleaseRequest { keys, token } = request;
        Self { script: script::RELEASE, keys: keys.as_slice(), token: Some(token), ttl_millis: None }
    }

    pub(super) fn inspect(request: &'a InspectRequest) -> Self {
        Self { script: script::INSPECT, keys: slice::from_ref(&request.resource), token: None, ttl_millis: None }
    }

    /// The script.
    #[must_use]
    pub fn script(&self) -> Script {
        self.script
    }

    /// Its keys, one at least.
    #[must_use]
    pub fn keys(&self) -> &'a [Resource] {
        self.keys
    }

    /// Its first argument.
    #[must_use]
    pub fn token(&self) -> Option<&'a Token> {
        self.token
    }

    /// Its second argument.
    #[must_use]
    pub fn ttl_millis(&self) -> Option<u64> {
        self.ttl_millis
    }
}

/// What a script can answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Nil.
    Nothing,
    /// An integer.
    Integer(i64),
    /// An array of the key's value and its `PTTL`.
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
            other => Err(NodeError::new(NodeErrorKind::Other, format!("unexpected answer {other:?}"))),
        }
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
