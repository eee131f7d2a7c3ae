//! How a node over any Redis client finds the locks that it holds.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use redlock_core::{
    LockNode, NodeError, NodeErrorKind, NodeUrlError, Redlock,
    backend::{Answered, Call, Node, NodeUrl, RedisClient},
    testing::TokioClock,
};
use redlock_mock::MockNode;
use tokio::time::{Instant, sleep};

const TOKEN: &str = "5f0c6c1be1c8b4b4e0d7f3c2a1908f7e6d5c4b3a";

/// A value, or the error that reading it returns.
type Told = Result<String, (NodeErrorKind, &'static str)>;

/// A client of a server with these keys. A scan returns two keys at a time.
#[derive(Debug, Clone, Default)]
struct Fake {
    /// The keys, and the answer for each.
    keys: Vec<(&'static str, Told)>,
    /// Whether the scan never ends.
    is_endless: bool,
    scans: Arc<AtomicUsize>,
}

impl RedisClient for Fake {
    fn open(url: &NodeUrl) -> Result<Self, NodeUrlError> {
        Err(url.rejected("a fake has no address"))
    }

    fn name(&self) -> &str {
        "fake"
    }

    async fn call(&self, _: &Call<'_>, _: Duration, _: Duration) -> Result<Answered, NodeError> {
        panic!("a script would read whole values")
    }

    async fn command(&self, words: &[&str], _: Duration, _: Duration) -> Result<Vec<String>, NodeError> {
        match *words {
            ["SCAN", cursor, "MATCH", "*", .., "TYPE", of] => {
                sleep(Duration::from_millis(100)).await;
                self.scans.fetch_add(1, Ordering::Relaxed);
                let from: usize = cursor.parse().unwrap();
                let next = if from + 2 < self.keys.len() { from + 2 } else { usize::from(self.is_endless) };
                let is_of = |key: &&str| key.starts_with("shared") == (of == "zset");
                let keys = self.keys.iter().skip(from).take(2).map(|(key, _)| *key).filter(is_of).map(str::to_owned);
                Ok([next.to_string()].into_iter().chain(keys).collect())
            }
            ["GETRANGE", key, "0", last] => {
                assert!(last.parse::<usize>().unwrap() < 200, "values may be long");
                let told = self.keys.iter().find(|(one, _)| *one == key).unwrap().1.clone();
                told.map(|value| vec![value]).map_err(|(kind, why)| NodeError::new(kind, why))
            }
            ["ZRANGE", key, "-1", "-1"] => {
                let told = self.keys.iter().find(|(one, _)| *one == key).unwrap().1.clone();
                told.map(|value| vec![value]).map_err(|(kind, why)| NodeError::new(kind, why))
            }
            ["PTTL", key] => Ok(vec![if key.ends_with(":kept") { "-1" } else { "900" }.to_owned()]),
            _ => panic!("{words:?}"),
        }
    }
}

fn redlock(fake: &Fake) -> Redlock {
    let node: Arc<dyn LockNode> = Arc::new(Node::<Fake>::new(fake.clone()));
    Redlock::builder().nodes([node]).clock(TokioClock::default()).build().unwrap()
}

const NO_COMMAND: &str = "NOPERM User locker has no permissions to run the 'getrange' command";
const NO_KEY: &str = "NOPERM No permissions to access a key";

#[tokio::test(start_paused = true)]
async fn a_key_that_the_user_may_not_read_is_left_out() {
    let keys = vec![
        ("data", Ok("of another".to_owned())),
        ("secret", Err((NodeErrorKind::Permission, NO_KEY))),
        ("list", Err((NodeErrorKind::WrongType, "WRONGTYPE"))),
        ("lock", Ok(TOKEN.to_owned())),
        ("longer", Ok(TOKEN.repeat(3))),
        ("owned", Ok(format!("{TOKEN}:web-3"))),
        ("shared", Ok(TOKEN.to_owned())),
        ("shared:jobs", Ok("of another".to_owned())),
        ("shared:kept", Ok(TOKEN.to_owned())),
        ("shared:secret", Err((NodeErrorKind::Permission, NO_COMMAND))),
    ];
    let listing = redlock(&Fake { keys, ..Fake::default() }).list().await.unwrap();
    assert!(listing.is_complete() && listing.names().eq(["lock", "owned", "shared"]));
}

#[tokio::test(start_paused = true)]
async fn a_node_whose_keys_cannot_be_read_makes_the_listing_incomplete() {
    for (kind, why) in
        [(NodeErrorKind::Permission, NO_COMMAND), (NodeErrorKind::Other, "ERR no"), (NodeErrorKind::Timeout, "")]
    {
        let keys = vec![("lock", Err((kind, why)))];
        let listing = redlock(&Fake { keys, ..Fake::default() }).list().await.unwrap();
        let failed: Vec<_> = listing.failed().map(|(_, error)| error.kind()).collect();
        assert_eq!((failed, listing.is_complete()), (vec![kind], false));
    }
}

#[tokio::test(start_paused = true)]
async fn a_scan_that_takes_too_long_ends() {
    let keys = vec![("a", Ok(TOKEN.to_owned())), ("b", Ok("data".to_owned()))];
    let fake = Fake { keys, is_endless: true, ..Fake::default() };
    let start = Instant::now();
    let listing = redlock(&fake).list().await.unwrap();
    assert!(!listing.is_complete() && start.elapsed() < Duration::from_secs(5));
    assert!(listing.failed().next().is_none() && listing.names().eq(["a"]), "the locks found by then are returned");
    let scans = fake.scans.load(Ordering::Relaxed);
    sleep(Duration::from_secs(20)).await;
    assert_eq!(fake.scans.load(Ordering::Relaxed), scans, "nothing continues in the background");
}

#[tokio::test(start_paused = true)]
async fn a_node_with_more_locks_than_the_limit_makes_the_listing_incomplete() {
    let nodes = MockNode::fleet(1);
    let redlock = Redlock::builder().nodes(nodes.clone()).clock(TokioClock::default()).build().unwrap();
    (0..Redlock::LISTED).for_each(|lock| nodes[0].set(&lock.to_string(), TOKEN, None));
    assert!(redlock.list().await.unwrap().is_complete());
    nodes[0].set("one more", TOKEN, None);
    let listing = redlock.list().await.unwrap();
    assert!(!listing.is_complete() && listing.names().count() == Redlock::LISTED);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_only_the_prefix_is_not_listed() {
    let nodes = MockNode::fleet(3);
    nodes.iter().for_each(|node| node.set("lock:", TOKEN, None));
    nodes.iter().for_each(|node| node.set("lock:a", TOKEN, None));
    let redlock = Redlock::builder().nodes(nodes).key_prefix("lock:").build().unwrap();
    assert!(redlock.list().await.unwrap().names().eq(["a"]));
}
