//! Measures what one hung node of three costs: the median time to acquire and release a lock, with healthy nodes and
//! with one hung, alternating in one run, through both clients. Run it with `--release`.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a measurement for people to run"
)]

use std::time::{Duration, Instant};

use redlock_core::Redlock;
use redlock_tests::{
    backend::Backend,
    servers::{Server, ServerOptions, Servers},
};

const TURNS: usize = 10;
const PAIRS: usize = 300;
const TTL: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() {
    let servers = Servers::from_env().await.unwrap();
    println!("3 {}, {TURNS} turns of {PAIRS} pairs each", servers.describe());
    println!(
        "{:10} {:>12} {:>12} {:>8} {:>14} {:>14}",
        "client", "healthy p50", "hung p50", "ratio", "healthy p99", "hung p99"
    );
    let nodes = servers.start(3, &ServerOptions::new()).await.unwrap();
    for backend in [Backend::RedisRs, Backend::Fred] {
        measure(backend, &nodes).await;
    }
}

async fn measure(backend: Backend, servers: &[Server]) {
    let nodes = servers.iter().enumerate().map(|(index, server)| backend.open(index, &server.url()));
    let redlock = Redlock::new(nodes).unwrap();
    pairs(&redlock).await;
    let (mut healthy, mut hung) = (Vec::new(), Vec::new());
    for turn in 0..TURNS {
        healthy.extend(pairs(&redlock).await);
        let server = &servers[turn % servers.len()];
        server.pause().await.unwrap();
        hung.extend(pairs(&redlock).await);
        server.resume().await.unwrap();
        redlock.close().await.unwrap();
    }
    let (healthy, hung) = (sorted(healthy), sorted(hung));
    let ratio = percentile(&hung, 50).as_secs_f64() / percentile(&healthy, 50).as_secs_f64();
    println!(
        "{:10} {:>12.1?} {:>12.1?} {ratio:>8.2} {:>14.1?} {:>14.1?}",
        backend.name(),
        percentile(&healthy, 50),
        percentile(&hung, 50),
        percentile(&healthy, 99),
        percentile(&hung, 99),
    );
}

async fn pairs(redlock: &Redlock) -> Vec<Duration> {
    let mut times = Vec::new();
    for pair in 0..PAIRS {
        let start = Instant::now();
        let lock = redlock.acquire(format!("pair:{pair}"), TTL).await.unwrap();
        let _ = lock.release().await.unwrap();
        times.push(start.elapsed());
    }
    times
}

fn sorted(mut times: Vec<Duration>) -> Vec<Duration> {
    times.sort_unstable();
    times
}

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() - 1) * percent / 100]
}
