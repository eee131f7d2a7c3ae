//! Builds a `Redlock`, and checks its settings.

use std::{collections::HashSet, num::NonZeroUsize, sync::Arc, time::Duration};

use super::Redlock;
use crate::{
    algorithm::{Drift, NodeTimeout, Quorum, Retry, Ttl, TtlError},
    driver::{Background, Fleet, Keeper, Member},
    names::{Owner, Resource},
    node::{Clock, Entropy, LockNode, OsEntropy, RestartGuard, SystemClock},
    queue::Subscriptions,
    report::{Event, Observer, Observers},
};

/// Builds a [`Redlock`]. Everything except the nodes has a default.
#[derive(Debug)]
#[must_use]
pub struct RedlockBuilder {
    nodes: Vec<Arc<dyn LockNode>>,
    drift: Drift,
    node_timeout: NodeTimeout,
    retry: Retry,
    owner: Option<Owner>,
    key_prefix: String,
    fencing: bool,
    fencing_retention: Duration,
    restart_guard: Option<Duration>,
    distrust: Option<Duration>,
    clock: Option<Arc<dyn Clock>>,
    entropy: Box<dyn Entropy>,
    observers: Vec<Arc<dyn Observer>>,
}

impl Default for RedlockBuilder {
    fn default() -> Self {
        Self {
            nodes: Vec::new(),
            drift: Drift::default(),
            node_timeout: NodeTimeout::default(),
            retry: Retry::default(),
            owner: None,
            key_prefix: String::new(),
            fencing: false,
            fencing_retention: Self::FENCING_RETENTION,
            restart_guard: None,
            distrust: None,
            clock: None,
            entropy: Box::new(OsEntropy),
            observers: Vec::new(),
        }
    }
}

impl Redlock {
    /// Returns a lock over these nodes, with defaults for everything else. Sends nothing: nodes may still be down.
    ///
    /// # Errors
    ///
    /// If there are no nodes, or two of them have the same name.
    pub fn new(nodes: impl IntoIterator<Item = impl LockNode>) -> Result<Self, BuildError> {
        Self::builder().nodes(nodes).build()
    }

    /// Returns a lock on a single node, with defaults for everything else: for development, or if you have only one
    /// server. When that node restarts or fails, its locks are lost.
    ///
    /// # Errors
    ///
    /// The errors of [`Redlock::new`].
    pub fn single(node: impl LockNode) -> Result<Self, BuildError> {
        Self::new([node])
    }

    /// Returns a builder, to set more than the nodes.
    pub fn builder() -> RedlockBuilder {
        RedlockBuilder::default()
    }
}

impl RedlockBuilder {
    /// Adds a node. The nodes of a fleet may use different Redis clients.
    pub fn node(mut self, node: impl LockNode) -> Self {
        self.nodes.push(Arc::new(node));
        self
    }

    /// Adds nodes. Use an odd number, 3 or 5, of servers that fail independently of each other.
    pub fn nodes(mut self, nodes: impl IntoIterator<Item = impl LockNode>) -> Self {
        self.nodes.extend(nodes.into_iter().map(|node| Arc::new(node) as Arc<dyn LockNode>));
        self
    }

    /// Sets how lost rounds are retried, unless a call says otherwise. Default: up to 20 attempts, 200 ms +- 100 ms
    /// apart.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// Sets the allowance for clock drift. Default: `ttl * 0.01 + 2 ms`.
    pub fn drift(mut self, drift: Drift) -> Self {
        self.drift = drift;
        self
    }

    /// Sets how long a round waits for a node whose vote it needs. Default: a fiftieth of the TTL, at least 50 ms and
    /// at most 500 ms; [`NodeTimeout`] explains why.
    pub fn node_timeout(mut self, node_timeout: Duration) -> Self {
        self.node_timeout = NodeTimeout::Fixed(node_timeout);
        self
    }

