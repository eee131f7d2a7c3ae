//! The protocol: every step that may follow in a world. The crate decides which rounds win and which tokens are issued.

use std::{fmt, num::NonZeroUsize};

use redlock_core::algorithm::{self, Decision, Fence, Fencing, Quorum, Raised, Vote};

use super::world::{Answer, N, Node, Phase, World, Wrong, name};

/// The protocol for R rounds, and what may happen in it.
#[derive(Debug, Clone)]
pub(crate) struct Protocol<const R: usize> {
    /// The counters that nodes may start with.
    counters: Vec<[u8; N]>,
    /// The token of an earlier holder, whose keys may still be anywhere.
    past: Option<u8>,
    /// How often an acquire sets its key for the second time.
    repeats: u8,
    /// Whether answers may come late. Otherwise the answer to a raise comes at once or never, and a grant comes before
    /// the round is won or never.
    late: bool,
    /// Whether messages of a round may arrive after it is over.
    stragglers: bool,
    extends: Option<Extend>,
    losses: u8,
    departure: Option<Departure>,
}

/// The effect of an extend on a counter that the node has lost. It raises an existing counter to the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extend {
    /// Nothing.
    LeavesLost,
    /// It starts the counter again, as a grant would.
    Seeds,
}

/// A rule or an assumption that is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Departure {
    /// A raise sets the counter and confirms, whatever key the node has.
    RaiseWithoutComparing,
    /// A raise lowers a greater counter, and confirms.
    RaiseLowers,
    /// A raise leaves a greater counter alone, and confirms.
    RaiseConfirmsTheHigher,
    /// A raise sets a counter that the node has lost to the candidate, and confirms.
    RaiseRestoresTheLost,
    /// An extend sets a counter that the node has lost to the token.
    ExtendRestoresTheLost,
    /// A lost counter starts from one.
    CountsFromOne,
    /// A node restarts with the counter that it had one grant earlier.
    ComesBackWithOldCounter,
    /// A key is set without incrementing the counter if it was set for the same round before.
    SetsAgainWithoutCounting,
}

/// One step, with the numbers of the round and the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Start(usize),
    Acquire(usize, usize),
    AcquireAgain(usize, usize),
    /// With the grants of two nodes.
    Win(usize, [usize; 2]),
    HearGrant(usize, usize),
    Raise(usize, usize, u8),
    RaiseAndHear(usize, usize, u8),
    HearRaised(usize, usize),
    RaiseFails(usize, usize),
    Extend(usize, usize),
    Lose(usize),
    ComeBack(usize),
}

impl<const R: usize> Protocol<R> {
    /// Every message may be late, lost or overtaken, and keys expire or are released at any moment.
    pub(crate) fn new(counters: impl IntoIterator<Item = [u8; N]>) -> Self {
        let counters = counters.into_iter().collect();
        Self {
            counters,
            past: None,
            repeats: 0,
            late: true,
            stragglers: true,
            extends: None,
            losses: 0,
            departure: None,
        }
    }

    /// An earlier holder has this token, and its keys may still exist. At least a quorum has its counter.
    pub(crate) fn after(self, token: u8) -> Self {
        Self { past: Some(token), ..self }
    }

    /// Acquires are sent again. One that finds its own key gets its counter, and one finds it gone at most this often.
    pub(crate) fn with_repeats(self, repeats: u8) -> Self {
        Self { repeats, ..self }
    }

    /// No answers come late.
    pub(crate) fn with_prompt_answers(self) -> Self {
        Self { late: false, ..self }
    }

    /// A round's messages arrive before it is over, or never. Only the earlier holder extends.
    pub(crate) fn without_stragglers(self) -> Self {
        Self { stragglers: false, ..self }
    }

    /// Holders extend, forever.
    pub(crate) fn with_extends(self, extend: Extend) -> Self {
        Self { extends: Some(extend), ..self }
    }

    /// The first node loses its counter this often, alone or with all its data. To make another node the first, start
    /// with the counters in another order.
    pub(crate) fn with_losses(self, losses: u8) -> Self {
        Self { losses, ..self }
    }

    /// Drops one of the rules or assumptions.
    pub(crate) fn but(self, departure: Departure) -> Self {
        Self { departure: Some(departure), ..self }
    }

    fn departs(&self, departure: Departure) -> bool {
        self.departure == Some(departure)
    }

    /// Returns the worlds that a search starts from.
    pub(crate) fn beginnings(&self) -> impl Iterator<Item = World<R>> {
        self.counters.iter().map(|counters| World {
            issued: self.past.unwrap_or_default(),
            time: counters.iter().copied().chain(self.past).max().unwrap_or_default() + 1,
            losses: self.losses,
            repeats: self.repeats,
            ..World::with_counters(*counters)
        })
    }

