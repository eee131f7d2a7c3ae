//! A service behind Redis Sentinel: each connection is made to the server that is its primary at that moment.

use std::{collections::HashSet, error::Error as _, fmt, sync::Arc, time::Duration};

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::time::{Instant, timeout_at};

use super::{Call, Connect, Failure, Reply, connect::ClientAt};
use crate::node::{NodeError, NodeErrorKind};

/// Connects to the primary of a service, as the sentinels name it.
///
/// Queries all sentinels at the same time, and uses the server that more than half of them name, so a minority that is
/// down or hung delays nothing. A server that fewer of them name counts only if all others have failed within half of
/// the connect timeout. A server that reports that it is a replica is not used: the sentinels may be about to notice a
/// failover.
pub struct BehindSentinels<C> {
    sentinels: Arc<[Sentinel<C>]>,
    service: Arc<str>,
    server: Arc<ClientAt<C>>,
}

/// How long after a failed connect the sentinels are queried again; jitter at most doubles it. While a primary is away,
/// all processes would otherwise query them for each lock.
const PAUSE: Duration = Duration::from_millis(250);

/// How much later than its parts the whole operation times out, because the error of a part says more.
const LATER: Duration = Duration::from_millis(20);

struct Sentinel<C> {
    name: String,
    client: C,
}

/// A server, as host and port.
type Server = (String, u16);

impl<C: Connect> BehindSentinels<C> {
    /// Creates a service behind these sentinels, each given as host and port. `sentinel` creates the client of a
    /// sentinel, `server` the client of a server.
    pub fn new(
        sentinels: impl IntoIterator<Item = (String, u16)>,
        service: &str,
        sentinel: impl Fn(&str, u16) -> C,
        server: impl Fn(&str, u16) -> C + Send + Sync + 'static,
    ) -> Self {
        // A sentinel that is named twice must not count twice.
        let mut named = HashSet::new();
        let sentinels = sentinels.into_iter().filter(|(host, port)| named.insert((host.to_ascii_lowercase(), *port)));
        let sentinel = |(host, port): (String, u16)| {
            let client = sentinel(&host, port);
            Sentinel { name: format!("{host}:{port}"), client }
        };
        Self { sentinels: sentinels.map(sentinel).collect(), service: service.into(), server: Arc::new(server) }
    }

    /// Returns a client of the server that is the primary now.
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
        async move {
            let deadline = Instant::now() + connect_timeout;
            let asks = sentinels.iter().map(|sentinel| named_by(sentinel, &service, connect_timeout / 2));
            let mut asks: FuturesUnordered<_> = asks.collect();
            let mut votes = Votes::of(sentinels.len());
            let (host, port) = loop {
                match asks.next().await {
                    Some(Ok(server)) => votes.count(server),
                    Some(Err(error)) => votes.failed(error),
                    None => return Err(votes.into_error()),
                }
                if let Some(elected) = votes.elected() {
                    break elected;
                }
            };
            drop(asks);
            let left = deadline.saturating_duration_since(Instant::now());
            // In whole milliseconds, because an error may show it.
            let left = Duration::from_millis(left.as_millis().try_into().unwrap_or(u64::MAX));
            // Boxed so that the caller's future stays small.
            let connecting = Box::pin(as_primary::<C>(server(&host, port).connect(left), left));
            let connected = timeout_at(deadline + LATER, connecting).await;
            let connected = connected.unwrap_or_else(|_| Err(NodeError::no_connection(left)));
            match connected {
                Ok(connection) => Ok(((host, port), connection)),
                Err(error) => Err(about("primary", &format!("{host}:{port}"), &error)),
            }
        }
    }
}

/// The answers of the sentinels in a URL so far.
struct Votes {
    sentinels: usize,
    named: Vec<(Server, usize)>,
    failed: usize,
    failure: Option<NodeError>,
}

impl Votes {
    fn of(sentinels: usize) -> Self {
        Self { sentinels, named: Vec::new(), failed: 0, failure: None }
    }

    fn count(&mut self, (host, port): Server) {
        let server = (host.to_ascii_lowercase(), port);
        match self.named.iter_mut().find(|(named, _)| *named == server) {
            Some((_, votes)) => *votes += 1,
            None => self.named.push((server, 1)),
        }
    }

    fn failed(&mut self, error: NodeError) {
        self.failed += 1;
        self.failure.get_or_insert(error);
    }

    /// Returns the server that more than half of the sentinels name, or the only one that is named if all other
    /// sentinels have failed.
    ///
    /// A sentinel that is cut off from the others still names the old primary, and that server still accepts writes. If
    /// one such sentinel sufficed, two clients could use two primaries of one node at the same time.
    fn elected(&self) -> Option<Server> {
        let most = self.named.iter().find(|(_, votes)| *votes > self.sentinels / 2);
        let only = match self.named.as_slice() {
            [only] if only.1 + self.failed == self.sentinels => Some(only),
            _ => None,
        };
        most.or(only).map(|(server, _)| server.clone())
    }

    fn into_error(self) -> NodeError {
        if self.named.is_empty() {
            let none = || NodeError::new(NodeErrorKind::Unreachable, "there is no sentinel");
            return self.failure.unwrap_or_else(none).never_sent();
        }
        let named: Vec<_> = self.named.iter().map(|((host, port), _)| format!("{host}:{port}")).collect();
        let text = format!("no majority of the sentinels names one primary: they name {}", named.join(", "));
        NodeError::new(NodeErrorKind::Unreachable, text).never_sent()
    }
}

/// Queries the sentinel for the address of the primary.
async fn named_by<C: Connect>(sentinel: &Sentinel<C>, service: &str, bound: Duration) -> Result<Server, NodeError> {
    let deadline = Instant::now() + bound;
    let asking = async {
        let connection = sentinel.client.connect(bound).await?;
        let left = deadline.saturating_duration_since(Instant::now()).max(LATER);
        let question = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", service];
        C::command(connection, &question, left).await.map_err(Failure::error)
    };
    let answer = timeout_at(deadline + LATER, asking).await.unwrap_or_else(|_| Err(NodeError::no_answer(bound)));
    let answer = answer.map_err(|error| about("sentinel", &sentinel.name, &error))?;
    let port = answer.get(1).and_then(|port| port.parse().ok());
    match (answer.into_iter().next(), port) {
        (Some(host), Some(port)) => Ok((host, port)),
        _ => {
            let error = NodeError::new(NodeErrorKind::Unreachable, format!("it knows no service {service:?}"));
            Err(about("sentinel", &sentinel.name, &error))
        }
    }
}

/// Returns the connection, unless the server reports that it is a replica.
async fn as_primary<C: Connect>(
    connecting: impl Future<Output = Result<C::Connection, NodeError>>,
    bound: Duration,
) -> Result<C::Connection, NodeError> {
    let connection = connecting.await?;
    match C::command(connection.clone(), &["ROLE"], bound).await {
        Ok(role) if role.first().is_some_and(|role| role == "slave") => {
            Err(NodeError::new(NodeErrorKind::ReadOnly, "READONLY it is a replica"))
        }
        // The user may lack the permission for `ROLE`.
        Ok(_) | Err(Failure::Answered(_)) => Ok(connection),
        Err(failure) => Err(failure.error()),
    }
}

/// Returns the error, with the server that it concerns.
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

    fn pause(&self) -> Duration {
        // Without randomness there is no jitter.
        let random = getrandom::u32().unwrap_or_default();
        PAUSE + PAUSE.mul_f64(f64::from(random) / f64::from(u32::MAX))
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
