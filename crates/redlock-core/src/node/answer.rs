//! The answers of a node, one type for each kind of request.

use std::time::Duration;

use crate::names::Token;

/// An answer, the time of the node's clock, and whether the request was sent twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timed<A> {
    /// The answer.
    pub answer: A,
    /// The time of the node's clock since 1970, if the answer contains it.
    pub clock: Option<Duration>,
    /// Whether the same request was already sent over a connection that broke. The node may have carried out that first
    /// copy, or may do so later.
    pub sent_again: bool,
}

impl<A> From<A> for Timed<A> {
    /// Creates an answer without the time of the node's clock.
    fn from(answer: A) -> Self {
        Self { answer, clock: None, sent_again: false }
    }
}

/// A node's answer to an [`AcquireRequest`](crate::backend::AcquireRequest).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AcquireAnswer {
    /// The keys now hold the token.
    #[non_exhaustive]
    Granted {
        /// The new value of the fencing counters, if the request has any.
        counter: Option<u64>,
        /// Whether all keys held the predecessor's token until now.
        follows: bool,
    },
    /// Another token holds a key.
    #[non_exhaustive]
    Held {
        /// The remaining TTL of the key, if the node knows it and the key expires at all. If several keys are held, the
        /// longest of theirs.
        remaining: Option<Duration>,
        /// Whether readers share a key, so that a writer may leave its
        /// [intent](crate::backend::AcquireRequest::intent).
        shared: bool,
    },
    /// The key could be granted, but another waiter comes first. If the request has a wait queue, this waiter is in it
    /// now.
    Queued,
    /// The slot of a semaphore is held by another token.
    SlotHeld(SlotHeld),
    /// The semaphore has another number of permits on this node, and one of them is held.
    #[non_exhaustive]
    OtherPermits {
        /// The number of permits on the node.
        permits: u32,
    },
    /// The node was started recently and may have forgotten locks. It grants none yet.
    #[non_exhaustive]
    Quarantined {
        /// The remaining time of the quarantine.
        remaining: Duration,
    },
}

/// A slot that is held, and what the node knows about the others.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct SlotHeld {
    /// The shortest remaining TTL of the slots that the node checked, if any of them expires.
    pub remaining: Option<Duration>,
    /// The first free slots, starting at [`PermitSlots::offset`](crate::backend::PermitSlots::offset): at most
    /// [`LISTED`](crate::backend::PermitSlots::LISTED).
    pub free: Vec<u32>,
    /// Whether these are all free slots.
    pub is_complete: bool,
}

impl SlotHeld {
    /// Creates the answer that the slot is held and that the slots in `free` are not.
    #[must_use]
    pub fn new(remaining: Option<Duration>, free: Vec<u32>, is_complete: bool) -> Self {
        Self { remaining, free, is_complete }
    }
}

impl AcquireAnswer {
    /// Creates the answer that the semaphore has this other number of permits.
    #[must_use]
    pub fn other_permits(permits: u32) -> Self {
        Self::OtherPermits { permits }
    }

    /// Creates the answer that the keys now hold the token.
    #[must_use]
    pub fn granted() -> Self {
        Self::Granted { counter: None, follows: false }
    }

    /// Creates the answer that the keys now hold the token and that the fencing counters have this value.
    #[must_use]
    pub fn counted(counter: u64) -> Self {
        Self::Granted { counter: Some(counter), follows: false }
    }

    /// Marks a grant as one of keys that held the predecessor's token until now.
    #[must_use]
    pub fn following(self) -> Self {
        match self {
            Self::Granted { counter, .. } => Self::Granted { counter, follows: true },
            other => other,
        }
    }

    /// Creates the answer that the node grants nothing for this time.
    #[must_use]
    pub fn quarantined(remaining: Duration) -> Self {
        Self::Quarantined { remaining }
    }

    /// Creates the answer that another token holds a key, whose remaining TTL is this.
    #[must_use]
    pub fn held(remaining: Option<Duration>) -> Self {
        Self::Held { remaining, shared: false }
    }

    /// Marks the key as shared by readers.
    #[must_use]
    pub fn by_readers(self) -> Self {
        match self {
            Self::Held { remaining, .. } => Self::Held { remaining, shared: true },
            other => other,
        }
    }
}

/// A node's answer to an [`ExtendRequest`](crate::backend::ExtendRequest).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ExtendAnswer {
    /// The keys hold the token, at least for the TTL.
    Extended,
    /// The keys hold the token, at least for the TTL, and at least one of them was absent before.
    Healed,
    /// Another token holds a key.
    #[non_exhaustive]
    Held {
        /// The remaining TTL of the key, if the node knows it and the key expires at all. If several keys are held, the
        /// longest of theirs.
        remaining: Option<Duration>,
    },
}

