//! One problem of a node: what it is, how severe it is, and how to fix it.

mod check;

use std::{fmt, time::Duration};

/// How bad a [`NodeFinding`] is; worse ones are greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth knowing.
    Notice,
    /// Locks may be lost when something else goes wrong, too: a restart, or full memory.
    Warning,
    /// The fleet is not what it seems to be: a node's vote is missing, or counts for something else.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// The kinds of findings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum NodeFindingKind {
    /// Several nodes are one server.
    SameServer,
    /// Several nodes are members of one Redis Cluster.
    SameCluster,
    /// The node did not answer, or answered with an error.
    Unavailable,
    /// The node is a replica, or a Sentinel.
    NoPrimary,
    /// The node does not accept writes now.
    WritesStopped,
    /// The node does not run scripts.
    NoScripts,
    /// The node is one member of a Redis Cluster, and the client is not for clusters.
    ClusterMember,
    /// The node may delete locks when its memory is full.
    Evicts,
    /// The node forgets locks when it restarts: all of them, or the newest.
    Forgets,
    /// The nodes' clocks are apart.
    ClocksApart,
    /// The node's clock has jumped.
    ClockJumped,
    /// The server is older than those that were tested.
    OldServer,
    /// The node is a Redis Cluster.
    Cluster,
    /// The node has replicas, one of which may take its place.
    HasReplicas,
    /// The fleet tolerates no failure, or no more than a smaller one.
    FewNodes,
    /// Something about the node is unknown.
    Unknown,
}

/// A problem of the nodes, or a possible one, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeFinding {
    /// How bad it is.
    pub severity: Severity,
    /// The kind of problem.
    pub kind: NodeFindingKind,
    /// The names of the affected nodes, in the order in which the nodes were passed.
    pub nodes: Vec<String>,
    /// The problem, and its consequences.
    pub cause: String,
    /// The advice on what to do about it.
    pub cure: String,
}

impl fmt::Display for NodeFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { severity, nodes, cause, cure, .. } = self;
        write!(f, "{severity}: {}: {cause}", nodes.join(", "))?;
        if cure.is_empty() { Ok(()) } else { write!(f, "\n  {cure}") }
    }
}

impl NodeFinding {
    /// How far clocks of nodes may be apart before that is reported: 1 s.
    ///
    /// Locks do not need clocks that agree: each node measures its keys' expiry by its own clock, from when they were
    /// set. But nobody maintains a clock that is that far off, and when it is corrected it jumps; then keys expire
    /// early.
    pub const CLOCKS_APART: Duration = Duration::from_secs(1);
}
