//! One node of a fleet: whether it fails, how many answers it owes, and what its clock says.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::owed::Owed;
use crate::{
    algorithm::{ClockWatch, Drift, Jump, Reading},
    node::{LockNode, NodeError, NodeErrorKind},
};

/// One node of the fleet.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) node: Arc<dyn LockNode>,
    /// Releases that it has not answered yet.
    pub(crate) owed: Owed,
    /// How many requests are in flight that no caller waits for any more.
    pub(crate) late: AtomicUsize,
    /// How many of them have been in flight for longer than the node timeout.
    pub(crate) overdue: AtomicUsize,
    failing: AtomicBool,
    /// Whether it has answered nothing since callers waited in vain for an answer that was missing after a decision.
    slow: AtomicBool,
    /// Whether it is a Redis Cluster, of which some members may fail while others answer.
    is_cluster: bool,
    /// When a cluster last failed, after a warning that it does.
    warned: Mutex<Option<Instant>>,
    /// When the last answered acquire that requested the node's time was sent, in milliseconds of the fleet's clock.
    /// [`Member::NEVER`] before that.
    clock_seen: AtomicU64,
    clock: Mutex<NodeClock>,
}

/// The known state of a node's clock.
#[derive(Debug, Default)]
struct NodeClock {
    watch: ClockWatch,
    /// Its last jump, and when that was noticed.
    jumped: Option<(Jump, Duration)>,
}

impl Member {
    /// How many requests may be in flight for longer than the node timeout before the next acquire or extend fails at
    /// once. Requests that were sent before may still become overdue: see `MAX_LATE`.
    const MAX_OVERDUE: usize = 64;

    /// How many requests may be left behind by rounds that were decided without them, before the next acquire or extend
    /// fails at once. A hung node never fails by itself: without a bound, its requests fill the memory.
    const MAX_LATE: usize = 4096;

    /// How long no request to a cluster has failed when the log says that it answers again.
    const RECOVERED: Duration = Duration::from_secs(10);

    /// One of `members` nodes.
    pub(crate) fn new(node: Arc<dyn LockNode>, members: usize) -> Self {
        Self {
            is_cluster: node.is_cluster(),
            warned: Mutex::default(),
            node,
            owed: Owed::for_one_of(members),
            late: AtomicUsize::new(0),
            overdue: AtomicUsize::new(0),
            failing: AtomicBool::new(false),
            slow: AtomicBool::new(false),
            clock_seen: AtomicU64::new(Self::NEVER),
            clock: Mutex::default(),
        }
    }

    /// Whether another acquire or extend may be sent to the node. (A request that was sent may always be released.)
    pub(crate) fn admit(&self) -> Result<(), NodeError> {
        let (late, overdue) = (self.late.load(Ordering::Relaxed), self.overdue.load(Ordering::Relaxed));
        // A hung member of a cluster must not stop requests to the others, so only the bound on memory counts there.
        // Our own clients of clusters have a bound for each member.
        let has_room = if self.is_cluster {
            late + overdue < Self::MAX_LATE
        } else {
            overdue < Self::MAX_OVERDUE && late < Self::MAX_LATE
        };
        if has_room {
            return Ok(());
        }
        Err(NodeError::new(NodeErrorKind::Timeout, format!("{} earlier requests are still unanswered", late + overdue)))
    }

    /// Whether no answer of the node is overdue and the last request did not fail.
    pub(crate) fn is_prompt(&self) -> bool {
        !self.is_failing() && self.overdue.load(Ordering::Relaxed) == 0
    }

    /// Whether the last request to the node failed.
    pub(crate) fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    /// Records that callers have waited in vain for an answer that was missing after a decision.
    pub(crate) fn was_slow(&self) {
        self.slow.store(true, Ordering::Relaxed);
    }

    /// Whether callers need not wait for an answer that is missing after a decision: they have done so in vain, and the
    /// node has answered nothing since.
    pub(crate) fn is_slow(&self) -> bool {
        self.slow.load(Ordering::Relaxed)
    }

    /// Whether part of the node may answer while the rest fails, so that one failure says nothing about other keys.
    pub(crate) fn fails_in_parts(&self) -> bool {
        self.is_cluster
    }

    /// Logs when a node begins to fail and when it answers again, but not every failed request: a quorum hides a
    /// failing node from callers.
    pub(crate) fn observe<A>(&self, answer: Result<A, NodeError>) -> Result<A, NodeError> {
        let node = self.node.name();
        if answer.is_ok() && self.is_slow() {
            self.slow.store(false, Ordering::Relaxed);
        }
        match &answer {
            // A fault of that key, not of the node.
            Err(error) if error.kind() == NodeErrorKind::WrongType => {
                tracing::warn!(node, error = %error.chain(), "a key is not a lock");
            }
            Err(error) if self.failing.swap(true, Ordering::Relaxed) | self.has_warned() => {
                tracing::debug!(node, error = %error.chain(), "node still fails");
            }
            Err(error) => tracing::warn!(node, error = %error.chain(), "node fails, a quorum must do without it"),
            Ok(_) if self.is_failing() => {
                self.failing.store(false, Ordering::Relaxed);
                self.owed.answers_again();
                if !self.is_cluster {
                    tracing::info!(node, "node answers again");
                }
            }
            Ok(_) => {}
        }
        if self.is_cluster && answer.is_ok() && self.has_recovered() {
            tracing::info!(node, "node answers again");
        }
        answer
    }

    /// Whether a cluster that fails now has been reported as failing already. While one of its members fails and the
    /// others answer, the log would otherwise contain two lines for each request.
    fn has_warned(&self) -> bool {
        self.is_cluster && self.warned().replace(Instant::now()).is_some()
    }

    /// Whether a cluster that was reported as failing has not failed for a while.
    fn has_recovered(&self) -> bool {
        self.warned().take_if(|failed| failed.elapsed() >= Self::RECOVERED).is_some()
    }

    fn warned(&self) -> MutexGuard<'_, Option<Instant>> {
        self.warned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Member {
    /// How often the time of a node in use is requested. Such a request is slower.
    const CLOCK_UNSEEN: Duration = Duration::from_secs(1);

    const NEVER: u64 = u64::MAX;

    /// Whether the next acquire requests the node's time. The first one does, by a script: a user that may run it may
    /// also release.
    pub(crate) fn clock_is_due(&self, now: Duration) -> bool {
        match self.clock_seen.load(Ordering::Relaxed) {
            Self::NEVER => true,
            millis => now.saturating_sub(Duration::from_millis(millis)) >= Self::CLOCK_UNSEEN,
        }
    }

    /// Records that the node has answered an acquire that requested its time and was `sent` then.
    pub(crate) fn saw_clock(&self, sent: Duration) {
        self.clock_seen.store(u64::try_from(sent.as_millis()).unwrap_or(Self::NEVER), Ordering::Relaxed);
    }

    /// Compares the node's clock with ours.
    pub(crate) fn watch_clock(&self, reading: Reading, drift: &Drift) {
        let mut clock = self.clock.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(jump) = clock.watch.read(reading, drift) {
            clock.jumped = Some((jump, reading.received));
            tracing::warn!(
                node = self.node.name(),
                %jump,
                "the node's clock has jumped: its keys expire too early, or too late; look at its time service"
            );
        }
    }

    /// The last jump of the node's clock, and when it was noticed on the fleet's clock.
    pub(crate) fn jumped(&self) -> Option<(Jump, Duration)> {
        self.clock.lock().unwrap_or_else(PoisonError::into_inner).jumped
    }
}
