//! Every release is sent from here: that of a caller, a lost round or a drop. If a node does not answer, the release is
//! owed to it. A lease is also handed off here to the next waiter of this process.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{
    sync::MutexGuard,
    task::yield_now,
    time::{Instant, timeout},
};

use super::{Lease, LeaseState, phase::Notify};
use crate::{
    driver::{
        exchange::{Exchange, Requests},
        fleet::Fleet,
        member::Member,
        node_lane::NodeLane,
        owed::ledger::Entry,
    },
    engine::{keys_on_node::KeyState, validity::End},
    names::Resource,
    node::{LATE_LIMIT, NodeError, NodeErrorKind, ReleaseAnswer, ReleaseRequest, WakeNext},
    queue::{Holding, notify_first},
    report::NodeRequest,
};

impl Lease {
    /// Sends a release to all nodes.
    pub(crate) fn send_release(&self, notify: Notify) -> Exchange<ReleaseAnswer> {
        let node_timeout = self.0.node_timeout;
        self.0.validity.end(End::Released);
        let requests = self.0.release(notify);
        let mut answers = Exchange::new(requests, node_timeout, node_timeout, LeaseState::RELEASE_LIMIT);
        answers.hold(Box::new(EndsHolding(Arc::clone(&self.0))));
        // Not earlier: on a runtime without timers the line above panics, and the drop has to release then.
        self.0.phase.release(notify);
        answers
    }

    /// Hands a lock that is still valid off to the next waiter in this process, if there is one. Waits until that
    /// waiter has sent its acquire.
    pub(crate) async fn hand_off(&self) {
        let lease = &self.0;
        // A quarantined node must not grant a lock that it may have forgotten. A node whose clock is watched has to
        // return its time, which it does not in a hand-off.
        let Fleet { guard, distrust, .. } = &*lease.fleet;
        // The next waiter for a permit may ask for another slot.
        let is_permit = lease.slot.is_some();
        let may_follow =
            lease.keys.len() == 1 && !is_permit && guard.is_none() && distrust.is_none() && !lease.is_shared();
        if !may_follow || lease.holding().is_empty() || lease.check().is_err() {
            return;
        }
        // Before the waiter asks: no request sets the keys any more, and no caller relies on this lock.
        lease.phase.seal();
        lease.validity.end(End::Released);
        let Some(asked) = lease.fleet.queues.hand_off(lease.keys.first(), || lease.offer()) else { return };
        // A waiter whose task does not run must not delay the release.
        let _ = timeout(lease.node_timeout / 4, asked).await;
    }

    /// Releases the token of a lost round or of a reservation. Waits until all nodes have answered that are not known
    /// to fail, so that the next round does not meet this token.
    pub(crate) async fn release_promptly(self, notify: Notify) {
        let mut awaited: Vec<_> = self.0.fleet.members.iter().map(Member::is_prompt).collect();
        let mut answers = self.send_release(notify);
        while awaited.contains(&true) {
            let Some((member, _)) = answers.next().await else { break };
            if let Some(awaited) = awaited.get_mut(member) {
                *awaited = false;
            }
        }
    }

    /// Releases the token in the background. Returns whether that had not begun before.
    pub(super) fn release_in_background(&self, notify: Notify) -> bool {
        if !self.0.phase.release(notify) {
            return false;
        }
        self.0.validity.end(End::Released);
        let lease = Arc::clone(&self.0);
        let ends_holding = EndsHolding(Arc::clone(&self.0));
        // No timer is made here and no request is sent, since the thread may have no runtime, or be about to end. If
        // the lease's own runtime has ended, the requests are dropped with the task, and the releases are owed.
        let requests = self.0.release(notify);
        self.0.fleet.background.spawn_in_turn(&self.0.runtime, async move |permit| {
            let on_time = Instant::now() + lease.node_timeout;
            // The permit ends after 50 ms at most, so that a hung node does not delay other releases.
            requests.finish(on_time, LeaseState::RELEASE_LIMIT, false, (ends_holding, permit)).await;
        });
        true
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.release_in_background(Notify::First) {
            // The local waiters do not wait for the answer of a node that may not answer.
            let fleet = &self.0.fleet;
            let is_prompt =
                fleet.notifier(None).and_then(|notifier| fleet.members.get(notifier)).is_some_and(Member::is_prompt);
            if !is_prompt {
                self.0.end_holding();
            }
        }
    }
}

