//! Compares the mock with Redis: the same random operations get the same answers from a mock node and from a real
//! server.

mod operation;
mod side;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use redlock_core::{
    FencingToken, LockNode, NodeErrorKind, Owner, Resource, Resources, Token, Ttl,
    backend::{
        AcquireAnswer, AcquireRequest, Enqueue, ExtendAnswer, ExtendRequest, FencingCounters, InspectAnswer,
        InspectRequest, ListenRequest, OpenAnswer, OpenRequest, RaiseAnswer, RaiseRequest, ReleaseRequest,
        RestartGuard, WakeNext, WakeUps,
    },
};
use redlock_mock::MockNode;
use redlock_tests::servers::{Reply, Server, ServerOptions, Servers};

use self::{operation::*, side::*};

/// The subscriptions of processes, which receive their wake-ups.
struct Ears(Vec<Box<dyn WakeUps>>);

impl Ears {
    async fn new(node: &dyn LockNode) -> Self {
        let mut ears = Vec::new();
        for process in LISTENING {
            ears.push(node.listen(&ListenRequest::new(channel(process))).await.unwrap());
        }
        Self(ears)
    }

    /// Takes the messages that each process has received so far.
    async fn heard(&mut self, behind: &Behind<'_>) -> Vec<Vec<String>> {
        const END: &str = "that is all";
        let mut all = Vec::new();
        for (process, ear) in LISTENING.into_iter().zip(&mut self.0) {
            if let Behind::Server(server) = behind {
                server.command(&["PUBLISH", &channel(process), END]).await.unwrap();
            }
            let patience = if let Behind::Mock(_) = behind { Duration::ZERO } else { MINUTE };
            let mut heard = Vec::new();
            while let Ok(message) = tokio::time::timeout(patience, ear.next()).await {
                match String::from_utf8(message.unwrap()).unwrap() {
                    message if message == END => break,
                    message => heard.push(message),
                }
            }
            all.push(heard);
        }
        all
    }
}

/// Runs random operations on a mock node and on a real one, and compares every answer, the final state and the
/// wake-ups.
fn compare(open: impl Fn(&str) -> Arc<dyn LockNode>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let server = runtime.block_on(async {
        let servers = Servers::from_env().await?;
        servers.start_one(&ServerOptions::new()).await
    });
    let server = server.unwrap_or_else(|error| panic!("{error:#}"));
    let node = open(&server.url());
    let ears = tokio::sync::Mutex::new(runtime.block_on(Ears::new(&node)));
    let mut runner = TestRunner::new(Config { cases: 120, failure_persistence: None, ..Config::default() });
    let result = runner.run(&prop::collection::vec(operation(), 1..40), |operations| {
        let mock = MockNode::new("mock");
        runtime.block_on(async {
            server.command(&["FLUSHALL"]).await.unwrap();
            let mocked = Side::new(&mock, Behind::Mock(&mock)).await;
            let real = Side::new(&node, Behind::Server(&server)).await;
            let (mut mocked_ears, mut real_ears) = (Ears::new(&mock).await, ears.lock().await);
            let started = Instant::now();
            // At the end, it compares the state that is left.
            let left = Place::ALL.map(|place| Operation::Inspect { place });
            let lines = [0, 1, 2].map(|key| Operation::Line { key });
            let mut differs = None;
            for operation in operations.iter().chain(&left).chain(&lines) {
                let (mocked, real) = (mocked.carry_out(operation).await, real.carry_out(operation).await);
                if mocked != real {
                    differs = Some(format!("{operation:?}: {mocked:?}, and in truth {real:?}"));
                    break;
                }
            }
            let took = started.elapsed();
            let (mocked, real) = (mocked_ears.heard(&mocked.behind).await, real_ears.heard(&real.behind).await);
            if mocked != real {
                differs.get_or_insert_with(|| format!("woken were {mocked:?}, and in truth {real:?}"));
            }
            match differs {
                None => Ok(()),
                // How long a notified waiter is waited for depends on two clocks.
                Some(_) if took >= WOKEN_FOR => Err(TestCaseError::reject("it took too long to be compared")),
                Some(how) => Err(TestCaseError::fail(how)),
            }
        })
    });
    drop(ears);
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
