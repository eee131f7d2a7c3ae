//! The interface of every contender: acquires the lock with a name, and releases it.

use std::time::Duration;

use anyhow::Result;
use clap::ValueEnum;

/// The TTL of all locks. No lock of a bench comes near its end unless it is left behind.
pub(crate) const TTL: Duration = Duration::from_secs(10);

/// The number of permits in measurements of permits.
pub(crate) const PERMITS: u32 = 16;

/// How a library is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum)]
pub(crate) enum Tuning {
    /// The defaults of its own constructor.
    Defaults,
    /// For a lock that many tasks want: retries after about 3 ms, for a minute.
    Impatient,
    /// Its defaults, and a timeout of a minute.
    Patient,
    /// Its defaults, and a fencing token with each lock.
    Fenced,
    /// Its defaults, and one of [`PERMITS`] permits instead of a lock.
    Permit,
    /// Its defaults, and shared locks.
    Shared,
}

/// A library, or the bare commands, over some nodes. Clones share it.
pub(crate) trait Library: Clone + Send + Sync + 'static {
    /// A held lock.
    type Held: Send + 'static;

    /// Connects, or prepares to.
    fn open(urls: &[String], tuning: Tuning) -> impl Future<Output = Result<Self>> + Send;

    /// Makes one call to the library. Returns the lock, or why the call failed.
    fn acquire(&self, name: &str) -> impl Future<Output = Result<Self::Held, String>> + Send;

    /// Returns when the library reports that the lock is released.
    fn release(&self, held: Self::Held) -> impl Future<Output = Result<(), String>> + Send;

    /// Waits, with a limit, for the work that the library still does in the background.
    fn settle(&self) -> impl Future<Output = ()> + Send {
        async {}
    }

    /// Acquires the lock and releases it.
    fn pair(&self, name: &str) -> impl Future<Output = Result<(), String>> + Send {
        async move {
            let held = self.acquire(name).await?;
            self.release(held).await
        }
    }
}
