//! Of several workers one leads: it works while it holds the lock, stands down when that is lost, and tries again.
//!
//! Usage, on each host:
//!
//! ```text
//! export REDLOCK_NODES=redis://10.0.0.1,redis://10.0.0.2,redis://10.0.0.3
//! cargo run -p redlock-examples --example leader
//! ```
//!
//! SIGTERM makes a leader end its present step and give the lock back: another leads at once. If it dies instead, another
//! leads a ttl later.

use std::{env, time::Duration};

use anyhow::{Context as _, Result};
use redlock_core::{AcquireOptions, AutoExtend, Lock, Redlock, Retry};
use redlock_redis_rs::RedisNode;
use tokio::{
    select,
    signal::unix::{SignalKind, signal},
    time::sleep,
};
use tokio_util::sync::CancellationToken;

/// How long nobody leads after a leader has died.
const TTL: Duration = Duration::from_secs(6);

#[tokio::main]
async fn main() -> Result<()> {
    tracing_subscriber::fmt().init();
    let nodes = env::var("REDLOCK_NODES").context("set REDLOCK_NODES to the URLs of the nodes, comma separated")?;
    let redlock = Redlock::new(RedisNode::open_all(nodes.split(','))?)?;

    let stop = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let told = stop.clone();
    tokio::spawn(async move {
        terminate.recv().await;
        told.cancel();
    });

    // Asks ever more seldom, up to every two seconds; who waits is woken when the leader gives the lock back.
    let patient = Retry::until(Duration::from_secs(30)).exponential(Duration::from_millis(100), Duration::from_secs(2));
    // By default a lock is kept for an hour at most.
    let for_ever = AutoExtend::default().max_lifetime(Duration::MAX);
    let options = AcquireOptions::new(TTL).retry(patient).auto_extend(for_ever);

    while !stop.is_cancelled() {
        let acquired = select! {
            () = stop.cancelled() => break,
            acquired = redlock.acquire("leader", options.clone()) => acquired,
        };
        match acquired {
            Ok(lock) => term(lock, &stop).await,
            Err(error) if error.is_contended() => tracing::info!("another leads"),
            Err(error) if error.attempts().is_some() => tracing::warn!(%error, "nobody can tell who leads"),
            Err(error) => return Err(error.into()), // no better the next time
        }
    }
    redlock.close().await?;
    Ok(())
}

/// Leads until the lock is lost or the worker is to stop.
async fn term(lock: Lock, stop: &CancellationToken) {
    tracing::info!("leads");
    select! {
        biased; // a loss first: not one step more
        loss = lock.lost() => return tracing::warn!(%loss, "stands down"),
        () = lead(&lock, stop) => {}
    }
    match lock.release().await {
        Ok(_) => tracing::info!("has given the lead back"),
        Err(error) => tracing::warn!(%error), // the ttl ends it
    }
}

/// Stands for what only one may do. Dropped where it next waits when the lock is lost.
async fn lead(lock: &Lock, stop: &CancellationToken) {
    while !stop.is_cancelled() && lock.is_valid() {
        tracing::info!(validity = ?lock.validity(), "step");
        sleep(Duration::from_millis(500)).await;
    }
}
