//! What [`RedisNode::new`](crate::RedisNode::new) takes: a client of redis-rs that the user configured.

#[cfg(feature = "sentinel")]
use std::sync::Arc;
use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

#[cfg(feature = "sentinel")]
use redis::sentinel::SentinelClient;
use redis::{
    Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo,
    aio::{ConnectionManager, MultiplexedConnection},
    io::tcp::{TcpSettings, socket2::TcpKeepalive},
};
#[cfg(feature = "cluster")]
use redis::{
    cluster_async::ClusterConnection,
    cluster_routing::{Route, RoutingInfo, SingleNodeRoutingInfo, SlotAddr},
};
use redlock_core::{
    NodeAddress, NodeError, NodeErrorKind, NodeUrl, NodeUrlError, WakeUps,
    backend::{self, Answered, Call, Connection},
};
use tokio::time::timeout;

#[cfg(feature = "sentinel")]
use crate::sentinels::Sentinels;
use crate::{
    connection::{Connector, plain, read, run, words},
    error::node_error,
};

/// A client that the user configured, for TLS, ACLs, unix sockets, Sentinel or a cluster.
///
/// | from | connection |
/// |---|---|
/// | [`redis::Client`] | one of the node's own, as with [`RedisNode::open`](crate::RedisNode::open) |
/// | `redis::sentinel::SentinelClient` (feature `sentinel`) | one of the node's own, to the primary that the sentinels name whenever it connects |
/// | [`ConnectionManager`] | the given one. Leave its retries at 0: while they last, a dead node costs the whole timeout |
/// | [`MultiplexedConnection`] | the given one, which never recovers once it broke: for short runs |
/// | `redis::cluster_async::ClusterConnection` (feature `cluster`) | the given one |
pub struct RedisClient {
    name: String,
    link: Link,
}

enum Link {
    Own(Box<Connection<Connector>>),
    Manager(ConnectionManager),
    Multiplexed(MultiplexedConnection),
    #[cfg(feature = "cluster")]
    Cluster(ClusterConnection),
}

impl backend::RedisClient for RedisClient {
    fn open(url: &NodeUrl) -> Result<Self, NodeUrlError> {
        url.check(cfg!(feature = "tls"))?;
        let client = connection_info(url).and_then(Client::open).map_err(|error| url.rejected(error))?;
        Ok(Self { name: url.name(), link: Link::Own(Box::new(Connection::new(Connector::Client(Box::new(client))))) })
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn secrets(&self) -> Vec<String> {
        match &self.link {
            Link::Own(connection) => connection.client().passwords(),
            // They do not show theirs.
            _ => Vec::new(),
        }
    }

    fn is_new(&self) -> bool {
        matches!(&self.link, Link::Own(connection) if connection.is_new())
    }

    #[cfg(feature = "cluster")]
    fn is_cluster(&self) -> bool {
        matches!(self.link, Link::Cluster(_))
    }

    async fn call(
        &self,
        call: &Call<'_>,
        connect_timeout: Duration,
        response_timeout: Duration,
    ) -> Result<Answered, NodeError> {
        let answer = match &self.link {
            Link::Own(connection) => return connection.call(call, connect_timeout, response_timeout).await,
            Link::Manager(manager) => timeout(response_timeout, run(&mut manager.clone(), call)).await,
            Link::Multiplexed(connection) => timeout(response_timeout, run(&mut connection.clone(), call)).await,
            #[cfg(feature = "cluster")]
            Link::Cluster(cluster) => timeout(response_timeout, run(&mut cluster.clone(), call)).await,
        };
        let value = answer.map_err(|_| NodeError::no_answer(response_timeout))?.map_err(node_error)?;
        Ok(Answered { reply: read(value)?, sent_again: false })
    }

    async fn command(
        &self,
        command: &[&str],
        connect_timeout: Duration,
        response_timeout: Duration,
    ) -> Result<Vec<String>, NodeError> {
        let plain = plain(command);
        let answer = match &self.link {
            Link::Own(connection) => return connection.command(command, connect_timeout, response_timeout).await,
            Link::Manager(manager) => timeout(response_timeout, plain.query_async(&mut manager.clone())).await,
            Link::Multiplexed(connection) => {
                timeout(response_timeout, plain.query_async(&mut connection.clone())).await
            }
            #[cfg(feature = "cluster")]
            Link::Cluster(cluster) => {
                timeout(response_timeout, cluster.clone().route_command(plain, primary_of_slot_0())).await
            }
        };
        words(answer.map_err(|_| NodeError::no_answer(response_timeout))?.map_err(node_error)?)
    }

    async fn listen(&self, channel: &str, connect_timeout: Duration) -> Result<Box<dyn WakeUps>, NodeError> {
        match &self.link {
            Link::Own(connection) => connection.listen(connection.client().listen(channel, connect_timeout)).await,
            // They tell no address that a second connection could be made to.
            _ => Err(NodeErrorKind::Unsupported.into()),
        }
    }
}

impl RedisClient {
    /// A connection that does not tell its address.
    fn unnamed(link: Link) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(1);
        Self { name: format!("redis connection {}", COUNT.fetch_add(1, Ordering::Relaxed)), link }
    }
}

