//! Locks are released whatever happens to the caller: cancelled calls, dropped locks, runtimes that end.

use std::{future::Future, pin::pin, task::Poll, time::Duration};

use redlock_core::{
    AcquireError, ExtendError, LockNode, NodeError, Redlock, ReleaseError, Retry,
    backend::{AcquireAnswer, AcquireRequest, ExtendAnswer, ExtendRequest, ReleaseAnswer, ReleaseRequest, Timed},
};
use redlock_mock::{Fault, MockNode};

use crate::support::{builder, drop_after, keys};

const TTL: Duration = Duration::from_secs(10);

fn redlock(nodes: &[MockNode]) -> Redlock {
    builder(nodes).retry(Retry::attempts(3).jitter(Duration::ZERO)).build().unwrap()
}

fn slow_fleet(nodes: usize) -> Vec<MockNode> {
    let latency = |(i, node): (usize, MockNode)| node.with_latency(Duration::from_millis(i as u64 * 3));
    MockNode::fleet(nodes).into_iter().enumerate().map(latency).collect()
}

#[tokio::test(start_paused = true)]
async fn an_acquire_dropped_at_any_poll_leaves_no_key() {
    let faults: [fn(&[MockNode]); 6] = [
        |_| {},
        |nodes| nodes[0].inject(Fault::Refuse),
        |nodes| nodes[1].inject(Fault::LoseAnswer),
        |nodes| nodes[0].inject(Fault::DelayRequest(Duration::from_millis(700))),
        |nodes| nodes[2].inject(Fault::DelayAnswer(Duration::from_millis(700))),
        |nodes| nodes[..2].iter().for_each(|node| node.set("r", "another", Some(Duration::from_millis(300)))),
    ];
    for (number, fault) in faults.iter().enumerate() {
        let mut dropped = 0;
        for polls in 0.. {
            let nodes = slow_fleet(3);
            fault(&nodes);
            let redlock = redlock(&nodes);
            let acquired = drop_after(polls, redlock.acquire("r", TTL)).await;
            redlock.close().await.unwrap();
            if let Some(lock) = acquired {
                let lock = lock.unwrap();
                assert!(lock.check().is_ok());
                drop(lock);
                break;
            }
            dropped += 1;
            tokio::time::sleep(Duration::from_secs(2)).await;
            assert_eq!(keys(&nodes), [""; 0], "fault {number}, dropped after {polls} polls");
        }
        assert!(dropped >= 2, "the loop above must have dropped before and within the round");
    }
}

