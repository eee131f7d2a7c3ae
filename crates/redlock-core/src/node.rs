//! The seam: what the driver asks of one independent Redis, and what it may answer.

use std::{error::Error, fmt, sync::Arc, time::Duration};

use async_trait::async_trait;

use crate::{algorithm::Ttl, resource::Resource, token::Token};

/// One independent Redis node.
///
/// # The law
///
/// * Each operation takes effect on the node **atomically**, or not at all.
/// * Each is idempotent under re-sending with the same token: an acquire that finds its own token is granted.
/// * A node that cannot answer returns a [`NodeError`]. It never panics and never waits for ever: bound every
///   operation by a response timeout of your own (about a second). The driver stops *waiting* for a node after its
///   node timeout, but it drives the operation to its end in the background rather than dropping it.
/// * An error says nothing about the effect: the node may have carried the request out, or may do so later. The
///   driver therefore releases on every node, also on those that failed.
/// * An operation that starts after another one has been answered takes effect after it. Over one connection per node
///   this is so by itself; a pool must keep each resource on one connection. The driver sees to the rest: it starts a
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

    /// Sets the resource's key to the token, with the ttl as its expiry, if the key is absent.
    async fn acquire(&self, request: &AcquireRequest) -> Result<AcquireAnswer, NodeError>;

    /// Raises the expiry to the ttl if the key holds the token, and never lowers it; sets the key again if it is absent;
    /// otherwise changes nothing.
    async fn extend(&self, request: &ExtendRequest) -> Result<ExtendAnswer, NodeError>;

    /// Deletes the key if it holds the token.
    async fn release(&self, request: &ReleaseRequest) -> Result<ReleaseAnswer, NodeError>;

    /// Tells what the key holds, and changes nothing.
    async fn inspect(&self, request: &InspectRequest) -> Result<InspectAnswer, NodeError> {
        let _ = request;
        Err(NodeErrorKind::Unsupported.into())
    }
}

#[async_trait]
impl<T: LockNode + ?Sized> LockNode for Arc<T> {
    fn name(&self) -> &str {
        (**self).name()
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
}

const _: fn(&dyn LockNode) = |node| {
    fn is_send_sync<T: Send + Sync + ?Sized>(_: &T) {}
    is_send_sync(node);
};

/// Asks a node to set the key.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct AcquireRequest {
    /// The key.
    pub resource: Resource,
    /// The value, unique to one holder and one round.
    pub token: Token,
    /// The key's expiry.
    pub ttl: Ttl,
}

impl AcquireRequest {
    /// A request to set `resource` to `token` for `ttl`.
    #[must_use]
    pub fn new(resource: Resource, token: Token, ttl: Ttl) -> Self {
        Self { resource, token, ttl }
    }
}

/// Asks a node to renew the key's expiry.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ExtendRequest {
    /// The key.
    pub resource: Resource,
    /// The value that the key must hold, or gets if it is absent.
    pub token: Token,
    /// The key's new expiry.
    pub ttl: Ttl,
}

impl ExtendRequest {
    /// A request to renew `resource`, held by `token`, for `ttl`.
    #[must_use]
    pub fn new(resource: Resource, token: Token, ttl: Ttl) -> Self {
        Self { resource, token, ttl }
    }
}

/// Asks a node to delete the key.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ReleaseRequest {
    /// The key.
    pub resource: Resource,
    /// The value that the key must hold.
    pub token: Token,
}

impl ReleaseRequest {
    /// A request to delete `resource` if `token` holds it.
    #[must_use]
    pub fn new(resource: Resource, token: Token) -> Self {
        Self { resource, token }
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
    /// The key holds the token now.
    #[non_exhaustive]
    Granted {},
    /// Another token holds the key.
    #[non_exhaustive]
    Held {
        /// How long the key still lives, if the node can say and the key expires at all.
        remaining: Option<Duration>,
    },
}

impl AcquireAnswer {
    /// The key holds the token now.
    #[must_use]
    pub fn granted() -> Self {
        Self::Granted {}
    }

    /// Another token holds the key, for so long at most.
    #[must_use]
    pub fn held(remaining: Option<Duration>) -> Self {
        Self::Held { remaining }
    }
}

/// What a node says to an [`ExtendRequest`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExtendAnswer {
    /// The key holds the token, for the ttl at least.
    Extended,
    /// The key was absent and holds the token again.
    Healed,
    /// Another token holds the key.
    #[non_exhaustive]
    Held {
        /// How long the key still lives, if the node can say and the key expires at all.
        remaining: Option<Duration>,
    },
}

impl ExtendAnswer {
    /// Another token holds the key, for so long at most.
    #[must_use]
    pub fn held(remaining: Option<Duration>) -> Self {
        Self::Held { remaining }
    }
}

/// What a node says to a [`ReleaseRequest`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReleaseAnswer {
    /// The key held the token and is gone now.
    Released,
    /// The key was absent or held another token.
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

