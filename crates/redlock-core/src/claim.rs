//! One token on all nodes: what a round takes, what a lock holds, and what is always given back.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::{Mutex, MutexGuard},
    time::{Instant, timeout},
};

use crate::{
    algorithm::{Fencing, FencingToken, Reading},
    answer::{AcquireAnswer, ExtendAnswer, RaiseAnswer, ReleaseAnswer, Timed},
    fleet::{Fleet, Member, Terms},
    loss::Loss,
    node_error::{NodeError, NodeErrorKind},
    request::{AcquireRequest, Counters, ExtendRequest, RaiseRequest, ReleaseRequest},
    resources::Resources,
    round_trip::{LATE_LIMIT, Request, Requests, RoundTrip},
    standing::{End, Standing},
    token::Token,
};

/// One token on all nodes.
///
/// Dropped without a release, it gives the token back on **all** nodes in the background: on those that granted, on
/// those that failed and on those that have not answered. So a lost round, a cancelled acquire and a dropped lock are
/// one and the same thing.
pub(crate) struct Claim(Arc<Claimed>);

/// What a claim shares with the requests for it, with what extends it and with whoever waits for its loss.
#[derive(Debug)]
pub(crate) struct Claimed {
    pub(crate) fleet: Arc<Fleet>,
    /// Where a dropped claim is released, wherever it is dropped; and where it is extended.
    pub(crate) runtime: Handle,
    pub(crate) resources: Resources,
    /// Their keys on the nodes.
    pub(crate) keys: Resources,
    pub(crate) token: Token,
    /// Beside the keys, if the lock has a fencing token.
    counters: Option<Counters>,
    /// The fencing token, once it is issued.
    pub(crate) fence: OnceLock<FencingToken>,
    pub(crate) standing: Standing,
    node_timeout: Duration,
    lanes: Box<[Lane]>,
    /// How many extends were sent, and the greatest number of one that has counted. What that one or an earlier one has
    /// restored, on time or late, is as good as held all the time: it left no room for a quorum of such nodes.
    extends: AtomicU64,
    counted: AtomicU64,
    /// Whether nothing is to be set any more, though it is not given back yet.
    closed: AtomicBool,
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
    /// The number of the last extend that found the keys lost and set them again. Whoever hears of that only later, or
    /// not at all, must not take the node for one that has held them all the time.
    restored_by: AtomicU64,
    /// The fencing counter that the grant told; 0 before that.
    counter: AtomicU64,
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
        resources: Resources,
        keys: Resources,
        token: Token,
        counters: Option<Counters>,
        node_timeout: Duration,
    ) -> Self {
        Self(Arc::new(Claimed {
            fleet: Arc::clone(fleet),
            runtime: runtime.clone(),
            resources,
            keys,
            token,
            counters,
            fence: OnceLock::new(),
            standing: Standing::default(),
            node_timeout,
            lanes: fleet.members.iter().map(|_| Lane::default()).collect(),
            extends: AtomicU64::new(0),
            counted: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            released: AtomicBool::new(false),
        }))
    }

    /// What another process has taken and left to this one. It may be on any node.
    pub(crate) fn of_another(
        fleet: &Arc<Fleet>,
        runtime: &Handle,
        resources: Resources,
        keys: Resources,
        token: Token,
        fence: Option<(Counters, FencingToken)>,
        node_timeout: Duration,
    ) -> Self {
        let (counters, fence) = fence.unzip();
        let claim = Self::new(fleet, runtime, resources, keys, token, counters, node_timeout);
        if let Some(fence) = fence {
            claim.0.fenced(fence);
        }
        claim.0.lanes.iter().for_each(|lane| lane.used.store(true, Ordering::SeqCst));
        claim
    }

    /// What outlives the claim, and does not keep it.
    pub(crate) fn shared(&self) -> &Arc<Claimed> {
        &self.0
    }

    /// Asks all nodes for the lock. Waits for at most `patience`.
    pub(crate) fn ask_to_acquire(&self, terms: &Terms, patience: Duration) -> RoundTrip<AcquireAnswer> {
        let ttl = terms.ttl;
        let requests = self.0.requests(|claimed, member| {
            Box::pin(async move {
                let (member, lane) = claimed.at(member);
                member.admit()?;
                let _order = lane.enter().await;
                claimed.still_wanted()?;
                lane.used.store(true, Ordering::SeqCst);
                let mut request = AcquireRequest::new(claimed.keys.clone(), claimed.token, ttl);
                request.fencing.clone_from(&claimed.counters);
                request.guard.clone_from(&claimed.fleet.guard);
                let answer = claimed.timed(member, member.node.acquire(&request)).await?;
                if let AcquireAnswer::Granted { counter } = answer {
                    claimed.granted(member, lane, counter)?;
                }
                Ok(answer)
            })
        });
        RoundTrip::new(requests, patience, terms.node_timeout, LATE_LIMIT)
    }

    /// Asks all nodes for this fencing token that have not confirmed it yet. Waits for at most `patience`.
    pub(crate) fn ask_to_raise(
        &self,
        candidate: u64,
        fencing: &Fencing,
        patience: Duration,
    ) -> RoundTrip<Option<RaiseAnswer>> {
        let node_timeout = self.0.node_timeout;
        let asked: Vec<_> = fencing.to_raise(candidate).collect();
        let requests = self.0.requests(|claimed, number| {
            let is_asked = asked.contains(&number);
            Box::pin(async move {
                let (member, lane) = claimed.at(number);
                let Some(counters) = claimed.counters.clone().filter(|_| is_asked) else { return Ok(None) };
                member.admit()?;
                // Behind the acquire, which may still be on its way.
                let _order = claimed.turn(lane, node_timeout).await?;
                claimed.still_wanted()?;
                let request = RaiseRequest::new(claimed.keys.clone(), claimed.token, counters, candidate);
                let answer = member.observe(member.node.raise(&request).await)?;
                if let RaiseAnswer::Higher(counter) = answer {
                    lane.counter.store(counter, Ordering::SeqCst);
                }
                Ok(Some(answer))
            })
        });
        RoundTrip::new(requests, patience, node_timeout, LATE_LIMIT)
    }

    /// What the grants have told of the fencing counters, node by node.
    pub(crate) fn counters(&self) -> impl Iterator<Item = (usize, u64)> {
        let told = self.0.lanes.iter().map(|lane| lane.counter.load(Ordering::SeqCst)).enumerate();
        told.filter(|(_, counter)| *counter > 0)
    }

    /// Asks all nodes to delete the keys.
    pub(crate) fn ask_to_release(self) -> RoundTrip<ReleaseAnswer> {
        let node_timeout = self.0.node_timeout;
        self.0.standing.end(End::Released);
        let requests = self.0.release();
        let answers = RoundTrip::new(requests, node_timeout, node_timeout, Claimed::RELEASE_LIMIT);
        // Not before: on a runtime without timers the line above panics, and then the drop has to release.
        self.0.released.store(true, Ordering::SeqCst);
        answers
    }

    /// Leaves the keys to their ttl: sends nothing, now or later, and leaves the standing as it is, since somebody may
    /// still rely on the validity. What is out already is finished in the background.
    pub(crate) fn abandon(self) {
        self.0.released.store(true, Ordering::SeqCst);
    }

    /// Leaves a lock that is still valid to another process: nothing is sent for it any more, and nothing given back.
    /// Waits until all has ended that was sent before, at most for the node timeout: it must undo nothing that the
    /// other does.
    pub(crate) async fn hand_over(self) -> Result<(), Loss> {
        // Before the wait, or something might be sent behind its back.
        self.0.closed.store(true, Ordering::SeqCst);
        // Outside a runtime there are no timers, and what cannot be bounded is not waited for.
        if Handle::try_current().is_ok() {
            let _ = timeout(self.0.node_timeout, self.0.idle()).await;
        }
        self.0.check()?;
        self.0.standing.end(End::HandedOver);
        self.0.released.store(true, Ordering::SeqCst);
        Ok(())
    }

    /// Releases a lost round's token, and waits until all nodes have answered that are not known to fail: the next round
    /// must not meet it.
    pub(crate) async fn give_back(self) {
        let mut awaited: Vec<_> = self.0.fleet.members.iter().map(|member| !member.is_failing()).collect();
        let mut answers = self.ask_to_release();
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
        self.0.standing.end(End::Released);
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

    /// The lock has this fencing token from now on.
    pub(crate) fn fenced(&self, token: FencingToken) {
        // Once per claim.
        let _ = self.fence.set(token);
    }

    /// Asks all nodes to prolong the lock.
    pub(crate) fn ask_to_extend(self: &Arc<Self>, terms: &Terms, number: u64) -> RoundTrip<ExtendAnswer> {
        let Terms { ttl, node_timeout, .. } = *terms;
        let requests = self.requests(|claimed, member| {
            Box::pin(async move {
                let (member, lane) = claimed.at(member);
                member.admit()?;
                // Behind a request that the node does not answer, extends must not pile up.
                let _order = claimed.turn(lane, node_timeout).await?;
                claimed.still_wanted()?;
                lane.used.store(true, Ordering::SeqCst);
                let mut request = ExtendRequest::new(claimed.keys.clone(), claimed.token, ttl);
                request.fencing = claimed.counters.clone().zip(claimed.fence.get().copied());
                let answer = claimed.timed(member, member.node.extend(&request)).await?;
                if answer == ExtendAnswer::Healed {
                    lane.restored_by.fetch_max(number, Ordering::SeqCst);
                }
                let counted = claimed.counted.load(Ordering::SeqCst);
                let restored = answer == ExtendAnswer::Extended && lane.restored_by.load(Ordering::SeqCst) > counted;
                Ok(if restored { ExtendAnswer::Healed } else { answer })
            })
        });
        RoundTrip::new(requests, node_timeout, node_timeout, LATE_LIMIT)
    }

    /// The number of the next extend, from 1.
    pub(crate) fn next_extend(&self) -> u64 {
        self.extends.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// This extend has counted.
    pub(crate) fn extend_counted(&self, number: u64) {
        self.counted.fetch_max(number, Ordering::SeqCst);
    }

    fn release(self: &Arc<Self>) -> Requests<ReleaseAnswer> {
        self.requests(|claimed, member| {
            Box::pin(async move {
                let (member, lane) = claimed.at(member);
                let _order = lane.enter().await;
                if !lane.used.load(Ordering::SeqCst) {
                    return Ok(ReleaseAnswer::NotHeld);
                }
                let request = ReleaseRequest::new(claimed.keys.clone(), claimed.token);
                member.observe(member.node.release(&request).await)
            })
        })
    }

    /// Waits until all has ended that is out on any node.
    async fn idle(&self) {
        for lane in &self.lanes {
            drop(lane.enter().await);
        }
    }

    fn requests<A>(self: &Arc<Self>, request: impl Fn(Arc<Self>, usize) -> Request<A>) -> Requests<A> {
        Requests::new(&self.fleet, |member| request(Arc::clone(self), member))
    }

    #[expect(clippy::indexing_slicing, reason = "there is one lane per member, and requests go over the members")]
    fn at(&self, member: usize) -> (&Member, &Lane) {
        (&self.fleet.members[member], &self.lanes[member])
    }

    /// The request's turn on a node, if it comes in time.
    async fn turn<'l>(&self, lane: &'l Lane, node_timeout: Duration) -> Result<MutexGuard<'l, ()>, NodeError> {
        let turn = timeout(node_timeout, lane.enter()).await;
        turn.map_err(|_| NodeError::new(NodeErrorKind::Timeout, "an earlier request is still unanswered"))
    }

    /// A node's answer, with a look at its clock and at whether it fails.
    async fn timed<A>(
        &self,
        member: &Member,
        answer: impl Future<Output = Result<Timed<A>, NodeError>>,
    ) -> Result<A, NodeError> {
        let sent = self.fleet.clock.now();
        let Timed { answer, clock } = member.observe(answer.await)?;
        // The time of a cluster is that of whichever member has the keys.
        if let Some(clock) = clock.filter(|_| !member.node.is_cluster()) {
            let reading = Reading { sent, received: self.fleet.clock.now(), clock };
            member.watch_clock(reading, &self.fleet.drift);
        }
        Ok(answer)
    }

    /// Whether a grant counts: with fencing it has a counter, and a clock that has jumped may not be trusted.
    fn granted(&self, member: &Member, lane: &Lane, counter: Option<u64>) -> Result<(), NodeError> {
        match (&self.counters, counter) {
            (Some(_), None) => {
                return Err(NodeError::new(NodeErrorKind::Unsupported, "the node counts no fencing tokens"));
            }
            (Some(_), Some(counter)) => lane.counter.store(counter, Ordering::SeqCst),
            (None, _) => {}
        }
        let Some(distrust) = self.fleet.distrust else { return Ok(()) };
        let Some((jump, at)) = member.jumped() else { return Ok(()) };
        let left = distrust.saturating_sub(self.fleet.clock.now().saturating_sub(at));
        if left.is_zero() {
            return Ok(());
        }
        let what = format!("it has jumped by {jump}: its grants do not count for {left:.1?} more");
        Err(NodeError::new(NodeErrorKind::ClockJumped, what))
    }

    /// Fails once the claim is being released or handed over. Asked *inside* the lane: together with the lane's order
    /// it makes sure that nothing is set on a node after that.
    fn still_wanted(&self) -> Result<(), NodeError> {
        if self.released.load(Ordering::SeqCst) || self.closed.load(Ordering::SeqCst) {
            return Err(NodeError::new(NodeErrorKind::Other, "not sent: the lock was released meanwhile"));
        }
        Ok(())
    }
}
