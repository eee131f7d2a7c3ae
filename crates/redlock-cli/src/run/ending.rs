//! How a command has ended, and why.

use std::process::ExitStatus;

use redlock_core::Loss;

/// How a command has ended.
#[derive(Debug)]
pub(super) struct Ending {
    pub(super) status: ExitStatus,
    pub(super) why: Why,
    /// Whether redlock was not permitted to signal it.
    pub(super) is_foreign: bool,
    /// Whether a signal arrived that ends it, and redlock too.
    pub(super) is_interrupted: bool,
}

/// Why it has ended.
#[derive(Debug)]
pub(super) enum Why {
    /// By itself, or by a signal from elsewhere.
    ItsOwn,
    /// It was ended by redlock: the lock could not be kept.
    Lost(Option<Loss>),
    /// It was ended by redlock: the longest lifetime was over.
    LifetimeOver,
}
