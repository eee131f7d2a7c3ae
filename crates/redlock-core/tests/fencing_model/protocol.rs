//! The protocol: every step that may follow in a world. What wins and what is issued, the crate decides.

use std::num::NonZeroUsize;

use redlock_core::algorithm::{self, Decision, Fence, Fencing, Quorum, Raised, Vote};

use crate::world::{Answer, N, Node, Phase, World, Wrong, name};

/// The protocol for R rounds, and what happens in it.
#[derive(Debug, Clone)]
pub(crate) struct Protocol<const R: usize> {
    /// The counters that nodes may have in the beginning.
    counters: Vec<[u8; N]>,
    /// The token of a holder from before the beginning, whose keys may still be anywhere.
    past: Option<u8>,
    /// How often one acquire may be carried out.
    acquires: u8,
    /// Whether an answer to a raise may come late. Otherwise it comes at once or never.
    late: bool,
    extends: Option<Extend>,
    losses: u8,
    departure: Option<Departure>,
}

/// What an extend does to a counter that the node has lost. One that is there it sets to the token if it is lower.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extend {
    /// Nothing.
    LeavesLost,
    /// It starts anew, as for a grant.
    Seeds,
}

/// A rule or an assumption that is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Departure {
    /// A raise sets the counter and confirms, whoever's key is there.
    RaiseWithoutComparing,
    /// A raise sets a greater counter back, and confirms.
    RaiseLowers,
    /// A raise leaves a greater counter alone, and confirms.
    RaiseConfirmsTheHigher,
    /// A raise sets a counter that the node has lost to the candidate, and confirms.
    RaiseRestoresTheLost,
    /// An extend sets a counter that the node has lost to the token.
    ExtendRestoresTheLost,
    /// A counter that was lost starts from one.
    CountsFromOne,
    /// A node restarts with the counter that it had a grant before.
    ComesBackWithOldCounter,
    /// A key is set without counting on, if it was set for the same round before.
    SetsAgainWithoutCounting,
}

/// One step, with the numbers of the round and the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Start(usize),
    Acquire(usize, usize),
    /// With the grants of two nodes.
    Win(usize, [usize; 2]),
    HearGrant(usize, usize),
    Raise(usize, usize, u8),
    RaiseAndHear(usize, usize, u8),
    HearRaised(usize, usize),
    RaiseFails(usize, usize),
    Extend(usize, usize),
    Expire(usize),
    Forget(usize),
    Evict(usize),
    ComeBack(usize),
}

impl<const R: usize> Protocol<R> {
    /// Every message may be late, lost or overtaken, and keys expire or are released at any moment.
    pub(crate) fn new(counters: impl IntoIterator<Item = [u8; N]>) -> Self {
        let counters = counters.into_iter().collect();
        Self { counters, past: None, acquires: 1, late: true, extends: None, losses: 0, departure: None }
    }

    /// A holder has this token from before, and its keys may still be there. A quorum has its counter, at least.
    pub(crate) fn after(self, token: u8) -> Self {
        Self { past: Some(token), ..self }
    }

    /// An acquire may be carried out twice.
    pub(crate) fn with_repeats(self) -> Self {
        Self { acquires: 2, ..self }
    }

    /// The answer to a raise comes at once or never.
    pub(crate) fn with_prompt_answers(self) -> Self {
        Self { late: false, ..self }
    }

    /// Holders extend, for ever.
    pub(crate) fn with_extends(self, extend: Extend) -> Self {
        Self { extends: Some(extend), ..self }
    }

    /// So often a node loses its counter, alone or with all that it has.
    pub(crate) fn with_losses(self, losses: u8) -> Self {
        Self { losses, ..self }
    }

    /// Without one of the rules or assumptions.
    pub(crate) fn but(self, departure: Departure) -> Self {
        Self { departure: Some(departure), ..self }
    }

    fn departs(&self, departure: Departure) -> bool {
        self.departure == Some(departure)
    }

    /// The worlds that it may begin with.
    pub(crate) fn beginnings(&self) -> impl Iterator<Item = World<R>> {
        let keys = if self.past.is_some() { 1 << N } else { 1 };
        self.counters.iter().flat_map(move |counters| (0..keys).map(move |keys| (counters, keys))).map(|(counters, keys)| {
            let mut world = World::with_counters(*counters, self.losses);
            world.issued = self.past.unwrap_or_default();
            world.time = world.time.max(world.issued + 1);
            for (number, node) in world.nodes.iter_mut().enumerate() {
                node.key = (keys >> number & 1 == 1).then_some(R);
            }
            world
        })
    }