impl From<Client> for RedisClient {
    fn from(client: Client) -> Self {
        let name = match client.get_connection_info().addr().clone() {
            ConnectionAddr::Tcp(host, port) => NodeAddress::Tcp { host, port, tls: false }.to_string(),
            ConnectionAddr::TcpTls { host, port, .. } => NodeAddress::Tcp { host, port, tls: true }.to_string(),
            other => other.to_string(),
        };
        let client = with_default_keepalive(client);
        Self { name, link: Link::Own(Box::new(Connection::new(Connector::Client(Box::new(client))))) }
    }
}

#[cfg(feature = "sentinel")]
impl From<SentinelClient> for RedisClient {
    fn from(sentinel: SentinelClient) -> Self {
        let connector = Connector::Sentinel(Arc::new(Sentinels::new(sentinel)));
        Self::unnamed(Link::Own(Box::new(Connection::new(connector))))
    }
}

impl From<ConnectionManager> for RedisClient {
    fn from(manager: ConnectionManager) -> Self {
        Self::unnamed(Link::Manager(manager))
    }
}

impl From<MultiplexedConnection> for RedisClient {
    fn from(connection: MultiplexedConnection) -> Self {
        Self::unnamed(Link::Multiplexed(connection))
    }
}

#[cfg(feature = "cluster")]
impl From<ClusterConnection> for RedisClient {
    fn from(cluster: ClusterConnection) -> Self {
        Self::unnamed(Link::Cluster(cluster))
    }
}

impl fmt::Debug for RedisClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The client's own output may hold a password.
        f.debug_struct("RedisClient").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The client, with keepalive unless its settings have another.
pub(crate) fn with_default_keepalive(client: Client) -> Client {
    let info = client.get_connection_info();
    let tcp = info.tcp_settings();
    if tcp.keepalive().is_some() {
        return client;
    }
    let tcp = kept_alive(tcp.clone(), NodeUrl::DEFAULT_KEEPALIVE);
    Client::open(info.clone().set_tcp_settings(tcp)).unwrap_or(client)
}

/// A dead server is noticed after twice the idle time.
fn kept_alive(tcp: TcpSettings, idle: Duration) -> TcpSettings {
    let keepalive = TcpKeepalive::new().with_time(idle);
    #[cfg(any(target_os = "android", target_os = "linux", target_os = "macos", target_os = "windows"))]
    let keepalive = keepalive.with_interval((idle / 3).max(Duration::from_secs(1)));
    #[cfg(any(target_os = "android", target_os = "linux"))]
    let tcp = match tcp.user_timeout() {
        None => tcp.set_user_timeout(2 * idle),
        Some(_) => tcp,
    };
    tcp.set_keepalive(keepalive)
}

/// One member for all commands about the node: by itself the client sends some to all members, others to any.
#[cfg(feature = "cluster")]
fn primary_of_slot_0() -> RoutingInfo {
    RoutingInfo::SingleNode(SingleNodeRoutingInfo::SpecificNode(Route::new(0, SlotAddr::Master)))
}

fn connection_info(url: &NodeUrl) -> redis::RedisResult<ConnectionInfo> {
    let address = match url.address.clone() {
        NodeAddress::Tcp { host, port, tls: false } => ConnectionAddr::Tcp(host, port),
        NodeAddress::Tcp { host, port, tls: true } => {
            ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
        }
        NodeAddress::Unix(path) => ConnectionAddr::Unix(path.into()),
        other => return Err((redis::ErrorKind::InvalidClientConfig, "unknown address", other.to_string()).into()),
    };
    let mut login = RedisConnectionInfo::default().set_db(url.db.into());
    if let Some(user) = &url.user {
        login = login.set_username(user);
    }
    if let Some(password) = &url.password {
        login = login.set_password(password);
    }
    let tcp = TcpSettings::default().set_nodelay(true);
    let tcp = url.keepalive.into_iter().fold(tcp, kept_alive);
    Ok(address.into_connection_info()?.set_redis_settings(login).set_tcp_settings(tcp))
}
