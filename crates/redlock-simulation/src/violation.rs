//! The invariant checkers, and the violations that they find.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

/// The invariant checkers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Oracle {
    /// Two processes never believe in one lock at the same time.
    MutualExclusion,
    /// After the last TTL no key is left, and no key of a token remains on a node that has released it.
    NoResidue,
    /// With a healthy majority, an acquire without competition succeeds in the first round, and any other one in the
    /// end.
    Progress,
    /// The library reports what the fleet knows.
    Honesty,
    /// No call, task or message outlives its bound.
    BoundedWork,
    /// Every fencing token is greater than all that were known before its call began, and belongs to one lock only.
    Fencing,
    /// No waiter misses a release, and few callers are served before it.
    Waiting,
    /// No key stays on a node that answers for longer than 2 s after its token was released or dropped.
    Orphans,
    /// There are never more holders than permits, and never two of one slot.
    Permits,
}

impl Oracle {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::MutualExclusion,
        Self::NoResidue,
        Self::Progress,
        Self::Honesty,
        Self::BoundedWork,
        Self::Fencing,
        Self::Waiting,
        Self::Orphans,
        Self::Permits,
    ];
}

impl fmt::Display for Oracle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MutualExclusion => "mutual exclusion",
            Self::NoResidue => "no residue",
            Self::Progress => "progress",
            Self::Honesty => "honesty",
            Self::BoundedWork => "bounded work",
            Self::Fencing => "fencing",
            Self::Waiting => "waiting",
            Self::Orphans => "no orphans",
            Self::Permits => "permits",
        })
    }
}

/// Something that happened although it must never happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The checker that found it.
    pub oracle: Oracle,
    /// When it was found, in true time since the start of the fleet.
    pub at: Duration,
    /// A description of what happened.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {:?}: {}", self.oracle, self.at, self.what)
    }
}
