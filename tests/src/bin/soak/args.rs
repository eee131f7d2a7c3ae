//! The command line of the soak.

use std::{path::PathBuf, time::Duration};

use clap::{Parser, Subcommand};
use redlock_tests::backend::Backend;

/// Many processes acquire locks on real servers while nodes are hung, killed, restarted and cut off, and processes are
/// paused and killed. Each process logs what it holds and until when. Two holds of one resource must never overlap.
///
/// The run ends with a summary and a picture. It stays within the assumptions of the guarantee: servers write each
/// grant to disk before they answer, so that a restarted one still has it.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask soak", bin_name = "cargo xtask soak", version, after_help = EXAMPLES)]
#[command(args_conflicts_with_subcommands = true, args_override_self = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) role: Option<Role>,

    /// How long it runs; fractions are allowed.
    #[arg(long, value_name = "MINUTES", default_value = "1", value_parser = minutes)]
    minutes: f64,

    /// The number of servers.
    #[arg(long, value_name = "NUMBER", default_value_t = 5, value_parser = clap::value_parser!(u8).range(3..=9))]
    nodes: u8,

    /// Determines which faults happen to which node or process, in which order, and what the processes lock: the same
    /// seed, the same plan. The timing of real servers and processes still varies. Default: a new one each time; it is
    /// printed.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) seed: Option<u64>,

    /// The number of processes that acquire locks; every other one uses redis-rs, the rest fred.
    #[arg(long, value_name = "NUMBER", default_value_t = 8, value_parser = clap::value_parser!(u8).range(2..=64))]
    processes: u8,

    /// The number of tasks in each process that acquire locks.
    #[arg(long, value_name = "NUMBER", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=32))]
    tasks: u8,

    /// The number of resources for which they contend.
    #[arg(long, value_name = "NUMBER", default_value_t = 6, value_parser = clap::value_parser!(u8).range(1..=32))]
    resources: u8,

    /// Show that the judge finds violations: servers restart without their keys, several at a time. That is beyond what
    /// Redlock tolerates, and two processes will hold one lock.
    #[arg(long)]
    pub(crate) without_memory: bool,

    /// One node after the other hangs or is cut off, for 1 to 8 s, and nothing else fails. A majority always responds,
    /// so that a free lock can always be acquired.
    #[arg(long, conflicts_with = "without_memory")]
    pub(crate) rolling: bool,

    /// The longest TTL of a lock, in seconds. From 2 s on, no TTL is below 1 s: a key that nobody owns is then noticed.
    #[arg(long, value_name = "SECONDS", default_value = "1.2", value_parser = ttl)]
    longest_ttl: f64,

    /// Fail if a lock was free and wanted for longer than this, in seconds, and not acquired, while a majority
    /// responded.
    #[arg(long, value_name = "SECONDS", value_parser = ttl)]
    idle_limit: Option<f64>,

    /// The folder for the picture and the log.
    #[arg(long, value_name = "FOLDER", default_value = "target/soak")]
    pub(crate) out: PathBuf,
}

/// The other role in which this program can be started.
#[derive(Debug, Subcommand)]
pub(crate) enum Role {
    /// One of the processes that acquire locks; the soak starts them.
    #[command(hide = true)]
    Worker(WorkerArgs),
}

/// The arguments of a worker.
#[derive(Debug, clap::Args)]
pub(crate) struct WorkerArgs {
    #[arg(long)]
    pub(crate) number: usize,
    #[arg(long, value_delimiter = ',')]
    pub(crate) urls: Vec<String>,
    #[arg(long)]
    pub(crate) tasks: usize,
    #[arg(long)]
    pub(crate) resources: usize,
    #[arg(long)]
    pub(crate) seed: u64,
    #[arg(long)]
    pub(crate) longest_ttl_ms: u64,
    /// The soak's process ID: a worker does not outlive it.
    #[arg(long)]
    pub(crate) parent: u32,
}

const EXAMPLES: &str = "\
Examples:
  cargo xtask soak                              one minute on five servers
  cargo xtask soak --minutes 60 --nodes 7
  cargo xtask soak --minutes 0.5 --seed 42      the same plan of faults again
  cargo xtask soak --minutes 10 --nodes 3 --rolling --longest-ttl 60 --idle-limit 1.5
                                                is every lock released, whichever node is away?
  cargo xtask soak --without-memory             what it looks like when locks fail

The picture is target/soak/timeline.svg, the log beside it is log.txt. The servers come from where the tests have
theirs: see `cargo xtask test-all --help`.

Exit codes:
  0 no two holds overlapped    1 some did, a lock was idle for too long, or too little happened to decide
  2 bad input    130 interrupted";

impl Args {
    pub(crate) fn lasts(&self) -> Duration {
        Duration::from_secs_f64(self.minutes * 60.0)
    }

    pub(crate) fn longest_ttl(&self) -> Duration {
        Duration::from_secs_f64(self.longest_ttl)
    }

    pub(crate) fn idle_limit(&self) -> Option<Duration> {
        self.idle_limit.map(Duration::from_secs_f64)
    }

    pub(crate) fn nodes(&self) -> usize {
        self.nodes.into()
    }

    pub(crate) fn processes(&self) -> usize {
        self.processes.into()
    }

    pub(crate) fn tasks(&self) -> usize {
        self.tasks.into()
    }

    pub(crate) fn resources(&self) -> usize {
        self.resources.into()
    }
}

fn minutes(text: &str) -> Result<f64, String> {
    let minutes: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    // A week, so that no sum of times overflows.
    if (0.05..=10_080.0).contains(&minutes) { Ok(minutes) } else { Err("use 0.05 to 10080".to_owned()) }
}

fn ttl(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.2..=3_600.0).contains(&seconds) { Ok(seconds) } else { Err("use 0.2 to 3600".to_owned()) }
}

/// Returns the client that a process uses: they alternate.
pub(crate) fn backend_of(process: usize) -> Backend {
    if process.is_multiple_of(2) { Backend::RedisRs } else { Backend::Fred }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, error::ErrorKind};

    use super::*;

    fn parse(args: &[&str]) -> Result<Args, ErrorKind> {
        Args::try_parse_from(["soak"].iter().chain(args)).map_err(|error| error.kind())
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Args::command().debug_assert();
    }

    #[test]
    fn fractions_of_minutes_are_allowed() {
        assert_eq!(parse(&["--minutes", "0.5"]).unwrap().lasts(), Duration::from_secs(30));
        assert_eq!(parse(&[]).unwrap().lasts(), Duration::from_secs(60));
    }

    #[test]
    fn invalid_numbers_are_rejected() {
        for bad in [["--minutes", "0"], ["--minutes", "nan"], ["--minutes", "1e9"], ["--nodes", "2"]] {
            assert_eq!(parse(&bad).unwrap_err(), ErrorKind::ValueValidation, "{bad:?}");
        }
    }
}
