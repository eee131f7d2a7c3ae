//! Reads the error that a server sends to an unwanted client before it closes the connection.

use std::time::Duration;

use redis::{Client, ConnectionAddr, RedisError};
use redlock_core::backend::resolve;
use tokio::{io::AsyncReadExt as _, net::TcpStream, time::timeout};

/// More bytes than any such message has.
const LONGEST: u64 = 2048;

/// How long to wait for the message. The connection may also have been closed by a proxy that sends nothing to a new
/// one.
const WITHIN: Duration = Duration::from_millis(100);

/// Returns the error with which the server closes a new connection, if it closed the last one and gives a reason.
///
/// A server with too many clients, or in protected mode, answers before it gets a request. redis-rs takes that for the
/// answer to a request that may fail, and reports only that the connection broke.
pub(crate) async fn greeting(client: &Client, error: &RedisError) -> Option<String> {
    let ConnectionAddr::Tcp(host, port) = client.get_connection_info().addr() else { return None };
    if !error.is_connection_dropped() || error.is_connection_refusal() {
        return None;
    }
    timeout(WITHIN, said_by(host, *port)).await.ok()?
}

/// Returns the error with which a server answers a connection over which nothing was sent.
async fn said_by(host: &str, port: u16) -> Option<String> {
    let mut said = Vec::new();
    let addresses = resolve(host, port).await.ok()?;
    let stream = TcpStream::connect(addresses.as_slice()).await.ok()?;
    stream.take(LONGEST).read_to_end(&mut said).await.ok()?;
    let said = String::from_utf8_lossy(&said);
    Some(said.strip_prefix('-')?.lines().next()?.to_owned())
}

#[cfg(test)]
mod tests {
    use std::io;

    use redlock_core::{LockNode as _, NodeErrorKind, Resource, backend::InspectRequest};
    use tokio::{io::AsyncWriteExt as _, net::TcpListener};

    use super::*;
    use crate::RedisNode;

    #[tokio::test]
    async fn a_silent_proxy_that_closes_connections_does_not_delay_the_error() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let node = RedisNode::open(format!("redis://{}?connect_timeout=1m", listener.local_addr().unwrap())).unwrap();
        let proxy = tokio::spawn(async move {
            drop(listener.accept().await);
            let (_silent, _) = listener.accept().await.unwrap();
            std::future::pending::<()>().await;
        });
        let request = InspectRequest::new(Resource::new("r").unwrap());
        let error = node.inspect(&request).await.unwrap_err();
        assert_eq!(error.kind(), NodeErrorKind::Unreachable, "{error:?}");
        proxy.abort();
    }

    #[tokio::test]
    async fn only_a_closed_connection_has_a_reason() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = Client::open(format!("redis://{}", listener.local_addr().unwrap())).unwrap();
        let server = tokio::spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                let _ = connection.write_all(b"-ERR max number of clients reached\r\n").await;
            }
        });
        let reason = async |kind: io::ErrorKind| greeting(&client, &io::Error::from(kind).into()).await;
        for kind in [io::ErrorKind::ConnectionRefused, io::ErrorKind::TimedOut] {
            assert_eq!(reason(kind).await, None, "{kind}");
        }
        // On a busy machine, the first attempts may take too long.
        for _ in 0..100 {
            if let Some(reason) = reason(io::ErrorKind::UnexpectedEof).await {
                assert_eq!(reason, "ERR max number of clients reached");
                server.abort();
                return;
            }
        }
        panic!("no reason");
    }
}
