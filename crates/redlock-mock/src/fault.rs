//! Faults, as plain data.

use std::time::Duration;

use redlock_core::NodeErrorKind;

/// What goes wrong with one request. Injected faults wait in line: each request takes the next one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Fault {
    /// The connection is refused: the request is not carried out, and the caller knows at once.
    Refuse,
    /// The request is lost: it is not carried out, and the caller waits until its response timeout.
    LoseRequest,
    /// The answer is lost: the request is carried out, and the caller waits until its response timeout.
    LoseAnswer,
    /// The request arrives so much later, and is carried out then, whether or not its caller still waits. Delayed
    /// beyond the response timeout it may arrive after requests that were sent after it, as over a connection that was
    /// made again.
    DelayRequest(Duration),
    /// The request is carried out at once, the answer arrives so much later.
    DelayAnswer(Duration),
    /// The connection breaks, and the client sends the request again over a new one, whose answer the caller gets. The
    /// node carries out the first copy before that, or so much after it.
    SendAgain(Duration),
    /// The node does nothing, and answers with an error.
    Fail(NodeErrorKind),
    /// The node stops before it reads the request, as by [`MockNode::stop`](crate::MockNode::stop).
    Stop,
    /// The node restarts before it reads the request: the connection breaks, the next request finds it running.
    Restart(Memory),
    /// Nothing goes wrong: lets one request pass before the next fault.
    None,
}

/// What a node remembers of its keys when it starts again; the more it has forgotten, the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Memory {
    /// All of them, as with `appendfsync always`.
    Kept,
    /// All but what changed in the last second, as with `appendfsync everysec` at its worst: keys that were set are
    /// gone, and keys that were deleted are back.
    LastSecondLost,
    /// None of them, as without persistence.
    Lost,
}
