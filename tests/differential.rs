//! The mock is a Redis: the same random operations get the same answers from a mock node and from a real server.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::{sync::Arc, time::Duration};

use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use redlock_core::{
    AcquireAnswer, AcquireRequest, ExtendAnswer, ExtendRequest, InspectAnswer, InspectRequest, LockNode, NodeErrorKind,
    Owner, ReleaseRequest, Resource, Resources, Token, Ttl,
};
use redlock_mock::MockNode;
use redlock_tests::servers::{Server, ServerOptions, Servers};

/// What is done to a node: through its backend, or behind its back.
#[derive(Debug, Clone)]
enum Operation {
    Acquire { keys: Vec<u8>, token: u8, ttl: Duration },
    Extend { keys: Vec<u8>, token: u8, ttl: Duration },
    Release { keys: Vec<u8>, token: u8 },
    Inspect { key: u8 },
    Set { key: u8, ttl: Option<Duration> },
    SetList { key: u8 },
    Remove { key: u8 },
}

fn operation() -> impl Strategy<Value = Operation> {
    let (key, token) = (0..3_u8, 0..3_u8);
    let keys = prop::sample::subsequence(vec![0, 1, 2], 1..=3);
    // So long that nothing expires meanwhile: expiry is a matter of clocks, which the scenarios check.
    let ttl = (60_000..600_000_u64).prop_map(Duration::from_millis);
    prop_oneof![
        4 => (keys.clone(), token.clone(), ttl.clone()).prop_map(|(keys, token, ttl)| Operation::Acquire { keys, token, ttl }),
        4 => (keys.clone(), token.clone(), ttl.clone()).prop_map(|(keys, token, ttl)| Operation::Extend { keys, token, ttl }),
        4 => (keys, token).prop_map(|(keys, token)| Operation::Release { keys, token }),
        2 => key.clone().prop_map(|key| Operation::Inspect { key }),
        1 => (key.clone(), prop::option::of(ttl)).prop_map(|(key, ttl)| Operation::Set { key, ttl }),
        1 => key.clone().prop_map(|key| Operation::SetList { key }),
        1 => key.prop_map(|key| Operation::Remove { key }),
    ]
}

/// An answer, without what differs between two clocks: the remaining ttl is only there or not, and about as long.
#[derive(Debug, PartialEq)]
enum Answer {
    Done(String),
    Held { minutes: Option<u64> },
    Value { token: Vec<u8>, minutes: Option<u64> },
    Error(NodeErrorKind),
    Nothing,
}

fn minutes(remaining: Option<Duration>) -> Option<u64> {
    // Whole minutes, counted a little late, so that a few seconds of difference seldom matter.
    remaining.map(|remaining| (remaining + Duration::from_secs(10)).as_secs() / 60)
}

fn name(key: u8) -> String {
    format!("differential:{key}")
}

/// Asks a node. What is done behind its back is done by the caller.
async fn ask(node: &dyn LockNode, operation: &Operation) -> Answer {
    let resources = |keys: &[u8]| Resources::new(keys.iter().map(|key| name(*key))).unwrap();
    let token = |token: &u8| match token {
        0 => Token::from_bytes([0; 20]),
        // The same digits are another token if the owner differs.
        1 => Token::from_bytes([0; 20]).with_owner(&Owner::new("one").unwrap()),
        _ => Token::from_bytes([2; 20]).with_owner(&Owner::new("x".repeat(Owner::MAX_LEN)).unwrap()),
    };
    let answer = match operation {
        Operation::Acquire { keys, token: holder, ttl } => {
            let request = AcquireRequest::new(resources(keys), token(holder), Ttl::new(*ttl).unwrap());
            node.acquire(&request).await.map(|timed| match timed.answer {
                AcquireAnswer::Held { remaining, .. } => Answer::Held { minutes: minutes(remaining) },
                done => Answer::Done(format!("{done:?}")),
            })
        }
        Operation::Extend { keys, token: holder, ttl } => {
            let request = ExtendRequest::new(resources(keys), token(holder), Ttl::new(*ttl).unwrap());
            node.extend(&request).await.map(|timed| match timed.answer {
                ExtendAnswer::Held { remaining, .. } => Answer::Held { minutes: minutes(remaining) },
                done => Answer::Done(format!("{done:?}")),
            })
        }
        Operation::Release { keys, token: holder } => {
            let request = ReleaseRequest::new(resources(keys), token(holder));
            node.release(&request).await.map(|answer| Answer::Done(format!("{answer:?}")))
        }
        Operation::Inspect { key } => {
            node.inspect(&InspectRequest::new(Resource::new(name(*key)).unwrap())).await.map(|answer| match answer {
                InspectAnswer::Held { token, remaining, .. } => Answer::Value { token, minutes: minutes(remaining) },
                done => Answer::Done(format!("{done:?}")),
            })
        }
        Operation::Set { .. } | Operation::SetList { .. } | Operation::Remove { .. } => Ok(Answer::Nothing),
    };
    answer.unwrap_or_else(|error| Answer::Error(error.kind()))
}

fn behind_the_mock(node: &MockNode, operation: &Operation) {
    match operation {
        Operation::Set { key, ttl } => node.set(&name(*key), "another", *ttl),
        Operation::SetList { key } => {
            node.remove(&name(*key));
            node.set_list(&name(*key));
        }
        Operation::Remove { key } => node.remove(&name(*key)),
        _ => {}
    }
}

async fn behind_the_server(server: &Server, operation: &Operation) {
    match operation {
        Operation::Set { key, ttl: Some(ttl) } => {
            server.command(&["SET", &name(*key), "another", "PX", &ttl.as_millis().to_string()]).await.unwrap();
        }
        Operation::Set { key, ttl: None } => drop(server.command(&["SET", &name(*key), "another"]).await.unwrap()),
        Operation::SetList { key } => {
            server.command(&["DEL", &name(*key)]).await.unwrap();
            server.command(&["RPUSH", &name(*key), "x"]).await.unwrap();
        }
        Operation::Remove { key } => drop(server.command(&["DEL", &name(*key)]).await.unwrap()),
        _ => {}
    }
}

/// Runs random operations on a mock node and on a real one, and compares every answer.
fn compare(open: impl Fn(&str) -> Arc<dyn LockNode>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let server = runtime.block_on(async {
        let servers = Servers::from_env().await?;
        servers.start_one(&ServerOptions::new()).await
    });
    let server = server.unwrap_or_else(|error| panic!("{error:#}"));
    let node = open(&server.url());
    let mut runner = TestRunner::new(Config { cases: 60, failure_persistence: None, ..Config::default() });
    let result = runner.run(&prop::collection::vec(operation(), 1..40), |operations| {
        let mock = MockNode::new("mock");
        runtime.block_on(async {
            server.command(&["FLUSHALL"]).await.unwrap();
            for operation in &operations {
                behind_the_mock(&mock, operation);
                behind_the_server(&server, operation).await;
                let (mocked, real) = (ask(&mock, operation).await, ask(&node, operation).await);
                prop_assert_eq!(mocked, real, "{:?}", operation);
            }
            Ok(())
        })
    });
    drop(node);
    runtime.block_on(async { drop(server) });
    result.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn a_mock_node_answers_as_redis_does_through_redis_rs() {
    compare(|url| Arc::new(redlock_redis_rs::RedisNode::open(url).unwrap()));
}

#[test]
fn a_mock_node_answers_as_redis_does_through_fred() {
    compare(|url| Arc::new(redlock_fred::RedisNode::open(url).unwrap()));
}
