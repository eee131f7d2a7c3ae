//! Counts and bounds the unanswered requests to one member of a Redis Cluster.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::node::{NodeError, NodeErrorKind};

/// How many requests may wait for a member that does not answer. Without a bound, the requests to a hung member would
/// grow until memory runs out. The fleet has such a bound only for a whole node.
const MOST: usize = 64;

/// How many requests a member must leave unanswered in a row until only [`PROBES`] are sent to it.
const BURST: usize = 16;

/// How many requests may be out to a member that has left a burst unanswered.
const PROBES: usize = 4;

/// Time without any answer after which a member counts as silent.
const SILENT: Duration = Duration::from_millis(500);

/// The number of unanswered requests to a member, and since when it has been silent.
pub(super) struct InFlight(Mutex<State>);

struct State {
    count: usize,
    /// When the member last answered. Without a request in flight, it has nothing to answer, so the next request resets
    /// this.
    heard: Instant,
    /// How many requests the member has left unanswered in a row while it was silent. After a burst of them, another
    /// burst would only wait.
    unanswered: usize,
}

/// A request that is in flight until it is dropped.
pub(super) struct Request<'a>(&'a InFlight);

impl InFlight {
    pub(super) fn new() -> Self {
        Self(Mutex::new(State { count: 0, heard: Instant::now(), unanswered: 0 }))
    }

    /// Counts one more request.
    ///
    /// # Errors
    ///
    /// If too many requests wait for a member that does not answer.
    pub(super) fn enter(&self) -> Result<Request<'_>, NodeError> {
        let mut state = self.state();
        if state.count == 0 {
            state.heard = Instant::now();
        }
        let is_silent = state.unanswered >= BURST;
        let most = if is_silent { PROBES } else { MOST };
        if state.count >= most && (is_silent || state.heard.elapsed() >= SILENT) {
            let text = format!("{} earlier requests to this member of the cluster are still unanswered", state.count);
            return Err(NodeError::new(NodeErrorKind::Timeout, text).never_sent());
        }
        state.count += 1;
        Ok(Request(self))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Request<'_> {
    /// Ends the request, and notes whether the member has answered it.
    pub(super) fn end<A>(self, answer: Result<A, NodeError>) -> Result<A, NodeError> {
        let is_silence =
            |error: &NodeError| matches!(error.kind(), NodeErrorKind::Timeout | NodeErrorKind::Unreachable);
        let mut state = self.0.state();
        if answer.as_ref().is_err_and(is_silence) {
            state.unanswered += usize::from(state.heard.elapsed() >= SILENT);
        } else {
            (state.heard, state.unanswered) = (Instant::now(), 0);
        }
        drop(state);
        answer
    }
}

impl Drop for Request<'_> {
    fn drop(&mut self) {
        self.0.state().count -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn many_requests_may_wait_for_a_member_unless_it_is_silent() {
        let in_flight = InFlight::new();
        let mut waiting: Vec<_> = (0..MOST).map(|_| in_flight.enter().unwrap()).collect();
        tokio::time::advance(SILENT - Duration::from_millis(1)).await;
        waiting.push(in_flight.enter().unwrap());
        tokio::time::advance(Duration::from_millis(1)).await;
        let error = in_flight.enter().err().unwrap();
        assert!(format!("{error:?}").contains("65 earlier requests"), "{error:?}");
        // A timeout is not an answer.
        waiting.pop().unwrap().end(Err::<(), _>(NodeError::no_answer(SILENT))).unwrap_err();
        assert!(in_flight.enter().is_err());
        waiting.pop().unwrap().end(Ok(())).unwrap();
        waiting.push(in_flight.enter().unwrap());
        waiting.push(in_flight.enter().unwrap());
        waiting.clear();
        tokio::time::advance(SILENT * 9).await;
        let all: Vec<_> = (0..=MOST).map(|_| in_flight.enter().unwrap()).collect();
        assert_eq!(all.len(), MOST + 1);
    }

    /// Lets these requests wait for half a second, and then fail.
    async fn unanswered(requests: Vec<Request<'_>>) {
        tokio::time::advance(SILENT).await;
        for request in requests {
            request.end(Err::<(), _>(NodeError::no_answer(SILENT))).unwrap_err();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_member_that_leaves_a_burst_unanswered_gets_few_requests_until_it_answers() {
        let in_flight = InFlight::new();
        let enter = |count| (0..count).map(|_| in_flight.enter().unwrap()).collect::<Vec<_>>();
        // One request that times out says little.
        unanswered(enter(1)).await;
        unanswered(enter(MOST)).await;
        for _ in 0..2 {
            let probes = enter(PROBES);
            assert!(in_flight.enter().is_err());
            unanswered(probes).await;
        }
        in_flight.enter().unwrap().end(Ok(())).unwrap();
        assert_eq!(enter(MOST).len(), MOST);
    }
}
