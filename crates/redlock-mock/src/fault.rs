//! The faults of requests and nodes, as plain data.

use std::time::Duration;

use redlock_core::NodeErrorKind;

/// A fault of one request. Injected faults form a queue: each request takes the next one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Fault {
    /// The connection is refused: the request is not carried out, and the caller gets an error immediately.
    Refuse,
    /// The request is lost: it is not carried out, and the caller waits until its response timeout.
    LoseRequest,
    /// The answer is lost: the request is carried out, and the caller waits until its response timeout.
    LoseAnswer,
    /// The request arrives this much later, and is carried out then, whether or not its caller still waits. Delayed
    /// beyond the response timeout, it may arrive after requests that were sent later, as happens when a new connection
    /// is made.
    DelayRequest(Duration),
    /// The request is carried out at once, and the answer arrives this much later.
    DelayAnswer(Duration),
    /// The connection breaks, and the client sends the request again over a new one, whose answer the caller gets. The
    /// node carries out the first copy before that, or this much after it.
    SendAgain(Duration),
    /// The node does nothing, and answers with an error.
    Fail(NodeErrorKind),
    /// The node stops before it reads the request, as with [`MockNode::stop`](crate::MockNode::stop).
    Stop,
    /// The node restarts before it reads the request: the connection breaks, and the next request finds it running.
    Restart(Memory),
    /// No fault: lets one request pass before the next fault.
    None,
}

/// The keys that a node remembers when it starts again. The more it has forgotten, the greater the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Memory {
    /// All keys, as with `appendfsync always`.
    Kept,
    /// All changes except those of the last second, as with `appendfsync everysec` at its worst: keys that were set are
    /// gone, and keys that were deleted are back.
    LastSecondLost,
    /// No keys, as without persistence.
    Lost,
}
