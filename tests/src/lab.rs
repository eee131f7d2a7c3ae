//! The lab of a scenario: nodes of any backend on which it can lock, and which it can break, mend and inspect.

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

/// Up to five nodes of one backend. One scenario uses it at a time.
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
    /// The greatest number of nodes that scenarios use.
    pub const NODES: usize = 5;

    /// Returns a lab in memory.
    pub fn in_memory() -> Self {
        let sites = MockNode::fleet(Self::NODES).into_iter().map(Site::Memory).collect();
        Self::new(Backend::Mock, sites, None)
    }

    /// Starts a lab on real servers.
    pub async fn on_servers(backend: Backend, servers: &Servers) -> Result<Self> {
        let sites = servers.start(Self::NODES, &ServerOptions::new()).await?;
        Ok(Self::new(backend, sites.into_iter().map(Site::Server).collect(), Some(servers.clone())))
    }

    fn new(backend: Backend, sites: Vec<Site>, servers: Option<Servers>) -> Self {
        let broken = sites.iter().map(|_| AtomicBool::new(false)).collect();
        Self { backend, sites, broken, servers, started: AtomicU32::new(0) }
    }

    /// Mends all nodes and deletes all keys, for the next scenario and backend. Call when the runtime of the earlier
    /// scenario has ended, so that none of its clients connects again.
    pub async fn reset(&mut self, backend: Backend) -> Result<()> {
        self.backend = backend;
        for index in 0..self.sites.len() {
            self.mend(index).await;
            if let Site::Server(server) = &self.sites[index] {
                // A request that is still in a socket would set its keys after the flush.
                server.command(&["CLIENT", "KILL", "SKIPME", "yes"]).await?;
                server.command(&["FLUSHALL"]).await?;
            }
        }
        Ok(())
    }

    /// Opens the first `count` nodes over separate connections, as another process would.
    pub fn nodes(&self, count: usize) -> Vec<Arc<dyn LockNode>> {
        (0..count).map(|index| self.node(index)).collect()
    }

    /// Opens one node.
    pub fn node(&self, index: usize) -> Arc<dyn LockNode> {
        match &self.sites[index] {
            Site::Memory(node) => Arc::new(node.clone()),
            Site::Server(server) => self.backend.open(index, &server.url()),
        }
    }

    /// Opens the same server as another node, under another name.
    pub fn alias(&self, index: usize) -> Arc<dyn LockNode> {
        match &self.sites[index] {
            Site::Memory(node) => Arc::new(node.clone().with_name("alias")),
            Site::Server(server) => self.backend.open(index + 1, &server.url().replace("127.0.0.1", "localhost")),
        }
    }

    /// Opens the first `count` nodes, with clients that end a request only after `patience`.
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

    /// Makes a `Redlock` over the first `count` nodes, which represents one process.
    pub fn redlock(&self, count: usize) -> Redlock {
        self.builder(count).build().unwrap()
    }

    /// Returns its builder, for more settings.
    pub fn builder(&self, count: usize) -> RedlockBuilder {
        let builder = Redlock::builder().nodes(self.nodes(count));
        if self.backend == Backend::Mock {
            return builder;
        }
        // On a busy machine a node may wait long for the CPU, and the promises of these scenarios do not depend on
        // that. It is below the response timeout of the clients, because errors differ beyond it.
        builder.node_timeout(Duration::from_millis(900))
    }

    /// Closes the `Redlock`. Only nodes that the scenario has broken may still be owed releases.
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

    /// Starts one more server, if the five do not have the required options.
    pub async fn server(&self, options: &ServerOptions) -> Server {
        self.try_server(options).await.unwrap()
    }

    /// Starts one more server, which may fail.
    pub async fn try_server(&self, options: &ServerOptions) -> Result<Server> {
        self.servers.as_ref().expect("only scenarios for servers ask").start_one(options).await
    }

    /// Returns the real server of a node.
    pub fn site(&self, index: usize) -> &Server {
        match &self.sites[index] {
            Site::Server(server) => server,
            Site::Memory(_) => panic!("only scenarios for servers ask"),
        }
    }

    /// Hangs a node: it keeps its connections, and answers nothing until it is mended.
    pub async fn hang(&self, index: usize) {
        self.broken[index].store(true, Ordering::Relaxed);
        match &self.sites[index] {
            Site::Memory(node) => node.hang(),
            Site::Server(server) => server.pause().await.unwrap(),
        }
    }

    /// Stops a node: it refuses connections until it is mended, and its keys are gone.
    pub async fn stop(&self, index: usize) {
        self.broken[index].store(true, Ordering::Relaxed);
        match &self.sites[index] {
            Site::Memory(node) => node.stop(),
            Site::Server(server) => server.stop().await.unwrap(),
        }
    }

    /// Mends a node. A hung one continues with all requests that it was sent; a stopped one starts empty.
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
                // A stopped server cannot be resumed, and a running one need not be started.
                let _ = server.resume().await;
                server.start().await.unwrap();
            }
        }
    }

    /// Returns whether a node is hung or stopped.
    pub fn is_broken(&self, index: usize) -> bool {
        self.broken[index].load(Ordering::Relaxed)
    }

    /// Restarts a node empty.
    pub async fn restart(&self, index: usize) {
        self.stop(index).await;
        self.mend(index).await;
    }

    /// Sets a key directly, as another library would.
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

    /// Returns the readers that share a key, in the order in which they expire.
    pub async fn readers(&self, index: usize, resource: &str) -> Vec<String> {
        match &self.sites[index] {
            Site::Memory(node) => node.readers(resource).into_iter().rev().map(|(token, _)| token).collect(),
            Site::Server(server) => match server.command(&["ZRANGE", resource, "0", "-1"]).await {
                Ok(Reply::Array(readers)) => readers.iter().filter_map(Reply::text).collect(),
                _ => Vec::new(),
            },
        }
    }

    /// Waits until this many processes wait in the queues of the first node. A waiter that has just joined may still be
    /// busy, so this takes a moment longer.
    pub async fn until_waiting(&self, processes: i64) {
        if let Site::Server(server) = &self.sites[0] {
            let waiting = async || {
                let Ok(Reply::Array(queues)) = server.command(&["KEYS", "*:redlock:waiters"]).await else { return 0 };
                let mut waiting = 0;
                for queue in queues.iter().filter_map(Reply::text) {
                    if let Ok(Reply::Integer(members)) = server.command(&["ZCARD", &queue]).await {
                        waiting += members;
                    }
                }
                waiting
            };
            assert!(eventually(async || waiting().await >= processes).await, "{} wait", waiting().await);
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }

    /// Sets a key that never expires to a sorted set of members, like another program. Their scores are an hour ahead.
    pub async fn set_members(&self, index: usize, resource: &str, members: &[&str]) {
        const HOUR: Duration = Duration::from_secs(3600);
        match &self.sites[index] {
            Site::Memory(node) => {
                node.set_members(resource, &members.iter().map(|member| (*member, HOUR)).collect::<Vec<_>>());
                node.persist(resource);
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

    /// Deletes a key directly.
    pub async fn remove(&self, index: usize, resource: &str) {
        match &self.sites[index] {
            Site::Memory(node) => node.remove(resource),
            Site::Server(server) => drop(server.command(&["DEL", resource]).await.unwrap()),
        }
    }

    /// Reads the value of a key, without any client of the library.
    pub async fn value(&self, index: usize, resource: &str) -> Option<String> {
        match &self.sites[index] {
            Site::Memory(node) => node.peek(resource).map(|value| String::from_utf8_lossy(&value).into_owned()),
            Site::Server(server) => server.command(&["GET", resource]).await.unwrap().text(),
        }
    }

    /// Returns the remaining TTL of a key.
    pub async fn remaining(&self, index: usize, resource: &str) -> Option<Duration> {
        match &self.sites[index] {
            Site::Memory(node) => node.remaining(resource),
            Site::Server(server) => match server.command(&["PTTL", resource]).await.unwrap() {
                Reply::Integer(pttl) => u64::try_from(pttl).ok().map(Duration::from_millis),
                other => panic!("PTTL answered {other:?}"),
            },
        }
    }

    /// Counts the running nodes that hold the key.
    pub async fn holding(&self, resource: &str) -> usize {
        let mut holding = 0;
        for index in 0..self.sites.len() {
            if !self.broken[index].load(Ordering::Relaxed) && self.value(index, resource).await.is_some() {
                holding += 1;
            }
        }
        holding
    }

    /// Waits until exactly this many running nodes hold the key, because background work takes time.
    pub async fn until_held_by(&self, nodes: usize, resource: &str) {
        let reached = eventually(async || self.holding(resource).await == nodes).await;
        assert!(reached, "{} nodes hold {resource:?}, not {nodes}", self.holding(resource).await);
    }
}

/// Makes one attempt, so that the error shows what each node answered in it.
pub fn once(ttl: Duration) -> AcquireOptions {
    AcquireOptions::new(ttl).retry(Retry::never())
}

/// Waits up to ten seconds for a condition. Returns whether it became true.
pub async fn eventually<F: Future<Output = bool>>(mut condition: impl FnMut() -> F) -> bool {
    for _ in 0..1000 {
        if condition().await {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    false
}
