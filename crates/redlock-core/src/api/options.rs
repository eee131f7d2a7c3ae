//! The options of one call to acquire.

use std::time::Duration;

use crate::algorithm::{AutoExtend, Retry};

/// The options of one call to acquire. A plain [`Duration`] is the TTL, with defaults for everything else.
///
/// ```
/// use std::time::Duration;
/// use redlock_core::{AcquireOptions, Retry};
///
/// let ttl = Duration::from_secs(10);
/// let wait_up_to_a_minute = AcquireOptions::new(ttl).timeout(Duration::from_secs(60));
/// let three_attempts = AcquireOptions::new(ttl).retry(Retry::attempts(3));
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct AcquireOptions {
    pub(crate) ttl: Duration,
    pub(crate) auto_extend: Option<AutoExtend>,
    pub(crate) fencing: Option<bool>,
    pub(crate) is_shared: bool,
    retry: Option<Retry>,
    timeout: Option<Duration>,
}

impl AcquireOptions {
    /// Acquires the lock with this TTL: 1 ms to 7 days, and longer than the node timeout.
    pub fn new(ttl: Duration) -> Self {
        Self { ttl, auto_extend: None, fencing: None, is_shared: false, retry: None, timeout: None }
    }

    /// Sets the retry policy of this call, in place of the [builder's](crate::RedlockBuilder::retry).
    pub fn retry(self, retry: Retry) -> Self {
        Self { retry: Some(retry), ..self }
    }

    /// Ends the call when this much time has passed, even with requests in flight. Without a [`retry`](Self::retry)
    /// policy of its own, the call makes as many attempts as fit in. It ends earlier if the configuration of the nodes
    /// makes a quorum impossible: see [`Retry`].
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout: Some(timeout), ..self }
    }

    /// Extends the lock to this TTL repeatedly while it is held. Default: it ends with its validity, unless
    /// [`Lock::extend`](crate::Lock::extend) is called.
    ///
    /// The extends run on the runtime of the call, and end with it. [`Lock::lost`](crate::Lock::lost) reports a loss.
    pub fn auto_extend(self, auto_extend: AutoExtend) -> Self {
        Self { auto_extend: Some(auto_extend), ..self }
    }

    /// Sets whether the lock gets a [fencing token](crate::Lock::fencing_token). Default: the setting of the
    /// [builder](crate::RedlockBuilder::fencing).
    pub fn fencing(self, fencing: bool) -> Self {
        Self { fencing: Some(fencing), ..self }
    }

    /// Requests a shared lock, which many readers may hold at the same time, but no writer next to them. Default: an
    /// exclusive lock. See [when to use which](crate::guide::shared_locks).
    ///
    /// A shared lock has no fencing token: if the builder requires one, add [`fencing(false)`](Self::fencing).
    pub fn shared(self) -> Self {
        Self { is_shared: true, ..self }
    }

    /// Fills in these values where the options set none.
    pub(crate) fn or(self, retry: Retry, auto_extend: AutoExtend, fencing: bool) -> Self {
        Self {
            retry: self.retry.or_else(|| self.timeout.is_none().then_some(retry)),
            auto_extend: self.auto_extend.or(Some(auto_extend)),
            fencing: self.fencing.or(Some(fencing)),
            ..self
        }
    }

    /// Returns the retry policy of this call.
    pub(crate) fn policy(self, default: &Retry) -> Retry {
        match (self.retry, self.timeout) {
            (Some(retry), Some(timeout)) => retry.with_timeout(timeout),
            (Some(retry), None) => retry,
            (None, Some(timeout)) => default.clone().unlimited().with_timeout(timeout),
            (None, None) => default.clone(),
        }
    }
}

impl From<Duration> for AcquireOptions {
    fn from(ttl: Duration) -> Self {
        Self::new(ttl)
    }
}
