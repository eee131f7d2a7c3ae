//! Sends a request to all nodes at once, returns answers as they come, and finishes late ones in the background.

use std::{
    collections::VecDeque,
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    time::{Instant, Sleep, sleep, timeout, timeout_at},
};

use super::{
    fleet::{Debt, Fleet},
    member::Member,
    tally::{Tally, Waited},
};
use crate::{
    algorithm::Decision,
    node::{NodeError, NodeErrorKind},
    report::NodeAnswer,
};

/// A request to one node, which returns its answer.
pub(crate) type Request<A> = Pin<Box<dyn Future<Output = Result<A, NodeError>> + Send>>;

/// How long a hung node may delay a caller that lets waiters of other processes come first.
pub(crate) const SHORTLY: Duration = Duration::from_millis(50);

/// Requests to some or all nodes, without a time limit.
pub(crate) struct Requests<A> {
    fleet: Arc<Fleet>,
    pending: Vec<Pending<A>>,
}

struct Pending<A> {
    member: usize,
    request: Request<A>,
    /// Set once no caller waits for the answer any more.
    debt: Option<Debt>,
}

impl<A> Requests<A> {
    /// Makes a request to every member by `request`. Nothing is sent before the first poll.
    pub(crate) fn new(fleet: &Arc<Fleet>, request: impl Fn(usize) -> Request<A>) -> Self {
        Self::to(fleet, 0..fleet.members.len(), request)
    }

    /// Makes a request to each of these members.
    pub(crate) fn to(
        fleet: &Arc<Fleet>,
        members: impl Iterator<Item = usize>,
        request: impl Fn(usize) -> Request<A>,
    ) -> Self {
        let pending = |member| Pending { member, request: request(member), debt: None };
        Self { fleet: Arc::clone(fleet), pending: members.map(pending).collect() }
    }

    /// Polls every request, and passes the answers that have arrived to `answered`.
    fn poll(&mut self, cx: &mut Context<'_>, mut answered: impl FnMut(usize, Result<A, NodeError>)) {
        self.pending.retain_mut(|Pending { member, request, .. }| {
            // A backend that panics is one failed node. The requests to other nodes continue.
            let polled = catch_unwind(AssertUnwindSafe(|| request.as_mut().poll(cx)));
            match polled.unwrap_or_else(|_| Poll::Ready(Err(NodeError::new(NodeErrorKind::Other, "the node panicked"))))
            {
                Poll::Ready(answer) => {
                    answered(*member, answer);
                    false
                }
                Poll::Pending => true,
            }
        });
    }

    /// Drives all requests to their end although no caller waits for the answers. A dropped request may or may not have
    /// been sent, and if it is stuck in a client it would block the release that follows.
    ///
    /// A request without an answer `on_time` counts against its node, and is dropped after `limit`. `meanwhile` is
    /// dropped with the last answer, or after [`SHORTLY`] if answers are missing, since a waiter may depend on it. With
    /// `spares_slow`, a node that has answered nothing since an earlier wait in vain is not waited for.
    pub(crate) async fn finish<T>(mut self, on_time: Instant, limit: Duration, spares_slow: bool, meanwhile: T) {
        let fleet = Arc::clone(&self.fleet);
        self.pending.iter_mut().for_each(|request| request.debt = Some(Debt::late(&fleet, request.member)));
        let is_slow = |member: usize| spares_slow && fleet.members.get(member).is_some_and(Member::is_slow);
        if timeout_at(on_time.min(Instant::now() + SHORTLY), self.until_answered_by_all_but(is_slow)).await.is_err() {
            let missing = self.pending.iter().filter_map(|request| fleet.members.get(request.member));
            missing.for_each(Member::was_slow);
        }
        drop(meanwhile);
        if timeout_at(on_time, self.until_answered()).await.is_ok() {
            return;
        }
        self.pending.iter_mut().for_each(|request| request.debt = Some(Debt::overdue(&fleet, request.member)));
        let _ = timeout(limit, self.until_answered()).await;
    }

    async fn until_answered(&mut self) {
        self.until_answered_by_all_but(|_| false).await;
    }

