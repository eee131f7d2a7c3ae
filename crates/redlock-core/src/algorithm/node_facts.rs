//! The facts that one node reports about itself.

use std::{collections::BTreeSet, fmt, time::Duration};

/// The facts that a node reports about itself. A field that it does not report, or may not, is `None` and named in
/// `untold`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct NodeFacts {
    /// The random name that the server gave itself when it started.
    pub run_id: Option<String>,
    /// The server, and its version.
    pub version: Option<ServerVersion>,
    /// Whether it is a primary or a replica.
    pub role: Option<NodeRole>,
    /// The Redis Cluster that it is a member of, if it is of one.
    pub cluster: Option<ClusterFacts>,
    /// The memory that it may use, in bytes; 0 is no bound.
    pub maxmemory: Option<u64>,
    /// The policy when that is used up, for example `noeviction`.
    pub maxmemory_policy: Option<String>,
    /// Whether it writes an append-only file.
    pub append_only: Option<bool>,
    /// How it syncs that file: `always`, `everysec` or `no`.
    pub append_sync: Option<String>,
    /// Whether it writes snapshots by itself.
    pub snapshots: Option<bool>,
    /// The reason why it accepts no writes now, if it reports one.
    pub writes_stopped: Option<String>,
    /// The time on its clock, and when it was read.
    pub clock: Option<ClockReading>,
    /// Why it did not run a script on a key that nobody uses; `None` if it ran.
    pub no_script: Option<ScriptFailure>,
    /// The commands that it did not answer, for example `CONFIG GET`.
    pub untold: BTreeSet<&'static str>,
}

/// A server, and its version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ServerVersion {
    /// Redis, or a server that identifies itself as Redis: major, minor and patch.
    Redis(u32, u32, u32),
    /// Valkey: major, minor and patch.
    Valkey(u32, u32, u32),
}

impl ServerVersion {
    /// Returns whether locks are not tested on this version: they are tested on Redis since 6.2 and on Valkey since
    /// 7.2.
    #[must_use]
    pub fn is_too_old(self) -> bool {
        match self {
            Self::Redis(major, minor, _) => (major, minor) < (6, 2),
            Self::Valkey(major, minor, _) => (major, minor) < (7, 2),
        }
    }
}

impl fmt::Display for ServerVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Redis(major, minor, patch) => write!(f, "Redis {major}.{minor}.{patch}"),
            Self::Valkey(major, minor, patch) => write!(f, "Valkey {major}.{minor}.{patch}"),
        }
    }
}

/// The role of a server among others.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum NodeRole {
    /// It accepts writes.
    Primary {
        /// The number of connected replicas.
        replicas: u64,
    },
    /// It copies another server, and accepts no writes of its own.
    Replica {
        /// The primary's address, if it is known.
        of: Option<String>,
        /// Whether it is connected to it.
        linked: bool,
    },
    /// It is not a node at all: a Sentinel monitors nodes.
    Sentinel,
}

/// The Redis Cluster that a server is a member of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ClusterFacts {
    /// The IDs of all members that the server knows; empty if it did not report them.
    pub members: BTreeSet<String>,
    /// The number of members that have hash slots.
    pub owners: usize,
    /// Whether it is reached by a client for clusters, which finds the member for each key.
    pub reached_as_cluster: bool,
}

impl ClusterFacts {
    /// Returns a cluster of these members, of which `owners` have hash slots.
    #[must_use]
    pub fn new(members: impl IntoIterator<Item = String>, owners: usize) -> Self {
        Self { members: members.into_iter().collect(), owners, reached_as_cluster: false }
    }
}

/// The time of a node's clock during a request: at some time between `sent` and `answered`. Both are on the caller's
/// clock and count from when it began to query all nodes:
/// [`DescribeRequest::asked`](crate::backend::DescribeRequest::asked).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClockReading {
    /// The time since the start of 1970.
    pub reads: Duration,
    /// When the request was sent.
    pub sent: Duration,
    /// When the node had answered.
    pub answered: Duration,
}

impl ClockReading {
    /// Returns a reading of the node's clock, at some time between `sent` and `answered`.
    #[must_use]
    pub fn new(reads: Duration, sent: Duration, answered: Duration) -> Self {
        Self { reads, sent, answered }
    }

    /// Returns how far the node's clock is ahead of the caller's: at least, and at most, in nanoseconds.
    pub(super) fn ahead(&self) -> (i128, i128) {
        let nanos = |duration: Duration| i128::try_from(duration.as_nanos()).unwrap_or(i128::MAX);
        (nanos(self.reads) - nanos(self.answered), nanos(self.reads) - nanos(self.sent))
    }
}

/// Why a node did not run a script.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScriptFailure {
    /// Whether the user may run it, but not on the key that was tried: it says nothing about the keys of locks.
    pub only_this_key: bool,
    /// The key that was tried.
    pub key: String,
    /// The node's answer.
    pub answer: String,
    /// The advice on what to do about it, if anything is known.
    pub advice: Option<&'static str>,
}

impl ScriptFailure {
    /// Returns the failure of a script on this key, with the node's answer.
    #[must_use]
    pub fn new(key: impl Into<String>, answer: impl Into<String>) -> Self {
        Self { only_this_key: false, key: key.into(), answer: answer.into(), advice: None }
    }
}
