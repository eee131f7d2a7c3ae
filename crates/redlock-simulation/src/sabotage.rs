//! Deliberately broken variants, to show that each invariant checker can find something.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use redlock_core::{
    Drift, LockNode, NodeError, RedlockBuilder, Resource, Resources, Token, Ttl,
    backend::{
        AcquireAnswer, AcquireRequest, ExtendAnswer, ExtendRequest, FencingCounters, ListenRequest, OpenAnswer,
        OpenRequest, PermitSlots, RaiseAnswer, RaiseRequest, ReleaseAnswer, ReleaseRequest, RestartGuard, Timed,
        WakeUps,
    },
};
use redlock_mock::{MockNode, Process};

/// The part that is broken on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sabotage {
    /// None.
    None,
    /// There is no allowance for clock drift.
    NoDriftAllowance,
    /// Processes use their lock for a fifth longer than it is valid.
    HoldsTooLong,
    /// A release on a node deletes the key, even if it holds another token.
    ReleasesOthers,
    /// An acquire on a node overwrites the key, even if it holds another token.
    TakesOver,
    /// A node grants a key to a writer although readers share it.
    WritesBesideReaders,
    /// A node grants a key to a reader although a writer holds it.
    ReadsBesideWriters,
    /// A node that downgrades a lock does not check who the writer is: any reader gets the key.
    DowngradesOthers,
    /// A node answers that it has granted, and has not.
    GrantsNothing,
    /// A node answers that it has extended, and has not.
    ExtendsNothing,
    /// A node that has lost a key does not set it again.
    NeverHeals,
    /// A process learns of a loss some milliseconds after the validity has ended.
    TellsLate,
    /// A node answers that it has released, and has not.
    ReleasesNothing,
    /// A node answers that it did not hold a key that it has released.
    DeniesRelease,
    /// A node sets keys without an expiry.
    NeverExpires,
    /// A majority of the nodes is down.
    DeadMajority,
    /// With every request, a node starts a task that never ends.
    LeavesTasks,
    /// A task of a node panics, and nobody waits for that task.
    PanicsUnheard,
    /// Processes continue to use the nodes after they were closed.
    WorksOn,
    /// A node does not raise its counter when it grants a lock.
    CountsNothing,
    /// A node raises its counter, even if the key holds another token.
    RaisesForOthers,
    /// A counter that a node has lost begins at zero, instead of with the node's clock, when the lock is granted.
    CountsFromNothing,
    /// The same when a lock is extended.
    HealsFromNothing,
    /// The restart guard waits for half of the longest TTL.
    HalfQuarantine,
    /// The restart guard checks only for a marker, and not for the run that it names.
    AnyMarker,
    /// A release on a node notifies nobody.
    WakesNobody,
    /// A node grants to any caller, although others wait.
    GrantsOutOfTurn,
    /// A release that failed on a node counts as done, and is never sent there again.
    ForgetsFailedReleases,
    /// A node grants permits as long as there are fewer holders than permits, regardless of the requested slot: a
    /// counting semaphore.
    CountsHolders,
}

impl Sabotage {
    /// Returns the builder for a process, in this variant.
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

    /// Returns for how long a process uses a lock with this validity.
    pub(crate) fn believed(self, validity: Duration) -> Duration {
        if self == Self::HoldsTooLong { validity + validity / 5 } else { validity }
    }

    /// Returns how long the quarantine of nodes is that forget locks with this TTL.
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
    /// The key under which a node that counts holders keeps each of them.
    counted: Mutex<HashMap<Token, Resource>>,
}

impl Saboteur {
    fn new(node: MockNode, sabotage: Sabotage) -> Self {
        Self { node, sabotage, forgotten: Mutex::default(), counted: Mutex::default() }
    }

    fn forgotten(&self) -> MutexGuard<'_, HashSet<Token>> {
        self.forgotten.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the key of any slot that is free on this node, instead of the requested one; or the key that already has
    /// this token.
    fn count(&self, keys: &Resources, token: &Token, permits: Option<&PermitSlots>) -> Resources {
        let Some(permits) = permits.filter(|_| self.sabotage == Sabotage::CountsHolders) else { return keys.clone() };
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = counted.get(token) {
            return key.into();
        }
        let slot = |number| Resource::new(format!("{}:{number}", permits.count.as_str().trim_end_matches('s'))).ok();
        let is_free = |key: &Resource| self.node.peek(key.as_str()).is_none();
        let free = (0..permits.permits).filter_map(slot).find(is_free);
        let Some(key) = free else { return keys.clone() };
        counted.insert(*token, key.clone());
        key.into()
    }

    /// Returns the key under which the token is counted, if it is.
    fn counted(&self, keys: &Resources, token: &Token) -> Resources {
        let counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        counted.get(token).map_or_else(|| keys.clone(), Resources::from)
    }

    fn counts(&self, counters: &FencingCounters) -> bool {
        counters.keys.iter().all(|key| self.node.peek(key.as_str()).is_some())
    }

    fn set(&self, counters: &FencingCounters, counter: u64) {
        for key in &counters.keys {
            self.node.set(key.as_str(), counter.to_string(), Some(counters.retention));
        }
    }

    /// Returns the restart guard in this variant.
    fn guard(&self, guard: &RestartGuard) -> Option<RestartGuard> {
        let longest = Ttl::new(self.sabotage.quarantine(guard.longest.trusted())).unwrap_or(guard.longest);
        // The marker that opens a new fleet.
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
        request.keys = self.count(&request.keys, &request.token, request.permits.as_ref());
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
            Sabotage::CountsHolders => {
                let mut request = request.clone();
                request.keys = self.counted(&request.keys, &request.token);
                self.node.extend(&request).await
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
        request.keys = self.counted(&request.keys, &request.token);
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
