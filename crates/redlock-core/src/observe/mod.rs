//! What happens, told as it happens: to whoever observes, and as metrics.

mod event;
mod observer;
#[cfg(feature = "metrics")]
mod metrics;

mod observers;
mod address;

#[cfg(feature = "metrics")]
pub use self::metrics::Metrics;
pub(crate) use self::{address::address, observers::Observers};
pub use self::{
    event::{Ending, Event, NodeOutcome, NodeRequest, NotAcquired},
    observer::Observer,
};
