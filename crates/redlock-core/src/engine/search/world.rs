//! The world at one moment: two leases, the nodes, what lies between them, and what the callers have heard.

use std::{
    collections::{BTreeSet, VecDeque},
    hash::{Hash as _, Hasher},
    time::Duration,
};

use super::{
    caller::Caller,
    link::Link,
    node::Node,
    scenario::{Scenario, TTL},
};
use crate::engine::{
    ask::{Answered, Ask, Failure},
    command::{Command, QueueNote},
    event::{Acquire, Event, Question, Timer, Why},
    keys_on_node::KeyState,
    lease::{
        Lease,
        phase::{Phase, Seal},
    },
    line::Line,
};

/// The world at one moment. The numbers of the two leases are their names.
#[derive(Debug, Clone)]
pub(super) struct World {
    pub(super) now: Duration,
    pub(super) leases: [Lease<u8>; 2],
    pub(super) callers: [Caller; 2],
    pub(super) nodes: Vec<Node>,
    /// Process by process, and in each node by node.
    pub(super) links: Vec<Link>,
    /// The timers that are armed, and from when on each may fire.
    pub(super) timers: BTreeSet<(u8, Timer, Duration)>,
    /// Whether the first lease is offered to the second.
    pub(super) is_offered: bool,
    pub(super) breaks: u8,
    pub(super) refusals: u8,
    pub(super) restarts: u8,
    pub(super) extends: u8,
    /// Which rule is broken.
    pub(super) broken: Option<&'static str>,
}

impl World {
    /// The first lease has sent a request to all nodes.
    pub(super) fn new(scenario: &Scenario) -> Self {
        let line = || Line::new(scenario.limits.clone());
        let mut world = Self {
            now: Duration::ZERO,
            leases: [0, 1].map(|name| Lease::new(name, &scenario.rules)),
            callers: Default::default(),
            nodes: vec![Node::default(); scenario.nodes],
            links: (0..scenario.processes() * scenario.nodes)
                .map(|_| Link::new(line(), scenario.refusals == 0))
                .collect(),
            timers: BTreeSet::new(),
            is_offered: false,
            breaks: scenario.breaks,
            refusals: scenario.refusals,
            restarts: scenario.restarts,
            extends: scenario.extends,
            broken: None,
        };
        world.acquire(0, None, scenario);
        world
    }

    /// Hashes the parts of this node.
    pub(super) fn hash_node(&self, node: usize, into: &mut impl Hasher) {
        self.nodes[node].hash(into);
        self.links.iter().skip(node).step_by(self.nodes.len()).for_each(|link| link.hash(into));
        self.leases.iter().for_each(|lease| lease.hash_node(node, into));
    }

    /// Hashes the parts of no node.
    pub(super) fn hash_rest(&self, into: &mut impl Hasher) {
        self.leases.iter().for_each(|lease| lease.hash_rest(into));
        (self.now, &self.callers, &self.timers, self.is_offered).hash(into);
        (self.breaks, self.refusals, self.restarts, self.extends, self.broken).hash(into);
    }

    /// A lease asks for the lock. It may follow the first.
    pub(super) fn acquire(&mut self, lease: u8, follows: Option<u8>, scenario: &Scenario) {
        self.callers[usize::from(lease)].asks(Question::Acquire);
        let terms = scenario.rules.terms(Scenario::ttl()).unwrap();
        let ask = Acquire {
            terms,
            patience: terms.node_timeout,
            first: None,
            follows,
            reserved: Box::default(),
            slow: None,
            cause: None,
            is_fenced: false,
        };
        self.feed(lease, Event::Acquire(ask), scenario);
    }

    /// Feeds an event to a lease, and everything that follows from it. Then all lines are flushed.
    pub(super) fn feed(&mut self, lease: u8, event: Event<u8>, scenario: &Scenario) {
        self.feed_all([(lease, event)].into(), scenario);
    }

