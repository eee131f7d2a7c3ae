//! Deliberately broken variants, to show that each oracle can find something.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use redlock_core::{
    Drift, LockNode, NodeError, RedlockBuilder, Resource, Token, Ttl,
    backend::{
        AcquireAnswer, AcquireRequest, ExtendAnswer, ExtendRequest, FencingCounters, ListenRequest, OpenAnswer,
        OpenRequest, RaiseAnswer, RaiseRequest, ReleaseAnswer, ReleaseRequest, RestartGuard, Timed, WakeUps,
    },
};
use redlock_mock::{MockNode, Process};

/// What is broken on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sabotage {
    /// Nothing.
    None,
    /// Nothing is kept of the TTL for clocks that drift.
    NoDriftAllowance,
    /// Processes go on for a fifth longer than their lock is valid.
    HoldsTooLong,
    /// A node's release deletes the key, whoever holds it.
    ReleasesOthers,
    /// A node's acquire takes the key, whoever holds it.
    TakesOver,
    /// A node's acquire takes the key for a writer although readers share it.
    WritesBesideReaders,
    /// A node's acquire takes the key for a reader although a writer holds it.
    ReadsBesideWriters,
    /// A node that downgrades a writer forgets who the writer is, and lets any reader in.
    DowngradesOthers,
    /// A node says that it has granted, and has not.
    GrantsNothing,
    /// A node says that it has extended, and has not.
    ExtendsNothing,
    /// A node that has lost a key does not take it again.
    NeverHeals,
    /// Of its loss a process is told some milliseconds after the validity has ended.
    TellsLate,
    /// A node says that it has released, and has not.
    ReleasesNothing,
    /// A node says that it did not hold what it has released.
    DeniesRelease,
    /// A node sets keys without an expiry.
    NeverExpires,
    /// A majority of the nodes is down.
    DeadMajority,
    /// A node leaves a task behind with every request.
    LeavesTasks,
    /// A node's task panics, and nobody waits for that task.
    PanicsUnheard,
    /// Processes go on using the nodes after they were closed.
    WorksOn,
    /// A node's grants do not count.
    CountsNothing,
    /// A node raises its counter, whoever holds the key.
    RaisesForOthers,
    /// A counter that a node has lost begins at nothing, and not with the node's clock, when the lock is granted.
    CountsFromNothing,
    /// ... or when a lock is extended.
    HealsFromNothing,
    /// The restart guard waits for half of the longest TTL.
    HalfQuarantine,
    /// The restart guard looks for a marker, and not of which run it is.
    AnyMarker,
    /// A node's release wakes nobody.
    WakesNobody,
    /// A node grants to whoever comes, though others wait.
    GrantsOutOfTurn,
    /// A release that failed on a node counts as done, and is never sent there again.
    ForgetsFailedReleases,
}

impl Sabotage {
    /// The `Redlock` of a process, in this variant.
    pub(crate) fn builder(self, process: &Process) -> RedlockBuilder {
        let builder = match self {
            Self::None => process.redlock(),
            _ => {
                let nodes = process.nodes().iter().cloned().map(|node| Arc::new(Saboteur::new(node, self)));
                redlock_core::Redlock::builder()
                    .nodes(nodes)
                    .clock(process.clock().clone())
                    .entropy(process.entropy().clone())
            }
        };
        match (self, Drift::new(0.0, Duration::ZERO)) {
            (Self::NoDriftAllowance, Ok(none)) => builder.drift(none),
            _ => builder,
        }
    }

    /// For how long a process holds on to a lock that is valid for so long.
    pub(crate) fn believed(self, validity: Duration) -> Duration {
        if self == Self::HoldsTooLong { validity + validity / 5 } else { validity }
    }

    /// How long the quarantine of nodes is that forget locks of this TTL.
    pub(crate) fn quarantine(self, longest_ttl: Duration) -> Duration {
        if self == Self::HalfQuarantine { longest_ttl / 2 } else { longest_ttl }
    }

    pub(crate) fn before(self, nodes: &[MockNode]) {
        if self == Self::DeadMajority {
            nodes.iter().skip((nodes.len() - 1) / 2).for_each(MockNode::stop);
        }
    }
}

/// A node that is broken in one way.
#[derive(Debug)]
struct Saboteur {
    node: MockNode,
    sabotage: Sabotage,
    /// The tokens whose release has failed.
    forgotten: Mutex<HashSet<Token>>,
}

impl Saboteur {
    fn new(node: MockNode, sabotage: Sabotage) -> Self {
        Self { node, sabotage, forgotten: Mutex::default() }
    }

    fn forgotten(&self) -> MutexGuard<'_, HashSet<Token>> {
        self.forgotten.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counts(&self, counters: &FencingCounters) -> bool {
        counters.keys.iter().all(|key| self.node.peek(key.as_str()).is_some())
    }

    fn set(&self, counters: &FencingCounters, counter: u64) {
        for key in &counters.keys {
            self.node.set(key.as_str(), counter.to_string(), Some(counters.retention));
        }
    }

    /// The guard in this variant.
    fn guard(&self, guard: &RestartGuard) -> Option<RestartGuard> {
        let longest = Ttl::new(self.sabotage.quarantine(guard.longest.trusted())).unwrap_or(guard.longest);
        // What opens a new fleet.
        let opened = |marker: Vec<u8>| marker.ends_with(b" 0");
        let is_open = || self.node.peek(guard.marker.as_str()).is_some_and(opened);
        let skips = self.sabotage == Sabotage::AnyMarker && is_open();
        (!skips).then(|| RestartGuard::new(guard.marker.clone(), longest))
    }
}

