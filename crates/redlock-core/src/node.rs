//! The seam: what the driver asks of one independent Redis, and what it may answer.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;

use crate::{
    algorithm::{NodeFacts, Ttl},
    node_error::{NodeError, NodeErrorKind},
    resource::Resource,
    resources::Resources,
    token::Token,
};

/// One independent Redis node.
///
/// # The law
///
/// * Each operation takes effect on all its keys **in one atomic step**, or not at all.
/// * Each is idempotent in its effect under re-sending with the same token: an acquire that finds its own token is
///   granted. A release that was sent again and finds nothing cannot tell whether it was the first one: that is an
///   error, not [`ReleaseAnswer::NotHeld`].
/// * A node that cannot answer returns a [`NodeError`]. It never panics and never waits for ever: bound every
///   operation by a response timeout of your own (about a second). The driver stops *waiting* for a node after its
///   node timeout, but it drives the operation to its end in the background rather than dropping it.
/// * An error says nothing about the effect: the node may have carried the request out, or may do so later. The
///   driver therefore releases on every node, also on those that failed.
/// * An operation that starts after another one has been answered takes effect after it. Over one connection per node
///   this is so by itself; a pool must keep each set of keys on one connection. The driver sees to the rest: it starts a
///   release on a node only when the acquire and the extends of its token have ended there.
/// * A dropped future may or may not have taken effect.
///
/// # Errors
///
/// Every operation fails with a [`NodeError`] whose [kind](NodeError::kind) says what can be done about it.
///
/// `acquire`, `extend` and `release` are required. Everything else has a default body that answers
/// [`NodeErrorKind::Unsupported`], and requests are structs, so that a new operation or option breaks no backend.
#[async_trait]
pub trait LockNode: fmt::Debug + Send + Sync + 'static {
    /// Where the node is, as errors and logs print it, for example `10.0.0.1:6379`. Never holds a password.
    ///
    /// Two nodes of one fleet must not share a name: the builder takes them for one server given twice.
    fn name(&self) -> &str;

    /// Whether the node is a Redis Cluster, which can set several keys in one step only within one hash slot. Default:
    /// it is not.
    fn is_cluster(&self) -> bool {
        false
    }

    /// Sets the keys to the token, with the ttl as their expiry, if none of them holds another value. A key that holds
    /// the token already is left as it is.
    async fn acquire(&self, request: &AcquireRequest) -> Result<AcquireAnswer, NodeError>;

    /// Raises the keys' expiry to the ttl, and never lowers it, and sets those again that are absent, if none of them
    /// holds another value; otherwise changes nothing.
    async fn extend(&self, request: &ExtendRequest) -> Result<ExtendAnswer, NodeError>;

    /// Deletes those keys that hold the token.
    async fn release(&self, request: &ReleaseRequest) -> Result<ReleaseAnswer, NodeError>;

    /// Tells what the key holds, and changes nothing.
    async fn inspect(&self, request: &InspectRequest) -> Result<InspectAnswer, NodeError> {
        let _ = request;
        Err(NodeErrorKind::Unsupported.into())
    }

    /// Tells what the node is and how it is set up, and changes nothing. What it does not tell, or the user may not ask,
    /// is nothing in the [`NodeFacts`]; an error is a node that does not answer at all.
    async fn describe(&self, request: &DescribeRequest) -> Result<NodeFacts, NodeError> {
        let _ = request;
        Err(NodeErrorKind::Unsupported.into())
    }
}

#[async_trait]
impl<T: LockNode + ?Sized> LockNode for Arc<T> {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn is_cluster(&self) -> bool {
        (**self).is_cluster()
    }

    async fn acquire(&self, request: &AcquireRequest) -> Result<AcquireAnswer, NodeError> {
        (**self).acquire(request).await
    }

    async fn extend(&self, request: &ExtendRequest) -> Result<ExtendAnswer, NodeError> {
        (**self).extend(request).await
    }

    async fn release(&self, request: &ReleaseRequest) -> Result<ReleaseAnswer, NodeError> {
        (**self).release(request).await
    }

    async fn inspect(&self, request: &InspectRequest) -> Result<InspectAnswer, NodeError> {
        (**self).inspect(request).await
    }

    async fn describe(&self, request: &DescribeRequest) -> Result<NodeFacts, NodeError> {
        (**self).describe(request).await
    }
}

const _: fn(&dyn LockNode) = |node| {
    fn is_send_sync<T: Send + Sync + ?Sized>(_: &T) {}
    is_send_sync(node);
};

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
}

impl AcquireRequest {
    /// A request to set `keys` to `token` for `ttl`.
    #[must_use]
    pub fn new(keys: impl Into<Resources>, token: Token, ttl: Ttl) -> Self {
        Self { keys: keys.into(), token, ttl }
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
}

impl ExtendRequest {
    /// A request to renew `keys`, held by `token`, for `ttl`.
    #[must_use]
    pub fn new(keys: impl Into<Resources>, token: Token, ttl: Ttl) -> Self {
        Self { keys: keys.into(), token, ttl }
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

/// What a node says to an [`AcquireRequest`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum AcquireAnswer {
    /// The keys hold the token now.
    #[non_exhaustive]
    Granted {},
    /// Another token holds a key.
    #[non_exhaustive]
    Held {
        /// How long it still lives, if the node can say and it expires at all. Of several, that which lives longest.
        remaining: Option<Duration>,
    },
}

impl AcquireAnswer {
    /// The keys hold the token now.
    #[must_use]
    pub fn granted() -> Self {
        Self::Granted {}
    }

    /// Another token holds a key, for so long at most.
    #[must_use]
    pub fn held(remaining: Option<Duration>) -> Self {
        Self::Held { remaining }
    }
}

/// What a node says to an [`ExtendRequest`].
#[derive(Debug, Clone, PartialEq, Eq)]
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

/// What a node says to a [`ReleaseRequest`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReleaseAnswer {
    /// All keys held the token and are gone now.
    Released,
    /// A key was absent or held another token. Those that held this one are gone now.
    NotHeld,
}

/// What a node says to an [`InspectRequest`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum InspectAnswer {
    /// There is no such key.
    Absent,
    /// The key exists.
    #[non_exhaustive]
    Held {
        /// Its value: a token, of this library or of another.
        token: Vec<u8>,
        /// How long the key still lives, if it expires at all.
        remaining: Option<Duration>,
    },
}

impl InspectAnswer {
    /// The key holds this value, for so long at most.
    #[must_use]
    pub fn held(token: impl Into<Vec<u8>>, remaining: Option<Duration>) -> Self {
        Self::Held { token: token.into(), remaining }
    }
}
