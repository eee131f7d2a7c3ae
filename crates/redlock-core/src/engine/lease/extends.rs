//! The extends of a lease: which are open, which has counted, and which node has lost the keys meanwhile.

#[cfg(test)]
use std::hash::{Hash as _, Hasher};
use std::time::Duration;

use crate::{
    algorithm::{Decision, Vote},
    engine::{
        ask::{Answer, Answered, Terms},
        command::{NotExtended, Outcome},
        rules::{Rules, Weakness},
        tally::Tally,
        validity::{End, Validity},
    },
    node::ExtendAnswer,
};

/// All extends of a lease.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Extends {
    /// How many have begun.
    begun: u64,
    /// The greatest number of one that has counted. The keys that it or an earlier one has set again are as good as
    /// held all the time: it left no room for a quorum of such nodes.
    counted: u64,
    /// For each node, the number of the last extend that found the keys lost and set them again. An extend that hears
    /// of that only later must not count the node as one that has held them all the time.
    restored_by: Box<[u64]>,
    open: Vec<Extending>,
}

/// An extend that is not decided yet.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Extending {
    number: u64,
    /// Before the first byte was sent.
    started: Duration,
    terms: Terms,
    tally: Tally,
}

impl Extends {
    /// How late timers may fire.
    pub(crate) const TIMERS: Duration = Duration::from_millis(2);

    pub(crate) fn new(nodes: usize) -> Self {
        Self { begun: 0, counted: 0, restored_by: (0..nodes).map(|_| 0).collect(), open: Vec::new() }
    }

    /// The number of the next extend, from 1.
    pub(crate) fn next_number(&mut self) -> u64 {
        self.begun += 1;
        self.begun
    }

    /// The extend of this number is put to the nodes.
    pub(crate) fn open(&mut self, number: u64, terms: Terms, rules: &Rules, now: Duration) {
        self.open.push(Extending { number, started: now, terms, tally: Tally::new(rules.quorum) });
    }

    /// A node has answered this extend, on time or late.
    pub(crate) fn count(&mut self, node: usize, number: u64, answer: &Answered) {
        let vote = match answer {
            Ok(Answer::Extend(ExtendAnswer::Healed)) => {
                if let Some(restored_by) = self.restored_by.get_mut(node) {
                    *restored_by = number.max(*restored_by);
                }
                Vote::Restored
            }
            Ok(Answer::Extend(ExtendAnswer::Extended)) => match self.restored_by.get(node) {
                Some(restored_by) if *restored_by > self.counted => Vote::Restored,
                _ => Vote::Granted,
            },
            Ok(Answer::Extend(ExtendAnswer::Held { .. })) => Vote::Refused,
            _ => Vote::Failed,
        };
        if let Some(extending) = self.open.iter_mut().find(|extending| extending.number == number) {
            extending.tally.count(node, vote, Some(answer.clone()));
        }
    }

    /// The time for the answers to this extend is over. `in_time`: only if a quorum has prolonged the lock, and waits
    /// for the nodes that may have lost the keys. It waits no longer than it can count.
    pub(crate) fn give_up(&mut self, number: u64, in_time: bool) {
        if let Some(extending) = self.open.iter_mut().find(|extending| extending.number == number)
            && (!in_time || extending.tally.has_quorum())
        {
            extending.tally.close();
        }
    }

    /// Nobody waits for this extend any more. It does not count.
    pub(crate) fn forget(&mut self, number: u64) {
        self.open.retain(|extending| extending.number != number);
    }

    /// The lock has ended: no extend counts any more. The numbers of those that were open.
    pub(crate) fn close(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.open).into_iter().map(|extending| extending.number).collect()
    }

    /// How this extend ends; nothing while more answers are to be waited for.
    pub(crate) fn decide(
        &mut self,
        number: u64,
        validity: &mut Validity,
        rules: &Rules,
        now: Duration,
    ) -> Option<Outcome> {
        let at = self.open.iter().position(|extending| extending.number == number)?;
        let decision = self.open.get(at)?.tally.decision()?;
        let Extending { started, terms, tally, .. } = self.open.remove(at);
        let kept_until = started + terms.ttl.trusted();
        let deadline = match rules.lack(Weakness::ValidityFromTheAnswer) {
            true => now + terms.validity,
            false => started + terms.validity,
        };
        let lost = match decision {
            Decision::Won if prolong(validity, deadline, kept_until, rules, now) => {
                self.counted = number.max(self.counted);
                return Some(Outcome::Extended { deadline: validity.deadline() });
            }
            Decision::Won => NotExtended::TooLate { tally },
            // Keys that were set again after the end are no other loss.
            Decision::Lost(_) if tally.has_quorum() && validity.left(now).is_zero() => NotExtended::TooLate { tally },
            Decision::Lost(_) if tally.is_gone_from_quorum() => NotExtended::Lost { tally },
            Decision::Lost(_) => NotExtended::NoQuorum { tally },
        };
        Some(Outcome::NotExtended(lost))
    }
}

/// For the search, to which all nodes are alike.
#[cfg(test)]
impl Extends {
    /// Hashes the parts of this node.
    pub(crate) fn hash_node(&self, node: usize, into: &mut impl Hasher) {
        self.restored_by[node].hash(into);
        self.open.iter().for_each(|extending| extending.tally.heard()[node].hash(into));
    }

    /// Hashes the parts of no node.
    pub(crate) fn hash_rest(&self, into: &mut impl Hasher) {
        (self.begun, self.counted).hash(into);
        for extending in &self.open {
            (extending.number, extending.started, extending.terms, extending.tally.is_closed()).hash(into);
        }
    }
}

/// The end that follows from an outcome, if one does.
pub(crate) fn end_after(outcome: &Outcome) -> Option<End> {
    matches!(outcome, Outcome::NotExtended(NotExtended::Lost { .. })).then_some(End::Lost)
}

#[cfg_attr(not(test), expect(unused_variables, reason = "only a test gives the rule up"))]
fn prolong(validity: &mut Validity, deadline: Duration, kept_until: Duration, rules: &Rules, now: Duration) -> bool {
    #[cfg(test)]
    if rules.lack(Weakness::ExtendCountsLate) {
        return validity.prolong_late(deadline, kept_until);
    }
    validity.prolong(deadline, kept_until, now)
}
