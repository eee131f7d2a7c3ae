//! Connects with fred, and runs scripts and commands.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use fred::{
    clients::{Client, Pipeline, WithOptions},
    error::{Error, ErrorKind},
    interfaces::ClientLike,
    types::{
        ClusterHash, CustomCommand, Value,
        config::{Config, ConnectionConfig, Options, Server, TcpConfig},
    },
};
use redlock_core::{
    NodeError, NodeErrorKind,
    algorithm::hash_slot,
    backend::{Call, Connect, Failure, Reply},
};
use socket2::TcpKeepalive;
use tokio::{
    sync::oneshot,
    task::JoinHandle,
    time::{Instant, timeout_at},
};

use crate::{
    address::{choose_address, is_tls},
    error::{is_broken, is_no_script, node_error},
};

/// Connects with a configuration.
#[derive(Clone)]
pub(crate) struct Connector {
    config: Config,
    /// Idle time after which TCP probes the connection.
    keepalive: Option<Duration>,
}

/// A client that is connected. fred's task keeps the connection open, even if nothing holds the client, until it is
/// aborted.
pub(crate) struct Connected {
    pub(crate) client: Client,
    task: JoinHandle<Result<(), Error>>,
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Connector {
    pub(crate) fn new(mut config: Config, keepalive: Option<Duration>) -> Self {
        // Reports the first connect error instead of trying again.
        config.fail_fast = true;
        if config.username.is_some() {
            // Without a password, fred would not log in as this user.
            config.password.get_or_insert_default();
        }
        Self { config, keepalive }
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// Returns a connector with another configuration and the same keepalive.
    pub(crate) fn with(&self, config: Config) -> Self {
        Self::new(config, self.keepalive)
    }

    /// Creates a client without a reconnect policy: its connection ends when it breaks.
    fn client(&self, config: Config, connect_timeout: Duration) -> Client {
        let connection = ConnectionConfig {
            connection_timeout: connect_timeout,
            internal_command_timeout: connect_timeout,
            max_command_attempts: 1,
            tcp: self.tcp(),
            ..ConnectionConfig::default()
        };
        Client::new(config, None, Some(connection), None)
    }

    /// Returns TCP settings such that a dead server is noticed after twice the idle time.
    fn tcp(&self) -> TcpConfig {
        let tcp = TcpConfig { nodelay: Some(true), ..TcpConfig::default() };
        let Some(idle) = self.keepalive else { return tcp };
        let keepalive = TcpKeepalive::new().with_time(idle);
        #[cfg(any(target_os = "android", target_os = "linux", target_os = "macos", target_os = "windows"))]
        let keepalive = keepalive.with_interval((idle / 3).max(Duration::from_secs(1)));
        TcpConfig {
            keepalive: Some(keepalive),
            #[cfg(any(target_os = "android", target_os = "linux"))]
            user_timeout: Some(2 * idle),
            ..tcp
        }
    }
}

impl Connect for Connector {
    type Connection = Arc<Connected>;

    fn connect(
        &self,
        connect_timeout: Duration,
    ) -> impl Future<Output = Result<Arc<Connected>, NodeError>> + Send + 'static {
        let connector = self.clone();
        async move {
            let no_connection = || match is_tls(&connector.config) {
                true => NodeError::no_tls_connection(connect_timeout),
                false => NodeError::no_connection(connect_timeout),
            };
            let deadline = Instant::now() + connect_timeout;
            let mut config = connector.config.clone();
            match timeout_at(deadline, choose_address(&mut config.server)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Err(NodeError::new(NodeErrorKind::Unreachable, error)),
                Err(_) => return Err(NodeError::no_connection(connect_timeout)),
            }
            let client = connector.client(config, connect_timeout);
            let (sender, connected) = oneshot::channel();
            // In a task: if this were dropped half-way, fred would still connect, and nothing would close the
            // connection.
            tokio::spawn(async move {
                let connecting = client.init().await;
                // If nothing waits any more, this drops the connection.
                let _ = sender.send(connecting.map(|task| Connected { client, task }));
            });
            match timeout_at(deadline, connected).await {
                Ok(Ok(Ok(connected))) => Ok(Arc::new(connected)),
                Ok(Ok(Err(error))) if *error.kind() != ErrorKind::Timeout => Err(node_error(error)),
                Ok(_) | Err(_) => Err(no_connection()),
            }
        }
    }

    async fn run(connection: Arc<Connected>, call: &Call<'_>, response_timeout: Duration) -> Result<Reply, Failure> {
        let answer = run(&connection.client, call, response_timeout).await;
        answered(&connection, answer).and_then(|value| read(value).map_err(Failure::Answered))
    }

    async fn run_asking(
        connection: Arc<Connected>,
        call: &Call<'_>,
        response_timeout: Duration,
    ) -> Result<Reply, Failure> {
        let answer = run_by(&connection.client, call, response_timeout, asking).await;
        answered(&connection, answer).and_then(|value| read(value).map_err(Failure::Answered))
    }

    async fn command(
        connection: Arc<Connected>,
        command: &[&str],
        response_timeout: Duration,
    ) -> Result<Vec<String>, Failure> {
        let answer = plain(&connection.client, command, response_timeout).await;
        answered(&connection, answer).and_then(|value| words(value).map_err(Failure::Answered))
    }

    fn is_broken(connection: &Arc<Connected>) -> bool {
        connection.task.is_finished()
    }
}

/// Returns an answer, or what its absence means for the connection.
fn answered(connection: &Arc<Connected>, answer: Result<Value, Error>) -> Result<Value, Failure> {
    answer.map_err(|error| match *error.kind() {
        _ if is_broken(&error) || Connector::is_broken(connection) => Failure::Broken(node_error(error)),
        ErrorKind::Timeout => Failure::Silent(node_error(error)),
        _ => Failure::Answered(node_error(error)),
    })
}

/// Returns options that send a command once and immediately, or fail: fred would otherwise keep it while there is no
/// connection, and send it long after the caller has given up.
fn once(response_timeout: Duration) -> Options {
    Options { timeout: Some(response_timeout), max_attempts: Some(1), fail_fast: true, ..Options::default() }
}

/// Sends a plain command.
pub(crate) async fn plain(client: &Client, command: &[&str], response_timeout: Duration) -> Result<Value, Error> {
    plain_by(client, command, once(response_timeout)).await
}

/// Sends a plain command to one member of a cluster.
pub(crate) async fn plain_at(
    client: &Client,
    member: Server,
    command: &[&str],
    response_timeout: Duration,
) -> Result<Value, Error> {
    plain_by(client, command, Options { cluster_node: Some(member), ..once(response_timeout) }).await
}

async fn plain_by(client: &Client, command: &[&str], options: Options) -> Result<Value, Error> {
    let Some((name, args)) = command.split_first() else {
        return Err(Error::new(ErrorKind::InvalidArgument, "no command"));
    };
    // In a cluster, one member gets all commands about the node.
    let name = CustomCommand::new(*name, ClusterHash::Custom(0), false);
    let args: Vec<Value> = args.iter().map(|word| (*word).into()).collect();
    client.with_options(&options).custom(name, args).await
}

/// Returns all strings and numbers of a reply, in order.
pub(crate) fn words(value: Value) -> Result<Vec<String>, NodeError> {
    let several = |values: Vec<Value>| Ok(values.into_iter().map(words).collect::<Result<Vec<_>, _>>()?.concat());
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Array(values) => several(values),
        Value::Map(map) => several(map.inner().into_iter().flat_map(|(name, value)| [name.into(), value]).collect()),
        other => match other.as_bytes() {
            Some(bytes) => Ok(vec![String::from_utf8_lossy(bytes).into_owned()]),
            None => other.convert().map(|word| vec![word]).map_err(|_| unexpected()),
        },
    }
}

