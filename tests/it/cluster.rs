//! A node that is a Redis Cluster: locks with one name anywhere, and with several names within a hash slot.

use std::{collections::BTreeSet, slice, time::Duration};

use redlock_core::{
    AcquireError, Holder, InitializeError, LockNode, NodeFindingKind, Redlock, RedlockBuilder, Release, Resources,
    Token, Ttl, algorithm::hash_slot, backend::AcquireRequest,
};
use redlock_fred::fred::{
    clients::Client,
    interfaces::ClientLike,
    types::config::{Config, ServerConfig},
};
use redlock_redis_rs::redis::cluster::ClusterClient;
use redlock_tests::{
    lab::eventually,
    servers::{Reply, Server, ServerOptions, Servers},
};

const TTL: Duration = Duration::from_secs(30);

pub(crate) const SLOTS: usize = 16384;

/// Starts a cluster of this many primaries, each with its part of the slots.
pub(crate) async fn cluster_of(primaries: usize) -> Vec<Server> {
    cluster_with(primaries, 0).await
}

/// Starts a cluster of primaries, followed by replicas that replicate the primaries in the same order.
pub(crate) async fn cluster_with(primaries: usize, replicas: usize) -> Vec<Server> {
    let options = ServerOptions::new()
        .args(["--cluster-enabled", "yes", "--cluster-config-file", "{folder}/nodes.conf"])
        .args(["--cluster-announce-ip", "127.0.0.1", "--cluster-node-timeout", "1000"])
        .args(["--cluster-require-full-coverage", "no", "--cluster-replica-validity-factor", "0"]);
    let servers = Servers::from_env().await.unwrap().start(primaries + replicas, &options).await.unwrap();
    for (index, server) in servers.iter().enumerate() {
        if index < primaries {
            let slots = index * SLOTS / primaries..(index + 1) * SLOTS / primaries;
            let slots: Vec<_> = slots.map(|slot| slot.to_string()).collect();
            let add: Vec<_> = ["CLUSTER", "ADDSLOTS"].into_iter().chain(slots.iter().map(String::as_str)).collect();
            server.command(&add).await.unwrap();
        }
        let epoch = (index + 1).to_string();
        server.command(&["CLUSTER", "SET-CONFIG-EPOCH", &epoch]).await.unwrap();
        server.command(&["CLUSTER", "MEET", "127.0.0.1", &servers[0].port().to_string()]).await.unwrap();
    }
    let known = format!("cluster_known_nodes:{}\r", servers.len());
    let size = format!("cluster_size:{primaries}\r");
    for server in &servers {
        let is_ok = async || {
            let info = server.command(&["CLUSTER", "INFO"]).await.unwrap().text().unwrap();
            info.contains("cluster_state:ok") && info.contains(&size) && info.contains(&known)
        };
        assert!(eventually(is_ok).await);
    }
    for (primary, replica) in servers.iter().zip(&servers[primaries..]).take(replicas) {
        let id = primary.command(&["CLUSTER", "MYID"]).await.unwrap().text().unwrap();
        // The replica may not have met its primary yet.
        assert!(eventually(async || replica.command(&["CLUSTER", "REPLICATE", &id]).await.is_ok()).await);
        let follows = async || {
            let info = replica.command(&["INFO", "replication"]).await.unwrap().text().unwrap();
            info.contains("master_link_status:up")
        };
        assert!(eventually(follows).await);
    }
    servers
}

/// Returns a URL with these servers as the known members.
pub(crate) fn url(servers: &[Server]) -> String {
    let hosts: Vec<_> = servers.iter().map(|server| format!("{}:{}", server.host(), server.port())).collect();
    format!("redis-cluster://{}", hosts.join(","))
}

/// Starts a cluster of one server with all slots.
async fn cluster() -> Server {
    cluster_of(1).await.remove(0)
}