    async fn until_answered_by_all_but(&mut self, is_spared: impl Fn(usize) -> bool) {
        poll_fn(|cx| {
            self.poll(cx, |_, _| {});
            if self.pending.iter().all(|request| is_spared(request.member)) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

/// Requests to all nodes, and a caller that waits for the answers.
///
/// The first poll of [`Exchange::next`] asks every node before it looks at any answer, so a round is never decided
/// before all requests are sent. If it is dropped while answers are missing, the requests are finished in the
/// background.
pub(crate) struct Exchange<A: Send + 'static> {
    requests: Requests<A>,
    /// The caller's runtime, which also drives late requests. The runtime that acquired the lock may have ended.
    runtime: Handle,
    answers: VecDeque<(usize, Result<A, NodeError>)>,
    patience: Pin<Box<Sleep>>,
    waited: Waited,
    on_time: Instant,
    late_limit: Duration,
    meanwhile: Option<Box<dyn Send>>,
}

impl<A: Send + 'static> Exchange<A> {
    /// Waits for at most `patience`. A request that ends in the background after more than `node_timeout` counts as
    /// overdue.
    pub(crate) fn new(requests: Requests<A>, patience: Duration, node_timeout: Duration, late_limit: Duration) -> Self {
        Self {
            answers: VecDeque::with_capacity(requests.pending.len()),
            requests,
            runtime: Handle::current(),
            patience: Box::pin(sleep(patience)),
            waited: Waited { after: patience, is_cut: patience < node_timeout },
            on_time: Instant::now() + node_timeout,
            late_limit,
            meanwhile: None,
        }
    }

    /// Also waits for the missing answers of an earlier exchange.
    pub(crate) fn take_over(&mut self, mut earlier: Self) {
        self.requests.pending.append(&mut earlier.requests.pending);
        self.answers.append(&mut earlier.answers);
    }

    /// Holds a value until all nodes have answered, or until shortly after the decision.
    pub(crate) fn hold(&mut self, meanwhile: Box<dyn Send>) {
        self.meanwhile = Some(meanwhile);
    }

    /// Returns the next answer and the number of its node. `None` once all nodes have answered or the patience is over.
    ///
    /// Cancel safe.
    pub(crate) async fn next(&mut self) -> Option<(usize, Result<A, NodeError>)> {
        poll_fn(|cx| {
            if self.answers.is_empty() {
                self.requests.poll(cx, |member, answer| self.answers.push_back((member, answer)));
            }
            if let Some(answer) = self.answers.pop_front() {
                return Poll::Ready(Some(answer));
            }
            if self.requests.pending.is_empty() {
                return Poll::Ready(None);
            }
            self.patience.as_mut().poll(cx).map(|()| None)
        })
        .await
    }

    /// How long the exchange waits for nodes that do not answer.
    pub(crate) fn waited(&self) -> Waited {
        self.waited
    }

    /// Counts answers until they decide or the patience is over. Does not wait for slow nodes after the decision.
    pub(crate) async fn decide(&mut self, tally: &mut Tally) -> Decision
    where
        NodeAnswer: From<Result<A, NodeError>>,
    {
        loop {
            if tally.round().decision().is_some() {
                self.count_ready(tally);
            }
            if let Some(decision) = tally.round().decision() {
                return decision;
            }
            self.count_next(tally).await;
        }
    }

    /// [`Exchange::decide`], except that it does not wait for failing nodes if the others are split between this round
    /// and another holder. Waiting would keep everybody from a quorum meanwhile.
    pub(crate) async fn decide_or_give_way(&mut self, tally: &mut Tally) -> Decision
    where
        NodeAnswer: From<Result<A, NodeError>>,
    {
        loop {
            self.count_ready(tally);
            let members = &self.requests.fleet.members;
            if tally.is_split(|member| members.get(member).is_none_or(|member| !member.is_prompt())) {
                tally.give_way();
            }
            if let Some(decision) = tally.round().decision() {
                return decision;
            }
            self.count_next(tally).await;
        }
    }

    /// Waits for all nodes, until the patience is over. Returns the answers by the number of their node. `None` for a
    /// node that has not answered.
    pub(crate) async fn all(mut self) -> Vec<Option<Result<A, NodeError>>> {
        let mut answers: Vec<_> = self.requests.fleet.members.iter().map(|_| None).collect();
        while let Some((member, answer)) = self.next().await {
            if let Some(slot) = answers.get_mut(member) {
                *slot = Some(answer);
            }
        }
        answers
    }

    /// Counts the answers that are there already. They do not change the decision, but complete the report.
    pub(crate) fn count_ready(&mut self, tally: &mut Tally)
    where
        NodeAnswer: From<Result<A, NodeError>>,
    {
        while let Some((member, answer)) = self.ready() {
            tally.count(member, answer);
        }
    }

    /// Counts one more answer. Returns false if there are no more to wait for. Missing answers count as failed then.
    pub(crate) async fn count_next(&mut self, tally: &mut Tally) -> bool
    where
        NodeAnswer: From<Result<A, NodeError>>,
    {
        match self.next().await {
            Some((member, answer)) => tally.count(member, answer),
            None => tally.end(self.waited()),
        }
        tally.is_open()
    }

    /// Returns an answer that has already arrived.
    pub(crate) fn ready(&mut self) -> Option<(usize, Result<A, NodeError>)> {
        self.answers.pop_front()
    }
}

impl<A: Send + 'static> Drop for Exchange<A> {
    fn drop(&mut self) {
        let pending = std::mem::take(&mut self.requests.pending);
        if pending.is_empty() {
            return;
        }
        let late = Requests { fleet: Arc::clone(&self.requests.fleet), pending };
        self.requests
            .fleet
            .background
            .spawn(&self.runtime, late.finish(self.on_time, self.late_limit, true, self.meanwhile.take()));
    }
}
