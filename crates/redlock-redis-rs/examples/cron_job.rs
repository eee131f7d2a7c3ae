//! A job that several hosts start at the same minute, and only one of them runs.
//!
//! Usage, in the crontab of each host:
//!
//! ```text
//! REDLOCK_NODES=redis://10.0.0.1,redis://10.0.0.2,redis://10.0.0.3
//! * * * * * /usr/local/bin/cron_job
//! ```
//!
//! It exits with 0 and no output if another host has the job; with 1 and the reason if the job failed, its lock was
//! lost, or too few nodes answered. `AT_LEAST` is the minimum number of seconds for which the job stays locked.

use std::{env, process::ExitCode, time::Duration};

use anyhow::{Context as _, Result};
use redlock_core::{AcquireOptions, Lock, Redlock, UsingError};
use redlock_redis_rs::RedisNode;
use tokio::time::sleep;

/// How long a host that dies in the middle of the job keeps it from the others. While it is alive, the lock is
/// extended.
const TTL: Duration = Duration::from_secs(30);
/// How long to retry: hosts that try at the very same moment may each get some of the nodes, and none of them enough.
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
        // The clocks of hosts differ: a host that reaches this minute a little later must still find the job locked.
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

/// Simulates the job.
async fn job(lock: &Lock) -> Result<()> {
    sleep(Duration::from_secs(1)).await;
    lock.check()?; // right before the side effect: is it still ours?
    tracing::info!("the report is written");
    Ok(())
}