    /// Feeds leases the reports of a line on their requests to a node.
    pub(super) fn tell(&mut self, node: usize, reports: Vec<(Ask<u8>, Answered)>, scenario: &Scenario) {
        self.feed_all(reports.into_iter().map(|reports| answer(node, reports)).collect(), scenario);
    }

    fn feed_all(&mut self, mut events: VecDeque<(u8, Event<u8>)>, scenario: &Scenario) {
        loop {
            while let Some((lease, event)) = events.pop_front() {
                for command in self.leases[usize::from(lease)].on(&scenario.rules, event, self.now) {
                    self.execute(lease, command, scenario, &mut events);
                }
            }
            for number in 0..self.links.len() {
                match self.links[number].flush(self.now) {
                    Ok(expired) => {
                        let reports = expired.into_iter().map(|ask| (ask, Err(Failure::NOT_SENT)));
                        events.extend(reports.map(|reports| answer(number % scenario.nodes, reports)));
                    }
                    Err(rule) => self.broken = Some(rule),
                }
            }
            if events.is_empty() {
                break;
            }
        }
        self.forget_timers();
        self.check(scenario);
    }

    fn execute(
        &mut self,
        lease: u8,
        command: Command<u8>,
        scenario: &Scenario,
        events: &mut VecDeque<(u8, Event<u8>)>,
    ) {
        match command {
            Command::Enqueue { node, ask } => {
                let link = self.link(lease, node, scenario);
                let reports = match self.links[link].line.submit(ask.clone(), self.now) {
                    Ok(reports) => reports,
                    Err(_) => vec![(ask, Err(Failure::OVERLOADED))],
                };
                events.extend(reports.into_iter().map(|reports| answer(node, reports)));
            }
            Command::Withdraw => {
                for node in 0..scenario.nodes {
                    let link = self.link(lease, node, scenario);
                    let reports = self.links[link].line.withdraw(&lease);
                    events.extend(reports.into_iter().map(|reports| answer(node, reports)));
                }
            }
            Command::Resolve(question, _) => {
                if let Err(rule) = self.callers[usize::from(lease)].answered(question) {
                    self.broken = Some(rule);
                }
            }
            Command::Ended(_) => {
                if !self.callers[usize::from(lease)].hears_of_the_end() {
                    self.broken = Some("the end of a lock is reported twice");
                }
            }
            Command::ToPeer(peer, said) => events.push_back((peer, Event::Peer(said))),
            Command::Queue(QueueNote::Offered) => self.is_offered = true,
            Command::Queue(_) => {}
            Command::Arm { timer: Timer::Validity, .. } => {}
            Command::Arm { timer, at } => {
                self.timers.insert((lease, timer, if scenario.is_punctual { at } else { Duration::ZERO }));
            }
        }
    }

    fn link(&self, lease: u8, node: usize, scenario: &Scenario) -> usize {
        if scenario.is_apart { usize::from(lease) * scenario.nodes + node } else { node }
    }

    /// A second passes for everybody.
    pub(super) fn tick(&mut self, scenario: &Scenario) {
        self.now += Duration::from_secs(1);
        let now = self.now;
        self.nodes.iter_mut().for_each(|node| node.expire(now));
        let mut events: VecDeque<_> = [0, 1].map(|lease| (lease, Event::Timer(Timer::Validity))).into();
        for number in 0..self.links.len() {
            let reports = self.links[number].tick(now);
            events.extend(reports.into_iter().map(|reports| answer(number % scenario.nodes, reports)));
        }
        self.feed_all(events, scenario);
    }

    /// A timer fires. The question that it bounds is answered then.
    pub(super) fn fire(&mut self, lease: u8, timer: Timer, scenario: &Scenario) {
        self.timers.retain(|(of, armed, _)| (*of, *armed) != (lease, timer));
        self.feed(lease, Event::Timer(timer), scenario);
        let question = match timer {
            Timer::Round => Question::Acquire,
            Timer::Extend(number) => Question::Extend(number),
            Timer::Release => Question::Release,
            Timer::Detach => Question::Detach,
            Timer::First | Timer::Raise(_) | Timer::Validity | Timer::ExtendInTime(_) | Timer::Offer => return,
        };
        if self.callers[usize::from(lease)].waits_for(question) {
            self.broken = Some("a caller is not answered when its time is over");
        }
    }

