//! The conformance tests: one list of scenarios, run for one backend at a time.

use anyhow::Result;
use clap::ValueEnum;

use crate::{
    command::{cargo, run},
    report::Tally,
    servers::Environment,
    workspace::Workspace,
};

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

/// Runs one column of the matrix.
pub(crate) fn test(workspace: &Workspace, backend: Backend, servers: &Environment) -> Result<Tally> {
    let filter = format!("{}::", backend.name());
    let mut command = cargo(workspace);
    command.args(["test", "--workspace", "--all-features", "--test", TARGET, "--", &filter]).envs(servers.iter());
    run(&mut command)
}
