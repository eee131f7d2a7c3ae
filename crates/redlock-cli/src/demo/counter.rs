//! The file that the workers count in: only the lock protects it.

use std::{path::PathBuf, time::Duration};

use anyhow::Context as _;
use tempfile::TempDir;

/// A number in a file in a directory of its own. The directory is deleted on drop.
#[derive(Debug)]
pub(crate) struct Counter {
    directory: TempDir,
}

impl Counter {
    /// How long a worker thinks between reading and writing.
    const PAUSE: Duration = Duration::from_millis(4);

    pub(crate) fn create() -> anyhow::Result<Self> {
        let directory =
            TempDir::with_prefix("redlock-demo-").context("cannot make a directory for the counter file")?;
        let counter = Self { directory };
        std::fs::write(counter.file(), "0").with_context(|| format!("cannot write {}", counter.file().display()))?;
        Ok(counter)
    }

    /// Returns the name to lock, which no other run of the demo has.
    pub(crate) fn resource(&self) -> String {
        self.directory.path().file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.directory.path().join("counter")
    }

    pub(crate) async fn read(&self) -> anyhow::Result<u64> {
        let text = tokio::fs::read_to_string(self.file()).await.context("cannot read the counter file")?;
        text.parse().with_context(|| format!("the counter file contains {text:?}, which is not a number"))
    }

    /// Adds 1 in the way that loses updates: writes of others between the read and the write are overwritten.
    ///
    /// Calls `still_mine` right before the write, and writes nothing if it returns false. Returns whether it wrote.
    pub(crate) async fn add_one(&self, worker: usize, still_mine: impl Fn() -> bool) -> anyhow::Result<bool> {
        let read = self.read().await?;
        tokio::time::sleep(Self::PAUSE).await;
        // The new content is moved into place, so that no reader ever finds half of it.
        let new = self.directory.path().join(format!("new-{worker}"));
        tokio::fs::write(&new, (read + 1).to_string()).await.context("cannot write the counter file")?;
        if !still_mine() {
            return Ok(false);
        }
        tokio::fs::rename(new, self.file()).await.context("cannot write the counter file")?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_counts_and_leaves_nothing_behind() {
        let counter = Counter::create().unwrap();
        let directory = counter.directory.path().to_owned();
        assert!(counter.add_one(0, || true).await.unwrap());
        assert!(!counter.add_one(0, || false).await.unwrap());
        assert!(counter.add_one(1, || true).await.unwrap());
        assert_eq!(counter.read().await.unwrap(), 2);
        drop(counter);
        assert!(!directory.exists());
    }

    #[tokio::test]
    async fn two_at_once_lose_an_update() {
        let counter = Counter::create().unwrap();
        let both = tokio::join!(counter.add_one(0, || true), counter.add_one(1, || true));
        assert!(both.0.unwrap() && both.1.unwrap());
        assert_eq!(counter.read().await.unwrap(), 1);
    }
}
