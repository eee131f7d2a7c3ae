//! The protocol: every step that may follow in a world. The crate decides which rounds win and how long locks are
//! valid.

use std::{fmt, ops::RangeInclusive, time::Duration};

use redlock_core::algorithm::{Decision, Drift, Ttl};

use super::{
    verdicts::Verdicts,
    world::{Answer, Key, LONGEST, Node, Owner, Phase, World, name},
};

/// The protocol for N nodes and C clients.
#[derive(Debug)]
pub(crate) struct Protocol<const N: usize, const C: usize> {
    ttl: Ttl,
    drift: Drift,
    /// How many ticks of true time a key may live. On a node with a fast clock, that is less than the TTL.
    lives: RangeInclusive<u8>,
    extends: bool,
    departure: Option<Departure>,
    verdicts: Verdicts,
}

/// A rule or an assumption that is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Departure {
    /// No drift is deducted.
    NoDrift,
    /// Validity counts from the answer, instead of from before the first byte is sent.
    ValidityFromTheAnswer,
    /// One vote fewer is enough.
    QuorumMinusOne,
    /// A release deletes the key, whatever it holds.
    ReleaseWithoutComparing,
    /// An extend sets the key, whatever it holds.
    ExtendWithoutComparing,
    /// An extend counts even if its answers come after the validity.
    ExtendTooLate,
    /// A client has one token for all its rounds.
    OneTokenForAllRounds,
    /// A holder that is paused continues after its validity.
    HolderPauses,
    /// A node restarts without its memory.
    NodeForgets,
    /// A node restarts without its memory, and stays away for a TTL.
    NodeForgetsAndStaysAway,
    /// A node's clock jumps ahead.
    ClockJumps,
}

/// One step, with the numbers of the client and the node.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step {
    Tick,
    Start(usize),
    Acquire(usize, usize, Answer),
    Win(usize, usize),
    GiveUp(usize),
    Release(usize),
    StartExtend(usize),
    Extend(usize, usize, Answer),
    Extended(usize, usize),
    NotExtended(usize),
    OldAcquire(usize),
    OldExtend(usize),
    OldRelease(usize),
    Forget(usize),
    Jump(usize),
}

const TICK: Duration = Duration::from_secs(1);

impl<const N: usize, const C: usize> Protocol<N, C> {
    /// Creates a protocol with a TTL of this many ticks, and clocks that all run at the same rate.
    pub(crate) fn with_exact_clocks(ttl: u8) -> Self {
        Self::with_fast_clocks(ttl, 0)
    }

    /// Creates a protocol with a TTL of this many ticks, of which `drift` are deducted, and nodes whose clocks may
    /// count the TTL in that much less time.
    pub(crate) fn with_fast_clocks(ttl: u8, drift: u8) -> Self {
        assert!(ttl <= LONGEST);
        Self {
            ttl: Ttl::new(TICK * ttl.into()).expect("a ttl"),
            drift: Drift::new(0.0, TICK * drift.into()).expect("a drift"),
            lives: ttl - drift..=ttl,
            extends: false,
            departure: None,
            verdicts: Verdicts::of(N, N),
        }
    }

    /// Holders extend, too.
    pub(crate) fn with_extends(self) -> Self {
        Self { extends: true, ..self }
    }

    /// Drops one of the rules or assumptions.
    pub(crate) fn but(self, departure: Departure) -> Self {
        let departed = Self { departure: Some(departure), ..self };
        match departure {
            Departure::NoDrift => Self { drift: Drift::new(0.0, Duration::ZERO).expect("a drift"), ..departed },
            Departure::QuorumMinusOne => Self { verdicts: Verdicts::of(N, N - 2), ..departed },
            _ => departed,
        }
    }

