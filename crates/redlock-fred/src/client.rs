//! The client that [`RedisNode::new`](crate::RedisNode::new) accepts: one of fred that the user has configured.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use fred::{
    clients::{Client, Pool},
    error::{Error, ErrorKind},
    interfaces::{ClientLike, EventInterface},
    types::config::{Config, Server, ServerConfig},
};
use redlock_core::{
    NodeError, NodeErrorKind, NodeUrlError,
    backend::{self, Answered, BehindSentinels, Call, Connection, NodeAddress, NodeUrl, UrlFeatures, WakeUps},
};
use tokio::sync::broadcast::{Receiver, error::TryRecvError};

use crate::{
    address::is_tls,
    connection::{Connector, client_of, plain, plain_at, read, run, words},
    error::node_error,
};

/// A client that the user has configured, for TLS, ACLs, unix sockets, Sentinel or a cluster.
///
/// | from | connection |
/// |---|---|
/// | [`Config`] | a connection of the node's own, as with [`RedisNode::open`](crate::RedisNode::open) |
/// | [`Client`] | the given one |
/// | [`Pool`] | the given ones: each lock always uses the same one of them |
///
/// Connect a `Client` or a `Pool` first, with `init`. While it has no connection, operations fail at once. Give it a
/// reconnect policy, or it never recovers after its connection breaks.
pub struct RedisClient {
    name: String,
    is_cluster: bool,
    link: Link,
}

/// A service behind sentinels.
struct Service {
    connection: Connection<BehindSentinels<Connector>>,
    passwords: Vec<String>,
}

/// A cluster.
struct Members {
    cluster: backend::Cluster<Connector>,
    passwords: Vec<String>,
}

enum Link {
    Own(Box<Connection<Connector>>),
    /// To the primary that sentinels name.
    Service(Box<Service>),
    /// To the members of a cluster.
    Members(Box<Members>),
    Given(Vec<Given>),
}

impl backend::RedisClient for RedisClient {
    fn open(url: &NodeUrl) -> Result<Self, NodeUrlError> {
        url.check(FEATURES)?;
        Ok(Self { name: url.name(), ..Self::own(config(url)?, url.keepalive, url.idle_limit) })
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn secrets(&self) -> Vec<String> {
        match &self.link {
            Link::Own(connection) => passwords(connection.client().config()),
            Link::Service(service) => service.passwords.clone(),
            Link::Members(members) => members.passwords.clone(),
            Link::Given(clients) => {
                clients.first().map(|given| passwords(&given.client.client_config())).unwrap_or_default()
            }
        }
    }

    fn is_new(&self) -> bool {
        match &self.link {
            Link::Own(connection) => connection.is_new(),
            Link::Service(service) => service.connection.is_new(),
            Link::Members(members) => members.cluster.is_new(),
            Link::Given(_) => false,
        }
    }

    fn is_cluster(&self) -> bool {
        self.is_cluster
    }

    async fn call(
        &self,
        call: &Call<'_>,
        connect_timeout: Duration,
        response_timeout: Duration,
    ) -> Result<Answered, NodeError> {
        let clients = match &self.link {
            Link::Own(connection) => return connection.call(call, connect_timeout, response_timeout).await,
            Link::Service(service) => {
                return service.connection.call(call, connect_timeout, response_timeout).await;
            }
            Link::Members(members) => return members.cluster.call(call, connect_timeout, response_timeout).await,
            Link::Given(clients) => clients,
        };
        let Some(given) = client_of(clients, call) else {
            return Err(no_client());
        };
        let answer = run(&given.client, call, response_timeout).await;
        let value = answer.map_err(|error| node_error(given.explain(error)))?;
        Ok(Answered { reply: read(value)?, sent_again: false })
    }

    async fn command(
        &self,
        command: &[&str],
        connect_timeout: Duration,
        response_timeout: Duration,
    ) -> Result<Vec<String>, NodeError> {
        let clients = match &self.link {
            Link::Own(connection) => return connection.command(command, connect_timeout, response_timeout).await,
            Link::Service(service) => {
                return service.connection.command(command, connect_timeout, response_timeout).await;
            }
            Link::Members(members) => return members.cluster.command(command, connect_timeout, response_timeout).await,
            Link::Given(clients) => clients,
        };
        let Some(given) = clients.first() else { return Err(no_client()) };
        let answer = plain(&given.client, command, response_timeout).await;
        words(answer.map_err(|error| node_error(given.explain(error)))?)
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
            Link::Members(members) => {
                members.cluster.command_at(host, port, command, connect_timeout, response_timeout).await
            }
            Link::Given(clients) if self.is_cluster => {
                let Some(given) = clients.first() else { return Err(no_client()) };
                let answer = plain_at(&given.client, Server::new(host, port), command, response_timeout).await;
                words(answer.map_err(|error| node_error(given.explain(error)))?)
            }
            _ => Err(NodeErrorKind::Unsupported.into()),
        }
    }

