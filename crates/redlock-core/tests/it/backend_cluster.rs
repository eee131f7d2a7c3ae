//! How a node connects to the members of a Redis Cluster and to the servers behind sentinels, over a simulated network
//! in virtual time.

use std::{
    collections::BTreeMap,
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};

use redlock_core::{
    LockNode as _, NodeError, NodeErrorKind, NodeUrlError, Resource,
    algorithm::hash_slot,
    backend::{
        Answered, BehindSentinels, Call, Cluster, Connect, Connection, Failure, InspectRequest, Node, NodeUrl,
        RedisClient, Reply,
    },
};
use tokio::time::{Instant, sleep};

use crate::support::ms;

/// How a server behaves.
#[derive(Debug, Clone, Copy)]
enum Server {
    Refuses,
    Hangs,
    /// The connection breaks with each script.
    Breaks,
    /// It gives these answers to scripts and to plain commands; an error is a text that begins with its code.
    Answers {
        script: &'static str,
        command: &'static str,
    },
}

/// The servers by port, and a log of what was sent to each.
#[derive(Debug, Clone, Default)]
struct Network {
    servers: Arc<Mutex<BTreeMap<u16, Server>>>,
    sent: Arc<Mutex<Vec<String>>>,
}

impl Network {
    fn put(&self, port: u16, server: Server) {
        self.servers.lock().unwrap().insert(port, server);
    }

    fn at(&self, port: u16) -> Server {
        self.servers.lock().unwrap().get(&port).copied().unwrap_or(Server::Refuses)
    }

    fn note(&self, what: String) {
        self.sent.lock().unwrap().push(what);
    }

    /// Takes what was sent since the last call.
    fn sent(&self) -> Vec<String> {
        std::mem::take(&mut *self.sent.lock().unwrap())
    }

    fn client(&self) -> impl Fn(&str, u16) -> Fake + Send + Sync + 'static {
        let network = self.clone();
        move |_, port| Fake { network: network.clone(), port }
    }

    /// Adds a member of a cluster that describes it with this text for `CLUSTER NODES`.
    fn member(&self, port: u16, script: &'static str, nodes: &'static str) {
        self.put(port, Server::Answers { script, command: nodes });
    }
}

/// A client of the server at a port, and its own connection.
#[derive(Debug, Clone)]
struct Fake {
    network: Network,
    port: u16,
}

fn answer(text: &str) -> Result<(), Failure> {
    let is_error = text
        .split(' ')
        .next()
        .is_some_and(|code| ["MOVED", "ASK", "READONLY", "NOPERM", "CLUSTERDOWN"].contains(&code));
    match is_error {
        true => Err(Failure::Answered(NodeError::new(NodeErrorKind::of_reply(text), text).with_reply(text))),
        false => Ok(()),
    }
}

impl Connect for Fake {
    type Connection = Self;

    fn connect(&self, _: Duration) -> impl Future<Output = Result<Self, NodeError>> + Send + 'static {
        let (fake, server) = (self.clone(), self.network.at(self.port));
        async move {
            match server {
                Server::Refuses => Err(NodeError::new(NodeErrorKind::Unreachable, "refused")),
                Server::Hangs => pending().await,
                _ => Ok(fake),
            }
        }
    }

    async fn run(fake: Self, _: &Call<'_>, response_timeout: Duration) -> Result<Reply, Failure> {
        fake.network.note(format!("script to {}", fake.port));
        match fake.network.at(fake.port) {
            Server::Answers { script, .. } => answer(script).map(|()| Reply::Nothing),
            Server::Hangs => {
                sleep(response_timeout).await;
                Err(Failure::Silent(NodeError::no_answer(response_timeout)))
            }
            _ => Err(Failure::Broken(NodeError::new(NodeErrorKind::Unreachable, "reset"))),
        }
    }

    async fn run_asking(fake: Self, call: &Call<'_>, response_timeout: Duration) -> Result<Reply, Failure> {
        fake.network.note("asking".to_owned());
        // The slot is migrating to this member.
        match fake.network.at(fake.port) {
            Server::Answers { script, .. } if script.starts_with("MOVED") => Ok(Reply::Nothing),
            _ => Self::run(fake, call, response_timeout).await,
        }
    }

    async fn command(fake: Self, words: &[&str], _: Duration) -> Result<Vec<String>, Failure> {
        fake.network.note(format!("{} to {}", words[0], fake.port));
        match fake.network.at(fake.port) {
            Server::Answers { command: "", .. } => Ok(Vec::new()),
            Server::Answers { command, .. } => {
                answer(command)?;
                match words[0] {
                    "ROLE" | "SENTINEL" => Ok(command.split(' ').map(str::to_owned).collect()),
                    _ => Ok(vec![command.to_owned()]),
                }
            }
            Server::Hangs => pending().await,
            _ => Err(Failure::Broken(NodeError::new(NodeErrorKind::Unreachable, "reset"))),
        }
    }
}