    /// Takes every step that is possible.
    pub(crate) fn steps(&self, world: &World<R>, mut take: impl FnMut(Step, World<R>)) {
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

    /// What a round does by itself or on the grants that it may have heard.
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
                    self.decide(&mut world, round, fencing);
                    take(Step::Win(round, pair), world);
                }
            }
            Phase::Won(_) | Phase::Issued(_) | Phase::Lost => {}
        }
    }

    /// Does what follows from what the round knows.
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

    /// Nothing that is answered from now on is of any interest. What was sent may still arrive.
    fn over(&self, world: &mut World<R>, round: usize, phase: Phase) {
        let round = &mut world.rounds[round];
        (round.phase, round.floor) = (phase, 0);
        for sent in &mut round.sent {
            (sent.grant, sent.raised) = (Answer::Heard, Answer::Heard);
        }
    }

    /// What the round has sent does at a node: late, or for the second time, as well.
    fn arrivals(&self, world: &World<R>, round: usize, node: usize, take: &mut impl FnMut(Step, World<R>)) {
        let Node { key, counter } = world.nodes[node];
        let sent = world.rounds[round].sent[node];
        // A refusal changes nothing, and the round need not hear of it: it is as a request that is lost.
        let may_grant = key.is_none() || key == Some(round);
        if world.rounds[round].phase != Phase::Idle && may_grant && sent.acquired < self.acquires {
            let mut world = world.clone();
            let repeats = self.departs(Departure::SetsAgainWithoutCounting) && sent.acquired > 0;
            let counter = match counter {
                None => self.seed(&world),
                Some(counter) if key.is_some() || repeats => counter,
                Some(counter) => counter + 1,
            };
            world.set(node, Some(round), Some(counter));
            let sent = &mut world.rounds[round].sent[node];
            sent.acquired += 1;
            if sent.grant != Answer::Heard {
                sent.grant = Answer::Given(counter);
            }
            take(Step::Acquire(round, node), world);
        }
        for candidate in (0..u32::BITS as u8).filter(|candidate| sent.raises >> candidate & 1 == 1) {
            self.raise(world, round, node, candidate, take);
        }
        if let Phase::Issued(token) = world.rounds[round].phase {
            self.extend(world, round, token, node, take);
        }
    }

    fn raise(
        &self,
        world: &World<R>,
        round: usize,
        node: usize,
        candidate: u8,
        take: &mut impl FnMut(Step, World<R>),
    ) {
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
            // Without a counter, there is nothing to rely on.
            None => {
                // It changes nothing at the node, so when it is heard does not matter.
                self.hear(world, round, node, candidate, Raised::NotHeld, Step::RaiseAndHear(round, node, candidate), take);
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

    /// What the round hears of nodes after it has won.
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
        // Where the key is not the round's, the answer may as well be that.
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
        // One answer is heard for each time that the node was asked.
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

    /// An extend that arrives, at any time after the token was issued. It heals a key that is gone.
    fn extend(
        &self,
        world: &World<R>,
        round: usize,
        token: u8,
        node: usize,
        take: &mut impl FnMut(Step, World<R>),
    ) {
        let Some(extend) = self.extends else { return };
        let Node { key, counter } = world.nodes[node];
        if key.is_some_and(|key| key != round) {
            return;
        }
        let counter = match (counter, extend) {
            (Some(counter), _) => Some(counter.max(token)),
            (None, _) if self.departs(Departure::ExtendRestoresTheLost) => Some(token),
            (None, Extend::LeavesLost) => None,
            (None, Extend::Seeds) => Some(self.seed(world)),
        };
        let mut world = world.clone();
        world.set(node, Some(round), counter);
        take(Step::Extend(round, node), world);
    }

    /// What happens to a node.
    fn mishaps(&self, world: &World<R>, node: usize, take: &mut impl FnMut(Step, World<R>)) {
        let Node { key, counter } = world.nodes[node];
        let with = |key, counter, losses| {
            let mut world = world.clone();
            world.set(node, key, counter);
            world.losses = losses;
            world
        };
        if key.is_some() {
            take(Step::Expire(node), with(None, counter, world.losses));
        }
        if let (Some(left), Some(counter)) = (world.losses.checked_sub(1), counter) {
            if self.departs(Departure::ComesBackWithOldCounter) {
                take(Step::ComeBack(node), with(None, Some(counter - 1), left));
            } else {
                take(Step::Forget(node), with(None, None, left));
                take(Step::Evict(node), with(key, None, left));
            }
        }
    }

    /// With what a counter starts that is not there: the node's clock.
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

impl Step {
    pub(crate) fn describe<const R: usize>(self) -> String {
        let name = name::<R>;
        match self {
            Self::Start(round) => format!("{} starts", name(round)),
            Self::Acquire(round, node) => format!("{}'s acquire is carried out on node {node}", name(round)),
            Self::Win(round, [one, other]) => format!("{} hears the grants of nodes {one} and {other}", name(round)),
            Self::HearGrant(round, node) => format!("{} hears the late grant of node {node}", name(round)),
            Self::Raise(round, node, candidate) => format!("{} raises node {node} to {candidate}", name(round)),
            Self::RaiseAndHear(round, node, candidate) => {
                format!("{} raises node {node} to {candidate}, and hears the answer", name(round))
            }
            Self::HearRaised(round, node) => format!("{} hears node {node} on its raise", name(round)),
            Self::RaiseFails(round, node) => format!("{} gives node {node} up", name(round)),
            Self::Extend(round, node) => format!("{}'s extend is carried out on node {node}", name(round)),
            Self::Expire(node) => format!("the key of node {node} expires, or is released"),
            Self::Forget(node) => format!("node {node} restarts empty"),
            Self::Evict(node) => format!("node {node} loses its counter"),
            Self::ComeBack(node) => format!("node {node} restarts with the counter that it had before"),
        }
    }
}
