//! Chooses the address of a host that fred connects to: fred tries only the first one, and waits for it.

use std::{io, net::SocketAddr, time::Duration};

use fred::types::config::{Config, Server, ServerConfig};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use redlock_core::backend::resolve;
use tokio::{net::TcpStream, select, time::sleep};

/// How long to wait for an address before the next one is tried too, as RFC 8305 recommends.
const NEXT_AFTER: Duration = Duration::from_millis(250);

/// Replaces the host of a single server with the address that answers first. TLS still checks the host's name.
pub(crate) async fn choose_address(config: &mut ServerConfig) -> io::Result<()> {
    let ServerConfig::Centralized { server } = config else { return Ok(()) };
    let addresses = resolve(&server.host, server.port).await?;
    let connect = async |address| TcpStream::connect(address).await.map(drop);
    let Some(address) = first_that_connects(&addresses, connect).await else { return Ok(()) };
    *server = at(server, address);
    Ok(())
}

#[cfg(feature = "tls")]
pub(crate) fn is_tls(config: &Config) -> bool {
    config.tls.is_some()
}

#[cfg(not(feature = "tls"))]
pub(crate) fn is_tls(_: &Config) -> bool {
    false
}

fn at(server: &Server, address: SocketAddr) -> Server {
    let mut chosen = server.clone();
    #[cfg(feature = "tls")]
    chosen.tls_server_name.get_or_insert_with(|| server.host.clone());
    chosen.host = match address {
        SocketAddr::V6(address) if address.scope_id() != 0 => format!("{}%{}", address.ip(), address.scope_id()).into(),
        _ => address.ip().to_string().into(),
    };
    chosen
}

/// Returns the first address that accepts a connection, or the first one in the list if none does or there is only one.
async fn first_that_connects<F>(addresses: &[SocketAddr], connect: impl Fn(SocketAddr) -> F) -> Option<SocketAddr>
where
    F: Future<Output = io::Result<()>>,
{
    let first = addresses.first().copied();
    if addresses.len() < 2 {
        return first;
    }
    let (mut waiting, mut connecting) = (addresses.iter().copied().peekable(), FuturesUnordered::new());
    loop {
        if let Some(address) = waiting.next() {
            let connecting_to = connect(address);
            connecting.push(async move { connecting_to.await.map(|()| address) });
        }
        select! {
            connected = connecting.next() => match connected {
                Some(Ok(address)) => return Some(address),
                Some(Err(_)) => {}
                // fred reports why there is no connection.
                None => return first,
            },
            () = sleep(NEXT_AFTER), if waiting.peek().is_some() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::pending, net::SocketAddrV6};

    use tokio::time::Instant;

    use super::*;

    fn addresses<const N: usize>() -> Vec<SocketAddr> {
        (1..=N as u16).map(|port| SocketAddr::from(([127, 0, 0, 1], port))).collect()
    }

    /// Returns which address is chosen, and after how many milliseconds, if the addresses with these ports fail or
    /// hang.
    async fn chosen(fails: &[u16], hangs: &[u16]) -> (Option<u16>, u128) {
        let start = Instant::now();
        let connect = async |address: SocketAddr| {
            if hangs.contains(&address.port()) {
                pending::<()>().await;
            }
            if fails.contains(&address.port()) { Err(io::ErrorKind::ConnectionRefused.into()) } else { Ok(()) }
        };
        let address = first_that_connects(&addresses::<3>(), connect).await;
        (address.map(|address| address.port()), start.elapsed().as_millis())
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_address_is_tried_after_a_short_wait_for_a_dead_one() {
        assert_eq!(chosen(&[], &[]).await, (Some(1), 0));
        assert_eq!(chosen(&[], &[1]).await, (Some(2), 250));
        assert_eq!(chosen(&[], &[1, 2]).await, (Some(3), 500));
        assert_eq!(chosen(&[1], &[]).await, (Some(2), 0));
        assert_eq!(chosen(&[1], &[2]).await, (Some(3), 250));
        assert_eq!(chosen(&[1, 2, 3], &[]).await, (Some(1), 0), "fred reports the reason");
    }

    #[tokio::test]
    async fn a_single_address_is_not_tried_twice() {
        let connect = async |_| panic!("fred connects");
        assert_eq!(first_that_connects(&addresses::<1>(), connect).await, Some(addresses::<1>()[0]));
        assert_eq!(first_that_connects(&[], connect).await, None);
    }

    #[test]
    fn an_address_keeps_its_scope() {
        let address = SocketAddr::from(SocketAddrV6::new("fe80::1".parse().unwrap(), 7, 0, 2));
        assert_eq!(at(&Server::new("a", 7), address).host, "fe80::1%2");
    }

    #[tokio::test]
    async fn a_host_becomes_an_address_and_stays_the_name_that_tls_checks() {
        let mut config = ServerConfig::new_centralized("localhost", 7);
        choose_address(&mut config).await.unwrap();
        let ServerConfig::Centralized { server } = config else { panic!() };
        assert!(server.host.parse::<std::net::IpAddr>().is_ok() && server.port == 7, "{server:?}");
        #[cfg(feature = "tls")]
        assert_eq!(server.tls_server_name.as_deref(), Some("localhost"));
        let mut sentinels = ServerConfig::new_sentinel(vec![("no-such-host.invalid", 1)], "s");
        choose_address(&mut sentinels).await.unwrap();
    }
}