    async fn listen(&self, channel: &str, connect_timeout: Duration) -> Result<Box<dyn WakeUps>, NodeError> {
        match &self.link {
            Link::Own(connection) => connection.listen(connection.client().listen(channel, connect_timeout)).await,
            Link::Service(service) => {
                let listening = async {
                    let primary = service.connection.client().primary(connect_timeout).await?;
                    primary.listen(channel, connect_timeout).await
                };
                service.connection.listen(listening).await
            }
            // In a cluster, the channel is on one member, and that may change. A given client belongs to the user, who
            // decides what it listens to and how often it connects.
            _ => Err(NodeErrorKind::Unsupported.into()),
        }
    }
}

impl From<Config> for RedisClient {
    fn from(config: Config) -> Self {
        Self::own(config, Some(NodeUrl::DEFAULT_KEEPALIVE), Some(NodeUrl::DEFAULT_IDLE_LIMIT))
    }
}

impl From<Client> for RedisClient {
    fn from(client: Client) -> Self {
        Self::new(&client.client_config(), Link::Given(vec![Given::new(client)]))
    }
}

impl From<Pool> for RedisClient {
    fn from(pool: Pool) -> Self {
        let clients = pool.clients().iter().cloned().map(Given::new).collect();
        Self::new(&pool.client_config(), Link::Given(clients))
    }
}

impl RedisClient {
    /// Creates a client with connections of its own. They do not use fred's support for sentinels and clusters: it
    /// waits for each sentinel in turn, and has no connection to a cluster while any member is down.
    fn own(config: Config, keepalive: Option<Duration>, idle_limit: Option<Duration>) -> Self {
        let (server, passwords) = (config.server.clone(), passwords(&config));
        let connector = Connector::new(config.clone(), keepalive);
        let hosts = server.hosts().into_iter().map(|server| (server.host.to_string(), server.port));
        let link = match &server {
            ServerConfig::Clustered { .. } => {
                let by_name = is_tls(&config);
                let cluster = backend::Cluster::new(hosts, by_name, move |host, port| connector.member(host, port));
                Link::Members(Box::new(Members { cluster: cluster.with_idle_limit(idle_limit), passwords }))
            }
            ServerConfig::Sentinel { service_name, .. } => {
                let sentinels = connector.of_sentinels();
                let service = BehindSentinels::new(
                    hosts,
                    service_name,
                    |host, port| sentinels.at(host, port),
                    move |host, port| connector.at(host, port),
                );
                let connection = Connection::new(service).with_idle_limit(idle_limit);
                Link::Service(Box::new(Service { connection, passwords }))
            }
            _ => Link::Own(Box::new(Connection::new(connector).with_idle_limit(idle_limit))),
        };
        Self::new(&config, link)
    }

    fn new(config: &Config, link: Link) -> Self {
        Self { name: name(config), is_cluster: config.server.is_clustered(), link }
    }
}

impl fmt::Debug for RedisClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The client's own output may hold a password.
        f.debug_struct("RedisClient").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A client that the user connects.
struct Given {
    client: Client,
    errors: Mutex<Errors>,
}

