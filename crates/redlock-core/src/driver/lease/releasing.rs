//! Releases a lease on all nodes, or leaves it to the next holder of this process.

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
        ownership::Ownership,
        validity::End,
    },
    names::Resource,
    node::{LATE_LIMIT, NodeError, NodeErrorKind, ReleaseAnswer, ReleaseRequest, Wake},
    queue::{Holding, wake},
    report::NodeRequest,
};

impl Lease {
    /// Asks all nodes to delete the keys.
    pub(crate) fn send_release(&self, notify: Notify) -> Exchange<ReleaseAnswer> {
        let node_timeout = self.0.node_timeout;
        self.0.validity.end(End::Released);
        let requests = self.0.release(notify);
        let mut answers = Exchange::new(requests, node_timeout, node_timeout, LeaseState::RELEASE_LIMIT);
        answers.hold(Box::new(LetGo(Arc::clone(&self.0))));
        // Not before: on a runtime without timers the line above panics, and then the drop has to release.
        self.0.phase.release(notify);
        answers
    }

    /// Leaves a lock that is still valid to the next who waits for it in this process, if there is one. Waits until that one
    /// has asked for it.
    pub(crate) async fn leave_to_successor(&self) {
        let lease = &self.0;
        // A quarantined node must not grant what it may have forgotten; and one that is watched is asked for its time.
        let Fleet { guard, distrust, .. } = &*lease.fleet;
        let may_follow = lease.keys.len() == 1 && guard.is_none() && distrust.is_none();
        if !may_follow || lease.holding().is_empty() || lease.check().is_err() {
            return;
        }
        // Before that one asks: nothing is set any more, and nobody relies on it.
        lease.phase.seal();
        lease.validity.end(End::Released);
        let Some(asked) = lease.fleet.lines.succeed(lease.keys.first(), || lease.offer()) else { return };
        // One whose task does not run must not hold up the release.
        let _ = timeout(lease.node_timeout / 4, asked).await;
    }

    /// Releases a lost round's token, and waits until all nodes have answered that are not known to fail: the next round
    /// must not meet it. The next who waits is woken if this one's turn is passed on.
    pub(crate) async fn give_back(self, passes_on: bool) {
        let mut awaited: Vec<_> = self.0.fleet.members.iter().map(Member::is_prompt).collect();
        let mut answers = self.send_release(if passes_on { Notify::Other } else { Notify::Nobody });
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
        let let_go = LetGo(Arc::clone(&self.0));
        // No timer is made here, and nothing is sent: the thread may have no runtime, or be about to end. If the lease's
        // own runtime has ended, the requests are dropped with the task, and what they would release is owed.
        let requests = self.0.release(notify);
        self.0.fleet.background.spawn_in_turn(&self.0.runtime, async move |turn| {
            let on_time = Instant::now() + lease.node_timeout;
            // The turn ends after 50 ms at most, so that a hung node does not delay other releases.
            requests.finish(on_time, LeaseState::RELEASE_LIMIT, (let_go, turn)).await;
        });
        true
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.release_in_background(Notify::First) {
            // Nobody waits for a node that may not tell who comes first.
            let fleet = &self.0.fleet;
            let is_told = fleet.waker(None).and_then(|waker| fleet.members.get(waker)).is_some_and(Member::is_prompt);
            if !is_told {
                self.0.let_go();
            }
        }
    }
}

/// Lets go of the key when it is dropped: when the node that wakes has answered, or all have, or it takes too long.
struct LetGo(Arc<LeaseState>);

impl Drop for LetGo {
    fn drop(&mut self) {
        self.0.let_go();
    }
}

/// One node's release. Dropped before it is settled, it is owed to the node: it failed, or nobody waited for it.
struct Owes {
    lease: Arc<LeaseState>,
    member: usize,
    is_settled: bool,
}

impl Owes {
    /// There is nothing to release.
    fn settled(mut self) {
        self.is_settled = true;
    }

    /// The node has answered. An earlier request that it has not answered may still set the keys: they are released once
    /// more after that.
    fn delivered(mut self) {
        self.is_settled = true;
        let (_, lane) = self.lease.at(self.member);
        if lane.uncertain.load(Ordering::SeqCst) > 0 {
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
        if !self.is_settled && lane.perhaps.load(Ordering::SeqCst) {
            let uncertain = lane.uncertain.load(Ordering::SeqCst) > 0;
            let LeaseState { keys, token, .. } = &*self.lease;
            let lives = self.lease.certainly_over(lane);
            self.owe(Entry::new(keys.clone(), *token, self.lease.fleet.clock.now(), lives, uncertain));
        }
    }
}

impl LeaseState {
    /// Twice the limit of the late acquire or extend that a release may have to wait for.
    const RELEASE_LIMIT: Duration = LATE_LIMIT.saturating_mul(2);

