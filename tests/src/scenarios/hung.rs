//! Nodes that accept everything and answer nothing.

use std::time::Duration;

use redlock_core::Release;

use crate::lab::{Lab, eventually};

const TTL: Duration = Duration::from_secs(60);

pub(super) async fn a_hung_minority_is_not_waited_for(lab: &Lab) {
    // Whoever waits for a hung node here waits for 20 seconds: the client does not give up before.
    let nodes = lab.patient_nodes(5, Duration::from_secs(30));
    let redlock = lab.builder(0).nodes(nodes).node_timeout(Duration::from_secs(20)).build().unwrap();
    lab.hang(1).await;
    lab.hang(4).await;
    let work = async {
        let mut lock = redlock.try_acquire("r", TTL).await.unwrap();
        lock.extend(TTL).await.unwrap();
        lock.release().await.unwrap()
    };
    assert_eq!(tokio::time::timeout(Duration::from_secs(10), work).await.unwrap(), Release::Released);
    lab.mend(1).await;
    lab.mend(4).await;
    redlock.close().await.unwrap();
}

pub(super) async fn a_node_that_hung_is_given_its_release(lab: &Lab) {
    let redlock = lab.redlock(3);
    // Connected before it hangs: the request gets as far as the server.
    redlock.acquire("before", TTL).await.unwrap().release().await.unwrap();
    redlock.close().await.unwrap();
    lab.hang(2).await;
    redlock.acquire("r", TTL).await.unwrap().release().await.unwrap();
    redlock.close().await.unwrap();
    lab.mend(2).await;
    assert!(eventually(async || lab.value(2, "r").await.is_none()).await, "the key is left for a whole ttl");
}

pub(super) async fn a_node_that_hung_is_used_again(lab: &Lab) {
    let redlock = lab.redlock(3);
    lab.hang(0).await;
    for _ in 0..100 {
        redlock.acquire("r", TTL).await.unwrap().release().await.unwrap();
    }
    redlock.close().await.unwrap();
    lab.mend(0).await;
    lab.stop(1).await;
    // Without the node that hung there is no quorum now.
    let used = eventually(async || match redlock.try_acquire("r", TTL).await {
        Ok(lock) => lock.release().await.is_ok(),
        Err(_) => false,
    });
    assert!(used.await);
    redlock.close().await.unwrap();
}
