//! The driver: sends, waits and keeps time, and asks `algorithm` what follows. Reads like the Redis page.

use std::{sync::Arc, time::Duration};

use tokio::runtime::Handle;
use tracing::{Instrument, field};

use crate::{
    algorithm::{Decision, Lost, Next, Retry, Stop},
    background::CloseError,
    builder::{BuildError, RedlockBuilder},
    claim::Claim,
    error::{AcquireError, Attempts},
    fleet::{Fleet, Terms},
    lock::Lock,
    node::LockNode,
    options::AcquireOptions,
    resource::Resource,
    round_trip::LATE_LIMIT,
    token::Token,
    votes::{Ballot, Votes},
};

/// The distributed lock over N independent Redis nodes. Cheap to clone; clones are one and the same.
///
/// ```
/// use std::time::Duration;
/// use redlock_core::Redlock;
/// use redlock_mock::MockNode; // or: use redlock_redis_rs::RedisNode; use redlock_fred::RedisNode;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let redlock = Redlock::new(MockNode::fleet(3))?;
///
/// let lock = redlock.acquire("invoice:42", Duration::from_secs(10)).await?;
/// assert!(lock.validity() > Duration::from_secs(9)); // how long the lock may be relied on
/// lock.release().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Redlock {
    fleet: Arc<Fleet>,
}

impl Redlock {
    /// A lock over these nodes, everything else by default. Sends nothing: nodes may still be down.
    ///
    /// # Errors
    ///
    /// If there are no nodes, or two of them have one name.
    pub fn new(nodes: impl IntoIterator<Item = impl LockNode>) -> Result<Self, BuildError> {
        Self::builder().nodes(nodes).build()
    }

    /// Sets more than the nodes.
    pub fn builder() -> RedlockBuilder {
        RedlockBuilder::default()
    }

    /// Takes the lock on `resource`, waiting while others hold it: for a ttl, or with [`AcquireOptions`].
    ///
    /// All nodes are asked at once, and the lock is taken the moment a quorum has granted: a hung or dead minority
    /// costs no time. A lost round is given back on all nodes and retried as the [`Retry`] policy says.
    ///
    /// # Errors
    ///
    /// [`AcquireError`] tells contended, no quorum, too slow and deadline apart, with every node's answer in the last
    /// round.
    ///
    /// # Cancel safety
    ///
    /// Dropped at any await point, the call gives back in the background what it has taken so far, on all nodes.
    pub async fn acquire(
        &self,
        resource: impl AsRef<str>,
        options: impl Into<AcquireOptions>,
    ) -> Result<Lock, AcquireError> {
        let options = options.into();
        let ttl = options.ttl;
        Acquire::new(&self.fleet, resource.as_ref(), ttl, options.policy(&self.fleet.retry))?.run().await
    }

    /// Takes the lock if it is free now: one round, no retry.
    ///
    /// # Errors
    ///
    /// As [`Redlock::acquire`]. [`AcquireError::Contended`] means that others hold it, or that another took some of
    /// the nodes at the same moment.
    ///
    /// # Cancel safety
    ///
    /// As [`Redlock::acquire`].
    pub async fn try_acquire(&self, resource: impl AsRef<str>, ttl: Duration) -> Result<Lock, AcquireError> {
        Acquire::new(&self.fleet, resource.as_ref(), ttl, Retry::never())?.run().await
    }

    /// Waits until the background work is done: late nodes, and what dropped locks and cancelled calls give back. Call
    /// it before the process ends; a key that is not given back blocks its resource until the ttl is over.
    ///
    /// Bounded: at most 15 seconds, and about two where nodes end hung requests themselves, as ours do. The `Redlock`
    /// stays usable.
    ///
    /// # Errors
    ///
    /// If there is work left after that time.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it waits no longer. The work goes on.
    pub async fn close(&self) -> Result<(), CloseError> {
        self.fleet.background.finish(3 * LATE_LIMIT).await
    }
}

impl From<Fleet> for Redlock {
    fn from(fleet: Fleet) -> Self {
        Self { fleet: Arc::new(fleet) }
    }
}

/// One call to acquire.
struct Acquire<'a> {
    fleet: &'a Arc<Fleet>,
    runtime: Handle,
    resource: Resource,
    terms: Terms,
    retry: Retry,
    /// When the call was made.
    called: Duration,
}

/// A round that was lost, and what is known from it.
struct LostRound {
    lost: Lost,
    votes: Box<Votes>,
    /// When the holders' ttls will have ended.
    free_after: Option<Duration>,
}

