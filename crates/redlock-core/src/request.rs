//! What the driver asks of one node.

use std::time::Duration;

use crate::{
    algorithm::{FencingToken, Ttl},
    resource::Resource,
    resources::Resources,
    token::Token,
};

/// The fencing counters beside the keys of a lock. They outlive the lock.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Their keys. All of them are counted up together.
    pub keys: Resources,
    /// For how long they are kept after the last use. One that is not there begins with the node's clock in microseconds.
    pub retention: Duration,
}

impl Counters {
    /// Counters under these keys, kept for so long.
    #[must_use]
    pub fn new(keys: impl Into<Resources>, retention: Duration) -> Self {
        Self { keys: keys.into(), retention }
    }
}

/// The restart guard of a fleet.
///
/// The marker holds which run of the server planted it, the longest ttl, and when the quarantine began. A node that finds
/// none, or that of another run, plants a new one, whose quarantine takes the longest ttl from now on. Fencing counters of
/// before that are taken for lost.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Guard {
    /// The key of the marker.
    pub marker: Resource,
    /// The longest ttl in use. A marker that holds another is an error of the kind [`NodeErrorKind::Guard`](crate::NodeErrorKind::Guard).
    pub longest: Ttl,
}

impl Guard {
    /// A guard with this marker, for ttls up to the longest.
    #[must_use]
    pub fn new(marker: Resource, longest: Ttl) -> Self {
        Self { marker, longest }
    }
}

/// Asks a node to set the keys, all or none.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct AcquireRequest {
    /// The keys.
    pub keys: Resources,
    /// The value, unique to one holder and one round.
    pub token: Token,
    /// The keys' expiry.
    pub ttl: Ttl,
    /// The counters that count the grant, if fencing is on.
    pub fencing: Option<Counters>,
    /// The restart guard, if it is on.
    pub guard: Option<Guard>,
}

impl AcquireRequest {
    /// A request to set `keys` to `token` for `ttl`.
    #[must_use]
    pub fn new(keys: impl Into<Resources>, token: Token, ttl: Ttl) -> Self {
        Self { keys: keys.into(), token, ttl, fencing: None, guard: None }
    }
}

/// Asks a node to renew the keys' expiry, of all or none.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ExtendRequest {
    /// The keys.
    pub keys: Resources,
    /// The value that each key must hold, or gets if it is absent.
    pub token: Token,
    /// The keys' new expiry.
    pub ttl: Ttl,
    /// The counters of the lock and the fencing token that it was issued, if it was.
    pub fencing: Option<(Counters, FencingToken)>,
}

impl ExtendRequest {
    /// A request to renew `keys`, held by `token`, for `ttl`.
    #[must_use]
    pub fn new(keys: impl Into<Resources>, token: Token, ttl: Ttl) -> Self {
        Self { keys: keys.into(), token, ttl, fencing: None }
    }
}

/// Asks a node to delete the keys.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ReleaseRequest {
    /// The keys.
    pub keys: Resources,
    /// The value that a key must hold.
    pub token: Token,
}

impl ReleaseRequest {
    /// A request to delete `keys` if `token` holds it.
    #[must_use]
    pub fn new(keys: impl Into<Resources>, token: Token) -> Self {
        Self { keys: keys.into(), token }
    }
}

/// Asks a node what the key holds.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct InspectRequest {
    /// The key.
    pub resource: Resource,
}

impl InspectRequest {
    /// A request to look at `resource`.
    #[must_use]
    pub fn new(resource: Resource) -> Self {
        Self { resource }
    }
}

/// Asks a node to raise fencing counters.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RaiseRequest {
    /// The keys of the lock.
    pub keys: Resources,
    /// The value that each of them must hold.
    pub token: Token,
    /// The counters.
    pub counters: Counters,
    /// What they are raised to.
    pub candidate: u64,
}

impl RaiseRequest {
    /// A request to raise `counters` to `candidate` while `token` holds `keys`.
    #[must_use]
    pub fn new(keys: impl Into<Resources>, token: Token, counters: Counters, candidate: u64) -> Self {
        Self { keys: keys.into(), token, counters, candidate }
    }
}

/// Asks a new node to grant locks from now on.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct OpenRequest {
    /// The guard whose marker is planted.
    pub guard: Guard,
    /// Which run of the server is opened. Nothing: it is only asked which it is.
    pub run: Option<String>,
}

impl OpenRequest {
    /// A request to plant the marker of `guard` on this run of the server.
    #[must_use]
    pub fn new(guard: Guard, run: Option<String>) -> Self {
        Self { guard, run }
    }
}

/// Asks a node what it is.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DescribeRequest {
    /// A key that nobody uses: what runs scripts on it runs those of locks.
    pub probe: Resource,
}

impl DescribeRequest {
    /// A request to tell what the node is, with `probe` as the key that nobody uses.
    #[must_use]
    pub fn new(probe: Resource) -> Self {
        Self { probe }
    }
}
