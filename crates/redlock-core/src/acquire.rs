//! One acquire: rounds until one is won. Reads like the Redis page.

use std::{future::pending, sync::Arc, time::Duration};

use tokio::{
    runtime::Handle,
    time::{Instant, sleep, sleep_until, timeout},
};
use tracing::{Instrument, field};

use crate::{
    algorithm::{Asking, Cause, Decision, Lost, Next, Notified, Retry, Schedule, Stop},
    claim::Claim,
    error::{AcquireError, Attempts},
    fleet::{Fleet, Terms},
    lock::Lock,
    observe::{Event, NotAcquired},
    options::AcquireOptions,
    request::Counters,
    resources::Resources,
    round_trip::SHORTLY,
    slots::SlotsError,
    votes::{Ballot, Votes},
    waiting::{Holding, Place, Queueing, Turn},
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

/// Tells of a call that is dropped before it is over.
struct Told<'a> {
    acquire: &'a Acquire<'a>,
    rounds: u32,
    is_over: bool,
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        let Self { acquire, rounds, is_over } = *self;
        if !is_over && acquire.fleet.observers.are_there() {
            acquire.not_acquired(rounds, acquire.elapsed(), NotAcquired::Cancelled);
        }
    }
}

/// A round that was lost, and what is known from it.
struct LostRound {
    lost: Lost,
    votes: Box<Votes>,
    /// What the round took, to be given back.
    claim: Claim,
    /// When the holders' ttls will have ended.
    free_after: Option<Duration>,
    /// Which node wakes us, if it refused and can.
    queued_on: Option<usize>,
    /// Why it was asked.
    cause: Cause,
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
            rounds = field::Empty,
            waited_ms = field::Empty,
        );
        let mut told = Told { acquire: &self, rounds: 0, is_over: false };
        let acquired = self.rounds(&mut told.rounds).instrument(span.clone()).await;
        told.is_over = true;
        let (made, waited) = (told.rounds, self.elapsed());
        let waited_ms = waited.as_millis() as u64;
        // Without a check, which tells of a loss: that comes after this.
        let validity = |lock: &Lock| lock.shared().standing.validity(self.fleet.clock.now());
        span.record("rounds", made).record("waited_ms", waited_ms).in_scope(|| match &acquired {
            Ok(lock) => tracing::debug!(rounds = made, waited_ms, validity = ?validity(lock), "acquired"),
            Err(error) => tracing::debug!(rounds = made, waited_ms, %error, "not acquired"),
        });
        let observers = &self.fleet.observers;
        match &acquired {
            Ok(lock) if observers.are_there() => {
                let (resources, validity) = (lock.resources(), validity(lock));
                observers.tell(&Event::Acquired { resources, rounds: made, waited, validity });
            }
            Ok(_) => {}
            Err(error) => self.not_acquired(made, waited, NotAcquired::Failed(error)),
        }
        acquired
    }

    fn not_acquired(&self, rounds: u32, waited: Duration, why: NotAcquired<'_>) {
        self.fleet.observers.tell(&Event::NotAcquired { resources: &self.resources, rounds, waited, why });
    }

    /// Rounds, each when its turn comes. Who waits behind others of this process asks no node, and its attempts pass all the
    /// same.
    async fn rounds(&self, made: &mut u32) -> Result<Lock, AcquireError> {
        let (mut place, mut turn) = self.place();
        let mut attempt: u32 = 0;
        loop {
            attempt = attempt.saturating_add(1);
            let lost = match turn.take() {
                None => None,
                Some(turn) => {
                    // The last attempt is no time to let others come first.
                    let may_yield = place.is_some() && turn.cause().yields();
                    let turn = if may_yield && self.is_last(attempt) { Turn::Due } else { turn };
                    match self.round(turn, &mut place, made).await? {
                        Ok(lock) => return Ok(lock),
                        lost => lost.err(),
                    }
                }
            };
            let free_after = lost.as_ref().and_then(|lost| lost.free_after);
            match (self.retry.next(attempt, self.elapsed(), free_after, self.fleet.random()?), lost) {
                (Next::After(pause), lost) => match self.pause(pause, lost, &mut place, made).await? {
                    Ok(lock) => return Ok(lock),
                    Err(next) => turn = next,
                },
                (Next::Stop(stop), Some(lost)) => return Err(self.failed(*made, lost, stop)),
                // Its turn never came. A round of its own tells why.
                (Next::Stop(stop), None) => {
                    let last = self.round(Turn::Due, &mut place, made).await?;
                    return last.map_err(|lost| self.failed(*made, lost, stop));
                }
            }
        }
    }

    fn is_last(&self, attempt: u32) -> bool {
        matches!(self.retry.next(attempt, self.elapsed(), None, 0), Next::Stop(_))
    }

    /// The place of this call in the line of its process, if it waits in one; and its turn, if it has come.
    fn place(&self) -> (Option<Place<'_>>, Option<Turn>) {
        if self.keys.len() > 1 || self.retry.is_once() {
            return (None, Some(Turn::Arrived));
        }
        let (place, turn) = Place::take(self.fleet, &self.runtime, self.keys.first());
        (Some(place), turn)
    }

    /// The pause after an attempt. Whoever gets its turn before the pause is over uses it: the lock, or the turn with which
    /// the next attempt begins.
    async fn pause(
        &self,
        pause: Duration,
        mut lost: Option<LostRound>,
        place: &mut Option<Place<'_>>,
        made: &mut u32,
    ) -> Result<Result<Lock, Option<Turn>>, AcquireError> {
        let mut due = Instant::now().checked_add(pause);
        let (mut asking, mut notified) = (Asking::default(), Notified::default());
        loop {
            let (mut again, mut rest) = (None, Duration::ZERO);
            if let Some(lost) = lost.take() {
                tracing::debug!(why = ?lost.lost, votes = %lost.votes, ?pause, "round lost");
                let (claimed, is_contended) = (Arc::clone(lost.claim.shared()), lost.lost == Lost::Contended);
                // What nodes have not given back by then follows in the background.
                let patience = left_until(due).max(Self::GIVING_BACK.min(self.left() / 2));
                // A turn that was of no use is passed on. If another holds the lock, that one will do so.
                let passes_on = match lost.cause {
                    Cause::Woken => !is_contended,
                    Cause::Follows => true,
                    // Those were refused for nothing who asked meanwhile.
                    Cause::Arrived | Cause::Due => lost.lost == Lost::TooSlow,
                };
                // A holder that is gone wakes nobody.
                let free_at = lost.free_after.and_then(|free_after| Instant::now().checked_add(free_after));
                due = due.into_iter().chain(free_at).min();
                let cause = lost.cause;
                let _ = timeout(patience, lost.claim.give_back(passes_on)).await;
                // Who waits for a lock of its own process is told there; if it is not told for a whole pause, that one is gone.
                let is_contended = is_contended && place.is_some();
                if is_contended
                    && self.fleet.lines.contended(self.keys.first(), cause == Cause::Due, self.fleet.clock.now())
                {
                    let waits = match lost.queued_on {
                        Some(node) => !claimed.was_granted_by(node),
                        // It polls where nobody can wake it.
                        None => !self.fleet.listening.open(self.fleet, &self.runtime, left_until(due)).await,
                    };
                    again = asking.lost(waits, self.fleet.random()?);
                }
                if cause == Cause::Woken && again.is_none() {
                    rest = notified.in_vain().min(left_until(due));
                }
            }
            let turn = match (place.as_mut(), again.filter(|again| *again < left_until(due))) {
                (None, _) => {
                    wait_until(due).await;
                    return Ok(Err(Some(Turn::Due)));
                }
                (Some(_), Some(again)) => {
                    sleep(again).await;
                    Turn::Arrived
                }
                (Some(place), None) => {
                    if !rest.is_zero() {
                        sleep(rest).await;
                    }
                    match place.turn(due).await {
                        Some(turn) if turn.cause() != Cause::Due => turn,
                        due => return Ok(Err(due)),
                    }
                }
            };
            if left_until(due).is_zero() {
                return Ok(Err(Some(turn)));
            }
            if turn.cause() == Cause::Woken {
                asking = Asking::default();
            }
            match self.round(turn, place, made).await? {
                Ok(lock) => return Ok(Ok(lock)),
                round => lost = round.err(),
            }
        }
    }

    /// One round: the steps of the Redis page.
    async fn round(
        &self,
        turn: Turn,
        place: &mut Option<Place<'_>>,
        made: &mut u32,
    ) -> Result<Result<Lock, LostRound>, AcquireError> {
        *made = made.saturating_add(1);

        // 0. Who comes behind others has to be told when its turn comes.
        if place.as_ref().is_some_and(|place| place.comes_behind_others(turn.cause())) {
            self.fleet.listening.open(self.fleet, &self.runtime, self.left()).await;
        }

        // 1. The time, before the first byte is sent; and a token that no round has used before.
        let started = self.fleet.clock.now();
        let token = self.fleet.token()?;

        // 2. All nodes at once. From here on the claim is given back on all of them, unless the round is won.
        let (resources, keys, counters) = (self.resources.clone(), self.keys.clone(), self.counters.clone());
        let claim = Claim::new(self.fleet, &self.runtime, resources, keys, token, counters, &self.terms);
        let queueing = place.as_ref().and_then(|place| place.queueing(turn.cause()));
        let ask = |among: &dyn Fn(usize) -> bool, patience, is_likely_held, queueing| {
            let predecessor = turn.predecessor();
            claim.ask_to_acquire(among, &self.terms, patience, is_likely_held, predecessor, queueing)
        };

        // 3. Votes, until they decide. A slow node is not waited for. Late ones go on in the background: what else they are
        //    asked waits behind that.
        let mut ballot = Ballot::new(self.fleet);
        let mut decision = match queueing.as_ref().and_then(Queueing::asked_first) {
            None => {
                let is_likely_held = *made > 1 && turn.cause() != Cause::Woken;
                ballot.decide(&mut ask(&|_| true, self.patience(), is_likely_held, queueing.as_ref())).await
            }
            // Who may come behind others asks the node first on which they stand in line.
            Some(first) => {
                let mut answer = ask(&|node| node == first, self.patience().min(SHORTLY), true, queueing.as_ref());
                if let Some((member, answer)) = answer.next().await {
                    ballot.count(member, answer);
                }
                if ballot.refusing().next().is_some() {
                    Decision::Lost(Lost::Contended)
                } else {
                    let mut answers = ask(&|node| node != first, self.patience(), false, None);
                    answers.take_over(answer);
                    ballot.decide(&mut answers).await
                }
            }
        };
        let took = || self.fleet.clock.now().saturating_sub(started);
        let left = || self.terms.validity.saturating_sub(took());

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
            Decision::Won => {
                claim.hold(self.holding(turn.cause(), place));
                Ok(Ok(Lock::new(claim, self.terms, started, self.auto_extend)))
            }
            Decision::Lost(lost) => {
                place.iter_mut().for_each(Place::asked);
                Ok(Err(LostRound {
                    lost,
                    free_after: ballot.free_after(),
                    cause: turn.cause(),
                    queued_on: queueing
                        .and_then(|queueing| queueing.heard_on())
                        .filter(|node| !ballot.has_failed(*node)),
                    votes: Box::new(ballot.close(verb, took())),
                    claim,
                }))
            }
        }
    }

    /// Those of this process who wait for the key are told when the lock is given back.
    fn holding(&self, cause: Cause, place: &mut Option<Place<'_>>) -> Option<Holding> {
        match place.take() {
            Some(place) => Some(place.won(cause)),
            None if self.keys.len() > 1 => None,
            None => Some(Holding::at_once(&self.fleet.lines, self.keys.first(), self.fleet.clock.now())),
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

fn left_until(due: Option<Instant>) -> Duration {
    due.map_or(Duration::MAX, |due| due.saturating_duration_since(Instant::now()))
}

async fn wait_until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => pending().await,
    }
}