#[tokio::test(start_paused = true)]
async fn a_release_dropped_at_any_poll_leaves_no_key() {
    for polls in 0.. {
        let nodes = slow_fleet(5);
        let redlock = redlock(&nodes);
        let lock = redlock.acquire("r", TTL).await.unwrap();
        let released = drop_after(polls, lock.release()).await;
        redlock.close().await.unwrap();
        assert_eq!(keys(&nodes), [""; 0], "dropped after {polls} polls");
        if released.is_some() {
            assert!(polls >= 2);
            break;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_extend_dropped_at_any_poll_neither_loses_nor_outlives_the_lock() {
    for polls in 0.. {
        let nodes = slow_fleet(3);
        let redlock = redlock(&nodes);
        let mut lock = redlock.acquire("r", TTL).await.unwrap();
        nodes[1].remove("r");
        let extended = drop_after(polls, lock.extend(2 * TTL)).await;
        assert!(lock.check().is_ok());
        assert_eq!(lock.validity() > TTL, extended.is_some());
        // The release overtakes no extend that is still in flight, and no extend is sent after it.
        drop(lock);
        redlock.close().await.unwrap();
        assert_eq!(keys(&nodes), [""; 0], "dropped after {polls} polls");
        if let Some(extended) = extended {
            extended.unwrap();
            assert!(polls >= 2);
            break;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_lock_is_also_released_on_nodes_that_answered_late_or_not_at_all() {
    let nodes = MockNode::fleet(5);
    nodes[0].inject(Fault::LoseAnswer);
    nodes[1].inject(Fault::DelayRequest(Duration::from_millis(800)));
    let redlock = redlock(&nodes);
    drop(redlock.acquire("r", TTL).await.unwrap());
    redlock.close().await.unwrap();
    assert_eq!(keys(&nodes), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_hung_node_carries_out_its_release_once_it_resumes() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    nodes[2].hang();
    drop(redlock.acquire("r", TTL).await.unwrap());
    redlock.close().await.unwrap_err();
    nodes[2].resume();
    // The acquire and the release both waited in the hung node, in this order.
    assert_eq!(keys(&nodes), [""; 0]);
    redlock.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_lost_round_releases_what_it_acquired_before_the_next_round() {
    let nodes = MockNode::fleet(3);
    nodes[0].set("r", "another", None);
    nodes[1].set("r", "another", None);
    let redlock = redlock(&nodes);
    let call = tokio::spawn(async move { redlock.acquire("r", TTL).await });
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert!(!call.is_finished(), "it waits for its second round");
    assert_eq!(
        (nodes[2].requests(), nodes[2].peek("r")),
        (2, None),
        "an acquire and a release; once subscribed, it sends requests only to the node in whose queue it waits"
    );
    let error = call.await.unwrap().unwrap_err();
    assert!(matches!(error, AcquireError::Contended(_)));
}

#[test]
fn without_a_runtime_acquire_is_an_error() {
    let redlock = Redlock::new(MockNode::fleet(3)).unwrap();
    let acquired = futures_block_on(redlock.acquire("r", TTL));
    assert!(matches!(acquired, Err(AcquireError::NoRuntime)));
}

#[test]
fn a_lock_dropped_outside_its_runtime_is_released_on_it() {
    let nodes = MockNode::fleet(3);
    let redlock = Redlock::new(nodes.clone()).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let lock = runtime.block_on(redlock.acquire("r", TTL)).unwrap();
    std::thread::spawn(move || drop(lock)).join().unwrap();
    runtime.block_on(redlock.close()).unwrap();
    assert_eq!(keys(&nodes), [""; 0]);
}

#[test]
fn outside_any_runtime_calls_are_errors_and_the_lock_is_still_released() {
    let nodes = MockNode::fleet(3);
    let redlock = Redlock::new(nodes.clone()).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut lock = runtime.block_on(redlock.acquire("r", TTL)).unwrap();
    assert!(matches!(futures_block_on(lock.extend(TTL)), Err(ExtendError::NoRuntime)));
    assert!(lock.check().is_ok());
    assert!(matches!(futures_block_on(lock.release()), Err(ReleaseError::NoRuntime)));
    runtime.block_on(redlock.close()).unwrap();
    assert_eq!(keys(&nodes), [""; 0]);
    assert_eq!(futures_block_on(redlock.close()), Ok(()));
}

#[test]
fn a_lock_can_be_used_on_another_runtime() {
    let nodes = MockNode::fleet(3);
    nodes[0].hang();
    let redlock = Redlock::new(nodes.clone()).unwrap();
    let (first, second) = (tokio::runtime::Runtime::new().unwrap(), tokio::runtime::Runtime::new().unwrap());
    let mut lock = first.block_on(redlock.acquire("r", TTL)).unwrap();
    drop(first);
    second.block_on(lock.extend(TTL)).unwrap();
    // The release takes the whole node timeout: of three nodes, one hangs and one is down.
    nodes[1].stop();
    second.block_on(lock.release()).unwrap_err();
    assert_eq!(nodes[2].peek("r"), None);
}

#[test]
fn late_requests_are_finished_on_the_runtime_of_their_caller() {
    /// Sends nothing before its second poll, like a client whose queue is full.
    #[derive(Debug)]
    struct Busy(MockNode);

    #[async_trait::async_trait]
    impl LockNode for Busy {
        fn name(&self) -> &str {
            self.0.name()
        }

        async fn acquire(&self, request: &AcquireRequest) -> Result<Timed<AcquireAnswer>, NodeError> {
            self.0.acquire(request).await
        }

        async fn extend(&self, request: &ExtendRequest) -> Result<Timed<ExtendAnswer>, NodeError> {
            self.0.extend(request).await
        }

        async fn release(&self, request: &ReleaseRequest) -> Result<ReleaseAnswer, NodeError> {
            tokio::task::yield_now().await;
            self.0.release(request).await
        }
    }

    let nodes = MockNode::fleet(3);
    let builder = Redlock::builder().node(Busy(nodes[0].clone())).nodes(nodes[1..].to_vec());
    let redlock = builder.build().unwrap();
    let (first, second) = (tokio::runtime::Runtime::new().unwrap(), tokio::runtime::Runtime::new().unwrap());
    let lock = first.block_on(redlock.acquire("r", TTL)).unwrap();
    drop(first);
    let _ = second.block_on(lock.release()).unwrap();
    second.block_on(redlock.close()).unwrap();
    assert_eq!(keys(&nodes), [""; 0]);
}

#[test]
fn a_runtime_without_timers_causes_a_panic_that_can_be_caught() {
    let nodes = MockNode::fleet(3);
    let redlock = Redlock::new(nodes.clone()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let call = std::panic::AssertUnwindSafe(|| runtime.block_on(redlock.acquire("r", TTL)));
    std::panic::catch_unwind(call).unwrap_err();
    assert_eq!(keys(&nodes), [""; 0]);
}

#[test]
fn a_release_on_a_runtime_without_timers_still_releases_the_lock() {
    let nodes = MockNode::fleet(3);
    let redlock = Redlock::new(nodes.clone()).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let lock = runtime.block_on(redlock.acquire("r", TTL)).unwrap();
    let timeless = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let call = std::panic::AssertUnwindSafe(|| timeless.block_on(lock.release()));
    std::panic::catch_unwind(call).unwrap_err();
    runtime.block_on(redlock.close()).unwrap();
    assert_eq!(keys(&nodes), [""; 0]);
}

#[test]
fn a_lock_in_a_thread_local_is_dropped_without_panic() {
    thread_local! { static KEPT: std::cell::RefCell<Option<redlock_core::Lock>> = const { std::cell::RefCell::new(None) } }
    let nodes = MockNode::fleet(3);
    let redlock = Redlock::new(nodes.clone()).unwrap();
    let runtime = std::sync::Arc::new(tokio::runtime::Runtime::new().unwrap());
    let (on_thread, of_thread) = (runtime.clone(), redlock.clone());
    let thread = std::thread::spawn(move || {
        KEPT.with(|kept| *kept.borrow_mut() = Some(on_thread.block_on(of_thread.acquire("r", TTL)).unwrap()));
    });
    thread.join().unwrap();
    runtime.block_on(redlock.close()).unwrap();
    assert_eq!(keys(&nodes), [""; 0]);
}

#[test]
fn a_lock_that_outlives_its_runtime_is_dropped_without_panic() {
    let nodes = MockNode::fleet(3);
    let redlock = Redlock::new(nodes.clone()).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let lock = runtime.block_on(redlock.acquire("r", TTL)).unwrap();
    drop(runtime);
    drop(lock);
    // No runtime was left to release the lock. The next acquire on any runtime releases it.
    assert_eq!(nodes[0].resources(), ["r"]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let _ = redlock.acquire("another", TTL).await.unwrap().release().await.unwrap();
        redlock.close().await.unwrap();
    });
    assert_eq!(keys(&nodes), [""; 0]);
}

#[test]
fn a_runtime_may_end_with_requests_in_flight() {
    let nodes: Vec<_> = MockNode::fleet(3).into_iter().map(|node| node.with_latency(Duration::from_secs(9))).collect();
    nodes[0].inject(Fault::LoseRequest);
    let redlock = Redlock::new(nodes).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let task = redlock.clone();
    runtime.spawn(async move { task.acquire("r", TTL).await });
    runtime.block_on(tokio::task::yield_now());
    drop(runtime);
    // The acquires may still reach the nodes, so releases are owed to them, and they are too slow to answer in time.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(redlock.close()).unwrap_err();
}

/// Polls a future on this thread, outside any runtime.
fn futures_block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);

    impl std::task::Wake for Unpark {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.unpark();
        }
    }

    let waker = std::sync::Arc::new(Unpark(std::thread::current())).into();
    let mut cx = std::task::Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut cx) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}
