//! How a command has ended, and why.

use std::process::ExitStatus;

use redlock_core::LockLost;

use crate::exit::Exit;

/// How a command has ended.
#[derive(Debug)]
pub(super) struct Ending {
    pub(super) status: ExitStatus,
    pub(super) why: Why,
    /// Whether redlock was not permitted to signal it.
    pub(super) is_foreign: bool,
    /// Whether a signal arrived that ends the command, and redlock too.
    pub(super) is_interrupted: bool,
}

/// The reason why it has ended.
#[derive(Debug)]
pub(super) enum Why {
    /// By itself, or by a signal from elsewhere.
    ItsOwn,
    /// redlock ended it, because the lock could not be extended.
    Lost(Option<LockLost>),
    /// redlock ended it, because the longest lifetime was over.
    LifetimeOver,
}

/// The result of a run under the lock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Came {
    pub(super) exit: Exit,
    /// Whether the lock was lost before the command had ended, or may have been.
    pub(super) is_lost: bool,
}

impl Came {
    pub(super) fn well(exit: Exit) -> Self {
        Self { exit, is_lost: false }
    }

    pub(super) fn lost(exit: Exit) -> Self {
        Self { exit, is_lost: true }
    }
}
