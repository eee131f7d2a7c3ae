//! The phases of a lease.

use crate::engine::event::Why;

/// The phase of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Phase {
    /// It asks the nodes.
    Asking,
    /// It holds the lock, or has held it until the validity ended.
    Held,
    /// It sets nothing any more, and is not released yet.
    Sealed(Seal),
    /// It is being released. The lines deliver that.
    Releasing(Why),
    /// Nothing is sent for it any more: the nodes free the keys by themselves, or another process releases them.
    Left,
}

/// Why a lease sets nothing any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Seal {
    /// The next waiter of this process may take the lock over.
    Offered,
    /// It was a reservation, and its successor asks for all names.
    Reserved,
    /// Another process takes it over once nothing is out any more.
    Detaching,
}
