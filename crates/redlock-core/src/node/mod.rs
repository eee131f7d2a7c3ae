//! What the library requires of the outside: nodes, a clock and randomness.

mod lock_node;
mod request;
mod answer;
mod verdict;
mod node_error;
mod node_error_kind;
mod redirect;
mod secrets;
mod clock;
mod entropy;

pub use self::{
    answer::{
        AcquireAnswer, ExtendAnswer, InspectAnswer, ListAnswer, OpenAnswer, RaiseAnswer, Reader, ReleaseAnswer,
        SlotHeld, Timed,
    },
    clock::{Clock, SystemClock, TokioClock},
    entropy::{Entropy, EntropyError, OsEntropy},
    lock_node::{LockNode, WakeUps},
    node_error::NodeError,
    node_error_kind::NodeErrorKind,
    request::{
        AcquireRequest, DescribeRequest, Enqueue, ExtendRequest, FencingCounters, InspectRequest, ListRequest,
        ListenRequest, OpenRequest, PermitSlots, RaiseRequest, ReleaseRequest, RestartGuard, WakeNext,
    },
};
pub(crate) use self::{lock_node::LATE_LIMIT, node_error::WrongServer, redirect::Redirect, verdict::Verdict};
