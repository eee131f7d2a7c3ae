//! A service behind Redis Sentinel: each connection is made to the server that is its primary at that moment.

use std::{error::Error as _, fmt, sync::Arc, time::Duration};

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::{select, time::timeout};

use super::{Call, Connect, Failure, Reply, connect::ClientAt};
use crate::node::{NodeError, NodeErrorKind};

/// Connects to the primary of a service, as the sentinels name it.
///
/// Queries all sentinels at the same time, so one that is down or hung delays nothing. A server that says that it is a
/// replica is not taken: some sentinels may not know of a failover yet.
pub struct BehindSentinels<C> {
    sentinels: Arc<[Sentinel<C>]>,
    service: Arc<str>,
    server: Arc<ClientAt<C>>,
}

struct Sentinel<C> {
    name: String,
    client: C,
}

/// A server, as `host:port` and by its parts.
type Server = (String, u16);

impl<C: Connect> BehindSentinels<C> {
    /// A service behind these sentinels, given as host and port. `sentinel` makes the client of a sentinel, `server` that
    /// of a server.
    pub fn new(
        sentinels: impl IntoIterator<Item = (String, u16)>,
        service: &str,
        sentinel: impl Fn(&str, u16) -> C,
        server: impl Fn(&str, u16) -> C + Send + Sync + 'static,
    ) -> Self {
        let sentinel = |(host, port): (String, u16)| {
            let client = sentinel(&host, port);
            Sentinel { name: format!("{host}:{port}"), client }
        };
        Self {
            sentinels: sentinels.into_iter().map(sentinel).collect(),
            service: service.into(),
            server: Arc::new(server),
        }
    }

    /// A client of the server that is the primary now.
    ///
    /// # Errors
    ///
    /// If no sentinel names one that can be reached within `connect_timeout`.
    pub async fn primary(&self, connect_timeout: Duration) -> Result<C, NodeError> {
        let ((host, port), _) = self.connect_to_primary(connect_timeout).await?;
        Ok((self.server)(&host, port))
    }

    fn connect_to_primary(
        &self,
        connect_timeout: Duration,
    ) -> impl Future<Output = Result<(Server, C::Connection), NodeError>> + Send + 'static {
        let (sentinels, service, server) =
            (Arc::clone(&self.sentinels), Arc::clone(&self.service), Arc::clone(&self.server));
        let connecting = async move {
            let asks = sentinels.iter().map(|sentinel| named_by(sentinel, &service, connect_timeout));
            let mut asks: FuturesUnordered<_> = asks.collect();
            let mut connects = FuturesUnordered::new();
            let (mut tried, mut failure) = (Vec::new(), None);
            loop {
                select! {
                    Some(named) = asks.next() => match named {
                        Ok(address) if tried.contains(&address) => {}
                        Ok(address) => {
                            let connecting = server(&address.0, address.1).connect(connect_timeout);
                            tried.push(address.clone());
                            connects.push(async move {
                                let connected = as_primary::<C>(connecting, connect_timeout).await;
                                let named = |error| about("primary", &format!("{}:{}", address.0, address.1), &error);
                                connected.map_err(named).map(|connection| (address, connection))
                            });
                        }
                        Err(error) => {
                            failure.get_or_insert(error);
                        }
                    },
                    Some(connected) = connects.next() => match connected {
                        Ok(connected) => return Ok(connected),
                        // It says more than what a sentinel answers.
                        Err(error) => failure = Some(error),
                    },
                    else => {
                        let none = || NodeError::new(NodeErrorKind::Unreachable, "there is no sentinel");
                        return Err(failure.unwrap_or_else(none));
                    }
                }
            }
        };
        async move {
            let connected = timeout(connect_timeout, connecting).await;
            connected.unwrap_or_else(|_| Err(NodeError::no_connection(connect_timeout)))
        }
    }
}

/// The address of the primary, as this sentinel knows it.
async fn named_by<C: Connect>(sentinel: &Sentinel<C>, service: &str, bound: Duration) -> Result<Server, NodeError> {
    let failed = |error| about("sentinel", &sentinel.name, &error);
    let connection = sentinel.client.connect(bound).await.map_err(failed)?;
    let question = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", service];
    let answer = C::command(connection, &question, bound).await.map_err(|failure| failed(failure.error()))?;
    let port = answer.get(1).and_then(|port| port.parse().ok());
    match (answer.into_iter().next(), port) {
        (Some(host), Some(port)) => Ok((host, port)),
        _ => {
            let text = format!("it knows no service {service:?}");
            Err(failed(NodeError::new(NodeErrorKind::Unreachable, text)))
        }
    }
}

/// The connection, unless the server says that it is a replica.
async fn as_primary<C: Connect>(
    connecting: impl Future<Output = Result<C::Connection, NodeError>>,
    bound: Duration,
) -> Result<C::Connection, NodeError> {
    let connection = connecting.await?;
    match C::command(connection.clone(), &["ROLE"], bound).await {
        Ok(role) if role.first().is_some_and(|role| role == "slave") => {
            Err(NodeError::new(NodeErrorKind::ReadOnly, "READONLY it is a replica"))
        }
        // The user may lack the permission.
        Ok(_) | Err(Failure::Answered(_)) => Ok(connection),
        Err(failure) => Err(failure.error()),
    }
}

/// The error, with the server that it is about.
fn about(what: &str, name: &str, error: &NodeError) -> NodeError {
    let cause = error.source().map_or_else(|| error.to_string(), ToString::to_string);
    NodeError::new(error.kind(), format!("{what} {name}: {cause}")).never_sent()
}

impl<C: Connect> Connect for BehindSentinels<C> {
    type Connection = C::Connection;

    fn connect(
        &self,
        connect_timeout: Duration,
    ) -> impl Future<Output = Result<C::Connection, NodeError>> + Send + 'static {
        let connecting = self.connect_to_primary(connect_timeout);
        async move { connecting.await.map(|(_, connection)| connection) }
    }

    async fn run(connection: C::Connection, call: &Call<'_>, response_timeout: Duration) -> Result<Reply, Failure> {
        C::run(connection, call, response_timeout).await
    }

    async fn command(
        connection: C::Connection,
        words: &[&str],
        response_timeout: Duration,
    ) -> Result<Vec<String>, Failure> {
        C::command(connection, words, response_timeout).await
    }

    fn is_broken(connection: &C::Connection) -> bool {
        C::is_broken(connection)
    }
}

impl<C> fmt::Debug for BehindSentinels<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A client's own output may hold a password.
        f.debug_struct("BehindSentinels").field("service", &self.service).finish_non_exhaustive()
    }
}
