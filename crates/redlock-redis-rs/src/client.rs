//! The client that [`RedisNode::new`](crate::RedisNode::new) accepts: one of redis-rs that the user has configured.

#[cfg(feature = "sentinel")]
use std::sync::Arc;
use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

#[cfg(feature = "tls")]
use redis::TlsCertificates;
#[cfg(feature = "sentinel")]
use redis::sentinel::SentinelClient;
use redis::{
    Client, ConnectionAddr, ConnectionInfo, RedisResult,
    aio::{ConnectionManager, MultiplexedConnection},
};
#[cfg(feature = "cluster")]
use redis::{
    cluster_async::ClusterConnection,
    cluster_routing::{Route, RoutingInfo, SingleNodeRoutingInfo, SlotAddr},
};
use redlock_core::{
    NodeError, NodeErrorKind, NodeUrlError,
    backend::{self, Answered, BehindSentinels, Call, Connection, NodeAddress, NodeUrl, WakeUps},
};
use tokio::time::timeout;

#[cfg(feature = "sentinel")]
use crate::sentinels::Sentinels;
use crate::{
    connection::{Connector, plain, read, run, words},
    error::node_error,
    settings::{FEATURES, Settings, with_default_keepalive},
};

/// A client that the user has configured, for TLS, ACLs, unix sockets, Sentinel or a cluster.
///
/// | from | connection |
/// |---|---|
/// | [`NodeUrl`], by [`with_certificates`](Self::with_certificates) (feature `tls`) | as with [`RedisNode::open`](crate::RedisNode::open) |
/// | [`redis::Client`] | a connection of the node's own, as with [`RedisNode::open`](crate::RedisNode::open) |
/// | `redis::sentinel::SentinelClient` (feature `sentinel`) | a connection of the node's own, to the primary that one of the sentinels names whenever it connects. With a URL, all of them are queried |
/// | [`ConnectionManager`] | the given one. Leave its retries at 0: while it retries, a dead node costs the whole timeout |
/// | [`MultiplexedConnection`] | the given one, which never recovers after it breaks: for short runs |
/// | `redis::cluster_async::ClusterConnection` (feature `cluster`) | the given one |
pub struct RedisClient {
    name: String,
    link: Link,
    /// The passwords of a URL.
    passwords: Vec<String>,
}

enum Link {
    Own(Box<Connection<Connector>>),
    /// From a URL with sentinels.
    Service(Box<Connection<BehindSentinels<Connector>>>),
    /// From a URL with the members of a cluster.
    Members(Box<backend::Cluster<Connector>>),
    Manager(ConnectionManager),
    Multiplexed(MultiplexedConnection),
    #[cfg(feature = "cluster")]
    Cluster(ClusterConnection),
}

