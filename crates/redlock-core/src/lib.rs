//! Redlock, the distributed lock over N independent Redis nodes.
//!
//! This crate holds the algorithm and its driver; it knows no Redis client. Take it together with one backend:
//! [`redlock-redis-rs`](https://docs.rs/redlock-redis-rs) or [`redlock-fred`](https://docs.rs/redlock-fred), which
//! export the same names, or `redlock-mock` for tests.
//!
//! ```
//! use std::time::Duration;
//! use redlock_core::{AcquireError, Redlock};
//! use redlock_mock::MockNode;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let redlock = Redlock::new(MockNode::fleet(3))?;
//!
//! let mut lock = redlock.acquire("invoice:42", Duration::from_secs(10)).await?;
//! lock.extend(Duration::from_secs(30)).await?;
//!
//! // Meanwhile, elsewhere: somebody else has it.
//! let error = redlock.try_acquire("invoice:42", Duration::from_secs(10)).await.unwrap_err();
//! assert!(matches!(error, AcquireError::Contended(_)));
//!
//! lock.release().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Where to find what
//!
//! * [`algorithm`]: the decisions, as pure functions of plain values.
//! * `redlock.rs`: the driver; reads like the steps of the [Redis page].
//! * [`LockNode`]: what a backend implements.
//! * [`backend`], [`script`], [`NodeUrl`]: what the backends for Redis share.
//!
//! # What is promised
//!
//! Two holders never believe in one resource at the same time, as long as clocks run at the same rate within the
//! [`Drift`] allowance and nodes keep their keys until they expire. A process that is paused past its validity, a node
//! that restarts empty and a node whose clock jumps are outside of this promise: check [`Lock::is_valid`] right before
//! each side effect.
//!
//! [Redis page]: https://redis.io/docs/latest/develop/clients/patterns/distributed-locks/

pub mod algorithm;

mod redlock;
mod options;
mod lock;
mod error;
mod votes;
mod builder;

mod node;
mod node_error;
mod resource;
mod token;

pub mod backend;
pub mod script;
mod node_url;

mod claim;
mod round_trip;
mod fleet;
mod background;
mod clock;
mod entropy;

pub use self::{
    algorithm::{Drift, DriftError, Lost, NodeTimeout, Retry, Ttl, TtlError},
    background::CloseError,
    builder::{BuildError, RedlockBuilder},
    clock::{Clock, SystemClock, TokioClock},
    entropy::{Entropy, EntropyError, OsEntropy},
    error::{AcquireError, Attempts, ExtendError, ReleaseError},
    lock::{Lock, Release},
    node::{
        AcquireAnswer, AcquireRequest, ExtendAnswer, ExtendRequest, InspectAnswer, InspectRequest, LockNode,
        ReleaseAnswer, ReleaseRequest,
    },
    node_error::{NodeError, NodeErrorKind},
    node_url::{NodeAddress, NodeUrl, NodeUrlError},
    options::AcquireOptions,
    redlock::Redlock,
    resource::{Resource, ResourceError},
    token::Token,
    votes::{NodeAnswer, NodeVote, Votes},
};
