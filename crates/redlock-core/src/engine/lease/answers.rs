//! Answers of nodes, on time or late.

use super::{Lease, phase::Phase, step::Step};
use crate::{
    algorithm::{Decision, Vote},
    engine::{
        ask::{Answer, Answered, Ask, Failure, Fate, Request},
        command::{Command, Outcome, QueueNote},
        event::{Peer, Question, Why},
        keys_on_node::KeyState,
        name::Name,
        rules::Weakness,
    },
    node::{AcquireAnswer, ExtendAnswer},
};

impl<N: Name> Lease<N> {
    pub(super) fn answer(
        &mut self,
        node: usize,
        ask: &Ask<N>,
        answer: &Answered,
        is_trusted: bool,
        step: &mut Step<'_, N>,
    ) {
        let is_out = matches!(answer, Err(Failure { fate: Fate::StillOut, .. }));
        if let Some(on_node) = self.nodes.get_mut(node).filter(|_| !is_out) {
            on_node.ends();
        }
        match ask.request {
            Request::Acquire { .. } => {
                self.learn(node, ask, answer);
                self.tell_holder(node, ask, answer, step);
                if let Some(acquiring) = &mut self.acquiring {
                    acquiring.acquired(node, answer, is_trusted);
                }
                self.go_on_acquiring(step);
                self.win_late(step);
            }
            Request::Raise { candidate } => {
                if let Some(acquiring) = &mut self.acquiring {
                    acquiring.raised(node, candidate, answer);
                }
                self.go_on_acquiring(step);
            }
            Request::Extend { number, .. } => {
                self.learn(node, ask, answer);
                self.extends.count(node, number, answer);
                self.go_on_extending(number, step);
            }
            Request::Release { .. } => self.release_answered(node, ask, answer, step),
        }
        self.detach_if_idle(step);
    }

    /// Learns from the answer to a request that sets the keys whether they are there. The first copy of a request that
    /// was sent again may still be carried out, so that such an answer settles nothing.
    fn learn(&mut self, node: usize, ask: &Ask<N>, answer: &Answered) {
        let Some(on_node) = self.nodes.get_mut(node) else { return };
        match (answer, ask.again) {
            (Ok(answer), false) => on_node.keys.settled(holds(answer)),
            (Ok(answer), true) if holds(answer) => on_node.keys.granted_again(),
            (Err(Failure { fate: Fate::NotDone, .. }), false) => on_node.keys.not_done(),
            (Ok(_) | Err(_), _) => {}
        }
    }

    /// Reports to the holder that hands its lock off to this lease whose the keys are on this node.
    fn tell_holder(&self, node: usize, ask: &Ask<N>, answer: &Answered, step: &mut Step<'_, N>) {
        let Some(holder) = &self.follows else { return };
        let peer = match answer {
            Ok(Answer::Acquire(AcquireAnswer::Granted { follows, .. })) => {
                Peer::Took { node, follows: *follows, is_unclear: ask.again }
            }
            Err(Failure { fate: Fate::NotDone, .. }) if !ask.again => {
                Peer::Took { node, follows: false, is_unclear: false }
            }
            Err(_) => Peer::Unanswered { node },
            Ok(_) => Peer::Took { node, follows: false, is_unclear: false },
        };
        step.command(Command::ToPeer(holder.clone(), peer));
    }

    fn release_answered(&mut self, node: usize, ask: &Ask<N>, answer: &Answered, step: &mut Step<'_, N>) {
        let key = self.key(node);
        let vote = match answer {
            // The successor has the keys, or its answer is still out: they were held until its request.
            Ok(Answer::Release(_)) if matches!(key, Some(KeyState::Offered | KeyState::Successors)) => Vote::Granted,
            Ok(Answer::Release(answer)) if answer.is_released() => Vote::Granted,
            // The first copy may have released them, or the successor may have taken them over.
            Ok(Answer::Release(_)) if key == Some(KeyState::Unclear) || ask.again => Vote::Failed,
            Ok(Answer::Release(_)) => Vote::Refused,
            _ => Vote::Failed,
        };
        if let Some(on_node) = self.nodes.get_mut(node).filter(|_| answer.is_ok()) {
            on_node.keys.released();
        }
        Self::queue(QueueNote::ReleasedOn { node, has_failed: answer.is_err() }, step);
        if let Some(tally) = &mut self.releasing {
            tally.count(node, vote, Some(answer.clone()));
        }
        self.go_on_releasing(step);
    }

    /// Resolves the release, if it is decided.
    pub(super) fn go_on_releasing(&mut self, step: &mut Step<'_, N>) {
        let Some(tally) = self.releasing.take() else { return };
        let outcome = if tally.decision() == Some(Decision::Won) {
            Outcome::Released
        } else if tally.is_refused_for_certain() {
            Outcome::NotHeld { tally }
        } else if tally.is_complete() {
            Outcome::ReleaseUnknown { tally }
        } else {
            self.releasing = Some(tally);
            return;
        };
        step.resolve(Question::Release, outcome);
    }

    /// Late answers decide nothing, unless a test has given that rule up.
    fn win_late(&mut self, step: &mut Step<'_, N>) {
        let ours = self.nodes.iter().filter(|node| node.key() == KeyState::Ours).count();
        let is_lost = self.phase == Phase::Releasing(Why::LostRound);
        if step.rules.lack(Weakness::LateGrantWins) && is_lost && ours >= step.rules.quorum.needed() {
            self.hold(None, step);
        }
    }
}

/// Whether the keys hold the token after this answer.
fn holds(answer: &Answer) -> bool {
    match answer {
        Answer::Acquire(answer) => matches!(answer, AcquireAnswer::Granted { .. }),
        Answer::Extend(answer) => !matches!(answer, ExtendAnswer::Held { .. }),
        Answer::Raise(_) | Answer::Release(_) => false,
    }
}
