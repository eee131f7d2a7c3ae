//! One request to one node: its span, and what is told of it.

use std::time::Duration;

use tracing::{Instrument as _, field};

use super::event::{Event, NodeOutcome, NodeRequest};
use crate::{
    answer::{AcquireAnswer, ExtendAnswer, InspectAnswer, RaiseAnswer, ReleaseAnswer, Timed},
    fleet::{Fleet, Member},
    node_error::NodeError,
};

impl Fleet {
    /// One request to one node, with a span of its own, by the names of OpenTelemetry's conventions for databases.
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
        let told = self.observers.are_there().then(|| Call::begin(self, node, request));
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
        if let Some(told) = told {
            told.end(outcome);
        }
        answer
    }
}

/// Host and port of a node's name, if it is the address of one server. An address of IPv6 is without its brackets then.
pub(super) fn address(node: &str) -> (&str, Option<u16>) {
    let is_of_one = !node.contains(['/', ',']);
    match node.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?))) {
        Some((host, port)) if is_of_one => {
            let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
            (bare.unwrap_or(host), Some(port))
        }
        _ => (node, None),
    }
}

/// Tells what came of a request. Dropped, there is no answer that anybody waits for.
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
        self.tell(outcome);
    }

    fn tell(&self, outcome: NodeOutcome<'_>) {
        let took = self.fleet.clock.now().saturating_sub(self.sent);
        let Self { node, request, .. } = *self;
        self.fleet.observers.tell(&Event::NodeAsked { node, request, took, outcome });
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        if !self.has_ended {
            self.tell(NodeOutcome::Unanswered);
        }
    }
}

/// What a node says to one kind of request.
pub(crate) trait Verdict {
    /// Whether it is a no: another holds the lock, or it is gone.
    fn is_refusal(&self) -> bool;
}

impl<A: Verdict> Verdict for Timed<A> {
    fn is_refusal(&self) -> bool {
        self.answer.is_refusal()
    }
}

impl Verdict for AcquireAnswer {
    fn is_refusal(&self) -> bool {
        !matches!(self, Self::Granted { .. })
    }
}

impl Verdict for ExtendAnswer {
    fn is_refusal(&self) -> bool {
        matches!(self, Self::Held { .. })
    }
}

impl Verdict for ReleaseAnswer {
    fn is_refusal(&self) -> bool {
        !self.is_released()
    }
}

impl Verdict for RaiseAnswer {
    fn is_refusal(&self) -> bool {
        *self != Self::Confirmed
    }
}

impl Verdict for InspectAnswer {
    fn is_refusal(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_a_node_is_its_host_and_its_port_if_it_has_one() {
        for (node, host, port) in [
            ("10.0.0.1:6379", "10.0.0.1", Some(6379)),
            ("[::1]:7000", "::1", Some(7000)),
            ("/run/redis.sock", "/run/redis.sock", None),
            ("/run/redis:1", "/run/redis:1", None),
            // The first members of a cluster.
            ("10.0.0.1:7000,10.0.0.2:7000", "10.0.0.1:7000,10.0.0.2:7000", None),
            ("node-1", "node-1", None),
            ("a:b", "a:b", None),
        ] {
            assert_eq!(address(node), (host, port));
        }
    }
}
