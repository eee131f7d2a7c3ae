//! The story of a holder that is paused beyond the validity of its lock, continues, and writes: without and with a
//! fence.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use redlock_core::{AcquireOptions, FencingToken, Lock, LockNode, Redlock};

use crate::{
    fenced_stores::{FencedStore, RedisHash, StoreError},
    servers::Server,
};

const RESOURCE: &str = "account:42";
const TTL: Duration = Duration::from_secs(1);

/// The initial balance of the account, and the amount that each holder adds to it. Each reads the balance and writes
/// the sum.
const BEFORE: u64 = 100;
const FIRST: u64 = 5;
const SECOND: u64 = 10;

/// Where the account is stored, and whether it checks fences.
#[derive(Debug, Clone)]
pub enum Account {
    /// A plain key of this server: it accepts every write.
    Plain(Arc<Server>),
    /// A hash of this server with a fence: it refuses late holders.
    Fenced(RedisHash),
}

impl Account {
    /// Creates an account in a plain key.
    pub fn plain(server: &Arc<Server>) -> Self {
        Self::Plain(server.clone())
    }

    /// Creates an account in a hash with a fence.
    pub fn fenced(server: &Arc<Server>) -> Self {
        Self::Fenced(RedisHash::new(server.clone(), format!("{RESOURCE}:fenced")))
    }

    async fn read(&self, fence: FencingToken) -> Result<u64, StoreError> {
        match self {
            Self::Plain(_) => self.look().await,
            Self::Fenced(hash) => balance(&hash.read(fence.get()).await?),
        }
    }

    /// Reads the balance at the end, without a lock.
    async fn look(&self) -> Result<u64, StoreError> {
        match self {
            Self::Plain(server) => {
                let reply = server.command(&["GET", RESOURCE]).await.map_err(StoreError::Failed)?;
                balance(&reply.text().unwrap_or_default())
            }
            Self::Fenced(hash) => balance(&hash.look().await?.data),
        }
    }

    async fn write(&self, fence: FencingToken, balance: u64) -> Result<(), StoreError> {
        let data = balance.to_string();
        match self {
            Self::Plain(server) => {
                server.command(&["SET", RESOURCE, &data]).await.map(drop).map_err(StoreError::Failed)
            }
            Self::Fenced(hash) => hash.write(fence.get(), &data).await,
        }
    }
}

fn balance(data: &str) -> Result<u64, StoreError> {
    data.parse().context("no balance").map_err(StoreError::Failed)
}

/// The outcome.
#[derive(Debug)]
pub struct Ending {
    /// The balance at the end. The right one is 115.
    pub balance: u64,
    /// Whether the account refused the late holder.
    pub refused: bool,
    /// The events with their times.
    pub timeline: Timeline,
}

/// The events of the story, one line each, for people to read.
#[derive(Debug)]
pub struct Timeline {
    start: Instant,
    lines: Vec<(Duration, String)>,
}

impl Timeline {
    fn new() -> Self {
        Self { start: Instant::now(), lines: Vec::new() }
    }

    fn add(&mut self, line: impl Into<String>) {
        self.lines.push((self.start.elapsed(), line.into()));
    }
}

impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, line) in &self.lines {
            writeln!(f, "  {:5.2} s  {line}", at.as_secs_f64())?;
        }
        Ok(())
    }
}

/// Lets two holders add to the account under one lock. The first one reads, is paused until the second has finished,
/// and writes.
///
/// Each opens its own nodes, as another process would. Both send the fencing token of their lock with every read and
/// write. Whether that helps depends on the account.
///
/// # Errors
///
/// If a lock cannot be acquired, or the account cannot be reached.
pub async fn tell(nodes: impl Fn() -> Vec<Arc<dyn LockNode>>, account: &Account) -> Result<Ending> {
    let open = || Redlock::builder().nodes(nodes()).fencing(true).node_timeout(TTL / 4).build();
    let (first, second) = (open()?, open()?);
    // Long enough for the previous lock to end, however much of it is left.
    let acquire = async |redlock: &Redlock| -> Result<(Lock, FencingToken)> {
        let lock = redlock.acquire(RESOURCE, AcquireOptions::new(TTL).timeout(TTL * 10)).await?;
        let fence = lock.fencing_token().context("a lock without a fencing token")?;
        Ok((lock, fence))
    };
    let (lock, fence) = acquire(&first).await?;
    account.write(fence, BEFORE).await?;
    let _ = lock.release().await?;
    let mut timeline = Timeline::new();

    let (paused, fence) = acquire(&first).await?;
    timeline.add(format!("holder 1 takes the lock for {TTL:?}, with the fencing token {fence}"));
    let balance = account.read(fence).await?;
    timeline.add(format!("holder 1 reads {balance}, will write {}", balance + FIRST));
    paused.check().context("holder 1 was too slow before its pause")?;
    timeline.add("holder 1 asks whether its lock is valid: it is. Then it is paused");

    let (lock, second_fence) = acquire(&second).await?;
    timeline.add(format!("holder 2 takes the lock, since the first has ended, with the fencing token {second_fence}"));
    let balance_then = account.read(second_fence).await?;
    account.write(second_fence, balance_then + SECOND).await?;
    timeline.add(format!("holder 2 reads {balance_then}, writes {}", balance_then + SECOND));
    let _ = lock.release().await?;
    timeline.add("holder 2 releases the lock");

    // From here on, the first holder does not check its lock again: it checked it before the pause.
    let refused = match account.write(fence, balance + FIRST).await {
        Ok(()) => {
            timeline.add(format!("holder 1 wakes, writes {}, and the account takes it", balance + FIRST));
            false
        }
        Err(refusal @ StoreError::Refused { .. }) => {
            timeline.add(format!("holder 1 wakes, writes {}, and the account does not: {refusal}", balance + FIRST));
            drop(paused);
            let (lock, fence) = acquire(&first).await?;
            let balance = account.read(fence).await?;
            account.write(fence, balance + FIRST).await?;
            timeline.add(format!(
                "holder 1 begins again, with the fencing token {fence}: reads {balance}, writes {}",
                balance + FIRST
            ));
            let _ = lock.release().await?;
            true
        }
        Err(error) => return Err(error.into()),
    };
    first.close().await?;
    second.close().await?;

    let balance = account.look().await?;
    timeline.add(match BEFORE + FIRST + SECOND - balance {
        0 => format!("the account holds {balance}, as it should"),
        lost => format!("the account holds {balance}: {lost} of holder 2 are lost, and nobody noticed"),
    });
    Ok(Ending { balance, refused, timeline })
}