    /// Sets the owner that follows the token in the keys on the nodes. Default: none, only the token.
    ///
    /// This is for people who want to know who holds a lock. No operation reads it, and libraries without owners are
    /// excluded in the same way.
    pub fn owner(mut self, owner: Owner) -> Self {
        self.owner = Some(owner);
        self
    }

    /// Sets the prefix of each resource's key on the nodes, for example `lock:`. Default: none. The key is then the
    /// name, as in other libraries. Names, also in errors, remain as the caller wrote them.
    ///
    /// Locks exclude each other only under the same prefix. A prefix with a hash tag, for example `{lock}:`, keeps all
    /// locks in one slot of a Redis Cluster.
    pub fn key_prefix(mut self, key_prefix: impl Into<String>) -> Self {
        self.key_prefix = key_prefix.into();
        self
    }

    /// How long the nodes keep a fencing counter after its last use, unless
    /// [`fencing_retention`](Self::fencing_retention) says otherwise: 7 days.
    pub const FENCING_RETENTION: Duration = Duration::from_secs(7 * 24 * 60 * 60);

    /// Sets whether each lock gets a [fencing token](crate::Lock::fencing_token), unless a call [says
    /// otherwise](crate::AcquireOptions::fencing). Default: no.
    ///
    /// Tokens grow as long as counters do not go back on the nodes. A counter that is lost begins again with the node's
    /// clock: above all others, unless the nodes' clocks are further apart than the time for which the node was away. A
    /// counter that comes back with an *earlier* value does not. That happens with snapshots, with `appendfsync
    /// everysec` after a crash, and when a replica is promoted. A [restart guard](Self::restart_guard) helps against
    /// the first two.
    ///
    /// With fencing, the nodes keep a counter beside each lock, under `{name}:fence`, or under `name:fence` if the name
    /// has a hash tag. An acquire takes one round trip if the nodes that grant agree on the counter, as they do when
    /// holders follow each other, and one more otherwise. All callers that lock a resource must use fencing: a grant
    /// without a counter is not ordered.
    pub fn fencing(mut self, fencing: bool) -> Self {
        self.fencing = fencing;
        self
    }

    /// Sets how long the nodes keep a fencing counter after its last use. Default: [7 days](Self::FENCING_RETENTION).
    ///
    /// A counter that has expired begins again with the node's clock, in microseconds since 1970. That is above all
    /// earlier values, unless a clock with which a counter began was ahead of it by more than the retention. So make
    /// the retention longer than clocks are ever wrong by, and longer than any holder may be paused.
    pub fn fencing_retention(mut self, retention: Duration) -> Self {
        self.fencing_retention = retention;
        self
    }

    /// Guards against nodes that forget locks when they restart, in fleets where no TTL is above `longest_ttl`.
    /// Default: no guard.
    ///
    /// A node that was restarted grants nothing for the longest TTL, counted from the first acquire that reaches it:
    /// until all locks that it may have forgotten are over. If a quorum needs such nodes, nobody gets a lock meanwhile,
    /// so callers have to wait for longer than that, with [`AcquireOptions::timeout`](crate::AcquireOptions::timeout).
    /// This applies even if the node keeps its data, since the last changes may be missing. Meanwhile locks that are
    /// held may be extended there, and errors report how long the wait still takes. A new node waits as well, unless
    /// [`Redlock::initialize`] opens the fleet.
    ///
    /// **All** programs that use these nodes must have the same guard. The nodes refuse another longest TTL. They keep
    /// it in a key of its own, `redlock:restart-guard` after the [key prefix](Self::key_prefix). To change it, stop all
    /// programs that use the nodes and delete that key on each node. The user of a node needs `INFO` and `TIME`. On a
    /// Redis Cluster the key prefix needs a hash tag, for example `{lock}:`.
    ///
    /// The node's clock measures the quarantine, as it measures the expiry of the keys: a clock that is set forward
    /// meanwhile ends the quarantine early. Start the server after its machine's clock is right. The guard protects
    /// against restarts of a server, and not against data that goes back while the server runs, for example when a
    /// replica is promoted and the primary follows it. With [`fencing`](Self::fencing), counters from before the
    /// restart are treated as lost, and begin again with the clock.
    pub fn restart_guard(mut self, longest_ttl: Duration) -> Self {
        self.restart_guard = Some(longest_ttl);
        self
    }

