//! One token on all nodes, from the first request for it until it is released everywhere.

mod requests;
mod checking;
mod extend;
mod downgrade;
mod fence;
mod release_on_nodes;
pub(crate) mod hold;
mod keeping;
pub(crate) mod slot;
pub(crate) mod phase;
mod release;

use std::{
    mem,
    sync::{
        Arc, Mutex as StdMutex, MutexGuard as StdMutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{runtime::Handle, sync::MutexGuard, time::timeout};

use self::{
    phase::{Notify, Phase},
    slot::Slot,
};
use super::{
    atomic_state::AtomicState,
    exchange::{Request, Requests},
    fleet::{Fleet, Terms},
    member::Member,
    node_lane::{NodeLane, Offer},
    validity::Validity,
};
use crate::{
    algorithm::FencingToken,
    engine::validity::End,
    names::{Resources, Token},
    node::{FencingCounters, NodeError, NodeErrorKind},
    queue::Holding,
    report::{Event, LockLost},
};

/// One token on all nodes.
///
/// If it is dropped without a release, the token is released on **all** nodes in the background: on nodes that granted,
/// nodes that failed and nodes that have not answered. A lost round, a cancelled acquire and a dropped lock all end
/// this way.
pub(crate) struct Lease(Arc<LeaseState>);

/// The state that a lease shares with its requests, with auto-extend and with the callers that wait for its loss.
#[derive(Debug)]
pub(crate) struct LeaseState {
    pub(crate) fleet: Arc<Fleet>,
    /// The runtime on which the lease is extended, and released if it is dropped.
    pub(crate) runtime: Handle,
    pub(crate) resources: Resources,
    /// The keys of the resources on the nodes.
    pub(crate) keys: Resources,
    pub(crate) token: Token,
    /// The fencing counters, if the lock has a fencing token.
    counters: Option<FencingCounters>,
    /// The fencing token, once it is issued.
    pub(crate) fence: OnceLock<FencingToken>,
    pub(crate) validity: Validity,
    node_timeout: Duration,
    /// The longest TTL of all acquires and extends so far, in milliseconds.
    longest_ttl: AtomicU64,
    lanes: Arc<[NodeLane]>,
    /// How many extends were sent.
    extends: AtomicU64,
    /// The number of the last extend that succeeded. A node whose keys that extend or an earlier one has set again
    /// counts as a node that has held them all the time: the extend found a quorum of nodes that had not lost them.
    counted: AtomicU64,
    phase: AtomicState<Phase>,
    /// Whether the token is a reader's: from the start, or since its downgrade began.
    is_shared: AtomicBool,
    /// Whether a node has refused the acquire because readers share a key there.
    met_readers: AtomicBool,
    /// Whether the lease only reserves a name for a call that waits for several. Observers are not notified of it.
    pub(crate) is_reservation: bool,
    /// The slot of a semaphore that is the only key, if this is a permit.
    slot: Option<Slot>,
    /// The keys that count as held in this process. Their local waiters are notified when the holder is dropped.
    holding: StdMutex<Vec<Holding<Offer>>>,
}

impl Lease {
    pub(crate) fn new(
        fleet: &Arc<Fleet>,
        runtime: &Handle,
        resources: Resources,
        keys: Resources,
        token: Token,
        counters: Option<FencingCounters>,
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
            is_shared: AtomicBool::new(false),
            met_readers: AtomicBool::new(false),
            is_reservation: false,
            slot: None,
            holding: StdMutex::default(),
        });
        Self(shared)
    }

    /// Marks the lease as a reservation. Has no effect once the state is shared.
    pub(crate) fn into_reservation(mut self) -> Self {
        if let Some(lease) = Arc::get_mut(&mut self.0) {
            lease.is_reservation = true;
        }
        self
    }

    /// Makes the lease one for a slot of a semaphore. Has no effect once the state is shared.
    pub(crate) fn for_slot(mut self, slot: Slot) -> Self {
        if let Some(lease) = Arc::get_mut(&mut self.0) {
            lease.slot = Some(slot);
        }
        self
    }

    /// Makes the token a reader's. Call before the first request.
    pub(crate) fn into_shared(self, is_shared: bool) -> Self {
        self.0.is_shared.store(is_shared, Ordering::SeqCst);
        self
    }

    /// Records that the round is won: the key is held in this process until the lease has been released.
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

    /// Sends no further request that sets the keys.
    pub(crate) fn close(&self) {
        self.0.phase.seal();
    }

    /// A lease that another process has acquired and transferred to this one. Any node may hold its token.
    pub(crate) fn of_another(
        fleet: &Arc<Fleet>,
        runtime: &Handle,
        resources: Resources,
        keys: Resources,
        token: Token,
        fence: Option<(FencingCounters, FencingToken)>,
        terms: &Terms,
    ) -> Self {
        let (counters, fence) = fence.unzip();
        let lease = Self::new(fleet, runtime, resources, keys, token, counters, terms);
        if let Some(fence) = fence {
            lease.0.fenced(fence);
        }
        for lane in &*lease.0.lanes {
            lane.is_of_another();
        }
        lease
    }

    /// The shared state. It does not keep the lease from being released.
    pub(crate) fn shared(&self) -> &Arc<LeaseState> {
        &self.0
    }

    /// The fencing counters that the nodes have returned with their grants, by the number of the node.
    pub(crate) fn counters(&self) -> impl Iterator<Item = (usize, u64)> {
        let counters = self.0.lanes.iter().map(|lane| lane.counter.load(Ordering::SeqCst)).enumerate();
        counters.filter(|(_, counter)| *counter > 0)
    }

    /// Lets the keys expire: sends no release, now or later. The validity remains as it is, since a caller may still
    /// rely on it. Requests in flight are finished in the background.
    pub(crate) fn leave_to_expire(self) {
        self.0.phase.leave();
        self.0.end_holding();
    }

    /// Transfers a lock that is still valid to another process: no request is sent for it any more, not even a release.
    /// Waits until all earlier requests have ended, at most for the node timeout, so that none of them undoes what the
    /// other process does.
    pub(crate) async fn transfer(self) -> Result<(), LockLost> {
        // Before the wait, or a request might be sent during it.
        self.0.phase.seal();
        // Without a runtime there are no timers, and an unbounded wait is worse than none.
        if Handle::try_current().is_ok() {
            let _ = timeout(self.0.node_timeout, self.0.idle()).await;
        }
        self.0.check()?;
        self.0.validity.end(End::Transferred);
        self.0.phase.leave();
        self.0.end_holding();
        Ok(())
    }
}

