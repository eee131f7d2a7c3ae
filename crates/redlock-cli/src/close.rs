//! Closes a `Redlock`, and waits for nodes that are late with releases.

use std::time::Duration;

use redlock_core::Redlock;
use serde_json::json;

use crate::{exit::Exit, failure::Failure, say::Say};

/// Waits for nodes that are late with releases, for `patience` at most, and reports the releases that they have not
/// confirmed.
pub(crate) async fn close(redlock: &Redlock, patience: Duration, say: &Say) {
    if let Err(error) = redlock.close_within(patience).await {
        say.event("unfinished", &error.to_string(), json!({ "error": error.to_string() }));
    }
}

/// Closes it, and returns this outcome.
pub(crate) async fn closed(
    redlock: &Redlock,
    patience: Duration,
    say: &Say,
    outcome: Result<Exit, Failure>,
) -> Result<Exit, Failure> {
    close(redlock, patience, say).await;
    outcome
}