/// Wraps both kinds of clients into a node, so that tests can make calls.
enum Client {
    Cluster(Box<Cluster<Fake>>),
    Service(Connection<BehindSentinels<Fake>>),
}

impl RedisClient for Client {
    fn open(url: &NodeUrl) -> Result<Self, NodeUrlError> {
        Err(url.rejected("a fake has no address"))
    }

    fn name(&self) -> &str {
        "fake"
    }

    async fn call(&self, call: &Call<'_>, connect: Duration, response: Duration) -> Result<Answered, NodeError> {
        let answered = match self {
            Self::Cluster(cluster) => cluster.call(call, connect, response).await?,
            Self::Service(connection) => connection.call(call, connect, response).await?,
        };
        // The reply carries `sent_again`, because an inspect does not report it.
        Ok(Answered { reply: Reply::Holder(vec![answered.sent_again.into()], -1), ..answered })
    }
}

/// Sends a script for a key in the slot of `name`. Returns whether it was sent again, or the error.
async fn call(node: &Node<Client>, name: &str) -> Result<bool, NodeError> {
    let answer = node.inspect(&InspectRequest::new(Resource::new(name).unwrap())).await?;
    Ok(format!("{answer:?}").contains("token: [1]"))
}

impl From<Cluster<Fake>> for Client {
    fn from(cluster: Cluster<Fake>) -> Self {
        Self::Cluster(Box::new(cluster))
    }
}

impl From<BehindSentinels<Fake>> for Client {
    fn from(service: BehindSentinels<Fake>) -> Self {
        Self::Service(Connection::new(service))
    }
}

const NODES: &str = "a h:1@1 master - 0 0 1 connected 0-8191\nb h:2@2 master - 0 0 2 connected 8192-16383\n\
    c h:3@3 slave b 0 0 2 connected\n";
/// The second server's replica has been promoted.
const PROMOTED: &str = "a h:1@1 master - 0 0 1 connected 0-8191\nb h:2@2 master,fail - 0 0 2 connected\n\
    c h:3@3 master - 0 0 3 connected 8192-16383\n";
const FOO: &str = "foo";
const BAR: &str = "bar";

/// Returns a cluster of two primaries: the first has `bar`, the second has `foo`.
fn cluster(network: &Network) -> Node<Client> {
    assert!(hash_slot(BAR) < 8192 && hash_slot(FOO) >= 8192);
    network.member(1, "", NODES);
    network.member(2, "", NODES);
    open(network, [1, 2])
}

fn open(network: &Network, seeds: [u16; 2]) -> Node<Client> {
    Node::new(Cluster::new(seeds.map(|port| ("h".to_owned(), port)), false, network.client()))
}

