//! The nodes of one `Redlock` and what all its locks share.

mod call;
mod delivery;
mod questions;
mod waiters;

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use crate::{
    algorithm::{
        AutoExtend, AutoExtendError, ClockWatch, Drift, Jump, NodeTimeout, Quorum, Reading, Retry, Schedule, Ttl,
        TtlError,
    },
    auto_extend::Watchdog,
    background::Background,
    clock::Clock,
    entropy::{Entropy, EntropyError},
    lane::Offer,
    node::LockNode,
    node_error::{NodeError, NodeErrorKind},
    observe::Observers,
    owed::Owed,
    owner::Owner,
    request::{Counters, Guard},
    resource::ResourceError,
    resources::Resources,
    slots::SlotsError,
    tally::Tally,
    token::Token,
    waiting::{Lines, Listening},
};

/// The nodes, the rules, the clock and the random source.
#[derive(Debug)]
pub(crate) struct Fleet {
    pub(crate) members: Box<[Member]>,
    pub(crate) quorum: Quorum,
    pub(crate) drift: Drift,
    pub(crate) node_timeout: NodeTimeout,
    pub(crate) retry: Retry,
    pub(crate) owner: Option<Owner>,
    pub(crate) key_prefix: Box<str>,
    /// Whether locks get fencing tokens, and for how long their counters are kept.
    pub(crate) fencing: bool,
    pub(crate) fencing_retention: Duration,
    pub(crate) guard: Option<Guard>,
    /// For how long a node whose clock has jumped is not trusted.
    pub(crate) distrust: Option<Duration>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Box<dyn Entropy>,
    pub(crate) background: Background,
    pub(crate) watchdog: Watchdog,
    pub(crate) lines: Arc<Lines<Offer>>,
    pub(crate) listening: Listening,
    pub(crate) observers: Observers,
}

impl Fleet {
    /// What a ttl means with this fleet.
    pub(crate) fn terms(&self, ttl: Duration) -> Result<Terms, TtlError> {
        let ttl = Ttl::new(ttl)?;
        if let Some(longest) = self.guard.as_ref().map(|guard| guard.longest).filter(|longest| *longest < ttl) {
            return Err(TtlError::AboveGuard { ttl: ttl.given(), longest: longest.given() });
        }
        let node_timeout = self.node_timeout.of(ttl, &self.drift)?;
        Ok(Terms { ttl, node_timeout, validity: self.drift.validity(ttl, Duration::ZERO) })
    }

    /// How long a node is waited for, of which some have never been connected yet: a node timeout that was set is not
    /// extended.
    pub(crate) fn patience(&self, node_timeout: Duration, longest: Duration) -> Duration {
        let connects = self.members.iter().filter_map(|member| member.node.connects_within()).max();
        match (self.node_timeout, connects) {
            (NodeTimeout::Auto, Some(connects)) => node_timeout.max(connects.min(longest)),
            _ => node_timeout,
        }
    }

    /// When a lock on these terms is extended.
    pub(crate) fn schedule(&self, options: AutoExtend, terms: &Terms) -> Result<Schedule, AutoExtendError> {
        options.schedule(terms.ttl, self.drift, terms.node_timeout)
    }

    /// The keys of these resources on the nodes, in the same order: here and nowhere else names become keys. Fails if
    /// the library uses one of them itself.
    pub(crate) fn keys(&self, resources: &Resources) -> Result<Resources, ResourceError> {
        let keys = match &*self.key_prefix {
            "" => resources.clone(),
            prefix => resources.prefixed(prefix)?,
        };
        let marker = self.guard.as_ref().map(|guard| &guard.marker);
        match keys.iter().find(|key| key.is_reserved() || Some(*key) == marker) {
            Some(key) => Err(ResourceError::Reserved { key: key.as_str().to_owned() }),
            None => Ok(keys),
        }
    }

    /// The fencing counters beside these keys.
    pub(crate) fn counters(&self, keys: &Resources, ttl: Duration) -> Result<Counters, ResourceError> {
        // No lock outlives its counter.
        Ok(Counters::new(keys.counters()?, self.fencing_retention.max(ttl)))
    }

