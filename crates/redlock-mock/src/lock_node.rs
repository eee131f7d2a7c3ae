//! The node trait, implemented by the node in memory.

use std::sync::{Arc, LazyLock, PoisonError};

use async_trait::async_trait;
use redlock_core::{
    LockNode, NodeError, NodeErrorKind,
    algorithm::{ClockReading, Vote},
    backend::{
        AcquireAnswer, AcquireRequest, DescribeRequest, ExtendAnswer, ExtendRequest, InspectAnswer, InspectRequest,
        ListAnswer, ListRequest, ListenRequest, NodeFacts, OpenAnswer, OpenRequest, RaiseAnswer, RaiseRequest,
        ReleaseAnswer, ReleaseRequest, Timed, WakeUps,
    },
    testing::{Clock, TokioClock},
};
use tokio::time::Instant;

use crate::{clock::unix_time, keys::Keys, node::MockNode, record::Operation};

#[async_trait]
impl LockNode for MockNode {
    fn name(&self) -> &str {
        &self.name
    }

    fn clock(&self) -> Option<Arc<dyn Clock>> {
        static TOKIO: LazyLock<Arc<dyn Clock>> = LazyLock::new(|| Arc::new(TokioClock::default()));
        Some(Arc::clone(self.link.as_ref().map_or(&*TOKIO, |link| &link.clock)))
    }

    async fn acquire(&self, request: &AcquireRequest) -> Result<Timed<AcquireAnswer>, NodeError> {
        let entry = self.note(Operation::Acquire, &request.keys, &request.token, request.shared);
        let request = request.clone();
        let vote = |timed: &Timed<AcquireAnswer>, _| match timed.answer {
            AcquireAnswer::Granted { .. } => Vote::Granted,
            AcquireAnswer::Quarantined { .. } => Vote::Failed,
            _ => Vote::Refused,
        };
        let acquire = move |keys: &mut Keys, now| {
            let answer = timed(keys.acquire(&request, now)?, keys, now);
            // Like the script, which does not query the time then.
            let is_timeless = !request.shared
                && !request.predecessors.is_empty()
                && request.queue.is_none()
                && request.fencing.is_none()
                && request.guard.is_none();
            Ok(Timed { clock: answer.clock.filter(|_| !is_timeless), ..answer })
        };
        let (answer, sent_again) = self.request(entry, acquire, vote).await?;
        Ok(Timed { sent_again, ..answer })
    }

    async fn extend(&self, request: &ExtendRequest) -> Result<Timed<ExtendAnswer>, NodeError> {
        let entry = self.note(Operation::Extend, &request.keys, &request.token, request.shared);
        let request = request.clone();
        let vote = |timed: &Timed<ExtendAnswer>, _| match timed.answer {
            ExtendAnswer::Extended => Vote::Granted,
            ExtendAnswer::Healed => Vote::Restored,
            _ => Vote::Refused,
        };
        let extend = move |keys: &mut Keys, now| Ok(timed(keys.extend(&request, now)?, keys, now));
        let (answer, sent_again) = self.request(entry, extend, vote).await?;
        Ok(Timed { sent_again, ..answer })
    }

    async fn release(&self, request: &ReleaseRequest) -> Result<ReleaseAnswer, NodeError> {
        let entry = self.note(Operation::Release, &request.keys, &request.token, false);
        let request = request.clone();
        let vote = |answer: &ReleaseAnswer, sent_again| match answer {
            answer if answer.is_released() => Vote::Granted,
            _ if sent_again => Vote::Failed,
            _ => Vote::Refused,
        };
        let (answer, sent_again) = self.request(entry, move |keys, now| keys.release(&request, now), vote).await?;
        if sent_again && !answer.is_released() {
            // As in the backends: the first copy may have deleted the keys.
            return Err(NodeError::new(
                NodeErrorKind::Unreachable,
                "the connection broke before the release was answered",
            ));
        }
        Ok(answer)
    }

    async fn inspect(&self, request: &InspectRequest) -> Result<InspectAnswer, NodeError> {
        let request = request.clone();
        let look = move |keys: &mut Keys, now| keys.inspect(request.resource.as_str(), request.token.as_ref(), now);
        self.request(None, look, |_, _| Vote::Granted).await.map(first)
    }

    async fn list(&self, request: &ListRequest) -> Result<ListAnswer, NodeError> {
        let request = request.clone();
        let tell = move |keys: &mut Keys, now| {
            let mut locks = keys.locks(&request.prefix, now);
            let is_complete = locks.len() <= request.enough;
            locks.truncate(request.enough);
            Ok(ListAnswer::new(locks, is_complete))
        };
        self.request(None, tell, |_, _| Vote::Granted).await.map(first)
    }

    async fn raise(&self, request: &RaiseRequest) -> Result<RaiseAnswer, NodeError> {
        let entry = self.note(Operation::Raise, &request.keys, &request.token, false);
        let request = request.clone();
        let vote = |answer: &RaiseAnswer, _| match answer {
            RaiseAnswer::Confirmed => Vote::Granted,
            _ => Vote::Refused,
        };
        self.request(entry, move |keys, now| keys.raise(&request, now), vote).await.map(first)
    }

    async fn open(&self, request: &OpenRequest) -> Result<OpenAnswer, NodeError> {
        let request = request.clone();
        self.request(None, move |keys, now| keys.open(&request, now), |_, _| Vote::Granted).await.map(first)
    }

    async fn listen(&self, request: &ListenRequest) -> Result<Box<dyn WakeUps>, NodeError> {
        Ok(Box::new(self.listening(&request.channel).await?))
    }

    async fn describe(&self, request: &DescribeRequest) -> Result<NodeFacts, NodeError> {
        let sent = request.asked.elapsed();
        let facts = Arc::clone(&self.facts);
        let read = move |_: &mut Keys, now| {
            let facts = facts.lock().unwrap_or_else(PoisonError::into_inner).clone();
            Ok((facts, unix_time(now)))
        };
        let ((mut facts, reads), _) = self.request(None, read, |_, _| Vote::Granted).await?;
        facts.clock = Some(ClockReading::new(reads, sent, request.asked.elapsed()));
        Ok(facts)
    }
}

/// Returns an answer with the reading of the node's clock.
fn timed<A>(answer: A, keys: &Keys, now: Instant) -> Timed<A> {
    Timed { answer, clock: Some(keys.time(now)), sent_again: false }
}

/// Returns only the answer, for requests where it does not matter how often they were sent.
fn first<A>((answer, _): (A, bool)) -> A {
    answer
}
