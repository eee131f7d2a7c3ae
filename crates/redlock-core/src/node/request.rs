//! The requests to a node, one type for each kind.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{
    algorithm::{FencingToken, Ttl},
    names::{Resource, Resources, Token},
};

/// The fencing counters of a lock. They outlive the lock.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FencingCounters {
    /// Their keys. A grant raises all of them to the same value.
    pub keys: Resources,
    /// How long they are kept after the last use. A counter that is absent begins at the time of the node's clock, in
    /// microseconds.
    pub retention: Duration,
}

impl FencingCounters {
    /// Creates the counters at these keys, which are kept for `retention` after their last use.
    #[must_use]
    pub fn new(keys: impl Into<Resources>, retention: Duration) -> Self {
        Self { keys: keys.into(), retention }
    }
}

/// The restart guard of a fleet.
///
/// The marker contains the run of the server that set it, the longest TTL, and the time at which the quarantine began.
/// A node that finds no marker, or the marker of another run, sets a new one, and a quarantine as long as the longest
/// TTL begins. Fencing counters from before that time are treated as lost.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RestartGuard {
    /// The key of the marker.
    pub marker: Resource,
    /// The longest TTL in use. A marker with another TTL is an error of the kind
    /// [`NodeErrorKind::Guard`](crate::NodeErrorKind::Guard).
    pub longest: Ttl,
}

impl RestartGuard {
    /// Creates a guard with this marker, for TTLs up to `longest`.
    #[must_use]
    pub fn new(marker: Resource, longest: Ttl) -> Self {
        Self { marker, longest }
    }
}

/// The wait queue of a key, and the waiter that the request adds to it.
///
/// The wait queue is a sorted set at a key of its own, ordered by the time at which each waiter arrived. A release
/// notifies the first waiter with a message on its channel. The queue and the messages are hints: safety never depends
/// on them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Enqueue {
    /// The key of the wait queue.
    pub waiters: Resource,
    /// The channel on which the requesting process is notified. It identifies the process in the wait queue.
    pub channel: Arc<str>,
    /// Whether earlier waiters come first, even if the key is free.
    pub yields: bool,
    /// Whether the waiter stays in the queue even if this node grants the key, because that may not be enough for a
    /// quorum. It leaves the queue with its release.
    ///
    /// A [plain](AcquireRequest::is_plain) request that is granted leaves the queue unchanged.
    pub stays: bool,
}

impl Enqueue {
    /// Creates a request to join the wait queue at the key `waiters` and to be notified on `channel`.
    #[must_use]
    pub fn new(waiters: Resource, channel: Arc<str>) -> Self {
        Self { waiters, channel, yields: false, stays: false }
    }

    /// Sets whether earlier waiters come first, even if the key is free. Default: `false`.
    #[must_use]
    pub fn yielding(self, yields: bool) -> Self {
        Self { yields, ..self }
    }

    /// Sets whether the waiter stays in the queue even if it is granted. Default: `false`.
    #[must_use]
    pub fn staying(self, stays: bool) -> Self {
        Self { stays, ..self }
    }
}

/// Notifies the first waiter of each key after a release.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WakeNext {
    /// The keys of the wait queues, in the order of the keys that are released.
    pub waiters: Arc<[Resource]>,
    /// The channel of a process that no longer waits. It is removed from the queues.
    pub leaving: Option<Arc<str>>,
    /// Whether to notify nobody for a key that was held before this request, no matter by which token.
    pub if_free: bool,
}

impl WakeNext {
    /// Notifies the first waiter in each of these queues, after removing `leaving` from them.
    #[must_use]
    pub fn new(waiters: impl Into<Arc<[Resource]>>, leaving: Option<Arc<str>>) -> Self {
        Self { waiters: waiters.into(), leaving, if_free: false }
    }

    /// Notifies nobody for a key that was held before this request: its holder notifies the next waiter.
    #[must_use]
    pub fn if_free(self) -> Self {
        Self { if_free: true, ..self }
    }
}

/// The semaphore of a permit, whose slot is the only key of the request.
///
/// The keys of the other slots differ only in the number at the end. A slot whose number is not less than `permits`
/// does not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PermitSlots {
    /// The key of the number of permits. It holds that number for longer than any slot is held. The key of a slot is
    /// this key without the `s` at its end, followed by a colon and the number of the slot.
    pub count: Resource,
    /// The number of permits: 1 to 4,096. If the node holds another number, and any slot below that number is held, it
    /// refuses.
    pub permits: u32,
    /// The slot at which the node starts to look for free slots, if the requested slot is held. After the last slot it
    /// continues with slot 0.
    pub offset: u32,
}

