//! Compares what the members of a Redis Cluster answer about its hash slots, and selects the answer that counts.

use super::slot_map::{Member, MemberIds, SlotMap};
use crate::node::{NodeError, NodeErrorKind};

/// The answers so far: the first of each kind, with the member that sent it.
#[derive(Default)]
pub(super) struct SlotAnswers {
    good: Option<(Member, SlotMap)>,
    /// From a member that does not see most of the others, and may be unaware of a failover.
    cut_off: Option<(Member, SlotMap)>,
    /// From a member of another cluster than the one that is known.
    stranger: Option<(Member, SlotMap)>,
    failure: Option<NodeError>,
}

impl SlotAnswers {
    /// Returns whether there is a map that no other can improve on.
    pub(super) fn are_enough(&self) -> bool {
        self.good.is_some()
    }

    /// Returns whether there is any map.
    pub(super) fn are_useful(&self) -> bool {
        self.good.is_some() || self.cut_off.is_some() || self.stranger.is_some()
    }

    pub(super) fn failed(&mut self, error: NodeError) {
        self.failure.get_or_insert(error);
    }

    /// Counts the answer of a member. `known` are the members of the cluster so far. `is_down` means that the member
    /// has answered `CLUSTERDOWN`.
    ///
    /// # Errors
    ///
    /// If the member belongs to another cluster than one that has already answered: the URL names members of both.
    pub(super) fn count(
        &mut self,
        member: Member,
        slots: SlotMap,
        known: Option<&MemberIds>,
        is_down: bool,
    ) -> Result<(), NodeError> {
        let Member { host, port } = &member;
        if slots.owners().is_empty() {
            // The member has left the cluster, or the cluster has no slots yet.
            let text = format!("CLUSTERDOWN {host}:{port} knows no member with hash slots");
            self.failed(NodeError::new(NodeErrorKind::Other, text));
            return Ok(());
        }
        let place = if known.is_some_and(|known| !known.are_of_the_cluster(slots.ids())) {
            &mut self.stranger
        } else {
            let mut others = self.good.iter().chain(&self.cut_off);
            if let Some((other, _)) = others.find(|(_, other)| !other.ids().are_of_the_cluster(slots.ids())) {
                let text = format!(
                    "{}:{} and {host}:{port} are members of two clusters: name the members of one",
                    other.host, other.port
                );
                return Err(NodeError::new(NodeErrorKind::Other, text));
            }
            if slots.is_cut_off() || is_down { &mut self.cut_off } else { &mut self.good }
        };
        place.get_or_insert((member, slots));
        Ok(())
    }

    /// Returns the map that counts and whether it is that of another cluster, or why there is none.
    pub(super) fn best(self) -> Result<(SlotMap, bool), NodeError> {
        if let Some((_, slots)) = self.good.or(self.cut_off) {
            if let Some((Member { host, port }, _)) = self.stranger {
                tracing::warn!(host, port, "ignored: it is a member of another cluster");
            }
            return Ok((slots, false));
        }
        if let Some((Member { host, port }, slots)) = self.stranger {
            tracing::warn!(host, port, "used although it is a member of another cluster: no known member answers");
            return Ok((slots, true));
        }
        let nobody = || NodeError::new(NodeErrorKind::Unreachable, "no member of the cluster is known");
        Err(self.failure.unwrap_or_else(nobody))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(ids: &[&str], flags: &str) -> SlotMap {
        let line = |(slot, id): (usize, &&str)| format!("{id} h:{slot}1@1 {flags} - 0 0 1 connected {slot}\n");
        SlotMap::read(&ids.iter().enumerate().map(line).collect::<String>(), "", false)
    }

    fn member(port: u16) -> Member {
        Member::new("h", port)
    }

    /// Returns the number of owners in the answer that counts.
    fn best(answers: SlotAnswers) -> usize {
        answers.best().unwrap().0.owners().len()
    }

    #[test]
    fn the_map_of_a_member_that_sees_the_others_takes_precedence_over_all_other_answers() {
        let (known, mut answers) = (map(&["a", "b"], "master").ids().clone(), SlotAnswers::default());
        answers.count(member(1), map(&["x"], "master"), Some(&known), false).unwrap();
        answers.count(member(2), map(&["a", "b"], "master,fail"), Some(&known), false).unwrap();
        answers.count(member(3), map(&["a", "b"], "master"), Some(&known), true).unwrap();
        assert!(!answers.are_enough());
        answers.count(member(4), map(&["b", "c", "d"], "master"), Some(&known), false).unwrap();
        assert!(answers.are_enough());
        assert_eq!(best(answers), 3);
    }

    #[test]
    fn a_cluster_that_shares_no_member_counts_only_if_no_known_member_answers() {
        let known = map(&["a"], "master").ids().clone();
        for (last, owners) in [(None, 2), (Some("master"), 1)] {
            let mut answers = SlotAnswers::default();
            answers.count(member(1), map(&["x", "y"], "master"), Some(&known), false).unwrap();
            if let Some(flags) = last {
                answers.count(member(2), map(&["a"], flags), Some(&known), false).unwrap();
            }
            assert_eq!(best(answers), owners, "{last:?}");
        }
    }

    #[test]
    fn members_of_two_clusters_are_an_error_that_names_both() {
        let mut answers = SlotAnswers::default();
        answers.count(member(1), map(&["a"], "master"), None, false).unwrap();
        answers.count(member(2), map(&["a", "b"], "master"), None, false).unwrap();
        let error = answers.count(member(3), map(&["x"], "master"), None, false).unwrap_err();
        assert!(format!("{error:?}").contains("h:1 and h:3 are members of two clusters"), "{error:?}");
    }

    #[test]
    fn without_a_map_the_first_failure_is_the_error() {
        let mut answers = SlotAnswers::default();
        answers.count(member(1), map(&[], "master"), None, false).unwrap();
        answers.failed(NodeErrorKind::Timeout.into());
        assert!(format!("{:?}", answers.best().err()).contains("CLUSTERDOWN h:1 knows no member"));
        assert_eq!(SlotAnswers::default().best().err().unwrap().kind(), NodeErrorKind::Unreachable);
    }
}
