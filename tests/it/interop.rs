//! Locks exclude each other across libraries, because the key is a plain string key that holds the token, as
//! everywhere.

use std::time::Duration;

use redlock_core::{Redlock, Release};
use redlock_tests::servers::{Server, ServerOptions, Servers};

const TTL: Duration = Duration::from_secs(30);

/// Starts three servers, and opens a `Redlock` per Redis client over them.
async fn fleet() -> (Vec<Server>, [Redlock; 2]) {
    let servers = Servers::from_env().await.unwrap();
    let servers = servers.start(3, &ServerOptions::new()).await.unwrap();
    let ours = [
        Redlock::new(redlock_redis_rs::RedisNode::open_all(servers.iter().map(Server::url)).unwrap()).unwrap(),
        Redlock::new(redlock_fred::RedisNode::open_all(servers.iter().map(Server::url)).unwrap()).unwrap(),
    ];
    (servers, ours)
}

fn urls(servers: &[Server]) -> Vec<String> {
    servers.iter().map(Server::url).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn our_two_clients_exclude_each_other() {
    let (_servers, [redis_rs, fred]) = fleet().await;
    for (ours, theirs) in [(&redis_rs, &fred), (&fred, &redis_rs)] {
        let lock = ours.acquire("r", TTL).await.unwrap();
        assert!(theirs.try_acquire("r", TTL).await.unwrap().is_none());
        assert_eq!(lock.release().await.unwrap(), Release::Released);
        ours.close().await.unwrap();
        theirs.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rslock_and_this_library_exclude_each_other() {
    let (servers, ours) = fleet().await;
    let mut theirs = rslock::LockManager::new(urls(&servers));
    theirs.set_retry(1, Duration::ZERO);
    for ours in &ours {
        let lock = ours.acquire("r", TTL).await.unwrap();
        ours.close().await.unwrap();
        assert!(theirs.lock("r", TTL).await.is_err());
        assert_eq!(lock.release().await.unwrap(), Release::Released);
        ours.close().await.unwrap();

        let lock = theirs.lock("r", TTL).await.unwrap();
        assert!(ours.try_acquire("r", TTL).await.unwrap().is_none());
        ours.close().await.unwrap();
        theirs.unlock(&lock).await;
        assert_eq!(ours.acquire("r", TTL).await.unwrap().release().await.unwrap(), Release::Released);
        ours.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn redlock_of_crates_io_and_this_library_exclude_each_other() {
    const MILLIS: usize = 30_000;
    let (servers, ours) = fleet().await;
    let urls = urls(&servers);
    let theirs = redlock_crates_io::RedLock::new(urls.iter().map(String::as_str).collect());
    for ours in &ours {
        let lock = ours.acquire("r", TTL).await.unwrap();
        ours.close().await.unwrap();
        // The call blocks its thread, and retries on its own for less than a second.
        assert!(tokio::task::block_in_place(|| theirs.lock(b"r", MILLIS)).unwrap().is_none());
        assert_eq!(lock.release().await.unwrap(), Release::Released);
        ours.close().await.unwrap();

        let lock = tokio::task::block_in_place(|| theirs.lock(b"r", MILLIS)).unwrap().unwrap();
        assert!(ours.try_acquire("r", TTL).await.unwrap().is_none());
        ours.close().await.unwrap();
        tokio::task::block_in_place(|| theirs.unlock(&lock));
        assert_eq!(ours.acquire("r", TTL).await.unwrap().release().await.unwrap(), Release::Released);
        ours.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_set_nx_px_and_this_library_exclude_each_other() {
    let (servers, ours) = fleet().await;
    for ours in &ours {
        let set = ["SET", "r", "plain", "NX", "PX", "30000"];
        let lock = ours.acquire("r", TTL).await.unwrap();
        ours.close().await.unwrap();
        for server in &servers {
            assert!(server.command(&set).await.unwrap().is_nil());
        }
        assert_eq!(lock.release().await.unwrap(), Release::Released);
        ours.close().await.unwrap();

        for server in &servers {
            assert_eq!(server.command(&set).await.unwrap().text().as_deref(), Some("OK"));
        }
        assert!(ours.try_acquire("r", TTL).await.unwrap().is_none());
        ours.close().await.unwrap();
        for server in &servers {
            assert_eq!(server.command(&["GET", "r"]).await.unwrap().text().as_deref(), Some("plain"));
            server.command(&["DEL", "r"]).await.unwrap();
        }
    }
}

/// Acquires two shared locks, and waits until no request is in flight.
async fn readers(ours: &Redlock) -> [redlock_core::Lock; 2] {
    let readers = [ours.acquire_shared("r", TTL).await.unwrap(), ours.acquire_shared("r", TTL).await.unwrap()];
    ours.close().await.unwrap();
    readers
}

#[tokio::test(flavor = "multi_thread")]
async fn others_are_refused_while_readers_hold_and_readers_while_others_hold() {
    const MILLIS: usize = 30_000;
    let (servers, ours) = fleet().await;
    let all = urls(&servers);
    let mut rslock = rslock::LockManager::new(all.clone());
    rslock.set_retry(1, Duration::ZERO);
    let redlock = redlock_crates_io::RedLock::new(all.iter().map(String::as_str).collect());
    let set = ["SET", "r", "plain", "NX", "PX", "30000"];
    for ours in &ours {
        let readers = readers(ours).await;
        assert!(rslock.lock("r", TTL).await.is_err());
        assert!(tokio::task::block_in_place(|| redlock.lock(b"r", MILLIS)).unwrap().is_none());
        for server in &servers {
            assert!(server.command(&set).await.unwrap().is_nil());
        }
        for reader in readers {
            assert_eq!(reader.release().await.unwrap(), Release::Released);
        }
        ours.close().await.unwrap();

        let theirs = rslock.lock("r", TTL).await.unwrap();
        assert!(ours.try_acquire_shared("r", TTL).await.unwrap().is_none());
        rslock.unlock(&theirs).await;
        let theirs = tokio::task::block_in_place(|| redlock.lock(b"r", MILLIS)).unwrap().unwrap();
        assert!(ours.try_acquire_shared("r", TTL).await.unwrap().is_none());
        tokio::task::block_in_place(|| redlock.unlock(&theirs));
        for server in &servers {
            assert_eq!(server.command(&set).await.unwrap().text().as_deref(), Some("OK"));
        }
        assert!(ours.try_acquire_shared("r", TTL).await.unwrap().is_none());
        ours.close().await.unwrap();
        for server in &servers {
            server.command(&["DEL", "r"]).await.unwrap();
        }
    }
}
