//! The exit codes, which `--help` and the README list.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitCode, ExitStatus};

/// The exit code of this program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exit(pub(crate) u8);

impl Exit {
    pub(crate) const SUCCESS: Self = Self(0);
    /// Others hold the lock.
    pub(crate) const HELD: Self = Self(120);
    /// The lock was lost.
    pub(crate) const LOST: Self = Self(121);
    /// Too few nodes answered.
    pub(crate) const UNREACHABLE: Self = Self(122);
    /// The lock was lost, and redlock was not permitted to end the command.
    pub(crate) const NOT_ENDED: Self = Self(123);
    /// The longest lifetime was over; the same code as timeout(1).
    pub(crate) const LIFETIME_OVER: Self = Self(124);
    /// Bad usage, or this program itself failed; the same code as env(1), nice(1) and timeout(1), like the next two.
    pub(crate) const FAILED: Self = Self(125);
    /// The command exists but cannot be executed.
    pub(crate) const CANNOT_EXECUTE: Self = Self(126);
    /// The command does not exist.
    pub(crate) const NOT_FOUND: Self = Self(127);

    /// Returns the exit code that a shell reports for a process that a signal has ended.
    pub(crate) fn of_signal(signal: i32) -> Self {
        u8::try_from(signal).ok().and_then(|signal| signal.checked_add(128)).map_or(Self::FAILED, Self)
    }
}

impl From<ExitStatus> for Exit {
    fn from(status: ExitStatus) -> Self {
        let code = status.code().and_then(|code| u8::try_from(code).ok());
        code.map(Self).or_else(|| status.signal().map(Self::of_signal)).unwrap_or(Self::FAILED)
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_s_end_is_told_as_a_shell_tells_it() {
        for (wait_status, exit) in [(0, 0), (7 << 8, 7), (255 << 8, 255), (9, 137), (15, 143), (11 | 0x80, 139)] {
            assert_eq!(Exit::from(ExitStatus::from_raw(wait_status)), Exit(exit));
        }
    }

    #[test]
    fn no_signal_overflows() {
        assert_eq!((Exit::of_signal(127), Exit::of_signal(128)), (Exit(255), Exit::FAILED));
        assert_eq!(Exit::of_signal(-1), Exit::FAILED);
    }
}
