//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

use crate::child::ChildArgs;

/// Measure this library, rslock, redlock and the bare commands side by side, on real servers that are started for it.
///
/// Contenders take turns in rounds, each round in another order. Quoted is the median over the rounds; ratios are taken
/// within a round, and of them the median. A machine with anything else to do changes figures by tens of percent, and
/// ratios by much less.
///
/// A table goes to standard output, a report with plots to `report.html` and every number to `results.json`.
#[derive(Debug, Parser)]
#[command(name = "redlock-bench", bin_name = "cargo xtask bench")]
pub(crate) struct Args {
    /// Fewer and shorter rounds: some two minutes instead of eleven. Good for a first look.
    #[arg(long)]
    pub(crate) quick: bool,

    /// Only these workloads, as `W1,W3`.
    #[arg(long, value_enum, value_delimiter = ',', ignore_case = true, value_name = "W")]
    pub(crate) only: Vec<Workload>,

    /// Count the instructions of the core alone, over nodes in memory, several times; and end. Needs valgrind.
    #[arg(long)]
    pub(crate) instructions: bool,

    /// Tell what the workloads are, and end.
    #[arg(long)]
    pub(crate) list: bool,

    /// Where `report.html` and `results.json` go.
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

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Workload {
    /// A lock that nobody else wants: one task, 1, 3 and 5 nodes.
    #[value(name = "W1")]
    Pairs,
    /// 64 tasks, each with a name of its own.
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
    /// What a pair costs the client: CPU time, instructions, allocations, system calls.
    #[value(name = "W6")]
    Cost,
    /// A counter under the lock: is the count exact?
    #[value(name = "W7")]
    Count,
    /// 10,000 locks that are held and extended.
    #[value(name = "W8")]
    Kept,
    /// With a fencing token and without.
    #[value(name = "W9")]
    Fencing,
    /// 1 to 9 nodes.
    #[value(name = "W10")]
    Nodes,
    /// Shared locks beside exclusive ones; 16 readers and 2 writers.
    #[value(name = "W11")]
    Shared,
}
