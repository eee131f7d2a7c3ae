//! The lock for code without async, against real servers, through both clients.

use std::{thread, time::Duration};

use redlock_core::{AcquireOptions, AutoExtend, Release, UsingError, blocking::Redlock};
use redlock_tests::servers::{Server, ServerOptions, Servers};

/// Long enough that an extend survives a stall of one second.
const TTL: Duration = Duration::from_secs(4);

/// Works on a separate thread, while this runtime supervises the servers.
async fn locks_without_async(ours: [Redlock; 2]) {
    tokio::task::spawn_blocking(move || thread::spawn(move || work(ours)).join().unwrap()).await.unwrap();
}

fn work([ours, theirs]: [Redlock; 2]) {
    let kept = AcquireOptions::new(TTL).auto_extend(AutoExtend::default());
    let lock = ours.acquire(["a", "b"], kept).unwrap();
    // The worker extends it between the calls.
    thread::sleep(2 * TTL);
    lock.check().unwrap();
    assert!(theirs.try_acquire("b", TTL).unwrap().is_none());
    assert!(theirs.is_locked("a").unwrap());
    let lock = theirs.resume(lock.into_parts().unwrap()).unwrap();
    assert_eq!(lock.release().unwrap(), Release::Released);
    assert_eq!(ours.using("a", TTL, |lock| Ok::<_, UsingError>(lock.resource().to_owned())).unwrap(), "a");
    let named = theirs.named();
    named.lock("a", TTL).unwrap();
    assert_eq!(named.unlock("a").unwrap(), Release::Released);
    ours.close().unwrap();
    theirs.close().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn code_without_async_locks_through_both_clients() {
    let servers = Servers::from_env().await.unwrap().start(3, &ServerOptions::new()).await.unwrap();
    let urls = || servers.iter().map(Server::url);
    // This test does not depend on how soon a node answers.
    let builder = || redlock_core::Redlock::builder().node_timeout(Duration::from_millis(900));
    let redis_rs = builder().nodes(redlock_redis_rs::RedisNode::open_all(urls()).unwrap());
    let fred = builder().nodes(redlock_fred::RedisNode::open_all(urls()).unwrap());
    let [redis_rs, fred] = [redis_rs, fred].map(|builder| Redlock::try_from(builder.build().unwrap()).unwrap());
    locks_without_async([redis_rs.clone(), fred.clone()]).await;
    locks_without_async([fred, redis_rs]).await;
}
