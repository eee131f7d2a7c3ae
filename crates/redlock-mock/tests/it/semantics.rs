//! Tests that a node answers like the real scripts; `differential` in the workspace's tests compares them at random.

use std::time::Duration;

use redlock_core::{
    LockNode, NodeError, NodeErrorKind, Resource, Resources, Token, Ttl,
    backend::{
        AcquireAnswer, AcquireRequest, DescribeRequest, ExtendAnswer, ExtendRequest, FencingCounters, InspectAnswer,
        InspectRequest, RaiseRequest, ReleaseAnswer, ReleaseRequest,
    },
};
use redlock_mock::{Memory, MockNode};
use tokio::time::sleep;

const OURS: [u8; 20] = [1; 20];
const OTHERS: [u8; 20] = [2; 20];
const TTL: Duration = Duration::from_secs(10);

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn resource() -> Resource {
    Resource::new("r").unwrap()
}

async fn acquire(node: &MockNode, token: [u8; 20]) -> AcquireAnswer {
    let request = AcquireRequest::new(resource(), Token::from_bytes(token), Ttl::new(TTL).unwrap());
    node.acquire(&request).await.unwrap().answer
}

async fn extend(node: &MockNode, token: [u8; 20], ttl: Duration) -> ExtendAnswer {
    let request = ExtendRequest::new(resource(), Token::from_bytes(token), Ttl::new(ttl).unwrap());
    node.extend(&request).await.unwrap().answer
}

async fn release(node: &MockNode, token: [u8; 20]) -> Result<ReleaseAnswer, NodeError> {
    node.release(&ReleaseRequest::new(resource(), Token::from_bytes(token))).await
}

async fn inspect(node: &MockNode) -> Result<InspectAnswer, NodeError> {
    node.inspect(&InspectRequest::new(resource())).await
}

#[tokio::test(start_paused = true)]
async fn a_key_is_granted_once_and_an_acquire_that_is_sent_again_is_granted() {
    let node = MockNode::new("node");
    assert_eq!(acquire(&node, OURS).await, AcquireAnswer::granted());
    sleep(ms(3)).await;
    assert_eq!(acquire(&node, OURS).await, AcquireAnswer::granted());
    assert_eq!(node.remaining("r"), Some(TTL - ms(3)), "its TTL is not extended");
    assert_eq!(acquire(&node, OTHERS).await, AcquireAnswer::held(Some(TTL - ms(3))));
    let held = InspectAnswer::held(Token::from_bytes(OURS).as_bytes(), Some(TTL - ms(3)));
    assert_eq!(inspect(&node).await.unwrap(), held);
}

#[tokio::test(start_paused = true)]
async fn an_extend_extends_or_restores_a_key_but_never_shortens_or_steals_it() {
    let node = MockNode::new("node");
    assert_eq!(extend(&node, OURS, TTL).await, ExtendAnswer::Healed);
    assert_eq!(extend(&node, OURS, 2 * TTL).await, ExtendAnswer::Extended);
    assert_eq!(extend(&node, OURS, TTL).await, ExtendAnswer::Extended);
    assert_eq!(node.remaining("r"), Some(2 * TTL));
    assert_eq!(extend(&node, OTHERS, 3 * TTL).await, ExtendAnswer::held(Some(2 * TTL)));
    assert_eq!(node.remaining("r"), Some(2 * TTL));
    node.set("r", Token::from_bytes(OURS).as_str(), None);
    assert_eq!(extend(&node, OURS, TTL).await, ExtendAnswer::Extended);
    assert_eq!(node.remaining("r"), Some(TTL), "a key without expiry gets one, as with the script");
}

#[tokio::test(start_paused = true)]
async fn only_its_own_token_deletes_a_key() {
    let node = MockNode::new("node");
    assert_eq!(release(&node, OURS).await.unwrap(), ReleaseAnswer::NotHeld);
    acquire(&node, OURS).await;
    assert_eq!(release(&node, OTHERS).await.unwrap(), ReleaseAnswer::NotHeld);
    assert_eq!(release(&node, OURS).await.unwrap(), ReleaseAnswer::Released);
    assert_eq!(inspect(&node).await.unwrap(), InspectAnswer::Absent);
}

#[tokio::test(start_paused = true)]
async fn a_key_of_another_type_is_an_error_for_every_operation() {
    let node = MockNode::new("node");
    node.set_list("r");
    assert_eq!(release(&node, OURS).await.unwrap_err().kind(), NodeErrorKind::WrongType);
    assert_eq!(inspect(&node).await.unwrap_err().kind(), NodeErrorKind::WrongType);
    assert_eq!((node.peek("r"), node.resources()), (None, vec!["r".to_owned()]));
    node.remove("r");
    assert_eq!(acquire(&node, OURS).await, AcquireAnswer::granted());
}

