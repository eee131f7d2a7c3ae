//! The answers of a node, one type for each kind of request.

use std::time::Duration;

use crate::names::Token;

/// An answer, what the node's clock read when it was given, and whether the request was sent twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timed<A> {
    /// The answer.
    pub answer: A,
    /// The node's time since 1970, if the node told it.
    pub clock: Option<Duration>,
    /// Whether the same request was sent before, on a connection that broke. The node may have carried it out, or may
    /// carry it out later.
    pub sent_again: bool,
}

impl<A> From<A> for Timed<A> {
    /// The answer of a node that does not tell its time.
    fn from(answer: A) -> Self {
        Self { answer, clock: None, sent_again: false }
    }
}

/// What a node says to an [`AcquireRequest`](crate::backend::AcquireRequest).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AcquireAnswer {
    /// The keys hold the token now.
    #[non_exhaustive]
    Granted {
        /// What the fencing counters were counted up to, if that was asked for.
        counter: Option<u64>,
        /// Whether all keys were the predecessor's until now.
        follows: bool,
    },
    /// Another token holds a key.
    #[non_exhaustive]
    Held {
        /// How long it still lives, if the node can say and it expires at all. Of several, that which lives longest.
        remaining: Option<Duration>,
        /// Whether readers share a key, so that a writer may leave its
        /// [intent](crate::backend::AcquireRequest::intent).
        shared: bool,
    },
    /// The key is free, but another waiter comes first. This one stands behind it now.
    Queued,
    /// The slot of a semaphore is held by another token.
    SlotHeld(SlotHeld),
    /// The semaphore has another number of permits on this node, and somebody holds one.
    #[non_exhaustive]
    OtherPermits {
        /// That number.
        permits: u32,
    },
    /// The node was started a short time ago, and may have forgotten locks. It grants none yet.
    #[non_exhaustive]
    Quarantined {
        /// How long that lasts.
        remaining: Duration,
    },
}

/// A slot that is held, and what the node knows of the others.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct SlotHeld {
    /// The shortest remaining TTL of the slots that were looked at, if one of them expires.
    pub remaining: Option<Duration>,
    /// Slots that are free: those that come first from [`PermitSlots::offset`](crate::backend::PermitSlots::offset) on,
    /// and of these [`LISTED`](crate::backend::PermitSlots::LISTED) at most.
    pub free: Vec<u32>,
    /// Whether these are all that are free.
    pub is_complete: bool,
}

impl SlotHeld {
    /// A slot that is held, and these that are free.
    #[must_use]
    pub fn new(remaining: Option<Duration>, free: Vec<u32>, is_complete: bool) -> Self {
        Self { remaining, free, is_complete }
    }
}

impl AcquireAnswer {
    /// The semaphore has another number of permits.
    #[must_use]
    pub fn other_permits(permits: u32) -> Self {
        Self::OtherPermits { permits }
    }

    /// The keys hold the token now.
    #[must_use]
    pub fn granted() -> Self {
        Self::Granted { counter: None, follows: false }
    }

    /// So they do, and the counters were counted up to this.
    #[must_use]
    pub fn counted(counter: u64) -> Self {
        Self::Granted { counter: Some(counter), follows: false }
    }

    /// A grant, of keys that were the predecessor's until now.
    #[must_use]
    pub fn following(self) -> Self {
        match self {
            Self::Granted { counter, .. } => Self::Granted { counter, follows: true },
            other => other,
        }
    }

    /// The node grants nothing for so long.
    #[must_use]
    pub fn quarantined(remaining: Duration) -> Self {
        Self::Quarantined { remaining }
    }

    /// Another token holds a key, for so long at most.
    #[must_use]
    pub fn held(remaining: Option<Duration>) -> Self {
        Self::Held { remaining, shared: false }
    }

    /// The same, by readers.
    #[must_use]
    pub fn by_readers(self) -> Self {
        match self {
            Self::Held { remaining, .. } => Self::Held { remaining, shared: true },
            other => other,
        }
    }
}

/// What a node says to an [`ExtendRequest`](crate::backend::ExtendRequest).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ExtendAnswer {
    /// The keys hold the token, for the ttl at least.
    Extended,
    /// So they do, and one at least was absent.
    Healed,
    /// Another token holds a key.
    #[non_exhaustive]
    Held {
        /// How long it still lives, if the node can say and it expires at all. Of several, that which lives longest.
        remaining: Option<Duration>,
    },
}

