//! One token on all nodes, from the first request for it until it is released everywhere.

mod requests;
mod checking;
mod extend;
mod fence;
mod releasing;
pub(crate) mod hold;
mod keeping;
mod phase;
mod release;

use std::{
    mem,
    sync::{
        Arc, Mutex as StdMutex, MutexGuard as StdMutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{runtime::Handle, sync::MutexGuard, time::timeout};

use self::phase::{Notify, Phase};
use super::{
    atomic_state::AtomicState,
    exchange::{Request, Requests},
    fleet::{Fleet, Terms},
    member::Member,
    node_lane::{NodeLane, Offer},
    ownership::Ownership,
    validity::{End, Validity},
};
use crate::{
    algorithm::FencingToken,
    names::{Resources, Token},
    node::{Counters, NodeError, NodeErrorKind},
    queue::Holding,
    report::{Event, Loss},
};

/// One token on all nodes.
///
/// Dropped without a release, it gives the token back on **all** nodes in the background: on those that granted, on
/// those that failed and on those that have not answered. So a lost round, a cancelled acquire and a dropped lock are
/// one and the same thing.
pub(crate) struct Lease(Arc<LeaseState>);

/// What a lease shares with the requests for it, with what extends it and with whoever waits for its loss.
#[derive(Debug)]
pub(crate) struct LeaseState {
    pub(crate) fleet: Arc<Fleet>,
    /// Where a dropped lease is released, wherever it is dropped; and where it is extended.
    pub(crate) runtime: Handle,
    pub(crate) resources: Resources,
    /// Their keys on the nodes.
    pub(crate) keys: Resources,
    pub(crate) token: Token,
    /// Beside the keys, if the lock has a fencing token.
    counters: Option<Counters>,
    /// The fencing token, once it is issued.
    pub(crate) fence: OnceLock<FencingToken>,
    pub(crate) validity: Validity,
    node_timeout: Duration,
    /// The longest TTL of all acquires and extends so far, in milliseconds.
    longest_ttl: AtomicU64,
    lanes: Arc<[NodeLane]>,
    /// How many extends were sent, and the greatest number of one that has counted. What that one or an earlier one has
    /// restored, on time or late, is as good as held all the time: it left no room for a quorum of such nodes.
    extends: AtomicU64,
    counted: AtomicU64,
    phase: AtomicState<Phase>,
    /// Whether it only reserves a name for a call that waits for several. Observers do not hear of it.
    pub(crate) is_reservation: bool,
    /// The keys that count as held in this process. Those who wait for them here are told when they are not.
    holding: StdMutex<Vec<Holding<Offer>>>,
}

impl Lease {
    pub(crate) fn new(
        fleet: &Arc<Fleet>,
        runtime: &Handle,
        resources: Resources,
        keys: Resources,
        token: Token,
        counters: Option<Counters>,
        terms: &Terms,
    ) -> Self {
        let Terms { ttl, node_timeout, .. } = *terms;
        let shared = Arc::new(LeaseState {
            fleet: Arc::clone(fleet),
            runtime: runtime.clone(),
            resources,
            keys,
            token,
            counters,
            fence: OnceLock::new(),
            validity: Validity::default(),
            node_timeout,
            longest_ttl: AtomicU64::new(ttl.sent_millis()),
            lanes: fleet.members.iter().map(|_| NodeLane::default()).collect(),
            extends: AtomicU64::new(0),
            counted: AtomicU64::new(0),
            phase: AtomicState::default(),
            is_reservation: false,
            holding: StdMutex::default(),
        });
        Self(shared)
    }

    /// Marks it as a reservation. Only before it is shared.
    pub(crate) fn into_reservation(mut self) -> Self {
        if let Some(lease) = Arc::get_mut(&mut self.0) {
            lease.is_reservation = true;
        }
        self
    }

    /// The round is won. The key is held in this process until the lease has been given back.
    pub(crate) fn hold(&self, holding: Option<Holding<Offer>>) {
        self.0.holding().extend(holding);
    }

    /// Moves the local waiters of `reservation` to this lease, which holds its keys now. The reservation is released
    /// without notifying anybody.
    pub(crate) fn take_over(&self, reservation: Self) {
        let holding = mem::take(&mut *reservation.0.holding());
        self.0.holding().extend(holding);
        reservation.release_in_background(Notify::Nobody);
    }

    /// Sends nothing any more that sets the keys.
    pub(crate) fn close(&self) {
        self.0.phase.seal();
    }

    /// What another process has taken and left to this one. It may be on any node.
    pub(crate) fn of_another(
        fleet: &Arc<Fleet>,
        runtime: &Handle,
        resources: Resources,
        keys: Resources,
        token: Token,
        fence: Option<(Counters, FencingToken)>,
        terms: &Terms,
    ) -> Self {
        let (counters, fence) = fence.unzip();
        let lease = Self::new(fleet, runtime, resources, keys, token, counters, terms);
        if let Some(fence) = fence {
            lease.0.fenced(fence);
        }
        for lane in &*lease.0.lanes {
            lane.ownership.ask();
            lane.perhaps.store(true, Ordering::SeqCst);
            // An extend of the other process may be unanswered.
            lane.uncertain.store(1, Ordering::SeqCst);
        }
        lease
    }

    /// What outlives the lease, and does not keep it.
    pub(crate) fn shared(&self) -> &Arc<LeaseState> {
        &self.0
    }

    /// What the grants have told of the fencing counters, node by node.
    pub(crate) fn counters(&self) -> impl Iterator<Item = (usize, u64)> {
        let told = self.0.lanes.iter().map(|lane| lane.counter.load(Ordering::SeqCst)).enumerate();
        told.filter(|(_, counter)| *counter > 0)
    }

    /// Leaves the keys to their ttl: sends nothing, now or later, and leaves the validity as it is, since somebody may
    /// still rely on the validity. What is out already is finished in the background.
    pub(crate) fn leave_to_expire(self) {
        self.0.phase.leave();
        self.0.let_go();
    }

    /// Leaves a lock that is still valid to another process: nothing is sent for it any more, and nothing given back.
    /// Waits until all has ended that was sent before, at most for the node timeout: it must undo nothing that the
    /// other does.
    pub(crate) async fn hand_over(self) -> Result<(), Loss> {
        // Before the wait, or something might be sent behind its back.
        self.0.phase.seal();
        // Outside a runtime there are no timers, and what cannot be bounded is not waited for.
        if Handle::try_current().is_ok() {
            let _ = timeout(self.0.node_timeout, self.0.idle()).await;
        }
        self.0.check()?;
        self.0.validity.end(End::HandedOver);
        self.0.phase.leave();
        self.0.let_go();
        Ok(())
    }
}

impl LeaseState {
    /// The key is not held any more: those of this process who wait for it are told.
    fn let_go(&self) {
        let holding = mem::take(&mut *self.holding());
        drop(holding);
    }

    /// Tells whoever observes the fleet, unless this is a reservation.
    pub(crate) fn tell(&self, event: &Event<'_>) {
        if !self.is_reservation {
            self.fleet.observers.tell(event);
        }
    }

    /// What the next in line of this process takes over.
    fn offer(&self) -> Offer {
        Offer { token: self.token, lanes: Arc::clone(&self.lanes) }
    }

    fn holding(&self) -> StdMutexGuard<'_, Vec<Holding<Offer>>> {
        self.holding.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lock has this fencing token from now on.
    pub(crate) fn fenced(&self, token: FencingToken) {
        // Once per lease.
        let _ = self.fence.set(token);
    }

    /// The number of the next extend, from 1.
    pub(crate) fn next_extend(&self) -> u64 {
        self.extends.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// This extend has counted.
    pub(crate) fn extend_counted(&self, number: u64) {
        self.counted.fetch_max(number, Ordering::SeqCst);
    }

    /// Whether the node has granted the acquire, as far as it has answered.
    pub(crate) fn was_granted_by(&self, node: usize) -> bool {
        self.lanes.get(node).is_some_and(|lane| lane.ownership.get() == Ownership::Ours)
    }

    /// Longer than the keys can live on a node, counted from now: what may still be carried out sets them only then. A node
    /// that hangs for longer than `HANGS` before it carries that out keeps them until their ttl is over.
    fn certainly_over(&self, lane: &NodeLane) -> Duration {
        const HANGS: Duration = Duration::from_secs(600);
        let ttl = Duration::from_millis(self.longest_ttl.load(Ordering::SeqCst));
        if lane.uncertain.load(Ordering::SeqCst) > 0 { ttl.saturating_add(HANGS) } else { ttl }
    }

    /// Waits until all has ended that is out on any node.
    async fn idle(&self) {
        for lane in &*self.lanes {
            drop(lane.enter().await);
        }
    }

    fn requests<A>(self: &Arc<Self>, request: impl Fn(Arc<Self>, usize) -> Request<A>) -> Requests<A> {
        Requests::new(&self.fleet, |member| request(Arc::clone(self), member))
    }

    #[expect(clippy::indexing_slicing, reason = "there is one lane per member, and requests go over the members")]
    fn at(&self, member: usize) -> (&Member, &NodeLane) {
        (&self.fleet.members[member], &self.lanes[member])
    }

    /// The request's turn on a node, if it comes in time.
    async fn turn<'l>(&self, lane: &'l NodeLane, node_timeout: Duration) -> Result<MutexGuard<'l, ()>, NodeError> {
        let turn = timeout(node_timeout, lane.enter()).await;
        turn.map_err(|_| NodeError::new(NodeErrorKind::Timeout, "an earlier request is still unanswered"))
    }

    /// Fails once the lease is being released or handed over. Asked *inside* the lane: together with the lane's order
    /// it makes sure that nothing is set on a node after that.
    pub(crate) fn still_wanted(&self) -> Result<(), NodeError> {
        if self.phase.get().may_set() {
            return Ok(());
        }
        Err(NodeError::new(NodeErrorKind::Other, "not sent: the lock was released meanwhile"))
    }
}
