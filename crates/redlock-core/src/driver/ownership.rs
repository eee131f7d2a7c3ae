//! Which token has the keys on one node, as far as its holder knows.

use super::atomic_state::{AtomicState, State};

/// Which token has the keys on one node, as far as its holder knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ownership {
    /// No request that sets the keys was sent.
    Untouched,
    /// A request that sets the keys was sent.
    Asked,
    /// The node has granted the acquire.
    Ours,
    /// The next holder in this process has requested the keys, after all that was sent here, and has no answer yet.
    Offered {
        /// Whether anything was sent for this token before.
        asked: bool,
    },
    /// The next holder has taken the keys over: there is nothing to release.
    Successors,
    /// The node has granted the next holder's request, which was sent twice. Only the answer to the first copy would
    /// say whether the keys were taken over.
    PerhapsSuccessors,
}

/// The node's answer to the next holder in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TakenOver {
    Yes,
    /// The request was granted, but may have been executed twice.
    Perhaps,
    /// The node refused, or the keys were free and the next holder has set them.
    No,
}

impl State for Ownership {
    const FIRST: Self = Self::Untouched;

    fn number(self) -> u8 {
        match self {
            Self::Untouched => 0,
            Self::Asked => 1,
            Self::Ours => 2,
            Self::Offered { asked: false } => 3,
            Self::Offered { asked: true } => 4,
            Self::Successors => 5,
            Self::PerhapsSuccessors => 6,
        }
    }

    fn of(number: u8) -> Self {
        match number {
            0 => Self::Untouched,
            1 => Self::Asked,
            2 => Self::Ours,
            3 => Self::Offered { asked: false },
            4 => Self::Offered { asked: true },
            5 => Self::Successors,
            _ => Self::PerhapsSuccessors,
        }
    }
}

impl Ownership {
    /// Whether a request was sent that a release has to undo.
    pub(crate) fn needs_release(self) -> bool {
        match self {
            Self::Untouched | Self::Offered { asked: false } | Self::Successors => false,
            Self::Asked | Self::Ours | Self::Offered { asked: true } | Self::PerhapsSuccessors => true,
        }
    }
}

impl AtomicState<Ownership> {
    /// Happens before an acquire or an extend is sent. None is sent once the keys were offered.
    pub(crate) fn ask(&self) {
        let _ = self.advance(|now| (now == Ownership::Untouched).then_some(Ownership::Asked));
    }

    /// Happens when the node grants the acquire.
    pub(crate) fn grant(&self) {
        let _ = self.advance(|now| (now == Ownership::Asked).then_some(Ownership::Ours));
    }

    /// Happens before the next holder in this process asks for the keys, after all that was sent here.
    pub(crate) fn offer(&self) {
        let _ = self.advance(|now| match now {
            Ownership::Untouched => Some(Ownership::Offered { asked: false }),
            Ownership::Asked | Ownership::Ours => Some(Ownership::Offered { asked: true }),
            Ownership::Offered { .. } | Ownership::Successors | Ownership::PerhapsSuccessors => None,
        });
    }

    /// Happens when the next holder has its answer. Without an answer the keys stay offered.
    pub(crate) fn taken_over(&self, taken_over: TakenOver) {
        let _ = self.advance(|now| match (now, taken_over) {
            (Ownership::Offered { .. }, TakenOver::Yes) => Some(Ownership::Successors),
            (Ownership::Offered { asked: true }, TakenOver::Perhaps) => Some(Ownership::PerhapsSuccessors),
            (Ownership::Offered { asked: true }, TakenOver::No) => Some(Ownership::Asked),
            // Keys that were never set are not taken over.
            (Ownership::Offered { asked: false }, TakenOver::Perhaps | TakenOver::No) => Some(Ownership::Untouched),
            (
                Ownership::Untouched
                | Ownership::Asked
                | Ownership::Ours
                | Ownership::Successors
                | Ownership::PerhapsSuccessors,
                _,
            ) => None,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::{Ownership::*, *};

    const ALL: [Ownership; 7] =
        [Untouched, Asked, Ours, Offered { asked: false }, Offered { asked: true }, Successors, PerhapsSuccessors];

    /// Returns the result of a transition from each state, in the order of `ALL`.
    fn after(transition: impl Fn(&AtomicState<Ownership>)) -> [Ownership; 7] {
        ALL.map(|before| {
            let machine = AtomicState::default();
            let _ = machine.advance(|_| Some(before));
            transition(&machine);
            machine.get()
        })
    }

    #[test]
    fn every_state_has_its_own_number() {
        assert_eq!(ALL.map(|state| Ownership::of(state.number())), ALL);
    }

    #[test]
    fn requests_and_grants_change_nothing_once_the_keys_were_offered() {
        let [_, asked, ours, rest @ ..] = ALL;
        let [offered_untouched, offered, successors, perhaps] = rest;
        assert_eq!(
            after(AtomicState::<Ownership>::ask),
            [Asked, asked, ours, offered_untouched, offered, successors, perhaps]
        );
        assert_eq!(
            after(AtomicState::<Ownership>::grant),
            [Untouched, Ours, ours, offered_untouched, offered, successors, perhaps]
        );
    }

    #[test]
    fn keys_are_offered_once() {
        let offered = |asked| Offered { asked };
        assert_eq!(
            after(AtomicState::<Ownership>::offer),
            [
                offered(false),
                offered(true),
                offered(true),
                offered(false),
                offered(true),
                Successors,
                PerhapsSuccessors
            ]
        );
    }

    #[test]
    fn only_keys_that_are_offered_are_taken_over() {
        let after = |answer| after(|machine| machine.taken_over(answer));
        let with = |untouched, asked| [Untouched, Asked, Ours, untouched, asked, Successors, PerhapsSuccessors];
        assert_eq!(after(TakenOver::Yes), with(Successors, Successors));
        assert_eq!(after(TakenOver::Perhaps), with(Untouched, PerhapsSuccessors));
        assert_eq!(after(TakenOver::No), with(Untouched, Asked));
    }

    #[test]
    fn keys_that_were_never_requested_or_belong_to_the_successor_need_no_release() {
        assert_eq!(ALL.map(Ownership::needs_release), [false, true, true, false, true, false, true]);
    }
}