/// The errors that fred reports besides those of commands. It keeps the newest few.
struct Errors {
    reports: Receiver<(Error, Option<Server>)>,
    last: Option<Error>,
}

impl Given {
    fn new(client: Client) -> Self {
        let errors = Mutex::new(Errors { reports: client.error_rx(), last: None });
        Self { client, errors }
    }

    /// Returns why there is no connection: fred reports to a command only that it was cancelled.
    fn explain(&self, error: Error) -> Error {
        if !error.is_canceled() {
            return error;
        }
        let mut errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match errors.reports.try_recv() {
                Ok((report, _)) => errors.last = Some(report),
                Err(TryRecvError::Lagged(_)) => {}
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        errors.last.clone().unwrap_or_else(|| Error::new(ErrorKind::Canceled, "not connected: call `init` first"))
    }
}

/// The features that this crate was built with.
const FEATURES: UrlFeatures = UrlFeatures {
    tls: cfg!(feature = "tls"),
    sentinel: cfg!(feature = "sentinel"),
    cluster: cfg!(feature = "cluster"),
};

fn no_client() -> NodeError {
    NodeError::new(NodeErrorKind::Unreachable, "the pool is empty")
}

fn config(url: &NodeUrl) -> Result<Config, NodeUrlError> {
    let server = match url.address.clone() {
        NodeAddress::Tcp { host, port, .. } => ServerConfig::new_centralized(host, port),
        NodeAddress::Unix(path) => ServerConfig::Unix { path: path.into() },
        NodeAddress::Cluster { members, .. } => ServerConfig::new_clustered(members),
        #[cfg(feature = "sentinel")]
        NodeAddress::Sentinel { sentinels, service, .. } => ServerConfig::Sentinel {
            hosts: sentinels.into_iter().map(|(host, port)| Server::new(host, port)).collect(),
            service_name: service,
            username: url.sentinel_user.clone(),
            password: url.sentinel_password.clone(),
        },
        other => return Err(url.rejected(format!("unknown address {other}"))),
    };
    let database = match url.db {
        // Saves a round trip.
        0 => None,
        db => Some(u8::try_from(db).map_err(|_| url.rejected("fred supports no database above 255"))?),
    };
    Ok(Config {
        server,
        database,
        username: url.user.clone(),
        password: url.password.clone(),
        #[cfg(feature = "tls")]
        tls: tls(url)?,
        ..Config::default()
    })
}

#[cfg(feature = "tls")]
fn tls(url: &NodeUrl) -> Result<Option<fred::types::config::TlsConfig>, NodeUrlError> {
    use std::sync::Arc;

    use fred::types::config::TlsConnector;
    use rustls::{ClientConfig, RootCertStore, crypto::ring};

    match url.address {
        NodeAddress::Tcp { tls: true, .. }
        | NodeAddress::Sentinel { tls: true, .. }
        | NodeAddress::Cluster { tls: true, .. } => {}
        _ => return Ok(None),
    }
    let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    // Selects its provider explicitly: the process-wide one panics if two are built in.
    let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| url.rejected(error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Some(TlsConnector::from(tls).into()))
}

fn passwords(config: &Config) -> Vec<String> {
    let of_sentinels = match &config.server {
        #[cfg(feature = "sentinel")]
        ServerConfig::Sentinel { password, .. } => password.clone(),
        _ => None,
    };
    config.password.clone().into_iter().chain(of_sentinels).collect()
}

/// Returns the address, as errors and logs print it: for a cluster or sentinels, the addresses of all that are known.
fn name(config: &Config) -> String {
    let servers = || config.server.hosts().into_iter().map(|server| (server.host.to_string(), server.port)).collect();
    let address = match &config.server {
        ServerConfig::Unix { path } => return path.display().to_string(),
        ServerConfig::Sentinel { service_name, .. } => {
            NodeAddress::Sentinel { sentinels: servers(), service: service_name.clone(), tls: false }
        }
        _ => NodeAddress::Cluster { members: servers(), tls: false },
    };
    address.to_string()
}
