//! The driver: sends, waits and keeps time, and asks `algorithm` what follows. Reads like the Redis page.

use std::{sync::Arc, time::Duration};

use tokio::{
    runtime::Handle,
    time::{sleep, timeout},
};
use tracing::{Instrument, field};

use crate::{
    algorithm::{Decision, Lost, Next, Retry, Stop},
    background::CloseError,
    builder::{BuildError, RedlockBuilder},
    claim::Claim,
    error::{AcquireError, Attempts, Named},
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
    ///
    /// # Panics
    ///
    /// If the runtime has no timers (`enable_time`).
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
    ///
    /// # Panics
    ///
    /// As [`Redlock::acquire`].
    pub async fn try_acquire(&self, resource: impl AsRef<str>, ttl: Duration) -> Result<Lock, AcquireError> {
        Acquire::new(&self.fleet, resource.as_ref(), ttl, Retry::never())?.run().await
    }

    /// Waits until the background work is done: late nodes, and what dropped locks and cancelled calls give back. Call
    /// it before the process ends, and before you take a lock again that you have just dropped; a key that is not given
    /// back blocks its resource until the ttl is over.
    ///
    /// Bounded: at most 15 seconds, and about two where nodes end hung requests themselves, as ours do. The `Redlock`
    /// stays usable.
    ///
    /// # Errors
    ///
    /// If there is work left after that time, or the call is made outside a tokio runtime, where it cannot wait.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it waits no longer. The work goes on.
    ///
    /// # Panics
    ///
    /// As [`Redlock::acquire`].
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
    /// What the round took, to be given back.
    claim: Claim,
    /// When the holders' ttls will have ended.
    free_after: Option<Duration>,
}

impl<'a> Acquire<'a> {
    /// How long the next round waits at least for nodes to give back what the lost one took, were the pause shorter.
    const GIVING_BACK: Duration = Duration::from_millis(50);

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
            resource = %Named(&self.resource),
            ttl_ms = self.terms.ttl.sent_millis(),
            attempts = field::Empty,
            waited_ms = field::Empty,
        );
        let mut attempt = 0;
        let acquired = self.rounds(&mut attempt).instrument(span.clone()).await;
        let waited_ms = self.elapsed().as_millis() as u64;
        span.record("attempts", attempt).record("waited_ms", waited_ms).in_scope(|| match &acquired {
            Ok(lock) => tracing::debug!(attempt, waited_ms, validity = ?lock.validity(), "acquired"),
            Err(error) => tracing::debug!(attempt, waited_ms, %error, "not acquired"),
        });
        acquired
    }

    async fn rounds(&self, attempt: &mut u32) -> Result<Lock, AcquireError> {
        loop {
            *attempt = attempt.saturating_add(1);
            let lost = match self.round().await? {
                Ok(lock) => return Ok(lock),
                Err(lost) => lost,
            };
            let random = self.fleet.random()?;
            match self.retry.next(*attempt, self.elapsed(), lost.free_after, random) {
                Next::After(pause) => {
                    tracing::debug!(attempt, why = ?lost.lost, votes = %lost.votes, ?pause, "round lost");
                    let resume = sleep(pause);
                    // What nodes have not given back by then follows in the background.
                    let patience = pause.max(Self::GIVING_BACK.min(self.left() / 2));
                    let _ = timeout(patience, lost.claim.give_back()).await;
                    resume.await;
                }
                Next::Stop(stop) => return Err(self.failed(*attempt, lost, stop)),
            }
        }
    }

    /// One round: the steps of the Redis page.
    async fn round(&self) -> Result<Result<Lock, LostRound>, AcquireError> {
        // 1. The time, before the first byte is sent; and a token that no round has used before.
        let started = self.fleet.clock.now();
        let token = Token::random(&*self.fleet.entropy)?;

        // 2. All nodes at once. From here on the claim is given back on all of them, unless the round is won.
        let claim = Claim::new(self.fleet, &self.runtime, self.resource.clone(), token, self.terms.node_timeout);
        let mut answers = claim.acquire(&self.terms, self.patience());

        // 3. Votes, until they decide. A slow node is not waited for.
        let mut ballot = Ballot::new(self.fleet);
        let decision = ballot.decide(&mut answers).await;

        // 4. The validity that is left, as a deadline on our own clock.
        let took = self.fleet.clock.now().saturating_sub(started);
        let validity = self.terms.validity.saturating_sub(took);

        // 5. Won, or lost and to be given back on all nodes.
        match decision.with(validity) {
            Decision::Won => Ok(Ok(Lock::new(claim, started + self.terms.validity))),
            Decision::Lost(lost) => {
                let free_after = ballot.free_after();
                Ok(Err(LostRound { lost, votes: ballot.close("granted", took), claim, free_after }))
            }
        }
    }

    /// How long the round may wait for a node: no longer than the caller wants to wait.
    fn patience(&self) -> Duration {
        self.terms.node_timeout.min(self.left())
    }

    /// What is left until the deadline.
    fn left(&self) -> Duration {
        self.retry.ends_after().map_or(Duration::MAX, |deadline| deadline.saturating_sub(self.elapsed()))
    }

    fn elapsed(&self) -> Duration {
        self.fleet.clock.now().saturating_sub(self.called)
    }

    fn failed(&self, made: u32, round: LostRound, stop: Stop) -> AcquireError {
        let LostRound { lost, votes: last_round, .. } = round;
        let elapsed = self.elapsed();
        let tried = Box::new(Attempts { resource: self.resource.clone(), made, elapsed, lost, last_round });
        // The deadline may also have cut the last attempt off.
        let cut_off = self.retry.ends_after().is_some_and(|deadline| elapsed >= deadline);
        match (stop, lost) {
            (Stop::Deadline, _) => AcquireError::Deadline(tried),
            (Stop::Attempts, _) if cut_off => AcquireError::Deadline(tried),
            (Stop::Attempts, Lost::Contended) => AcquireError::Contended(tried),
            (Stop::Attempts, Lost::NoQuorum) => AcquireError::NoQuorum(tried),
            (Stop::Attempts, Lost::TooSlow) => AcquireError::TooSlow(tried),
        }
    }
}