    /// Fails if a node is a Redis Cluster and these keys are not all in one of its hash slots. Fencing counters and the
    /// marker of the restart guard have to be in that slot as well.
    pub(crate) fn check_slots(
        &self,
        resources: &Resources,
        keys: &Resources,
        counters: Option<&Counters>,
    ) -> Result<(), Box<SlotsError>> {
        let marker = self.guard.as_ref().map(|guard| &guard.marker);
        if resources.len() == 1 && counters.is_none() && marker.is_none() {
            return Ok(());
        }
        let Some(cluster) = self.members.iter().find(|member| member.node.is_cluster()) else { return Ok(()) };
        let counters = counters.into_iter().flat_map(|counters| &counters.keys);
        SlotsError::check(cluster.node.name(), resources, keys, counters.chain(marker))
    }

    /// Which node wakes the first waiter after a release: the first that does not fail, so that one is woken and no more.
    /// The waiters of a cluster hear nothing from its other members.
    pub(crate) fn waker(&self, but: Option<usize>) -> Option<usize> {
        let is_able = |member: &Member| !member.is_failing() && !member.node.is_cluster();
        let mut members = self.members.iter().enumerate();
        members.find(|(number, member)| Some(*number) != but && is_able(member)).map(|(number, _)| number)
    }

    /// The nodes' names, in the order in which the nodes were given.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(|member| member.node.name())
    }

    /// The tally of a round over all nodes.
    pub(crate) fn tally(&self) -> Tally {
        Tally::new(self.quorum, self.members.len())
    }

    /// A token that nobody has used before.
    pub(crate) fn new_token(&self) -> Result<Token, EntropyError> {
        let mut bytes = [0; Token::RANDOM_BYTES];
        self.entropy.fill(&mut bytes)?;
        let token = Token::from_bytes(bytes);
        Ok(self.owner.as_ref().map_or(token, |owner| token.with_owner(owner)))
    }

    /// A random number, for jitter.
    pub(crate) fn random(&self) -> Result<u64, EntropyError> {
        let mut bytes = [0; 8];
        self.entropy.fill(&mut bytes)?;
        Ok(u64::from_ne_bytes(bytes))
    }
}

/// A checked ttl and what follows from it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    pub(crate) ttl: Ttl,
    pub(crate) node_timeout: Duration,
    /// What the ttl leaves after drift, counted from before the first byte is sent.
    pub(crate) validity: Duration,
}

/// One node of the fleet.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) node: Arc<dyn LockNode>,
    /// Releases that it has not answered yet.
    pub(crate) owed: Owed,
    /// Requests that nobody waits for any more.
    late: AtomicUsize,
    /// Of those, the ones that are out for longer than the node timeout.
    overdue: AtomicUsize,
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

impl Terms {
    /// The longest time that the first answer of a node may take: enough is left of the TTL after that.
    pub(crate) fn first_answer_within(&self) -> Duration {
        self.ttl.trusted() / 3
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

/// Counts one request that nobody waits for against its node, until it is dropped.
#[derive(Debug)]
pub(crate) struct Debt {
    fleet: Arc<Fleet>,
    member: usize,
    count: fn(&Member) -> &AtomicUsize,
}

impl Debt {
    /// Left behind by a round that was decided without it.
    pub(crate) fn late(fleet: &Arc<Fleet>, member: usize) -> Self {
        Self::new(fleet, member, |member| &member.late)
    }

    /// Out for longer than the node timeout.
    pub(crate) fn overdue(fleet: &Arc<Fleet>, member: usize) -> Self {
        Self::new(fleet, member, |member| &member.overdue)
    }

    fn new(fleet: &Arc<Fleet>, member: usize, count: fn(&Member) -> &AtomicUsize) -> Self {
        if let Some(member) = fleet.members.get(member) {
            count(member).fetch_add(1, Ordering::Relaxed);
        }
        Self { fleet: Arc::clone(fleet), member, count }
    }
}

impl Drop for Debt {
    fn drop(&mut self) {
        if let Some(member) = self.fleet.members.get(self.member) {
            (self.count)(member).fetch_sub(1, Ordering::Relaxed);
        }
    }
}