impl ExtendAnswer {
    /// Creates the answer that another token holds a key, whose remaining TTL is this.
    #[must_use]
    pub fn held(remaining: Option<Duration>) -> Self {
        Self::Held { remaining }
    }
}

/// A node's answer to a [`ReleaseRequest`](crate::backend::ReleaseRequest).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReleaseAnswer {
    /// All keys held the token, and no longer do.
    Released,
    /// A key was absent or held another token. Keys that held this token no longer do.
    NotHeld,
    /// Released, and a waiter for one of the keys has been notified.
    ReleasedAndWoken,
    /// Not held, and a waiter for one of the keys has been notified.
    NotHeldAndWoken,
}

impl ReleaseAnswer {
    /// Returns whether all keys held the token.
    #[must_use]
    pub fn is_released(self) -> bool {
        matches!(self, Self::Released | Self::ReleasedAndWoken)
    }

    /// Returns whether a waiter has been notified.
    #[must_use]
    pub fn has_woken(self) -> bool {
        matches!(self, Self::ReleasedAndWoken | Self::NotHeldAndWoken)
    }

    /// Adds to the answer that a waiter has been notified, if `woken`.
    #[must_use]
    pub fn waking(self, woken: bool) -> Self {
        match self {
            Self::Released if woken => Self::ReleasedAndWoken,
            Self::NotHeld if woken => Self::NotHeldAndWoken,
            answer => answer,
        }
    }
}

/// A node's answer to a [`RaiseRequest`](crate::backend::RaiseRequest).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RaiseAnswer {
    /// All counters now have the value of the candidate, and the keys hold the token.
    Confirmed,
    /// A counter is greater than the candidate: the greatest value.
    Higher(u64),
    /// A key is absent or holds another token, or a counter is missing.
    NotHeld,
}

/// A node's answer to an [`OpenRequest`](crate::backend::OpenRequest).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenAnswer {
    /// There is no marker, and this is the current run of the server. Nothing was changed.
    New {
        /// The ID of the run.
        run: String,
    },
    /// The marker was set.
    Opened,
    /// There was already a marker, which was left unchanged.
    InUse,
}

/// A node's answer to a [`ListRequest`](crate::backend::ListRequest).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListAnswer {
    /// The keys, each once.
    pub keys: Vec<String>,
    /// Whether these are all of them.
    pub is_complete: bool,
}

impl ListAnswer {
    /// Creates an answer with these keys, which are all of them if `is_complete`.
    #[must_use]
    pub fn new(keys: Vec<String>, is_complete: bool) -> Self {
        Self { keys, is_complete }
    }
}

/// A node's answer to an [`InspectRequest`](crate::backend::InspectRequest).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum InspectAnswer {
    /// The key does not exist.
    Absent,
    /// The key exists.
    #[non_exhaustive]
    Held {
        /// Its value: a token of this library or of another one. Of a value that is longer than any token of this
        /// library, the first 106 bytes.
        token: Vec<u8>,
        /// The remaining TTL of the key, if it expires at all.
        remaining: Option<Duration>,
    },
    /// Readers share the key.
    #[non_exhaustive]
    Shared {
        /// Some of the readers: at most [`InspectAnswer::READERS`], and the requested one, which comes first.
        readers: Vec<Reader>,
        /// The number of readers.
        count: usize,
        /// The remaining TTL of the key, which is that of the last reader.
        remaining: Option<Duration>,
    },
}

/// One reader of a shared key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reader {
    /// Its token.
    pub token: Vec<u8>,
    /// How long the node will still hold the key for it.
    pub remaining: Duration,
}

impl InspectAnswer {
    /// The maximum number of readers of one key that are reported: those that stay the longest.
    pub const READERS: usize = 100;

    /// Creates the answer that `count` readers share the key, including these.
    #[must_use]
    pub fn shared(readers: Vec<Reader>, count: usize, remaining: Option<Duration>) -> Self {
        Self::Shared { readers, count, remaining }
    }

    /// Creates the answer that the key holds this value and has this remaining TTL.
    #[must_use]
    pub fn held(token: impl Into<Vec<u8>>, remaining: Option<Duration>) -> Self {
        let mut token = token.into();
        token.truncate(Token::MAX_LEN + 1);
        Self::Held { token, remaining }
    }
}