    fn release(self: &Arc<Self>, notify: Notify) -> Requests<ReleaseAnswer> {
        self.holding().iter_mut().for_each(Holding::leaves);
        let waker = self.fleet.waker(None).filter(|_| notify != Notify::Nobody);
        let passes_on = notify == Notify::Other;
        let leaves_anyway = passes_on || !self.holding().is_empty();
        self.requests(|lease, member| {
            let owes = Owes { lease: Arc::clone(&lease), member, is_settled: false };
            Box::pin(async move {
                let (node, lane) = lease.at(member);
                // Not before this one has told whether another process comes first.
                let _let_go = (waker == Some(member)).then(|| LetGo(Arc::clone(&lease)));
                let _order = lease.turn_to_release(lane).await;
                if lane.ownership.get() == Ownership::Successors {
                    // An extend that the node has not answered may still set the key once the successor has released it.
                    owes.delivered();
                    return Ok(ReleaseAnswer::Released);
                }
                let wakes = waker == Some(member);
                let mut request = ReleaseRequest::new(lease.keys.clone(), lease.token);
                request.wake = lease.wake(member, wakes, leaves_anyway);
                if !lane.ownership.get().needs_release() && request.wake.is_none() {
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
                    let (woken, now) = (answer.has_woken(), lease.fleet.clock.now());
                    lease.keys.iter().for_each(|key| lease.fleet.lines.given_back(key, woken, now));
                }
                if wakes && !passes_on {
                    lease.keys.iter().for_each(|key| lease.fleet.lines.left(key));
                }
                if answer.is_err() && waker == Some(member) {
                    lease.wake_elsewhere(member).await;
                }
                let answer = answer?;
                match lane.ownership.get() {
                    // The successor took the keys over meanwhile; or its answer was lost, or is not here yet.
                    Ownership::Successors | Ownership::Offered { .. } => Ok(ReleaseAnswer::Released),
                    Ownership::PerhapsSuccessors if !answer.is_released() => {
                        let what = "the connection broke before the next holder in this process had its answer";
                        Err(NodeError::new(NodeErrorKind::Unreachable, what))
                    }
                    Ownership::Untouched | Ownership::Asked | Ownership::Ours | Ownership::PerhapsSuccessors => {
                        Ok(answer)
                    }
                }
            })
        })
    }

    /// The release's turn on a node: after all that its own token has sent there. A successor's request is only waited for
    /// so that there may be nothing to release; its task may not run.
    async fn turn_to_release<'l>(&self, lane: &'l NodeLane) -> Option<MutexGuard<'l, ()>> {
        match lane.ownership.get() {
            Ownership::Offered { .. } => timeout(self.node_timeout / 4, lane.enter()).await.ok(),
            Ownership::Untouched
            | Ownership::Asked
            | Ownership::Ours
            | Ownership::Successors
            | Ownership::PerhapsSuccessors => Some(lane.enter().await),
        }
    }

    /// What a release does with the waiters on a node. It wakes the first of them if this is the node that wakes. And
    /// this process leaves them if it has joined them, and has had its turn or waits no more.
    fn wake(&self, member: usize, wakes: bool, leaves_anyway: bool) -> Option<Wake> {
        let waiters = || self.keys.iter().map(Resource::waiters).collect::<Option<Vec<_>>>();
        // Calls for several keys join no waiters.
        let leaves = || {
            let anyway = wakes && leaves_anyway;
            self.keys.len() == 1 && self.fleet.lines.leaves_node(self.keys.first(), member, anyway)
        };
        let leaving = self.fleet.listening.own_channel().filter(|_| leaves()).cloned();
        match (wakes, leaving) {
            (true, leaving) => Some(Wake::new(waiters()?, leaving)),
            (false, Some(channel)) => Some(Wake::new(waiters()?, Some(channel)).if_free()),
            (false, None) => None,
        }
    }

    /// The node that was to wake somebody failed.
    async fn wake_elsewhere(&self, failed: usize) {
        let Some(next) = self.fleet.waker(Some(failed)) else { return };
        // Behind the release that is sent there.
        yield_now().await;
        let _order = self.at(next).1.enter().await;
        for key in &self.keys {
            // Who is not woken asks when its pause is over.
            let _ = wake(&*self.fleet, next, key.clone()).await;
        }
    }
}
