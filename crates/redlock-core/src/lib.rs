//! Redlock, the distributed lock over N independent Redis nodes.
//!
//! This crate contains the algorithm and its driver, and depends on no Redis client. Use it with one backend:
//! [`redlock-redis-rs`](https://docs.rs/redlock-redis-rs) or [`redlock-fred`](https://docs.rs/redlock-fred), which
//! export the same names, or `redlock-mock` for tests.
//!
//! ```
//! use std::time::Duration;
//! use redlock_core::{Redlock, Release};
//! use redlock_mock::MockNode;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let redlock = Redlock::new(MockNode::fleet(3))?;
//!
//! let mut lock = redlock.acquire("invoice:42", Duration::from_secs(10)).await?;
//! lock.extend(Duration::from_secs(30)).await?;
//!
//! // Meanwhile, elsewhere: another holder has it.
//! assert!(redlock.try_acquire("invoice:42", Duration::from_secs(10)).await?.is_none());
//!
//! assert_eq!(lock.release().await?, Release::Released);
//! # Ok(())
//! # }
//! ```
//!
//! # Where to find what
//!
//! * [`guide`]: recipes, guarantees and limits, every setting, which TTL, how many nodes, and what to do when something
//!   fails.
//! * [`algorithm`]: the decisions, as pure functions of plain values.
//! * [`Redlock::using`]: work under a lock; [`AutoExtend`]: extends a lock while it is held; [`Lock::lost`].
//! * [`Redlock::lead`]: leader election.
//! * [`Redlock::acquire_permit`]: at most K holders at the same time, each with a number of its own.
//! * [`named`]: lock and unlock by name, for code that cannot carry a [`Lock`] along.
//! * [`Redlock::inspect`]: who holds a lock; [`Redlock::list`]: all locks that are held; [`Owner`]: a name for people;
//!   [`Lock::into_parts`], [`Redlock::resume`]: continue in another process.
//! * [`Redlock::check_nodes`]: problems of the nodes themselves.
//! * `blocking` (feature `blocking`): the same for code without async.
//! * [`LockNode`]: what a backend implements.
//! * [`backend`]: requests and answers of a node, and the code that the backends for Redis share: scripts, connections,
//!   URLs.
//! * [`testing`]: clocks and randomness, for tests that replace them.
//!
//! # Features
//!
//! None is enabled by default, and all are additive: `blocking`, locks for code without async; `serde`, for locks that
//! are transferred to another process ([`LockParts`]) and for error kinds as data; `bounded-registry`, named locks in
//! bounded memory; `metrics`, metrics of locks and nodes over the `metrics` facade (`Metrics`).
//!
//! # What is promised
//!
//! Two holders never rely on one lock at the same time, as long as clocks run at the same rate within the [`Drift`]
//! allowance and nodes keep their keys until they expire. This does not cover a process that is paused past its
//! validity, a node that restarts empty, or a node whose clock jumps: call [`Lock::check`] right before each side
//! effect. The page on [guarantees](guide::guarantees) has all of it.

// The rooms of this crate. Each folder is a room, and uses only the rooms below it. The first line of its `mod.rs`
// describes it.
//
// To follow one lock, begin with `Redlock::acquire` in `api/redlock/mod.rs`. It passes the call to the driver:
// `driver/acquire/mod.rs` decides when to send requests, and `driver/acquire/round.rs` is one round, with the numbered
// steps of https://redis.io/docs/latest/develop/clients/patterns/distributed-locks/. A round creates a lease, which is
// one token on all nodes (`driver/lease`). `driver/exchange.rs` sends its requests to the nodes and `driver/tally.rs`
// counts the answers; `algorithm` decides what they mean, as functions of plain values. A lease that was won becomes a
// `Held` of the driver and a `Lock` of the API. From then on `driver/lease/extend.rs` and `driver/lease/release.rs` are
// its steps.
//
// Two rooms are beside the driver. `queue` decides when it is this call's turn to send requests; it never decides who
// holds a lock. `backend` is the code with which the clients for Redis implement a node. The driver's requirements on a
// node are in `node`, and the results and events that callers and observers receive are in `report`.

pub mod guide;

#[cfg(feature = "blocking")]
pub mod blocking;

pub mod named;
mod inspect;
mod doctor;

mod api;

mod driver;

mod engine;
mod queue;
mod report;
pub mod backend;

mod node;

pub mod algorithm;
mod names;

/// Clocks and randomness, for tests and simulations that replace them.
pub mod testing {
    pub use crate::node::{Clock, Entropy, EntropyError, OsEntropy, SystemClock, TokioClock};
}

#[cfg(feature = "metrics")]
pub use self::report::Metrics;
pub use self::{
    algorithm::{
        AutoExtend, AutoExtendError, Drift, DriftError, FencingToken, Finding, NodeFinding, NodeFindingKind,
        NodeTimeout, Retry, RoundFailure, Severity, Ttl, TtlError,
    },
    api::{
        AcquireOptions, BuildError, Lock, OnLoss, Permit, Redlock, RedlockBuilder, Release, UsingError, UsingOptions,
    },
    backend::{FromEnvError, NodeUrlError},
    doctor::{InitializeError, NodesError, NodesReport},
    inspect::{Holder, InspectError, Inspection, KeyState, Listing, NodeKeyState, PermitsInspection},
    named::{NamedLocks, UnlockError},
    names::{Owner, OwnerError, Resource, ResourceError, Resources, SlotsError, Token},
    node::{LockNode, NodeError, NodeErrorKind},
    report::{
        AcquireError, Attempts, CloseError, DowngradeError, Ending, Event, ExtendError, LockLost, LockParts,
        LockPartsError, NodeAnswer, NodeOutcome, NodeRequest, NodeVote, NotAcquired, Observer, PermitsError,
        ReleaseError, ResumeError, Votes, WithinAsync,
    },
};

/// The example of the crate's README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
