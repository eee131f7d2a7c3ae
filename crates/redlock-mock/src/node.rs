//! The in-memory node: a server, and the way to it.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use redlock_core::{
    AcquireAnswer, AcquireRequest, ExtendAnswer, ExtendRequest, InspectAnswer, InspectRequest, LockNode, NodeError,
    NodeErrorKind, OpenAnswer, OpenRequest, RaiseAnswer, RaiseRequest, ReleaseAnswer, ReleaseRequest, Resources, Timed,
    Token, algorithm::Vote,
};
use tokio::{
    sync::oneshot,
    time::{Instant, sleep, sleep_until, timeout},
};

use crate::{
    fault::{Fault, Memory},
    gate::Gate,
    keys::Keys,
    network::{Journey, Network},
    record::{Entry, Log, Operation},
    server::{self, Server, State},
};

/// An in-memory node. Clones share one server.
#[derive(Clone)]
pub struct MockNode {
    name: Arc<str>,
    response_timeout: Duration,
    latency: Duration,
    server: Arc<Mutex<Server>>,
    link: Option<Link>,
}

/// What lies between a simulated process and the node. Without it the node is reached at once.
#[derive(Clone)]
pub(crate) struct Link {
    pub(crate) process: usize,
    pub(crate) node: usize,
    pub(crate) network: Arc<Mutex<Network>>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) log: Log,
}