    /// Ignores the grants of a node for this time after its clock was seen to jump, since its keys may have expired too
    /// early. Pass the longest TTL in use. Default: a jump only causes a warning in the log.
    ///
    /// A jump is seen when an answer contains a time that is impossible by our clock and the allowance for drift. So
    /// only a node that has answered before can be seen to jump, and this helps a process that runs for a long time. If
    /// our own clock was stopped, for example while a virtual machine was paused, all nodes seem to have jumped, and
    /// none is trusted for a while. The clocks of a Redis Cluster are not watched, nor those of nodes whose user may
    /// not run `TIME`.
    pub fn distrust_jumped_clocks(mut self, longest_ttl: Duration) -> Self {
        self.distrust = Some(longest_ttl);
        self
    }

    /// Sets the clock for validity, pauses and owed releases. It must advance with Tokio's timers, or faster. Default:
    /// the [clock of the nodes](LockNode::clock), if they are simulated, and [`SystemClock`] otherwise.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Some(Arc::new(clock));
        self
    }

    /// Sets the source of tokens and jitter. Default: [`OsEntropy`]. Only simulations need another.
    pub fn entropy(mut self, entropy: impl Entropy) -> Self {
        self.entropy = Box::new(entropy);
        self
    }

    /// Adds an observer of what happens to locks and what nodes answer. It does not replace observers that were added
    /// before. Default: none.
    pub fn observer(mut self, observer: impl Observer) -> Self {
        self.observers.push(Arc::new(observer));
        self
    }

    /// Builds the [`Redlock`]. Sends nothing: nodes may still be down.
    ///
    /// # Errors
    ///
    /// If there are no nodes, two nodes have the same name or different clocks, the node timeout is zero, the key
    /// prefix leaves no room for a name, or a time for fencing or the restart guard cannot be used.
    pub fn build(self) -> Result<Redlock, BuildError> {
        let nodes = NonZeroUsize::new(self.nodes.len()).ok_or(BuildError::NoNodes)?;
        let mut names = HashSet::new();
        if let Some(twice) = self.nodes.iter().find(|node| !names.insert(node.name())) {
            return Err(BuildError::DuplicateNode { name: twice.name().to_owned() });
        }
        if self.node_timeout == NodeTimeout::Fixed(Duration::ZERO) {
            return Err(BuildError::ZeroNodeTimeout);
        }
        if let NodeTimeout::Fixed(node_timeout) = self.node_timeout
            && node_timeout > Ttl::MAX
        {
            return Err(BuildError::NodeTimeoutTooLong { node_timeout });
        }
        if self.key_prefix.len() >= Resource::MAX_LEN {
            return Err(BuildError::KeyPrefixTooLong { len: self.key_prefix.len() });
        }
        if self.fencing_retention < Ttl::MIN || self.fencing_retention > Self::LONGEST_RETENTION {
            return Err(BuildError::FencingRetention { retention: self.fencing_retention });
        }
        let clock = match &self.clock {
            Some(clock) => Arc::clone(clock),
            None => self.clock_of_nodes()?.unwrap_or_else(|| Arc::new(SystemClock)),
        };
        let guard = self.restart_guard.map(|longest| self.guard(longest)).transpose()?;
        let fleet = Fleet {
            quorum: Quorum::of(nodes),
            queues: Arc::default(),
            subscriptions: Subscriptions::new(self.nodes.len()),
            members: self.nodes.into_iter().map(|node| Member::new(node, nodes.get())).collect(),
            drift: self.drift,
            node_timeout: self.node_timeout,
            retry: self.retry,
            owner: self.owner,
            key_prefix: self.key_prefix.into(),
            fencing: self.fencing,
            fencing_retention: self.fencing_retention,
            guard,
            distrust: self.distrust,
            clock,
            entropy: self.entropy,
            background: Background::default(),
            keeper: Keeper::default(),
            observers: Observers::new(self.observers),
        };
        for member in &fleet.members {
            // So that the metric of each node exists from the start.
            let node = member.node.name();
            fleet.observers.tell(&Event::ReleasesOwed { node, before: 0, now: 0 });
        }
        Ok(Redlock::from(fleet))
    }

    /// A century: an upper bound for what is sent.
    const LONGEST_RETENTION: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

    fn clock_of_nodes(&self) -> Result<Option<Arc<dyn Clock>>, BuildError> {
        let mut clocks = self.nodes.iter().filter_map(|node| Some((node.name(), node.clock()?)));
        let Some((first, clock)) = clocks.next() else { return Ok(None) };
        match clocks.find(|(_, other)| !Arc::ptr_eq(other, &clock)) {
            Some((other, _)) => Err(BuildError::DifferentClocks { first: first.to_owned(), other: other.to_owned() }),
            None => Ok(Some(clock)),
        }
    }

    fn guard(&self, longest: Duration) -> Result<RestartGuard, BuildError> {
        let longest = Ttl::new(longest).map_err(|reason| BuildError::RestartGuard { reason })?;
        let marker = Resource::new(format!("{}redlock:restart-guard", self.key_prefix));
        let marker = marker.map_err(|_| BuildError::KeyPrefixTooLong { len: self.key_prefix.len() })?;
        Ok(RestartGuard::new(marker, longest))
    }
}