/// Checks that every operation reaches the member that has the key, whichever it is.
async fn every_member_is_reached(servers: &[Server], node: impl LockNode + Clone) {
    // Removes what another client has left there, such as the marker of its restart guard.
    for server in servers {
        server.command(&["FLUSHALL"]).await.unwrap();
    }
    let builder = || Redlock::builder().node(node.clone()).node_timeout(Duration::from_secs(5));
    let (redlock, other) = (builder().fencing(true).build().unwrap(), builder().build().unwrap());
    let mut members = BTreeSet::new();
    for number in 0..24 {
        let name = format!("lock-{number}");
        let mut lock = redlock.try_acquire(&*name, TTL).await.unwrap().unwrap();
        lock.extend(2 * TTL).await.unwrap();
        let looked = other.inspect(&name).await.unwrap();
        assert_eq!(looked.holder().map(Holder::value), Some(lock.token().as_bytes()), "{looked}");
        assert!(other.try_acquire(&*name, TTL).await.unwrap().is_none());
        assert_eq!(lock.release().await.unwrap(), Release::Released);
        members.insert(usize::from(hash_slot(&name)) * servers.len() / SLOTS);
    }
    assert_eq!(members.len(), servers.len(), "the names are on one member");
    every_lock_is_listed(&redlock).await;

    let scattered = builder().restart_guard(TTL).build().unwrap();
    assert!(matches!(scattered.initialize().await.unwrap_err(), InitializeError::Slots { .. }));
    let guarded = builder().key_prefix("{app}:").restart_guard(TTL).build().unwrap();
    guarded.initialize().await.unwrap();
    assert_eq!(guarded.try_acquire("foo", TTL).await.unwrap().unwrap().release().await.unwrap(), Release::Released);
}

async fn permits_are_in_one_slot(redlock: &Redlock) {
    for name in ["workers", "{tenant}:workers", "a}b"] {
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(redlock.try_acquire_permit(name, 3, TTL).await.unwrap().unwrap());
        }
        assert!(redlock.try_acquire_permit(name, 3, TTL).await.unwrap().is_none());
        let error = redlock.try_acquire_permit(name, 2, TTL).await.unwrap_err();
        assert!(matches!(error, AcquireError::Permits(_)), "{error}");
        held[0].extend(2 * TTL).await.unwrap();
        assert_eq!(redlock.inspect_permits(name).await.unwrap().holders().count(), 3);
        for permit in held {
            assert_eq!(permit.release().await.unwrap(), Release::Released);
        }
    }
    // The braces of this name remove the hash tag.
    let error = redlock.try_acquire_permit("}x", 3, TTL).await.unwrap_err();
    assert!(matches!(error, AcquireError::Slots(_)), "{error}");
}

/// Checks that a listing finds all of many names.
async fn every_lock_is_listed(redlock: &Redlock) {
    let names: BTreeSet<_> = (0..24).map(|number| format!("listed-{number}")).collect();
    let mut locks = Vec::new();
    for name in &names {
        locks.push(redlock.try_acquire(name.as_str(), TTL).await.unwrap().unwrap());
    }
    let listing = redlock.list().await.unwrap();
    assert!(listing.is_complete(), "{listing:?}");
    assert!(listing.names().eq(names.iter().map(String::as_str)), "{listing:?}");
    for lock in locks {
        assert_eq!(lock.release().await.unwrap(), Release::Released);
    }
}

async fn locks(server: &Server, node: impl LockNode + Clone) {
    assert!(node.is_cluster());
    let builder = || Redlock::builder().node(node.clone()).node_timeout(Duration::from_secs(5));
    let redlock = builder().build().unwrap();
    for name in ["foo", "bar"] {
        assert_eq!(redlock.try_acquire(name, TTL).await.unwrap().unwrap().release().await.unwrap(), Release::Released);
    }
    takes_many(&redlock, ["{7}:from", "{7}:to"]).await;
    permits_are_in_one_slot(&builder().fencing(true).build().unwrap()).await;

    let error = redlock.try_acquire(["foo", "bar"], TTL).await.unwrap_err();
    let AcquireError::Slots(slots) = &error else { panic!("{error}") };
    assert_eq!(slots.slots.len(), 2);
    // The cluster itself refuses them.
    let keys = Resources::new(["foo", "bar"]).unwrap();
    let request = AcquireRequest::new(keys, Token::from_bytes([1; 20]), Ttl::new(TTL).unwrap());
    node.acquire(&request).await.unwrap_err();

    let report = redlock.check_nodes().await.unwrap();
    let kinds: Vec<_> = report.findings().iter().map(|found| found.kind).collect();
    assert_eq!(kinds, [NodeFindingKind::Forgets, NodeFindingKind::Cluster, NodeFindingKind::FewNodes], "{report}");
    assert!(report.to_string().contains("a Redis Cluster: one node"), "{report}");
    assert!(
        report.nodes().all(|(_, facts)| facts.is_some_and(|facts| facts.clock.is_some() && facts.untold.is_empty()))
    );

    with_a_tag_in_the_prefix(builder()).await;
    slots_are_the_servers(server).await;
}