#[tokio::test(start_paused = true)]
async fn a_counter_that_is_not_a_number_is_an_error() {
    for value in ["", "x", "1x", "-1", " 1", "01"] {
        let node = MockNode::new("node");
        node.set("c", value, None);
        let counters = FencingCounters::new(Resource::new("c").unwrap(), TTL);
        let mut request = AcquireRequest::new(resource(), Token::from_bytes(OURS), Ttl::new(TTL).unwrap());
        request.fencing = Some(counters.clone());
        assert_eq!(node.acquire(&request).await.unwrap_err().kind(), NodeErrorKind::Other, "{value:?}");
        if value == "01" {
            continue; // Only an increment has to parse it as Redis does.
        }
        acquire(&node, OURS).await;
        let raise = RaiseRequest::new(resource(), Token::from_bytes(OURS), counters, 8);
        assert_eq!(node.raise(&raise).await.unwrap_err().kind(), NodeErrorKind::Other, "{value:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_counter_of_zero_starts_from_the_clock_like_a_missing_one() {
    let counted = async |value: &str| {
        let node = MockNode::new("node");
        node.set("c", value, None);
        let mut request = AcquireRequest::new(resource(), Token::from_bytes(OURS), Ttl::new(TTL).unwrap());
        request.fencing = Some(FencingCounters::new(Resource::new("c").unwrap(), TTL));
        match node.acquire(&request).await.unwrap().answer {
            AcquireAnswer::Granted { counter: Some(counter), .. } => counter,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(counted("1").await, 2);
    assert!(counted("0").await > 1_000_000_000_000, "microseconds since 1970");
}

#[tokio::test(start_paused = true)]
async fn a_fraction_of_a_millisecond_is_rounded_up_in_an_expiry() {
    let node = MockNode::new("node");
    extend(&node, OURS, Duration::from_micros(1_500)).await;
    assert_eq!(node.remaining("r"), Some(ms(2)));
    node.set("r", "another", Some(Duration::from_micros(1_999)));
    assert_eq!(node.remaining("r"), Some(ms(1)), "and down when it is reported");
}

#[tokio::test(start_paused = true)]
async fn names_are_listed_in_order_without_expired_ones() {
    let node = MockNode::new("node");
    for name in ["c", "a", "b"] {
        node.set(name, "another", None);
    }
    node.set("brief", "another", Some(ms(5)));
    sleep(ms(6)).await;
    assert_eq!(node.resources(), ["a", "b", "c"]);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_loses_its_last_second_returns_to_the_state_before_it() {
    let node = MockNode::new("node");
    for name in ["deleted", "replaced", "kept"] {
        node.set(name, "old", None);
    }
    sleep(ms(500)).await;
    node.set("saved", "old", None);
    sleep(ms(1_000)).await;
    node.remove("deleted");
    node.set("replaced", "new", None);
    sleep(ms(900)).await;
    node.set("replaced", "newer", None);
    node.set("made", "new", None);
    node.restart(Memory::LastSecondLost);
    assert_eq!(node.resources(), ["deleted", "kept", "replaced", "saved"]);
    assert_eq!(node.peek("replaced").as_deref(), Some(&b"old"[..]));
}

#[tokio::test(start_paused = true)]
async fn a_change_that_is_a_second_old_is_on_disk() {
    let node = MockNode::new("node");
    node.set("a", "another", None);
    sleep(ms(1_000)).await;
    node.restart(Memory::LastSecondLost);
    assert_eq!(node.resources(), ["a"]);
    node.set("b", "another", None);
    node.set("c", "another", None);
    sleep(ms(999)).await;
    node.restart(Memory::LastSecondLost);
    assert_eq!(node.resources(), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_a_restart_kept_is_on_disk() {
    let node = MockNode::new("node");
    node.set("a", "another", None);
    node.restart(Memory::Kept);
    node.restart(Memory::LastSecondLost);
    assert_eq!(node.resources(), ["a"]);
}

const MANY: [&str; 3] = ["a", "b", "c"];

fn many() -> Resources {
    Resources::new(MANY).unwrap()
}

async fn acquire_many(node: &MockNode) -> Result<AcquireAnswer, NodeError> {
    node.acquire(&AcquireRequest::new(many(), Token::from_bytes(OURS), Ttl::new(TTL).unwrap()))
        .await
        .map(|timed| timed.answer)
}

async fn extend_many(node: &MockNode, ttl: Duration) -> Result<ExtendAnswer, NodeError> {
    node.extend(&ExtendRequest::new(many(), Token::from_bytes(OURS), Ttl::new(ttl).unwrap()))
        .await
        .map(|timed| timed.answer)
}

async fn release_many(node: &MockNode) -> Result<ReleaseAnswer, NodeError> {
    node.release(&ReleaseRequest::new(many(), Token::from_bytes(OURS))).await
}

#[tokio::test(start_paused = true)]
async fn either_all_of_many_keys_are_set_or_none() {
    let node = MockNode::new("node");
    node.set("b", Token::from_bytes(OURS).as_str(), Some(2 * TTL));
    assert_eq!(acquire_many(&node).await.unwrap(), AcquireAnswer::granted());
    assert_eq!(MANY.map(|key| node.remaining(key)), [Some(TTL), Some(2 * TTL), Some(TTL)]);

    node.remove("a");
    node.set("b", "another", Some(ms(7)));
    assert_eq!(acquire_many(&node).await.unwrap(), AcquireAnswer::held(Some(ms(7))));
    assert_eq!(node.peek("a"), None);
}

#[tokio::test(start_paused = true)]
async fn many_keys_are_refused_for_as_long_as_any_of_them_is_held() {
    let node = MockNode::new("node");
    for (a, b, longest) in [
        (Some(ms(7)), Some(ms(9)), Some(ms(9))),
        (Some(ms(9)), Some(ms(7)), Some(ms(9))),
        (None, Some(ms(7)), None),
        (Some(ms(7)), None, None),
    ] {
        node.set("a", "another", a);
        node.set("b", "a third", b);
        node.set("c", Token::from_bytes(OURS).as_str(), Some(TTL));
        assert_eq!(acquire_many(&node).await.unwrap(), AcquireAnswer::held(longest));
        assert_eq!(extend_many(&node, 2 * TTL).await.unwrap(), ExtendAnswer::held(longest));
        assert_eq!(node.remaining("c"), Some(TTL));
    }
}

#[tokio::test(start_paused = true)]
async fn many_keys_are_extended_one_by_one_and_restored() {
    let node = MockNode::new("node");
    acquire_many(&node).await.unwrap();
    node.set("a", Token::from_bytes(OURS).as_str(), Some(3 * TTL));
    assert_eq!(extend_many(&node, 2 * TTL).await.unwrap(), ExtendAnswer::Extended);
    assert_eq!(MANY.map(|key| node.remaining(key)), [Some(3 * TTL), Some(2 * TTL), Some(2 * TTL)]);
    node.remove("b");
    assert_eq!(extend_many(&node, TTL).await.unwrap(), ExtendAnswer::Healed);
    assert_eq!(MANY.map(|key| node.remaining(key)), [Some(3 * TTL), Some(TTL), Some(2 * TTL)]);
}

#[tokio::test(start_paused = true)]
async fn of_many_keys_only_our_own_are_released() {
    let node = MockNode::new("node");
    acquire_many(&node).await.unwrap();
    assert_eq!(release_many(&node).await.unwrap(), ReleaseAnswer::Released);
    acquire_many(&node).await.unwrap();
    node.set("a", "another", None);
    assert_eq!(release_many(&node).await.unwrap(), ReleaseAnswer::NotHeld);
    assert_eq!(node.resources(), ["a"]);

    // A key that is not a lock does not keep the others from being released, and is reported.
    node.remove("a");
    acquire_many(&node).await.unwrap();
    node.set_list("b");
    assert_eq!(release_many(&node).await.unwrap_err().kind(), NodeErrorKind::WrongType);
    assert_eq!(node.resources(), ["b"]);
    assert_eq!(acquire_many(&node).await.unwrap_err().kind(), NodeErrorKind::WrongType);
    assert_eq!(extend_many(&node, TTL).await.unwrap_err().kind(), NodeErrorKind::WrongType);
    assert_eq!(node.resources(), ["b"]);
}

#[tokio::test(start_paused = true)]
async fn a_server_reports_the_same_facts_under_each_of_its_names() {
    let (node, other) = (MockNode::new("node"), MockNode::new("other"));
    let alias = node.clone().with_name("alias");
    assert_eq!((alias.name(), node.name()), ("alias", "node"));
    alias.set(&resource().to_string(), "x", None);
    assert_eq!(node.peek("r").as_deref(), Some(&b"x"[..]));
    node.set_facts(|facts| facts.maxmemory = Some(7));
    let facts = async |node: &MockNode| node.describe(&DescribeRequest::new(resource())).await.unwrap();
    let (ours, theirs) = (facts(&alias).await, facts(&other).await);
    assert_eq!((ours.maxmemory, theirs.maxmemory), (Some(7), Some(0)));
    assert_eq!(ours.run_id, facts(&node).await.run_id);
    assert_ne!(ours.run_id, theirs.run_id);
    // The clock in the report is the node's own.
    node.jump_clock(-7_000);
    assert_eq!(ours.clock.unwrap().reads - facts(&node).await.clock.unwrap().reads, ms(7_000));
}
