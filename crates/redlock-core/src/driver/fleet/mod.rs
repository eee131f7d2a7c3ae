//! The nodes of one `Redlock`, its settings, and what all its locks share.

mod call;
mod deliver_owed;
mod questions;
mod for_queue;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use super::{auto_extend::Keeper, background::Background, member::Member, node_lane::Offer, tally::Tally};
use crate::{
    algorithm::{AutoExtend, AutoExtendError, Drift, NodeTimeout, Quorum, Retry, Schedule, Ttl, TtlError},
    names::{Owner, Resource, ResourceError, Resources, SlotsError, Token},
    node::{Clock, Entropy, EntropyError, FencingCounters, RestartGuard},
    queue::{LocalQueues, Subscriptions},
    report::Observers,
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
    /// Whether locks get fencing tokens, and how long their counters are kept.
    pub(crate) fencing: bool,
    pub(crate) fencing_retention: Duration,
    pub(crate) guard: Option<RestartGuard>,
    /// For how long a node is not trusted after its clock has jumped.
    pub(crate) distrust: Option<Duration>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Box<dyn Entropy>,
    pub(crate) background: Background,
    pub(crate) keeper: Keeper,
    pub(crate) queues: Arc<LocalQueues<Offer>>,
    pub(crate) subscriptions: Subscriptions,
    pub(crate) observers: Observers,
}

impl Fleet {
    /// Checks a TTL, and computes what follows from it in this fleet.
    pub(crate) fn terms(&self, ttl: Duration) -> Result<Terms, TtlError> {
        let ttl = Ttl::new(ttl)?;
        if let Some(longest) = self.guard.as_ref().map(|guard| guard.longest).filter(|longest| *longest < ttl) {
            return Err(TtlError::AboveGuard { ttl: ttl.given(), longest: longest.given() });
        }
        let node_timeout = self.node_timeout.of(ttl, &self.drift)?;
        Ok(Terms { ttl, node_timeout, validity: self.drift.validity(ttl, Duration::ZERO) })
    }

    /// How long to wait for the nodes. Longer if some are not connected yet, unless the user has set the node timeout.
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

    /// The keys of these resources on the nodes, in the same order. Only this method makes keys of names. Fails if the
    /// library uses one of the keys itself.
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
    pub(crate) fn counters(&self, keys: &Resources, ttl: Duration) -> Result<FencingCounters, ResourceError> {
        // No lock outlives its counter.
        Ok(FencingCounters::new(keys.counters()?, self.fencing_retention.max(ttl)))
    }

    /// Fails if a node is a Redis Cluster and these keys are not all in one of its hash slots. Fencing counters and the
    /// marker of the restart guard have to be in that slot as well.
    pub(crate) fn check_slots(
        &self,
        resources: &Resources,
        keys: &Resources,
        counters: Option<&FencingCounters>,
    ) -> Result<(), Box<SlotsError>> {
        let marker = self.guard.as_ref().map(|guard| &guard.marker);
        if resources.len() == 1 && counters.is_none() && marker.is_none() {
            return Ok(());
        }
        let Some(cluster) = self.members.iter().find(|member| member.node.is_cluster()) else { return Ok(()) };
        let counters = counters.into_iter().flat_map(|counters| &counters.keys);
        SlotsError::check(cluster.node.name(), resources, keys, counters.chain(marker))
    }

    /// [`Self::check_slots`] for a semaphore: one of its slots, and the number of its permits.
    pub(crate) fn check_permit_slots(
        &self,
        resources: &Resources,
        slot: &Resources,
        count: &Resource,
        counters: Option<&FencingCounters>,
    ) -> Result<(), Box<SlotsError>> {
        let Some(cluster) = self.members.iter().find(|member| member.node.is_cluster()) else { return Ok(()) };
        let beside = self.guard.as_ref().map(|guard| &guard.marker).into_iter().chain([count]);
        let counters = counters.into_iter().flat_map(|counters| &counters.keys);
        SlotsError::check(cluster.node.name(), resources, slot, counters.chain(beside))
    }

    /// The node that notifies the first waiter after a release: the first node that does not fail, so that only one
    /// waiter is notified. Not a cluster, since a message of one of its servers does not reach subscribers on the
    /// others.
    pub(crate) fn notifier(&self, but: Option<usize>) -> Option<usize> {
        let is_able = |member: &Member| !member.is_failing() && !member.node.is_cluster();
        let mut members = self.members.iter().enumerate();
        members.find(|(number, member)| Some(*number) != but && is_able(member)).map(|(number, _)| number)
    }

    /// The nodes' names, in the order in which the nodes were passed.
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

/// A checked TTL and what follows from it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    pub(crate) ttl: Ttl,
    pub(crate) node_timeout: Duration,
    /// The time that the TTL leaves after drift, counted from before the first byte is sent.
    pub(crate) validity: Duration,
}

impl Terms {
    /// The longest time that the first answer of a node may take: enough is left of the TTL after that.
    pub(crate) fn first_answer_within(&self) -> Duration {
        self.ttl.trusted() / 3
    }
}

/// Counts one request that no caller waits for against its node, until it is dropped.
#[derive(Debug)]
pub(crate) struct Debt {
    fleet: Arc<Fleet>,
    member: usize,
    count: fn(&Member) -> &AtomicUsize,
}

impl Debt {
    /// A request that was still in flight when its round was decided.
    pub(crate) fn late(fleet: &Arc<Fleet>, member: usize) -> Self {
        Self::new(fleet, member, |member| &member.late)
    }

    /// A request that has been in flight for longer than the node timeout.
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
