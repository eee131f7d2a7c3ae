//! The caller of a lease: its open questions and its answers.

use std::collections::BTreeSet;

use crate::engine::event::Question;

/// The caller of one lease.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Caller {
    waits_for: BTreeSet<u64>,
    has_heard: BTreeSet<u64>,
    has_heard_of_the_end: bool,
}

impl Caller {
    pub(super) fn asks(&mut self, question: Question) {
        self.waits_for.insert(number(question));
    }

    /// It does not wait any more.
    pub(super) fn leaves(&mut self, question: Question) {
        self.waits_for.remove(&number(question));
    }

    pub(super) fn waits_for(&self, question: Question) -> bool {
        self.waits_for.contains(&number(question))
    }

    /// It is answered. `Err` if it is answered twice, or did not wait.
    pub(super) fn answered(&mut self, question: Question) -> Result<(), &'static str> {
        if !self.has_heard.insert(number(question)) {
            return Err("a caller is answered twice");
        }
        if !self.waits_for.remove(&number(question)) {
            return Err("somebody is answered who does not wait");
        }
        Ok(())
    }

    pub(super) fn has_heard_of_the_end(&self) -> bool {
        self.has_heard_of_the_end
    }

    /// The lock has ended. Whether that is news.
    pub(super) fn hears_of_the_end(&mut self) -> bool {
        !std::mem::replace(&mut self.has_heard_of_the_end, true)
    }
}

fn number(question: Question) -> u64 {
    match question {
        Question::Acquire => 0,
        Question::Release => 1,
        Question::Detach => 2,
        Question::Extend(number) => 2 + number,
    }
}