/// Why a node did not answer, or answered with an error.
#[derive(Debug, thiserror::Error)]
#[error("{kind}")]
pub struct NodeError {
    kind: NodeErrorKind,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl NodeError {
    /// An error of `kind`, caused by `source` (the client's own error, or a text).
    pub fn new(kind: NodeErrorKind, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { kind, source: Some(source.into()) }
    }

    /// What a caller can act on.
    #[must_use]
    pub fn kind(&self) -> NodeErrorKind {
        self.kind
    }
}

impl From<NodeErrorKind> for NodeError {
    fn from(kind: NodeErrorKind) -> Self {
        Self { kind, source: None }
    }
}

/// The kinds of [`NodeError`], by what a caller can do about them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NodeErrorKind {
    /// No answer in time. The node may be hung, overloaded or far away; the request may still be carried out.
    Timeout,
    /// The node cannot be reached: refused, reset, unknown host, TLS failure.
    Unreachable,
    /// The node wants another user or password.
    Authentication,
    /// The user may not run the command (`NOPERM`): `EVALSHA` and `EVAL` are needed.
    Permission,
    /// The key holds something that is not a string: it is not a lock.
    WrongType,
    /// The node is a read-only replica, or may not write now.
    ReadOnly,
    /// The node is loading its data set, or busy with a script.
    Loading,
    /// The node's `maxmemory` is reached.
    OutOfMemory,
    /// The node cannot do this at all.
    Unsupported,
    /// Anything else; see the source.
    Other,
}

impl NodeErrorKind {
    /// What an operator can do about it, where there is something to do.
    #[must_use]
    pub fn advice(self) -> Option<&'static str> {
        match self {
            Self::Timeout => Some("look for a hung or overloaded node, or raise the node timeout"),
            Self::Unreachable => Some("check that the node runs and that its address, port and TLS settings are right"),
            Self::Authentication => Some("check the user and the password in the node's URL"),
            Self::Permission => Some(
                "allow the user EVAL, EVALSHA, SET, GET, DEL and PTTL on the locks' keys, and SELECT if a database is given",
            ),
            Self::WrongType => Some("the key is used for something else: choose another resource name"),
            Self::ReadOnly => {
                Some("give a primary's address, since a replica is not a node; or let the node write again")
            }
            Self::Loading => Some("wait until the node has loaded its data"),
            Self::OutOfMemory => Some("raise the node's maxmemory, or give the locks a node of their own"),
            Self::Unsupported | Self::Other => None,
        }
    }

    /// The kind of a Redis error reply, from its text, as `WRONGTYPE Operation against a key ...`.
    ///
    /// For authors of backends: clients disagree on how they split a reply, and servers before 7.0 wrap the reply of
    /// a command that failed inside a script, so the code is looked for anywhere in the text.
    #[must_use]
    pub fn of_reply(text: &str) -> Self {
        const CODES: [(&str, NodeErrorKind); 17] = [
            ("NOAUTH", NodeErrorKind::Authentication),
            ("Authentication required", NodeErrorKind::Authentication),
            ("WRONGPASS", NodeErrorKind::Authentication),
            ("invalid password", NodeErrorKind::Authentication),
            ("without any password configured", NodeErrorKind::Authentication),
            ("NOPERM", NodeErrorKind::Permission),
            ("has no permissions", NodeErrorKind::Permission),
            ("user executing the script can't", NodeErrorKind::Permission),
            ("WRONGTYPE", NodeErrorKind::WrongType),
            ("READONLY", NodeErrorKind::ReadOnly),
            ("MISCONF", NodeErrorKind::ReadOnly),
            ("NOREPLICAS", NodeErrorKind::ReadOnly),
            ("MASTERDOWN", NodeErrorKind::ReadOnly),
            ("LOADING", NodeErrorKind::Loading),
            ("BUSY", NodeErrorKind::Loading),
            ("OOM", NodeErrorKind::OutOfMemory),
            ("unknown command", NodeErrorKind::Unsupported),
        ];
        CODES.iter().find(|(code, _)| text.contains(code)).map_or(Self::Other, |(_, kind)| *kind)
    }
}

impl fmt::Display for NodeErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Timeout => "no answer in time",
            Self::Unreachable => "unreachable",
            Self::Authentication => "authentication failed",
            Self::Permission => "permission denied",
            Self::WrongType => "the key holds another type",
            Self::ReadOnly => "read-only",
            Self::Loading => "loading or busy",
            Self::OutOfMemory => "out of memory",
            Self::Unsupported => "not supported",
            Self::Other => "failed",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_of_a_reply_is_found_wherever_its_code_stands() {
        for (text, kind) in [
            ("NOAUTH Authentication required.", NodeErrorKind::Authentication),
            ("WRONGPASS invalid username-password pair or user is disabled.", NodeErrorKind::Authentication),
            ("ERR invalid password", NodeErrorKind::Authentication),
            ("ERR AUTH <password> called without any password configured", NodeErrorKind::Authentication),
            ("NOPERM this user has no permissions to run the 'evalsha' command", NodeErrorKind::Permission),
            ("refused to switch database: this user has no permissions to run 'select'", NodeErrorKind::Permission),
            ("WRONGTYPE Operation against a key holding the wrong kind of value", NodeErrorKind::WrongType),
            ("ERR Error running script (call to f_1): @user_script:3: -READONLY You can't", NodeErrorKind::ReadOnly),
            ("MISCONF Redis is configured to save RDB snapshots", NodeErrorKind::ReadOnly),
            ("NOREPLICAS Not enough good replicas to write.", NodeErrorKind::ReadOnly),
            ("MASTERDOWN Link with MASTER is down", NodeErrorKind::ReadOnly),
            ("LOADING Redis is loading the dataset in memory", NodeErrorKind::Loading),
            ("BUSY Redis is busy running a script.", NodeErrorKind::Loading),
            ("OOM command not allowed when used memory > 'maxmemory'.", NodeErrorKind::OutOfMemory),
            ("ERR unknown command 'EVALSHA'", NodeErrorKind::Unsupported),
            ("ERR whatever", NodeErrorKind::Other),
        ] {
            assert_eq!(NodeErrorKind::of_reply(text), kind, "{text}");
        }
    }
}