impl LeaseState {
    /// Notifies the local waiters of the keys: this process holds the keys no longer.
    fn end_holding(&self) {
        let holding = mem::take(&mut *self.holding());
        drop(holding);
    }

    /// The slot of a semaphore, if this is a permit.
    pub(crate) fn slot(&self) -> Option<&Slot> {
        self.slot.as_ref()
    }

    /// What the wait queues call the keys: all slots of a semaphore have one queue.
    fn queue_keys(&self) -> &Resources {
        self.slot.as_ref().map_or(&self.keys, |slot| &slot.queue)
    }

    /// Notifies the observers of the fleet, unless this is a reservation.
    pub(crate) fn tell(&self, event: &Event<'_>) {
        if !self.is_reservation {
            self.fleet.observers.tell(event);
        }
    }

    /// Returns the part that the next holder in this process takes over.
    fn offer(&self) -> Offer {
        Offer { token: self.token, lanes: Arc::clone(&self.lanes) }
    }

    fn holding(&self) -> StdMutexGuard<'_, Vec<Holding<Offer>>> {
        self.holding.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the token is a reader's.
    pub(crate) fn is_shared(&self) -> bool {
        self.is_shared.load(Ordering::SeqCst)
    }

    /// Whether a node has refused the acquire because readers share a key there.
    pub(crate) fn has_met_readers(&self) -> bool {
        self.met_readers.load(Ordering::Relaxed)
    }

    /// Sets the fencing token.
    pub(crate) fn fenced(&self, token: FencingToken) {
        // Set once for each lease.
        let _ = self.fence.set(token);
    }

    /// The number of the next extend, from 1.
    pub(crate) fn next_extend(&self) -> u64 {
        self.extends.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// Records that this extend has succeeded.
    pub(crate) fn extend_counted(&self, number: u64) {
        self.counted.fetch_max(number, Ordering::SeqCst);
    }

    /// Whether the node has answered the acquire with a grant.
    pub(crate) fn was_granted_by(&self, node: usize) -> bool {
        self.lanes.get(node).is_some_and(NodeLane::has_granted)
    }

    /// An upper bound, from now, on how long the keys can live on a node. A request without an answer may still be
    /// executed, and sets the keys at that time. If the node hangs for longer than `HANGS` before it executes the
    /// request, the keys stay until their TTL is over.
    fn certainly_over(&self, lane: &NodeLane) -> Duration {
        const HANGS: Duration = Duration::from_secs(600);
        let ttl = Duration::from_millis(self.longest_ttl.load(Ordering::SeqCst));
        if lane.is_unsettled() { ttl.saturating_add(HANGS) } else { ttl }
    }

    /// Waits until all requests in flight have ended.
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

    /// Waits until all earlier requests for this token on the node have ended. Fails after the node timeout.
    async fn enter_in_time<'l>(
        &self,
        lane: &'l NodeLane,
        node_timeout: Duration,
    ) -> Result<MutexGuard<'l, ()>, NodeError> {
        let order = timeout(node_timeout, lane.enter()).await;
        order.map_err(|_| NodeError::new(NodeErrorKind::Timeout, "an earlier request is still unanswered"))
    }

    /// Fails once the lease is sealed, released or left. Requests check this *inside* the lane: together with the
    /// lane's order, it makes sure that no request sets keys on a node after the release.
    pub(crate) fn still_wanted(&self) -> Result<(), NodeError> {
        if self.phase.get().may_set() {
            return Ok(());
        }
        Err(NodeError::new(NodeErrorKind::Other, "not sent: the lock was released meanwhile"))
    }
}
