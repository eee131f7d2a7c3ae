//! Locks that are transferred to another process. Each `Redlock` here represents one process.

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
/// The default node timeout for this TTL.
const NODE_TIMEOUT: Duration = Duration::from_millis(200);

/// Returns a lock in transfer, from a process that has finished all its work.
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
