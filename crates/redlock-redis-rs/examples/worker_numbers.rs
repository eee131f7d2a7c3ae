//! Worker numbers for an ID generator: each process has a number that no other one has, and puts it into its IDs.
//!
//! Usage, on each host:
//!
//! ```text
//! export REDLOCK_NODES=redis://10.0.0.1,redis://10.0.0.2,redis://10.0.0.3
//! cargo run -p redlock-redis-rs --example worker_numbers
//! ```
//!
//! The number is the slot of a permit. It is extended while the process runs, and checked before each ID. If it is
//! lost, the process makes no more IDs until it has another number.

use std::time::{Duration, SystemTime};

use anyhow::Result;
use redlock_core::{AcquireOptions, AutoExtend, LockLost, Permit, Redlock};
use redlock_redis_rs::RedisNode;
use tokio::{
    select,
    signal::unix::{SignalKind, signal},
    time::sleep,
};

/// As many numbers as fit into the IDs: 10 bits. All processes use the same.
const WORKERS: u32 = 1024;
/// How long the number of a process that has died stays unused.
const TTL: Duration = Duration::from_secs(10);
/// How many IDs a worker makes in one millisecond: 12 bits.
const PER_MILLISECOND: u64 = 4096;

#[tokio::main]
async fn main() -> Result<()> {
    tracing_subscriber::fmt().init();
    let redlock = Redlock::new(RedisNode::from_env()?)?;
    let mut terminate = signal(SignalKind::terminate())?;

    let works = async {
        loop {
            let kept = AcquireOptions::new(TTL).auto_extend(AutoExtend::default().max_lifetime(Duration::MAX));
            let permit = redlock.acquire_permit("id-workers", WORKERS, kept).await?;
            tracing::info!(number = permit.slot(), "is a worker");
            let mut ids = Ids::new(permit);
            // For a service: hand `ids` to whatever needs an ID.
            while let Ok(id) = ids.next() {
                tracing::info!(id, "made");
                sleep(Duration::from_millis(500)).await;
            }
            tracing::warn!("has lost its number, and gets another one");
        }
    };
    let stopped: Result<()> = select! {
        stopped = works => stopped,
        _ = terminate.recv() => Ok(()),
    };
    redlock.close().await?; // waits until the number is released
    stopped
}

/// Makes IDs: 41 bits of milliseconds, 10 bits of worker number, 12 bits that count.
struct Ids {
    permit: Permit,
    /// When the last ID was made, and how many in that millisecond.
    last: (u64, u64),
}

impl Ids {
    /// The last holder of the number may have made IDs until now, so this one starts in the next millisecond. The
    /// clocks of the hosts must agree about that, within the time that it takes to acquire a permit.
    fn new(permit: Permit) -> Self {
        Self { permit, last: (millis(), PER_MILLISECOND) }
    }

    fn next(&mut self) -> Result<u64, LockLost> {
        self.permit.check()?; // right before each ID: is the number still ours?
        let (last, count) = self.last;
        // A clock that was set back repeats no ID.
        self.last = match (millis().max(last), count + 1) {
            (now, count) if now == last && count < PER_MILLISECOND => (now, count),
            (now, _) if now == last => (last + 1, 0),
            (now, _) => (now, 0),
        };
        let (millis, count) = self.last;
        Ok(millis << 22 | u64::from(self.permit.slot()) << 12 | count)
    }
}

/// Milliseconds since 2024.
fn millis() -> u64 {
    let epoch = SystemTime::UNIX_EPOCH + Duration::from_secs(1_704_067_200);
    epoch.elapsed().unwrap_or_default().as_millis() as u64
}
