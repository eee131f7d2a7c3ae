//! The processes that a bench starts: they run pairs for a meter, or a share of the contention.

use std::{
    process,
    sync::atomic::{AtomicUsize, Ordering},
};

use anyhow::{Context, Result, anyhow};
use clap::{Args, Subcommand};
use redlock_core::Redlock;
use redlock_mock::MockNode;
use serde::{Deserialize, Serialize};
use tokio::runtime::Builder;

use crate::{
    clock,
    contender::{Who, with_library},
    contention::{self, Part},
    library::{Library, TTL},
};

#[derive(Debug, Args)]
pub(crate) struct ChildArgs {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// A number of pairs on one thread.
    Pairs {
        #[command(flatten)]
        who: Who,
        #[arg(long)]
        count: usize,
    },
    /// Tasks that contend for one name with those of other processes.
    Contend {
        #[command(flatten)]
        who: Who,
        #[command(flatten)]
        part: Part,
    },
    /// A number of pairs on one thread over nodes in memory.
    Core {
        #[arg(long)]
        nodes: usize,
        #[arg(long)]
        count: usize,
    },
}

/// The report of a child about its pairs.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Used {
    pub(crate) cpu_nanos: u64,
}

/// Runs a child from start to end.
pub(crate) fn run(args: &ChildArgs) -> Result<()> {
    match &args.task {
        Task::Pairs { who, count } => {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async { with_library!(who.kind, L => pairs::<L>(who, *count).await) })?;
        }
        Task::Contend { who, part } => {
            // Like a program with defaults: a worker for each CPU.
            let runtime = Builder::new_multi_thread().enable_all().build()?;
            return runtime.block_on(contention::child(who, part));
        }
        Task::Core { nodes, count } => {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(core(*nodes, *count))?;
        }
    }
    println!("{}", serde_json::to_string(&Used { cpu_nanos: u64::try_from(clock::cpu_time().as_nanos())? })?);
    Ok(())
}

async fn pairs<L: Library>(who: &Who, count: usize) -> Result<()> {
    let library = L::open(&who.url, who.tuning).await?;
    for name in names().iter().cycle().take(count) {
        library.pair(name).await.map_err(|error| anyhow!(error)).context("a pair failed")?;
    }
    library.settle().await;
    Ok(())
}

async fn core(nodes: usize, count: usize) -> Result<()> {
    let redlock = Redlock::new(MockNode::fleet(nodes))?;
    for name in names().iter().cycle().take(count) {
        let _ = redlock.acquire(name.as_str(), TTL).await?.release().await?;
    }
    redlock.close().await?;
    Ok(())
}

/// Returns a few names to use in turn, so that no pair has to wait for the late nodes of the one before. The names are
/// new each time, so that no leftover key is in the way.
pub(crate) fn names() -> [String; 8] {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let slice = NEXT.fetch_add(1, Ordering::Relaxed);
    std::array::from_fn(|index| format!("pair:{}:{slice}:{index}", process::id()))
}
