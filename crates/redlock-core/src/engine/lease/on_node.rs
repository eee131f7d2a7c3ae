//! The keys of a lease on one node, as far as the lease knows.

/// The keys of a lease on one node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct OnNode {
    key: Key,
    /// The state before the requests that are unsettled.
    before: Key,
    /// How many requests that set the keys have no certain answer. Each may be carried out at any time.
    unsettled: u32,
    /// How many requests are out, or wait in the line.
    pending: u32,
    /// Whether the release was put into the line.
    is_released: bool,
}

/// The state of the keys on one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    /// Nothing was sent that sets them.
    Untouched,
    /// Something was sent that sets them, and was not refused for certain.
    Perhaps,
    /// They hold the token.
    Ours,
    /// The successor has requested them, and has no answer yet.
    Offered,
    /// They are the successor's, or they are still ours: the answer that decides was lost.
    Unclear,
    /// They are the successor's.
    Successors,
    /// They do not hold the token.
    Gone,
}

impl OnNode {
    pub(crate) const UNTOUCHED: Self =
        Self { key: Key::Untouched, before: Key::Untouched, unsettled: 0, pending: 0, is_released: false };

    /// Of a lease of another process. An extend of that process may be unanswered.
    pub(crate) const OF_ANOTHER: Self =
        Self { key: Key::Perhaps, before: Key::Perhaps, unsettled: 1, pending: 0, is_released: false };

    pub(crate) fn key(&self) -> Key {
        self.key
    }

    /// Whether nothing is out, and nothing waits in the line.
    pub(crate) fn is_idle(&self) -> bool {
        self.pending == 0
    }

    /// A request goes into the line.
    pub(crate) fn asks(&mut self) {
        self.pending += 1;
    }

    /// The line has no more to say about a request.
    pub(crate) fn ends(&mut self) {
        self.pending = self.pending.saturating_sub(1);
    }

    /// A request that sets the keys goes into the line.
    pub(crate) fn sets(&mut self) {
        if self.unsettled == 0 {
            self.before = self.key;
        }
        self.unsettled += 1;
        if matches!(self.key, Key::Untouched | Key::Gone) {
            self.key = Key::Perhaps;
        }
    }

    /// A request that sets the keys was answered for certain: they hold the token, or they do not.
    pub(crate) fn settled(&mut self, holds: bool) {
        self.unsettled = self.unsettled.saturating_sub(1);
        self.before = if holds { Key::Ours } else { Key::Gone };
        if self.is_with_successor() {
            return;
        }
        // An earlier request may set the keys after a later one was refused.
        self.key = if holds || self.unsettled == 0 { self.before } else { Key::Perhaps };
    }

    /// A request that sets the keys was certainly not carried out.
    pub(crate) fn not_done(&mut self) {
        self.unsettled = self.unsettled.saturating_sub(1);
        if self.unsettled == 0 && self.key == Key::Perhaps {
            self.key = self.before;
        }
    }

    /// The node has granted a request of which an earlier copy may still be carried out.
    pub(crate) fn granted_again(&mut self) {
        if !self.is_with_successor() {
            self.key = Key::Ours;
        }
    }

    /// The successor asks for the keys.
    pub(crate) fn offered(&mut self) {
        if self.may_hold() {
            self.key = Key::Offered;
        }
    }

    /// The successor has its answer.
    pub(crate) fn successor_answered(&mut self, follows: bool, is_unclear: bool) {
        if matches!(self.key, Key::Offered | Key::Unclear) {
            self.key = match (follows, is_unclear) {
                (true, _) => Key::Successors,
                (false, true) => Key::Unclear,
                (false, false) => Key::Perhaps,
            };
        }
    }

    /// Whether the node may hold the token, so that the release has to go there.
    pub(crate) fn may_hold(&self) -> bool {
        match self.key {
            Key::Perhaps | Key::Ours | Key::Offered | Key::Unclear => true,
            // A request that is still out may set the keys once the successor has released them.
            Key::Successors => self.unsettled > 0,
            Key::Untouched | Key::Gone => false,
        }
    }

    /// The release goes into the line. False if it is there already.
    pub(crate) fn releases(&mut self) -> bool {
        !std::mem::replace(&mut self.is_released, true)
    }

    /// The node has answered the release.
    pub(crate) fn released(&mut self) {
        if !self.is_with_successor() {
            self.key = if self.unsettled == 0 { Key::Gone } else { Key::Perhaps };
        }
    }

    fn is_with_successor(&self) -> bool {
        matches!(self.key, Key::Offered | Key::Unclear | Key::Successors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_frees_the_node_only_if_no_earlier_request_is_unsettled() {
        let mut node = OnNode::UNTOUCHED;
        node.sets();
        node.sets();
        node.settled(false);
        assert_eq!((node.key(), node.may_hold()), (Key::Perhaps, true));
        node.settled(false);
        assert_eq!((node.key(), node.may_hold()), (Key::Gone, false));
    }

    #[test]
    fn a_request_that_was_not_sent_leaves_the_node_as_it_was() {
        let mut node = OnNode::UNTOUCHED;
        node.sets();
        assert_eq!(node.key(), Key::Perhaps);
        node.not_done();
        assert_eq!(node.key(), Key::Untouched);
        node.sets();
        node.settled(true);
        node.sets();
        node.not_done();
        assert_eq!(node.key(), Key::Ours);
    }

    #[test]
    fn only_the_successors_answer_tells_whose_the_keys_are() {
        let mut node = OnNode::UNTOUCHED;
        node.sets();
        node.settled(true);
        node.offered();
        node.released();
        assert_eq!((node.key(), node.may_hold()), (Key::Offered, true));
        node.successor_answered(false, true);
        assert_eq!(node.key(), Key::Unclear);
        node.successor_answered(true, false);
        assert_eq!((node.key(), node.may_hold()), (Key::Successors, false));
    }

    #[test]
    fn an_extend_that_is_still_out_keeps_a_node_from_being_spared() {
        let mut node = OnNode::UNTOUCHED;
        node.sets();
        node.settled(true);
        node.sets();
        node.offered();
        node.successor_answered(true, false);
        assert!(node.may_hold());
        node.settled(true);
        assert!(!node.may_hold());
    }
}
