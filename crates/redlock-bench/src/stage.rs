//! The servers of a run, and what they report about themselves.

use anyhow::{Context, Result};
use redlock_tests::servers::{Server, ServerOptions, Servers};

use crate::monitor::Monitor;

/// The greatest number of nodes of any workload.
pub(crate) const MOST: usize = 9;

/// Servers that run until the run ends.
pub(crate) struct Stage {
    pub(crate) description: String,
    pub(crate) can_fail: bool,
    servers: Vec<Server>,
}

impl Stage {
    /// Starts as many servers as the workloads need, without persistence.
    pub(crate) async fn set(count: usize) -> Result<Self> {
        let from = Servers::from_env().await?;
        let servers = from.start(count, &ServerOptions::new()).await?;
        Ok(Self { description: from.describe(), can_fail: from.can_fail(), servers })
    }

    pub(crate) fn servers(&self, count: usize) -> Result<&[Server]> {
        self.servers.get(..count).with_context(|| format!("there are no {count} servers"))
    }

    pub(crate) fn urls(&self, count: usize) -> Result<Vec<String>> {
        Ok(self.servers(count)?.iter().map(Server::url).collect())
    }

    /// Returns the name and version that the first server reports: `redis 7.0.15`.
    pub(crate) async fn version(&self) -> Result<String> {
        let server = self.servers(1)?.first().context("no server")?;
        let info = server.command(&["INFO", "server"]).await?.text().unwrap_or_default();
        let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        Ok(match (field("valkey_version:"), field("redis_version:")) {
            (Some(version), _) => format!("valkey {version}"),
            (None, Some(version)) => format!("redis {version}"),
            (None, None) => "unknown".to_owned(),
        })
    }

    /// Returns how many commands the first `count` servers have executed, including those within scripts.
    pub(crate) async fn commands(&self, count: usize) -> Result<u64> {
        let mut sum = 0;
        for server in self.servers(count)? {
            let info = server.command(&["INFO", "stats"]).await?.text().unwrap_or_default();
            let field = info.lines().find_map(|line| line.strip_prefix("total_commands_processed:"));
            sum += field.context("INFO contains no total_commands_processed")?.trim().parse::<u64>()?;
        }
        Ok(sum)
    }

    /// Monitors the first `count` servers.
    pub(crate) async fn monitor(&self, count: usize) -> Result<Vec<Monitor>> {
        let mut monitors = Vec::new();
        for server in self.servers(count)? {
            monitors.push(Monitor::begin(server.host(), server.port()).await?);
        }
        Ok(monitors)
    }
}