impl MockNode {
    /// A running node without keys.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self {
            name: name.into(),
            response_timeout: Duration::from_secs(1),
            latency: Duration::ZERO,
            server: Arc::default(),
            link: None,
        }
    }

    /// The same server, as a simulated process reaches it.
    pub(crate) fn linked(&self, link: Link) -> Self {
        Self { link: Some(link), ..self.clone() }
    }

    /// So many nodes, named `node-1`, `node-2` and so on.
    #[must_use]
    pub fn fleet(nodes: usize) -> Vec<Self> {
        (1..=nodes).map(|number| Self::new(format!("node-{number}"))).collect()
    }

    /// How long a request waits for its answer. Default: one second, as in the Redis backends.
    #[must_use]
    pub fn with_response_timeout(self, response_timeout: Duration) -> Self {
        Self { response_timeout, ..self }
    }

    /// How long every request takes to arrive. Default: no time.
    #[must_use]
    pub fn with_latency(self, latency: Duration) -> Self {
        Self { latency, ..self }
    }

    /// Lets something go wrong with the next request that has no fault yet.
    pub fn inject(&self, fault: Fault) {
        self.server().faults.push_back(fault);
    }

    /// Forgets the faults that no request has met yet.
    pub fn clear_faults(&self) {
        self.server().faults.clear();
    }

    /// Lets the node hang: connections stay open and nothing is answered.
    pub fn hang(&self) {
        self.server().hang();
    }

    /// Ends a hang. Everything that arrived meanwhile is carried out now, in order.
    pub fn resume(&self) {
        self.server().resume(Instant::now());
    }

    /// Stops the node: it refuses connections, and what it had not carried out yet is gone.
    pub fn stop(&self) {
        self.server().stop(Instant::now());
    }

    /// Starts a stopped node. One that runs or hangs goes on as it is.
    pub fn start(&self, memory: Memory) {
        self.server().start(memory, Instant::now());
    }

    /// Stops and starts the node.
    pub fn restart(&self, memory: Memory) {
        self.server().restart(memory, Instant::now());
    }

    /// Lets the node's clock run fast by so many millionths from now on, or slow if negative. Keys expire by it.
    pub fn set_clock_rate(&self, ppm: i32) {
        self.server().set_clock_rate(ppm, Instant::now());
    }

    /// Lets the node's clock jump by so many milliseconds, forwards or backwards.
    pub fn jump_clock(&self, millis: i64) {
        self.server().jump_clock(millis, Instant::now());
    }

    /// Sets a key as another library would: to any value, with or without expiry.
    pub fn set(&self, resource: &str, value: impl AsRef<[u8]>, ttl: Option<Duration>) {
        self.with_keys(|keys, now| keys.set(resource, value.as_ref(), ttl, now));
    }

    /// Sets a key that is not a string.
    pub fn set_list(&self, resource: &str) {
        self.with_keys(|keys, now| keys.set_list(resource, now));
    }

    /// Deletes a key, whoever holds it.
    pub fn remove(&self, resource: &str) {
        self.with_keys(|keys, now| keys.remove(resource, now));
    }

    /// What the key holds, as an observer inside the server sees it: no request, no fault.
    #[must_use]
    pub fn peek(&self, resource: &str) -> Option<Vec<u8>> {
        match self.with_keys(|keys, now| keys.inspect(resource, now)) {
            Ok(InspectAnswer::Held { token, .. }) => Some(token),
            _ => None,
        }
    }

    /// How long the key still lives, if it exists and expires at all.
    #[must_use]
    pub fn remaining(&self, resource: &str) -> Option<Duration> {
        match self.with_keys(|keys, now| keys.inspect(resource, now)) {
            Ok(InspectAnswer::Held { remaining, .. }) => remaining,
            _ => None,
        }
    }

    /// The names of all keys on the node.
    #[must_use]
    pub fn resources(&self) -> Vec<String> {
        self.with_keys(Keys::names)
    }

    /// How many requests were sent to the node.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.server().requests
    }

    /// The server as it is now, with all carried out that is due.
    fn server(&self) -> MutexGuard<'_, Server> {
        let mut server = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        server.settle(Instant::now());
        server
    }

    fn with_keys<R>(&self, read: impl FnOnce(&mut Keys, Instant) -> R) -> R {
        let mut server = self.server();
        let now = server.time(Instant::now());
        read(&mut server.keys, now)
    }

    /// Notes that a request is sent, for the records of the fleet.
    fn note(&self, operation: Operation, keys: &Resources, token: &Token) -> Option<Entry> {
        let link = self.link.as_ref()?;
        Some(link.log.sent(link.process, link.node, (operation, keys.clone(), *token)))
    }

    /// Sends a request and waits for its answer.
    async fn request<A: Send + 'static>(
        &self,
        entry: Option<Entry>,
        operation: impl Fn(&mut Keys, Instant) -> Result<A, NodeError> + Send + Sync + 'static,
        vote: impl Fn(&A) -> Vote,
    ) -> Result<A, NodeError> {
        let answered = timeout(self.response_timeout, self.send(entry.clone(), operation));
        let answered = match &self.link {
            Some(link) => link.gate.follow(answered).await,
            None => answered.await,
        };
        let answer = answered.unwrap_or_else(|_| Err(NodeErrorKind::Timeout.into()));
        if let Some(entry) = entry {
            entry.learned(match &answer {
                Ok(answer) => vote(answer),
                Err(_) => Vote::Failed,
            });
        }
        answer
    }

    async fn send<A: Send + 'static>(
        &self,
        entry: Option<Entry>,
        operation: impl Fn(&mut Keys, Instant) -> Result<A, NodeError> + Send + Sync + 'static,
    ) -> Result<A, NodeError> {
        let now = Instant::now();
        let mut journey = self.link.as_ref().map_or(Journey::NONE, Link::journey);
        journey.delay_request(self.latency);
        let answer = {
            let mut server = self.server();
            server.requests += 1;
            let fault = server.faults.pop_front().unwrap_or(Fault::None);
            match fault {
                Fault::Stop => server.stop(now),
                // A node that is down already stays down.
                Fault::Restart(memory) if server.state != State::Stopped => server.restart(memory, now),
                _ => {}
            }
            if server.state == State::Stopped || matches!(fault, Fault::Refuse | Fault::Restart(_)) {
                return Err(NodeErrorKind::Unreachable.into());
            }
            journey.meet(&fault);
            if let Some(entry) = &entry {
                entry.on_its_way(journey.arrivals(now).count());
            }
            let (sender, answer) = oneshot::channel();
            let sender = Mutex::new(Some(sender));
            let carry_out: server::Operation = Arc::new(move |keys, true_time, node_time| {
                let answer = if let Fault::Fail(kind) = fault { Err(kind.into()) } else { operation(keys, node_time) };
                if let (Some(entry), Ok(_)) = (&entry, &answer) {
                    entry.carried_out(true_time);
                }
                // The caller may have given up, and a request may arrive twice. It is carried out all the same.
                if let Some(sender) = sender.lock().unwrap_or_else(PoisonError::into_inner).take() {
                    let _ = sender.send(answer);
                }
            });
            server.receive(journey.arrivals(now), &carry_out);
            server.settle(now);
            answer
        };
        match journey.arrivals(now).min() {
            None => std::future::pending().await,
            Some(arrives) if arrives > now => {
                sleep_until(arrives).await;
                drop(self.server());
            }
            Some(_) => {}
        }
        // Dropped unanswered: the node stopped with the request on its way.
        let answer = answer.await.unwrap_or_else(|_| Err(NodeErrorKind::Unreachable.into()));
        match journey.back() {
            None => std::future::pending().await,
            Some(Duration::ZERO) => {}
            Some(back) => sleep(back).await,
        }
        if let Some(link) = &self.link {
            link.answer_arrives().await;
        }
        answer
    }
}

