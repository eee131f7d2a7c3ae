//! What a scenario works with: nodes that it can lock on, break, mend and look into, whatever they are.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use redlock_core::{AcquireOptions, CloseError, LockNode, Redlock, RedlockBuilder, Retry};
use redlock_mock::{Memory, MockNode};

use crate::{
    backend::{Backend, Site},
    servers::{Reply, Server, ServerOptions, Servers},
};

/// Up to five nodes of one backend. One scenario at a time.
#[derive(Debug)]
pub struct Lab {
    backend: Backend,
    sites: Vec<Site>,
    /// Nodes that a scenario has stopped or paused.
    broken: Vec<AtomicBool>,
    servers: Option<Servers>,
    started: AtomicU32,
}

impl Lab {
    /// The greatest fleet that scenarios ask for.
    pub const NODES: usize = 5;

    /// A lab in memory.
    pub fn in_memory() -> Self {
        let sites = MockNode::fleet(Self::NODES).into_iter().map(Site::Memory).collect();
        Self::new(Backend::Mock, sites, None)
    }

    /// A lab on real servers.
    pub async fn on_servers(backend: Backend, servers: &Servers) -> Result<Self> {
        let sites = servers.start(Self::NODES, &ServerOptions::new()).await?;
        Ok(Self::new(backend, sites.into_iter().map(Site::Server).collect(), Some(servers.clone())))
    }

    fn new(backend: Backend, sites: Vec<Site>, servers: Option<Servers>) -> Self {
        let broken = sites.iter().map(|_| AtomicBool::new(false)).collect();
        Self { backend, sites, broken, servers, started: AtomicU32::new(0) }
    }

    /// Mends everything and forgets all keys, for the next scenario and backend.
    pub async fn reset(&mut self, backend: Backend) -> Result<()> {
        self.backend = backend;
        for index in 0..self.sites.len() {
            self.mend(index).await;
            if let Site::Server(server) = &self.sites[index] {
                server.command(&["FLUSHALL"]).await?;
            }
        }
        Ok(())
    }

    /// The first `count` nodes, over connections of their own: as another process would open them.
    pub fn nodes(&self, count: usize) -> Vec<Arc<dyn LockNode>> {
        (0..count).map(|index| self.node(index)).collect()
    }

    /// One node.
    pub fn node(&self, index: usize) -> Arc<dyn LockNode> {
        match &self.sites[index] {
            Site::Memory(node) => Arc::new(node.clone()),
            Site::Server(server) => self.backend.open(index, &server.url()),
        }
    }

    /// The same server as another node, under another name.
    pub fn alias(&self, index: usize) -> Arc<dyn LockNode> {
        match &self.sites[index] {
            Site::Memory(node) => Arc::new(node.clone().with_name("alias")),
            Site::Server(server) => self.backend.open(index + 1, &server.url().replace("127.0.0.1", "localhost")),
        }
    }

    /// The first `count` nodes, with clients that end a request only after `patience`.
    pub fn patient_nodes(&self, count: usize, patience: Duration) -> Vec<Arc<dyn LockNode>> {
        let millis = patience.as_millis();
        let patient = |(index, site): (usize, &Site)| -> Arc<dyn LockNode> {
            match site {
                Site::Memory(node) => Arc::new(node.clone().with_response_timeout(patience)),
                Site::Server(server) => {
                    let timeouts = format!("connect_timeout={millis}ms&response_timeout={millis}ms");
                    self.backend.open(index, &format!("{}?{timeouts}", server.url()))
                }
            }
        };
        self.sites.iter().enumerate().take(count).map(patient).collect()
    }

    /// Opens this URL with the backend under test.
    pub fn open(&self, url: &str) -> Arc<dyn LockNode> {
        self.backend.open(self.started.fetch_add(1, Ordering::Relaxed) as usize, url)
    }

    /// A `Redlock` over the first `count` nodes, as a process of its own.
    pub fn redlock(&self, count: usize) -> Redlock {
        self.builder(count).build().unwrap()
    }

    /// The same, to set more.
    pub fn builder(&self, count: usize) -> RedlockBuilder {
        let builder = Redlock::builder().nodes(self.nodes(count));
        if self.backend == Backend::Mock {
            return builder;
        }
        // On a busy machine a node may take long to get its turn, and what these scenarios
        // promise does not depend on it. Below the response timeout of the clients, which errors differ by.
        builder.node_timeout(Duration::from_millis(900))
    }

