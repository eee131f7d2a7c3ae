//! Facts that a node over any Redis client reports about its server: the commands it sends, and how it reads answers.

use std::{collections::BTreeMap, time::Duration};

use redlock_core::{
    LockNode, NodeError, NodeErrorKind, NodeUrlError, Resource,
    algorithm::{ClockReading, ClusterFacts, NodeRole, ServerVersion},
    backend::{
        Answered, Call, Connect, Connection, DescribeRequest, Failure, Node, NodeFacts, NodeUrl, RedisClient, Reply,
    },
};
use tokio::time::{Instant, sleep};

use crate::support::ms;

const INFO: &str = "redis_version:7.2.5\r\nredis_mode:standalone\r\nrun_id:ab12\r\nmaxmemory:0\r\n\
    maxmemory_policy:noeviction\r\naof_enabled:0\r\nrdb_last_bgsave_status:ok\r\nrole:master\r\nconnected_slaves:0\r\n";

/// A client with prepared answers to commands, each after a delay. Other commands fail with a permission error.
#[derive(Debug, Clone)]
struct Fake {
    commands: BTreeMap<&'static str, Result<Vec<&'static str>, NodeErrorKind>>,
    /// The outcome of the script: an error with its kind and its text.
    script: Result<(), (NodeErrorKind, &'static str)>,
    takes: Duration,
    is_cluster: bool,
}

impl Fake {
    fn telling(info: &'static str) -> Self {
        let commands = [
            ("INFO", vec![info]),
            ("TIME", vec!["1800000000", "250000"]),
            ("CONFIG GET appendfsync", vec!["appendfsync", "everysec"]),
            ("CONFIG GET save", vec!["save", "3600 1"]),
            ("CONFIG GET stop-writes-on-bgsave-error", vec!["stop-writes-on-bgsave-error", "yes"]),
        ];
        let commands = commands.into_iter().map(|(command, answer)| (command, Ok(answer))).collect();
        Self { commands, script: Ok(()), takes: Duration::ZERO, is_cluster: false }
    }

    fn with(mut self, command: &'static str, answer: Result<Vec<&'static str>, NodeErrorKind>) -> Self {
        self.commands.insert(command, answer);
        self
    }

    async fn facts(self) -> Result<NodeFacts, NodeError> {
        Node::<Self>::new(self).describe(&DescribeRequest::new(Resource::new("probe").unwrap())).await
    }
}

impl RedisClient for Fake {
    fn open(url: &NodeUrl) -> Result<Self, NodeUrlError> {
        Err(url.rejected("a fake has no address"))
    }

    fn name(&self) -> &str {
        "fake"
    }

    fn is_cluster(&self) -> bool {
        self.is_cluster
    }

    async fn call(&self, call: &Call<'_>, _: Duration, _: Duration) -> Result<Answered, NodeError> {
        assert_eq!(call.script().unwrap().sha1(), redlock_core::backend::script::INSPECT.sha1());
        assert!(call.keys().map(Resource::as_str).eq(["probe"]));
        sleep(self.takes).await;
        match self.script {
            Ok(()) => Ok(Answered { reply: Reply::Nothing, sent_again: false }),
            Err((kind, text)) => Err(NodeError::new(kind, text)),
        }
    }