impl backend::RedisClient for RedisClient {
    fn open(url: &NodeUrl) -> Result<Self, NodeUrlError> {
        Self::of_url(url, Ok)
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn secrets(&self) -> Vec<String> {
        match &self.link {
            Link::Own(connection) => connection.client().passwords(),
            // A client that the user provides does not reveal its passwords.
            _ => self.passwords.clone(),
        }
    }

    fn is_new(&self) -> bool {
        match &self.link {
            Link::Own(connection) => connection.is_new(),
            Link::Service(connection) => connection.is_new(),
            Link::Members(members) => members.is_new(),
            _ => false,
        }
    }

    fn is_cluster(&self) -> bool {
        match self.link {
            Link::Members(_) => true,
            #[cfg(feature = "cluster")]
            Link::Cluster(_) => true,
            _ => false,
        }
    }

    async fn call(
        &self,
        call: &Call<'_>,
        connect_timeout: Duration,
        response_timeout: Duration,
    ) -> Result<Answered, NodeError> {
        let answer = match &self.link {
            Link::Own(connection) => return connection.call(call, connect_timeout, response_timeout).await,
            Link::Service(connection) => return connection.call(call, connect_timeout, response_timeout).await,
            Link::Members(members) => return members.call(call, connect_timeout, response_timeout).await,
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
            Link::Service(connection) => return connection.command(command, connect_timeout, response_timeout).await,
            Link::Members(members) => return members.command(command, connect_timeout, response_timeout).await,
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

    async fn command_at(
        &self,
        host: &str,
        port: u16,
        command: &[&str],
        connect_timeout: Duration,
        response_timeout: Duration,
    ) -> Result<Vec<String>, NodeError> {
        match &self.link {
            Link::Members(members) => members.command_at(host, port, command, connect_timeout, response_timeout).await,
            #[cfg(feature = "cluster")]
            Link::Cluster(cluster) => {
                let member = SingleNodeRoutingInfo::ByAddress { host: host.to_owned(), port };
                let mut cluster = cluster.clone();
                let answer = cluster.route_command(plain(command), RoutingInfo::SingleNode(member));
                let answer = timeout(response_timeout, answer).await;
                words(answer.map_err(|_| NodeError::no_answer(response_timeout))?.map_err(node_error)?)
            }
            _ => Err(NodeErrorKind::Unsupported.into()),
        }
    }

    async fn listen(&self, channel: &str, connect_timeout: Duration) -> Result<Box<dyn WakeUps>, NodeError> {
        match &self.link {
            Link::Own(connection) => connection.listen(connection.client().listen(channel, connect_timeout)).await,
            Link::Service(connection) => {
                let listening = async {
                    let primary = connection.client().primary(connect_timeout).await?;
                    primary.listen(channel, connect_timeout).await
                };
                connection.listen(listening).await
            }
            // They reveal no address that a second connection could be made to.
            _ => Err(NodeErrorKind::Unsupported.into()),
        }
    }
}

impl RedisClient {
    /// Creates a client for a URL with TLS that trusts only these authorities and presents this client certificate: to
    /// the server, to all members of a cluster, or to the sentinels and the primary that they name. Without TLS in the
    /// URL, the certificates are not used.
    ///
    /// ```no_run
    /// use std::{error::Error, fs};
    ///
    /// use redlock_core::backend::NodeUrl;
    /// use redlock_redis_rs::{
    ///     RedisClient, RedisNode,
    ///     redis::{ClientTlsConfig, TlsCertificates},
    /// };
    ///
    /// # fn main() -> Result<(), Box<dyn Error>> {
    /// let certificates = TlsCertificates {
    ///     root_cert: Some(fs::read("ca.pem")?),
    ///     client_tls: Some(ClientTlsConfig { client_cert: fs::read("cert.pem")?, client_key: fs::read("key.pem")? }),
    /// };
    /// let url = NodeUrl::parse("rediss://10.0.0.1")?;
    /// let node = RedisNode::new(RedisClient::with_certificates(&url, &certificates)?)
    ///     .with_connect_timeout(url.connect_timeout)
    ///     .with_response_timeout(url.response_timeout);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// If the URL or a certificate cannot be used.
    #[cfg(feature = "tls")]
    pub fn with_certificates(url: &NodeUrl, certificates: &TlsCertificates) -> Result<Self, NodeUrlError> {
        Self::of_url(url, |info| match info.addr() {
            ConnectionAddr::TcpTls { .. } => {
                let client = Client::build_with_tls(info, certificates.clone())?;
                Ok(client.get_connection_info().clone())
            }
            _ => Ok(info),
        })
    }

    /// Creates the client of a URL. `secure` completes the TLS settings.
    fn of_url(
        url: &NodeUrl,
        secure: impl Fn(ConnectionInfo) -> RedisResult<ConnectionInfo>,
    ) -> Result<Self, NodeUrlError> {
        url.check(FEATURES)?;
        let Settings { server, sentinel } = Settings::of(url, secure).map_err(|error| url.rejected(error))?;
        let link = match url.address.clone() {
            NodeAddress::Sentinel { sentinels, service, .. } => {
                let sentinel = |host: &str, port| Connector::at(&sentinel, host, port);
                let server = move |host: &str, port| Connector::at(&server, host, port);
                let service = BehindSentinels::new(sentinels, &service, sentinel, server);
                Link::Service(Box::new(Connection::new(service).with_idle_limit(url.idle_limit)))
            }
            NodeAddress::Cluster { members, tls } => {
                let member = move |host: &str, port| Connector::at(&server, host, port);
                let members = backend::Cluster::new(members, tls, member);
                Link::Members(Box::new(members.with_idle_limit(url.idle_limit)))
            }
            _ => {
                let connection = Connection::new(Connector::Server(Box::new(server)));
                Link::Own(Box::new(connection.with_idle_limit(url.idle_limit)))
            }
        };
        let passwords = [&url.password, &url.sentinel_password].into_iter().flatten().cloned().collect();
        Ok(Self { name: url.name(), link, passwords })
    }

    fn new(name: String, link: Link) -> Self {
        Self { name, link, passwords: Vec::new() }
    }

    /// Creates a client whose connection does not reveal its address.
    fn unnamed(link: Link) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(1);
        Self::new(format!("redis connection {}", COUNT.fetch_add(1, Ordering::Relaxed)), link)
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
        Self::new(name, Link::Own(Box::new(Connection::new(Connector::Client(Box::new(client))))))
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

/// Returns one member for all commands about the node: by default, the client sends some to all members, others to any.
#[cfg(feature = "cluster")]
fn primary_of_slot_0() -> RoutingInfo {
    RoutingInfo::SingleNode(SingleNodeRoutingInfo::SpecificNode(Route::new(0, SlotAddr::Master)))
}
