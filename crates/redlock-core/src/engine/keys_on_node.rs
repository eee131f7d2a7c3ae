//! The keys of one token on one node, as far as its holder knows.

/// The keys of one token on one node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct KeysOnNode {
    state: KeyState,
    /// The state before the requests that are unsettled.
    before: KeyState,
    /// How many requests that set the keys have no certain answer. The node may execute each of them at any time.
    unsettled: u32,
}

/// The state of the keys on one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum KeyState {
    /// No request that sets them was sent.
    Untouched,
    /// A request that sets them was sent, and was not refused for certain.
    Perhaps,
    /// They hold the token.
    Ours,
    /// The next holder in this process has requested them, and has no answer yet.
    Offered,
    /// They are the next holder's, or they are still ours: the answer that decides was lost.
    Unclear,
    /// They are the next holder's.
    Successors,
    /// They do not hold the token.
    Gone,
}

impl KeysOnNode {
    pub(crate) const UNTOUCHED: Self = Self { state: KeyState::Untouched, before: KeyState::Untouched, unsettled: 0 };

    /// The keys of a lock of another process, which may have sent an extend that is unanswered.
    pub(crate) const OF_ANOTHER: Self = Self { state: KeyState::Perhaps, before: KeyState::Perhaps, unsettled: 1 };

    pub(crate) fn state(&self) -> KeyState {
        self.state
    }

    /// Whether the node may still execute a request that sets the keys.
    pub(crate) fn is_unsettled(&self) -> bool {
        self.unsettled > 0
    }

    /// A request that sets the keys is sent.
    pub(crate) fn sets(&mut self) {
        if self.unsettled == 0 {
            self.before = self.state;
        }
        self.unsettled += 1;
        if matches!(self.state, KeyState::Untouched | KeyState::Gone) {
            self.state = KeyState::Perhaps;
        }
    }

    /// A request that sets the keys was answered for certain: they hold the token, or they do not.
    pub(crate) fn settled(&mut self, holds: bool) {
        self.unsettled = self.unsettled.saturating_sub(1);
        self.before = if holds { KeyState::Ours } else { KeyState::Gone };
        if self.is_with_successor() {
            return;
        }
        // An earlier request may set the keys after a later one was refused.
        self.state = if holds || self.unsettled == 0 { self.before } else { KeyState::Perhaps };
    }

    /// A request that sets the keys was certainly not executed.
    pub(crate) fn not_done(&mut self) {
        self.unsettled = self.unsettled.saturating_sub(1);
        if self.unsettled == 0 && self.state == KeyState::Perhaps {
            self.state = self.before;
        }
    }

    /// The node has granted a request of which an earlier copy may still be executed.
    pub(crate) fn granted_again(&mut self) {
        if !self.is_with_successor() {
            self.state = KeyState::Ours;
        }
    }

    /// The next holder requests the keys, behind everything that was sent for this one.
    pub(crate) fn offered(&mut self) {
        if self.may_hold() {
            self.state = KeyState::Offered;
        }
    }

    /// The next holder has its answer. `follows`: the keys were ours until then. `is_unclear`: they may have been.
    pub(crate) fn successor_answered(&mut self, follows: bool, is_unclear: bool) {
        if matches!(self.state, KeyState::Offered | KeyState::Unclear) {
            self.state = match (follows, is_unclear) {
                (true, _) => KeyState::Successors,
                (false, true) => KeyState::Unclear,
                (false, false) => KeyState::Perhaps,
            };
        }
    }

    /// Whether the node may hold the token, so that it needs a release.
    pub(crate) fn may_hold(&self) -> bool {
        match self.state {
            KeyState::Perhaps | KeyState::Ours | KeyState::Offered | KeyState::Unclear => true,
            // A request without an answer may set the keys once the next holder has released them.
            KeyState::Successors => self.unsettled > 0,
            KeyState::Untouched | KeyState::Gone => false,
        }
    }

    /// The node has answered the release.
    pub(crate) fn released(&mut self) {
        if !self.is_with_successor() {
            self.state = if self.unsettled == 0 { KeyState::Gone } else { KeyState::Perhaps };
        }
    }

    fn is_with_successor(&self) -> bool {
        matches!(self.state, KeyState::Offered | KeyState::Unclear | KeyState::Successors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_frees_the_node_only_if_no_earlier_request_is_unsettled() {
        let mut keys = KeysOnNode::UNTOUCHED;
        keys.sets();
        keys.sets();
        keys.settled(false);
        assert_eq!((keys.state(), keys.may_hold()), (KeyState::Perhaps, true));
        keys.settled(false);
        assert_eq!((keys.state(), keys.may_hold()), (KeyState::Gone, false));
    }

    #[test]
    fn a_request_that_was_not_sent_leaves_the_node_as_it_was() {
        let mut keys = KeysOnNode::UNTOUCHED;
        keys.sets();
        assert_eq!(keys.state(), KeyState::Perhaps);
        keys.not_done();
        assert_eq!(keys.state(), KeyState::Untouched);
        keys.sets();
        keys.settled(true);
        keys.sets();
        keys.not_done();
        assert_eq!(keys.state(), KeyState::Ours);
    }

    #[test]
    fn only_the_successors_answer_tells_whose_the_keys_are() {
        let mut keys = KeysOnNode::UNTOUCHED;
        keys.sets();
        keys.settled(true);
        keys.offered();
        keys.released();
        assert_eq!((keys.state(), keys.may_hold()), (KeyState::Offered, true));
        keys.successor_answered(false, true);
        assert_eq!(keys.state(), KeyState::Unclear);
        keys.successor_answered(true, false);
        assert_eq!((keys.state(), keys.may_hold()), (KeyState::Successors, false));
    }

    #[test]
    fn an_extend_that_is_still_out_keeps_a_node_from_being_spared() {
        let mut keys = KeysOnNode::UNTOUCHED;
        keys.sets();
        keys.settled(true);
        keys.sets();
        keys.offered();
        keys.successor_answered(true, false);
        assert!(keys.may_hold());
        keys.settled(true);
        assert!(!keys.may_hold());
    }
}