    async fn command(&self, words: &[&str], _: Duration, _: Duration) -> Result<Vec<String>, NodeError> {
        sleep(self.takes).await;
        let answer = self.commands.get(words.join(" ").as_str()).cloned();
        let answer = answer.unwrap_or(Err(NodeErrorKind::Permission));
        Ok(answer?.into_iter().map(str::to_owned).collect())
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_describes_itself_in_two_exchanges() {
    let node = Node::<Fake>::new(Fake { takes: ms(10), ..Fake::telling(INFO) });
    let request = DescribeRequest::new(Resource::new("probe").unwrap());
    sleep(ms(5)).await;
    let start = Instant::now();
    let facts = node.describe(&request).await.unwrap();
    assert_eq!(start.elapsed(), ms(20));
    assert_eq!((facts.run_id.as_deref(), facts.version), (Some("ab12"), Some(ServerVersion::Redis(7, 2, 5))));
    assert_eq!(facts.role, Some(NodeRole::Primary { replicas: 0 }));
    assert_eq!((facts.maxmemory, facts.maxmemory_policy.as_deref()), (Some(0), Some("noeviction")));
    assert_eq!((facts.append_only, facts.append_sync.as_deref()), (Some(false), Some("everysec")));
    assert_eq!(facts.snapshots, Some(true));
    // The script has made the connection, so connecting adds no uncertainty to the clock. The reading counts from the
    // creation of the request, which is the same for all nodes.
    assert_eq!(facts.clock, Some(ClockReading::new(Duration::from_millis(1_800_000_000_250), ms(15), ms(25))));
    assert_eq!((facts.cluster, facts.writes_stopped, facts.no_script), (None, None, None));
    assert!(facts.untold.is_empty());
}

#[tokio::test(start_paused = true)]
async fn commands_without_an_answer_are_named_and_the_other_facts_are_reported() {
    let refused = Err(NodeErrorKind::Permission);
    for (command, name) in [
        ("INFO", "INFO"),
        ("TIME", "TIME"),
        ("CONFIG GET appendfsync", "CONFIG GET"),
        ("CONFIG GET save", "CONFIG GET"),
        ("CONFIG GET stop-writes-on-bgsave-error", "CONFIG GET"),
    ] {
        let facts = Fake::telling(INFO).with(command, refused.clone()).facts().await.unwrap();
        assert_eq!(Vec::from_iter(facts.untold), [name]);
        assert_eq!(facts.run_id.is_some(), name != "INFO");
        assert_eq!(facts.clock.is_some(), name != "TIME");
        assert_eq!(facts.append_sync.is_some(), command != "CONFIG GET appendfsync");
        assert_eq!(facts.snapshots.is_some(), command != "CONFIG GET save");
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_does_not_answer_at_all_is_an_error() {
    for kind in
        [NodeErrorKind::Timeout, NodeErrorKind::Unreachable, NodeErrorKind::Authentication, NodeErrorKind::Loading]
    {
        for command in ["INFO", "TIME", "CONFIG GET save"] {
            let error = Fake::telling(INFO).with(command, Err(kind)).facts().await.unwrap_err();
            assert_eq!(error.kind(), kind, "{command}");
        }
        let error = Fake { script: Err((kind, "x")), ..Fake::telling(INFO) }.facts().await.unwrap_err();
        assert_eq!(error.kind(), kind);
    }
    // Each answer is in time, but all of them together are not.
    let slow = Node::<Fake>::new(Fake { takes: ms(90), ..Fake::telling(INFO) })
        .with_connect_timeout(ms(50))
        .with_response_timeout(ms(100));
    let start = Instant::now();
    let error = slow.describe(&DescribeRequest::new(Resource::new("probe").unwrap())).await.unwrap_err();
    assert_eq!((error.kind(), start.elapsed()), (NodeErrorKind::Timeout, ms(150)));
}

#[tokio::test(start_paused = true)]
async fn the_reason_why_scripts_do_not_run_is_reported() {
    let failure = async |kind, text| {
        let facts = Fake { script: Err((kind, text)), ..Fake::telling(INFO) }.facts().await.unwrap();
        assert!(facts.run_id.is_some(), "the other facts are reported");
        facts.no_script
    };
    let denied = failure(NodeErrorKind::Permission, "this user has no permissions to run the 'evalsha' command").await;
    let denied = denied.unwrap();
    assert_eq!((denied.only_this_key, denied.key.as_str()), (false, "probe"));
    assert!(denied.answer.starts_with("permission denied: this user"), "{denied:?}");
    assert_eq!(denied.advice, NodeErrorKind::Permission.advice());
    for text in
        ["this user has no permissions to access one of the keys used as arguments", "No permissions to access a key"]
    {
        assert!(failure(NodeErrorKind::Permission, text).await.unwrap().only_this_key, "{text}");
    }
    let unknown = failure(NodeErrorKind::Unsupported, "unknown command, cannot access a key").await.unwrap();
    assert!(!unknown.only_this_key);
    // The script ran and found a key that is not a lock.
    assert_eq!(failure(NodeErrorKind::WrongType, "WRONGTYPE").await, None);
}

#[tokio::test(start_paused = true)]
async fn a_failed_snapshot_stops_writes_only_if_the_server_is_configured_so() {
    const FAILED: &str = "run_id:1\r\nrdb_last_bgsave_status:err\r\n";
    let stopped = async |fake: Fake| fake.facts().await.unwrap().writes_stopped.is_some();
    assert!(stopped(Fake::telling(FAILED)).await);
    assert!(!stopped(Fake::telling(INFO)).await);
    assert!(!stopped(Fake::telling(FAILED).with("CONFIG GET save", Ok(vec!["save", ""]))).await);
    let stop = "CONFIG GET stop-writes-on-bgsave-error";
    assert!(!stopped(Fake::telling(FAILED).with(stop, Ok(vec!["stop-writes-on-bgsave-error", "no"]))).await);
    assert!(!stopped(Fake::telling(FAILED).with(stop, Err(NodeErrorKind::Permission))).await);
}

#[tokio::test(start_paused = true)]
async fn cluster_nodes_is_queried_only_on_members_of_a_cluster() {
    const MEMBER: &str = "run_id:1\r\ncluster_enabled:1\r\n";
    let nodes = || Ok(vec!["aa 10.0.0.1:6379@16379 myself,master - 0 0 1 connected 0-16383\n"]);
    let member = ClusterFacts::new(["aa".to_owned()], 1);
    let facts = Fake::telling(MEMBER).with("CLUSTER NODES", nodes()).facts().await.unwrap();
    assert_eq!(facts.cluster, Some(member.clone()));
    let facts = Fake { is_cluster: true, ..Fake::telling(INFO).with("CLUSTER NODES", nodes()) }.facts().await.unwrap();
    let mut reached = member;
    reached.reached_as_cluster = true;
    assert_eq!(facts.cluster, Some(reached));
    let facts = Fake::telling(INFO).with("CLUSTER NODES", nodes()).facts().await.unwrap();
    assert_eq!(facts.cluster, None);
    let facts = Fake::telling(MEMBER).facts().await.unwrap();
    assert_eq!(facts.cluster, Some(ClusterFacts::default()));
    assert_eq!(Vec::from_iter(facts.untold), ["CLUSTER NODES"]);
}

#[tokio::test(start_paused = true)]
async fn a_backend_without_commands_reports_whether_scripts_run() {
    /// Implements only the required methods.
    struct Least(Connection<Connects>);
    struct Connects;

    impl Connect for Connects {
        type Connection = ();

        fn connect(&self, _: Duration) -> impl Future<Output = Result<(), NodeError>> + Send + 'static {
            std::future::ready(Ok(()))
        }

        async fn run((): (), _: &Call<'_>, _: Duration) -> Result<Reply, Failure> {
            Ok(Reply::Nothing)
        }
    }

    impl RedisClient for Least {
        fn open(url: &NodeUrl) -> Result<Self, NodeUrlError> {
            Err(url.rejected("a fake has no address"))
        }

        fn name(&self) -> &str {
            "least"
        }

        async fn call(&self, call: &Call<'_>, connect: Duration, response: Duration) -> Result<Answered, NodeError> {
            self.0.call(call, connect, response).await
        }
    }

    let least = Least(Connection::new(Connects));
    let error = least.0.command(&["INFO"], ms(1), ms(1)).await.unwrap_err();
    assert_eq!(error.kind(), NodeErrorKind::Unsupported);
    let facts =
        Node::<Least>::new(least).describe(&DescribeRequest::new(Resource::new("probe").unwrap())).await.unwrap();
    assert_eq!(facts.no_script, None);
    assert_eq!(Vec::from_iter(facts.untold), ["CONFIG GET", "INFO", "TIME"]);
}
