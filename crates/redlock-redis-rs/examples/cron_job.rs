//! A job that several hosts start at the same minute, and one of them runs.
//!
//! Usage, in the crontab of each host:
//!
//! ```text
//! REDLOCK_NODES=redis://10.0.0.1,redis://10.0.0.2,redis://10.0.0.3
//! * * * * * /usr/local/bin/cron_job
//! ```
//!
//! It ends with 0 and without a word if another host has the job; with 1 and the reason if the job failed, its lock was
//! lost, or too few nodes answered. `AT_LEAST` sets for how many seconds the job stays taken at least.

use std::{env, process::ExitCode, time::Duration};

use anyhow::{Context as _, Result};
use redlock_core::{AcquireOptions, Lock, Redlock, UsingError};
use redlock_redis_rs::RedisNode;
use tokio::time::sleep;

/// A host that dies in the middle of the job keeps it from the others for so long. While it lives it is extended.
const TTL: Duration = Duration::from_secs(30);
/// Hosts that ask at the very same moment may each get some of the nodes, and none enough: so they ask for a while.
/// Shorter than `AT_LEAST`, or a second host would run the job after the first.
const TIES: Duration = Duration::from_secs(2);

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<()> {
    let at_least = env::var("AT_LEAST").map_or(Ok(50), |seconds| seconds.parse()).context("AT_LEAST in seconds")?;
    let redlock = Redlock::new(RedisNode::from_env()?)?;

    let options = AcquireOptions::new(TTL).timeout(TIES);
    let work = async |lock: &Lock| {
        // The clocks of hosts differ: whoever reaches this minute a little later must still find it taken.
        let (done, ()) = tokio::join!(job(lock), sleep(Duration::from_secs(at_least)));
        done
    };
    let outcome = redlock.using("report", options, work).await;
    redlock.close().await?;
    match outcome {
        Err(error) if is_contended(&error) => Ok(()), // another host has it
        done => done,
    }
}

fn is_contended(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(UsingError::Acquire(error)) if error.is_contended())
}

/// Stands for the job.
async fn job(lock: &Lock) -> Result<()> {
    sleep(Duration::from_secs(1)).await;
    lock.check()?; // right before the side effect: is it still ours?
    tracing::info!("the report is written");
    Ok(())
}
