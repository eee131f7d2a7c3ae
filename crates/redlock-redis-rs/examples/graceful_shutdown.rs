//! A queue consumer that shuts down gracefully: on SIGTERM it finishes its current item and releases the lock.
//!
//! Usage:
//!
//! ```text
//! export REDLOCK_NODES=redis://10.0.0.1,redis://10.0.0.2,redis://10.0.0.3
//! cargo run -p redlock-redis-rs --example graceful_shutdown
//! ```
//!
//! Queues sometimes deliver an item twice, even to two consumers, so each item is processed under its own lock.
//! Whatever stops a consumer must leave it as much time as an item takes, and some seconds more.

use std::time::Duration;

use anyhow::{Context as _, Result};
use redlock_core::{Lock, LockLost, Redlock, UsingError};
use redlock_redis_rs::RedisNode;
use tokio::{
    select,
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    time::sleep,
};

/// How long a consumer that dies keeps its item from the others. While it is alive, the lock is extended.
const TTL: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() -> Result<()> {
    tracing_subscriber::fmt().init();
    let redlock = Redlock::new(RedisNode::from_env()?)?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut queue = queue();

    loop {
        // Signals are handled only here, so an order that is begun is also finished.
        let order = select! {
            biased;
            _ = terminate.recv() => break,
            order = queue.recv() => order.context("the queue has ended")?,
        };
        let shipped = redlock.using(format!("order:{order}"), TTL, async |lock| Ok(ship(order, lock).await?)).await;
        match shipped {
            Ok(()) => tracing::info!(order, "shipped"), // here: acknowledge it
            Err(UsingError::Acquire(error)) if error.is_contended() => tracing::info!(order, "another ships it"),
            // Here: leave it unacknowledged, so that it is delivered again.
            Err(UsingError::Lost(loss)) => tracing::warn!(order, %loss, "not known to be shipped"),
            Err(error) => tracing::error!(order, %error, "not shipped"),
        }
    }
    tracing::info!("takes no more orders");
    redlock.close().await?;
    Ok(())
}

/// Simulates the work, which takes its time.
async fn ship(order: u64, lock: &Lock) -> Result<(), LockLost> {
    // Here, under the lock: look up in the database whether it is shipped already.
    tracing::info!(order, "is being packed");
    sleep(Duration::from_secs(2)).await;
    lock.check()?; // right before the side effect: is it still ours?
    tracing::info!(order, "is handed to the carrier");
    Ok(())
}

/// Simulates a queue that always has one more order.
fn queue() -> mpsc::Receiver<u64> {
    let (orders, queue) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut order = 0;
        while orders.send(order).await.is_ok() {
            order += 1;
        }
    });
    queue
}
