//! What callers and observers receive: votes, errors, losses, events and metrics, and the parts of a lock.

mod votes;
mod error;
mod downgrade_error;
mod lock_lost;
mod close_error;
mod resume_error;
mod lock_parts;
mod permits_error;

mod event;
mod observer;
mod observers;
mod address;
#[cfg(feature = "metrics")]
mod metrics;

#[cfg(feature = "metrics")]
pub use self::metrics::Metrics;
pub(crate) use self::{address::address, observers::Observers};
pub use self::{
    close_error::CloseError,
    downgrade_error::DowngradeError,
    error::{AcquireError, Attempts, ExtendError, ReleaseError, WithinAsync},
    event::{Ending, Event, NodeOutcome, NodeRequest, NotAcquired},
    lock_lost::LockLost,
    lock_parts::{LockParts, LockPartsError},
    observer::Observer,
    permits_error::PermitsError,
    resume_error::ResumeError,
    votes::{NodeAnswer, NodeVote, Votes},
};