    /// Takes every possible step.
    pub(crate) fn steps(&self, world: &World<R>, mut take: impl FnMut(Step, World<R>)) {
        let mut take = |step, mut world| {
            self.settle(&mut world);
            take(step, world);
        };
        for round in 0..R {
            self.decisions(world, round, &mut take);
            for node in 0..N {
                self.arrivals(world, round, node, &mut take);
                self.answers(world, round, node, &mut take);
            }
        }
        for node in 0..N {
            self.mishaps(world, node, &mut take);
            if let Some(token) = self.past {
                self.extend(world, R, token, node, &mut take);
            }
        }
    }

    /// Removes the raises of finished rounds that cannot do anything anymore, because the counter is at least as high
    /// or the key is gone for good. Worlds that differ in nothing else become equal.
    fn settle(&self, world: &mut World<R>) {
        if self.departure.is_some() || self.repeats > 0 {
            return;
        }
        for (number, round) in world.rounds.iter_mut().enumerate().filter(|(_, round)| round.phase.is_over()) {
            let may_extend = self.stragglers && self.extends.is_some() && round.phase != Phase::Lost;
            for (sent, node) in round.sent.iter_mut().zip(&world.nodes) {
                if sent.acquired && node.key != Some(number) && !may_extend {
                    sent.raises = 0;
                }
                let reached = node.counter.map_or(0, |counter| (1 << (counter + 1)) - 1);
                sent.raises &= !reached;
            }
        }
    }

    /// Takes the steps of a round, on its own or on the grants that it may have received.
    fn decisions(&self, world: &World<R>, round: usize, take: &mut impl FnMut(Step, World<R>)) {
        match &world.rounds[round].phase {
            Phase::Idle => {
                let mut world = world.clone();
                (world.rounds[round].phase, world.rounds[round].floor) = (Phase::Asking, world.issued);
                take(Step::Start(round), world);
            }
            Phase::Asking => {
                let grant = |node: usize| match world.rounds[round].sent[node].grant {
                    Answer::Given(counter) => Some(counter),
                    Answer::None | Answer::Heard => None,
                };
                for pair in [[0, 1], [0, 2], [1, 2]] {
                    let [Some(one), Some(other)] = pair.map(grant) else { continue };
                    let mut votes = algorithm::Round::new(quorum());
                    votes.count(Vote::Granted);
                    assert_eq!(votes.decision(), None);
                    votes.count(Vote::Granted);
                    assert_eq!(votes.decision(), Some(Decision::Won));
                    let mut world = world.clone();
                    let mut fencing = Fencing::new(quorum());
                    for (node, counter) in pair.into_iter().zip([one, other]) {
                        fencing.granted(node, counter.into());
                        world.rounds[round].sent[node].grant = Answer::Heard;
                    }
                    if !self.late {
                        world.rounds[round].sent.iter_mut().for_each(|sent| sent.grant = Answer::Heard);
                    }
                    self.decide(&mut world, round, fencing);
                    take(Step::Win(round, pair), world);
                }
            }
            Phase::Won(_) | Phase::Issued(_) | Phase::Lost => {}
        }
    }

    /// Applies what follows from the answers that the round has.
    fn decide(&self, world: &mut World<R>, round: usize, mut fencing: Fencing) {
        loop {
            match fencing.decision() {
                None => {
                    world.rounds[round].phase = Phase::Won(fencing);
                    return;
                }
                Some(Fence::Raise(candidate)) => {
                    for node in fencing.to_raise(candidate) {
                        let sent = &mut world.rounds[round].sent[node];
                        (sent.raises, sent.raised) = (sent.raises | 1 << candidate, Answer::None);
                    }
                    fencing.raising(candidate);
                }
                Some(Fence::Lost(_)) => {
                    self.over(world, round, Phase::Lost);
                    return;
                }
                Some(Fence::Issued(token)) => {
                    let token = token.get() as u8;
                    let before = world.rounds.iter().any(|round| round.phase == Phase::Issued(token));
                    if before || self.past == Some(token) {
                        world.wrong = Some(Wrong::Twice(token));
                    } else if token <= world.rounds[round].floor {
                        world.wrong = Some(Wrong::NotGreater(token));
                    }
                    world.issued = world.issued.max(token);
                    self.over(world, round, Phase::Issued(token));
                    return;
                }
            }
        }
    }

    /// Ends the round: answers do not matter from now on. Messages that were sent may still arrive.
    fn over(&self, world: &mut World<R>, round: usize, phase: Phase) {
        let round = &mut world.rounds[round];
        (round.phase, round.floor) = (phase, 0);
        for sent in &mut round.sent {
            (sent.grant, sent.raised) = (Answer::Heard, Answer::Heard);
            if !self.stragglers {
                (sent.acquired, sent.raises) = (true, 0);
            }
        }
    }

