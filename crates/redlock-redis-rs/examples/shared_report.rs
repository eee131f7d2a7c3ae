//! A report that many may read at the same time and one may rewrite: readers share the lock, a rewrite has it alone.
//!
//! Usage, on any number of hosts that share a file system:
//!
//! ```text
//! export REDLOCK_NODES=redis://10.0.0.1,redis://10.0.0.2,redis://10.0.0.3
//! REPORT=report.txt REWRITE=1 cargo run -p redlock-redis-rs --example shared_report
//! REPORT=report.txt cargo run -p redlock-redis-rs --example shared_report
//! ```
//!
//! With `REWRITE=1` it rewrites the report, and then reads it back together with other readers: no other rewrite comes
//! in between.

#![expect(clippy::print_stdout, reason = "it shows what it reads")]

use std::{env, fs, path::Path, time::Duration};

use anyhow::{Context as _, Result};
use redlock_core::{AcquireOptions, AutoExtend, Lock, Redlock};
use redlock_redis_rs::RedisNode;
use tokio::time::sleep;

const TTL: Duration = Duration::from_secs(6);

#[tokio::main]
async fn main() -> Result<()> {
    let redlock = Redlock::new(RedisNode::from_env()?)?;
    let report = env::var("REPORT").context("REPORT is not set: name a file")?;
    let options = AcquireOptions::new(TTL).timeout(Duration::from_secs(30)).auto_extend(AutoExtend::default());

    let lock = match env::var_os("REWRITE") {
        Some(_) => {
            let mut lock = redlock.acquire("report", options).await?;
            rewrite(&lock, report.as_ref()).await?;
            lock.downgrade().await?; // from here on others may read, too
            lock
        }
        None => redlock.acquire_shared("report", options).await?,
    };
    print!("{}", fs::read_to_string(&report)?);
    println!("read {}", if lock.is_shared() { "with others" } else { "alone" });
    sleep(Duration::from_millis(500)).await; // reading takes a while
    let _ = lock.release().await?;
    redlock.close().await?;
    Ok(())
}

/// Writes the report in two steps. A reader in between would see half of it.
async fn rewrite(lock: &Lock, report: &Path) -> Result<()> {
    let number = std::process::id();
    lock.check()?;
    fs::write(report, format!("report {number}\n"))?;
    sleep(Duration::from_millis(300)).await;
    lock.check()?;
    fs::write(report, format!("report {number}\nend of {number}\n"))?;
    Ok(())
}
