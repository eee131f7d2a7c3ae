//! The error of a close that did not finish.

use super::error::WithinAsync;

/// Why [`Redlock::close`](crate::Redlock::close) did not finish. Locks that are not released by then expire with their
/// TTL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CloseError {
    /// Some nodes do not answer.
    #[error("not everything was released: {}; the keys expire with their TTL", left(*tasks, owed))]
    Unfinished {
        /// The number of requests and dropped locks that are still waiting for an answer.
        tasks: usize,
        /// The names of the nodes that have not answered a release, each with the number of its unanswered releases.
        owed: Vec<(String, usize)>,
    },
    /// The call was not made on a Tokio runtime, so it cannot wait.
    #[error("there is no Tokio runtime here: call close from a task of a runtime with time enabled")]
    NoRuntime,
    /// A blocking call was made within async code.
    #[error(transparent)]
    WithinAsync(#[from] WithinAsync),
}

fn left(tasks: usize, owed: &[(String, usize)]) -> String {
    let waiting = (tasks > 0).then(|| format!("{tasks} background tasks still wait for answers"));
    let owed = owed.iter().map(|(node, count)| format!("{node} has not answered {count} releases"));
    waiting.into_iter().chain(owed).collect::<Vec<_>>().join(", ")
}
