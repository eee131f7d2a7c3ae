//! How a lease ends: by a release, a hand-off, a transfer to another process, or by its TTL.

use std::time::Duration;

use super::{
    Lease,
    on_node::OnNode,
    phase::{Phase, Seal},
    step::Step,
};
use crate::{
    algorithm::{FencingToken, Vote},
    engine::{
        ask::{Ask, Request, Terms},
        command::{Command, Outcome, QueueNote},
        event::{Peer, Question, Timer, Why},
        keys_on_node::KeyState,
        name::Name,
        rules::Weakness,
        tally::Tally,
        validity::End,
    },
};

impl<N: Name> Lease<N> {
    /// Resumes a lock of another process, which is valid for `validity` since `started`. Any node may hold it.
    pub(super) fn resume(
        &mut self,
        terms: Terms,
        started: Duration,
        validity: Duration,
        fence: Option<FencingToken>,
        step: &mut Step<'_, N>,
    ) {
        if self.phase != Phase::Asking || self.acquiring.is_some() {
            return;
        }
        self.nodes.fill(OnNode::OF_ANOTHER);
        self.node_timeout = terms.node_timeout;
        self.longest = Duration::from_millis(terms.ttl.sent_millis());
        let drift = terms.ttl.trusted().saturating_sub(terms.validity);
        let deadline = started + validity;
        self.validity.begin(deadline, deadline + drift);
        (self.phase, self.fence) = (Phase::Held, fence);
        step.arm(Timer::Validity, deadline);
    }

    /// Releases the lease, if it is not released yet.
    pub(super) fn release(&mut self, why: Why, step: &mut Step<'_, N>) {
        if matches!(self.phase, Phase::Asking | Phase::Held | Phase::Sealed(_)) {
            self.release_all(why, why != Why::TakenOver, step);
        }
    }

    /// Releases the lease on all nodes that may hold it, behind everything that was sent there.
    pub(super) fn release_all(&mut self, why: Why, notifies: bool, step: &mut Step<'_, N>) {
        self.acquiring = None;
        self.close_extends(step);
        if self.phase != Phase::Sealed(Seal::Offered) || !step.rules.lack(Weakness::OfferedStaysValid) {
            self.end(End::Released, step);
        }
        self.phase = Phase::Releasing(why);
        Self::queue(QueueNote::Releasing { notifies }, step);
        if why == Why::Caller {
            self.releasing = Some(Tally::new(step.rules.quorum));
            step.arm(Timer::Release, step.now + self.node_timeout);
        }
        for node in 0..self.nodes.len() {
            self.release_on(node, step);
        }
        self.go_on_releasing(step);
    }

    /// Releases the lease on a node, unless the node does not hold it, or the successor's answer is to come first.
    fn release_on(&mut self, node: usize, step: &mut Step<'_, N>) {
        let Some(on_node) = self.nodes.get_mut(node) else { return };
        let is_silent = on_node.key() == KeyState::Perhaps;
        if on_node.key() == KeyState::Offered {
            if step.rules.lack(Weakness::OfferedNodesAreSpared) {
                self.spare(node, Vote::Granted);
            }
        } else if on_node.keys.may_hold() && !(is_silent && step.rules.lack(Weakness::SilentNodesAreSpared)) {
            self.enqueue_release(node, step);
        } else {
            let vote = if on_node.key() == KeyState::Successors { Vote::Granted } else { Vote::Refused };
            self.spare(node, vote);
        }
    }

    fn enqueue_release(&mut self, node: usize, step: &mut Step<'_, N>) {
        if self.nodes.get_mut(node).is_some_and(OnNode::releases) {
            self.enqueue(node, Request::Release { lives: self.longest }, Duration::MAX, step);
        }
    }

    /// Nothing is released on this node, and what it would answer is known.
    fn spare(&mut self, node: usize, vote: Vote) {
        if let Some(tally) = &mut self.releasing {
            tally.count(node, vote, None);
        }
    }

    /// The caller has waited for the release long enough. The lines continue to deliver it.
    pub(super) fn release_unknown(&mut self, step: &mut Step<'_, N>) {
        if let Some(tally) = &mut self.releasing {
            tally.close();
        }
        self.go_on_releasing(step);
    }

    /// Offers a lock that is still valid to the next waiter of this process. Otherwise it is released at once.
    pub(super) fn offer(&mut self, within: Duration, step: &mut Step<'_, N>) {
        self.expire(step);
        let is_valid = !self.validity.left(step.now).is_zero();
        if self.phase != Phase::Held || !is_valid || !step.rules.may_hand_off {
            self.release(Why::Caller, step);
            return;
        }
        // Before the successor asks: nothing is set any more, and nobody relies on the lock.
        self.seal(Seal::Offered, step);
        if !step.rules.lack(Weakness::OfferedStaysValid) {
            self.end(End::Released, step);
        }
        step.arm(Timer::Offer, step.now + within);
        Self::queue(QueueNote::Offered, step);
    }

