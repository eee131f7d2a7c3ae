//! The node trait: what a backend implements for one independent Redis.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;

use super::{
    answer::{AcquireAnswer, ExtendAnswer, InspectAnswer, ListAnswer, OpenAnswer, RaiseAnswer, ReleaseAnswer, Timed},
    clock::Clock,
    node_error::NodeError,
    node_error_kind::NodeErrorKind,
    request::{
        AcquireRequest, DescribeRequest, ExtendRequest, InspectRequest, ListRequest, ListenRequest, OpenRequest,
        RaiseRequest, ReleaseRequest,
    },
};
use crate::algorithm::NodeFacts;

/// How long a request may stay out in the background. Backends end theirs within about a second; this is the net
/// under those that do not.
pub(crate) const LATE_LIMIT: Duration = Duration::from_secs(5);

/// What is published on a channel of one node. Dropped, it is listened to no more.
#[async_trait]
pub trait WakeUps: Send {
    /// The next message; nothing once there will be none any more. Messages may be lost.
    async fn next(&mut self) -> Option<Vec<u8>>;
}

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

    /// Returns how long the first answer of the node may take because there is no connection yet. None once the first
    /// connection was made or has failed, and for a node that needs none. Default: none.
    ///
    /// An automatic [node timeout](crate::RedlockBuilder::node_timeout) is extended by this, up to a third of the TTL:
    /// connecting takes several round trips.
    fn connects_within(&self) -> Option<Duration> {
        None
    }

    /// Returns the clock that a [`Redlock`](crate::Redlock) over this node must use, for a simulated node whose keys
    /// expire in virtual time. Default: none, for a node in real time.
    ///
    /// Nodes that share a time return clones of one [`Arc`]: the [builder](crate::RedlockBuilder::build) refuses nodes
    /// whose clocks differ. A node that wraps another one returns the clock of that one.
    fn clock(&self) -> Option<Arc<dyn Clock>> {
        None
    }

    /// Sets the keys to the token, with the ttl as their expiry, if none of them holds another value. A key that holds
    /// the token already is left as it is.
    ///
    /// With [fencing](AcquireRequest::fencing) it counts each grant, in the same step. With a [guard](AcquireRequest::guard)
    /// it grants nothing for a while after each start of the server, which may have forgotten locks.
    ///
    /// With [`shared`](AcquireRequest::shared) it adds the token to the readers of each key instead, if no writer holds one
    /// of them, and answers [`Queued`](AcquireAnswer::Queued) to a new reader while a writer's
    /// [intent](AcquireRequest::intent) is there. A key expires with its last reader. A writer is refused while there are
    /// readers.
    ///
    /// A key that holds the token of its [predecessor](AcquireRequest::predecessors) counts as absent. With a
    /// [queue](AcquireRequest::queue), who is refused is put among the waiters, and who is granted and does not stay is taken
    /// out. A node that keeps no waiters leaves the queue aside.
    async fn acquire(&self, request: &AcquireRequest) -> Result<Timed<AcquireAnswer>, NodeError>;

    /// Raises the keys' expiry to the ttl, and never lowers it, and sets those again that are absent, if none of them
    /// holds another value; otherwise changes nothing. With [fencing](ExtendRequest::fencing) it raises the counters to the
    /// token that was issued, and never lowers one. A counter that would be more than 100 years ahead of the node's
    /// clock is an error.
    ///
    /// With [`shared`](ExtendRequest::shared) it does so for a reader, and makes a reader of the token where it is a
    /// writer's.
    async fn extend(&self, request: &ExtendRequest) -> Result<Timed<ExtendAnswer>, NodeError>;

    /// Deletes those keys that hold the token, and takes it out of the readers of a key; the last reader deletes the key.
    /// With [`wake`](ReleaseRequest::wake), a process that waits no more is
    /// taken out of the waiters of each key, and the first waiter that listens is woken, of some requests only if the
    /// key was free before. The [answer](ReleaseAnswer::waking) tells whether there is one.
    async fn release(&self, request: &ReleaseRequest) -> Result<ReleaseAnswer, NodeError>;

    /// Listens on a channel, over a connection that all waiters of the process share. Answers once it does.
    async fn listen(&self, request: &ListenRequest) -> Result<Box<dyn WakeUps>, NodeError> {
        let _ = request;
        Err(NodeErrorKind::Unsupported.into())
    }

    /// Tells what the key holds, and changes nothing.
    async fn inspect(&self, request: &InspectRequest) -> Result<InspectAnswer, NodeError> {
        let _ = request;
        Err(NodeErrorKind::Unsupported.into())
    }

    /// Names the keys that begin with the prefix and [hold a token](crate::Token::is_one) of this library, and changes
    /// nothing. It may go over all keys of the node, in steps that hold nobody up.
    async fn list(&self, request: &ListRequest) -> Result<ListAnswer, NodeError> {
        let _ = request;
        Err(NodeErrorKind::Unsupported.into())
    }

    /// Tells what the node is and how it is set up, and changes nothing. What it does not tell, or the user may not ask,
    /// is nothing in the [`NodeFacts`]; an error is a node that does not answer at all. What its clock reads is told by
    /// the time since [`DescribeRequest::asked`].
    async fn describe(&self, request: &DescribeRequest) -> Result<NodeFacts, NodeError> {
        let _ = request;
        Err(NodeErrorKind::Unsupported.into())
    }

    /// Raises the fencing counters to the candidate if all keys hold the token, and all counters are there and none is
    /// greater; otherwise changes nothing. A candidate that is more than 100 years ahead of the node's clock is an
    /// error.
    async fn raise(&self, request: &RaiseRequest) -> Result<RaiseAnswer, NodeError> {
        let _ = request;
        Err(NodeErrorKind::Unsupported.into())
    }

    /// Plants the marker of the restart guard, without a quarantine, where there is none; if the server still runs that was
    /// asked before.
    async fn open(&self, request: &OpenRequest) -> Result<OpenAnswer, NodeError> {
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

    fn connects_within(&self) -> Option<Duration> {
        (**self).connects_within()
    }

    fn clock(&self) -> Option<Arc<dyn Clock>> {
        (**self).clock()
    }

    async fn acquire(&self, request: &AcquireRequest) -> Result<Timed<AcquireAnswer>, NodeError> {
        (**self).acquire(request).await
    }

    async fn extend(&self, request: &ExtendRequest) -> Result<Timed<ExtendAnswer>, NodeError> {
        (**self).extend(request).await
    }

    async fn release(&self, request: &ReleaseRequest) -> Result<ReleaseAnswer, NodeError> {
        (**self).release(request).await
    }

    async fn inspect(&self, request: &InspectRequest) -> Result<InspectAnswer, NodeError> {
        (**self).inspect(request).await
    }

    async fn list(&self, request: &ListRequest) -> Result<ListAnswer, NodeError> {
        (**self).list(request).await
    }

    async fn raise(&self, request: &RaiseRequest) -> Result<RaiseAnswer, NodeError> {
        (**self).raise(request).await
    }

    async fn open(&self, request: &OpenRequest) -> Result<OpenAnswer, NodeError> {
        (**self).open(request).await
    }

    async fn listen(&self, request: &ListenRequest) -> Result<Box<dyn WakeUps>, NodeError> {
        (**self).listen(request).await
    }

    async fn describe(&self, request: &DescribeRequest) -> Result<NodeFacts, NodeError> {
        (**self).describe(request).await
    }
}

const _: fn(&dyn LockNode) = |node| {
    fn is_send_sync<T: Send + Sync + ?Sized>(_: &T) {}
    is_send_sync(node);
};
