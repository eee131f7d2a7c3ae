//! The code that all clients for Redis share: scripts, requests, connections and URLs. For authors of backends.
//!
//! A backend contains only what its client does differently: how it connects, how it runs a script, and what its errors
//! mean. Users depend on a backend.
//!
//! A backend implements [`RedisClient`], and its `RedisNode` is a [`Node`] of that client, so all backends have the
//! same names and signatures. For connections of its own, it implements [`Connect`] and holds a [`Connection`], or a
//! [`Cluster`] of them.

pub mod script;
mod node_url;
mod node;
mod connect;
mod attempt;
mod until_left;
mod connection;
mod in_flight;
mod cluster;
mod slot_map;
mod slot_answers;
mod sentinels;
mod call;
mod resolve;
mod describe;
mod facts;
mod listing;

pub use self::{
    call::{Answered, Call, Reply},
    cluster::Cluster,
    connect::{Connect, Failure},
    connection::Connection,
    node::{Node, RedisClient},
    node_url::{FromEnvError, NodeAddress, NodeUrl, NodeUrlError, UrlFeatures},
    resolve::resolve,
    sentinels::BehindSentinels,
};
pub use crate::{
    algorithm::NodeFacts,
    node::{
        AcquireAnswer, AcquireRequest, DescribeRequest, Enqueue, ExtendAnswer, ExtendRequest, FencingCounters,
        InspectAnswer, InspectRequest, ListAnswer, ListRequest, ListenRequest, OpenAnswer, OpenRequest, PermitSlots,
        RaiseAnswer, RaiseRequest, Reader, ReleaseAnswer, ReleaseRequest, RestartGuard, SlotHeld, Timed, WakeNext,
        WakeUps,
    },
};
