//! A service behind three real sentinels as a node: its failover, its logins, and errors in its URL.

use std::{collections::HashMap, time::Duration};

use redlock_core::{LockNode, NodeErrorKind, Redlock, Release, Resource, backend::InspectRequest};
use redlock_redis_rs::redis;
use redlock_tests::{
    lab::eventually,
    servers::{Server, ServerOptions, Servers},
};

const TTL: Duration = Duration::from_secs(5);

/// Two services behind the same sentinels: one with a primary and its replica, and one with a single server.
struct Services {
    primary: Server,
    replica: Server,
    single: Server,
    sentinels: Vec<Server>,
}

/// The password of the servers, and that of the sentinels.
const PASSWORDS: [&str; 2] = ["of-the-servers", "of-the-sentinels"];

impl Services {
    async fn start() -> Self {
        let [password, of_sentinels] = PASSWORDS;
        let servers = Servers::from_env().await.unwrap();
        let options = ServerOptions::new().args(["--requirepass", password, "--masterauth", password]);
        let mut started = servers.start(2, &options).await.unwrap();
        let (single, primary) = (started.remove(0), started.remove(0));
        let replica =
            servers.start_one(&options.args(["--replicaof", "127.0.0.1", &primary.port().to_string()])).await.unwrap();
        let monitor = |service: &str, server: &Server| {
            let port = server.port();
            format!(
                "sentinel monitor {service} 127.0.0.1 {port} 2\nsentinel auth-pass {service} {password}\n\
                 sentinel down-after-milliseconds {service} 500\nsentinel failover-timeout {service} 2000\n"
            )
        };
        let text = format!(
            "requirepass {of_sentinels}\nsentinel sentinel-pass {of_sentinels}\n{}{}",
            monitor("locks", &primary),
            monitor("single", &single)
        );
        let sentinels = servers.start(3, &ServerOptions::new().sentinel(text)).await.unwrap();
        let services = Self { primary, replica, single, sentinels };
        for sentinel in &services.sentinels {
            assert!(eventually(async || knows_all(sentinel).await).await, "the sentinels do not find each other");
        }
        services
    }

    fn url(&self, service: &str, [password, of_sentinels]: [&str; 2]) -> String {
        let hosts: Vec<_> = self.sentinels.iter().map(|server| format!("127.0.0.1:{}", server.port())).collect();
        format!("redis+sentinel://:{password}@{}/{service}/1?sentinel_password={of_sentinels}", hosts.join(","))
    }
}

/// Returns whether the sentinel knows the two others and the replica.
async fn knows_all(sentinel: &Server) -> bool {
    let client = redis::Client::open(format!("redis://:{}@127.0.0.1:{}", PASSWORDS[1], sentinel.port())).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut question = redis::cmd("SENTINEL");
    question.arg("MASTER").arg("locks");
    let facts: HashMap<String, String> = question.query_async(&mut connection).await.unwrap();
    facts["num-other-sentinels"] == "2" && facts["num-slaves"] == "1" && facts["flags"] == "master"
}

async fn locks(redlock: &Redlock) -> bool {
    match redlock.try_acquire("r", TTL).await {
        Ok(Some(lock)) => lock.release().await.is_ok_and(|release| release == Release::Released),
        Ok(None) | Err(_) => false,
    }
}

async fn follows_a_failover<N: LockNode>(open: impl Fn(String) -> N) {
    let services = Services::start().await;
    let node = open(services.url("locks", PASSWORDS));
    assert!(node.name().ends_with("/locks"), "{}", node.name());
    let redlock = Redlock::builder().node(node).node_timeout(Duration::from_secs(2)).build().unwrap();
    assert!(locks(&redlock).await, "{:?}", redlock.try_acquire("r", TTL).await);

    // The client does not wait for a hung sentinel, and the two others are a majority.
    services.sentinels[0].pause().await.unwrap();
    services.primary.stop().await.unwrap();
    let followed = eventually(async || locks(&redlock).await);
    assert!(followed.await, "{:?}", redlock.try_acquire("r", TTL).await);
    // The server that has the lock now.
    let url = format!("redis://:{}@127.0.0.1:{}/1", PASSWORDS[0], services.replica.port());
    let mut connection = redis::Client::open(url).unwrap().get_multiplexed_async_connection().await.unwrap();
    let lock = redlock.try_acquire("r", TTL).await.unwrap().unwrap();
    let exists: bool = redis::cmd("EXISTS").arg("r").query_async(&mut connection).await.unwrap();
    assert!(exists, "the lock is not on the server that was promoted");
    let _ = lock.release().await.unwrap();

    // A new node finds it too.
    let node = open(services.url("locks", PASSWORDS));
    let redlock = Redlock::builder().node(node).node_timeout(Duration::from_secs(2)).build().unwrap();
    assert!(locks(&redlock).await, "{:?}", redlock.try_acquire("r", TTL).await);
}

async fn counts_services<N: LockNode>(open: impl Fn(String) -> N) {
    let services = Services::start().await;
    let nodes = ["locks", "single"].map(|service| open(services.url(service, PASSWORDS)));
    let redlock = Redlock::builder().nodes(nodes).node_timeout(Duration::from_secs(2)).build().unwrap();
    // Both are needed for a majority of two.
    let lock = redlock.try_acquire("r", TTL).await.unwrap().unwrap();
    for server in [&services.primary, &services.single] {
        let url = format!("redis://:{}@127.0.0.1:{}/1", PASSWORDS[0], server.port());
        let mut connection = redis::Client::open(url).unwrap().get_multiplexed_async_connection().await.unwrap();
        let exists: bool = redis::cmd("EXISTS").arg("r").query_async(&mut connection).await.unwrap();
        assert!(exists, "{server:?}");
    }
    let _ = lock.release().await.unwrap();

    let inspect = InspectRequest::new(Resource::new("r").unwrap());
    let [password, of_sentinels] = PASSWORDS;
    for (url, kind, what) in [
        (services.url("nothing", PASSWORDS), NodeErrorKind::Unreachable, "it knows no service \"nothing\""),
        (services.url("locks", [password, "wrong"]), NodeErrorKind::Authentication, "sentinel 127.0.0.1:"),
        (services.url("locks", ["wrong", of_sentinels]), NodeErrorKind::Authentication, "primary 127.0.0.1:"),
    ] {
        let error = open(url).inspect(&inspect).await.unwrap_err();
        let text = format!("{error:?}");
        assert!(error.kind() == kind && text.contains(&what.replace('"', "\\\"")), "{what}: {text}");
        assert!(!text.contains(password) && !text.contains(of_sentinels), "{text}");
    }
}

fn redis_rs(url: String) -> redlock_redis_rs::RedisNode {
    redlock_redis_rs::RedisNode::open(url).unwrap()
}

fn fred(url: String) -> redlock_fred::RedisNode {
    redlock_fred::RedisNode::open(url).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_rs_follows_a_failover_by_three_sentinels() {
    follows_a_failover(redis_rs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fred_follows_a_failover_by_three_sentinels() {
    follows_a_failover(fred).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_redis_rs_services_behind_the_same_sentinels_are_different_nodes() {
    counts_services(redis_rs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_fred_services_behind_the_same_sentinels_are_different_nodes() {
    counts_services(fred).await;
}
