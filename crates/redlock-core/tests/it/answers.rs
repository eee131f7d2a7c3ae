//! Tests of what calls report: the lock's name, the answer of every node, and the result of an extend or a release.

use std::time::Duration;

use redlock_core::{
    AcquireError, ExtendError, LockNode, NodeAnswer, NodeErrorKind, ReleaseError, Resource, TtlError, Votes,
    backend::InspectRequest,
};
use redlock_mock::MockNode;

use crate::support::{ms, once, redlock};

const TTL: Duration = Duration::from_secs(10);

/// Maps each node to its answer, in a word or two.
fn told(votes: &Votes) -> Vec<(&str, &'static str)> {
    let word = |answer: &NodeAnswer| match answer {
        NodeAnswer::Granted => "granted",
        NodeAnswer::Held { .. } => "held",
        NodeAnswer::NotHeld => "not held",
        NodeAnswer::Failed(_) => "failed",
        NodeAnswer::Silent { .. } => "silent",
        _ => "not awaited",
    };
    votes.nodes().iter().map(|vote| (vote.node.as_str(), word(&vote.answer))).collect()
}

#[tokio::test(start_paused = true)]
async fn a_lock_reports_its_name_and_its_debug_output_hides_the_token() {
    let lock = redlock(&MockNode::fleet(3)).acquire("invoice:42", TTL).await.unwrap();
    assert_eq!(lock.resource(), "invoice:42");
    let text = format!("{lock:?}");
    assert!(text.contains(r#"resource: "invoice:42""#) && text.contains("validity: 9.898s"), "{text}");
    assert!(!text.contains(lock.token().as_str()), "{text}");
}

#[tokio::test(start_paused = true)]
async fn an_error_reports_all_answers_that_have_arrived_even_after_the_round_was_decided() {
    let nodes = MockNode::fleet(5);
    nodes.iter().for_each(|node| node.set("r", "another", Some(ms(1_500))));
    let error = redlock(&nodes).acquire("r", once(TTL)).await.unwrap_err();
    let votes = &error.attempts().unwrap().last_round;
    let all = ["node-1", "node-2", "node-3", "node-4", "node-5"].map(|node| (node, "held"));
    assert_eq!(told(votes), all);
    assert_eq!((votes.granted(), votes.needed()), (0, 3));
}

#[tokio::test(start_paused = true)]
async fn a_failed_extend_reports_the_answer_of_every_node() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    let mut lock = redlock.acquire("r", TTL).await.unwrap();
    nodes[1].set("r", "another", None);
    nodes[2].stop();
    let error = lock.extend(TTL).await.unwrap_err();
    let votes = error.votes().unwrap();
    assert_eq!(told(votes), [("node-1", "granted"), ("node-2", "held"), ("node-3", "failed")]);
    assert!(error.to_string().contains("node-2 held by another (no known expiry)"), "{error}");

    nodes[0].set("r", "another", None);
    let error = lock.extend(TTL).await.unwrap_err();
    assert!(matches!(error, ExtendError::Lost { .. }), "{error}");
    assert_eq!(error.votes().unwrap().granted(), 0);
    let error = lock.extend(TTL).await.unwrap_err();
    assert!(matches!(error, ExtendError::Expired { .. }) && error.votes().is_none(), "no node was queried: {error}");
}

#[tokio::test(start_paused = true)]
async fn an_extend_that_came_too_late_reports_the_answer_of_every_node() {
    let nodes: Vec<_> = MockNode::fleet(3).into_iter().map(|node| node.with_latency(ms(100))).collect();
    let mut lock = redlock(&nodes).acquire("r", TTL).await.unwrap();
    tokio::time::advance(lock.validity() - ms(50)).await;
    let error = lock.extend(TTL).await.unwrap_err();
    assert!(matches!(error, ExtendError::ExtendedTooLate { .. }), "{error}");
    assert_eq!(error.votes().unwrap().granted(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_release_whose_outcome_is_unknown_names_the_nodes_that_no_longer_held_it() {
    let nodes = MockNode::fleet(3);
    let lock = redlock(&nodes).acquire("r", TTL).await.unwrap();
    nodes[0].remove("r");
    nodes[1].stop();
    nodes[2].hang();
    let error = lock.release().await.unwrap_err();
    assert_eq!(told(error.votes().unwrap()), [("node-1", "not held"), ("node-2", "failed"), ("node-3", "silent")]);
    assert!(error.to_string().contains("node-1 no longer held it"), "{error}");
    assert!(ReleaseError::NoRuntime.votes().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_call_that_sends_nothing_has_no_answers() {
    let redlock = redlock(&MockNode::fleet(3));
    let error = redlock.acquire("", TTL).await.unwrap_err();
    assert!(matches!(error, AcquireError::Resource(_)), "{error}");
    assert!(error.attempts().is_none() && !error.is_contended());
    let mut lock = redlock.acquire("r", TTL).await.unwrap();
    let error = lock.extend(Duration::ZERO).await.unwrap_err();
    assert!(matches!(error, ExtendError::Ttl(TtlError::Zero)) && error.votes().is_none(), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_long_name_is_truncated_in_messages_and_a_short_one_is_not() {
    let nodes = MockNode::fleet(1);
    nodes[0].stop();
    let redlock = redlock(&nodes);
    let error = async |name: String| redlock.try_acquire(name, TTL).await.unwrap_err().to_string();
    assert!(error("é".repeat(200)).await.contains(&format!("\"{}\":", "é".repeat(200))));
    assert!(error("é".repeat(201)).await.contains(&format!("\"{}\"... (402 bytes):", "é".repeat(200))));
}

#[tokio::test(start_paused = true)]
async fn a_node_without_inspect_answers_that_it_is_unsupported() {
    /// Implements only the required methods.
    #[derive(Debug)]
    struct Least(MockNode);

    #[async_trait::async_trait]
    impl LockNode for Least {
        fn name(&self) -> &str {
            "least"
        }

        async fn acquire(
            &self,
            request: &redlock_core::backend::AcquireRequest,
        ) -> Result<redlock_core::backend::Timed<redlock_core::backend::AcquireAnswer>, redlock_core::NodeError>
        {
            self.0.acquire(request).await
        }

        async fn extend(
            &self,
            request: &redlock_core::backend::ExtendRequest,
        ) -> Result<redlock_core::backend::Timed<redlock_core::backend::ExtendAnswer>, redlock_core::NodeError>
        {
            self.0.extend(request).await
        }

        async fn release(
            &self,
            request: &redlock_core::backend::ReleaseRequest,
        ) -> Result<redlock_core::backend::ReleaseAnswer, redlock_core::NodeError> {
            self.0.release(request).await
        }
    }

    let least = Least(MockNode::new("inner"));
    let error = least.inspect(&InspectRequest::new(Resource::new("r").unwrap())).await.unwrap_err();
    assert_eq!(error.kind(), NodeErrorKind::Unsupported);
}

#[tokio::test(start_paused = true)]
async fn a_key_of_another_type_fails_the_node_for_that_key_only() {
    let nodes = MockNode::fleet(3);
    nodes.iter().for_each(|node| node.set_list("r"));
    let redlock = redlock(&nodes);
    let error = redlock.try_acquire("r", TTL).await.unwrap_err().to_string();
    assert!(error.contains("the key holds another type") && error.contains("choose another resource name"), "{error}");
    let _ = redlock.try_acquire("another", TTL).await.unwrap().unwrap().release().await.unwrap();
}