    /// A node restarts without its memory. It grants nothing for a TTL.
    pub(super) fn restart(&mut self, node: usize, scenario: &Scenario) {
        self.restarts -= 1;
        self.nodes[node].restart(self.now + TTL);
        for link in (node..self.links.len()).step_by(scenario.nodes) {
            let reports = self.links[link].restarted(self.now);
            self.tell(node, reports, scenario);
        }
    }

    /// What the caller of a lease may do: release it, drop it, or go away.
    pub(super) fn end(&mut self, lease: u8, why: Why, scenario: &Scenario) {
        if why == Why::Caller {
            self.callers[usize::from(lease)].asks(Question::Release);
        }
        self.feed(lease, Event::Release(why), scenario);
    }

    /// Timers of questions that are answered change nothing any more.
    fn forget_timers(&mut self) {
        let (leases, callers) = (&self.leases, &self.callers);
        self.timers.retain(|(lease, timer, _)| {
            let (lease, caller) = (&leases[usize::from(*lease)], &callers[usize::from(*lease)]);
            match timer {
                Timer::First | Timer::Round | Timer::Raise(_) => caller.waits_for(Question::Acquire),
                Timer::ExtendInTime(number) | Timer::Extend(number) => caller.waits_for(Question::Extend(*number)),
                Timer::Release => caller.waits_for(Question::Release),
                Timer::Offer => lease.phase() == Phase::Sealed(Seal::Offered),
                Timer::Detach => lease.phase() == Phase::Sealed(Seal::Detaching),
                Timer::Validity => false,
            }
        });
    }

    /// Checks what must be true in every world.
    fn check(&mut self, scenario: &Scenario) {
        let are_valid = self.leases.iter().all(|lease| !lease.left(self.now).is_zero());
        if are_valid {
            self.broken = Some("two leases are valid at the same time");
        }
        let is_revived =
            |(lease, caller): (&Lease<u8>, &Caller)| caller.has_heard_of_the_end() && !lease.left(self.now).is_zero();
        if self.leases.iter().zip(&self.callers).any(is_revived) {
            self.broken = Some("a lock that has ended is valid again");
        }
        if let Some(rule) = self.check_releases(scenario) {
            self.broken = Some(rule);
        }
    }

    fn check_releases(&self, scenario: &Scenario) -> Option<&'static str> {
        let is_trimmed = self.links.iter().any(|link| link.line.owed_bytes() > scenario.limits.bytes);
        if is_trimmed {
            return Some("more is owed than allowed");
        }
        for (node, state) in self.nodes.iter().enumerate() {
            let Some(holder) = state.holder() else { continue };
            let lease = &self.leases[usize::from(holder)];
            let is_over = matches!(lease.phase(), Phase::Releasing(_));
            // The successor's answer decides whose the key is.
            let is_offered = lease.key(node) == Some(KeyState::Offered);
            let link = self.link(holder, node, scenario);
            if is_over && !is_offered && !scenario.forgets && !self.links[link].line.owes(&holder) {
                return Some("a node holds the key of a lease that has ended, and is owed no release");
            }
        }
        for (lease, caller) in self.leases.iter().zip(&self.callers) {
            let is_over = matches!(lease.phase(), Phase::Releasing(_) | Phase::Held | Phase::Left);
            if is_over && caller.waits_for(Question::Acquire) {
                return Some("a round is over, and its caller is not answered");
            }
        }
        None
    }
}

fn answer(node: usize, (ask, answer): (Ask<u8>, Answered)) -> (u8, Event<u8>) {
    (ask.lease, Event::Answer { node, ask, answer, is_trusted: true })
}
