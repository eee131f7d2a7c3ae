//! The requests to a node, one type for each kind.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{
    algorithm::{FencingToken, Ttl},
    names::{Resource, Resources, Token},
};

/// The fencing counters beside the keys of a lock. They outlive the lock.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FencingCounters {
    /// Their keys. All of them are counted up together.
    pub keys: Resources,
    /// For how long they are kept after the last use. One that is not there begins with the node's clock in
    /// microseconds.
    pub retention: Duration,
}

impl FencingCounters {
    /// Counters under these keys, kept for so long.
    #[must_use]
    pub fn new(keys: impl Into<Resources>, retention: Duration) -> Self {
        Self { keys: keys.into(), retention }
    }
}

/// The restart guard of a fleet.
///
/// The marker holds which run of the server planted it, the longest ttl, and when the quarantine began. A node that
/// finds none, or that of another run, plants a new one, whose quarantine takes the longest ttl from now on. Fencing
/// counters of before that are taken for lost.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RestartGuard {
    /// The key of the marker.
    pub marker: Resource,
    /// The longest ttl in use. A marker that holds another is an error of the kind
    /// [`NodeErrorKind::Guard`](crate::NodeErrorKind::Guard).
    pub longest: Ttl,
}

impl RestartGuard {
    /// A guard with this marker, for ttls up to the longest.
    #[must_use]
    pub fn new(marker: Resource, longest: Ttl) -> Self {
        Self { marker, longest }
    }
}

/// The waiters of one key, and which of them asks.
///
/// They stand in a sorted set beside the key, by the time at which they came. Whoever deletes the key wakes the first
/// of them by a message on its channel. All of that are hints: safety never rests on them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Enqueue {
    /// The key of the waiters.
    pub waiters: Resource,
    /// On which channel the asking process is woken. It stands for the process among the waiters.
    pub channel: Arc<str>,
    /// Whether it waits behind those who wait already, though the key be free.
    pub yields: bool,
    /// Whether it stands in line also when it is granted, since that may not be enough: it leaves with the release.
    ///
    /// A [plain](AcquireRequest::is_plain) request that is granted leaves the line as it is.
    pub stays: bool,
}

impl Enqueue {
    /// The waiters under this key; who asks is woken on `channel`.
    #[must_use]
    pub fn new(waiters: Resource, channel: Arc<str>) -> Self {
        Self { waiters, channel, yields: false, stays: false }
    }

    /// Waits behind those who wait already, though the key be free.
    #[must_use]
    pub fn yielding(self, yields: bool) -> Self {
        Self { yields, ..self }
    }

    /// Stands in line also when it is granted.
    #[must_use]
    pub fn staying(self, stays: bool) -> Self {
        Self { stays, ..self }
    }
}

/// Wakes the first waiter of each key after a release.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WakeNext {
    /// The keys of the waiters, in the order of the keys that are released.
    pub waiters: Arc<[Resource]>,
    /// Who waits no more, though it may stand among them.
    pub leaving: Option<Arc<str>>,
    /// Whether nobody is woken for a key that was held before this request, by whichever token.
    pub if_free: bool,
}

impl WakeNext {
    /// Wakes the first of each of these.
    #[must_use]
    pub fn new(waiters: impl Into<Arc<[Resource]>>, leaving: Option<Arc<str>>) -> Self {
        Self { waiters: waiters.into(), leaving, if_free: false }
    }

    /// Wakes nobody for a key that was held before this request: whoever holds it wakes the next.
    #[must_use]
    pub fn if_free(self) -> Self {
        Self { if_free: true, ..self }
    }
}

/// The semaphore of a permit, whose slot is the only key of the request.
///
/// The other slots have the same key but for the number at its end. Slots whose number is not below `permits` do not
/// exist.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PermitSlots {
    /// The key of the number of permits. It holds that number for as long as any slot is held, and longer. The keys of
    /// the slots are this key without the `s` at its end, a colon, and their number.
    pub count: Resource,
    /// How many permits there are: 1 to 4,096. If the node holds another number, and one of that many slots is held, it
    /// refuses.
    pub permits: u32,
    /// Where the node begins to look for free slots, if the slot is held. It goes on from 0 after the last one.
    pub offset: u32,
}

impl PermitSlots {
    /// How many free slots a node lists at most.
    pub const LISTED: usize = 64;

    /// A semaphore whose number of permits is at the key `count`.
    #[must_use]
    pub fn new(count: Resource, permits: u32, offset: u32) -> Self {
        Self { count, permits, offset }
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
    /// Whether it asks for a reader, who shares the keys with other readers. Not counted by fencing.
    pub shared: bool,
    /// The counters that count the grant, if fencing is on.
    pub fencing: Option<FencingCounters>,
    /// The restart guard, if it is on.
    pub guard: Option<RestartGuard>,
    /// Where to wait if the key cannot be had; for one key only.
    pub queue: Option<Enqueue>,
    /// For the first keys, in their order, a token that counts as absent: that of a holder that leaves the key to this
    /// one. Usually empty.
    pub predecessors: Arc<[Token]>,
    /// How long a writer that readers refuse keeps new readers out, since it asks again by then; for one key only.
    /// None: it does not. A writer that is granted takes its intent back.
    pub intent: Option<Duration>,
    /// Whether the node is to tell its time with the answer. If not, and nothing else is asked for, a node may take a
    /// shorter way. [`AcquireRequest::new`] says that it is.
    pub wants_clock: bool,
    /// The semaphore, if the key is one of its slots.
    pub permits: Option<PermitSlots>,
}

impl AcquireRequest {
    /// A request to set `keys` to `token` for `ttl`.
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

