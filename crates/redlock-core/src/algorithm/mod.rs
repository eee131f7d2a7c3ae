//! Redlock's decisions, pure: plain values in, plain values out. No await, no clock, no randomness, no node.
//!
//! The driver (`redlock.rs`) asks, in this order: is the [`Ttl`] sane, how many nodes are a [`Quorum`], how does the
//! [`Round`] stand, how much of the ttl does [`Drift`] leave as validity, and what does [`Retry`] say after a loss.

mod drift;
mod quorum;
mod retry;
mod round;
mod ttl;

pub use self::{
    drift::{Drift, DriftError},
    quorum::Quorum,
    retry::{Next, Retry, Stop},
    round::{Lost, Round, Standing, Vote},
    ttl::{Ttl, TtlError},
};