    /// Takes every possible step.
    pub(crate) fn steps(&self, world: &World<N, C>, mut take: impl FnMut(Step, World<N, C>)) {
        take(Step::Tick, self.tick(*world));
        for client in 0..C {
            self.decisions(world, client, &mut take);
            (0..N).for_each(|node| self.arrivals(world, client, node, &mut take));
        }
        for node in 0..N {
            self.old_arrivals(world, node, &mut take);
            self.mishaps(world, node, &mut take);
        }
    }

    /// Advances all keys and validities by one tick.
    pub(crate) fn tick(&self, mut world: World<N, C>) -> World<N, C> {
        for node in &mut world.nodes {
            node.key = node.key.and_then(Key::older);
        }
        // Once all validity is over, its exact age does not matter anymore.
        let oldest = ticks(self.drift.validity(self.ttl, Duration::ZERO));
        let older = |age: u8| (age + 1).min(oldest);
        for client in 0..C {
            let phase = &mut world.clients[client].phase;
            match phase {
                Phase::Idle => {}
                Phase::Asking { age } => *age = older(*age),
                Phase::Extending { left, age } => (*left, *age) = (left.saturating_sub(1), older(*age)),
                Phase::Holding { left } => {
                    *left = left.saturating_sub(1);
                    if *left == 0 && !self.departs(Departure::HolderPauses) {
                        world = self.over(world, client);
                    }
                }
            }
        }
        world
    }

    /// Takes the next steps of a client, on its own or on the answers that it may have received.
    fn decisions(&self, world: &World<N, C>, client: usize, take: &mut impl FnMut(Step, World<N, C>)) {
        match world.clients[client].phase {
            Phase::Idle => take(Step::Start(client), world.with(client, Phase::Asking { age: 0 })),
            Phase::Asking { age } => {
                let validity = self.validity(age);
                if let Some(granted) = self.won(world, client, validity) {
                    take(Step::Win(client, granted), self.holds(world, client, ticks(validity)));
                }
                // Too many nodes refused, failed or were silent, it took too long, or the caller is gone: the step is
                // the same.
                take(Step::GiveUp(client), self.over(*world, client));
            }
            Phase::Holding { left } => {
                if self.extends && left > 0 {
                    take(Step::StartExtend(client), world.with(client, Phase::Extending { left, age: 0 }));
                }
                take(Step::Release(client), self.over(*world, client));
            }
            Phase::Extending { left, age } => {
                let gained = self.validity(age);
                let in_time = if self.departs(Departure::ExtendTooLate) { gained } else { TICK * left.into() };
                if let Some(granted) = self.won(world, client, in_time) {
                    take(Step::Extended(client, granted), self.holds(world, client, left.max(ticks(gained))));
                }
                let failed = match left {
                    0 => self.over(*world, client),
                    left => world.with(client, Phase::Holding { left }),
                };
                take(Step::NotExtended(client), failed);
            }
        }
    }

    /// Takes the steps of the messages with the client's current token at a node, including late and repeated ones.
    fn arrivals(&self, world: &World<N, C>, client: usize, node: usize, take: &mut impl FnMut(Step, World<N, C>)) {
        let phase = world.clients[client].phase;
        let key = world.nodes[node].key;
        let mine = world.nodes[node].has_key_of(Owner::Client(client));
        // A client that could receive a grant does not receive a refusal of the same request, sent again. That could
        // only make it give up, which it may do anyway.
        let answered = |key, awaits, answer| {
            let mut world = world.with_key(node, key);
            let before = &mut world.nodes[node].answers[client];
            if awaits && *before != Answer::Granted {
                *before = answer;
            }
            world
        };

        if phase != Phase::Idle {
            let awaits = matches!(phase, Phase::Asking { .. });
            if key.is_none() {
                for key in self.keys(Owner::Client(client)) {
                    take(Step::Acquire(client, node, Answer::Granted), answered(Some(key), awaits, Answer::Granted));
                }
            } else {
                let answer = if mine { Answer::Granted } else { Answer::Refused };
                take(Step::Acquire(client, node, answer), answered(key, awaits, answer));
            }
        }

        // An earlier extend of the holder may be late. (The model does not remember whether it has sent one.)
        let awaits = matches!(phase, Phase::Extending { .. });
        if awaits || self.extends && matches!(phase, Phase::Holding { .. }) {
            if key.is_none() || mine || self.departs(Departure::ExtendWithoutComparing) {
                for key in self.keys(Owner::Client(client)).map(|new| new.raised(key)) {
                    take(Step::Extend(client, node, Answer::Granted), answered(Some(key), awaits, Answer::Granted));
                }
            } else {
                take(Step::Extend(client, node, Answer::Refused), answered(key, awaits, Answer::Refused));
            }
        }

        if mine && world.clients[client].reused {
            take(Step::OldRelease(node), world.with_key(node, None));
        }
    }

