//! Checks whether a lock is still valid, and waits for its loss.

use std::{pin::pin, sync::Arc, time::Duration};

use tokio::time::timeout;

use super::LeaseState;
use crate::report::{Event, LockLost};

impl LeaseState {
    /// Returns the validity that is left, or why the lock is lost. A lock that was reported as lost stays lost.
    pub(crate) fn check(&self) -> Result<Duration, LockLost> {
        self.check_until(Duration::ZERO)
    }

    /// [`LeaseState::check`], except that a lock with at most `least` left has expired.
    fn check_until(&self, least: Duration) -> Result<Duration, LockLost> {
        self.validity.check(&self.resources, least, &*self.fleet.clock).map_err(|(loss, is_news)| {
            if is_news {
                self.tell(&Event::Lost { loss: &loss });
            }
            loss
        })
    }

    /// Waits until the lock is lost.
    pub(crate) async fn lost(self: Arc<Self>) -> LockLost {
        /// The granularity of timers. It is better to report a loss early by this much than late.
        const GRANULARITY: Duration = Duration::from_millis(1);
        /// Tokio's timers may stop while the machine is suspended. The fleet's clock does not.
        const LONGEST_NAP: Duration = Duration::from_secs(2);
        loop {
            let mut changed = pin!(self.validity.changed());
            changed.as_mut().enable();
            match self.check_until(GRANULARITY) {
                // By halves: the timers may run at another rate than the clock.
                Ok(left) => drop(timeout((left / 2).clamp(GRANULARITY, LONGEST_NAP), changed).await),
                Err(loss) => return loss,
            }
        }
    }
}
