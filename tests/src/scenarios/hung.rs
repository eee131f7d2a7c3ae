//! Nodes that accept every request and answer none.

use std::time::Duration;

use redlock_core::{AcquireOptions, Redlock, Release};
use tokio::time::{Instant, sleep};

use crate::lab::{Lab, eventually};

const TTL: Duration = Duration::from_secs(60);

pub(super) async fn a_hung_minority_is_not_waited_for(lab: &Lab) {
    // A call that waited for a hung node would take 20 seconds here, because the client does not give up before.
    let nodes = lab.patient_nodes(5, Duration::from_secs(30));
    let redlock = lab.builder(0).nodes(nodes).node_timeout(Duration::from_secs(20)).build().unwrap();
    lab.hang(1).await;
    lab.hang(4).await;
    let work = async {
        let mut lock = redlock.try_acquire("r", TTL).await.unwrap().unwrap();
        lock.extend(TTL).await.unwrap();
        lock.release().await.unwrap()
    };
    assert_eq!(tokio::time::timeout(Duration::from_secs(10), work).await.unwrap(), Release::Released);
    lab.mend(1).await;
    lab.mend(4).await;
    redlock.close().await.unwrap();
}

pub(super) async fn a_node_that_hung_receives_its_release(lab: &Lab) {
    let redlock = lab.redlock(3);
    // The node is connected before it hangs, so that the request reaches the server.
    let _ = redlock.acquire("before", TTL).await.unwrap().release().await.unwrap();
    redlock.close().await.unwrap();
    lab.hang(2).await;
    let _ = redlock.acquire("r", TTL).await.unwrap().release().await.unwrap();
    lab.mend(2).await;
    assert!(eventually(async || lab.value(2, "r").await.is_none()).await, "the key remains for a whole TTL");
}

pub(super) async fn a_node_that_hung_is_used_again(lab: &Lab) {
    let redlock = lab.redlock(3);
    lab.hang(0).await;
    for _ in 0..100 {
        let _ = redlock.acquire("r", TTL).await.unwrap().release().await.unwrap();
    }
    lab.mend(0).await;
    lab.stop(1).await;
    // Without the node that hung, there is no quorum now.
    let used = eventually(async || match redlock.try_acquire("r", TTL).await {
        Ok(Some(lock)) => lock.release().await.is_ok(),
        Ok(None) | Err(_) => false,
    });
    assert!(used.await);
    lab.close(&redlock).await;
}

/// Longer than a client takes to abandon a connection without answers.
const HANG: Duration = Duration::from_secs(4);

/// Acquires and releases the lock until the end of `during`, and counts the successes.
async fn acquisitions(redlock: &Redlock, during: Duration) -> usize {
    let start = Instant::now();
    let mut acquired = 0;
    while start.elapsed() < during {
        let options = AcquireOptions::new(TTL).timeout(Duration::from_secs(1));
        if let Ok(lock) = redlock.acquire("r", options).await {
            acquired += usize::from(lock.release().await.is_ok());
        }
        sleep(Duration::from_millis(50)).await;
    }
    acquired
}

pub(super) async fn nodes_that_hang_one_after_the_other_never_cost_the_quorum(lab: &Lab) {
    let redlock = lab.redlock(3);
    let _ = redlock.acquire("r", TTL).await.unwrap().release().await.unwrap();
    for node in [0, 1, 2] {
        lab.hang(node).await;
        assert!(acquisitions(&redlock, HANG).await > 5, "while node {node} hangs");
        lab.mend(node).await;
        // The node answers again, and has a second to carry out its requests.
        acquisitions(&redlock, Duration::from_secs(1)).await;
    }
    lab.until_held_by(0, "r").await;
    redlock.close().await.unwrap();
}

pub(super) async fn requests_in_the_socket_of_a_hung_node_are_released_again(lab: &Lab) {
    let redlock = lab.redlock(3);
    let _ = redlock.acquire("before", TTL).await.unwrap().release().await.unwrap();
    redlock.close().await.unwrap();
    lab.hang(0).await;
    lab.hang(1).await;
    // The connections are silent from here on, and are abandoned while the next request is in their sockets.
    redlock.try_acquire("first", TTL).await.unwrap_err();
    sleep(Duration::from_millis(1_100)).await;
    redlock.try_acquire("r", TTL).await.unwrap_err();
    sleep(Duration::from_millis(2_500)).await;
    lab.mend(0).await;
    lab.mend(1).await;
    let start = Instant::now();
    for name in ["first", "r"] {
        lab.until_held_by(0, name).await;
    }
    assert!(start.elapsed() < TTL / 4, "{:?}", start.elapsed());
    // It stays so: nothing from the old connections arrives after that.
    sleep(Duration::from_secs(1)).await;
    assert_eq!(lab.holding("r").await + lab.holding("first").await, 0);
    redlock.close().await.unwrap();
}
