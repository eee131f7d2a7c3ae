//! A lock of another process goes on in this one: the steps of the driver.

use std::sync::Arc;

use futures_util::future::join_all;
use tokio::runtime::Handle;

use crate::{
    node::LATE_LIMIT,
    algorithm::{Resumed, Resumption, TtlError},
    claim::Claim,
    error::WithinAsync,
    fleet::{Fleet, Terms},
    holds::Holds,
    lock::Lock,
    lock_parts::LockParts,
    observe::Event,
    redlock::Redlock,
    resource::ResourceError,
    resources::Resources,
    round_trip::{Requests, RoundTrip},
    slots::SlotsError,
    token::Token,
    votes::Votes,
};

impl Redlock {
    /// Goes on with a lock that another process has [taken apart](Lock::into_parts), over the same nodes and with the
    /// same [key prefix](crate::RedlockBuilder::key_prefix).
    ///
    /// No clock travels between processes, so the nodes are asked what they hold. The lock goes on if a quorum of them
    /// still holds it, for all its resources: nobody else has held it since it was handed over. Its validity is the
    /// time for which a quorum holds it, less drift, counted from this call.
    ///
    /// It can be extended and released as before. It is not extended by itself until [`Lock::auto_extend`] says so, and
    /// the longest lifetime then counts from this call.
    ///
    /// ```
    /// use std::time::Duration;
    /// use redlock_core::{AutoExtend, LockParts, Redlock};
    /// use redlock_mock::MockNode;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let nodes = MockNode::fleet(3);
    /// # let (here, there) = (Redlock::new(nodes.clone())?, Redlock::new(nodes)?);
    /// // In the process that accepts the job:
    /// let lock = here.acquire("invoice:42", Duration::from_secs(30)).await?;
    /// let parts = lock.into_parts().await?;
    /// let (secret, ttl) = (parts.token().as_str(), parts.ttl()); // to be sent, by this or with serde
    ///
    /// // In the process that does the job:
    /// let parts = LockParts::new(["invoice:42"], secret, ttl)?;
    /// let mut lock = there.resume(parts).await?;
    /// lock.auto_extend(AutoExtend::default())?;
    /// lock.release().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ResumeError`] tells a lock that is lost, which is then given back wherever it is left, from one of which too
    /// little is known, which is left as it is and can be resumed again.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it has no effect: the lock is left as it is, and its ttl ends it unless it is resumed elsewhere. There
    /// is no need for a timeout around it: it returns within the node timeout.
    ///
    /// # Panics
    ///
    /// If the runtime has no timers (`enable_time`).
    pub async fn resume(&self, parts: LockParts) -> Result<Lock, ResumeError> {
        let fleet = &self.fleet;
        let keys = match fleet.keys(parts.resources()) {
            Ok(keys) => keys,
            Err(reason) => return Err(ResumeError::Resource { reason, parts: Box::new(parts) }),
        };
        let fence =
            match parts.fencing_token().map(|token| Ok((fleet.counters(&keys, parts.ttl())?, token))).transpose() {
                Ok(fence) => fence,
                Err(reason) => return Err(ResumeError::Resource { reason, parts: Box::new(parts) }),
            };
        if let Err(reason) = fleet.check_slots(parts.resources(), &keys, fence.as_ref().map(|fence| &fence.0)) {
            return Err(ResumeError::Slots { reason, parts: Box::new(parts) });
        }
        let terms = match fleet.terms(parts.ttl()) {
            Ok(terms) => terms,
            Err(reason) => return Err(ResumeError::Ttl { reason, parts: Box::new(parts) }),
        };
        let Ok(runtime) = Handle::try_current() else {
            return Err(ResumeError::NoRuntime { parts: Box::new(parts) });
        };

        // 1. The time, before the first byte is sent.
        let started = fleet.clock.now();
        let took = || fleet.clock.now().saturating_sub(started);

        // 2. All nodes at once.
        let mut answers = ask_for(fleet, &keys, parts.token(), &terms);

        // 3. What they hold, until it decides.
        let mut resumption = Resumption::new(fleet.quorum, fleet.drift, terms.ttl);
        let mut tally = fleet.tally();
        let found = loop {
            match answers.next().await {
                Some((member, answer)) => {
                    resumption.count((&answer).into());
                    tally.count(member, answer);
                }
                None => {
                    resumption.close();
                    tally.end(answers.waited());
                }
            }
            // They may tell that more is left.
            while let Some((member, answer)) = answers.ready() {
                resumption.count((&answer).into());
                tally.count(member, answer);
            }
            if let Some(found) = resumption.decision(took()) {
                break found;
            }
        };

        // 4. It goes on, or it is given back on all nodes; where that is not known, it is left as it is.
        let votes = Box::new(tally.close("still held it", fleet.names()));
        let claim = || {
            let (resources, token) = (parts.resources().clone(), *parts.token());
            Claim::of_another(fleet, &runtime, resources, keys.clone(), token, fence.clone(), &terms)
        };
        let error = match found {
            Resumed::Valid { validity } => {
                let lock = Lock::held(claim(), terms, started, validity);
                tracing::debug!(resource = %lock.resources(), validity = ?lock.validity(), "resumed");
                fleet.observers.tell(&Event::Resumed { resources: lock.resources(), validity });
                return Ok(lock);
            }
            Resumed::Expired => {
                drop(claim());
                ResumeError::Expired { resources: parts.into_resources(), votes }
            }
            Resumed::Lost => {
                drop(claim());
                ResumeError::Lost { resources: parts.into_resources(), votes }
            }
            Resumed::Unknown => ResumeError::TooFewAnswers { parts: Box::new(parts), votes },
        };
        tracing::warn!(%error, "not resumed");
        Err(error)
    }
}