/// Notifies the local waiters when it is dropped: when the node that notifies waiters has answered, all nodes have, or
/// the answers take too long.
struct EndsHolding(Arc<LeaseState>);

impl Drop for EndsHolding {
    fn drop(&mut self) {
        self.0.end_holding();
    }
}

/// The release on one node. If it is dropped before it is settled, the release failed or was dropped, and is owed to
/// the node.
struct Owes {
    lease: Arc<LeaseState>,
    member: usize,
    is_settled: bool,
}

impl Owes {
    /// Call if there is nothing to release.
    fn settled(mut self) {
        self.is_settled = true;
    }

    /// Call when the node has answered. An earlier request without an answer may still set the keys, so the release is
    /// repeated later.
    fn delivered(mut self) {
        self.is_settled = true;
        let (_, lane) = self.lease.at(self.member);
        if lane.is_unsettled() {
            let LeaseState { keys, token, .. } = &*self.lease;
            self.owe(Entry::repeated(
                keys.clone(),
                *token,
                self.lease.fleet.clock.now(),
                self.lease.certainly_over(lane),
            ));
        }
    }

    fn owe(&self, entry: Entry) {
        self.lease.fleet.owe(self.member, entry, &self.lease.runtime);
    }
}

impl Drop for Owes {
    fn drop(&mut self) {
        let (_, lane) = self.lease.at(self.member);
        if !self.is_settled && lane.may_hold() {
            let uncertain = lane.is_unsettled();
            let LeaseState { keys, token, .. } = &*self.lease;
            let lives = self.lease.certainly_over(lane);
            self.owe(Entry::new(keys.clone(), *token, self.lease.fleet.clock.now(), lives, uncertain));
        }
    }
}

impl LeaseState {
    /// Twice the limit of a late acquire or extend, since a release may have to wait for one.
    const RELEASE_LIMIT: Duration = LATE_LIMIT.saturating_mul(2);

    fn release(self: &Arc<Self>, notify: Notify) -> Requests<ReleaseAnswer> {
        self.holding().iter_mut().for_each(Holding::begin_release);
        let notifier = self.fleet.notifier(None).filter(|_| notify != Notify::Nobody);
        let passes_on = notify == Notify::Other;
        // Calls of this process that wait for another slot, or for other readers of this process, keep their tickets.
        let keeps_place = self.slot.is_some() || self.is_shared.load(Ordering::SeqCst);
        let leaves_anyway = passes_on || !keeps_place && !self.holding().is_empty();
        self.requests(|lease, member| {
            let owes = Owes { lease: Arc::clone(&lease), member, is_settled: false };
            Box::pin(async move {
                let (node, lane) = lease.at(member);
                // Local waiters are notified after this answer, which says whether another process comes first.
                let _end_holding = (notifier == Some(member)).then(|| EndsHolding(Arc::clone(&lease)));
                let _order = lease.enter_to_release(lane).await;
                if lane.keys() == KeyState::Successors {
                    // An extend without an answer may still set the key after the successor has released it.
                    owes.delivered();
                    return Ok(ReleaseAnswer::Released);
                }
                let wakes = notifier == Some(member);
                let mut request = ReleaseRequest::new(lease.keys.clone(), lease.token);
                request.wake = lease.wake(member, wakes, leaves_anyway);
                if !lane.needs_release(node.fails_in_parts()) && request.wake.is_none() {
                    owes.settled();
                    return Ok(ReleaseAnswer::NotHeld);
                }
                let answer = lease.fleet.call(node, NodeRequest::Release, node.node.release(&request)).await;
                let answer = node.observe(answer);
                if answer.is_ok() {
                    owes.delivered();
                }
                let wakes = wakes && request.wake.is_some();
                if let (Ok(answer), true) = (&answer, wakes) {
                    let (notified, now) = (answer.has_woken(), lease.fleet.clock.now());
                    let keys = lease.queue_keys();
                    keys.iter().for_each(|key| lease.fleet.queues.released_on_node(key, notified, now));
                }
                if wakes && !passes_on {
                    lease.queue_keys().iter().for_each(|key| lease.fleet.queues.left_node(key));
                }
                if answer.is_err() && notifier == Some(member) {
                    lease.wake_elsewhere(member).await;
                }
                let answer = answer?;
                let keys = lane.keys();
                lane.released();
                match keys {
                    // The next holder has taken the keys over, or its answer was lost or has not arrived yet.
                    KeyState::Successors | KeyState::Offered => Ok(ReleaseAnswer::Released),
                    KeyState::Unclear if !answer.is_released() => {
                        let what = "the connection broke before the next holder in this process had its answer";
                        Err(NodeError::new(NodeErrorKind::Unreachable, what))
                    }
                    KeyState::Untouched | KeyState::Perhaps | KeyState::Ours | KeyState::Unclear | KeyState::Gone => {
                        Ok(answer)
                    }
                }
            })
        })
    }