impl PermitSlots {
    /// The maximum number of free slots that a node lists.
    pub const LISTED: usize = 64;

    /// Creates a semaphore whose number of permits is at the key `count`.
    #[must_use]
    pub fn new(count: Resource, permits: u32, offset: u32) -> Self {
        Self { count, permits, offset }
    }
}

/// A request to set the keys, all or none.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct AcquireRequest {
    /// The keys.
    pub keys: Resources,
    /// The value of the keys, unique to one holder and one round.
    pub token: Token,
    /// The expiry of the keys.
    pub ttl: Ttl,
    /// Whether the request is for a reader, which shares the keys with other readers. Fencing does not count readers.
    pub shared: bool,
    /// The counters that count the grant, if fencing is enabled.
    pub fencing: Option<FencingCounters>,
    /// The restart guard, if it is enabled.
    pub guard: Option<RestartGuard>,
    /// The wait queue to join if the key is not available. For one key only.
    pub queue: Option<Enqueue>,
    /// For the first keys, in their order: the token of a holder that hands the key off to this one. A key with that
    /// token counts as absent. Usually empty.
    pub predecessors: Arc<[Token]>,
    /// How long a writer that is refused because of readers keeps new readers out; it sends its next request before
    /// that time ends. For one key only. `None`: it does not keep them out. A writer that is granted deletes its
    /// intent.
    pub intent: Option<Duration>,
    /// Whether the answer must contain the time of the node's clock. If not, and if no other option is set, a node may
    /// use a faster command. [`AcquireRequest::new`] sets it to `true`.
    pub wants_clock: bool,
    /// The semaphore, if the key is one of its slots.
    pub permits: Option<PermitSlots>,
}

impl AcquireRequest {
    /// Creates a request to set `keys` to `token` for `ttl`.
    #[must_use]
    pub fn new(keys: impl Into<Resources>, token: Token, ttl: Ttl) -> Self {
        Self {
            keys: keys.into(),
            token,
            ttl,
            shared: false,
            fencing: None,
            guard: None,
            queue: None,
            predecessors: Arc::default(),
            intent: None,
            wants_clock: true,
            permits: None,
        }
    }

    /// Returns whether setting a free key is all that the request requires: it is for one key of a writer, without the
    /// node's clock, a hand-off or any other option, and earlier waiters do not come first.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        let Self { keys, shared, fencing, guard, queue, predecessors, wants_clock, permits, .. } = self;
        let is_more = *shared || *wants_clock || !predecessors.is_empty();
        let has_options = is_more || fencing.is_some() || guard.is_some() || permits.is_some();
        keys.len() == 1 && !has_options && !queue.as_ref().is_some_and(|queue| queue.yields)
    }

    /// Returns the keys of the intents, in the order of the keys: they keep this reader out, or this writer sets its
    /// own there. Empty if there are none, or if the name of a key leaves no room for one. On a Redis Cluster an intent
    /// must be in the same hash slot as its key.
    #[must_use]
    pub fn intents(&self, is_cluster: bool) -> Vec<Resource> {
        let is_wanted = self.shared || self.intent.is_some() && self.keys.len() == 1;
        let keys = self.keys.iter().filter(|_| is_wanted);
        keys.map(|key| key.intent(is_cluster)).collect::<Option<_>>().unwrap_or_default()
    }
}

/// A request to extend the expiry of the keys, of all or none.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ExtendRequest {
    /// The keys.
    pub keys: Resources,
    /// The value that each key must hold. An absent key is set to it.
    pub token: Token,
    /// The new expiry of the keys.
    pub ttl: Ttl,
    /// Whether the token is a reader's. A key that holds it as a writer's token becomes a shared key, whose expiry is
    /// not shortened.
    pub shared: bool,
    /// The counters of the lock and its fencing token, if it has one. `None` for a reader.
    pub fencing: Option<(FencingCounters, FencingToken)>,
    /// The semaphore, if the key is one of its slots. Its number of permits is kept for longer than the slot.
    pub permits: Option<PermitSlots>,
}

