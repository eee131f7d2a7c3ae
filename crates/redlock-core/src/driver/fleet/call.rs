//! Sends one request to one node, with a span and an event for observers.

use std::time::Duration;

use tracing::{Instrument as _, field};

use super::Fleet;
use crate::{
    driver::member::Member,
    node::{NodeError, Verdict},
    report::{Event, NodeOutcome, NodeRequest, address},
};

impl Fleet {
    /// Sends one request to one node, in a span with the names of OpenTelemetry's conventions for databases.
    pub(crate) async fn call<A: Verdict>(
        &self,
        member: &Member,
        request: NodeRequest,
        answer: impl Future<Output = Result<A, NodeError>>,
    ) -> Result<A, NodeError> {
        let node = member.node.name();
        let span = tracing::debug_span!(
            "redlock.node",
            otel.name = request.as_str(),
            otel.kind = "client",
            db.system.name = "redis",
            db.operation.name = request.as_str(),
            server.address = address(node).0,
            server.port = address(node).1,
            redlock.outcome = field::Empty,
            error.r#type = field::Empty,
            otel.status_code = field::Empty,
        );
        if span.is_disabled() && !self.observers.are_there() {
            return answer.await;
        }
        let call = self.observers.are_there().then(|| Call::begin(self, node, request));
        let answer = answer.instrument(span.clone()).await;
        let outcome = match &answer {
            Ok(answer) if answer.is_refusal() => NodeOutcome::Refused,
            Ok(_) => NodeOutcome::Done,
            Err(error) => NodeOutcome::Failed(error),
        };
        span.record("redlock.outcome", outcome.as_str());
        if let NodeOutcome::Failed(error) = outcome {
            span.record("error.type", error.kind().as_str()).record("otel.status_code", "ERROR");
        }
        if let Some(call) = call {
            call.end(outcome);
        }
        answer
    }
}

/// Reports the outcome of a request to observers. If it is dropped, the request stays unanswered.
struct Call<'a> {
    fleet: &'a Fleet,
    node: &'a str,
    request: NodeRequest,
    sent: Duration,
    has_ended: bool,
}

impl<'a> Call<'a> {
    fn begin(fleet: &'a Fleet, node: &'a str, request: NodeRequest) -> Self {
        Self { fleet, node, request, sent: fleet.clock.now(), has_ended: false }
    }

    fn end(mut self, outcome: NodeOutcome<'_>) {
        self.has_ended = true;
        self.report(outcome);
    }

    fn report(&self, outcome: NodeOutcome<'_>) {
        let took = self.fleet.clock.now().saturating_sub(self.sent);
        let Self { node, request, .. } = *self;
        self.fleet.observers.tell(&Event::NodeAsked { node, request, took, outcome });
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        if !self.has_ended {
            self.report(NodeOutcome::Unanswered);
        }
    }
}
