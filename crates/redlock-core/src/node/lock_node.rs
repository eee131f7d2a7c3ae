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

/// How long a request may stay in flight in the background. Backends end their requests within about a second; this
/// limit catches those that do not.
pub(crate) const LATE_LIMIT: Duration = Duration::from_secs(5);

/// The messages on a channel of one node. Dropping it ends the subscription.
#[async_trait]
pub trait WakeUps: Send {
    /// Returns the next message, or `None` once there will be no more. Messages may be lost.
    async fn next(&mut self) -> Option<Vec<u8>>;
}

/// One independent Redis node.
///
/// # Contract
///
/// * Each operation takes effect on all its keys **in one atomic step**, or not at all.
/// * Each operation is idempotent in its effect when it is sent again with the same token: an acquire that finds its
///   own token is granted. A release that was sent again and finds nothing cannot know whether the first copy has
///   deleted the keys: that is an error, not [`ReleaseAnswer::NotHeld`].
/// * A node that cannot answer returns a [`NodeError`]. It never panics and never waits forever: bound every operation
///   by your own response timeout (about a second). The driver stops *waiting* for a node after its node timeout, but
///   it drives the operation to its end in the background rather than dropping it.
/// * An error does not show whether the request took effect: the node may have carried it out, or may do so later. The
///   driver therefore releases on every node that failed, unless the error is marked as [never
///   sent](NodeError::never_sent). It sends no release to a node that has refused, unless that is a cluster: a node
///   that sends a request twice says so with its [answer](Timed::sent_again) or [error](NodeError::perhaps_sent).
/// * An operation that starts after another one has been answered takes effect after it. One connection per node
///   guarantees this; a pool must keep each set of keys on one connection. The driver does the rest: it starts a
///   release on a node only when the acquire and the extends of its token have ended there.
/// * A dropped future may or may not have taken effect.
///
/// # Errors
///
/// Every operation fails with a [`NodeError`] whose [kind](NodeError::kind) says what can be done about it.
///
/// `acquire`, `extend` and `release` are required. Every other operation has a default body that answers
/// [`NodeErrorKind::Unsupported`], and requests are structs, so a new operation or option breaks no backend.
#[async_trait]
pub trait LockNode: fmt::Debug + Send + Sync + 'static {
    /// Returns where the node is, as errors and logs print it, for example `10.0.0.1:6379`. Never contains a password.
    ///
    /// Two nodes of one fleet must not share a name: the builder treats them as one server that was given twice.
    fn name(&self) -> &str;

    /// Returns whether the node is a Redis Cluster, which can set several keys in one step only within one hash slot.
    /// Default: `false`.
    fn is_cluster(&self) -> bool {
        false
    }

    /// Returns how long the first answer of the node may take because there is no connection yet. `None` once the first
    /// connection was made or has failed, and for a node that needs none. Default: `None`.
    ///
    /// An automatic [node timeout](crate::RedlockBuilder::node_timeout) is extended by this, up to a third of the TTL:
    /// connecting takes several round trips.
    fn connects_within(&self) -> Option<Duration> {
        None
    }

    /// Returns the clock that a [`Redlock`](crate::Redlock) over this node must use, for a simulated node whose keys
    /// expire in virtual time. Default: `None`, for a node in real time.
    ///
    /// Nodes that share a time return clones of one [`Arc`]: the [builder](crate::RedlockBuilder::build) refuses nodes
    /// whose clocks differ. A node that wraps another one returns the clock of that node.
    fn clock(&self) -> Option<Arc<dyn Clock>> {
        None
    }

    /// Sets the keys to the token, with the TTL as their expiry, if none of them holds another value. A key that
    /// already holds the token stays unchanged.
    ///
    /// With [fencing](AcquireRequest::fencing), the node counts each grant in the same step. With a
    /// [guard](AcquireRequest::guard), it grants nothing for a while after each start of the server, which may have
    /// forgotten locks.
    ///
    /// With [`shared`](AcquireRequest::shared), it adds the token to the readers of each key instead, if no writer
    /// holds one of them, and answers [`Queued`](AcquireAnswer::Queued) to a new reader while there is a writer's
    /// [intent](AcquireRequest::intent). A key expires with its last reader. A writer is refused while there are
    /// readers.
    ///
    /// A key that holds the token of its [predecessor](AcquireRequest::predecessors) counts as absent. With a
    /// [queue](AcquireRequest::queue), a caller that is refused is added to the waiters, and a caller that is granted
    /// and does not stay is removed. A node without wait queues ignores the queue.
    ///
    /// With [permits](AcquireRequest::permits), the key is a slot of a semaphore. The node refuses if it has another
    /// number of permits, and one of them is held. It keeps the number for longer than the slot that it grants, and
    /// lists free slots if the slot is held.
    async fn acquire(&self, request: &AcquireRequest) -> Result<Timed<AcquireAnswer>, NodeError>;

    /// Raises the keys' expiry to the TTL, never lowers it, and sets absent keys again, if none of the keys holds
    /// another value; otherwise changes nothing. With [fencing](ExtendRequest::fencing), it raises the counters to the
    /// issued token, and never lowers one. A counter that would be more than 100 years ahead of the node's clock is an
    /// error. With [permits](ExtendRequest::permits), it refuses if it has another number of permits, and one of them
    /// is held, and keeps the number for longer than the slot.
    ///
    /// With [`shared`](ExtendRequest::shared), it does the same for a reader. A writer with this token becomes a
    /// reader.
    async fn extend(&self, request: &ExtendRequest) -> Result<Timed<ExtendAnswer>, NodeError>;

    /// Deletes the keys that hold the token, and removes it from the readers of a key; the last reader deletes the key.
    /// With [`wake`](ReleaseRequest::wake), a process that no longer waits is removed from the wait queue of each key,
    /// and the first waiter that listens is notified; for some requests, only if the key was free before. The
    /// [answer](ReleaseAnswer::waking) reports whether a waiter has been notified.
    async fn release(&self, request: &ReleaseRequest) -> Result<ReleaseAnswer, NodeError>;

    /// Subscribes to a channel, over a connection that all waiters of the process share. Returns once it is subscribed.
    async fn listen(&self, request: &ListenRequest) -> Result<Box<dyn WakeUps>, NodeError> {
        let _ = request;
        Err(NodeErrorKind::Unsupported.into())
    }

    /// Returns what the key holds, and changes nothing.
    async fn inspect(&self, request: &InspectRequest) -> Result<InspectAnswer, NodeError> {
        let _ = request;
        Err(NodeErrorKind::Unsupported.into())
    }

    /// Returns the keys that begin with the prefix and [hold a token](crate::Token::is_one) of this library, and
    /// changes nothing. It may scan all keys of the node, in steps that do not block other clients for long.
    async fn list(&self, request: &ListRequest) -> Result<ListAnswer, NodeError> {
        let _ = request;
        Err(NodeErrorKind::Unsupported.into())
    }

    /// Returns what the node is and how it is configured, and changes nothing. Facts that the node does not report, or
    /// that the user may not query, are missing in the [`NodeFacts`]; an error means that the node does not answer at
    /// all. The reading of its clock comes with the time since [`DescribeRequest::asked`].
    async fn describe(&self, request: &DescribeRequest) -> Result<NodeFacts, NodeError> {
        let _ = request;
        Err(NodeErrorKind::Unsupported.into())
    }

    /// Raises the fencing counters to the candidate if all keys hold the token, all counters exist and none is greater;
    /// otherwise changes nothing. A candidate that is more than 100 years ahead of the node's clock is an error.
    async fn raise(&self, request: &RaiseRequest) -> Result<RaiseAnswer, NodeError> {
        let _ = request;
        Err(NodeErrorKind::Unsupported.into())
    }

    /// Sets the marker of the restart guard, without a quarantine, if there is none and the server is still in the run
    /// that the request names. Without a run in the request, only reports the current one.
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
