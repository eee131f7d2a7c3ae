//! The trait that says whether a node's answer is a refusal, for all kinds of requests.

use super::answer::{AcquireAnswer, ExtendAnswer, InspectAnswer, RaiseAnswer, ReleaseAnswer, Timed};

/// A node's answer to one kind of request.
pub(crate) trait Verdict {
    /// Returns whether the answer is a refusal: another holds the lock, or the lock is gone.
    fn is_refusal(&self) -> bool;
}

impl<A: Verdict> Verdict for Timed<A> {
    fn is_refusal(&self) -> bool {
        self.answer.is_refusal()
    }
}

impl Verdict for AcquireAnswer {
    fn is_refusal(&self) -> bool {
        !matches!(self, Self::Granted { .. })
    }
}

impl Verdict for ExtendAnswer {
    fn is_refusal(&self) -> bool {
        matches!(self, Self::Held { .. })
    }
}

impl Verdict for ReleaseAnswer {
    fn is_refusal(&self) -> bool {
        !self.is_released()
    }
}

impl Verdict for RaiseAnswer {
    fn is_refusal(&self) -> bool {
        *self != Self::Confirmed
    }
}

impl Verdict for InspectAnswer {
    fn is_refusal(&self) -> bool {
        false
    }
}
