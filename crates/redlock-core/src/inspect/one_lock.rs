//! Finds out who holds a lock, with numbered steps.

use std::{sync::Arc, time::Duration};

use tokio::runtime::Handle;

use super::inspection::{Inspection, OnOneLine};
use crate::{
    algorithm::Finding,
    api::Redlock,
    driver::{Exchange, Requests},
    names::{Resource, ResourceError, Resources},
    node::LATE_LIMIT,
    report::WithinAsync,
};

impl Redlock {
    /// Queries all nodes for what they hold under this name, and changes nothing. For people who want to know who holds
    /// a lock, and for metrics.
    ///
    /// Waits for all nodes, at most for the builder's [node timeout](crate::RedlockBuilder::node_timeout), or half a
    /// second if none is set. What the nodes hold may change before the call returns: to do something only if nobody
    /// else does it, [acquire](Redlock::try_acquire).
    ///
    /// ```
    /// use std::time::Duration;
    /// use redlock_core::Redlock;
    /// use redlock_mock::MockNode;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let redlock = Redlock::new(MockNode::fleet(3))?;
    /// let lock = redlock.acquire("invoice:42", Duration::from_secs(10)).await?;
    ///
    /// let inspection = redlock.inspect("invoice:42").await?;
    /// println!("{inspection}"); // "invoice:42" is held by 5f0c6c1b... (10s left): on 3 of 3 nodes, 2 needed
    /// # assert!(inspection.to_string().starts_with("\"invoice:42\" is held by "));
    /// let holder = inspection.holder().ok_or("nobody")?;
    /// assert_eq!(holder.value(), lock.token().as_bytes());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// If the name cannot be locked, or the call is not made on a Tokio runtime. The [`Inspection`] lists nodes that
    /// fail.
    ///
    /// # Cancel safety
    ///
    /// If dropped, it has no effect.
    ///
    /// # Panics
    ///
    /// If the runtime has no timers (`enable_time`).
    pub async fn inspect(&self, resource: impl AsRef<str>) -> Result<Inspection, InspectError> {
        let resource = Resource::new(resource)?;
        Handle::try_current().map_err(|_| InspectError::NoRuntime)?;
        let fleet = &self.fleet;
        let keys = fleet.keys(&Resources::from(resource.clone()))?;
        let node_timeout = fleet.node_timeout.without_ttl();

        // 1. Read the clock before the first byte is sent.
        let started = fleet.clock.now();

        // 2. Send to all nodes at once.
        let requests = Requests::new(fleet, |member| {
            let (fleet, key) = (Arc::clone(fleet), keys.first().clone());
            Box::pin(async move { fleet.look(member, &key, None).await })
        });
        let patience = fleet.patience(node_timeout, LATE_LIMIT);

        // 3. Wait for all answers that arrive in time. Late requests are finished in the background.
        let answers = Exchange::new(requests, patience, node_timeout, LATE_LIMIT).all().await;

        // 4. Compute what the nodes hold now.
        let took = fleet.clock.now().saturating_sub(started);
        Ok(Inspection::new(fleet, resource, answers, took, patience))
    }

    /// Returns whether anybody holds the lock on `resource`: whether a quorum of the nodes holds the same token.
    ///
    /// For people and metrics, like [`Redlock::inspect`]. To do something only if nobody else does it,
    /// [acquire](Redlock::try_acquire): the answer may be out of date when you read it.
    ///
    /// # Errors
    ///
    /// The errors of [`Redlock::inspect`], and [`InspectError::TooFewAnswers`] rather than a guess.
    ///
    /// # Cancel safety
    ///
    /// Like [`Redlock::inspect`].
    ///
    /// # Panics
    ///
    /// Like [`Redlock::inspect`].
    pub async fn is_locked(&self, resource: impl AsRef<str>) -> Result<bool, InspectError> {
        let inspection = self.inspect(resource).await?;
        inspection.is_locked().ok_or_else(|| InspectError::TooFewAnswers(Box::new(inspection)))
    }

    /// Returns how long a quorum of the nodes still holds the lock on `resource`, if its holder does nothing. `None` if
    /// nobody holds it, and [`Duration::MAX`] if it never expires.
    ///
    /// # Errors
    ///
    /// The errors of [`Redlock::is_locked`].
    ///
    /// # Cancel safety
    ///
    /// Like [`Redlock::inspect`].
    ///
    /// # Panics
    ///
    /// Like [`Redlock::inspect`].
    pub async fn remaining(&self, resource: impl AsRef<str>) -> Result<Option<Duration>, InspectError> {
        let inspection = self.inspect(resource).await?;
        if inspection.is_locked().is_none() {
            return Err(InspectError::TooFewAnswers(Box::new(inspection)));
        }
        Ok(match inspection.finding() {
            Finding::Held(holder) => Some(holder.remaining().unwrap_or(Duration::MAX)),
            Finding::Shared { remaining, .. } => Some(*remaining),
            Finding::Free | Finding::Split | Finding::Unknown => None,
        })
    }
}

/// It is not known whether anybody holds a lock. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InspectError {
    /// Too few nodes answered to decide. It contains what each of them answered, and what to do about the others.
    #[error("{}", OnOneLine(.0))]
    TooFewAnswers(Box<Inspection>),
    /// The name cannot be locked, so nobody holds it. Nothing was sent.
    #[error(transparent)]
    Resource(#[from] ResourceError),
    /// The call was not made on a Tokio runtime. Nothing was sent.
    #[error("there is no Tokio runtime here: call inspect from a task of a runtime with time and io enabled")]
    NoRuntime,
    /// A blocking call was made within async code. Nothing was sent.
    #[error(transparent)]
    WithinAsync(#[from] WithinAsync),
}