async fn takes_many(redlock: &Redlock, names: [&str; 2]) {
    let mut lock = redlock.try_acquire(names, TTL).await.unwrap().unwrap();
    assert!(redlock.try_acquire(names[0], TTL).await.unwrap().is_none());
    lock.extend(2 * TTL).await.unwrap();
    assert_eq!(lock.release().await.unwrap(), Release::Released);
    let _ = redlock.try_acquire(names[0], TTL).await.unwrap().unwrap().release().await.unwrap();
}

async fn with_a_tag_in_the_prefix(builder: RedlockBuilder) {
    takes_many(&builder.key_prefix("{app}:").build().unwrap(), ["foo", "bar"]).await;
}

async fn slots_are_the_servers(server: &Server) {
    for key in ["foo", "bar", "{user1000}.following", "foo{}{bar}", "foo{{bar}}zap", "foo{bar}{zap}", "}{", "\u{8ba2}"]
    {
        let slot = server.command(&["CLUSTER", "KEYSLOT", key]).await.unwrap();
        assert_eq!(slot, Reply::Integer(hash_slot(key).into()), "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_rs_locks_on_a_cluster() {
    let server = cluster().await;
    let client = ClusterClient::new(vec![server.url()]).unwrap();
    let connection = client.get_async_connection().await.unwrap();
    locks(&server, redlock_redis_rs::RedisNode::new(connection)).await;
    locks(&server, redlock_redis_rs::RedisNode::open(url(slice::from_ref(&server))).unwrap()).await;
    assert!(!redlock_redis_rs::RedisNode::open(server.url()).unwrap().is_cluster());
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_rs_reaches_every_member_of_a_cluster() {
    let servers = cluster_of(3).await;
    let client = ClusterClient::new(vec![servers[0].url()]).unwrap();
    let connection = client.get_async_connection().await.unwrap();
    every_member_is_reached(&servers, redlock_redis_rs::RedisNode::new(connection)).await;
    // One member is enough to find the others.
    every_member_is_reached(&servers, redlock_redis_rs::RedisNode::open(url(&servers[2..])).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fred_reaches_every_member_of_a_cluster() {
    let servers = cluster_of(3).await;
    let hosts = vec![("127.0.0.1", servers[0].port())];
    let config = Config { server: ServerConfig::new_clustered(hosts), ..Config::default() };
    every_member_is_reached(&servers, redlock_fred::RedisNode::new(config.clone())).await;
    let client = Client::new(config, None, None, None);
    client.init().await.unwrap();
    every_member_is_reached(&servers, redlock_fred::RedisNode::new(client)).await;
    // One member is enough to find the others.
    every_member_is_reached(&servers, redlock_fred::RedisNode::open(url(&servers[2..])).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fred_locks_on_a_cluster() {
    let server = cluster().await;
    let hosts = vec![("127.0.0.1", server.port())];
    let config = Config { server: ServerConfig::new_clustered(hosts), ..Config::default() };
    locks(&server, redlock_fred::RedisNode::new(config.clone())).await;
    let client = Client::new(config, None, None, None);
    client.init().await.unwrap();
    locks(&server, redlock_fred::RedisNode::new(client)).await;
    assert!(!redlock_fred::RedisNode::open(server.url()).unwrap().is_cluster());
}
