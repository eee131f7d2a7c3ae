//! A lease is fed events, and its commands are compared.

mod acquiring;
mod ending;
mod extending;
mod handing_off;

use std::time::Duration;

use super::{Lease, phase::Phase};
use crate::{
    algorithm::{Drift, NodeTimeout, Quorum, Ttl},
    engine::{
        ask::{Answer, Answered, Ask, Failure, Fate, Request},
        command::{Command, Outcome},
        event::{Acquire, Event, Question},
        keys_on_node::KeyState,
        rules::Rules,
    },
    node::{AcquireAnswer, ExtendAnswer, NodeErrorKind, ReleaseAnswer},
};

const TTL: Duration = Duration::from_secs(10);
const VALIDITY: Duration = Duration::from_secs(9);
const TIMEOUT: Duration = Duration::from_secs(1);

/// A lease of three nodes, the time, and all its requests.
struct Bench {
    rules: Rules,
    lease: Lease<u8>,
    now: Duration,
    asked: Vec<(usize, Ask<u8>)>,
}

impl Bench {
    fn new(name: u8) -> Self {
        let rules = Rules {
            quorum: Quorum::of(3.try_into().unwrap()),
            drift: Drift::new(0.0, TTL - VALIDITY).unwrap(),
            node_timeout: NodeTimeout::Fixed(TIMEOUT),
            longest: None,
            may_hand_off: true,
            weakness: None,
        };
        let lease = Lease::new(name, &rules);
        Self { rules, lease, now: Duration::from_secs(100), asked: Vec::new() }
    }

    /// A lease that has sent a request to all nodes.
    fn asking() -> Self {
        let mut bench = Self::new(1);
        bench.on(Event::Acquire(bench.acquire()));
        bench
    }

    /// A lease that nodes 0 and 1 have granted at once. Node 2 has not answered.
    fn holding() -> Self {
        let mut bench = Self::asking();
        bench.answer(0, granted());
        bench.answer(1, granted());
        assert_eq!(bench.lease.phase(), Phase::Held);
        bench
    }

    fn acquire(&self) -> Acquire<u8> {
        Acquire {
            terms: self.rules.terms(ttl()).unwrap(),
            patience: TIMEOUT,
            first: None,
            follows: None,
            reserved: Box::default(),
            slow: None,
            cause: None,
            is_fenced: false,
        }
    }

    fn pass(&mut self, seconds: u64) -> &mut Self {
        self.now += Duration::from_secs(seconds);
        self
    }

    fn on(&mut self, event: Event<u8>) -> Vec<Command<u8>> {
        let commands = self.lease.on(&self.rules, event, self.now);
        for command in &commands {
            if let Command::Enqueue { node, ask } = command {
                self.asked.push((*node, ask.clone()));
            }
        }
        commands
    }

    /// The node answers the last request.
    fn answer(&mut self, node: usize, answer: Answered) -> Vec<Command<u8>> {
        let (_, ask) = self.asked.iter().rfind(|(asked, _)| *asked == node).unwrap().clone();
        self.on(Event::Answer { node, ask, answer, is_trusted: true })
    }

    /// The node answers its first request, the acquire.
    fn answer_first(&mut self, node: usize, answer: Answered) -> Vec<Command<u8>> {
        let (_, ask) = self.asked.iter().find(|(asked, _)| *asked == node).unwrap().clone();
        self.on(Event::Answer { node, ask, answer, is_trusted: true })
    }

    fn keys(&self) -> [KeyState; 3] {
        [0, 1, 2].map(|node| self.lease.key(node).unwrap())
    }

    fn left(&self) -> Duration {
        self.lease.left(self.now)
    }
}

fn ttl() -> Ttl {
    Ttl::new(TTL).unwrap()
}

fn granted() -> Answered {
    Ok(Answer::Acquire(AcquireAnswer::granted()))
}

fn counted(counter: u64) -> Answered {
    Ok(Answer::Acquire(AcquireAnswer::counted(counter)))
}

fn held() -> Answered {
    Ok(Answer::Acquire(AcquireAnswer::held(None)))
}

fn extended(answer: ExtendAnswer) -> Answered {
    Ok(Answer::Extend(answer))
}

fn released() -> Answered {
    Ok(Answer::Release(ReleaseAnswer::Released))
}

fn not_held() -> Answered {
    Ok(Answer::Release(ReleaseAnswer::NotHeld))
}

fn failed(fate: Fate) -> Answered {
    Err(Failure { kind: NodeErrorKind::Unreachable, fate })
}

/// The nodes to which these commands send a request.
fn asked(commands: &[Command<u8>]) -> Vec<usize> {
    let node = |command: &Command<u8>| if let Command::Enqueue { node, .. } = command { Some(*node) } else { None };
    commands.iter().filter_map(node).collect()
}

/// On which nodes these commands release the lease.
fn releases(commands: &[Command<u8>]) -> Vec<usize> {
    let node = |command: &Command<u8>| match command {
        Command::Enqueue { node, ask } if matches!(ask.request, Request::Release { .. }) => Some(*node),
        _ => None,
    };
    commands.iter().filter_map(node).collect()
}

/// The answers to callers in these commands.
fn resolved(commands: Vec<Command<u8>>) -> Vec<(Question, Outcome)> {
    let outcome =
        |command| if let Command::Resolve(question, outcome) = command { Some((question, outcome)) } else { None };
    commands.into_iter().filter_map(outcome).collect()
}
