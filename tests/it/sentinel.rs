//! A node behind Redis Sentinel follows a failover.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use redlock_core::{Redlock, Release};
use redlock_redis_rs::{
    RedisNode,
    redis::sentinel::{SentinelClient, SentinelServerType},
};
use redlock_tests::{
    lab::eventually,
    servers::{ServerOptions, Servers},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

const TTL: Duration = Duration::from_secs(30);

/// Starts a simulated sentinel that names the server on this port as the primary.
async fn sentinel(primary: Arc<AtomicU16>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let primary = Arc::clone(&primary);
            tokio::spawn(async move {
                let mut request = [0; 4096];
                while let Ok(read @ 1..) = client.read(&mut request).await {
                    let text = String::from_utf8_lossy(&request[..read]).into_owned();
                    for command in text.split_inclusive("\r\n*") {
                        let answer = match command.to_uppercase() {
                            command if command.contains("MASTERS") => masters(primary.load(Ordering::SeqCst)),
                            command if command.contains("ROLE") => "*2\r\n$8\r\nsentinel\r\n*0\r\n".to_owned(),
                            _ => "+OK\r\n".to_owned(),
                        };
                        client.write_all(answer.as_bytes()).await.unwrap();
                    }
                }
            });
        }
    });
    url
}

/// Starts a sentinel that accepts connections and never answers.
async fn silent() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut connections = Vec::new();
        while let Ok((connection, _)) = listener.accept().await {
            connections.push(connection);
        }
    });
    url
}

fn masters(port: u16) -> String {
    let port = port.to_string();
    let words = ["name", "locks", "ip", "127.0.0.1", "port", &port, "flags", "master"];
    let words: String = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
    format!("*1\r\n*8\r\n{words}")
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_rs_follows_a_failover_behind_sentinels() {
    follows(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_rs_follows_a_failover_even_if_the_first_sentinel_does_not_answer() {
    follows(Some(silent().await)).await;
}

async fn follows(first: Option<String>) {
    let servers = Servers::from_env().await.unwrap().start(2, &ServerOptions::new()).await.unwrap();
    let [before, after] = servers.as_slice() else { panic!("two servers") };
    let primary = Arc::new(AtomicU16::new(before.port()));
    let sentinels: Vec<_> = first.into_iter().chain([sentinel(Arc::clone(&primary)).await]).collect();
    let client = SentinelClient::build(sentinels, "locks", None, SentinelServerType::Master).unwrap();
    let node = RedisNode::new(client).with_name("locks");
    let redlock = Redlock::builder().node(node).node_timeout(Duration::from_secs(5)).build().unwrap();
    let acquired = eventually(async || match redlock.try_acquire("r", TTL).await {
        Ok(Some(lock)) => lock.release().await.is_ok_and(|release| release == Release::Released),
        Ok(None) | Err(_) => false,
    });
    assert!(acquired.await, "the second sentinel is not queried");

    primary.store(after.port(), Ordering::SeqCst);
    before.command(&["REPLICAOF", "127.0.0.1", &after.port().to_string()]).await.unwrap();
    let followed = eventually(async || match redlock.try_acquire("r", TTL).await {
        Ok(Some(lock)) => {
            assert!(after.command(&["GET", "r"]).await.unwrap().text().is_some());
            lock.release().await.is_ok()
        }
        Ok(None) | Err(_) => false,
    });
    assert!(followed.await, "the node still uses the server that is a replica now");
}