    /// Takes the steps of the round's messages at a node, including late and repeated ones.
    fn arrivals(&self, world: &World<R>, round: usize, node: usize, take: &mut impl FnMut(Step, World<R>)) {
        let Node { key, counter } = world.nodes[node];
        let sent = world.rounds[round].sent[node];
        // A refusal changes nothing, and the round need not receive it: it is like a lost request. Any key may expire
        // at this moment, whatever round has it.
        let granted = |counter: u8, repeats: u8| {
            let mut world = world.clone();
            world.set(node, Some(round), Some(counter));
            world.repeats = repeats;
            let sent = &mut world.rounds[round].sent[node];
            sent.acquired = true;
            if sent.grant != Answer::Heard {
                sent.grant = Answer::Given(counter);
            }
            world
        };
        let phase = &world.rounds[round].phase;
        let next = counter.map_or(self.seed(world), |counter| counter + 1);
        if !sent.acquired && *phase != Phase::Idle {
            take(Step::Acquire(round, node), granted(next, world.repeats));
        } else if sent.acquired && self.repeats > 0 && (self.stragglers || !phase.is_over()) {
            if key == Some(round) {
                take(Step::AcquireAgain(round, node), granted(counter.unwrap_or(self.seed(world)), world.repeats));
            }
            if let Some(left) = world.repeats.checked_sub(1) {
                let departs = self.departs(Departure::SetsAgainWithoutCounting);
                let next = counter.filter(|_| departs).unwrap_or(next);
                take(Step::Acquire(round, node), granted(next, left));
            }
        }
        for candidate in (0..u32::BITS as u8).filter(|candidate| sent.raises >> candidate & 1 == 1) {
            self.raise(world, round, node, candidate, take);
        }
        if let Phase::Issued(token) = world.rounds[round].phase
            && self.stragglers
        {
            self.extend(world, round, token, node, take);
        }
    }

    fn raise(&self, world: &World<R>, round: usize, node: usize, candidate: u8, take: &mut impl FnMut(Step, World<R>)) {
        let Node { key, counter } = world.nodes[node];
        let is_mine = key == Some(round) || self.departs(Departure::RaiseWithoutComparing);
        let (counter, answer) = match counter.filter(|_| is_mine) {
            Some(counter) if counter > candidate => match self.departure {
                Some(Departure::RaiseLowers) => (candidate, Raised::Confirmed),
                Some(Departure::RaiseConfirmsTheHigher) => (counter, Raised::Confirmed),
                _ => (counter, Raised::Higher(counter.into())),
            },
            Some(_) => (candidate, Raised::Confirmed),
            None if is_mine && self.departs(Departure::RaiseRestoresTheLost) => (candidate, Raised::Confirmed),
            // Without a counter, nothing can be confirmed.
            None => {
                // The answer changes nothing at the node, so it does not matter when it is received.
                self.hear(
                    world,
                    round,
                    node,
                    candidate,
                    Raised::NotHeld,
                    Step::RaiseAndHear(round, node, candidate),
                    take,
                );
                return;
            }
        };
        let mut world = world.clone();
        world.set(node, key, Some(counter));
        if !self.late {
            let step = Step::RaiseAndHear(round, node, candidate);
            self.hear(&world, round, node, candidate, answer, step, take);
        }
        let raised = &mut world.rounds[round].sent[node].raised;
        if self.late && *raised != Answer::Heard {
            let higher = match answer {
                Raised::Higher(counter) => Some(counter as u8),
                Raised::Confirmed | Raised::NotHeld | Raised::Failed => None,
            };
            *raised = Answer::Given((candidate, higher));
        }
        take(Step::Raise(round, node, candidate), world);
    }

    /// Takes the steps of answers that the round receives after it has won.
    fn answers(&self, world: &World<R>, round: usize, node: usize, take: &mut impl FnMut(Step, World<R>)) {
        let Phase::Won(fencing) = &world.rounds[round].phase else { return };
        let sent = world.rounds[round].sent[node];
        if let Answer::Given(counter) = sent.grant {
            let mut world = world.clone();
            world.rounds[round].sent[node].grant = Answer::Heard;
            let mut fencing = fencing.clone();
            fencing.granted(node, counter.into());
            self.decide(&mut world, round, fencing);
            take(Step::HearGrant(round, node), world);
        }
        if let Answer::Given((candidate, higher)) = sent.raised {
            let answer = higher.map_or(Raised::Confirmed, |counter| Raised::Higher(counter.into()));
            self.hear(world, round, node, candidate, answer, Step::HearRaised(round, node), take);
        }
        // If the key is not the round's, the answer may be that as well.
        if sent.raises != 0 && world.nodes[node].key == Some(round) {
            let candidate = (u32::BITS - 1 - sent.raises.leading_zeros()) as u8;
            self.hear(world, round, node, candidate, Raised::Failed, Step::RaiseFails(round, node), take);
        }
    }

