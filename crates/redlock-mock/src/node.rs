//! The in-memory node: a server with its keys, and the connection to it.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use redlock_core::{
    AcquireAnswer, AcquireRequest, ExtendAnswer, ExtendRequest, InspectAnswer, InspectRequest, LockNode, NodeError,
    NodeErrorKind, ReleaseAnswer, ReleaseRequest,
};
use tokio::{
    sync::oneshot,
    time::{Instant, sleep, sleep_until, timeout},
};

use crate::{
    fault::{Fault, Memory},
    keys::Keys,
};

/// An in-memory node. Clones share one server.
#[derive(Clone)]
pub struct MockNode {
    name: Arc<str>,
    response_timeout: Duration,
    latency: Duration,
    server: Arc<Mutex<Server>>,
}

#[derive(Default)]
struct Server {
    keys: Keys,
    state: State,
    faults: VecDeque<Fault>,
    /// Requests that are on their way, in the order in which they were sent.
    inbox: Vec<Message>,
    requests: usize,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Running,
    Hung,
    Stopped,
}

/// A request on its way: carried out when it is due, whether or not its caller still waits.
struct Message {
    due: Instant,
    carry_out: Operation,
}

type Operation = Box<dyn FnOnce(&mut Keys, Instant) + Send>;

impl MockNode {
    /// A running node without keys.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self {
            name: name.into(),
            response_timeout: Duration::from_secs(1),
            latency: Duration::ZERO,
            server: Arc::default(),
        }
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
        self.server().state = State::Hung;
    }

    /// Ends a hang. Everything that arrived meanwhile is carried out now, in order.
    pub fn resume(&self) {
        let mut server = self.server();
        if server.state == State::Hung {
            server.state = State::Running;
            let now = Instant::now();
            server.inbox.iter_mut().for_each(|message| message.due = message.due.max(now));
            server.settle(now);
        }
    }

    /// Stops the node: it refuses connections, and what it had not carried out yet is gone.
    pub fn stop(&self) {
        self.server().stop();
    }

    /// Starts a stopped node. One that runs or hangs goes on as it is.
    pub fn start(&self, memory: Memory) {
        self.server().start(memory);
    }

    /// Stops and starts the node.
    pub fn restart(&self, memory: Memory) {
        let mut server = self.server();
        server.stop();
        server.start(memory);
    }

    /// Sets a key as another library would: to any value, with or without expiry.
    pub fn set(&self, resource: &str, value: impl AsRef<[u8]>, ttl: Option<Duration>) {
        self.server().keys.set(resource, value.as_ref(), ttl, Instant::now());
    }

    /// Sets a key that is not a string.
    pub fn set_list(&self, resource: &str) {
        self.server().keys.set_list(resource);
    }

    /// Deletes a key, whoever holds it.
    pub fn remove(&self, resource: &str) {
        self.server().keys.remove(resource);
    }

    /// What the key holds, as an observer inside the server sees it: no request, no fault.
    #[must_use]
    pub fn peek(&self, resource: &str) -> Option<Vec<u8>> {
        match self.server().keys.inspect(resource, Instant::now()) {
            Ok(InspectAnswer::Held { token, .. }) => Some(token),
            _ => None,
        }
    }

    /// How long the key still lives, if it exists and expires at all.
    #[must_use]
    pub fn remaining(&self, resource: &str) -> Option<Duration> {
        match self.server().keys.inspect(resource, Instant::now()) {
            Ok(InspectAnswer::Held { remaining, .. }) => remaining,
            _ => None,
        }
    }

    /// The names of all keys on the node.
    #[must_use]
    pub fn resources(&self) -> Vec<String> {
        self.server().keys.names(Instant::now())
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

    /// Sends a request and waits for its answer.
    async fn request<A: Send + 'static>(
        &self,
        operation: impl FnOnce(&mut Keys, Instant) -> Result<A, NodeError> + Send + 'static,
    ) -> Result<A, NodeError> {
        timeout(self.response_timeout, self.send(operation))
            .await
            .unwrap_or_else(|_| Err(NodeErrorKind::Timeout.into()))
    }

    async fn send<A: Send + 'static>(
        &self,
        operation: impl FnOnce(&mut Keys, Instant) -> Result<A, NodeError> + Send + 'static,
    ) -> Result<A, NodeError> {
        let (answer, due, fault) = {
            let mut server = self.server();
            server.requests += 1;
            let fault = server.faults.pop_front().unwrap_or(Fault::None);
            match fault {
                Fault::Stop => server.stop(),
                Fault::Restart(memory) => {
                    server.stop();
                    server.start(memory);
                }
                _ => {}
            }
            if server.state == State::Stopped || matches!(fault, Fault::Refuse | Fault::Restart(_)) {
                return Err(NodeErrorKind::Unreachable.into());
            }
            let (sender, answer) = oneshot::channel();
            let failure = fault.clone();
            let delay = if let Fault::DelayRequest(delay) = fault { delay } else { Duration::ZERO };
            let now = Instant::now();
            let due = later(now, self.latency.saturating_add(delay));
            if fault != Fault::LoseRequest {
                let carry_out: Operation = Box::new(move |keys, now| {
                    // The caller may have given up; the request is carried out all the same.
                    let _ = sender.send(if let Fault::Fail(kind) = failure {
                        Err(kind.into())
                    } else {
                        operation(keys, now)
                    });
                });
                server.inbox.push(Message { due, carry_out });
            }
            server.settle(now);
            (answer, due, fault)
        };
        if due > Instant::now() {
            sleep_until(due).await;
            drop(self.server());
        }
        if matches!(fault, Fault::LoseRequest | Fault::LoseAnswer) {
            std::future::pending::<()>().await;
        }
        // Dropped unanswered: the node stopped with the request on its way.
        let answer = answer.await.unwrap_or_else(|_| Err(NodeErrorKind::Unreachable.into()));
        if let Fault::DelayAnswer(delay) = fault {
            sleep(delay).await;
        }
        answer
    }
}

