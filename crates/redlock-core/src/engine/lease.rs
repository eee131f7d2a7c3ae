//! One token on all nodes, from the first request to the last late answer. It decides; it sends nothing.

pub(crate) mod acquiring;
pub(crate) mod extends;
pub(crate) mod on_node;
mod answers;
mod ending;
pub(crate) mod phase;
mod step;
#[cfg(test)]
mod symmetry;

use std::time::Duration;

use self::{
    acquiring::{Acquiring, Next},
    extends::{Extends, end_after},
    on_node::OnNode,
    phase::{Phase, Seal},
    step::Step,
};
use crate::{
    algorithm::{Cause, FencingToken, RoundFailure, Ttl},
    engine::{
        ask::Request,
        command::{Command, NotExtended, Outcome, QueueNote},
        event::{Acquire, Event, Peer, Question, Timer, Why},
        keys_on_node::KeyState,
        name::Name,
        rules::{Rules, Weakness},
        tally::Tally,
        validity::{End, Validity},
    },
};

/// One token on all nodes.
///
/// A lost round, a cancelled acquire and a dropped lock are one and the same thing: the lease is released on every node
/// that may hold its keys, behind everything that was sent there. Late answers change what is known of a node. They
/// never change a decision.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Lease<N> {
    name: N,
    phase: Phase,
    nodes: Box<[OnNode]>,
    validity: Validity,
    node_timeout: Duration,
    /// The longest TTL of all requests so far: how long keys can live that one of them sets.
    longest: Duration,
    fence: Option<FencingToken>,
    /// The holder that hands the lock off to this lease.
    follows: Option<N>,
    /// Why it is this caller's turn, if it waits in a queue.
    cause: Option<Cause>,
    acquiring: Option<Acquiring>,
    extends: Extends,
    /// The votes on the release that a caller waits for.
    releasing: Option<Tally>,
}

impl<N: Name> Lease<N> {
    /// A lease that has sent nothing yet.
    pub(crate) fn new(name: N, rules: &Rules) -> Self {
        let nodes = rules.quorum.nodes();
        Self {
            name,
            phase: Phase::Asking,
            nodes: (0..nodes).map(|_| OnNode::UNTOUCHED).collect(),
            validity: Validity::default(),
            node_timeout: Duration::ZERO,
            longest: Duration::ZERO,
            fence: None,
            follows: None,
            cause: None,
            acquiring: None,
            extends: Extends::new(nodes),
            releasing: None,
        }
    }

    /// The rest of the validity.
    pub(crate) fn left(&self, now: Duration) -> Duration {
        self.validity.left(now)
    }

    pub(crate) fn phase(&self) -> Phase {
        self.phase
    }

    /// The state of the keys on a node.
    pub(crate) fn key(&self, node: usize) -> Option<KeyState> {
        self.nodes.get(node).map(OnNode::key)
    }

    /// Handles an event. Returns the commands that follow from it.
    pub(crate) fn on(&mut self, rules: &Rules, event: Event<N>, now: Duration) -> Vec<Command<N>> {
        let mut step = Step::new(rules, now);
        match event {
            Event::Acquire(ask) => self.acquire(ask, &mut step),
            Event::Resume { terms, started, validity, fence } => {
                self.resume(terms, started, validity, fence, &mut step);
            }
            Event::Extend { ttl } => self.extend(ttl, &mut step),
            Event::Offer { within } => self.offer(within, &mut step),
            Event::Reserve => self.seal(Seal::Reserved, &mut step),
            Event::Detach => self.detach(&mut step),
            Event::LeaveToExpire => self.leave(&mut step),
            Event::Release(why) => self.release(why, &mut step),
            Event::LifetimeOver => self.validity.lifetime_over(),
            Event::Peer(peer) => self.peer(peer, &mut step),
            Event::Answer { node, ask, answer, is_trusted } => self.answer(node, &ask, &answer, is_trusted, &mut step),
            Event::Timer(timer) => self.timer(timer, &mut step),
            Event::CallerGone(question) => self.caller_gone(question, &mut step),
        }
        step.into_commands()
    }