impl ExtendRequest {
    /// Creates a request to extend the expiry of `keys`, held by `token`, to `ttl`.
    #[must_use]
    pub fn new(keys: impl Into<Resources>, token: Token, ttl: Ttl) -> Self {
        Self { keys: keys.into(), token, ttl, shared: false, fencing: None, permits: None }
    }
}

/// A request to delete the keys that hold the token, or to remove it from the readers of a key.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ReleaseRequest {
    /// The keys.
    pub keys: Resources,
    /// The value that a key must hold, or one of its readers.
    pub token: Token,
    /// The waiters to notify after the release, if any.
    pub wake: Option<WakeNext>,
    /// Whether the [intent](AcquireRequest::intent) that the token has left is taken back, and no other; for one key
    /// only.
    pub intent: bool,
}

impl ReleaseRequest {
    /// Creates a request to delete those of `keys` that `token` holds.
    #[must_use]
    pub fn new(keys: impl Into<Resources>, token: Token) -> Self {
        Self { keys: keys.into(), token, wake: None, intent: false }
    }

    /// The key of the intent that is taken back. Empty if none is, or there is no room for one.
    #[must_use]
    pub fn intents(&self, is_cluster: bool) -> Vec<Resource> {
        let is_wanted = self.intent && self.keys.len() == 1;
        self.keys.iter().filter(|_| is_wanted).filter_map(|key| key.intent(is_cluster)).collect()
    }
}

/// A request to subscribe to a channel.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ListenRequest {
    /// The channel.
    pub channel: Arc<str>,
}

impl ListenRequest {
    /// Creates a request to subscribe to `channel`.
    #[must_use]
    pub fn new(channel: Arc<str>) -> Self {
        Self { channel }
    }
}

/// A request for what a key holds.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct InspectRequest {
    /// The key.
    pub resource: Resource,
    /// A token that is reported first, if it is one of several readers.
    pub token: Option<Token>,
}

impl InspectRequest {
    /// Creates a request for what `resource` holds.
    #[must_use]
    pub fn new(resource: Resource) -> Self {
        Self { resource, token: None }
    }
}

/// A request for the locks that a node holds.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ListRequest {
    /// The prefix of their keys.
    pub prefix: String,
    /// The number of locks after which the node may stop. It may return a few more.
    pub enough: usize,
    /// The maximum time for the node to search. It then returns what it has found.
    pub limit: Duration,
}

impl ListRequest {
    /// Creates a request for the locks whose keys begin with `prefix`.
    #[must_use]
    pub fn new(prefix: impl Into<String>, enough: usize, limit: Duration) -> Self {
        Self { prefix: prefix.into(), enough, limit }
    }
}

/// A request to raise fencing counters.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RaiseRequest {
    /// The keys of the lock.
    pub keys: Resources,
    /// The value that each key must hold.
    pub token: Token,
    /// The counters.
    pub counters: FencingCounters,
    /// The value to raise them to.
    pub candidate: u64,
}

impl RaiseRequest {
    /// Creates a request to raise `counters` to `candidate` while `token` holds `keys`.
    #[must_use]
    pub fn new(keys: impl Into<Resources>, token: Token, counters: FencingCounters, candidate: u64) -> Self {
        Self { keys: keys.into(), token, counters, candidate }
    }
}

/// A request that a new node grants locks from now on, without a quarantine.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct OpenRequest {
    /// The guard whose marker is set.
    pub guard: RestartGuard,
    /// The run of the server to open. `None`: only report the current run.
    pub run: Option<String>,
}

impl OpenRequest {
    /// Creates a request to set the marker of `guard` on this run of the server.
    #[must_use]
    pub fn new(guard: RestartGuard, run: Option<String>) -> Self {
        Self { guard, run }
    }
}

/// A request for what a node is and how it is configured. Nodes whose clocks are compared get clones of one request.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DescribeRequest {
    /// A key that nobody uses: a user who may run a script on it may run scripts on the keys of locks.
    pub probe: Resource,
    /// When the request was created, from which a [`ClockReading`](crate::algorithm::ClockReading) counts.
    pub asked: Instant,
}

impl DescribeRequest {
    /// Creates a request as of now, with `probe` as the key that nobody uses.
    #[must_use]
    pub fn new(probe: Resource) -> Self {
        Self { probe, asked: Instant::now() }
    }
}