/// Asks all nodes for all keys.
///
/// Key by key, which is as good as in one step: a key that holds the token when it is looked at holds it for as long as
/// the node says, since only who has the token could shorten that.
fn ask_for(fleet: &Arc<Fleet>, keys: &Resources, token: &Token, terms: &Terms) -> RoundTrip<Holds> {
    let requests = Requests::new(fleet, |member| {
        let (fleet, keys, token) = (Arc::clone(fleet), keys.clone(), *token);
        Box::pin(async move {
            let looks = keys.iter().map(|key| fleet.look(member, key));
            Holds::of(join_all(looks).await, &token)
        })
    });
    let patience = fleet.patience(terms.node_timeout, terms.first_answer_within());
    RoundTrip::new(requests, patience, terms.node_timeout, LATE_LIMIT)
}

/// A lock of another process does not go on in this one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResumeError {
    /// A quorum of the nodes does not hold it any more: it expired, was released, or is another's. What is left of it
    /// is given back in the background.
    #[error("the lock on {} is lost and was not resumed; {votes}", .resources)]
    Lost {
        /// What was locked.
        resources: Resources,
        /// What every node answered.
        votes: Box<Votes>,
    },
    /// A quorum still held it, but nothing was left of its validity. It is given back in the background.
    #[error("the lock on {} expired before it was resumed; {votes}", .resources)]
    Expired {
        /// What was locked.
        resources: Resources,
        /// What every node answered.
        votes: Box<Votes>,
    },
    /// Too few nodes answered to tell whether it is still held. Nothing was released: try again before its ttl ends.
    #[error(
        "unknown whether the lock on {} is still held; nothing was released, it can be resumed again; {votes}",
        .parts.resources()
    )]
    TooFewAnswers {
        /// The lock.
        parts: Box<LockParts>,
        /// What every node answered.
        votes: Box<Votes>,
    },
    /// A resource name cannot be locked with the key prefix here. Nothing was sent.
    #[error("the lock cannot be resumed here: {reason}")]
    Resource {
        /// The lock.
        parts: Box<LockParts>,
        /// Why it cannot.
        reason: ResourceError,
    },
    /// A node is a Redis Cluster, and the resources are in several of its hash slots. Nothing was sent.
    #[error("the lock cannot be resumed here: {reason}")]
    Slots {
        /// The lock.
        parts: Box<LockParts>,
        /// The slots.
        reason: Box<SlotsError>,
    },
    /// The lock's ttl cannot be used with this node timeout. Nothing was sent.
    #[error("the lock cannot be resumed here: {reason}")]
    Ttl {
        /// The lock.
        parts: Box<LockParts>,
        /// Why it cannot.
        reason: TtlError,
    },
    /// The call was not made on a tokio runtime. Nothing was sent.
    #[error("there is no tokio runtime here: call resume from a task of a runtime with time and io enabled")]
    NoRuntime {
        /// The lock.
        parts: Box<LockParts>,
    },
    /// A blocking call was made within async code. Nothing was sent.
    #[error("{WithinAsync}")]
    WithinAsync {
        /// The lock.
        parts: Box<LockParts>,
    },
}

impl ResumeError {
    /// The lock, to be resumed again, unless it is known to be lost.
    #[must_use]
    pub fn into_parts(self) -> Option<LockParts> {
        match self {
            Self::TooFewAnswers { parts, .. }
            | Self::Resource { parts, .. }
            | Self::Slots { parts, .. }
            | Self::Ttl { parts, .. }
            | Self::NoRuntime { parts }
            | Self::WithinAsync { parts } => Some(*parts),
            Self::Lost { .. } | Self::Expired { .. } => None,
        }
    }

    /// What every node answered, if they were asked.
    #[must_use]
    pub fn votes(&self) -> Option<&Votes> {
        match self {
            Self::Lost { votes, .. } | Self::Expired { votes, .. } | Self::TooFewAnswers { votes, .. } => Some(votes),
            Self::Resource { .. }
            | Self::Slots { .. }
            | Self::Ttl { .. }
            | Self::NoRuntime { .. }
            | Self::WithinAsync { .. } => None,
        }
    }
}