/// A [`Redlock`] could not be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// There are no nodes.
    #[error("there are no nodes: give at least one, better 3 or 5")]
    NoNodes,
    /// Two nodes have the same name, so they are most likely one server, which must not vote twice.
    #[error("node {name} is given twice: one server must not vote twice")]
    DuplicateNode {
        /// The name.
        name: String,
    },
    /// Two nodes are simulated with different [clocks](LockNode::clock), for example those of two processes of one
    /// fleet.
    #[error("nodes {first} and {other} have different clocks: use nodes of one process, or set a clock")]
    DifferentClocks {
        /// The name of one of them.
        first: String,
        /// The name of the other.
        other: String,
    },
    /// The node timeout is zero: no node could ever answer in time.
    #[error("the node timeout is zero: no node could answer in time")]
    ZeroNodeTimeout,
    /// The node timeout is longer than any TTL.
    #[error(
        "the node timeout of {node_timeout:?} is longer than any TTL, which is at most {:?}: no lock could be acquired",
        Ttl::MAX
    )]
    NodeTimeoutTooLong {
        /// The node timeout.
        node_timeout: Duration,
    },
    /// The counters of fencing tokens cannot be kept for this long.
    #[error("the fencing counters cannot be kept for {retention:?}: use 1 ms to 100 years, better days")]
    FencingRetention {
        /// The requested retention.
        retention: Duration,
    },
    /// The longest TTL of the restart guard is not a valid TTL.
    #[error("the restart guard's longest TTL cannot be used: {reason}")]
    RestartGuard {
        /// The reason.
        reason: TtlError,
    },
    /// The operating system did not start a thread for blocking calls.
    #[error("the operating system did not start a thread for blocking calls: {error}")]
    NoThread {
        /// The message of the operating system.
        error: String,
    },
    /// The key prefix leaves no room for a name within [`Resource::MAX_LEN`].
    #[error(
        "the key prefix has {len} bytes, but prefix and name may have {} together: use a shorter one",
        Resource::MAX_LEN
    )]
    KeyPrefixTooLong {
        /// Its length in bytes.
        len: usize,
    },
}