    #[expect(clippy::too_many_arguments, reason = "an answer has many sides")]
    fn hear(
        &self,
        world: &World<R>,
        round: usize,
        node: usize,
        candidate: u8,
        answer: Raised,
        step: Step,
        take: &mut impl FnMut(Step, World<R>),
    ) {
        let Phase::Won(fencing) = &world.rounds[round].phase else { return };
        // Each request has one answer.
        if world.rounds[round].sent[node].raised == Answer::Heard {
            return;
        }
        let mut world = world.clone();
        world.rounds[round].sent[node].raised = Answer::Heard;
        let mut fencing = fencing.clone();
        fencing.raised(node, candidate.into(), answer);
        self.decide(&mut world, round, fencing);
        take(step, world);
    }

    /// Takes the step of an extend that arrives, at any time after the token was issued. It heals a key that is gone,
    /// and any key may be gone at this moment.
    fn extend(&self, world: &World<R>, round: usize, token: u8, node: usize, take: &mut impl FnMut(Step, World<R>)) {
        let Some(extend) = self.extends else { return };
        let counter = match (world.nodes[node].counter, extend) {
            (Some(counter), _) => Some(counter.max(token)),
            (None, _) if self.departs(Departure::ExtendRestoresTheLost) => Some(token),
            (None, Extend::LeavesLost) => None,
            (None, Extend::Seeds) => Some(self.seed(world)),
        };
        let mut world = world.clone();
        world.set(node, Some(round), counter);
        take(Step::Extend(round, node), world);
    }

    /// Takes the steps in which something happens to a node.
    fn mishaps(&self, world: &World<R>, node: usize, take: &mut impl FnMut(Step, World<R>)) {
        let Node { key, counter } = world.nodes[node];
        let (0, Some(counter), Some(left)) = (node, counter, world.losses.checked_sub(1)) else { return };
        let mut world = world.clone();
        world.losses = left;
        if self.departs(Departure::ComesBackWithOldCounter) {
            world.set(node, None, Some(counter - 1));
            take(Step::ComeBack(node), world);
        } else {
            // With or without its key: without the counter, its holder can only set the key again.
            world.set(node, key, None);
            take(Step::Lose(node), world);
        }
    }

    /// Returns the value with which a missing counter starts: the node's clock.
    fn seed(&self, world: &World<R>) -> u8 {
        if self.departs(Departure::CountsFromOne) { 1 } else { world.time }
    }
}

impl<const R: usize> World<R> {
    fn set(&mut self, node: usize, key: Option<usize>, counter: Option<u8>) {
        self.nodes[node] = Node { key, counter };
        self.time = self.time.max(counter.unwrap_or_default() + 1);
    }
}

fn quorum() -> Quorum {
    Quorum::of(NonZeroUsize::new(N).expect("some nodes"))
}

/// For example `2 rounds, 1 repeat, without RaiseLowers`.
impl<const R: usize> fmt::Display for Protocol<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{R} rounds")?;
        self.past.map_or(Ok(()), |token| write!(f, " after a holder of {token}"))?;
        self.extends.map_or(Ok(()), |extend| write!(f, ", {extend:?} extends"))?;
        write!(f, ", {} repeats, {} losses", self.repeats, self.losses)?;
        self.departure.map_or(Ok(()), |departure| write!(f, ", but {departure:?}"))
    }
}

impl Step {
    pub(crate) fn describe<const R: usize>(self) -> String {
        let name = name::<R>;
        match self {
            Self::Start(round) => format!("{} starts", name(round)),
            Self::Acquire(round, node) => format!("{}'s acquire sets the key of node {node}", name(round)),
            Self::AcquireAgain(round, node) => format!("{}'s acquire finds its key on node {node}", name(round)),
            Self::Win(round, [one, other]) => format!("{} hears the grants of nodes {one} and {other}", name(round)),
            Self::HearGrant(round, node) => format!("{} hears the late grant of node {node}", name(round)),
            Self::Raise(round, node, candidate) => format!("{} raises node {node} to {candidate}", name(round)),
            Self::RaiseAndHear(round, node, candidate) => {
                format!("{} raises node {node} to {candidate}, and hears the answer", name(round))
            }
            Self::HearRaised(round, node) => format!("{} hears node {node} on its raise", name(round)),
            Self::RaiseFails(round, node) => format!("{} gives node {node} up", name(round)),
            Self::Extend(round, node) => format!("{}'s extend is carried out on node {node}", name(round)),
            Self::Lose(node) => format!("node {node} loses its counter"),
            Self::ComeBack(node) => format!("node {node} restarts with the counter that it had before"),
        }
    }
}
