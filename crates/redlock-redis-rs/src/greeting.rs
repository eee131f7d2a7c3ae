//! What a server says to a client that it does not want, before it closes the connection.

use redis::{Client, ConnectionAddr, RedisError};
use redlock_core::backend::resolve;
use tokio::{io::AsyncReadExt as _, net::TcpStream};

/// More than any such message has.
const LONGEST: u64 = 2048;

/// The error with which the server closes a new connection, if it closed the last one and says why.
///
/// A server with too many clients, or in protected mode, answers before it is asked. redis-rs takes that for the answer to
/// a request that may fail, and reports only that the connection broke.
pub(crate) async fn greeting(client: &Client, error: &RedisError) -> Option<String> {
    let ConnectionAddr::Tcp(host, port) = client.get_connection_info().addr() else { return None };
    if !error.is_connection_dropped() {
        return None;
    }
    let mut said = Vec::new();
    let addresses = resolve(host, *port).await.ok()?;
    let stream = TcpStream::connect(addresses.as_slice()).await.ok()?;
    stream.take(LONGEST).read_to_end(&mut said).await.ok()?;
    let said = String::from_utf8_lossy(&said);
    Some(said.strip_prefix('-')?.lines().next()?.to_owned())
}