impl Link {
    fn journey(&self) -> Journey {
        self.network().journey(self.process, self.node)
    }

    /// Waits while answers are cut off, for ever if they are lost.
    async fn answer_arrives(&self) {
        let arrives = self.network().answer_arrives(self.process, self.node);
        match arrives {
            None => std::future::pending().await,
            Some(arrives) if arrives > Instant::now() => sleep_until(arrives).await,
            Some(_) => {}
        }
    }

    fn network(&self) -> MutexGuard<'_, Network> {
        self.network.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl LockNode for MockNode {
    fn name(&self) -> &str {
        &self.name
    }

    async fn acquire(&self, request: &AcquireRequest) -> Result<Timed<AcquireAnswer>, NodeError> {
        let entry = self.note(Operation::Acquire, &request.keys, &request.token);
        let request = request.clone();
        let vote = |timed: &Timed<AcquireAnswer>| match timed.answer {
            AcquireAnswer::Granted { .. } => Vote::Granted,
            AcquireAnswer::Quarantined { .. } => Vote::Failed,
            _ => Vote::Refused,
        };
        let acquire = move |keys: &mut Keys, now| Ok(timed(keys.acquire(&request, now)?, keys, now));
        self.request(entry, acquire, vote).await
    }

    async fn extend(&self, request: &ExtendRequest) -> Result<Timed<ExtendAnswer>, NodeError> {
        let entry = self.note(Operation::Extend, &request.keys, &request.token);
        let request = request.clone();
        let vote = |timed: &Timed<ExtendAnswer>| match timed.answer {
            ExtendAnswer::Extended => Vote::Granted,
            ExtendAnswer::Healed => Vote::Restored,
            _ => Vote::Refused,
        };
        let extend = move |keys: &mut Keys, now| Ok(timed(keys.extend(&request, now)?, keys, now));
        self.request(entry, extend, vote).await
    }

    async fn release(&self, request: &ReleaseRequest) -> Result<ReleaseAnswer, NodeError> {
        let entry = self.note(Operation::Release, &request.keys, &request.token);
        let request = request.clone();
        let vote = |answer: &ReleaseAnswer| match answer {
            ReleaseAnswer::Released => Vote::Granted,
            _ => Vote::Refused,
        };
        self.request(entry, move |keys, now| keys.release(&request, now), vote).await
    }

    async fn inspect(&self, request: &InspectRequest) -> Result<InspectAnswer, NodeError> {
        let request = request.clone();
        self.request(None, move |keys, now| keys.inspect(request.resource.as_str(), now), |_| Vote::Granted).await
    }

    async fn raise(&self, request: &RaiseRequest) -> Result<RaiseAnswer, NodeError> {
        let entry = self.note(Operation::Raise, &request.keys, &request.token);
        let request = request.clone();
        let vote = |answer: &RaiseAnswer| match answer {
            RaiseAnswer::Confirmed => Vote::Granted,
            _ => Vote::Refused,
        };
        self.request(entry, move |keys, now| keys.raise(&request, now), vote).await
    }

    async fn open(&self, request: &OpenRequest) -> Result<OpenAnswer, NodeError> {
        let request = request.clone();
        self.request(None, move |keys, now| keys.open(&request.guard, now), |_| Vote::Granted).await
    }
}

/// An answer with what the node's clock reads.
fn timed<A>(answer: A, keys: &Keys, now: Instant) -> Timed<A> {
    Timed { answer, clock: Some(keys.time(now)) }
}

impl fmt::Debug for MockNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MockNode")
            .field("name", &self.name)
            .field("state", &self.server().state)
            .finish_non_exhaustive()
    }
}