    /// Takes back the intent that a lost round with this token has left on nodes, and notifies the readers that it has
    /// kept out. In the background, since the call is over. Releases the token once more.
    pub(crate) fn withdraw_intent(self: &Arc<Self>) {
        let notifier = self.fleet.notifier(None);
        let requests: Requests<ReleaseAnswer> = self.requests(|lease, member| {
            Box::pin(async move {
                let (node, lane) = lease.at(member);
                node.admit()?;
                // After the acquire, which may still be in flight.
                let _order = lane.enter().await;
                if !lane.is_unsettled() && !lease.has_met_readers() {
                    return Ok(ReleaseAnswer::NotHeld);
                }
                let mut request = ReleaseRequest::new(lease.keys.clone(), lease.token);
                request.intent = true;
                request.wake = lease.wake(member, notifier == Some(member), false);
                node.observe(lease.fleet.call(node, NodeRequest::Release, node.node.release(&request)).await)
            })
        });
        let lease = Arc::clone(self);
        self.fleet.background.spawn_in_turn(&self.runtime, async move |permit| {
            let on_time = Instant::now() + lease.node_timeout;
            requests.finish(on_time, Self::RELEASE_LIMIT, false, permit).await;
        });
    }

    /// Waits until all earlier requests for this token on the node have ended. The wait for a successor's request is
    /// short: it only saves a release, and the successor's task may not run.
    async fn enter_to_release<'l>(&self, lane: &'l NodeLane) -> Option<MutexGuard<'l, ()>> {
        if lane.is_offered() {
            return timeout(self.node_timeout / 4, lane.enter()).await.ok();
        }
        Some(lane.enter().await)
    }

    /// Returns what a release does with the wait queue on a node. It notifies the first waiter if this is the node that
    /// does so. This process leaves the queue if it has joined it, and has had its permit or does not wait any more.
    fn wake(&self, member: usize, wakes: bool, leaves_anyway: bool) -> Option<WakeNext> {
        let keys = self.queue_keys();
        let waiters = || keys.iter().map(Resource::waiters).collect::<Option<Vec<_>>>();
        // Calls for several keys join no wait queue.
        let leaves = || {
            let anyway = wakes && leaves_anyway;
            keys.len() == 1 && self.fleet.queues.leaves_node(keys.first(), member, anyway)
        };
        let leaving = self.fleet.subscriptions.own_channel().filter(|_| leaves()).cloned();
        match (wakes, leaving) {
            (true, leaving) => Some(WakeNext::new(waiters()?, leaving)),
            (false, Some(channel)) => Some(WakeNext::new(waiters()?, Some(channel)).if_free()),
            (false, None) => None,
        }
    }

    /// Notifies the first waiter on another node, since the node that does so has failed.
    async fn wake_elsewhere(&self, failed: usize) {
        let Some(next) = self.fleet.notifier(Some(failed)) else { return };
        // After the release that is sent there.
        yield_now().await;
        let _order = self.at(next).1.enter().await;
        for key in self.queue_keys() {
            // If this fails, the waiter asks when its pause is over.
            let _ = notify_first(&*self.fleet, next, key.clone()).await;
        }
    }
}
