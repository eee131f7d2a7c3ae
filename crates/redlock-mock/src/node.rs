//! The in-memory node: a server, and the way to it.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use redlock_core::{
    NodeError, NodeErrorKind,
    algorithm::{NodeRole, ServerVersion},
    backend::{InspectAnswer, NodeFacts},
};
use tokio::time::{Instant, sleep};

use crate::{
    clock::later,
    connection::{Client, Connection},
    fault::{Fault, Memory},
    keys::Keys,
    link::Link,
    listening::Listening,
    server::{Server, State},
};

/// An in-memory node. Clones share one server.
#[derive(Clone)]
pub struct MockNode {
    pub(crate) name: Arc<str>,
    pub(crate) response_timeout: Duration,
    pub(crate) latency: Duration,
    server: Arc<Mutex<Server>>,
    pub(crate) facts: Arc<Mutex<NodeFacts>>,
    pub(crate) link: Option<Link>,
    /// The client that uses this node, and its connection. Without it, a request that is sent always arrives.
    pub(crate) client: Option<Arc<Client>>,
}

impl MockNode {
    /// Creates a running node without keys.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self {
            name: name.into(),
            response_timeout: Duration::from_secs(1),
            latency: Duration::ZERO,
            server: Arc::default(),
            facts: Arc::new(Mutex::new(description())),
            link: None,
            client: None,
        }
    }

    /// Returns the same server, as a simulated process reaches it.
    pub(crate) fn linked(&self, link: Link) -> Self {
        Self { link: Some(link), ..self.clone() }
    }

    /// Creates this many nodes, named `node-1`, `node-2` and so on.
    #[must_use]
    pub fn fleet(nodes: usize) -> Vec<Self> {
        (1..=nodes).map(|number| Self::new(format!("node-{number}"))).collect()
    }

    /// Returns the same server under another name, as a second URL of it would be.
    #[must_use]
    pub fn with_name(self, name: impl Into<Arc<str>>) -> Self {
        Self { name: name.into(), ..self }
    }

    /// Changes the facts that the server reports about itself when it is [checked](redlock_core::Redlock::check_nodes);
    /// its behavior stays the same. By default it is a primary without replicas, which loses no writes and evicts
    /// nothing. It always reports the reading of its clock.
    pub fn set_facts(&self, change: impl FnOnce(&mut NodeFacts)) {
        change(&mut self.facts());
    }

    /// Sets how long a request waits for its answer. Default: one second, as in the Redis backends.
    #[must_use]
    pub fn with_response_timeout(self, response_timeout: Duration) -> Self {
        Self { response_timeout, ..self }
    }

    /// Sets how long every request takes to arrive. Default: no time.
    #[must_use]
    pub fn with_latency(self, latency: Duration) -> Self {
        Self { latency, ..self }
    }

    /// Models the client's connection to the server. The node that this returns and its clones are one client; call it
    /// again on the same server for another client with a connection of its own. Default: without a connection, so that
    /// every request reaches a server that hangs.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use redlock_core::{LockNode, Resource, backend::InspectRequest};
    /// # use redlock_mock::{Connection, MockNode};
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let node = MockNode::new("node").with_connection(Connection::default());
    /// node.hang();
    /// let start = tokio::time::Instant::now();
    /// let request = InspectRequest::new(Resource::new("report")?);
    /// assert!(node.inspect(&request).await.is_err());
    /// assert_eq!(node.requests(), 0, "nobody can connect to a server that hangs");
    /// assert_eq!(start.elapsed(), Duration::from_secs(1));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn with_connection(self, connection: Connection) -> Self {
        Self { client: Some(Arc::new(Client::new(connection))), ..self }
    }

    /// Cuts the connection in use without notifying either side, like a firewall that forgets it: data that is written
    /// to it arrives after `arrives`, or never, and no answer comes back. New connections work. The client gives this
    /// one up after its [silence](Connection::silence).
    ///
    /// Nothing happens without a [connection](Self::with_connection), or before the first request.
    pub fn cut_connection(&self, arrives: Option<Duration>) {
        if let Some(client) = &self.client {
            client.cut(arrives.map(|arrives| later(Instant::now(), arrives)));
        }
    }

    /// Returns whether a request that is sent now can be answered: the server runs, and neither the network nor the
    /// connection is cut.
    #[must_use]
    pub fn is_reachable(&self) -> bool {
        let is_cut = || self.client.as_ref().is_some_and(|client| client.is_cut());
        self.server().state == State::Running && self.cut_until().is_none() && !is_cut()
    }

    /// Injects a fault into the next request that has no fault yet.
    pub fn inject(&self, fault: Fault) {
        self.server().faults.push_back(fault);
    }

    /// Removes the faults that no request has met yet.
    pub fn clear_faults(&self) {
        self.server().faults.clear();
    }

    /// Makes the node hang: connections stay open and nothing is answered.
    pub fn hang(&self) {
        self.server().hang();
    }

    /// Ends a hang. Every request that arrived meanwhile is carried out now, in order.
    pub fn resume(&self) {
        self.server().resume(Instant::now());
    }

    /// Stops the node: it refuses connections, and requests that it had not carried out yet are lost.
    pub fn stop(&self) {
        self.server().stop(Instant::now());
    }

    /// Starts a stopped node. Does nothing to one that runs or hangs.
    pub fn start(&self, memory: Memory) {
        self.server().start(memory, Instant::now());
    }

    /// Stops and starts the node.
    pub fn restart(&self, memory: Memory) {
        self.server().restart(memory, Instant::now());
    }

    /// Makes the node's clock run fast by this many millionths from now on, or slow if negative. Keys expire by it.
    pub fn set_clock_rate(&self, ppm: i32) {
        self.server().set_clock_rate(ppm, Instant::now());
    }

    /// Makes the node's clock jump by this many milliseconds, forwards or backwards.
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

    /// Sets a key to a sorted set of members, each with its own TTL. If the members are tokens, they are readers.
    pub fn set_members(&self, resource: &str, members: &[(&str, Duration)]) {
        self.with_keys(|keys, now| {
            let time = keys.time(now);
            let ends = |ttl: &Duration| (time + *ttl).as_micros() as u64;
            let members = members.iter().map(|(member, ttl)| (member.as_bytes().to_vec(), ends(ttl))).collect();
            keys.share(resource, members, now);
        });
    }

    /// Removes the expiry of a key, like `PERSIST`.
    pub fn persist(&self, resource: &str) {
        self.with_keys(|keys, now| keys.persist(resource, now));
    }

    /// Returns the readers that share the key, as an observer inside the server sees it: their tokens and remaining
    /// TTLs, in descending order of the TTL.
    #[must_use]
    pub fn readers(&self, resource: &str) -> Vec<(String, Duration)> {
        match self.with_keys(|keys, now| keys.inspect(resource, None, now)) {
            Ok(InspectAnswer::Shared { readers, .. }) => readers
                .into_iter()
                .map(|reader| (String::from_utf8_lossy(&reader.token).into_owned(), reader.remaining))
                .collect(),
            _ => Vec::new(),
        }
    }

    /// Deletes a key, no matter who holds it.
    pub fn remove(&self, resource: &str) {
        self.with_keys(|keys, now| keys.remove(resource, now));
    }

    /// Returns the content of the key, as an observer inside the server sees it: no request, no fault.
    #[must_use]
    pub fn peek(&self, resource: &str) -> Option<Vec<u8>> {
        match self.with_keys(|keys, now| keys.inspect(resource, None, now)) {
            Ok(InspectAnswer::Held { token, .. }) => Some(token),
            _ => None,
        }
    }

    /// Returns the remaining TTL of the key, if the key exists and expires at all.
    #[must_use]
    pub fn remaining(&self, resource: &str) -> Option<Duration> {
        match self.with_keys(|keys, now| keys.inspect(resource, None, now)) {
            Ok(InspectAnswer::Held { remaining, .. } | InspectAnswer::Shared { remaining, .. }) => remaining,
            _ => None,
        }
    }

    /// Returns the names of all keys on the node.
    #[must_use]
    pub fn resources(&self) -> Vec<String> {
        self.with_keys(Keys::names)
    }

    /// Returns the channels on which the waiters for the key are notified, in the order of the wait queue.
    #[must_use]
    pub fn waiters(&self, resource: &str) -> Vec<String> {
        self.with_keys(|keys, _| keys.waiters.of(&format!("{resource}:redlock:waiters")))
    }

    /// Adds a waiter for the key, with any score, as another program would.
    pub fn set_waiter(&self, resource: &str, channel: &str, score: i64) {
        self.with_keys(|keys, now| keys.waiters.plant(&format!("{resource}:redlock:waiters"), channel, score, now));
    }

    /// Publishes a message on a channel, as another program would.
    pub fn publish(&self, channel: &str, message: &str) {
        self.with_keys(|keys, _| keys.waiters.publish(channel, message));
    }

    /// Returns the number of requests that were sent to the node.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.server().requests
    }

    /// Returns the server as it is now, after it has carried out everything that is due.
    pub(crate) fn server(&self) -> MutexGuard<'_, Server> {
        let mut server = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        server.settle(Instant::now());
        server
    }

    fn facts(&self) -> MutexGuard<'_, NodeFacts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with_keys<R>(&self, read: impl FnOnce(&mut Keys, Instant) -> R) -> R {
        let mut server = self.server();
        let now = server.time(Instant::now());
        read(&mut server.keys, now)
    }

    /// Listens on a channel: no request, no fault.
    pub(crate) async fn listening(&self, channel: &str) -> Result<Listening, NodeError> {
        if !self.latency.is_zero() {
            sleep(self.latency).await;
        }
        let state = self.server().state;
        match state {
            State::Running => Ok(Listening::new(self.server().keys.waiters.listen(channel), self.link.clone())),
            State::Stopped => Err(NodeErrorKind::Unreachable.into()),
            State::Hung => {
                sleep(self.response_timeout).await;
                Err(NodeErrorKind::Timeout.into())
            }
        }
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

/// Returns the facts that a server reports about itself.
fn description() -> NodeFacts {
    static STARTED: AtomicU64 = AtomicU64::new(1);
    let mut facts = NodeFacts::default();
    facts.run_id = Some(format!("{:040x}", STARTED.fetch_add(1, Ordering::Relaxed)));
    facts.version = Some(ServerVersion::Redis(8, 0, 0));
    facts.role = Some(NodeRole::Primary { replicas: 0 });
    facts.maxmemory = Some(0);
    facts.maxmemory_policy = Some("noeviction".to_owned());
    facts.append_only = Some(true);
    facts.append_sync = Some("always".to_owned());
    facts.snapshots = Some(false);
    facts
}