    /// Whether a free key need only be set: nothing is counted, told or handed over, and nobody comes first.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        let Self { keys, shared, fencing, guard, queue, predecessors, wants_clock, permits, .. } = self;
        let is_more = *shared || *wants_clock || !predecessors.is_empty();
        let has_options = is_more || fencing.is_some() || guard.is_some() || permits.is_some();
        keys.len() == 1 && !has_options && !queue.as_ref().is_some_and(|queue| queue.yields)
    }

    /// The keys of the intents, in the order of the keys: those that keep this reader out, or where this writer leaves
    /// its own. Empty if there are none, or there is no room for one. On a cluster they have to be in the slot of their
    /// keys.
    #[must_use]
    pub fn intents(&self, is_cluster: bool) -> Vec<Resource> {
        let is_wanted = self.shared || self.intent.is_some() && self.keys.len() == 1;
        let keys = self.keys.iter().filter(|_| is_wanted);
        keys.map(|key| key.intent(is_cluster)).collect::<Option<_>>().unwrap_or_default()
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
    /// Whether the token is a reader's. Keys that hold it as a writer's become the reader's then, for at least as long.
    pub shared: bool,
    /// The counters of the lock and the fencing token that it was issued, if it was. Not for a reader.
    pub fencing: Option<(FencingCounters, FencingToken)>,
    /// The semaphore, if the key is one of its slots. Its number of permits is kept as long as the key.
    pub permits: Option<PermitSlots>,
}

impl ExtendRequest {
    /// A request to renew `keys`, held by `token`, for `ttl`.
    #[must_use]
    pub fn new(keys: impl Into<Resources>, token: Token, ttl: Ttl) -> Self {
        Self { keys: keys.into(), token, ttl, shared: false, fencing: None, permits: None }
    }
}

/// Asks a node to delete the keys, or to take a reader out of them: whatever the token is there.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ReleaseRequest {
    /// The keys.
    pub keys: Resources,
    /// The value that a key must hold.
    pub token: Token,
    /// Who is woken then, if anybody is.
    pub wake: Option<WakeNext>,
    /// Whether the [intent](AcquireRequest::intent) that the token has left is taken back, and no other; for one key
    /// only.
    pub intent: bool,
}

impl ReleaseRequest {
    /// A request to delete `keys` if `token` holds it.
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

/// Asks a node to pass on what is published on a channel.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ListenRequest {
    /// The channel.
    pub channel: Arc<str>,
}

impl ListenRequest {
    /// A request to listen on `channel`.
    #[must_use]
    pub fn new(channel: Arc<str>) -> Self {
        Self { channel }
    }
}

/// Asks a node what the key holds.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct InspectRequest {
    /// The key.
    pub resource: Resource,
    /// A token that is reported first, if it is one of many readers'.
    pub token: Option<Token>,
}

impl InspectRequest {
    /// A request to look at `resource`.
    #[must_use]
    pub fn new(resource: Resource) -> Self {
        Self { resource, token: None }
    }
}

/// Asks a node for the locks that it holds.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ListRequest {
    /// What their keys begin with.
    pub prefix: String,
    /// How many are enough, if there are more. It may tell some more.
    pub enough: usize,
    /// How long the node may take. It answers with what it has found by then.
    pub limit: Duration,
}

impl ListRequest {
    /// A request for the locks whose keys begin with `prefix`.
    #[must_use]
    pub fn new(prefix: impl Into<String>, enough: usize, limit: Duration) -> Self {
        Self { prefix: prefix.into(), enough, limit }
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
    pub counters: FencingCounters,
    /// What they are raised to.
    pub candidate: u64,
}

impl RaiseRequest {
    /// A request to raise `counters` to `candidate` while `token` holds `keys`.
    #[must_use]
    pub fn new(keys: impl Into<Resources>, token: Token, counters: FencingCounters, candidate: u64) -> Self {
        Self { keys: keys.into(), token, counters, candidate }
    }
}

/// Asks a new node to grant locks from now on.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct OpenRequest {
    /// The guard whose marker is planted.
    pub guard: RestartGuard,
    /// Which run of the server is opened. Nothing: it is only asked which it is.
    pub run: Option<String>,
}

impl OpenRequest {
    /// A request to plant the marker of `guard` on this run of the server.
    #[must_use]
    pub fn new(guard: RestartGuard, run: Option<String>) -> Self {
        Self { guard, run }
    }
}

/// Asks a node what it is. All nodes whose clocks are compared are asked by clones of one request.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DescribeRequest {
    /// A key that nobody uses: what runs scripts on it runs those of locks.
    pub probe: Resource,
    /// What a [`ClockReading`](crate::algorithm::ClockReading) counts from.
    pub asked: Instant,
}

impl DescribeRequest {
    /// A request, made now, to tell what the node is, with `probe` as the key that nobody uses.
    #[must_use]
    pub fn new(probe: Resource) -> Self {
        Self { probe, asked: Instant::now() }
    }
}