    /// Asks the nodes for the lock.
    fn acquire(&mut self, ask: Acquire<N>, step: &mut Step<'_, N>) {
        if self.phase != Phase::Asking || self.acquiring.is_some() {
            return;
        }
        let acquiring = Acquiring::new(&ask, step.rules, step.now);
        self.node_timeout = ask.terms.node_timeout;
        self.cause = ask.cause;
        step.arm(Timer::Round, step.now + ask.patience);
        if let Some((_, alone)) = ask.first {
            step.arm(Timer::First, step.now + alone.min(ask.patience));
        }
        let predecessors: Box<[N]> = ask.follows.iter().chain(&ask.reserved).cloned().collect();
        let only = ask.first.map(|(node, _)| node);
        self.acquiring = Some(acquiring);
        self.ask_to_acquire(&predecessors, |node| only.is_none_or(|only| only == node), step);
        if let Some(holder) = &ask.follows {
            step.command(Command::ToPeer(holder.clone(), Peer::Asks));
        }
        self.follows = ask.follows;
    }

    fn ask_to_acquire(&mut self, predecessors: &[N], among: impl Fn(usize) -> bool, step: &mut Step<'_, N>) {
        let Some(acquiring) = &self.acquiring else { return };
        let (ttl, until) = (acquiring.terms.ttl, acquiring.started + acquiring.patience);
        for node in (0..self.nodes.len()).filter(|node| among(*node)) {
            self.enqueue(node, Request::Acquire { ttl, predecessors: predecessors.into() }, until, step);
        }
    }

    /// Takes the next actions of the round. Answers after its decision decide nothing.
    fn go_on_acquiring(&mut self, step: &mut Step<'_, N>) {
        while let Some(acquiring) = &mut self.acquiring {
            match acquiring.next(step.rules, step.now) {
                None => return,
                Some(Next::AskAllBut(first)) => self.ask_all_but(first, step),
                Some(Next::Raise { candidate, nodes }) => {
                    let until = step.now + acquiring.patience.min(acquiring.left(step.now));
                    step.arm(Timer::Raise(candidate), until);
                    for node in nodes {
                        self.enqueue(node, Request::Raise { candidate }, until, step);
                    }
                }
                Some(Next::Won(fence)) => return self.hold(fence, step),
                Some(Next::Lost(lost, tally)) => return self.lose(lost, tally, step),
            }
        }
    }

    fn ask_all_but(&mut self, first: usize, step: &mut Step<'_, N>) {
        // A lease with predecessors sends its requests to all nodes at once.
        self.ask_to_acquire(&[], |node| node != first, step);
    }

    /// The round is won.
    fn hold(&mut self, fence: Option<FencingToken>, step: &mut Step<'_, N>) {
        let Some(acquiring) = self.acquiring.take() else { return };
        let started = match step.rules.lack(Weakness::ValidityFromTheAnswer) {
            true => step.now,
            false => acquiring.started,
        };
        let deadline = started + acquiring.terms.validity;
        self.validity.begin(deadline, acquiring.started + acquiring.terms.ttl.trusted());
        (self.phase, self.fence) = (Phase::Held, fence);
        step.arm(Timer::Validity, deadline);
        step.resolve(Question::Acquire, Outcome::Acquired { deadline, fence });
        if step.rules.lack(Weakness::AnswersTwice) {
            self.acquiring = Some(acquiring);
        }
    }

    /// The round is lost.
    fn lose(&mut self, lost: RoundFailure, tally: Tally, step: &mut Step<'_, N>) {
        let kept = self.acquiring.take();
        step.resolve(Question::Acquire, Outcome::NotAcquired { lost, tally });
        // A turn that was of no use is passed on. If another holds the lock, that holder will do so.
        let passes_on = match self.cause {
            Some(Cause::Woken) => lost != RoundFailure::Contended,
            Some(Cause::Follows) => true,
            // Waiters that tried meanwhile were refused although nobody holds the lock.
            Some(Cause::Arrived | Cause::Due) => lost == RoundFailure::TooLate,
            None => false,
        };
        self.release_all(Why::LostRound, passes_on, step);
        if step.rules.lack(Weakness::LateGrantWins) {
            (self.acquiring, self.validity) = (kept, Validity::default());
        }
    }

