//! How a `Redlock` is put together, and all that is checked when it is.

use std::{collections::HashSet, num::NonZeroUsize, sync::Arc, time::Duration};

use crate::{
    algorithm::{Drift, NodeTimeout, Quorum, Retry, Ttl},
    auto_extend::Watchdog,
    background::Background,
    clock::{Clock, SystemClock},
    entropy::{Entropy, OsEntropy},
    fleet::{Fleet, Member},
    node::LockNode,
    owner::Owner,
    redlock::Redlock,
    resource::Resource,
};

/// Puts a [`Redlock`] together. Everything but the nodes has a default.
#[derive(Debug)]
#[must_use]
pub struct RedlockBuilder {
    nodes: Vec<Arc<dyn LockNode>>,
    drift: Drift,
    node_timeout: NodeTimeout,
    retry: Retry,
    owner: Option<Owner>,
    key_prefix: String,
    clock: Box<dyn Clock>,
    entropy: Box<dyn Entropy>,
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
            clock: Box::new(SystemClock),
            entropy: Box::new(OsEntropy),
        }
    }
}

impl RedlockBuilder {
    /// Adds a node. The nodes of a fleet may use different Redis clients.
    pub fn node(mut self, node: impl LockNode) -> Self {
        self.nodes.push(Arc::new(node));
        self
    }

    /// Adds nodes. Take an odd number, 3 or 5, of servers that fail independently of each other.
    pub fn nodes(mut self, nodes: impl IntoIterator<Item = impl LockNode>) -> Self {
        self.nodes.extend(nodes.into_iter().map(|node| Arc::new(node) as Arc<dyn LockNode>));
        self
    }

    /// How lost rounds are retried, unless a call says otherwise. Default: up to 20 attempts, 200 ms +- 100 ms apart.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// The allowance for clock drift. Default: `ttl * 0.01 + 2 ms`.
    pub fn drift(mut self, drift: Drift) -> Self {
        self.drift = drift;
        self
    }

    /// How long a round waits for a node whose vote it needs. Default: a fiftieth of the ttl, at least 50 ms and at
    /// most 500 ms; [`NodeTimeout`] says why.
    pub fn node_timeout(mut self, node_timeout: Duration) -> Self {
        self.node_timeout = NodeTimeout::Fixed(node_timeout);
        self
    }

    /// Whom the locks say that they belong to, behind the token on the nodes. Default: nobody, only the token.
    ///
    /// For people who look for who holds a lock: no operation looks at it, and libraries that have none are no less
    /// excluded.
    pub fn owner(mut self, owner: Owner) -> Self {
        self.owner = Some(owner);
        self
    }

    /// What stands before each resource's name in its key on the nodes, as `lock:`. Default: nothing, the key is the name,
    /// as other libraries have it. Names, in errors too, stay what the caller gave.
    ///
    /// Locks exclude each other only under one prefix. A prefix with a hash tag, as `{lock}:`, keeps all locks in one
    /// slot of a Redis Cluster.
    pub fn key_prefix(mut self, key_prefix: impl Into<String>) -> Self {
        self.key_prefix = key_prefix.into();
        self
    }

    /// The clock for validity. Default: [`SystemClock`]. For tests with virtual time: [`TokioClock`](crate::TokioClock).
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Box::new(clock);
        self
    }

    /// The source of tokens and jitter. Default: [`OsEntropy`]. Only simulations want another.
    pub fn entropy(mut self, entropy: impl Entropy) -> Self {
        self.entropy = Box::new(entropy);
        self
    }

    /// Puts it together. Sends nothing: nodes may still be down.
    ///
    /// # Errors
    ///
    /// If there are no nodes, two nodes have one name, the node timeout is zero, or the key prefix leaves no room for a
    /// name.
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
        Ok(Redlock::from(Fleet {
            quorum: Quorum::of(nodes),
            members: self.nodes.into_iter().map(Member::new).collect(),
            drift: self.drift,
            node_timeout: self.node_timeout,
            retry: self.retry,
            owner: self.owner,
            key_prefix: self.key_prefix.into(),
            clock: self.clock,
            entropy: self.entropy,
            background: Background::default(),
            watchdog: Watchdog::default(),
        }))
    }
}

/// A [`Redlock`] could not be put together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// There are no nodes.
    #[error("there are no nodes: give at least one, better 3 or 5")]
    NoNodes,
    /// Two nodes have one name, so they are most likely one server, which must not vote twice.
    #[error("node {name} is given twice: one server must not vote twice")]
    DuplicateNode {
        /// The name.
        name: String,
    },
    /// The node timeout is zero: no node could ever answer in time.
    #[error("the node timeout is zero: no node could answer in time")]
    ZeroNodeTimeout,
    /// The node timeout is longer than any ttl.
    #[error(
        "the node timeout of {node_timeout:?} is longer than any ttl, {:?} at most: no lock could be taken",
        Ttl::MAX
    )]
    NodeTimeoutTooLong {
        /// The node timeout.
        node_timeout: Duration,
    },
    /// The operating system gave no thread for blocking calls.
    #[error("the operating system gave no thread for blocking calls: {error}")]
    NoThread {
        /// What it said.
        error: String,
    },
    /// The key prefix is so long that no key would be within [`Resource::MAX_LEN`].
    #[error(
        "the key prefix has {len} bytes, but prefix and name may have {} together: give a shorter one",
        Resource::MAX_LEN
    )]
    KeyPrefixTooLong {
        /// Its length in bytes.
        len: usize,
    },
}
