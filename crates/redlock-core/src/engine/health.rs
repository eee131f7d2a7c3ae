//! What is known of one node: whether it fails, how its clock jumped, and whether it may be waited for.

use std::time::Duration;

use crate::{
    algorithm::{ClockWatch, Drift, Jump, Reading},
    node::NodeErrorKind,
};

/// The state of one node, from all its answers.
#[derive(Debug, Clone, Default)]
pub(crate) struct NodeHealth {
    is_failing: bool,
    /// How many requests are out for longer than the node timeout.
    late: usize,
    clock: ClockWatch,
    /// How its clock has jumped last, and when on ours.
    jumped: Option<(Jump, Duration)>,
    /// When the last acquire was sent whose answer contained the node's time.
    told_clock: Option<Duration>,
}

/// What the log reports of a node: once when it begins to fail and once when it answers again, not with every request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Note {
    /// It begins to fail: a quorum must do without it.
    Fails,
    StillFails,
    AnswersAgain,
    /// A key holds something that is no lock. That is the fault of the key, not of the node.
    NoLock,
    /// Its clock has jumped.
    Jumped(Jump),
}

impl NodeHealth {
    /// How long the clock of a node may go unseen while the node is in use. A node that reports it is slower for that.
    const CLOCK_UNSEEN: Duration = Duration::from_secs(1);

    /// The node has answered a request, or has failed for this reason.
    pub(crate) fn heard(&mut self, failure: Option<NodeErrorKind>) -> Option<Note> {
        match failure {
            Some(NodeErrorKind::WrongType) => Some(Note::NoLock),
            Some(_) if std::mem::replace(&mut self.is_failing, true) => Some(Note::StillFails),
            Some(_) => Some(Note::Fails),
            None => std::mem::take(&mut self.is_failing).then_some(Note::AnswersAgain),
        }
    }

    /// A request is out for longer than the node timeout.
    pub(crate) fn is_late(&mut self) {
        self.late += 1;
    }

    /// A request that was late is answered, or given up.
    pub(crate) fn late_ends(&mut self) {
        self.late = self.late.saturating_sub(1);
    }

    /// Whether the node failed when it was last heard of.
    pub(crate) fn is_failing(&self) -> bool {
        self.is_failing
    }

    /// Whether the node has answered all that it should have by now, and did not fail.
    pub(crate) fn is_prompt(&self) -> bool {
        !self.is_failing && self.late == 0
    }

    /// Whether the next acquire is to ask for the time of the node. The first one does: what runs a script once can
    /// also release.
    pub(crate) fn clock_is_due(&self, now: Duration) -> bool {
        self.told_clock.is_none_or(|told| now.saturating_sub(told) >= Self::CLOCK_UNSEEN)
    }

    /// The node has reported its time, with the answer to a request that was sent then.
    pub(crate) fn told_clock(&mut self, sent: Duration) {
        self.told_clock = Some(sent);
    }

    /// Compares the clock of the node with ours.
    pub(crate) fn read_clock(&mut self, reading: Reading, drift: &Drift) -> Option<Note> {
        let jump = self.clock.read(reading, drift)?;
        self.jumped = Some((jump, reading.received));
        Some(Note::Jumped(jump))
    }

    /// For how long the grants of the node still do not count, since its clock has jumped; none if they do. `distrust`:
    /// how long that lasts, if the caller has chosen so.
    pub(crate) fn is_distrusted_for(&self, distrust: Option<Duration>, now: Duration) -> Option<Duration> {
        let (_, at) = self.jumped?;
        let left = distrust?.saturating_sub(now.saturating_sub(at));
        (!left.is_zero()).then_some(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn a_node_that_fails_is_reported_once_and_once_when_it_answers_again() {
        let mut node = NodeHealth::default();
        assert_eq!((node.heard(None), node.is_prompt()), (None, true));
        assert_eq!(node.heard(Some(NodeErrorKind::Timeout)), Some(Note::Fails));
        assert_eq!(node.heard(Some(NodeErrorKind::Unreachable)), Some(Note::StillFails));
        assert!(node.is_failing() && !node.is_prompt());
        assert_eq!((node.heard(None), node.heard(None)), (Some(Note::AnswersAgain), None));
        assert!(node.is_prompt());
    }

    #[test]
    fn a_key_that_is_no_lock_is_not_the_fault_of_the_node() {
        let mut node = NodeHealth::default();
        assert_eq!(node.heard(Some(NodeErrorKind::WrongType)), Some(Note::NoLock));
        assert!(node.is_prompt());
    }

    #[test]
    fn a_node_that_owes_a_late_answer_is_not_waited_for() {
        let mut node = NodeHealth::default();
        node.is_late();
        node.is_late();
        node.late_ends();
        assert!(!node.is_prompt() && !node.is_failing());
        node.late_ends();
        assert!(node.is_prompt());
    }

    #[test]
    fn the_clock_of_a_node_is_asked_for_once_a_second() {
        let mut node = NodeHealth::default();
        assert!(node.clock_is_due(secs(5)));
        node.told_clock(secs(5));
        assert!(!node.clock_is_due(secs(5)) && node.clock_is_due(secs(6)));
    }

    #[test]
    fn grants_of_a_node_whose_clock_has_jumped_do_not_count_for_a_while() {
        let (mut node, drift) = (NodeHealth::default(), Drift::default());
        let read = |ours, clock| Reading { sent: secs(ours), received: secs(ours), clock: secs(clock) };
        assert_eq!(node.read_clock(read(1, 1_001), &drift), None);
        assert_eq!(node.is_distrusted_for(Some(secs(10)), secs(1)), None);
        assert!(matches!(node.read_clock(read(2, 1_032), &drift), Some(Note::Jumped(Jump::Forwards(_)))));
        assert_eq!(node.is_distrusted_for(Some(secs(10)), secs(5)), Some(secs(7)));
        assert_eq!(node.is_distrusted_for(Some(secs(10)), secs(12)), None);
        assert_eq!(node.is_distrusted_for(None, secs(5)), None, "unless the caller has chosen so");
    }
}
