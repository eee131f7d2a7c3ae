//! Records events as metrics.

use std::{fmt, sync::Arc, time::Duration};

use metrics::{
    Label, SharedString, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

use super::{
    address::address,
    error::ExtendError,
    event::{Event, NodeOutcome, NodeRequest},
    lock_lost::LockLost,
    observer::Observer,
};
use crate::names::Resources;

/// Records events of locks and answers of nodes as metrics over the [`metrics`] facade, for the recorder that the
/// program has installed. Without a recorder, it does next to nothing.
///
/// | name | kind, unit | labels | |
/// |---|---|---|---|
/// | `redlock.acquire.duration` | histogram, s | `redlock.outcome`: `acquired`, `contended`, `no_quorum`, `acquired_too_late`, `timed_out`, `cancelled`, `failed` | how long calls to acquire took, including pauses |
/// | `redlock.acquire.attempts` | histogram | the same | how many attempts they made |
/// | `redlock.hold.duration` | histogram, s | `redlock.outcome`: `released`, `not_held`, `unknown`, `dropped`, `transferred`, `left_to_expire` | how long callers had their locks |
/// | `redlock.locks.held` | gauge | | how many locks callers have now, including lost ones |
/// | `redlock.extends` | counter | `redlock.outcome`: `extended`, `no_quorum`, `extended_too_late`, `lost`, `expired` | completed extends |
/// | `redlock.extend.margin` | histogram, s | | what was left of the validity when an extend was confirmed |
/// | `redlock.losses` | counter | `redlock.reason`: `expired`, `not_held`, `lifetime_over` | locks that were lost before they were released |
/// | `redlock.exclusivity.breaches` | counter | | locks that a quorum no longer held while they were valid: another may have held them at the same time |
/// | `redlock.releases.owed` | gauge | `server.address`, `server.port` | releases that a node has not answered, and that are sent again until it does |
/// | `db.client.operation.duration` | histogram, s | `db.system.name`: `redis`; `db.operation.name`: `redlock.acquire`, `.extend`, `.release`, `.raise`, `.inspect`; `server.address`, `server.port`; `redlock.outcome`: `done`, `refused`, `failed`, `unanswered`; if it failed `error.type`: [a word](crate::NodeErrorKind::as_str) | each request to a node, by the name of [OpenTelemetry's conventions] |
///
/// ```
/// use redlock_core::{Metrics, Redlock};
/// use redlock_mock::MockNode;
///
/// # fn main() -> Result<(), redlock_core::BuildError> {
/// // Create it after the recorder is installed, so that the recorder gets the descriptions.
/// let redlock = Redlock::builder().nodes(MockNode::fleet(3)).observer(Metrics::new()).build()?;
/// # Ok(())
/// # }
/// ```
///
/// [OpenTelemetry's conventions]: https://opentelemetry.io/docs/specs/semconv/database/database-metrics/
#[derive(Clone, Default)]
pub struct Metrics {
    resource_label: Option<ResourceLabel>,
}

/// The label of a resource.
type ResourceLabel = Arc<dyn Fn(&str) -> String + Send + Sync>;

const ACQUIRE_DURATION: &str = "redlock.acquire.duration";
const ACQUIRE_ATTEMPTS: &str = "redlock.acquire.attempts";
const HOLD_DURATION: &str = "redlock.hold.duration";
const LOCKS_HELD: &str = "redlock.locks.held";
const EXTENDS: &str = "redlock.extends";
const EXTEND_MARGIN: &str = "redlock.extend.margin";
const LOSSES: &str = "redlock.losses";
const BREACHES: &str = "redlock.exclusivity.breaches";
const RELEASES_OWED: &str = "redlock.releases.owed";
const NODE_DURATION: &str = "db.client.operation.duration";

const OUTCOME: &str = "redlock.outcome";
const REASON: &str = "redlock.reason";
const RESOURCE: &str = "redlock.resource";

impl Metrics {
    /// Creates the metrics, and describes them to the installed recorder. Losses and breaches start at zero there, so
    /// that an alert on an increase also detects the first one. (A counter with a resource's label is a separate
    /// metric, which starts with its first loss or breach.)
    #[must_use]
    pub fn new() -> Self {
        let seconds = [
            (ACQUIRE_DURATION, "How long calls to acquire took, pauses included."),
            (HOLD_DURATION, "How long callers had their locks."),
            (EXTEND_MARGIN, "What was left of the validity when an extend was confirmed."),
            (NODE_DURATION, "How long requests to nodes took."),
        ];
        for (name, what) in seconds {
            describe_histogram!(name, Unit::Seconds, what);
        }
        describe_histogram!(ACQUIRE_ATTEMPTS, Unit::Count, "How many attempts calls to acquire made.");
        describe_gauge!(LOCKS_HELD, Unit::Count, "How many locks callers have now.");
        describe_gauge!(RELEASES_OWED, Unit::Count, "Releases that a node has not answered.");
        describe_counter!(EXTENDS, Unit::Count, "Extends that are done.");
        describe_counter!(LOSSES, Unit::Count, "Locks that were lost before they were released.");
        describe_counter!(BREACHES, Unit::Count, "Locks that a quorum did not hold any more while they were valid.");
        for reason in ["expired", "not_held", "lifetime_over"] {
            counter!(LOSSES, REASON => reason).increment(0);
        }
        counter!(BREACHES).increment(0);
        Self::default()
    }

    /// Adds the label `redlock.resource` to the metrics of locks, with the value that the given function returns for
    /// the resource's name; of several resources, for the first. Default: no such label.
    ///
    /// A recorder keeps each label forever, so let the function return only a few values: `invoice` for `invoice:42`.
    #[must_use]
    pub fn resource_label(mut self, label: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        self.resource_label = Some(Arc::new(label));
        self
    }

    fn labels(&self, resources: &Resources, more: Option<(&'static str, &'static str)>) -> Vec<Label> {
        let of_resource = self.resource_label.as_ref().map(|label| label(resources.first().as_str()));
        let of_resource = of_resource.map(|label| Label::new(RESOURCE, label));
        more.map(|(name, word)| Label::from_static_parts(name, word)).into_iter().chain(of_resource).collect()
    }
}

impl Observer for Metrics {
    fn observe(&self, event: &Event<'_>) {
        match *event {
            Event::Acquired { resources, attempts, waited, .. } => {
                self.called(resources, "acquired", attempts, waited);
                gauge!(LOCKS_HELD, self.labels(resources, None)).increment(1);
            }
            Event::NotAcquired { resources, attempts, waited, why } => {
                self.called(resources, why.as_str(), attempts, waited);
            }
            Event::Resumed { resources, .. } => gauge!(LOCKS_HELD, self.labels(resources, None)).increment(1),
            Event::Ended { resources, held, ending } => {
                histogram!(HOLD_DURATION, self.labels(resources, Some((OUTCOME, ending.as_str())))).record(held);
                gauge!(LOCKS_HELD, self.labels(resources, None)).decrement(1);
            }
            Event::Extended { resources, margin, .. } => {
                counter!(EXTENDS, self.labels(resources, Some((OUTCOME, "extended")))).increment(1);
                histogram!(EXTEND_MARGIN, self.labels(resources, None)).record(margin);
            }
            Event::NotExtended { resources, error, .. } => {
                counter!(EXTENDS, self.labels(resources, Some((OUTCOME, word(error))))).increment(1);
            }
            Event::Lost { loss } => {
                counter!(LOSSES, self.labels(loss.resources(), Some((REASON, reason(loss))))).increment(1);
            }
            Event::Breached { resources, .. } => counter!(BREACHES, self.labels(resources, None)).increment(1),
            Event::NodeAsked { node, request, took, outcome } => asked(node, request, took, outcome),
            Event::ReleasesOwed { node, before, now } => {
                // By the difference, because other instances in this process use the same node.
                gauge!(RELEASES_OWED, server(node)).increment(now as f64 - before as f64);
            }
        }
    }
}

impl Metrics {
    fn called(&self, resources: &Resources, outcome: &'static str, attempts: u32, waited: Duration) {
        let labels = self.labels(resources, Some((OUTCOME, outcome)));
        histogram!(ACQUIRE_DURATION, labels.clone()).record(waited);
        histogram!(ACQUIRE_ATTEMPTS, labels).record(attempts);
    }
}

fn server(node: &str) -> Vec<Label> {
    let (host, port) = address(node);
    let host = Label::new("server.address", SharedString::from_owned(host.to_owned()));
    std::iter::once(host).chain(port.map(|port| Label::new("server.port", port.to_string()))).collect()
}

fn asked(node: &str, request: NodeRequest, took: Duration, outcome: NodeOutcome<'_>) {
    let mut labels = server(node);
    labels.extend([
        Label::from_static_parts("db.system.name", "redis"),
        Label::from_static_parts("db.operation.name", request.as_str()),
        Label::from_static_parts(OUTCOME, outcome.as_str()),
    ]);
    if let NodeOutcome::Failed(error) = outcome {
        labels.push(Label::from_static_parts("error.type", error.kind().as_str()));
    }
    histogram!(NODE_DURATION, labels).record(took);
}

fn word(error: &ExtendError) -> &'static str {
    match error {
        ExtendError::NoQuorum { .. } => "no_quorum",
        ExtendError::ExtendedTooLate { .. } => "extended_too_late",
        ExtendError::Lost { .. } => "lost",
        ExtendError::Expired { .. } => "expired",
        // These are refused before anything is sent, and not reported.
        ExtendError::Ttl(_) | ExtendError::NoRuntime | ExtendError::WithinAsync(_) => "refused",
    }
}

fn reason(loss: &LockLost) -> &'static str {
    match loss {
        LockLost::Expired { .. } => "expired",
        LockLost::LifetimeOver { .. } => "lifetime_over",
        LockLost::NotHeld { .. } => "not_held",
        // These do not count as losses.
        LockLost::Released { .. } | LockLost::Transferred { .. } => "ended",
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").field("has_resource_label", &self.resource_label.is_some()).finish()
    }
}
