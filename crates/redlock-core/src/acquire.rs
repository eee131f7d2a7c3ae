//! One acquire: rounds until one is won. Reads like the Redis page.

use std::{sync::Arc, time::Duration};

use tokio::{
    runtime::Handle,
    time::{sleep, timeout},
};
use tracing::{Instrument, field};

use crate::{
    algorithm::{Decision, Lost, Next, Retry, Schedule, Stop},
    claim::Claim,
    error::{AcquireError, Attempts},
    fleet::{Fleet, Terms},
    lock::Lock,
    options::AcquireOptions,
    request::Counters,
    resources::Resources,
    slots::SlotsError,
    votes::{Ballot, Votes},
};

/// One call to acquire.
pub(crate) struct Acquire<'a> {
    fleet: &'a Arc<Fleet>,
    runtime: Handle,
    resources: Resources,
    /// Their keys on the nodes.
    keys: Resources,
    /// The fencing counters beside them, if the lock is to have a fencing token.
    counters: Option<Counters>,
    terms: Terms,
    retry: Retry,
    /// How the lock is extended while it is held.
    auto_extend: Option<Schedule>,
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

    /// Checks all that was asked for, and sends nothing yet.
    pub(crate) fn new(
        fleet: &'a Arc<Fleet>,
        resources: impl Into<Resources>,
        options: AcquireOptions,
    ) -> Result<Self, AcquireError> {
        let resources = resources.into();
        let keys = fleet.keys(&resources)?;
        let fencing = options.fencing.unwrap_or(fleet.fencing);
        let counters = fencing.then(|| fleet.counters(&keys, options.ttl)).transpose()?;
        fleet.check_reserved(&keys, counters.as_ref())?;
        SlotsError::check(fleet, &resources, &keys, counters.as_ref())?;
        let terms = fleet.terms(options.ttl)?;
        let auto_extend = options.auto_extend.map(|options| fleet.schedule(options, &terms)).transpose()?;
        Ok(Self {
            fleet,
            resources,
            keys,
            counters,
            terms,
            runtime: Handle::try_current().map_err(|_| AcquireError::NoRuntime)?,
            retry: options.policy(&fleet.retry),
            auto_extend,
            called: fleet.clock.now(),
        })
    }

    /// Rounds until one is won or the policy says stop.
    pub(crate) async fn run(self) -> Result<Lock, AcquireError> {
        let span = tracing::info_span!(
            "redlock.acquire",
            resource = %self.resources,
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
        let token = self.fleet.token()?;

        // 2. All nodes at once. From here on the claim is given back on all of them, unless the round is won.
        let (resources, keys, counters) = (self.resources.clone(), self.keys.clone(), self.counters.clone());
        let claim = Claim::new(self.fleet, &self.runtime, resources, keys, token, counters, self.terms.node_timeout);
        let mut answers = claim.ask_to_acquire(&self.terms, self.patience());

        // 3. Votes, until they decide. A slow node is not waited for.
        let mut ballot = Ballot::new(self.fleet);
        let mut decision = ballot.decide(&mut answers).await;
        let took = || self.fleet.clock.now().saturating_sub(started);
        let left = || self.terms.validity.saturating_sub(took());

        // Late nodes are not waited for, and go on in the background: what else they are asked waits behind that.
        drop(answers);

        // 4. A fencing token, if one is wanted: what a quorum has counted up to.
        let mut verb = "granted";
        if self.counters.is_some() && decision.with(left()) == Decision::Won {
            match claim.fence(self.fleet, &mut ballot, || self.patience().min(left())).await {
                Ok(token) => claim.shared().fenced(token),
                Err(lost) => (decision, verb) = (Decision::Lost(lost), "confirmed the fencing token"),
            }
        }

        // 5. The validity that is left, as a deadline on our own clock. Won, or lost and to be given back on all nodes.
        match decision.with(left()) {
            Decision::Won => Ok(Ok(Lock::new(claim, self.terms, started, self.auto_extend))),
            Decision::Lost(lost) => {
                let free_after = ballot.free_after();
                Ok(Err(LostRound { lost, votes: Box::new(ballot.close(verb, took())), claim, free_after }))
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
        let tried = Box::new(Attempts { resources: self.resources.clone(), made, elapsed, lost, last_round });
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