/// So much later, and if there is no such time, in a year.
fn later(now: Instant, delay: Duration) -> Instant {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
    now.checked_add(delay).unwrap_or_else(|| now + YEAR)
}

impl Server {
    /// Carries out what is due.
    fn settle(&mut self, now: Instant) {
        if self.state != State::Running || self.inbox.is_empty() {
            return;
        }
        // Stable: requests that are due at the same time keep their order.
        self.inbox.sort_by_key(|message| message.due);
        let due = self.inbox.partition_point(|message| message.due <= now);
        for message in self.inbox.drain(..due) {
            (message.carry_out)(&mut self.keys, message.due);
        }
    }

    fn stop(&mut self) {
        self.state = State::Stopped;
        self.inbox.clear();
    }

    fn start(&mut self, memory: Memory) {
        if self.state != State::Stopped {
            return;
        }
        self.state = State::Running;
        if memory == Memory::Lost {
            self.keys.clear();
        }
    }
}

#[async_trait]
impl LockNode for MockNode {
    fn name(&self) -> &str {
        &self.name
    }

    async fn acquire(&self, request: &AcquireRequest) -> Result<AcquireAnswer, NodeError> {
        let request = request.clone();
        self.request(move |keys, now| keys.acquire(&request, now)).await
    }

    async fn extend(&self, request: &ExtendRequest) -> Result<ExtendAnswer, NodeError> {
        let request = request.clone();
        self.request(move |keys, now| keys.extend(&request, now)).await
    }

    async fn release(&self, request: &ReleaseRequest) -> Result<ReleaseAnswer, NodeError> {
        let request = request.clone();
        self.request(move |keys, now| keys.release(&request, now)).await
    }

    async fn inspect(&self, request: &InspectRequest) -> Result<InspectAnswer, NodeError> {
        let request = request.clone();
        self.request(move |keys, now| keys.inspect(request.resource.as_str(), now)).await
    }
}

impl fmt::Debug for MockNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MockNode")
            .field("name", &self.name)
            .field("state", &self.server().state)
            .finish_non_exhaustive()
    }
}