    /// Takes the steps of the messages of finished rounds at a node.
    fn old_arrivals(&self, world: &World<N, C>, node: usize, take: &mut impl FnMut(Step, World<N, C>)) {
        if !world.past {
            return;
        }
        let key = world.nodes[node].key;
        match key.map(|key| key.owner) {
            None => self.keys(Owner::Old).for_each(|key| take(Step::OldAcquire(node), world.with_key(node, Some(key)))),
            Some(Owner::Old) => {
                take(Step::OldRelease(node), world.with_key(node, None));
                for key in self.keys(Owner::Old).filter(|_| self.extends).map(|new| new.raised(key)) {
                    take(Step::OldExtend(node), world.with_key(node, Some(key)));
                }
            }
            Some(Owner::Client(_)) if self.departs(Departure::ReleaseWithoutComparing) => {
                take(Step::OldRelease(node), world.with_key(node, None));
            }
            Some(Owner::Client(_) | Owner::Away) => {}
        }
    }

    /// Takes the steps that the assumptions exclude.
    fn mishaps(&self, world: &World<N, C>, node: usize, take: &mut impl FnMut(Step, World<N, C>)) {
        let Node { key: Some(key), .. } = world.nodes[node] else { return };
        let away = Key { owner: Owner::Away, left: ticks(self.ttl.trusted()) };
        match self.departure {
            Some(Departure::NodeForgets) => take(Step::Forget(node), world.with_key(node, None)),
            Some(Departure::NodeForgetsAndStaysAway) => take(Step::Forget(node), world.with_key(node, Some(away))),
            Some(Departure::ClockJumps) => take(Step::Jump(node), world.with_key(node, key.older())),
            _ => {}
        }
    }

    /// Returns with how many grants the client's round or extend can be won now, if this much validity is left.
    fn won(&self, world: &World<N, C>, client: usize, validity: Duration) -> Option<usize> {
        let answers = |answer| world.answers(client, answer);
        let granted = self.verdicts.won(answers(Answer::Granted), answers(Answer::Refused))?;
        (Decision::Won.with(validity) == Decision::Won).then_some(granted)
    }

    /// Makes the client rely on the lock from here on.
    fn holds(&self, world: &World<N, C>, client: usize, left: u8) -> World<N, C> {
        let mut world = world.with(client, Phase::Holding { left });
        for other in (0..C).filter(|other| *other != client) {
            let overtaken = matches!(world.clients[other].phase, Phase::Extending { left: 0, .. });
            world.clients[other].overtaken |= overtaken;
        }
        world
    }

    /// Ends the client's token: lost, cancelled, released or expired. From here on its release may arrive.
    fn over(&self, world: World<N, C>, client: usize) -> World<N, C> {
        let mut world = world.with(client, Phase::Idle);
        world.clients[client].overtaken = false;
        if self.departs(Departure::OneTokenForAllRounds) {
            world.clients[client].reused = true;
            return world;
        }
        for key in world.nodes.iter_mut().filter_map(|node| node.key.as_mut()) {
            if key.owner == Owner::Client(client) {
                key.owner = Owner::Old;
            }
        }
        world.past = true;
        world
    }

