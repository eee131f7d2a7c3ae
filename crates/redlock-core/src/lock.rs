//! The held lock.

use std::{fmt, time::Duration};

use tokio::{runtime::Handle, time::Instant};

use crate::{
    algorithm::{Decision, Lost},
    claim::Claim,
    error::{ExtendError, Named, ReleaseError},
    token::Token,
    votes::Ballot,
};

/// A lock that is held, for as long as [`Lock::validity`] says.
///
/// Give it back with [`Lock::release`]. Dropped, it is given back in the background, on the runtime on which it was
/// acquired, some time soon, and nobody learns how that went; if that runtime has ended or is not driven any more, the
/// ttl ends the lock.
#[must_use = "a lock that is dropped is given back at once"]
pub struct Lock {
    claim: Claim,
    /// When the validity ends, on the fleet's clock.
    deadline: Duration,
}

/// What [`Lock::release`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Release {
    /// A quorum held the lock until now and has deleted it: it was exclusive to the end.
    Released,
    /// The lock was gone on so many nodes that no quorum held it any more: it expired, or somebody deleted it. It may
    /// have been another's before this call.
    AlreadyGone,
}

impl Lock {
    /// `deadline` is when the validity ends.
    pub(crate) fn new(claim: Claim, deadline: Duration) -> Self {
        Self { claim, deadline }
    }

    /// What is locked.
    #[must_use]
    pub fn resource(&self) -> &str {
        self.claim.resource().as_str()
    }

    /// The value of the key on the nodes. Whoever knows it can release the lock.
    #[must_use]
    pub fn token(&self) -> &Token {
        self.claim.token()
    }

    /// How long the lock may be relied on from now: `ttl - time since the acquire began - drift`, and zero after that.
    #[must_use]
    pub fn validity(&self) -> Duration {
        self.deadline.saturating_sub(self.claim.fleet().clock.now())
    }

    /// Whether the lock may still be relied on. Ask right before each side effect.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        !self.validity().is_zero()
    }

    /// When the validity ends, for `tokio::time::timeout_at(lock.valid_until(), work)`.
    ///
    /// tokio's clock may stand still while the machine is suspended. After a suspension [`Lock::validity`] is right.
    #[must_use]
    pub fn valid_until(&self) -> Instant {
        Instant::now() + self.validity()
    }

    /// Prolongs the lock: it is valid for `ttl` less drift, counted from this call. Returns the new validity. Never
    /// shortens: where more is left than the ttl would give, that stays.
    ///
    /// It must be sent and confirmed by a quorum before the present validity ends. Nodes that lost the key get it
    /// again, so a lock that is extended survives a restart of every node, one after the other.
    ///
    /// # Errors
    ///
    /// [`ExtendError`]. Unless it says that the lock is lost, the lock stands with the validity it had.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it counts as failed. The requests that are out are finished in the background.
    ///
    /// # Panics
    ///
    /// If the runtime has no timers (`enable_time`).
    pub async fn extend(&mut self, ttl: Duration) -> Result<Duration, ExtendError> {
        let resource = self.claim.resource().clone();
        let fleet = self.claim.fleet().clone();
        let terms = fleet.terms(ttl)?;
        Handle::try_current().map_err(|_| ExtendError::NoRuntime)?;

        let started = fleet.clock.now();
        if started >= self.deadline {
            return Err(ExtendError::Expired { resource });
        }
        let mut answers = self.claim.extend(&terms);
        let mut ballot = Ballot::new(&fleet);
        let decision = ballot.decide(&mut answers).await;

        let now = fleet.clock.now();
        match decision.with(self.deadline.saturating_sub(now)) {
            Decision::Won => {
                self.deadline = self.deadline.max(started + terms.validity);
                tracing::debug!(resource = %Named(&resource), validity = ?self.validity(), "extended");
                Ok(self.validity())
            }
            Decision::Lost(lost) => {
                let refused_by_quorum = ballot.round().refused_by_quorum();
                let votes = ballot.close("extended", now.saturating_sub(started));
                let error = match lost {
                    Lost::TooSlow => ExtendError::TooSlow { resource, votes },
                    _ if refused_by_quorum => {
                        self.deadline = now;
                        ExtendError::Lost { resource, votes }
                    }
                    _ => ExtendError::NoQuorum { resource, votes },
                };
                tracing::warn!(%error, "not extended");
                Err(error)
            }
        }
    }

    /// Gives the lock back on all nodes, and tells whether it was still held. Returns as soon as the answers tell, at
    /// the latest after the node timeout.
    ///
    /// # Errors
    ///
    /// If too few nodes answered to tell. Those are still asked in the background.
    ///
    /// # Cancel safety
    ///
    /// Dropped, the release goes on in the background.
    ///
    /// # Panics
    ///
    /// If the runtime has no timers (`enable_time`).
    pub async fn release(self) -> Result<Release, ReleaseError> {
        Handle::try_current().map_err(|_| ReleaseError::NoRuntime)?;
        let resource = self.claim.resource().clone();
        let fleet = self.claim.fleet().clone();
        let started = fleet.clock.now();

        let mut answers = self.claim.release();
        let mut ballot = Ballot::new(&fleet);
        loop {
            if ballot.round().decision() == Some(Decision::Won) {
                tracing::debug!(resource = %Named(&resource), "released");
                return Ok(Release::Released);
            }
            if ballot.round().refused_for_certain() {
                tracing::warn!(resource = %Named(&resource), "was already gone when it was to be released");
                return Ok(Release::AlreadyGone);
            }
            if !ballot.count_next(&mut answers).await {
                break;
            }
        }
        let votes = ballot.close("released", fleet.clock.now().saturating_sub(started));
        let error = ReleaseError::Unknown { resource, votes };
        tracing::warn!(%error, "release unknown");
        Err(error)
    }
}

impl fmt::Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lock")
            .field("resource", &self.resource())
            .field("token", self.token())
            .field("validity", &self.validity())
            .finish()
    }
}

const _: fn() = || {
    fn is_send_sync<T: Send + Sync>() {}
    is_send_sync::<Lock>();
    is_send_sync::<crate::Redlock>();
    is_send_sync::<crate::AcquireError>();
};
