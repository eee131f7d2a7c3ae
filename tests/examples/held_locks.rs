//! What it costs to keep many locks: the CPU time of this process while 10,000 locks are held and extended, on nodes in
//! memory and through both clients. `-- 1000` for another number. Run with `--release`.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement for people to run")]

use std::{
    env, fs,
    sync::Arc,
    time::{Duration, Instant},
};

use redlock_core::{AcquireOptions, AutoExtend, Lock, LockNode, Redlock};
use redlock_mock::MockNode;
use redlock_tests::{
    backend::Backend,
    servers::{ServerOptions, Servers},
};
use tokio::{runtime::Handle, task::JoinSet, time::sleep};

/// Each lock is extended every 10 seconds, less up to one at random.
const TTL: Duration = Duration::from_secs(30);
const WATCHED: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() {
    let count = env::args().nth(1).map_or(10_000, |count| count.parse().unwrap());
    let servers = Servers::from_env().await.unwrap();
    println!("{count} locks with a ttl of {TTL:?}, kept for {WATCHED:?}; 3 {}", servers.describe());
    println!("{:10} {:>8} {:>10} {:>12} {:>12} {:>6}", "client", "tasks", "a core", "extends/s", "a lock", "lost");
    let memory = MockNode::fleet(3).into_iter().map(|node| Arc::new(node) as Arc<dyn LockNode>).collect();
    measure("mock", count, memory).await;
    let servers = servers.start(3, &ServerOptions::new()).await.unwrap();
    for backend in [Backend::RedisRs, Backend::Fred] {
        let nodes = servers.iter().enumerate().map(|(index, server)| backend.open(index, &server.url())).collect();
        measure(backend.name(), count, nodes).await;
    }
}

async fn measure(name: &str, count: usize, nodes: Vec<Arc<dyn LockNode>>) {
    let redlock = Redlock::new(nodes).unwrap();
    let tasks = || Handle::current().metrics().num_alive_tasks();
    let mut acquiring = JoinSet::new();
    let mut locks = Vec::with_capacity(count);
    for number in 0..count {
        let redlock = redlock.clone();
        let options = AcquireOptions::new(TTL).auto_extend(AutoExtend::default());
        acquiring.spawn(async move { redlock.acquire(format!("kept:{number}"), options).await.unwrap() });
        if acquiring.len() >= 64 {
            locks.push(acquiring.join_next().await.unwrap().unwrap());
        }
    }
    locks.extend(acquiring.join_all().await);
    redlock.close().await.unwrap();
    let other_tasks = tasks();

    let (start, before) = (Instant::now(), cpu_time());
    sleep(WATCHED).await;
    let (used, took) = (cpu_time() - before, start.elapsed());

    let lost = locks.iter().filter(|lock| !lock.is_valid()).count();
    let extends = count as f64 / (TTL.as_secs_f64() / 3.0 * 0.95);
    println!(
        "{name:10} {other_tasks:>8} {:>9.2}% {extends:>12.0} {:>9.1} us {lost:>6}",
        100.0 * used.as_secs_f64() / took.as_secs_f64(),
        used.as_secs_f64() * 1e6 / (extends * took.as_secs_f64()),
    );
    let mut releasing = JoinSet::new();
    for lock in locks {
        releasing.spawn(Lock::release(lock));
        if releasing.len() >= 64 {
            releasing.join_next().await;
        }
    }
    releasing.join_all().await;
    redlock.close().await.unwrap();
}

/// What this process has used of the CPU, in ticks of 10 ms.
fn cpu_time() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    // After the program's name, which may hold spaces: the 12th and 13th field.
    let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields.iter().skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    Duration::from_millis(10 * ticks)
}