    /// Returns what is left of the validity at this age, which counts from before the first byte was sent.
    fn validity(&self, age: u8) -> Duration {
        let age = if self.departs(Departure::ValidityFromTheAnswer) { 0 } else { age };
        self.drift.validity(self.ttl, TICK * age.into())
    }

    /// Returns the keys that a node may set, the longest-lived first.
    fn keys(&self, owner: Owner) -> impl Iterator<Item = Key> + use<N, C> {
        self.lives.clone().rev().map(move |left| Key { owner, left })
    }

    fn departs(&self, departure: Departure) -> bool {
        self.departure == Some(departure)
    }

    /// Returns the world after a TTL in which no message arrives. Clients that still wait for answers give up.
    pub(crate) fn after_silence(&self, mut world: World<N, C>) -> World<N, C> {
        for _ in 0..ticks(self.ttl.trusted()) {
            world = self.tick(world);
        }
        for client in 0..C {
            if matches!(world.clients[client].phase, Phase::Asking { .. } | Phase::Extending { left: 0, .. }) {
                world = self.over(world, client);
            }
        }
        world
    }
}

impl<const N: usize, const C: usize> fmt::Display for Protocol<N, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [ttl, drift] = [self.ttl.trusted(), self.drift.of(self.ttl)].map(ticks);
        let (shortest, longest) = (self.lives.start(), self.lives.end());
        write!(f, "{N} nodes, {C} clients, ttl {ttl}, drift {drift}, keys live {shortest} to {longest}")?;
        f.write_str(if self.extends { ", extends" } else { "" })?;
        self.departure.map_or(Ok(()), |departure| write!(f, ", but {departure:?}"))
    }
}

impl Key {
    /// Returns the key one tick later, if it still exists.
    fn older(self) -> Option<Self> {
        (self.left > 1).then(|| Self { left: self.left - 1, ..self })
    }

    /// Returns this key, or the one before it if that has the same owner and lives longer.
    fn raised(self, before: Option<Self>) -> Self {
        before.filter(|before| before.owner == self.owner && before.left > self.left).unwrap_or(self)
    }
}

fn ticks(time: Duration) -> u8 {
    (time.as_nanos() / TICK.as_nanos()) as u8
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = |answer| if answer == Answer::Granted { "granted" } else { "refused" };
        match *self {
            Self::Tick => write!(f, "a tick passes"),
            Self::Start(client) => write!(f, "{} starts a round", name(client)),
            Self::Acquire(client, node, answer) => {
                write!(f, "{}'s acquire arrives at node {}: {}", name(client), node + 1, said(answer))
            }
            Self::Win(client, granted) => write!(f, "{} has heard {granted} granted: won", name(client)),
            Self::GiveUp(client) => write!(f, "{}'s round is lost or cancelled", name(client)),
            Self::Release(client) => write!(f, "{} releases", name(client)),
            Self::StartExtend(client) => write!(f, "{} starts to extend", name(client)),
            Self::Extend(client, node, answer) => {
                write!(f, "{}'s extend arrives at node {}: {}", name(client), node + 1, said(answer))
            }
            Self::Extended(client, granted) => write!(f, "{} has heard {granted} granted: extended", name(client)),
            Self::NotExtended(client) => write!(f, "{}'s extend fails", name(client)),
            Self::OldAcquire(node) => write!(f, "an earlier round's acquire arrives at node {}", node + 1),
            Self::OldExtend(node) => write!(f, "an earlier round's extend arrives at node {}", node + 1),
            Self::OldRelease(node) => write!(f, "an earlier round's release arrives at node {}", node + 1),
            Self::Forget(node) => write!(f, "node {} restarts without its memory", node + 1),
            Self::Jump(node) => write!(f, "the clock of node {} jumps a tick ahead", node + 1),
        }
    }
}
