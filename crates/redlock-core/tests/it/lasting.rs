//! Nodes that fail until somebody changes their configuration, and nodes that have never been connected.

use std::time::Duration;

use async_trait::async_trait;
use redlock_core::{
    AcquireError, AcquireOptions, LockNode, NodeError, NodeErrorKind, Redlock, RedlockBuilder,
    backend::{
        AcquireAnswer, AcquireRequest, ExtendAnswer, ExtendRequest, InspectAnswer, InspectRequest, ReleaseAnswer,
        ReleaseRequest, Timed,
    },
    testing::TokioClock,
};
use redlock_mock::MockNode;
use tokio::time::Instant;

use crate::support::ms;

const TTL: Duration = Duration::from_secs(9);

/// A node that may fail, or that may never have been connected.
#[derive(Debug)]
struct Node {
    node: MockNode,
    fails: Option<NodeErrorKind>,
    /// When it stops failing.
    until: Option<Instant>,
    connects_within: Option<Duration>,
}

#[async_trait]
impl LockNode for Node {
    fn name(&self) -> &str {
        self.node.name()
    }

    fn connects_within(&self) -> Option<Duration> {
        self.connects_within
    }

    async fn acquire(&self, request: &AcquireRequest) -> Result<Timed<AcquireAnswer>, NodeError> {
        match self.fails {
            Some(kind) if self.until.is_none_or(|until| Instant::now() < until) => Err(kind.into()),
            _ => self.node.acquire(request).await,
        }
    }

    async fn extend(&self, request: &ExtendRequest) -> Result<Timed<ExtendAnswer>, NodeError> {
        self.node.extend(request).await
    }

    async fn release(&self, request: &ReleaseRequest) -> Result<ReleaseAnswer, NodeError> {
        self.node.release(request).await
    }

    async fn inspect(&self, request: &InspectRequest) -> Result<InspectAnswer, NodeError> {
        self.node.inspect(request).await
    }
}

fn failing(kinds: [Option<NodeErrorKind>; 3]) -> Redlock {
    failing_until(kinds, None)
}

fn failing_until(kinds: [Option<NodeErrorKind>; 3], until: Option<Instant>) -> Redlock {
    let nodes = MockNode::fleet(3).into_iter().zip(kinds);
    let nodes = nodes.map(|(node, fails)| Node { node, fails, until, connects_within: None });
    Redlock::builder().nodes(nodes).clock(TokioClock::default()).build().unwrap()
}

/// Returns how long a call takes to fail if a quorum of the nodes cannot grant the lock.
async fn ends_after(kinds: [Option<NodeErrorKind>; 3]) -> Duration {
    let start = Instant::now();
    let error = failing(kinds).acquire("r", AcquireOptions::new(TTL).timeout(ms(8000))).await.unwrap_err();
    assert!(matches!(error, AcquireError::NoQuorum(_) | AcquireError::TimedOut(_)), "{error}");
    start.elapsed()
}

#[tokio::test(start_paused = true)]
async fn errors_that_no_retry_can_cure_end_a_call_after_one_second() {
    use NodeErrorKind::{Authentication, Database, Guard, Permission, Timeout, Unreachable, Unsupported};
    for kind in [Authentication, Permission, Unsupported, Database] {
        let after = ends_after([Some(kind), Some(Permission), None]).await;
        assert!(after >= ms(1000) && after < ms(1500), "{kind}: {after:?}");
        // The unreachable node may recover.
        assert_eq!(ends_after([Some(kind), Some(Unreachable), None]).await, ms(8000), "{kind}");
    }
    assert_eq!(ends_after([Some(Timeout), Some(Unreachable), None]).await, ms(8000));
    assert_eq!(ends_after([Some(Guard), Some(Guard), None]).await, ms(8000));
    // A quorum does without one such node.
    assert!(failing([Some(Authentication), None, None]).acquire("r", TTL).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn passwords_that_are_fixed_within_a_second_fail_no_call() {
    let denied = Some(NodeErrorKind::Authentication);
    let redlock = failing_until([denied, denied, denied], Some(Instant::now() + ms(700)));
    assert!(redlock.acquire("r", TTL).await.is_ok());
}

/// Returns a builder over a node whose first answer comes only after 400 ms. The automatic node timeout at this TTL is
/// 180 ms.
fn far_away(connects_within: Option<Duration>) -> RedlockBuilder {
    let node = MockNode::new("far away").with_latency(ms(400));
    Redlock::builder().node(Node { node, fails: None, until: None, connects_within }).clock(TokioClock::default())
}

#[tokio::test(start_paused = true)]
async fn a_node_that_was_never_connected_is_awaited_for_as_long_as_connecting_may_take() {
    let start = Instant::now();
    let redlock = far_away(Some(ms(1000))).build().unwrap();
    let lock = redlock.try_acquire("r", TTL).await.unwrap().unwrap();
    assert_eq!(start.elapsed(), ms(400));
    assert!(redlock.inspect("r").await.unwrap().is_locked().unwrap());
    let resumed = redlock.resume(lock.into_parts().await.unwrap()).await.unwrap();
    drop(resumed);
}

#[tokio::test(start_paused = true)]
async fn a_node_is_awaited_no_longer_than_a_third_of_the_ttl_or_the_node_timeout_that_was_set() {
    for (connects_within, node_timeout, ttl, given_up) in [
        (None, None, TTL, ms(180)),
        (Some(ms(1000)), None, ms(900), ms(300)),
        (Some(ms(300)), None, TTL, ms(300)),
        (Some(ms(1000)), Some(ms(50)), TTL, ms(50)),
    ] {
        let builder = far_away(connects_within);
        let builder = match node_timeout {
            Some(node_timeout) => builder.node_timeout(node_timeout),
            None => builder,
        };
        let start = Instant::now();
        let error = builder.build().unwrap().try_acquire("r", ttl).await.unwrap_err();
        assert_eq!(start.elapsed(), given_up, "{error}");
    }
}