#[tokio::test(start_paused = true)]
async fn a_call_goes_to_the_member_that_has_the_key() {
    let network = Network::default();
    let node = cluster(&network);
    for name in [FOO, BAR, FOO] {
        assert!(!call(&node, name).await.unwrap());
    }
    let sent: Vec<_> = network.sent().into_iter().filter(|what| what.starts_with("script")).collect();
    assert_eq!(sent, ["script to 2", "script to 1", "script to 2"]);
    call(&node, BAR).await.unwrap();
    assert_eq!(network.sent(), ["script to 1"], "the members are not queried again");
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_has_moved_is_followed_and_remembered() {
    let network = Network::default();
    let node = cluster(&network);
    call(&node, FOO).await.unwrap();
    network.sent();
    network.member(2, "MOVED 12182 h:1", NODES);
    assert!(!call(&node, FOO).await.unwrap(), "the first copy was not carried out");
    assert_eq!(network.sent(), ["script to 2", "script to 1"]);
    call(&node, FOO).await.unwrap();
    assert_eq!(network.sent(), ["script to 1"]);
}

#[tokio::test(start_paused = true)]
async fn a_request_for_a_migrating_slot_is_sent_to_its_new_member() {
    let network = Network::default();
    let node = cluster(&network);
    call(&node, FOO).await.unwrap();
    network.sent();
    network.member(2, "ASK 12182 h:1", NODES);
    network.member(1, "MOVED 12182 h:2", NODES);
    for _ in 0..2 {
        assert!(!call(&node, FOO).await.unwrap());
        assert_eq!(network.sent(), ["script to 2", "asking"]);
    }
}

#[tokio::test(start_paused = true)]
async fn members_that_redirect_to_each_other_do_not_loop_forever() {
    let network = Network::default();
    let node = cluster(&network);
    network.member(2, "MOVED 12182 h:1", NODES);
    network.member(1, "MOVED 12182 h:2", NODES);
    let error = call(&node, FOO).await.unwrap_err();
    assert!(format!("{error:?}").contains("redirect to each other"), "{error:?}");
    assert!(network.sent().len() < 10);
}

#[tokio::test(start_paused = true)]
async fn a_member_that_is_down_or_hung_delays_no_call_to_another() {
    for server in [Server::Refuses, Server::Hangs] {
        let network = Network::default();
        let connected = cluster(&network);
        call(&connected, FOO).await.unwrap();
        call(&connected, BAR).await.unwrap();
        network.put(1, server);
        for (node, is_new) in [(&connected, false), (&open(&network, [1, 2]), true), (&open(&network, [2, 1]), true)] {
            let start = Instant::now();
            call(node, FOO).await.unwrap();
            // It waits once, for the answer whether this server is a member of another cluster.
            let is_compared = is_new && matches!(server, Server::Hangs);
            assert_eq!(start.elapsed(), ms(if is_compared { 50 } else { 0 }), "{server:?}");
            let error = call(node, BAR).await.unwrap_err();
            assert!([NodeErrorKind::Unreachable, NodeErrorKind::Timeout].contains(&error.kind()), "{error:?}");
            let start = Instant::now();
            for _ in 0..10 {
                call(node, FOO).await.unwrap();
                sleep(ms(100)).await;
            }
            assert_eq!(start.elapsed(), ms(1000), "{server:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_promoted_replica_is_found_and_receives_the_next_request() {
    let network = Network::default();
    let node = cluster(&network);
    call(&node, FOO).await.unwrap();
    network.put(2, Server::Breaks);
    assert_eq!(call(&node, FOO).await.unwrap_err().kind(), NodeErrorKind::Unreachable);
    network.member(1, "", PROMOTED);
    network.member(3, "", PROMOTED);
    sleep(ms(300)).await;
    call(&node, FOO).await.unwrap();
    assert_eq!(network.sent().last().unwrap(), "script to 3");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_broke_at_the_old_primary_is_reported_as_sent_again() {
    let network = Network::default();
    let node = cluster(&network);
    call(&node, FOO).await.unwrap();
    sleep(ms(300)).await;
    network.put(2, Server::Breaks);
    network.member(1, "", PROMOTED);
    network.member(3, "", PROMOTED);
    assert!(call(&node, FOO).await.unwrap());
}

/// Another cluster, with this server as its only member.
const OTHER: &str = "x h:2@2 myself,master - 0 0 1 connected 0-16383\n";

#[tokio::test(start_paused = true)]
async fn a_url_with_members_of_two_clusters_is_rejected() {
    let network = Network::default();
    network.member(1, "", NODES);
    network.member(2, "", OTHER);
    let node = open(&network, [1, 2]);
    for _ in 0..2 {
        let error = call(&node, FOO).await.unwrap_err();
        assert!(format!("{error:?}").contains("are members of two clusters"), "{error:?}");
    }
    assert!(network.sent().iter().all(|what| !what.starts_with("script")));
}

#[tokio::test(start_paused = true)]
async fn an_address_that_another_cluster_has_taken_over_is_not_used() {
    let network = Network::default();
    let node = cluster(&network);
    call(&node, FOO).await.unwrap();
    network.put(2, Server::Breaks);
    call(&node, FOO).await.unwrap_err();
    network.member(2, "", OTHER);
    network.member(1, "", PROMOTED);
    network.member(3, "", PROMOTED);
    sleep(ms(300)).await;
    call(&node, FOO).await.unwrap();
    assert_eq!(network.sent().last().unwrap(), "script to 3");
}

#[tokio::test(start_paused = true)]
async fn another_cluster_is_used_only_while_no_known_member_answers() {
    let network = Network::default();
    let node = cluster(&network);
    call(&node, FOO).await.unwrap();
    network.put(1, Server::Refuses);
    network.put(2, Server::Breaks);
    call(&node, FOO).await.unwrap_err();
    network.member(2, "", OTHER);
    sleep(ms(300)).await;
    call(&node, BAR).await.unwrap();
    assert_eq!(network.sent().last().unwrap(), "script to 2");
    // The cluster that was known is preferred once it answers again.
    network.put(2, Server::Breaks);
    call(&node, BAR).await.unwrap_err();
    network.member(2, "", OTHER);
    network.member(1, "", PROMOTED);
    sleep(ms(300)).await;
    call(&node, BAR).await.unwrap();
    assert_eq!(network.sent().last().unwrap(), "script to 1");
}

/// The second server is cut off from the others and still takes itself for a primary.
const CUT_OFF: &str = "b h:2@2 myself,master - 0 0 2 connected 8192-16383\na h:1@1 master,fail? - 0 0 1 connected 0\n\
    c h:3@3 master,fail? - 0 0 1 connected 1\n";

#[tokio::test(start_paused = true)]
async fn the_map_of_a_member_that_is_cut_off_counts_only_if_there_is_no_other() {
    let network = Network::default();
    network.member(2, "", CUT_OFF);
    call(&open(&network, [1, 2]), FOO).await.unwrap();
    assert_eq!(network.sent().last().unwrap(), "script to 2");
    network.member(1, "", PROMOTED);
    network.member(3, "", PROMOTED);
    for seeds in [[1, 2], [2, 1]] {
        call(&open(&network, seeds), FOO).await.unwrap();
        assert_eq!(network.sent().last().unwrap(), "script to 3");
    }
}

#[tokio::test(start_paused = true)]
async fn the_map_of_a_member_that_says_that_the_cluster_is_down_counts_only_if_there_is_no_other() {
    let network = Network::default();
    let node = open(&network, [2, 1]);
    network.member(2, "CLUSTERDOWN The cluster is down", NODES);
    call(&node, FOO).await.unwrap_err();
    network.member(1, "", PROMOTED);
    network.member(3, "", PROMOTED);
    sleep(ms(300)).await;
    call(&node, FOO).await.unwrap();
    assert_eq!(network.sent().last().unwrap(), "script to 3");
}

#[tokio::test(start_paused = true)]
async fn over_tls_a_redirect_to_an_ip_address_connects_to_the_name_of_that_member() {
    const NAMED: &str = "a 10.0.0.1:1@1,one master - 0 0 1 connected 0-8191\n\
        b 10.0.0.2:2@2,two master - 0 0 2 connected 8192-16383\n";
    let network = Network::default();
    for (asks, other) in [(true, "ASK 12182 10.0.0.1:1"), (false, "MOVED 12182 10.0.0.1:1")] {
        network.member(1, if asks { "MOVED 12182 10.0.0.2:2" } else { "" }, NAMED);
        network.member(2, other, NAMED);
        let hosts = Arc::new(Mutex::new(Vec::new()));
        let (client, seen) = (network.client(), Arc::clone(&hosts));
        let node = Node::<Client>::new(Cluster::new([("one".to_owned(), 1)], true, move |host, port| {
            seen.lock().unwrap().push(host.to_owned());
            client(host, port)
        }));
        call(&node, FOO).await.unwrap();
        assert_eq!(*hosts.lock().unwrap(), ["one", "two"], "{other}");
    }
}

#[tokio::test(start_paused = true)]
async fn requests_to_a_hung_member_are_refused_beyond_a_limit_and_requests_to_others_are_not() {
    let network = Network::default();
    let node = cluster(&network);
    call(&node, FOO).await.unwrap();
    network.put(1, Server::Hangs);
    let hung: Vec<_> = (0..64).map(|_| node.clone()).collect();
    let waiting = hung.into_iter().map(|node| tokio::spawn(async move { call(&node, BAR).await }));
    let waiting: Vec<_> = waiting.collect();
    sleep(ms(600)).await;
    let start = Instant::now();
    let error = call(&node, BAR).await.unwrap_err();
    assert!(format!("{error:?}").contains("64 earlier requests to this member"), "{error:?}");
    call(&node, FOO).await.unwrap();
    assert_eq!(start.elapsed(), ms(0));
    for waiting in waiting {
        assert_eq!(waiting.await.unwrap().unwrap_err().kind(), NodeErrorKind::Timeout);
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_no_member_is_reported_as_such() {
    let network = Network::default();
    network.member(1, "", "");
    let error = call(&open(&network, [1, 2]), FOO).await.unwrap_err();
    assert!(format!("{error:?}").contains("h:1 knows no member with hash slots"), "{error:?}");
    let error = call(&open(&network, [8, 9]), FOO).await.unwrap_err();
    assert_eq!(error.kind(), NodeErrorKind::Unreachable);
}

/// Returns a service behind the sentinels 1 to 3, with the servers 11 and 12.
fn service(network: &Network) -> Node<Client> {
    let sentinels = [1, 2, 3].map(|port| ("h".to_owned(), port));
    Node::new(BehindSentinels::new(sentinels, "locks", network.client(), network.client()))
}

fn named(network: &Network, sentinel: u16, primary: &'static str) {
    network.put(sentinel, Server::Answers { script: "", command: primary });
}

#[tokio::test(start_paused = true)]
async fn a_sentinel_that_hangs_or_is_down_delays_nothing() {
    for server in [Server::Hangs, Server::Refuses] {
        let network = Network::default();
        network.put(1, server);
        named(&network, 2, "h 11");
        named(&network, 3, "h 11");
        named(&network, 11, "master 0");
        let start = Instant::now();
        call(&service(&network), FOO).await.unwrap();
        assert_eq!(start.elapsed(), ms(0), "{server:?}");
        assert_eq!(network.sent(), ["SENTINEL to 2", "SENTINEL to 3", "ROLE to 11", "script to 11"]);
    }
}

#[tokio::test(start_paused = true)]
async fn of_two_primaries_the_node_uses_the_one_that_most_sentinels_name() {
    for stale in 1..=3 {
        let network = Network::default();
        (1..=3).for_each(|sentinel| named(&network, sentinel, if sentinel == stale { "h 11" } else { "h 12" }));
        named(&network, 11, "master 0");
        named(&network, 12, "master 0");
        call(&service(&network), FOO).await.unwrap();
        let sent = network.sent();
        assert_eq!(sent.last().unwrap(), "script to 12");
        assert!(!sent.iter().any(|sent| sent.ends_with("to 11")), "{sent:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_sentinels_are_not_queried_again_right_after_a_connect_that_failed() {
    let network = Network::default();
    (1..=3).for_each(|sentinel| named(&network, sentinel, "h 11"));
    let node = service(&network);
    for _ in 0..20 {
        call(&node, FOO).await.unwrap_err();
        sleep(ms(10)).await;
    }
    let sentinels = ["SENTINEL to 1", "SENTINEL to 2"];
    assert_eq!(network.sent(), sentinels);
    named(&network, 11, "master 0");
    sleep(ms(300)).await;
    call(&node, FOO).await.unwrap();
    assert_eq!(network.sent()[..2], sentinels);
}

#[tokio::test(start_paused = true)]
async fn sentinels_that_disagree_elect_no_primary() {
    let network = Network::default();
    named(&network, 1, "h 11");
    named(&network, 2, "h 12");
    named(&network, 11, "master 0");
    named(&network, 12, "master 0");
    let error = format!("{:?}", call(&service(&network), FOO).await.unwrap_err());
    assert!(error.contains("no majority of the sentinels names one primary: they name h:11, h:12"), "{error}");
    assert_eq!(network.sent(), ["SENTINEL to 1", "SENTINEL to 2"]);
}

#[tokio::test(start_paused = true)]
async fn the_last_sentinel_that_answers_decides_once_all_others_have_failed() {
    let network = Network::default();
    network.put(1, Server::Refuses);
    network.put(2, Server::Refuses);
    named(&network, 3, "h 11");
    named(&network, 11, "master 0");
    let start = Instant::now();
    call(&service(&network), FOO).await.unwrap();
    assert_eq!(start.elapsed(), ms(0));
    network.put(2, Server::Hangs);
    call(&service(&network), FOO).await.unwrap();
    assert_eq!(start.elapsed(), ms(520), "half of the connect timeout, and a little");
    assert_eq!(network.sent().last().unwrap(), "script to 11");
}

#[tokio::test(start_paused = true)]
async fn a_node_follows_the_sentinels_when_its_server_has_become_a_replica() {
    let network = Network::default();
    (1..=3).for_each(|sentinel| named(&network, sentinel, "h 11"));
    named(&network, 11, "master 0");
    let node = service(&network);
    call(&node, FOO).await.unwrap();
    (1..=3).for_each(|sentinel| named(&network, sentinel, "h 12"));
    network.put(11, Server::Answers { script: "READONLY", command: "slave h 12" });
    named(&network, 12, "master 0");
    sleep(ms(1500)).await;
    assert_eq!(call(&node, FOO).await.unwrap_err().kind(), NodeErrorKind::ReadOnly);
    call(&node, FOO).await.unwrap();
    assert_eq!(network.sent().last().unwrap(), "script to 12");
}

#[tokio::test(start_paused = true)]
async fn an_error_names_the_sentinel_or_the_primary_that_it_is_about() {
    let network = Network::default();
    let error = async || format!("{:?}", call(&service(&network), FOO).await.unwrap_err());
    assert!(error().await.contains("sentinel h:1: refused"));
    named(&network, 1, "");
    assert!(error().await.contains("sentinel h:1: it knows no service \\\"locks\\\""));
    named(&network, 2, "h 11");
    assert!(error().await.contains("primary h:11: refused"));
    // The user has no permission for `ROLE`.
    named(&network, 11, "NOPERM");
    call(&service(&network), FOO).await.unwrap();
}