    /// Prolongs the lock on all nodes.
    fn extend(&mut self, ttl: Ttl, step: &mut Step<'_, N>) {
        let number = self.extends.next_number();
        self.expire(step);
        let left = self.validity.left(step.now);
        if self.phase != Phase::Held || left.is_zero() {
            step.resolve(Question::Extend(number), Outcome::NotExtended(NotExtended::Ended));
            return;
        }
        // A node that lost the keys gets them for as long as the others keep them.
        let kept_for = Ttl::new(self.validity.kept_for(step.now)).unwrap_or(ttl);
        let terms = match step.rules.terms(ttl.max(kept_for)) {
            Ok(terms) => terms,
            Err(error) => {
                step.resolve(Question::Extend(number), Outcome::NotExtended(NotExtended::Ttl(error)));
                return;
            }
        };
        self.extends.open(number, terms, step.rules, step.now);
        let until = step.now + terms.node_timeout;
        step.arm(Timer::ExtendInTime(number), step.now + left.saturating_sub(Extends::TIMERS));
        step.arm(Timer::Extend(number), until);
        for node in 0..self.nodes.len() {
            self.enqueue(node, Request::Extend { number, ttl: terms.ttl, fence: self.fence }, until, step);
        }
    }

    /// Resolves this extend, if it is decided.
    fn go_on_extending(&mut self, number: u64, step: &mut Step<'_, N>) {
        self.expire(step);
        let Some(outcome) = self.extends.decide(number, &mut self.validity, step.rules, step.now) else { return };
        if matches!(outcome, Outcome::Extended { .. }) {
            step.arm(Timer::Validity, self.validity.deadline());
        }
        let end = end_after(&outcome);
        step.resolve(Question::Extend(number), outcome);
        if let Some(end) = end {
            self.end(end, step);
        }
    }

    fn timer(&mut self, timer: Timer, step: &mut Step<'_, N>) {
        match timer {
            Timer::First => {
                if let Some(first) = self.acquiring.as_mut().and_then(Acquiring::not_alone) {
                    self.ask_all_but(first, step);
                }
            }
            Timer::Round | Timer::Raise(_) => {
                match (&mut self.acquiring, timer) {
                    (Some(acquiring), Timer::Raise(candidate)) => acquiring.give_up_raise(candidate),
                    (Some(acquiring), _) => acquiring.give_up(),
                    (None, _) => {}
                }
                self.go_on_acquiring(step);
            }
            Timer::Validity => self.expire(step),
            Timer::ExtendInTime(number) | Timer::Extend(number) => {
                self.extends.give_up(number, timer == Timer::ExtendInTime(number));
                self.go_on_extending(number, step);
            }
            Timer::Offer => self.offer_over(step),
            Timer::Release => self.release_unknown(step),
            Timer::Detach => self.detached(step),
        }
    }

    /// Ends a lock whose validity is over.
    fn expire(&mut self, step: &mut Step<'_, N>) {
        let is_held = matches!(self.phase, Phase::Held | Phase::Sealed(_));
        if is_held && self.validity.expire(step.now) {
            let end = self.validity.ended().unwrap_or(End::Expired);
            step.command(Command::Ended(end));
        }
    }

    /// Ends the validity, and says so once.
    fn end(&mut self, end: End, step: &mut Step<'_, N>) {
        if self.validity.end(end) {
            step.command(Command::Ended(end));
        }
    }

    /// Answers the extends that are open: none counts any more.
    fn close_extends(&mut self, step: &mut Step<'_, N>) {
        for number in self.extends.close() {
            step.resolve(Question::Extend(number), Outcome::NotExtended(NotExtended::Ended));
        }
    }

    fn queue(note: QueueNote, step: &mut Step<'_, N>) {
        step.command(Command::Queue(note));
    }
}

#[cfg(test)]
mod tests;