/// Runs a script by its hash, or by its source if the node does not have it yet. Runs the plain command of a call
/// without a script.
pub(crate) async fn run(client: &Client, call: &Call<'_>, response_timeout: Duration) -> Result<Value, Error> {
    run_by(client, call, response_timeout, async |client, command, args| client.custom(command, args).await).await
}

/// Sends one command right after `ASKING`.
async fn asking(client: WithOptions<Client>, command: CustomCommand, args: Vec<Value>) -> Result<Value, Error> {
    let pipeline = Pipeline::from(client);
    let asking = CustomCommand::new_static("ASKING", ClusterHash::FirstKey, false);
    let () = pipeline.custom(asking, Vec::<Value>::new()).await?;
    let () = pipeline.custom(command, args).await?;
    let mut answers = pipeline.try_all::<Value>().await.into_iter();
    // A user may lack the permission for `ASKING`. The answer to the command would then be a redirect.
    answers.next().transpose()?;
    answers.next().unwrap_or_else(|| Err(Error::new(ErrorKind::Protocol, "no answer after that to ASKING")))
}

async fn run_by<F>(
    client: &Client,
    call: &Call<'_>,
    response_timeout: Duration,
    send: impl Fn(WithOptions<Client>, CustomCommand, Vec<Value>) -> F,
) -> Result<Value, Error>
where
    F: Future<Output = Result<Value, Error>>,
{
    let sent = Instant::now();
    let within = |timeout| client.with_options(&once(timeout));
    let Some(script) = call.script() else {
        let set_command = CustomCommand::new_static("SET", slot(client, call), false);
        return send(within(response_timeout), set_command, set(call)).await;
    };
    match send(within(response_timeout), eval("EVALSHA", client, call), args(script.sha1(), call)).await {
        Err(error) if is_no_script(&error) => {
            // A timeout of zero would mean no timeout to fred.
            let left = response_timeout.saturating_sub(sent.elapsed()).max(Duration::from_millis(1));
            send(within(left), eval("EVAL", client, call), args(script.source(), call)).await
        }
        answer => answer,
    }
}

/// Creates a custom command: fred's own `evalsha` and `eval` ignore the options.
fn eval(name: &'static str, client: &Client, call: &Call<'_>) -> CustomCommand {
    CustomCommand::new_static(name, slot(client, call), false)
}

