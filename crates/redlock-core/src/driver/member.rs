//! One node of a fleet: whether it fails, how many answers it owes, and what its clock says.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

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
    /// Requests that nobody waits for any more.
    pub(crate) late: AtomicUsize,
    /// Of those, the ones that are out for longer than the node timeout.
    pub(crate) overdue: AtomicUsize,
    failing: AtomicBool,
    /// When the last acquire was sent that the node has answered with its time if it tells it at all, in milliseconds of
    /// our clock; [`Member::NEVER`] before that.
    told_clock: AtomicU64,
    clock: Mutex<NodeClock>,
}

/// What is known of a node's clock.
#[derive(Debug, Default)]
struct NodeClock {
    watch: ClockWatch,
    /// How it has jumped last, and when.
    jumped: Option<(Jump, Duration)>,
}

impl Member {
    /// How many requests may be out for longer than the node timeout before the next acquire or extend fails at once.
    /// What was sent before that is noticed may still become overdue: see `MAX_LATE`.
    const MAX_OVERDUE: usize = 64;

    /// How many requests may be left behind by rounds that were decided without them, before the next acquire or extend
    /// fails at once. A hung node never errors by itself: without a bound, what it owes grows until memory ends.
    const MAX_LATE: usize = 4096;

    /// One of `members` nodes.
    pub(crate) fn new(node: Arc<dyn LockNode>, members: usize) -> Self {
        Self {
            node,
            owed: Owed::for_one_of(members),
            late: AtomicUsize::new(0),
            overdue: AtomicUsize::new(0),
            failing: AtomicBool::new(false),
            told_clock: AtomicU64::new(Self::NEVER),
            clock: Mutex::default(),
        }
    }

    /// Whether the node may be sent another acquire or extend. (What was sent once may always be released.)
    pub(crate) fn admit(&self) -> Result<(), NodeError> {
        let (late, overdue) = (self.late.load(Ordering::Relaxed), self.overdue.load(Ordering::Relaxed));
        if overdue < Self::MAX_OVERDUE && late < Self::MAX_LATE {
            return Ok(());
        }
        Err(NodeError::new(NodeErrorKind::Timeout, format!("{} earlier requests are still unanswered", late + overdue)))
    }

    /// Whether the node has answered all that it should have by now, and did not fail.
    pub(crate) fn is_prompt(&self) -> bool {
        !self.is_failing() && self.overdue.load(Ordering::Relaxed) == 0
    }

    /// Whether the node failed when it was last heard of.
    pub(crate) fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    /// Looks at an answer on its way, so that somebody learns of a node that fails while a quorum does without it:
    /// once when it begins to fail and once when it is back, not with every request.
    pub(crate) fn observe<A>(&self, answer: Result<A, NodeError>) -> Result<A, NodeError> {
        let node = self.node.name();
        match &answer {
            // That key's fault, not the node's.
            Err(error) if error.kind() == NodeErrorKind::WrongType => {
                tracing::warn!(node, error = %error.chain(), "a key is not a lock");
            }
            Err(error) if self.failing.swap(true, Ordering::Relaxed) => {
                tracing::debug!(node, error = %error.chain(), "node still fails");
            }
            Err(error) => tracing::warn!(node, error = %error.chain(), "node fails, a quorum must do without it"),
            Ok(_) if self.is_failing() => {
                self.failing.store(false, Ordering::Relaxed);
                self.owed.answers_again();
                tracing::info!(node, "node answers again");
            }
            Ok(_) => {}
        }
        answer
    }
}

impl Member {
    /// How long a node's clock may go unseen while the node is in use. A node that tells it is slower for that.
    const CLOCK_UNSEEN: Duration = Duration::from_secs(1);

    const NEVER: u64 = u64::MAX;

    /// Whether the next acquire is to ask for the node's clock. The first one does: what runs a script once can also
    /// release.
    pub(crate) fn clock_is_due(&self, now: Duration) -> bool {
        match self.told_clock.load(Ordering::Relaxed) {
            Self::NEVER => true,
            millis => now.saturating_sub(Duration::from_millis(millis)) >= Self::CLOCK_UNSEEN,
        }
    }

    /// The node has answered an acquire that asked for its clock, and was sent then.
    pub(crate) fn told_clock(&self, sent: Duration) {
        self.told_clock.store(u64::try_from(sent.as_millis()).unwrap_or(Self::NEVER), Ordering::Relaxed);
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

    /// How the node's clock has jumped last, and when on our clock, if it has.
    pub(crate) fn jumped(&self) -> Option<(Jump, Duration)> {
        self.clock.lock().unwrap_or_else(PoisonError::into_inner).jumped
    }
}
