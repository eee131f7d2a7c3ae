//! Locks with several names on a Redis Cluster: they are in one hash slot, or rejected before anything is sent.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use redlock_core::{
    AcquireError, AcquireOptions, InitializeError, LockNode, NodeError, Redlock, ResumeError,
    backend::{AcquireAnswer, AcquireRequest, ExtendAnswer, ExtendRequest, ReleaseAnswer, ReleaseRequest, Timed},
    testing::TokioClock,
};
use redlock_mock::MockNode;

const TTL: Duration = Duration::from_secs(10);

/// A node that reports that it is a cluster.
#[derive(Debug)]
struct Cluster(MockNode);

#[async_trait]
impl LockNode for Cluster {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn is_cluster(&self) -> bool {
        true
    }

    async fn acquire(&self, request: &AcquireRequest) -> Result<Timed<AcquireAnswer>, NodeError> {
        self.0.acquire(request).await
    }

    async fn extend(&self, request: &ExtendRequest) -> Result<Timed<ExtendAnswer>, NodeError> {
        self.0.extend(request).await
    }

    async fn release(&self, request: &ReleaseRequest) -> Result<ReleaseAnswer, NodeError> {
        self.0.release(request).await
    }
}

/// Returns a fleet of two plain nodes, and a cluster behind an `Arc`.
fn with_a_cluster(nodes: &[MockNode], key_prefix: &str) -> Redlock {
    let [first, second, third] = nodes else { panic!("three nodes") };
    let cluster = Arc::new(Cluster(third.clone()));
    Redlock::builder().node(first.clone()).node(second.clone()).node(cluster).key_prefix(key_prefix).build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn keys_in_several_slots_are_rejected_before_anything_is_sent() {
    let nodes = MockNode::fleet(3);
    let redlock = with_a_cluster(&nodes, "");
    let error = redlock.try_acquire(["foo", "bar", "{bar}2"], TTL).await.unwrap_err();
    let AcquireError::Slots(slots) = &error else { panic!("{error}") };
    assert_eq!(slots.node, "node-3");
    let slots: Vec<_> = slots.slots.iter().map(|(slot, resources)| (*slot, resources.to_string())).collect();
    assert_eq!(slots, [(5061, r#""bar", "{bar}2""#.to_owned()), (12182, r#""foo""#.to_owned())]);
    assert_eq!(
        error.to_string(),
        "node node-3 is a Redis Cluster, and the resources are in 2 of its hash slots: \
         \"bar\", \"{bar}2\" in slot 5061; \"foo\" in slot 12182; give their names a common hash tag, as in {tag}name, \
         or set a key prefix with one, as in {tag}:"
    );
    // An error lists only four slots.
    for (count, more) in [(4, ""), (5, " and 1 more;"), (6, " and 2 more;")] {
        let names: Vec<_> = (0..count).map(|number| number.to_string()).collect();
        let error = redlock.acquire(names, TTL).await.unwrap_err().to_string();
        let told = error.rsplit_once(" in slot ").unwrap().1;
        assert_eq!(
            told.split_once(';').unwrap().1,
            format!(
                "{more} give their names a common hash tag, as in {{tag}}name, or set a key prefix with one, as in {{tag}}:"
            )
        );
        assert_eq!(error.matches(" in slot ").count(), 4, "{error}");
    }
    assert_eq!(nodes.iter().map(MockNode::requests).sum::<usize>(), 0);
}

#[tokio::test(start_paused = true)]
async fn keys_in_one_slot_can_be_locked_on_a_cluster() {
    let nodes = MockNode::fleet(3);
    let redlock = with_a_cluster(&nodes, "");
    let _ = redlock.acquire(["{7}:from", "{7}:to"], TTL).await.unwrap().release().await.unwrap();
    let _ = redlock.acquire("foo", TTL).await.unwrap().release().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn slots_are_computed_from_keys_and_reported_by_name() {
    // A tag in the prefix puts all names into one slot.
    let nodes = MockNode::fleet(3);
    let lock = with_a_cluster(&nodes, "{app}:").acquire(["foo", "bar"], TTL).await.unwrap();
    assert!(nodes.iter().all(|node| node.peek("{app}:foo").is_some()));
    let _ = lock.release().await.unwrap();
    // Prefix and name are a tag only together.
    let lock = with_a_cluster(&nodes, "{").acquire(["7}:from", "7}:to"], TTL).await.unwrap();
    let _ = lock.release().await.unwrap();
    let error = with_a_cluster(&nodes, "app:").acquire(["foo", "bar"], TTL).await.unwrap_err().to_string();
    assert!(error.contains(r#""foo" in slot "#) && !error.contains("app:"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_lock_in_several_slots_is_not_resumed_on_a_cluster() {
    let nodes = MockNode::fleet(3);
    let plain = Redlock::new(nodes.clone()).unwrap();
    let parts = plain.acquire(["foo", "bar"], TTL).await.unwrap().into_parts().await.unwrap();
    let asked = nodes[0].requests();
    let error = with_a_cluster(&nodes, "").resume(parts).await.unwrap_err();
    assert!(matches!(error, ResumeError::Slots { .. }), "{error}");
    assert!(error.to_string().contains("node node-3 is a Redis Cluster"), "{error}");
    assert_eq!(nodes[0].requests(), asked);
    let _ = plain.resume(error.into_parts().unwrap()).await.unwrap().release().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn without_a_cluster_slots_do_not_matter() {
    let redlock = Redlock::new(MockNode::fleet(3)).unwrap();
    let _ = redlock.acquire(["foo", "bar"], TTL).await.unwrap().release().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn counters_and_the_marker_of_the_guard_must_be_in_the_slot_of_the_lock() {
    let nodes = MockNode::fleet(3);
    let fenced = AcquireOptions::new(TTL).fencing(true);
    let _ =
        with_a_cluster(&nodes, "").try_acquire("foo", fenced.clone()).await.unwrap().unwrap().release().await.unwrap();
    // No hash tag can replace a name that contains a brace.
    let error = with_a_cluster(&nodes, "").try_acquire("a}b", fenced).await.unwrap_err();
    assert!(matches!(error, AcquireError::Slots(_)), "{error}");
    for (prefix, is_taken) in [("", false), ("{lock}:", true)] {
        let builder = Redlock::builder().node(Cluster(nodes[0].clone())).clock(TokioClock::default());
        let redlock = builder.key_prefix(prefix).restart_guard(TTL).build().unwrap();
        let error = redlock.try_acquire("foo", TTL).await.unwrap_err();
        assert_eq!(!matches!(error, AcquireError::Slots(_)), is_taken, "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_guard_over_keys_in_several_slots_is_rejected_when_the_fleet_is_opened() {
    let nodes = MockNode::fleet(3);
    let guarded = |prefix: &str| {
        let cluster = Cluster(nodes[2].clone());
        let builder = Redlock::builder().node(nodes[0].clone()).node(nodes[1].clone()).node(cluster);
        builder.key_prefix(prefix).restart_guard(TTL).build().unwrap()
    };
    for prefix in ["", "app:", "{}:"] {
        let error = guarded(prefix).initialize().await.unwrap_err();
        assert!(matches!(&error, InitializeError::Slots { node } if node == "node-3"), "{error}");
    }
    // The slots are accepted, so the node is queried, but this mock does not support that.
    let error = guarded("{app}:").initialize().await.unwrap_err();
    assert!(matches!(error, InitializeError::Failed { .. }), "{error}");
    assert!(nodes[2].resources().is_empty());
}
