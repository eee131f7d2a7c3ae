//! The columns of the conformance tests: one list of scenarios, run for one backend at a time.

use clap::ValueEnum;

/// The name of the test target, which has a harness of its own.
pub(crate) const TARGET: &str = "conformance";

/// A column of the conformance matrix. A test is named `backend::scenario`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Backend {
    Mock,
    RedisRs,
    Fred,
    /// Nodes of several clients in one fleet.
    Mixed,
}

impl Backend {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Mock => "mock",
            Self::RedisRs => "redis-rs",
            Self::Fred => "fred",
            Self::Mixed => "mixed",
        }
    }

    pub(crate) fn needs_servers(self) -> bool {
        self != Self::Mock
    }
}
