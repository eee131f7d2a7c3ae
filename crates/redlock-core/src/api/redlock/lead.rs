//! Leader election: one process at a time does the work, term after term.

use std::{ops::ControlFlow, time::Duration};

use tokio::{select, time::sleep};

use super::Redlock;
use crate::{
    algorithm::{AutoExtend, Retry},
    api::{lock::Lock, options::AcquireOptions},
    names::{ResourceError, Resources},
    report::AcquireError,
};

/// The pause between two terms, and after an attempt to lead that failed.
const PAUSE: Duration = Duration::from_secs(1);

impl Redlock {
    /// Leads whenever it holds the lock on a resource or on several: waits for the lock, extends it automatically, and
    /// runs `term`.
    ///
    /// When the lock is lost, `term` is dropped where it next waits, and the call waits for the lock again. It does the
    /// same when `term` returns [`ControlFlow::Continue`], after it has released the lock. When `term` returns
    /// [`ControlFlow::Break`], the call releases the lock and returns the value. To stop at any moment, drop the call.
    /// Each term runs a clone of `term`, so that the call can be spawned.
    ///
    /// A plain [`Duration`] is the TTL: if a leader dies, another one leads after this time. Unless the options say
    /// otherwise, a leader leads without a limit, and has a [fencing token](Lock::fencing_token), which is greater in
    /// each term. Send it with each write.
    ///
    /// ```
    /// use std::{ops::ControlFlow, time::Duration};
    /// use redlock_core::Redlock;
    /// use redlock_mock::MockNode;
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let redlock = Redlock::new(MockNode::fleet(3))?;
    /// # let shutdown = tokio::time::sleep(Duration::from_secs(60));
    /// let leads = redlock.lead("scheduler", Duration::from_secs(10), async |lock| -> ControlFlow<()> {
    ///     while lock.check().is_ok() {
    ///         // one step of the work of the leader
    ///         tokio::time::sleep(Duration::from_secs(1)).await;
    ///     }
    ///     ControlFlow::Continue(())
    /// });
    /// tokio::select! {
    ///     stopped = leads => stopped?,
    ///     () = shutdown => {} // drops the term and releases the lock
    /// }
    /// redlock.close().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// An [`AcquireError`] that another attempt cannot cure, for example a name that cannot be locked. A lock that
    /// others hold, and nodes that fail, end nothing: the call tries again, less and less often, up to every two
    /// seconds. A timeout or a number of attempts in the options limits one attempt to lead, and not the call.
    ///
    /// # Cancel safety
    ///
    /// If dropped, it drops the term and then the lock, which is released in the background. A panic in the term has
    /// the same effect.
    ///
    /// # Panics
    ///
    /// Like [`Redlock::acquire`], and if the term panics.
    pub async fn lead<T>(
        &self,
        resources: impl TryInto<Resources, Error: Into<ResourceError>>,
        options: impl Into<AcquireOptions>,
        term: impl AsyncFnOnce(&Lock) -> ControlFlow<T> + Clone,
    ) -> Result<T, AcquireError> {
        let resources = Resources::of(resources)?;
        let options = options.into().or(
            Retry::default().unlimited().exponential(Duration::from_millis(100), Duration::from_secs(2)),
            AutoExtend::default().max_lifetime(Duration::MAX),
            true,
        );
        loop {
            let lock = match self.acquire(&resources, options.clone()).await {
                Ok(lock) => lock,
                Err(error) if error.attempts().is_some() => {
                    tracing::debug!(%error, "does not lead");
                    sleep(PAUSE).await;
                    continue;
                }
                Err(error) => return Err(error),
            };
            tracing::info!(resource = lock.resource(), term = ?lock.fencing_token(), "leads");
            let ended = select! {
                // Check for a loss first: the term must not take one more step without its lock.
                biased;
                loss = lock.lost() => Err(loss),
                ended = term.clone()(&lock) => Ok(ended),
            };
            match ended {
                Err(loss) => tracing::warn!(%loss, "the term is over"),
                Ok(ended) => {
                    if let Err(error) = lock.release().await {
                        tracing::warn!(%error, "the term is over, but the lock may be held until its TTL ends");
                    }
                    if let ControlFlow::Break(value) = ended {
                        return Ok(value);
                    }
                }
            }
            sleep(PAUSE).await;
        }
    }
}
