//! One token on all nodes: what a round takes, what a lock holds, and what is always given back.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{runtime::Handle, sync::Mutex};

use crate::{
    fleet::{Fleet, Member, Terms},
    node::{
        AcquireAnswer, AcquireRequest, ExtendAnswer, ExtendRequest, NodeError, NodeErrorKind, ReleaseAnswer,
        ReleaseRequest,
    },
    resource::Resource,
    round_trip::{LATE_LIMIT, Request, RoundTrip},
    token::Token,
};

/// One token on all nodes.
///
/// Dropped without a release, it gives the token back on **all** nodes in the background: on those that granted, on
/// those that failed and on those that have not answered. So a lost round, a cancelled acquire and a dropped lock are
/// one and the same thing.
pub(crate) struct Claim(Arc<Claimed>);

struct Claimed {
    fleet: Arc<Fleet>,
    /// Where the background work runs, also when the claim is dropped outside a runtime.
    runtime: Handle,
    resource: Resource,
    token: Token,
    node_timeout: Duration,
    /// One lane per node. A request holds its node's lane from start to end, so requests of one token reach a node in
    /// the order in which they were started: a release never overtakes a late acquire or extend.
    lanes: Box<[Mutex<()>]>,
    released: AtomicBool,
}

impl Claim {
    pub(crate) fn new(
        fleet: &Arc<Fleet>,
        runtime: &Handle,
        resource: Resource,
        token: Token,
        node_timeout: Duration,
    ) -> Self {
        Self(Arc::new(Claimed {
            fleet: Arc::clone(fleet),
            runtime: runtime.clone(),
            resource,
            token,
            node_timeout,
            lanes: fleet.members.iter().map(|_| Mutex::new(())).collect(),
            released: AtomicBool::new(false),
        }))
    }

    pub(crate) fn fleet(&self) -> &Arc<Fleet> {
        &self.0.fleet
    }

    pub(crate) fn resource(&self) -> &Resource {
        &self.0.resource
    }

    pub(crate) fn token(&self) -> &Token {
        &self.0.token
    }

    /// Asks all nodes for the lock. Waits for at most `patience`.
    pub(crate) fn acquire(&self, terms: &Terms, patience: Duration) -> RoundTrip<AcquireAnswer> {
        let ttl = terms.ttl;
        self.0.round_trip(patience, LATE_LIMIT, |claimed, member| {
            Box::pin(async move {
                let (member, lane) = claimed.at(member);
                member.admit()?;
                let _lane = lane.lock().await;
                claimed.still_wanted()?;
                let request = AcquireRequest::new(claimed.resource.clone(), claimed.token, ttl);
                member.node.acquire(&request).await
            })
        })
    }

    /// Asks all nodes to prolong the lock.
    pub(crate) fn extend(&self, terms: &Terms) -> RoundTrip<ExtendAnswer> {
        let Terms { ttl, node_timeout, .. } = *terms;
        self.0.round_trip(node_timeout, LATE_LIMIT, |claimed, member| {
            Box::pin(async move {
                let (member, lane) = claimed.at(member);
                member.admit()?;
                // Behind a request that the node does not answer, extends must not pile up.
                let _lane = tokio::time::timeout(node_timeout, lane.lock())
                    .await
                    .map_err(|_| NodeError::new(NodeErrorKind::Timeout, "an earlier request is still unanswered"))?;
                claimed.still_wanted()?;
                let request = ExtendRequest::new(claimed.resource.clone(), claimed.token, ttl);
                member.node.extend(&request).await
            })
        })
    }

    /// Asks all nodes to delete the key.
    pub(crate) fn release(self) -> RoundTrip<ReleaseAnswer> {
        self.0.released.store(true, Ordering::SeqCst);
        self.0.release()
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.0.released.swap(true, Ordering::SeqCst) {
            return;
        }
        // A round trip that nobody waits for goes on in the background.
        drop(self.0.release());
    }
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim").field("resource", &self.0.resource).field("token", &self.0.token).finish()
    }
}

impl Claimed {
    fn release(self: &Arc<Self>) -> RoundTrip<ReleaseAnswer> {
        // Twice the limit of the late acquire or extend that it may have to wait for.
        self.round_trip(self.node_timeout, 2 * LATE_LIMIT, |claimed, member| {
            Box::pin(async move {
                let (member, lane) = claimed.at(member);
                member.admit_release()?;
                let _lane = lane.lock().await;
                let request = ReleaseRequest::new(claimed.resource.clone(), claimed.token);
                member.node.release(&request).await
            })
        })
    }

    fn round_trip<A: Send>(
        self: &Arc<Self>,
        patience: Duration,
        late_limit: Duration,
        request: impl Fn(Arc<Self>, usize) -> Request<A>,
    ) -> RoundTrip<A> {
        RoundTrip::new(&self.fleet, &self.runtime, patience, late_limit, |member| request(Arc::clone(self), member))
    }

    #[expect(clippy::indexing_slicing, reason = "there is one lane per member, and a round trip goes over the members")]
    fn at(&self, member: usize) -> (&Member, &Mutex<()>) {
        (&self.fleet.members[member], &self.lanes[member])
    }

    /// Fails once the claim is being released. Asked *inside* the lane: together with the order of the lane it makes
    /// sure that nothing is set on a node after its release.
    fn still_wanted(&self) -> Result<(), NodeError> {
        if self.released.load(Ordering::SeqCst) {
            return Err(NodeError::new(NodeErrorKind::Other, "not sent: the lock was released meanwhile"));
        }
        Ok(())
    }
}
