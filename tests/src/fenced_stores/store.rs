//! The common interface of the recipes.

use async_trait::async_trait;

/// A protected piece of data that the holders of one lock read and write.
///
/// Fences only grow: once a call with fence `n` has succeeded, no call with a smaller one succeeds. A call that was
/// refused has changed nothing. One that failed may have been carried out, and can be repeated.
#[async_trait]
pub trait FencedStore: Send + Sync {
    /// Reads the data, empty at first, and excludes earlier holders from now on.
    async fn read(&self, fence: u64) -> Result<String, StoreError>;

    /// Replaces the data, unless a later holder has made a call.
    async fn write(&self, fence: u64, data: &str) -> Result<(), StoreError>;

    /// Reads the data without a lock.
    async fn look(&self) -> Result<Stored, StoreError>;
}

/// The stored data, and the greatest fence that was seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stored {
    /// 0 if there was none.
    pub fence: u64,
    /// Empty if nothing was written.
    pub data: String,
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A later holder has made a call: this holder's lock is over, whatever it believes. Trying again is of no use.
    #[error("fence {fence} is refused, {seen} was seen")]
    Refused {
        /// The fence of this call.
        fence: u64,
        /// The greatest fence that was seen.
        seen: u64,
    },
    /// The storage cannot be reached, or has failed.
    #[error("the storage has failed")]
    Failed(#[source] anyhow::Error),
}

impl StoreError {
    pub(super) fn failed(error: impl Into<anyhow::Error>) -> Self {
        Self::Failed(error.into())
    }
}
