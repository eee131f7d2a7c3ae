//! Redlock's decisions, pure: plain values in, plain values out. No await, no clock, no randomness, no node.
//!
//! The driver (`redlock.rs`) asks, in this order: is the [`Ttl`] sane, how many nodes are a [`Quorum`], how did the
//! [`Round`] end, how much of the ttl does [`Drift`] leave as validity, and what does [`Retry`] say after a loss.

mod ttl;
mod quorum;
mod round;
mod drift;
mod node_timeout;
mod retry;

pub use self::{
    drift::{Drift, DriftError},
    node_timeout::NodeTimeout,
    quorum::Quorum,
    retry::{Next, Retry, Stop},
    round::{Decision, Lost, Round, Vote},
    ttl::{Ttl, TtlError},
};
