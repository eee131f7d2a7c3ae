//! What must never happen, by the oracle that looks for it.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

/// One of the judges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Oracle {
    /// Two processes never believe in one lock at the same time.
    MutualExclusion,
    /// After the last TTL no key is left, and nothing of a token on a node that has released it.
    NoResidue,
    /// With a healthy majority an uncontended acquire succeeds in the first round, a contended one in the end.
    Progress,
    /// What the library says is what the fleet knows.
    Honesty,
    /// No call, task or message outlives its bound.
    BoundedWork,
    /// Every fencing token is greater than all that were known before its call began, and nobody else's.
    Fencing,
    /// Who waits sleeps past no release, and few are served before it.
    Waiting,
    /// No key stays on a node that answers for longer than 2 s after its token was released or dropped.
    Orphans,
}

impl Oracle {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::MutualExclusion,
        Self::NoResidue,
        Self::Progress,
        Self::Honesty,
        Self::BoundedWork,
        Self::Fencing,
        Self::Waiting,
        Self::Orphans,
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
        })
    }
}

/// Something that must never happen, and did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Who found it.
    pub oracle: Oracle,
    /// When it was found, in true time since the start of the fleet.
    pub at: Duration,
    /// What happened.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {:?}: {}", self.oracle, self.at, self.what)
    }
}
