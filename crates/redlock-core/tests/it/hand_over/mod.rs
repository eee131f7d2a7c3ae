//! Locks that are transferred to another process: each `Redlock` here stands for a process of its own.

mod resume;
mod lost;
mod departure;
#[cfg(feature = "serde")]
mod data;

use std::time::Duration;

use redlock_core::LockParts;
use redlock_mock::MockNode;

use crate::support::redlock;

const TTL: Duration = Duration::from_secs(10);
/// The default node timeout at this ttl.
const NODE_TIMEOUT: Duration = Duration::from_millis(200);

/// A lock on its way, of a process that has ended all its work.
async fn parts(nodes: &[MockNode]) -> LockParts {
    let here = redlock(nodes);
    let parts = here.acquire("r", TTL).await.unwrap().into_parts().await.unwrap();
    here.close().await.unwrap();
    parts
}

fn copy(parts: &LockParts) -> LockParts {
    let names = parts.resources().iter().map(|resource| resource.as_str());
    LockParts::new(names, parts.token().as_str(), parts.ttl()).unwrap()
}
