//! Measures what fencing tokens cost: the time to acquire an uncontended lock, and to acquire and release it, without
//! and with fencing, alternating in one run, through both clients. Run it with `--release`.
//!
//! The goal: the median acquire with fencing takes at most 1.15 times as long as one without. That holds while the
//! nodes agree on their counters, as they do in consecutive acquires. Otherwise an acquire takes a second exchange, in
//! which nodes are raised.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a measurement for people to run"
)]

use std::time::{Duration, Instant};

use redlock_core::{AcquireOptions, Redlock};
use redlock_tests::{
    backend::Backend,
    servers::{Server, ServerOptions, Servers},
};

const TURNS: usize = 40;
/// Few, so that any other load of the machine affects both measurements.
const PAIRS: usize = 50;
const TTL: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() {
    let servers = Servers::from_env().await.unwrap();
    println!("3 {}, {TURNS} turns of 2 x {PAIRS} locks without fencing and as many with", servers.describe());
    println!(
        "{:10} {:18} {:>12} {:>12} {:>8} {:>12} {:>12}",
        "client", "", "plain p50", "fenced p50", "ratio", "plain p99", "fenced p99"
    );
    let nodes = servers.start(3, &ServerOptions::new()).await.unwrap();
    for backend in [Backend::RedisRs, Backend::Fred] {
        measure(backend, &nodes).await;
    }
}

async fn measure(backend: Backend, servers: &[Server]) {
    let nodes = servers.iter().enumerate().map(|(index, server)| backend.open(index, &server.url()));
    let redlock = Redlock::new(nodes).unwrap();
    // By then the nodes have the scripts and agree on each counter: the slowest node may be ahead, and its answer late.
    for _ in 0..10 {
        locks(&redlock, false).await;
        locks(&redlock, true).await;
    }
    let before = scripts(&redlock, servers).await;
    let (mut plain, mut fenced) = (Times::default(), Times::default());
    for _ in 0..TURNS {
        plain.add(locks(&redlock, false).await);
        fenced.add(locks(&redlock, true).await);
        fenced.add(locks(&redlock, true).await);
        plain.add(locks(&redlock, false).await);
    }
    let all = plain.acquires.len() + fenced.acquires.len();
    // The rest after an acquire and a release on each node.
    let raises = scripts(&redlock, servers).await - before - 2 * servers.len() * all;
    let name = backend.name();
    row(name, "acquire", &sorted(plain.acquires), &sorted(fenced.acquires));
    row(name, "acquire, release", &sorted(plain.pairs), &sorted(fenced.pairs));
    println!("{name:10} {raises} requests to raise a counter, in {} acquires with fencing", all / 2);
}

#[derive(Default)]
struct Times {
    acquires: Vec<Duration>,
    pairs: Vec<Duration>,
}

impl Times {
    fn add(&mut self, other: Self) {
        self.acquires.extend(other.acquires);
        self.pairs.extend(other.pairs);
    }
}

async fn locks(redlock: &Redlock, fencing: bool) -> Times {
    let mut times = Times::default();
    for pair in 0..PAIRS {
        let name = format!("pair:{pair}");
        let start = Instant::now();
        let lock = redlock.acquire(name, AcquireOptions::new(TTL).fencing(fencing)).await.unwrap();
        times.acquires.push(start.elapsed());
        let _ = lock.release().await.unwrap();
        times.pairs.push(start.elapsed());
    }
    times
}

/// Counts the scripts that the servers have run, once no request is in flight anymore.
async fn scripts(redlock: &Redlock, servers: &[Server]) -> usize {
    redlock.close().await.unwrap();
    let mut all = 0;
    for server in servers {
        let stats = server.command(&["INFO", "commandstats"]).await.unwrap().text().unwrap();
        let of_scripts = stats.split("cmdstat_evalsha:calls=").nth(1).unwrap();
        all += of_scripts.split(',').next().unwrap().parse::<usize>().unwrap();
    }
    all
}

fn row(client: &str, what: &str, plain: &[Duration], fenced: &[Duration]) {
    let (plain_p50, fenced_p50) = (percentile(plain, 50), percentile(fenced, 50));
    let ratio = fenced_p50.as_secs_f64() / plain_p50.as_secs_f64();
    println!(
        "{client:10} {what:18} {plain_p50:>12.1?} {fenced_p50:>12.1?} {ratio:>8.2} {:>12.1?} {:>12.1?}",
        percentile(plain, 99),
        percentile(fenced, 99),
    );
}

fn sorted(mut times: Vec<Duration>) -> Vec<Duration> {
    times.sort_unstable();
    times
}

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() - 1) * percent / 100]
}