#[async_trait]
impl LockNode for Saboteur {
    fn name(&self) -> &str {
        self.node.name()
    }

    async fn acquire(&self, request: &AcquireRequest) -> Result<Timed<AcquireAnswer>, NodeError> {
        match self.sabotage {
            Sabotage::GrantsNothing => return Ok(AcquireAnswer::granted().into()),
            Sabotage::TakesOver => request.keys.iter().for_each(|key| self.node.remove(key.as_str())),
            Sabotage::WritesBesideReaders if !request.shared => request.keys.iter().for_each(|key| {
                if !self.node.readers(key.as_str()).is_empty() {
                    self.node.remove(key.as_str());
                }
            }),
            Sabotage::ReadsBesideWriters if request.shared => request.keys.iter().for_each(|key| {
                if self.node.peek(key.as_str()).is_some() {
                    self.node.remove(key.as_str());
                }
            }),
            Sabotage::LeavesTasks => drop(tokio::spawn(std::future::pending::<()>())),
            _ => {}
        }
        let mut request = request.clone();
        request.guard = request.guard.and_then(|guard| self.guard(&guard));
        if self.sabotage == Sabotage::GrantsOutOfTurn {
            request.queue = request.queue.map(|queue| queue.yielding(false));
        }
        let counters = request.fencing.as_ref();
        if let Some(counters) = counters.filter(|counters| !self.counts(counters))
            && self.sabotage == Sabotage::CountsFromNothing
        {
            self.set(counters, 0);
        }
        let answer = self.node.acquire(&request).await;
        if let (
            Some(counters),
            Ok(Timed { answer: AcquireAnswer::Granted { counter: Some(counter), .. }, clock, sent_again }),
        ) = (counters, &answer)
            && self.sabotage == Sabotage::CountsNothing
        {
            self.set(counters, counter - 1);
            return Ok(Timed { answer: AcquireAnswer::counted(counter - 1), clock: *clock, sent_again: *sent_again });
        }
        if self.sabotage == Sabotage::NeverExpires && answer.is_ok() {
            request.keys.iter().for_each(|key| self.node.set(key.as_str(), request.token.as_bytes(), None));
        }
        answer
    }

    async fn extend(&self, request: &ExtendRequest) -> Result<Timed<ExtendAnswer>, NodeError> {
        match self.sabotage {
            Sabotage::ExtendsNothing => Ok(ExtendAnswer::Extended.into()),
            Sabotage::NeverHeals if request.keys.iter().any(|key| self.node.peek(key.as_str()).is_none()) => {
                Ok(ExtendAnswer::held(None).into())
            }
            Sabotage::DowngradesOthers if request.shared => {
                request.keys.iter().map(Resource::as_str).filter(|key| self.node.peek(key).is_some()).for_each(|key| {
                    self.node.remove(key);
                });
                self.node.extend(request).await
            }
            Sabotage::HealsFromNothing => {
                let fencing = request.fencing.as_ref();
                if let Some((counters, fence)) = fencing.filter(|(counters, _)| !self.counts(counters)) {
                    self.set(counters, fence.get());
                }
                self.node.extend(request).await
            }
            _ => self.node.extend(request).await,
        }
    }

    #[expect(clippy::panic, reason = "on purpose")]
    async fn release(&self, request: &ReleaseRequest) -> Result<ReleaseAnswer, NodeError> {
        match self.sabotage {
            Sabotage::ReleasesOthers => request.keys.iter().for_each(|key| self.node.remove(key.as_str())),
            Sabotage::ReleasesNothing => return Ok(ReleaseAnswer::Released),
            Sabotage::ForgetsFailedReleases if self.forgotten().contains(&request.token) => {
                return Ok(ReleaseAnswer::NotHeld);
            }
            Sabotage::PanicsUnheard => drop(tokio::spawn(async { panic!("on purpose") })),
            _ => {}
        }
        let mut request = request.clone();
        request.wake = request.wake.filter(|_| self.sabotage != Sabotage::WakesNobody);
        match (self.sabotage, self.node.release(&request).await) {
            (Sabotage::DeniesRelease, Ok(_)) => Ok(ReleaseAnswer::NotHeld),
            (Sabotage::ForgetsFailedReleases, Err(error)) => {
                self.forgotten().insert(request.token);
                Err(error)
            }
            (_, answer) => answer,
        }
    }

    async fn raise(&self, request: &RaiseRequest) -> Result<RaiseAnswer, NodeError> {
        let RaiseRequest { counters, candidate, .. } = request;
        let answer = self.node.raise(request).await?;
        if (self.sabotage, answer) != (Sabotage::RaisesForOthers, RaiseAnswer::NotHeld) {
            return Ok(answer);
        }
        let count = |key: &Resource| str::from_utf8(&self.node.peek(key.as_str())?).ok()?.parse().ok();
        let greatest = counters.keys.iter().filter_map(count).max().unwrap_or(0);
        if greatest > *candidate {
            return Ok(RaiseAnswer::Higher(greatest));
        }
        self.set(counters, *candidate);
        Ok(RaiseAnswer::Confirmed)
    }

    async fn open(&self, request: &OpenRequest) -> Result<OpenAnswer, NodeError> {
        self.node.open(request).await
    }

    async fn listen(&self, request: &ListenRequest) -> Result<Box<dyn WakeUps>, NodeError> {
        self.node.listen(request).await
    }
}
