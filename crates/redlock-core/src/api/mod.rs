//! The API for programs: the distributed lock, the lock that it holds, and their options.

mod redlock;
mod options;
mod lock;
mod permit;

#[cfg(feature = "blocking")]
pub(crate) use self::redlock::using::both;
pub use self::{
    lock::{Lock, Release},
    options::AcquireOptions,
    permit::Permit,
    redlock::{
        Redlock,
        builder::{BuildError, RedlockBuilder},
        using::{OnLoss, UsingError, UsingOptions},
    },
};
