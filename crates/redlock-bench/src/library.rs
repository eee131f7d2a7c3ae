//! What every contender can do: take the lock with a name, and give it back.

use std::time::Duration;

use anyhow::Result;
use clap::ValueEnum;

/// For how long locks are taken. No lock of a bench comes near its end unless it is left behind.
pub(crate) const TTL: Duration = Duration::from_secs(10);

/// How a library is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum)]
pub(crate) enum Tuning {
    /// As its own constructor makes it.
    Defaults,
    /// For a lock that many want: asks again after some 3 ms, a minute long.
    Impatient,
    /// Its defaults, and a timeout of a minute.
    Patient,
    /// Its defaults, and a fencing token with each lock.
    Fenced,
    /// Its defaults, and shared locks.
    Shared,
}

/// A library, or the bare commands, over some nodes. Clones share it.
pub(crate) trait Library: Clone + Send + Sync + 'static {
    /// A lock that is held.
    type Held: Send + 'static;

    /// Connects, or gets ready to.
    fn open(urls: &[String], tuning: Tuning) -> impl Future<Output = Result<Self>> + Send;

    /// One call to the library: the lock, or why it gave up.
    fn acquire(&self, name: &str) -> impl Future<Output = Result<Self::Held, String>> + Send;

    /// Returns when the library says that it is given back.
    fn release(&self, held: Self::Held) -> impl Future<Output = Result<(), String>> + Send;

    /// Waits, bounded, for what the library still does in the background.
    fn settle(&self) -> impl Future<Output = ()> + Send {
        async {}
    }

    /// Takes the lock and gives it back.
    fn pair(&self, name: &str) -> impl Future<Output = Result<(), String>> + Send {
        async move {
            let held = self.acquire(name).await?;
            self.release(held).await
        }
    }
}
