//! Input that cannot be locked is rejected with a typed error before anything is sent.

use std::time::Duration;

use redlock_core::{
    AcquireError, BuildError, ExtendError, LockNode, Redlock, Release, Resource, ResourceError, Resources, Ttl,
    TtlError,
};

use crate::lab::{Lab, once};

const TTL: Duration = Duration::from_secs(30);

pub(super) async fn a_ttl_of_zero_is_rejected(lab: &Lab) {
    let error = lab.redlock(3).acquire("r", Duration::ZERO).await.unwrap_err();
    assert!(matches!(error, AcquireError::Ttl(TtlError::Zero)), "{error}");
    assert_eq!(lab.holding("r").await, 0);
}

pub(super) async fn a_ttl_over_the_limit_is_rejected(lab: &Lab) {
    let redlock = lab.redlock(3);
    for ttl in [Ttl::MAX + Duration::from_millis(1), Duration::MAX] {
        let error = redlock.acquire("r", ttl).await.unwrap_err();
        assert!(matches!(error, AcquireError::Ttl(TtlError::TooLong { .. })), "{error}");
    }
    assert_eq!(lab.holding("r").await, 0);
}

pub(super) async fn a_ttl_too_short_for_the_node_timeout_is_rejected(lab: &Lab) {
    let redlock = lab.builder(3).node_timeout(Duration::from_secs(1)).build().unwrap();
    let error = redlock.acquire("r", Duration::from_secs(1)).await.unwrap_err();
    assert!(matches!(error, AcquireError::Ttl(TtlError::TooShort { .. })), "{error}");
    assert_eq!(lab.holding("r").await, 0);
}

pub(super) async fn an_empty_name_is_rejected(lab: &Lab) {
    let error = lab.redlock(3).acquire("", TTL).await.unwrap_err();
    assert!(matches!(error, AcquireError::Resource(ResourceError::Empty)), "{error}");
}

pub(super) async fn a_huge_name_is_rejected(lab: &Lab) {
    let error = lab.redlock(3).acquire("x".repeat(1 << 20), TTL).await.unwrap_err();
    assert!(matches!(error, AcquireError::Resource(ResourceError::TooLong { len: 1_048_576 })), "{error}");
    // The longest accepted name works in every operation, and errors do not print it completely.
    let longest = "x".repeat(Resource::MAX_LEN);
    let (ours, theirs) = (lab.redlock(3), lab.redlock(3));
    let lock = ours.acquire(&longest, TTL).await.unwrap();
    let error = theirs.acquire(&longest, once(TTL)).await.unwrap_err().to_string();
    assert!(error.len() < 1000, "{error}");
    assert_eq!(lock.release().await.unwrap(), Release::Released);
}

pub(super) async fn a_prefix_that_makes_keys_too_long_is_rejected(lab: &Lab) {
    let with = |len: usize| lab.builder(3).key_prefix("x".repeat(len)).build();
    let len = Resource::MAX_LEN;
    assert_eq!(with(len).unwrap_err(), BuildError::KeyPrefixTooLong { len });
    // With the longest prefix, the shortest name works in every operation.
    let redlock = with(len - 1).unwrap();
    let error = redlock.acquire("ab", TTL).await.unwrap_err();
    let AcquireError::Resource(ResourceError::KeyTooLong { len: 65_537, prefix: 65_535, .. }) = error else {
        panic!("{error}")
    };
    let error = redlock.acquire(["a", "ab"], TTL).await.unwrap_err();
    assert!(matches!(error, AcquireError::Resource(ResourceError::KeyTooLong { .. })), "{error}");
    let lock = redlock.acquire("a", TTL).await.unwrap();
    assert_eq!(lock.release().await.unwrap(), Release::Released);
}

pub(super) async fn no_names_and_too_many_names_are_rejected(lab: &Lab) {
    let redlock = lab.redlock(3);
    let error = redlock.acquire([""; 0], TTL).await.unwrap_err();
    assert!(matches!(error, AcquireError::Resource(ResourceError::None)), "{error}");
    let names = |count: usize| (0..count).map(|number| number.to_string()).collect::<Vec<_>>();
    let error = redlock.acquire(names(Resources::MAX + 1), TTL).await.unwrap_err();
    assert!(matches!(error, AcquireError::Resource(ResourceError::TooMany)), "{error}");
    // The greatest accepted number of names works in every operation.
    let lock = redlock.acquire(names(Resources::MAX), TTL).await.unwrap();
    assert_eq!(lock.resources().len(), Resources::MAX);
    assert_eq!(lock.release().await.unwrap(), Release::Released);
}

pub(super) async fn an_extend_with_a_bad_ttl_keeps_the_lock(lab: &Lab) {
    let redlock = lab.redlock(3);
    let mut lock = redlock.acquire("r", TTL).await.unwrap();
    for ttl in [Duration::ZERO, Duration::from_millis(1), Duration::MAX] {
        let error = lock.extend(ttl).await.unwrap_err();
        assert!(matches!(error, ExtendError::Ttl(_)), "{error}");
    }
    assert!(lock.validity() > TTL / 2);
    assert_eq!(lock.release().await.unwrap(), Release::Released);
}

pub(super) async fn a_fleet_without_nodes_is_rejected(_: &Lab) {
    let none: [std::sync::Arc<dyn LockNode>; 0] = [];
    assert_eq!(Redlock::new(none).unwrap_err(), BuildError::NoNodes);
}

pub(super) async fn a_duplicate_node_is_rejected(lab: &Lab) {
    let mut nodes = lab.nodes(3);
    nodes.push(lab.node(1));
    let name = lab.node(1).name().to_owned();
    assert_eq!(Redlock::new(nodes).unwrap_err(), BuildError::DuplicateNode { name });
}
