//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

use crate::child::ChildArgs;

/// Measure this library, rslock, redlock and the bare commands side by side, on real servers that the bench starts.
///
/// The contenders take turns in rounds, in another order each round. Figures are medians over the rounds. Ratios are
/// computed within each round, and their median is shown. Other work on the machine changes figures by tens of percent,
/// and ratios by much less.
///
/// Prints a table, and writes a report with plots to `report.html` and every number to `results.json`.
#[derive(Debug, Parser)]
#[command(name = "redlock-bench", bin_name = "cargo xtask bench")]
pub(crate) struct Args {
    /// Run fewer and shorter rounds: about two minutes instead of twelve. Good for a first look.
    #[arg(long)]
    pub(crate) quick: bool,

    /// Run only these workloads, for example `W1,W3`.
    #[arg(long, value_enum, value_delimiter = ',', ignore_case = true, value_name = "W")]
    pub(crate) only: Vec<Workload>,

    /// Only count the instructions of the core, over nodes in memory, several times. Needs valgrind.
    #[arg(long)]
    pub(crate) instructions: bool,

    /// List the workloads, and exit.
    #[arg(long)]
    pub(crate) list: bool,

    /// The folder for `report.html` and `results.json`.
    #[arg(long, value_name = "FOLDER", default_value = "target/bench")]
    pub(crate) out: PathBuf,

    #[command(subcommand)]
    pub(crate) role: Option<Role>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Role {
    /// A process that a bench starts.
    #[command(hide = true)]
    Child(ChildArgs),
}

/// The workloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Workload {
    /// A lock that nobody else wants: one task, 1, 3 and 5 nodes.
    #[value(name = "W1")]
    Pairs,
    /// 64 tasks, each with its own name.
    #[value(name = "W2")]
    Throughput,
    /// 16 tasks that want one lock: one instance, 16 instances, 4 processes.
    #[value(name = "W3")]
    Contention,
    /// One node of three is hung.
    #[value(name = "W4")]
    Hung,
    /// One node of three is dead.
    #[value(name = "W5")]
    Dead,
    /// What an acquire and a release cost the client: CPU time, instructions, allocations, system calls.
    #[value(name = "W6")]
    Cost,
    /// A counter under the lock: is the count exact?
    #[value(name = "W7")]
    Count,
    /// 10,000 locks that are held and extended.
    #[value(name = "W8")]
    Kept,
    /// With and without a fencing token.
    #[value(name = "W9")]
    Fencing,
    /// 1 to 9 nodes.
    #[value(name = "W10")]
    Nodes,
    /// A permit compared with a lock, and 64 tasks that share 16 permits.
    #[value(name = "W11")]
    Permits,
    /// Shared locks compared with exclusive ones; 16 readers and 2 writers.
    #[value(name = "W12")]
    Shared,
}
