//! Looks up the addresses of a host for redis-rs.

use std::net::SocketAddr;

use redis::{RedisFuture, io::AsyncDNSResolver};
use redlock_core::backend::resolve;

/// Looks up addresses on a thread that no runtime waits for.
pub(crate) struct Resolver;

impl AsyncDNSResolver for Resolver {
    fn resolve<'a, 'b: 'a>(
        &'a self,
        host: &'b str,
        port: u16,
    ) -> RedisFuture<'a, Box<dyn Iterator<Item = SocketAddr> + Send + 'a>> {
        Box::pin(async move {
            let addresses: Box<dyn Iterator<Item = SocketAddr> + Send> =
                Box::new(resolve(host, port).await?.into_iter());
            Ok(addresses)
        })
    }
}