    /// Closes it. Releases may be left that nodes did not answer which the scenario has broken, and no others.
    pub async fn close(&self, redlock: &Redlock) {
        match redlock.close().await {
            Ok(()) => {}
            Err(CloseError::Unfinished { tasks: 0, owed }) => {
                let broken =
                    |name: &str| (0..Self::NODES).any(|index| self.is_broken(index) && self.node(index).name() == name);
                assert!(owed.iter().all(|(node, _)| broken(node)), "{owed:?}");
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// Starts one more server, for what the five are not set up for.
    pub async fn server(&self, options: &ServerOptions) -> Server {
        self.try_server(options).await.unwrap()
    }

    /// The same, where it may fail.
    pub async fn try_server(&self, options: &ServerOptions) -> Result<Server> {
        self.servers.as_ref().expect("only scenarios for servers ask").start_one(options).await
    }

    /// The real server of a node.
    pub fn site(&self, index: usize) -> &Server {
        match &self.sites[index] {
            Site::Server(server) => server,
            Site::Memory(_) => panic!("only scenarios for servers ask"),
        }
    }

    /// The node keeps its connections, and answers nothing until it is mended.
    pub async fn hang(&self, index: usize) {
        self.broken[index].store(true, Ordering::Relaxed);
        match &self.sites[index] {
            Site::Memory(node) => node.hang(),
            Site::Server(server) => server.pause().await.unwrap(),
        }
    }

    /// The node refuses, until it is mended. Its keys are gone.
    pub async fn stop(&self, index: usize) {
        self.broken[index].store(true, Ordering::Relaxed);
        match &self.sites[index] {
            Site::Memory(node) => node.stop(),
            Site::Server(server) => server.stop().await.unwrap(),
        }
    }

    /// A hung node goes on, with all it was sent; a stopped node starts empty.
    pub async fn mend(&self, index: usize) {
        if !self.broken[index].swap(false, Ordering::Relaxed) {
            return;
        }
        match &self.sites[index] {
            Site::Memory(node) => {
                node.resume();
                node.start(Memory::Lost);
            }
            Site::Server(server) => {
                // One that is stopped cannot be resumed, and one that runs need not be started.
                let _ = server.resume().await;
                server.start().await.unwrap();
            }
        }
    }

    /// Whether a node is hung or stopped.
    pub fn is_broken(&self, index: usize) -> bool {
        self.broken[index].load(Ordering::Relaxed)
    }

    /// Restarts a node empty.
    pub async fn restart(&self, index: usize) {
        self.stop(index).await;
        self.mend(index).await;
    }

    /// Sets a key past all locks, as another library would.
    pub async fn set(&self, index: usize, resource: &str, value: &str, ttl: Option<Duration>) {
        match &self.sites[index] {
            Site::Memory(node) => node.set(resource, value, ttl),
            Site::Server(server) => {
                let millis = ttl.map(|ttl| ttl.as_millis().to_string());
                let mut command = vec!["SET", resource, value];
                command.extend(millis.iter().flat_map(|millis| ["PX", millis.as_str()]));
                server.command(&command).await.unwrap();
            }
        }
    }

    /// Sets a key that is not a string.
    pub async fn set_list(&self, index: usize, resource: &str) {
        match &self.sites[index] {
            Site::Memory(node) => node.set_list(resource),
            Site::Server(server) => drop(server.command(&["RPUSH", resource, "x"]).await.unwrap()),
        }
    }

    /// The readers that share a key, in the order in which they end.
    pub async fn readers(&self, index: usize, resource: &str) -> Vec<String> {
        match &self.sites[index] {
            Site::Memory(node) => node.readers(resource).into_iter().rev().map(|(token, _)| token).collect(),
            Site::Server(server) => match server.command(&["ZRANGE", resource, "0", "-1"]).await {
                Ok(Reply::Array(readers)) => readers.iter().filter_map(Reply::text).collect(),
                _ => Vec::new(),
            },
        }
    }

    /// Sets a key to a sorted set of members that live for an hour, as another program would.
    pub async fn set_members(&self, index: usize, resource: &str, members: &[&str]) {
        const HOUR: Duration = Duration::from_secs(3600);
        match &self.sites[index] {
            Site::Memory(node) => {
                node.set_members(resource, &members.iter().map(|member| (*member, HOUR)).collect::<Vec<_>>());
            }
            Site::Server(server) => {
                let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
                for member in members {
                    let ends = (now + HOUR).as_micros().to_string();
                    server.command(&["ZADD", resource, &ends, member]).await.unwrap();
                }
            }
        }
    }

    /// Deletes a key past all locks.
    pub async fn remove(&self, index: usize, resource: &str) {
        match &self.sites[index] {
            Site::Memory(node) => node.remove(resource),
            Site::Server(server) => drop(server.command(&["DEL", resource]).await.unwrap()),
        }
    }

    /// What a key holds, looked up past all clients.
    pub async fn value(&self, index: usize, resource: &str) -> Option<String> {
        match &self.sites[index] {
            Site::Memory(node) => node.peek(resource).map(|value| String::from_utf8_lossy(&value).into_owned()),
            Site::Server(server) => server.command(&["GET", resource]).await.unwrap().text(),
        }
    }

    /// A key's remaining ttl.
    pub async fn remaining(&self, index: usize, resource: &str) -> Option<Duration> {
        match &self.sites[index] {
            Site::Memory(node) => node.remaining(resource),
            Site::Server(server) => match server.command(&["PTTL", resource]).await.unwrap() {
                Reply::Integer(pttl) => u64::try_from(pttl).ok().map(Duration::from_millis),
                other => panic!("PTTL answered {other:?}"),
            },
        }
    }

    /// How many of the nodes that run hold the key.
    pub async fn holding(&self, resource: &str) -> usize {
        let mut holding = 0;
        for index in 0..self.sites.len() {
            if !self.broken[index].load(Ordering::Relaxed) && self.value(index, resource).await.is_some() {
                holding += 1;
            }
        }
        holding
    }

    /// Waits until so many of the nodes that run hold the key: what happens in the background takes its time.
    pub async fn until_held_by(&self, nodes: usize, resource: &str) {
        let reached = eventually(async || self.holding(resource).await == nodes).await;
        assert!(reached, "{} nodes hold {resource:?}, not {nodes}", self.holding(resource).await);
    }
}

/// One attempt, whose error says what each node answered in it.
pub fn once(ttl: Duration) -> AcquireOptions {
    AcquireOptions::new(ttl).retry(Retry::never())
}

/// Whether a condition comes true within ten seconds.
pub async fn eventually<F: Future<Output = bool>>(mut condition: impl FnMut() -> F) -> bool {
    for _ in 0..1000 {
        if condition().await {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    false
}
