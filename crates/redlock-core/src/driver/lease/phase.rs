//! The phases of a token: whether it may still be set on nodes, and what its release does.

use crate::driver::atomic_state::{AtomicState, State};

/// The phase of a token. It only moves down this list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Requests that set the keys may be sent.
    Open,
    /// No request sets the keys any more, but they are not released yet.
    Sealed,
    /// The keys are released on all nodes, now or in the background.
    Releasing(Notify),
    /// No request is sent for the keys any more: they expire, or another process has them.
    Left,
}

/// Which waiter of the keys is notified when they are released.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Notify {
    /// The first one.
    First,
    /// The first one of another process: this one had a permit and did not win the lock.
    Other,
    /// None: the round was lost, and another round of the same call follows.
    Nobody,
}

impl State for Phase {
    const FIRST: Self = Self::Open;

    fn number(self) -> u8 {
        match self {
            Self::Open => 0,
            Self::Sealed => 1,
            Self::Releasing(Notify::First) => 2,
            Self::Releasing(Notify::Other) => 3,
            Self::Releasing(Notify::Nobody) => 4,
            Self::Left => 5,
        }
    }

    fn of(number: u8) -> Self {
        match number {
            0 => Self::Open,
            1 => Self::Sealed,
            2 => Self::Releasing(Notify::First),
            3 => Self::Releasing(Notify::Other),
            4 => Self::Releasing(Notify::Nobody),
            _ => Self::Left,
        }
    }
}

impl Phase {
    /// Whether requests that set the keys may be sent.
    pub(crate) fn may_set(self) -> bool {
        match self {
            Self::Open => true,
            Self::Sealed | Self::Releasing(_) | Self::Left => false,
        }
    }

    /// Whether the end of the token's life has begun, so that a drop has nothing to release.
    fn is_over(self) -> bool {
        match self {
            Self::Open | Self::Sealed => false,
            Self::Releasing(_) | Self::Left => true,
        }
    }
}

impl AtomicState<Phase> {
    /// Happens before a hand-off to another waiter of this process, before a transfer to another process, and before
    /// the round that takes a name over from its reservation.
    pub(crate) fn seal(&self) {
        let _ = self.advance(|phase| (phase == Phase::Open).then_some(Phase::Sealed));
    }

    /// Happens when the release is prepared for all nodes. Returns false if the token was released or left before.
    pub(crate) fn release(&self, notify: Notify) -> bool {
        self.advance(|phase| (!phase.is_over()).then_some(Phase::Releasing(notify))).is_ok()
    }

    /// Happens when the keys are left to expire, or when another process has taken the lock over.
    pub(crate) fn leave(&self) {
        let _ = self.advance(|phase| (!phase.is_over()).then_some(Phase::Left));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Phase; 6] = [
        Phase::Open,
        Phase::Sealed,
        Phase::Releasing(Notify::First),
        Phase::Releasing(Notify::Other),
        Phase::Releasing(Notify::Nobody),
        Phase::Left,
    ];

    /// A machine in this phase.
    fn machine(phase: Phase) -> AtomicState<Phase> {
        let machine = AtomicState::default();
        let _ = machine.advance(|_| Some(phase));
        machine
    }

    #[test]
    fn every_phase_has_its_own_number() {
        assert_eq!(ALL.map(|phase| Phase::of(phase.number())), ALL);
    }

    #[test]
    fn a_token_is_sealed_only_while_it_is_open() {
        for before in ALL {
            let machine = machine(before);
            machine.seal();
            assert_eq!(machine.get(), if before == Phase::Open { Phase::Sealed } else { before });
            assert!(!machine.get().may_set());
        }
    }

    #[test]
    fn only_the_first_release_counts_and_none_after_the_token_was_left() {
        for before in ALL {
            let machine = machine(before);
            let is_first = machine.release(Notify::Other);
            assert_eq!(is_first, matches!(before, Phase::Open | Phase::Sealed));
            assert_eq!(machine.get(), if is_first { Phase::Releasing(Notify::Other) } else { before });
        }
    }

    #[test]
    fn a_token_that_is_released_is_not_left_to_expire() {
        for before in ALL {
            let machine = machine(before);
            machine.leave();
            let is_legal = matches!(before, Phase::Open | Phase::Sealed);
            assert_eq!(machine.get(), if is_legal { Phase::Left } else { before });
        }
    }
}
