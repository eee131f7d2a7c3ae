//! One request to all nodes at once: answers as they come, late nodes finished in the background.

use std::{
    collections::VecDeque,
    fmt,
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    time::{Instant, Sleep},
};

use crate::{
    fleet::{Fleet, Overdue},
    node::NodeError,
};

/// What one node is asked, and its answer.
pub(crate) type Request<A> = Pin<Box<dyn Future<Output = Result<A, NodeError>> + Send>>;

/// How long a request may stay out in the background. Backends end theirs within about a second; this is the net
/// under those that do not.
pub(crate) const LATE_LIMIT: Duration = Duration::from_secs(5);

/// One request to all nodes at once.
///
/// The first poll of [`RoundTrip::next`] asks every node before it looks at any answer, so a round is never decided
/// before all have been asked. Dropped with answers still out, it drives those requests to their end in the
/// background: a dropped request may or may not have been sent, and one that got stuck half-way in a client would
/// block the release that follows it.
pub(crate) struct RoundTrip<A: Send + 'static> {
    fleet: Arc<Fleet>,
    runtime: Handle,
    pending: Vec<Pending<A>>,
    answers: VecDeque<(usize, Result<A, NodeError>)>,
    on_time: Instant,
    timeout: Pin<Box<Sleep>>,
    late_limit: Duration,
}

struct Pending<A> {
    member: usize,
    request: Request<A>,
    /// Set once the request has outlived the node timeout.
    overdue: Option<Overdue>,
}

impl<A: Send + 'static> RoundTrip<A> {
    /// A request to every member, made by `request`, each bounded by `node_timeout`.
    pub(crate) fn new(
        fleet: &Arc<Fleet>,
        runtime: &Handle,
        node_timeout: Duration,
        late_limit: Duration,
        request: impl Fn(usize) -> Request<A>,
    ) -> Self {
        let _runtime = runtime.enter();
        let on_time = Instant::now() + node_timeout;
        let member = |member| Pending { member, request: request(member), overdue: None };
        Self {
            fleet: Arc::clone(fleet),
            runtime: runtime.clone(),
            pending: (0..fleet.members.len()).map(member).collect(),
            answers: VecDeque::with_capacity(fleet.members.len()),
            on_time,
            timeout: Box::pin(tokio::time::sleep_until(on_time)),
            late_limit,
        }
    }

    /// The next answer and whose it is; none once all have answered or the node timeout is over.
    ///
    /// Cancel safe.
    pub(crate) async fn next(&mut self) -> Option<(usize, Result<A, NodeError>)> {
        poll_fn(|cx| {
            if self.answers.is_empty() {
                // Nodes may spawn and start timers: also when the caller polls from outside the runtime.
                let _runtime = self.runtime.enter();
                poll_all(&mut self.pending, cx, |member, answer| self.answers.push_back((member, answer)));
            }
            if let Some(answer) = self.answers.pop_front() {
                return Poll::Ready(Some(answer));
            }
            if self.pending.is_empty() {
                return Poll::Ready(None);
            }
            self.timeout.as_mut().poll(cx).map(|()| None)
        })
        .await
    }
}

/// Polls every request and hands over the answers that are there. Every node is polled, whatever the others say.
fn poll_all<A>(
    pending: &mut Vec<Pending<A>>,
    cx: &mut Context<'_>,
    mut answered: impl FnMut(usize, Result<A, NodeError>),
) {
    pending.retain_mut(|Pending { member, request, .. }| match request.as_mut().poll(cx) {
        Poll::Ready(answer) => {
            answered(*member, answer);
            false
        }
        Poll::Pending => true,
    });
}

impl<A: Send + 'static> Drop for RoundTrip<A> {
    fn drop(&mut self) {
        let mut late = std::mem::take(&mut self.pending);
        if late.is_empty() {
            return;
        }
        let (fleet, on_time, late_limit) = (Arc::clone(&self.fleet), self.on_time, self.late_limit);
        self.fleet.background.spawn(&self.runtime, async move {
            if tokio::time::timeout_at(on_time, finish(&mut late, &fleet)).await.is_ok() {
                return;
            }
            for request in &mut late {
                request.overdue = Some(Overdue::count(&fleet, request.member));
            }
            let _ = tokio::time::timeout(late_limit, finish(&mut late, &fleet)).await;
        });
    }
}

/// Drives all requests to their end. Nobody waits for the answers any more.
async fn finish<A>(late: &mut Vec<Pending<A>>, fleet: &Fleet) {
    poll_fn(|cx| {
        poll_all(late, cx, |member, answer| {
            if let (Err(error), Some(member)) = (answer, fleet.members.get(member)) {
                tracing::debug!(node = member.node.name(), error = %error.chain(), "late node failed");
            }
        });
        if late.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

impl<A: Send + 'static> fmt::Debug for RoundTrip<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoundTrip").field("pending", &self.pending.len()).finish_non_exhaustive()
    }
}
