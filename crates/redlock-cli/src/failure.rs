//! The failure of a task, with its exit code.

use std::error::Error;

use redlock_core::{AcquireError, ExtendError, InspectError, NodesError, ReleaseError, ResumeError};

use crate::exit::Exit;

/// The failure of a task.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) what: String,
    /// Whether the exit code is enough, without a message.
    pub(crate) quiet: bool,
}

impl Failure {
    pub(crate) fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self { exit, what: what.into(), quiet: false }
    }

    /// Converts any other error.
    pub(crate) fn of(error: &dyn Error) -> Self {
        Self::new(Exit::FAILED, chain(error))
    }
}

impl From<AcquireError> for Failure {
    fn from(error: AcquireError) -> Self {
        let exit = match &error {
            error if error.is_contended() => Exit::HELD,
            error if error.attempts().is_some() => Exit::UNREACHABLE,
            _ => Exit::FAILED,
        };
        Self::new(exit, chain(&error))
    }
}

impl From<ExtendError> for Failure {
    fn from(error: ExtendError) -> Self {
        let exit = match &error {
            ExtendError::Expired { .. } | ExtendError::Lost { .. } | ExtendError::ExtendedTooLate { .. } => Exit::LOST,
            ExtendError::NoQuorum { .. } => Exit::UNREACHABLE,
            _ => Exit::FAILED,
        };
        Self::new(exit, chain(&error))
    }
}

impl From<ResumeError> for Failure {
    fn from(error: ResumeError) -> Self {
        let exit = match &error {
            ResumeError::Lost { .. } | ResumeError::Expired { .. } => Exit::LOST,
            ResumeError::TooFewAnswers { .. } => Exit::UNREACHABLE,
            _ => Exit::FAILED,
        };
        Self::new(exit, chain(&error))
    }
}

impl From<ReleaseError> for Failure {
    fn from(error: ReleaseError) -> Self {
        let exit = if error.votes().is_some() { Exit::UNREACHABLE } else { Exit::FAILED };
        Self::new(exit, chain(&error))
    }
}

impl From<InspectError> for Failure {
    fn from(error: InspectError) -> Self {
        Self::of(&error)
    }
}

impl From<NodesError> for Failure {
    fn from(error: NodesError) -> Self {
        Self::of(&error)
    }
}

impl From<redlock_core::BuildError> for Failure {
    fn from(error: redlock_core::BuildError) -> Self {
        Self::of(&error)
    }
}

/// Formats an error and its causes on one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // A transparent error already shows its cause.
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
