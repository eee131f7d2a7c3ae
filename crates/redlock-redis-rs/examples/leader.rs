//! One of several workers leads: it works while it holds the lock, stops when the lock is lost, and tries again.
//!
//! Usage, on each host:
//!
//! ```text
//! export REDLOCK_NODES=redis://10.0.0.1,redis://10.0.0.2,redis://10.0.0.3
//! cargo run -p redlock-redis-rs --example leader
//! ```
//!
//! On SIGTERM, a leader stops at its next `await` and releases the lock, and another worker leads at once. If it dies
//! instead, another worker leads a TTL later.

use std::{ops::ControlFlow, time::Duration};

use anyhow::Result;
use redlock_core::Redlock;
use redlock_redis_rs::RedisNode;
use tokio::{
    select,
    signal::unix::{SignalKind, signal},
    time::sleep,
};

/// How long there is no leader after a leader has died.
const TTL: Duration = Duration::from_secs(6);

#[tokio::main]
async fn main() -> Result<()> {
    tracing_subscriber::fmt().init();
    let redlock = Redlock::new(RedisNode::from_env()?)?;
    let mut terminate = signal(SignalKind::terminate())?;

    let leads = redlock.lead("leader", TTL, async |lock| -> ControlFlow<()> {
        while let Ok(validity) = lock.check() {
            tracing::info!(?validity, "step");
            sleep(Duration::from_millis(500)).await;
        }
        ControlFlow::Continue(())
    });
    select! {
        stopped = leads => stopped?,
        _ = terminate.recv() => {}
    }
    redlock.close().await?; // waits until the lock is released
    Ok(())
}
