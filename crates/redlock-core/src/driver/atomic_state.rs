//! A small state machine in one atomic byte.

use std::{
    fmt,
    marker::PhantomData,
    sync::atomic::{AtomicU8, Ordering},
};

/// An enum with a number for each of its values.
pub(crate) trait State: Copy + fmt::Debug {
    /// The state in which a machine starts.
    const FIRST: Self;

    fn number(self) -> u8;

    /// The reverse of [`State::number`]. Only called with numbers that it returns.
    fn of(number: u8) -> Self;
}

/// The state of one machine. Its transitions are atomic.
pub(crate) struct AtomicState<S>(AtomicU8, PhantomData<S>);

impl<S: State> AtomicState<S> {
    pub(crate) fn get(&self) -> S {
        S::of(self.0.load(Ordering::SeqCst))
    }

    /// Replaces the state by what `next` makes of it. Nothing changes if that is `None`: the transition is illegal in
    /// this state. Returns the state before, as an error if nothing changed.
    pub(crate) fn advance(&self, next: impl Fn(S) -> Option<S>) -> Result<S, S> {
        let number = |now| next(S::of(now)).map(S::number);
        self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, number).map(S::of).map_err(S::of)
    }
}

impl<S: State> Default for AtomicState<S> {
    fn default() -> Self {
        Self(AtomicU8::new(S::FIRST.number()), PhantomData)
    }
}

impl<S: State> fmt::Debug for AtomicState<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}
