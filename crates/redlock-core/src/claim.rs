//! One token on all nodes: what a round takes, what a lock holds, and what is always given back.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::{Mutex, MutexGuard},
    time::{Instant, timeout},
};

use crate::{
    fleet::{Fleet, Member, Terms},
    node::{AcquireAnswer, AcquireRequest, ExtendAnswer, ExtendRequest, ReleaseAnswer, ReleaseRequest},
    node_error::{NodeError, NodeErrorKind},
    resource::Resource,
    round_trip::{LATE_LIMIT, Request, Requests, RoundTrip},
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
    /// Where a dropped claim is released, wherever it is dropped.
    runtime: Handle,
    resource: Resource,
    token: Token,
    node_timeout: Duration,
    lanes: Box<[Lane]>,
    released: AtomicBool,
}

/// What one token has sent to one node.
#[derive(Debug, Default)]
struct Lane {
    /// Held by each request from start to end, so that a release begins on a node only after the acquire and the
    /// extends that were sent there have ended.
    order: Mutex<()>,
    /// Whether anything was sent that a release has to undo.
    used: AtomicBool,
}

impl Lane {
    /// Waits for the request before, if there is one. If there is none, it never yields: each node is asked in the
    /// first poll of a round.
    async fn enter(&self) -> MutexGuard<'_, ()> {
        match self.order.try_lock() {
            Ok(order) => order,
            Err(_) => self.order.lock().await,
        }
    }
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
            lanes: fleet.members.iter().map(|_| Lane::default()).collect(),
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
        let requests = self.0.requests(|claimed, member| {
            Box::pin(async move {
                let (member, lane) = claimed.at(member);
                member.admit()?;
                let _order = lane.enter().await;
                claimed.still_wanted()?;
                lane.used.store(true, Ordering::SeqCst);
                let request = AcquireRequest::new(claimed.resource.clone(), claimed.token, ttl);
                member.observe(member.node.acquire(&request).await)
            })
        });
        RoundTrip::new(requests, patience, terms.node_timeout, LATE_LIMIT)
    }

    /// Asks all nodes to prolong the lock.
    pub(crate) fn extend(&self, terms: &Terms) -> RoundTrip<ExtendAnswer> {
        let Terms { ttl, node_timeout, .. } = *terms;
        let requests = self.0.requests(|claimed, member| {
            Box::pin(async move {
                let (member, lane) = claimed.at(member);
                member.admit()?;
                // Behind a request that the node does not answer, extends must not pile up.
                let _order = timeout(node_timeout, lane.enter())
                    .await
                    .map_err(|_| NodeError::new(NodeErrorKind::Timeout, "an earlier request is still unanswered"))?;
                claimed.still_wanted()?;
                lane.used.store(true, Ordering::SeqCst);
                let request = ExtendRequest::new(claimed.resource.clone(), claimed.token, ttl);
                member.observe(member.node.extend(&request).await)
            })
        });
        RoundTrip::new(requests, node_timeout, node_timeout, LATE_LIMIT)
    }

    /// Asks all nodes to delete the key.
    pub(crate) fn release(self) -> RoundTrip<ReleaseAnswer> {
        let node_timeout = self.0.node_timeout;
        let requests = self.0.release();
        let answers = RoundTrip::new(requests, node_timeout, node_timeout, Claimed::RELEASE_LIMIT);
        // Not before: on a runtime without timers the line above panics, and then the drop has to release.
        self.0.released.store(true, Ordering::SeqCst);
        answers
    }

    /// Releases a lost round's token, and waits until all nodes have answered that are not known to fail: the next round
    /// must not meet it.
    pub(crate) async fn give_back(self) {
        let mut awaited: Vec<_> = self.0.fleet.members.iter().map(|member| !member.is_failing()).collect();
        let mut answers = self.release();
        while awaited.contains(&true) {
            let Some((member, _)) = answers.next().await else { break };
            if let Some(awaited) = awaited.get_mut(member) {
                *awaited = false;
            }
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.0.released.swap(true, Ordering::SeqCst) {
            return;
        }
        let claimed = Arc::clone(&self.0);
        // No timer and no request is made here: the thread may have no runtime, or be about to end.
        self.0.fleet.background.spawn(&self.0.runtime, async move {
            let on_time = Instant::now() + claimed.node_timeout;
            claimed.release().finish(on_time, Claimed::RELEASE_LIMIT).await;
        });
    }
}

impl Claimed {
    /// Twice the limit of the late acquire or extend that a release may have to wait for.
    const RELEASE_LIMIT: Duration = LATE_LIMIT.saturating_mul(2);

    fn release(self: &Arc<Self>) -> Requests<ReleaseAnswer> {
        self.requests(|claimed, member| {
            Box::pin(async move {
                let (member, lane) = claimed.at(member);
                let _order = lane.enter().await;
                if !lane.used.load(Ordering::SeqCst) {
                    return Ok(ReleaseAnswer::NotHeld);
                }
                let request = ReleaseRequest::new(claimed.resource.clone(), claimed.token);
                member.observe(member.node.release(&request).await)
            })
        })
    }

    fn requests<A>(self: &Arc<Self>, request: impl Fn(Arc<Self>, usize) -> Request<A>) -> Requests<A> {
        Requests::new(&self.fleet, |member| request(Arc::clone(self), member))
    }

    #[expect(clippy::indexing_slicing, reason = "there is one lane per member, and requests go over the members")]
    fn at(&self, member: usize) -> (&Member, &Lane) {
        (&self.fleet.members[member], &self.lanes[member])
    }

    /// Fails once the claim is being released. Asked *inside* the lane: together with the lane's order it makes sure
    /// that nothing is set on a node after its release.
    fn still_wanted(&self) -> Result<(), NodeError> {
        if self.released.load(Ordering::SeqCst) {
            return Err(NodeError::new(NodeErrorKind::Other, "not sent: the lock was released meanwhile"));
        }
        Ok(())
    }
}
