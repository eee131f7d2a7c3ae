//! Whether a lock of another process is resumed in this one, from the keys on the nodes.

use std::time::Duration;

use crate::{
    algorithm::{Resumed, Resumption, TokenView, Ttl},
    engine::rules::Rules,
};

/// The question to all nodes whether they still hold a lock of another process. It sets nothing and releases nothing.
#[derive(Debug, Clone)]
pub(crate) struct Resuming {
    /// Before the first byte was sent.
    started: Duration,
    resumption: Resumption,
    has_heard: Box<[bool]>,
    is_over: bool,
}

/// The outcome, from the keys on the nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// The lock is still held: a new lease is fed `Event::Resume`.
    GoesOn { started: Duration, validity: Duration },
    /// It is over: a new lease is fed `Event::Resume` without validity, and is released.
    IsOver { is_expired: bool },
    /// That is not known. The lock is left as it is, and can be resumed later.
    IsUnknown,
}

impl Resuming {
    /// The nodes get the question now.
    pub(crate) fn new(rules: &Rules, ttl: Ttl, now: Duration) -> Self {
        let has_heard = (0..rules.quorum.nodes()).map(|_| false).collect();
        Self { started: now, resumption: Resumption::new(rules.quorum, rules.drift, ttl), has_heard, is_over: false }
    }

    /// Nodes have answered. All answers that are there are counted before anything is decided: they may show that more
    /// is left.
    pub(crate) fn heard(
        &mut self,
        heard: impl IntoIterator<Item = (usize, TokenView)>,
        now: Duration,
    ) -> Option<Found> {
        for (node, grip) in heard {
            if let Some(has_heard @ false) = self.has_heard.get_mut(node) {
                *has_heard = true;
                self.resumption.count(grip);
            }
        }
        self.decide(now)
    }

    /// The time for answers is over.
    pub(crate) fn give_up(&mut self, now: Duration) -> Option<Found> {
        self.resumption.close();
        self.decide(now)
    }

    /// The decision, once.
    fn decide(&mut self, now: Duration) -> Option<Found> {
        if self.is_over {
            return None;
        }
        let found = self.resumption.decision(now.saturating_sub(self.started))?;
        self.is_over = true;
        Some(match found {
            Resumed::Valid { validity } => Found::GoesOn { started: self.started, validity },
            Resumed::Expired => Found::IsOver { is_expired: true },
            Resumed::Lost => Found::IsOver { is_expired: false },
            Resumed::Unknown => Found::IsUnknown,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algorithm::{Drift, NodeTimeout, Quorum};

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn resuming() -> Resuming {
        let rules = Rules {
            quorum: Quorum::of(3.try_into().unwrap()),
            drift: Drift::new(0.0, secs(1)).unwrap(),
            node_timeout: NodeTimeout::Auto,
            longest: None,
            may_hand_off: true,
            weakness: None,
        };
        Resuming::new(&rules, Ttl::new(secs(10)).unwrap(), secs(100))
    }

    const fn held(left: u64) -> TokenView {
        TokenView::Held { remaining: Some(secs(left)) }
    }

    #[test]
    fn a_lock_that_a_quorum_holds_goes_on_and_counts_from_before_the_first_byte() {
        let mut resuming = resuming();
        assert_eq!(resuming.heard([(0, held(8)), (0, held(8))], secs(101)), None, "a node is counted once");
        let found = Some(Found::GoesOn { started: secs(100), validity: secs(7) });
        assert_eq!(resuming.heard([(2, held(9))], secs(101)), found);
        assert_eq!((resuming.heard([(1, TokenView::Gone)], secs(101)), resuming.give_up(secs(102))), (None, None));
    }

    #[test]
    fn a_lock_that_is_over_is_released() {
        let mut lost = resuming();
        let found = Some(Found::IsOver { is_expired: false });
        assert_eq!(lost.heard([(0, TokenView::Gone), (1, TokenView::Gone)], secs(100)), found);
        let mut expired = resuming();
        let found = Some(Found::IsOver { is_expired: true });
        assert_eq!(expired.heard([(0, held(3)), (1, held(3)), (2, TokenView::Unknown)], secs(103)), found);
    }

    #[test]
    fn a_lock_of_which_too_little_is_known_is_left_as_it_is() {
        let mut resuming = resuming();
        assert_eq!(resuming.heard([(0, held(9))], secs(100)), None);
        assert_eq!(resuming.give_up(secs(101)), Some(Found::IsUnknown));
    }
}
