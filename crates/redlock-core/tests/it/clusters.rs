//! A node that is a Redis Cluster with one hung member: locks whose keys are on other members still work.

use std::{future::pending, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::future::join_all;
use redlock_core::{
    LockNode, NodeError, NodeErrorKind, Redlock, Release, Resources,
    backend::{AcquireAnswer, AcquireRequest, ExtendAnswer, ExtendRequest, ReleaseAnswer, ReleaseRequest, Timed},
    testing::TokioClock,
};
use redlock_mock::{Fault, MockNode};
use tokio::time::sleep;

use crate::support::log::{Log, capture};

const TTL: Duration = Duration::from_secs(600);

/// How the member behaves that has the keys of names that begin with `hung`.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Hung {
    Always,
    OnRelease,
    /// The member is down.
    Refuses,
}

/// A node that reports that it is a cluster.
#[derive(Debug)]
struct Cluster(MockNode, Hung);

impl Cluster {
    async fn reach(&self, keys: &Resources, releases: bool) -> Result<(), NodeError> {
        match (keys.first().as_str().starts_with("hung"), self.1) {
            (true, Hung::Always) => pending().await,
            (true, Hung::OnRelease) if releases => pending().await,
            (true, Hung::Refuses) => Err(NodeErrorKind::Unreachable.into()),
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl LockNode for Cluster {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn is_cluster(&self) -> bool {
        true
    }

    async fn acquire(&self, request: &AcquireRequest) -> Result<Timed<AcquireAnswer>, NodeError> {
        self.reach(&request.keys, false).await?;
        self.0.acquire(request).await
    }

    async fn extend(&self, request: &ExtendRequest) -> Result<Timed<ExtendAnswer>, NodeError> {
        self.reach(&request.keys, false).await?;
        self.0.extend(request).await
    }

    async fn release(&self, request: &ReleaseRequest) -> Result<ReleaseAnswer, NodeError> {
        self.reach(&request.keys, true).await?;
        self.0.release(request).await
    }
}

fn cluster(hung: Hung) -> (MockNode, Redlock) {
    let [node] = MockNode::fleet(1).try_into().unwrap();
    let cluster = Arc::new(Cluster(node.clone(), hung));
    (node, Redlock::builder().node(cluster).clock(TokioClock::default()).build().unwrap())
}

#[tokio::test(start_paused = true)]
async fn many_requests_to_a_hung_member_do_not_affect_locks_on_another() {
    let (_, redlock) = cluster(Hung::Always);
    let acquires = (0..200).map(|number| redlock.try_acquire(format!("hung{number}"), TTL));
    assert!(join_all(acquires).await.iter().all(Result::is_err));
    let lock = redlock.try_acquire("ok", TTL).await.unwrap().unwrap();
    assert_eq!(lock.release().await.unwrap(), Release::Released);
}

#[tokio::test(start_paused = true)]
async fn a_release_owed_to_one_member_does_not_wait_for_releases_owed_to_a_hung_one() {
    let (node, redlock) = cluster(Hung::OnRelease);
    for number in 0..20 {
        let _ = redlock.try_acquire(format!("hung{number}"), TTL).await.unwrap().unwrap().release().await;
    }
    let lock = redlock.try_acquire("ok", TTL).await.unwrap().unwrap();
    node.inject(Fault::Fail(NodeErrorKind::Unreachable));
    let _ = lock.release().await;
    assert!(node.resources().contains(&"ok".to_owned()));
    sleep(Duration::from_secs(1)).await;
    assert!(!node.resources().contains(&"ok".to_owned()));
    assert_eq!(node.resources().len(), 20);
}

#[tokio::test(start_paused = true)]
async fn a_member_that_fails_while_others_answer_is_logged_once_and_once_more_when_it_recovers() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _log = capture(subscriber);

    let (_, redlock) = cluster(Hung::Refuses);
    let count = |needle: &str| log.text().matches(needle).count();
    for number in 0..50 {
        redlock.try_acquire(format!("hung{number}"), TTL).await.unwrap_err();
        let lock = redlock.try_acquire(format!("ok{number}"), TTL).await.unwrap().unwrap();
        assert_eq!(lock.release().await.unwrap(), Release::Released);
    }
    assert_eq!((count("node fails"), count("node answers again")), (1, 0), "{}", log.text());
    // The owed releases fail until their keys have certainly expired.
    sleep(TTL * 3).await;
    let lock = redlock.try_acquire("ok", TTL).await.unwrap().unwrap();
    assert_eq!(lock.release().await.unwrap(), Release::Released);
    assert_eq!((count("node fails"), count("node answers again")), (1, 1), "{}", log.text());
}
