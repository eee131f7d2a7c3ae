//! The keeper's requirements on a lock.

use std::{fmt, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use tokio::runtime::Handle;

use crate::names::Resources;

/// A lock that can be extended while it is held.
pub(crate) trait Keep: fmt::Debug + Send + Sync + 'static {
    /// The resources that are locked.
    fn resources(&self) -> &Resources;

    /// Where the lock is extended.
    fn runtime(&self) -> &Handle;

    /// The time on the fleet's clock.
    fn now(&self) -> Duration;

    /// A random number, for jitter.
    fn random(&self) -> u64;

    /// Returns the rest of the validity. `None` once the lock is lost.
    fn left(&self) -> Option<Duration>;

    /// Extends the lock once. Returns whether that succeeded.
    fn extend_once(self: Arc<Self>, ttl: Duration) -> BoxFuture<'static, bool>;

    /// Records that the lock is not extended any more, since its longest lifetime ends.
    fn lifetime_over(&self);
}