    /// The successor has sent no request in time. It may still do so, behind the release.
    pub(super) fn offer_over(&mut self, step: &mut Step<'_, N>) {
        if self.phase == Phase::Sealed(Seal::Offered) {
            self.release_all(Why::Caller, true, step);
        }
    }

    /// A message of the successor.
    pub(super) fn peer(&mut self, peer: Peer, step: &mut Step<'_, N>) {
        match peer {
            Peer::Asks if self.phase == Phase::Sealed(Seal::Offered) => {
                self.nodes.iter_mut().for_each(|node| node.keys.offered());
                self.release_all(Why::Caller, true, step);
            }
            // The release is out already, before what the successor has sent.
            Peer::Asks => {}
            Peer::Took { node, follows, is_unclear } => {
                let was_offered = self.key(node) == Some(KeyState::Offered);
                if let Some(on_node) = self.nodes.get_mut(node) {
                    on_node.keys.successor_answered(follows, is_unclear);
                }
                if was_offered && !step.rules.lack(Weakness::OfferedNodesAreSpared) {
                    self.release_on(node, step);
                    self.go_on_releasing(step);
                }
            }
            // Behind the request of the successor, which may still be carried out.
            Peer::Unanswered { node } => {
                if self.key(node) == Some(KeyState::Offered) && !step.rules.lack(Weakness::OfferedNodesAreSpared) {
                    self.enqueue_release(node, step);
                }
            }
        }
    }

    /// Sets nothing any more, and takes back what was not sent yet.
    pub(super) fn seal(&mut self, seal: Seal, step: &mut Step<'_, N>) {
        if self.phase == Phase::Held {
            self.phase = Phase::Sealed(seal);
            self.close_extends(step);
            step.command(Command::Withdraw);
        }
    }

    /// Leaves a lock that is still valid to another process, once nothing is out for it any more: it must undo nothing
    /// that the other process does.
    pub(super) fn detach(&mut self, step: &mut Step<'_, N>) {
        if self.phase != Phase::Held {
            let end = self.validity.ended().unwrap_or(End::Released);
            step.resolve(Question::Detach, Outcome::NotTransferred(end));
            return;
        }
        self.seal(Seal::Detaching, step);
        step.arm(Timer::Detach, step.now + self.node_timeout);
        self.detach_if_idle(step);
    }

    pub(super) fn detach_if_idle(&mut self, step: &mut Step<'_, N>) {
        if self.nodes.iter().all(OnNode::is_idle) {
            self.detached(step);
        }
    }

    /// Nothing is out any more, or it was waited for long enough.
    pub(super) fn detached(&mut self, step: &mut Step<'_, N>) {
        if self.phase != Phase::Sealed(Seal::Detaching) {
            return;
        }
        self.expire(step);
        if let Some(end) = self.validity.ended() {
            step.resolve(Question::Detach, Outcome::NotTransferred(end));
            self.release_all(Why::Dropped, true, step);
            return;
        }
        self.end(End::Transferred, step);
        self.phase = Phase::Left;
        Self::queue(QueueNote::Left, step);
        step.resolve(Question::Detach, Outcome::Transferred);
    }

    /// Sends nothing any more. The validity stays: somebody may still rely on it.
    pub(super) fn leave(&mut self, step: &mut Step<'_, N>) {
        if self.phase == Phase::Held {
            self.close_extends(step);
            self.phase = Phase::Left;
            step.command(Command::Withdraw);
            Self::queue(QueueNote::Left, step);
        }
    }

    /// Nobody waits for this any more. A lock that nobody gets is released.
    pub(super) fn caller_gone(&mut self, question: Question, step: &mut Step<'_, N>) {
        match question {
            Question::Acquire if self.acquiring.is_some() => self.release(Why::Dropped, step),
            Question::Acquire => {}
            Question::Extend(number) => self.extends.forget(number),
            Question::Release => {
                self.releasing = None;
                if self.phase == Phase::Sealed(Seal::Offered) {
                    self.release_all(Why::Dropped, true, step);
                }
            }
            Question::Detach if self.phase == Phase::Sealed(Seal::Detaching) => self.release(Why::Dropped, step),
            Question::Detach => {}
        }
    }

    /// Puts a request into the line of a node.
    pub(super) fn enqueue(&mut self, node: usize, request: Request<N>, until: Duration, step: &mut Step<'_, N>) {
        let Some(on_node) = self.nodes.get_mut(node) else { return };
        on_node.asks();
        if let Some(lives) = request.sets_for() {
            on_node.keys.sets();
            self.longest = self.longest.max(lives);
        }
        let ask = Ask { lease: self.name.clone(), request, until, node_timeout: self.node_timeout, again: false };
        step.command(Command::Enqueue { node, ask });
    }
}