impl ExtendAnswer {
    /// Another token holds a key, for so long at most.
    #[must_use]
    pub fn held(remaining: Option<Duration>) -> Self {
        Self::Held { remaining }
    }
}

/// What a node says to a [`ReleaseRequest`](crate::backend::ReleaseRequest).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReleaseAnswer {
    /// All keys held the token and are gone now.
    Released,
    /// A key was absent or held another token. Those that held this one are gone now.
    NotHeld,
    /// Released, and another who waits for one of them is on its way.
    ReleasedAndWoken,
    /// Not held, and another who waits for one of them is on its way.
    NotHeldAndWoken,
}

impl ReleaseAnswer {
    /// Whether all keys held the token.
    #[must_use]
    pub fn is_released(self) -> bool {
        matches!(self, Self::Released | Self::ReleasedAndWoken)
    }

    /// Whether another who waits is on its way.
    #[must_use]
    pub fn has_woken(self) -> bool {
        matches!(self, Self::ReleasedAndWoken | Self::NotHeldAndWoken)
    }

    /// The same, if another is on its way.
    #[must_use]
    pub fn waking(self, woken: bool) -> Self {
        match self {
            Self::Released if woken => Self::ReleasedAndWoken,
            Self::NotHeld if woken => Self::NotHeldAndWoken,
            answer => answer,
        }
    }
}

/// What a node says to a [`RaiseRequest`](crate::backend::RaiseRequest).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RaiseAnswer {
    /// All counters are the candidate now, and the keys hold the token.
    Confirmed,
    /// A counter is greater than the candidate: this great.
    Higher(u64),
    /// A key is absent or holds another token, or a counter is gone.
    NotHeld,
}

/// What a node says to an [`OpenRequest`](crate::backend::OpenRequest).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenAnswer {
    /// There is no marker, and this is the run of the server. Nothing was changed.
    New {
        /// What names the run.
        run: String,
    },
    /// The marker is there now.
    Opened,
    /// There was one already, which was left as it is.
    InUse,
}

/// What a node says to a [`ListRequest`](crate::backend::ListRequest).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListAnswer {
    /// The keys, each once.
    pub keys: Vec<String>,
    /// Whether these are all of them.
    pub is_complete: bool,
}

impl ListAnswer {
    /// These keys, which are all if it is complete.
    #[must_use]
    pub fn new(keys: Vec<String>, is_complete: bool) -> Self {
        Self { keys, is_complete }
    }
}

/// What a node says to an [`InspectRequest`](crate::backend::InspectRequest).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum InspectAnswer {
    /// There is no such key.
    Absent,
    /// The key exists.
    #[non_exhaustive]
    Held {
        /// Its value: a token, of this library or of another. Of a value that is longer than any token of this
        /// library, the first 106 bytes.
        token: Vec<u8>,
        /// How long the key still lives, if it expires at all.
        remaining: Option<Duration>,
    },
    /// Readers share the key.
    #[non_exhaustive]
    Shared {
        /// Some of them, at most [`InspectAnswer::READERS`] and the one that was requested, which comes first.
        readers: Vec<Reader>,
        /// How many there are.
        count: usize,
        /// How long the key still lives: as long as the last reader.
        remaining: Option<Duration>,
    },
}

/// One of those who share a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reader {
    /// Its token.
    pub token: Vec<u8>,
    /// How long the node still holds the key for it.
    pub remaining: Duration,
}

impl InspectAnswer {
    /// How many readers of one key are reported: those that stay longest.
    pub const READERS: usize = 100;

    /// So many readers share the key, these among them.
    #[must_use]
    pub fn shared(readers: Vec<Reader>, count: usize, remaining: Option<Duration>) -> Self {
        Self::Shared { readers, count, remaining }
    }

    /// The key holds this value, for so long at most.
    #[must_use]
    pub fn held(token: impl Into<Vec<u8>>, remaining: Option<Duration>) -> Self {
        let mut token = token.into();
        token.truncate(Token::MAX_LEN + 1);
        Self::Held { token, remaining }
    }
}