/// Returns how fred finds the member that owns the keys, all of which are in one slot. For a custom command, fred uses
/// only an explicit slot: with any other rule it hashes the first argument, which is not a key in the call of a script.
fn slot(client: &Client, call: &Call<'_>) -> ClusterHash {
    match call.keys().next().filter(|_| client.is_clustered()) {
        Some(key) => ClusterHash::Custom(hash_slot(key.as_str())),
        None => ClusterHash::FirstKey,
    }
}

fn args(script: &'static str, call: &Call<'_>) -> Vec<Value> {
    /// The script, the number of keys, the token and the text.
    const OTHERS: usize = 4;
    let mut args = Vec::with_capacity(OTHERS + call.key_count() + call.numbers().len());
    args.extend([Value::from_static_str(script), Value::Integer(call.key_count() as i64)]);
    args.extend(call.keys().map(|key| key.as_str().into()));
    args.extend(call.token().map(|token| token.as_str().into()));
    args.extend(numbers(call));
    args.extend(call.texts().map(Value::from));
    args
}

fn set(call: &Call<'_>) -> Vec<Value> {
    /// The key, the token, two words and a number.
    const WORDS: usize = 5;
    let mut args = Vec::with_capacity(WORDS);
    args.extend(call.keys().map(|key| key.as_str().into()));
    args.extend(call.token().map(|token| token.as_str().into()));
    args.extend([Value::from_static_str("NX"), Value::from_static_str("PX")]);
    args.extend(numbers(call));
    args
}

fn numbers(call: &Call<'_>) -> impl Iterator<Item = Value> {
    // None of them is above 2^53.
    call.numbers().iter().map(|number| Value::Integer(i64::try_from(*number).unwrap_or(i64::MAX)))
}

/// Parses an answer. An answer that no script sends is an error of that answer alone: the connection is fine.
pub(crate) fn read(value: Value) -> Result<Reply, NodeError> {
    match value {
        Value::Null => Ok(Reply::Nothing),
        Value::Integer(integer) => Ok(Reply::Integer(integer)),
        ref ok if ok.is_ok() => Ok(Reply::Done),
        other => match integers(&other) {
            Some(integers) => Ok(Reply::Integers(integers)),
            None if matches!(&other, Value::Array(values) if values.len() == 3) => {
                let readers = other.convert();
                readers.map(|(lines, pttl, count)| Reply::Readers(lines, pttl, count)).map_err(|_| unexpected())
            }
            None => other.convert().map(|(token, pttl)| Reply::Holder(token, pttl)).map_err(|_| unexpected()),
        },
    }
}

/// Returns an error without the text of the failed conversion, which may show a value, which may be a token.
fn unexpected() -> NodeError {
    NodeError::new(NodeErrorKind::Other, "unexpected answer: neither a number nor a key's value")
}

fn integers(value: &Value) -> Option<[i64; 3]> {
    let Value::Array(values) = value else { return None };
    match values.as_slice() {
        [Value::Integer(first), Value::Integer(second)] => Some([*first, *second, 0]),
        [Value::Integer(first), Value::Integer(second), Value::Integer(third)] => Some([*first, *second, *third]),
        _ => None,
    }
}

/// Returns the client for a call: the same one for all calls with the same resources, so that they reach the node in
/// order.
pub(crate) fn client_of<'c, T>(clients: &'c [T], call: &Call<'_>) -> Option<&'c T> {
    let mut hasher = DefaultHasher::new();
    call.resources().hash(&mut hasher);
    let index = hasher.finish().checked_rem(clients.len() as u64)?;
    clients.get(index as usize)
}

#[cfg(test)]
mod tests {
    use fred::types::config::ServerConfig;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
        time::timeout,
    };

    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn a_connection_is_closed_once_it_is_made_if_its_caller_no_longer_waits() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = ServerConfig::new_centralized(address.ip().to_string(), address.port());
        let connector = Connector::new(Config { server, ..Config::default() }, None);
        for _ in 0..5 {
            let connecting = tokio::spawn(connector.connect(LONG));
            let (mut server, _) = timeout(LONG, listener.accept()).await.unwrap().unwrap();
            let mut said = [0; 4096];
            let mut length = timeout(LONG, server.read(&mut said)).await.unwrap().unwrap();
            connecting.abort();
            assert!(connecting.await.is_err_and(|error| error.is_cancelled()));
            // fred continues to connect. It ends the connection only if the client is closed.
            while length > 0 {
                let text = String::from_utf8_lossy(&said[..length]).to_uppercase();
                let answer = match &*text {
                    text if text.contains("INFO") => "$19\r\nredis_version:7.0.0\r\n",
                    text if text.contains("CLIENT") => ":1\r\n",
                    text if text.contains("PING") => "+PONG\r\n",
                    _ => "+OK\r\n",
                };
                server.write_all(answer.as_bytes()).await.unwrap();
                length = timeout(LONG, server.read(&mut said)).await.unwrap().unwrap_or_default();
            }
        }
    }
}
