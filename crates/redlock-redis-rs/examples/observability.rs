//! Metrics of locks for Prometheus: workers that contend for a few locks, and `GET /metrics`.
//!
//! Usage:
//!
//! ```text
//! export REDLOCK_NODES=redis://10.0.0.1,redis://10.0.0.2,redis://10.0.0.3
//! LISTEN=127.0.0.1:9464 cargo run -p redlock-redis-rs --example observability
//! curl http://127.0.0.1:9464/metrics
//! ```
//!
//! `observability/README.md` explains each metric, and starts the example with Prometheus and Grafana.

use std::{env, time::Duration};

use anyhow::{Context as _, Result};
use axum::{Router, routing::get};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use redlock_core::{AcquireOptions, AutoExtend, Metrics, Redlock, UsingError};
use redlock_redis_rs::RedisNode;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    time::sleep,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

const TTL: Duration = Duration::from_secs(3);
const WORKERS: u64 = 6;
const ACCOUNTS: u64 = 3;

/// Buckets for durations: from a nearby node to a lock that is held for minutes. Without buckets, the exporter makes
/// summaries, which cannot be added up over processes.
const SECONDS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];
/// Buckets for attempts.
const ROUNDS: &[f64] = &[1.0, 2.0, 3.0, 5.0, 8.0, 13.0, 21.0, 55.0];

#[tokio::main]
async fn main() -> Result<()> {
    tracing_subscriber::fmt().init();
    let listen = env::var("LISTEN").unwrap_or_else(|_| "127.0.0.1:9464".to_owned());

    // The recorder comes first, so that `Metrics::new` can describe the metrics to it.
    let prometheus = PrometheusBuilder::new()
        .with_recommended_naming(true) // `_seconds` and `_total`
        .set_buckets_for_metric(Matcher::Suffix("duration".to_owned()), SECONDS)?
        .set_buckets_for_metric(Matcher::Full("redlock.extend.margin".to_owned()), SECONDS)?
        .set_buckets_for_metric(Matcher::Full("redlock.acquire.attempts".to_owned()), ROUNDS)?
        .install_recorder()?;
    // `account` for `account:2`: each label value makes a separate series, so keep them few.
    let kind = |resource: &str| resource.split(':').next().unwrap_or_default().to_owned();
    let nodes = RedisNode::from_env()?;
    let redlock = Redlock::builder().nodes(nodes).observer(Metrics::new().resource_label(kind)).build()?;

    let (stop, workers) = (CancellationToken::new(), TaskTracker::new());
    for worker in 0..WORKERS {
        workers.spawn(work(worker, redlock.clone(), stop.clone()));
    }
    tokio::spawn(upkeep(prometheus.clone()));

    let app = Router::new().route("/metrics", get(async move || prometheus.render()));
    let mut terminate = signal(SignalKind::terminate())?;
    let listener = TcpListener::bind(&listen).await.with_context(|| format!("listening on {listen}"))?;
    tracing::info!("listening on http://{}", listener.local_addr()?);
    let told_to_end = async move { _ = terminate.recv().await };
    axum::serve(listener, app).with_graceful_shutdown(told_to_end).await?;
    stop.cancel();
    workers.close();
    workers.wait().await;
    redlock.close().await?;
    Ok(())
}

/// Gathers what was recorded. Each scrape does so too; this is for times without a scrape.
async fn upkeep(prometheus: PrometheusHandle) {
    loop {
        sleep(Duration::from_secs(5)).await;
        prometheus.run_upkeep();
    }
}

/// Locks one account after the other, sometimes for a moment, sometimes long enough for the lock to be extended.
async fn work(worker: u64, redlock: Redlock, stop: CancellationToken) {
    // Extended twice as often as by default, so that the graphs show more.
    let often = AutoExtend::default().period(TTL / 6);
    let options = AcquireOptions::new(TTL).timeout(Duration::from_secs(1)).auto_extend(often);
    let mut turn = worker;
    while !stop.is_cancelled() {
        turn += 1;
        let account = format!("account:{}", turn % ACCOUNTS);
        let takes = Duration::from_millis(if turn.is_multiple_of(5) { 2000 } else { 20 * (turn % 7) });
        let done = redlock.using(account, options.clone(), async |_| {
            sleep(takes).await;
            Ok::<_, UsingError>(())
        });
        if let Err(error) = done.await {
            tracing::debug!(%error, "not done");
        }
        sleep(Duration::from_millis(10 * (turn % 11))).await;
    }
}