impl<'a> Acquire<'a> {
    fn new(fleet: &'a Arc<Fleet>, resource: &str, ttl: Duration, retry: Retry) -> Result<Self, AcquireError> {
        Ok(Self {
            fleet,
            resource: Resource::new(resource)?,
            terms: fleet.terms(ttl)?,
            runtime: Handle::try_current().map_err(|_| AcquireError::NoRuntime)?,
            retry,
            called: fleet.clock.now(),
        })
    }

    /// Rounds until one is won or the policy says stop.
    async fn run(self) -> Result<Lock, AcquireError> {
        let span = tracing::info_span!(
            "redlock.acquire",
            resource = self.resource.as_str(),
            ttl_ms = self.terms.ttl.sent_millis(),
            attempts = field::Empty,
            waited_ms = field::Empty,
        );
        let attempts = async {
            let mut attempt = 0;
            loop {
                attempt += 1;
                let lost = match self.round().await? {
                    Ok(lock) => {
                        let waited_ms = self.elapsed().as_millis() as u64;
                        tracing::Span::current().record("attempts", attempt).record("waited_ms", waited_ms);
                        tracing::debug!(attempt, waited_ms, validity = ?lock.validity(), "acquired");
                        return Ok(lock);
                    }
                    Err(lost) => lost,
                };
                match self.next(attempt, lost.free_after)? {
                    Next::After(pause) => {
                        tracing::debug!(attempt, why = ?lost.lost, votes = %lost.votes, ?pause, "round lost");
                        tokio::time::sleep(pause).await;
                    }
                    Next::Stop(stop) => return Err(self.failed(attempt, lost, stop)),
                }
            }
        };
        attempts.instrument(span).await
    }

    /// One round: the steps of the Redis page.
    async fn round(&self) -> Result<Result<Lock, LostRound>, AcquireError> {
        // 1. The time, before the first byte is sent; and a token that no round has used before.
        let started = self.fleet.clock.now();
        let token = Token::random(&*self.fleet.entropy)?;

        // 2. All nodes at once. From here on the claim is given back on all of them, unless the round is won.
        let node_timeout = self.terms.node_timeout;
        let claim = Claim::new(self.fleet, &self.runtime, self.resource.clone(), token, node_timeout);
        let mut answers = claim.acquire(&self.terms, self.patience());

        // 3. Votes, until they decide. A slow node is not waited for.
        let mut ballot = Ballot::new(self.fleet);
        let decision = ballot.decide(&mut answers).await;

        // 4. The validity that is left, as a deadline on our own clock.
        let elapsed = self.fleet.clock.now().saturating_sub(started);
        let validity = self.terms.validity.saturating_sub(elapsed);

        // 5. Won, or given back on all nodes: `claim` is dropped.
        match decision.with(validity) {
            Decision::Won => {
                ballot.warn_of_failures();
                Ok(Ok(Lock::new(claim, started + self.terms.validity)))
            }
            Decision::Lost(lost) => {
                Ok(Err(LostRound { lost, free_after: ballot.free_after(), votes: ballot.close("granted", elapsed) }))
            }
        }
    }

    /// How long the round may wait for a node: no longer than the caller wants to wait.
    fn patience(&self) -> Duration {
        let left = self.retry.ends_after().map(|deadline| deadline.saturating_sub(self.elapsed()));
        self.terms.node_timeout.min(left.unwrap_or(Duration::MAX))
    }

    fn elapsed(&self) -> Duration {
        self.fleet.clock.now().saturating_sub(self.called)
    }

    fn next(&self, attempt: u32, free_after: Option<Duration>) -> Result<Next, AcquireError> {
        let random = self.fleet.random()?;
        Ok(self.retry.next(attempt, self.elapsed(), self.terms.node_timeout, free_after, random))
    }

    fn failed(&self, made: u32, round: LostRound, stop: Stop) -> AcquireError {
        let LostRound { lost, votes: last_round, .. } = round;
        let tried =
            Box::new(Attempts { resource: self.resource.clone(), made, elapsed: self.elapsed(), lost, last_round });
        let error = match (stop, lost) {
            (Stop::Deadline, _) => AcquireError::Deadline(tried),
            (Stop::Attempts, Lost::Contended) => AcquireError::Contended(tried),
            (Stop::Attempts, Lost::NoQuorum) => AcquireError::NoQuorum(tried),
            (Stop::Attempts, Lost::TooSlow) => AcquireError::TooSlow(tried),
        };
        tracing::debug!(%error, "not acquired");
        error
    }
}
