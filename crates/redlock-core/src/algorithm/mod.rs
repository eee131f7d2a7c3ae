//! Redlock's rules as pure functions of plain values: no await, no clock, no randomness, no node.
//!
//! The driver uses them in this order: is the [`Ttl`] valid, how many nodes are a [`Quorum`], how did the [`Round`]
//! end, how much of the TTL does [`Drift`] leave as validity, and what does [`Retry`] say after a lost round.
//! [`Cause`], [`Asking`], [`Notified`] and [`Succession`] decide how waiters take turns. A held lock is extended as
//! [`AutoExtend`] says. An inspection of a lock results in a [`Finding`], and a [`Resumption`] decides whether this
//! process can resume a lock of another one. [`Fencing`] gives a lock that was won its [`FencingToken`].
//! [`NodeFinding`]s are the problems of the nodes themselves.

mod readable;
mod ttl;
mod quorum;
mod round;
mod drift;
mod node_timeout;
mod retry;
mod waiting;
mod slot_choice;
mod auto_extend;
mod finding;
mod resumption;
mod clock_watch;
mod fencing_token;
mod fencing;
mod node_facts;
mod node_finding;
mod node_account;

pub use self::{
    auto_extend::{AutoExtend, AutoExtendError, Schedule, Upkeep},
    clock_watch::{ClockWatch, Jump, Reading},
    drift::{Drift, DriftError},
    fencing::{Fence, Fencing, Raised},
    fencing_token::FencingToken,
    finding::{Finding, KeyView},
    node_account::{NodeAccount, NodeUse},
    node_facts::{ClockReading, ClusterFacts, NodeFacts, NodeRole, ScriptFailure, ServerVersion},
    node_finding::{NodeFinding, NodeFindingKind, Severity},
    node_timeout::NodeTimeout,
    quorum::Quorum,
    resumption::{Resumed, Resumption, TokenView},
    retry::{Next, Retry, Stop},
    round::{Decision, Round, RoundFailure, Vote},
    ttl::{Ttl, TtlError},
    waiting::{Asking, Cause, Notified, Succession},
};
pub(crate) use self::{
    readable::Readable,
    slot_choice::{NodeSlots, SlotRange},
};
pub use crate::names::hash_slot;
