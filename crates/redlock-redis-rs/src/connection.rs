//! Connects with redis-rs, and runs scripts and commands.

#[cfg(feature = "sentinel")]
use std::sync::Arc;
use std::time::Duration;

use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, Pipeline, RedisConnectionInfo, RedisResult,
    Value,
    aio::{ConnectionManager, MultiplexedConnection},
};
use redlock_core::{
    NodeError, NodeErrorKind, Token,
    backend::{Call, Connect, Failure, Reply},
};
use tokio::time::{error::Elapsed, timeout};

use crate::{
    error::{is_broken, is_login, is_no_script, node_error},
    greeting::greeting,
    resolver::Resolver,
    settings::at,
};
#[cfg(feature = "sentinel")]
use crate::{sentinels::Sentinels, settings::with_default_keepalive};

/// Connects with a client's settings.
pub(crate) enum Connector {
    /// Always to the same address.
    Client(Box<Client>),
    /// Always to the same address, which a URL or a cluster has named.
    Server(Box<ConnectionInfo>),
    /// To the server that the sentinels name as the primary when it connects.
    #[cfg(feature = "sentinel")]
    Sentinel(Arc<Sentinels>),
}

impl Connector {
    /// Returns a connector with the same settings to the server at this host and port.
    pub(crate) fn at(info: &ConnectionInfo, host: &str, port: u16) -> Self {
        Self::Server(Box::new(at(info, host, port)))
    }

    /// Returns the passwords that are known.
    pub(crate) fn passwords(&self) -> Vec<String> {
        let password = |info: &ConnectionInfo| info.redis_settings().password().map(str::to_owned);
        match self {
            Self::Client(client) => password(client.get_connection_info()).into_iter().collect(),
            Self::Server(info) => password(info).into_iter().collect(),
            #[cfg(feature = "sentinel")]
            Self::Sentinel(sentinels) => sentinels.password().into_iter().collect(),
        }
    }

    /// Creates a client with a complete login. With sentinels, it is a client of the current primary.
    pub(crate) fn client(
        &self,
        connect_timeout: Duration,
    ) -> impl Future<Output = RedisResult<Client>> + Send + 'static {
        #[cfg(not(feature = "sentinel"))]
        let _ = connect_timeout;
        let connector = match self {
            Self::Client(client) => Self::Client(client.clone()),
            Self::Server(info) => Self::Server(info.clone()),
            #[cfg(feature = "sentinel")]
            Self::Sentinel(sentinels) => Self::Sentinel(Arc::clone(sentinels)),
        };
        async move {
            let client = match connector {
                Self::Client(client) => *client,
                Self::Server(info) => Client::open(*info)?,
                #[cfg(feature = "sentinel")]
                Self::Sentinel(sentinels) => with_default_keepalive(sentinels.primary(connect_timeout).await?),
            };
            #[cfg(feature = "tls")]
            name_tls_provider(&client);
            Ok(names_its_user(client))
        }
    }
}

/// Returns a configuration without timeouts: they are set here and in each call instead.
pub(crate) fn unbounded() -> AsyncConnectionConfig {
    let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
    config.set_dns_resolver(Resolver)
}

impl Connect for Connector {
    type Connection = MultiplexedConnection;

    fn connect(
        &self,
        connect_timeout: Duration,
    ) -> impl Future<Output = Result<MultiplexedConnection, NodeError>> + Send + 'static {
        let (client, mut over_tls) = (self.client(connect_timeout), false);
        async move {
            let config = unbounded();
            let connecting = async {
                let client = client.await.map_err(node_error)?;
                over_tls = is_tls(&client);
                let first = client.get_multiplexed_async_connection_with_config(&config).await;
                let Err(error) = first else { return first.map_err(node_error) };
                // A server without a password refuses a password, unless it comes with a user name.
                if let Some(client) = is_login(&error).then(|| as_default_user(&client)).flatten()
                    && let Ok(connection) = client.get_multiplexed_async_connection_with_config(&config).await
                {
                    return Ok(connection);
                }
                match greeting(&client, &error).await {
                    Some(reply) => Err(NodeError::new(NodeErrorKind::of_reply(&reply), reply)),
                    None => Err(node_error(error)),
                }
            };
            match timeout(connect_timeout, connecting).await {
                Ok(connection) => connection,
                Err(_) if over_tls => Err(NodeError::no_tls_connection(connect_timeout)),
                Err(_) => Err(NodeError::no_connection(connect_timeout)),
            }
        }
    }

    async fn run(
        mut connection: MultiplexedConnection,
        call: &Call<'_>,
        response_timeout: Duration,
    ) -> Result<Reply, Failure> {
        let answer = timeout(response_timeout, run(&mut connection, call)).await;
        answered(answer, read, response_timeout)
    }

    async fn run_asking(
        connection: MultiplexedConnection,
        call: &Call<'_>,
        response_timeout: Duration,
    ) -> Result<Reply, Failure> {
        let answer = timeout(response_timeout, run(&mut Asking(connection), call)).await;
        answered(answer, read, response_timeout)
    }

    async fn command(
        mut connection: MultiplexedConnection,
        command: &[&str],
        response_timeout: Duration,
    ) -> Result<Vec<String>, Failure> {
        answered(timeout(response_timeout, plain(command).query_async(&mut connection)).await, words, response_timeout)
    }
}

fn is_tls(client: &Client) -> bool {
    matches!(client.get_connection_info().addr(), ConnectionAddr::TcpTls { .. })
}

/// Returns the client, with an empty password if it names a user without one: redis-rs would not log in otherwise.
fn names_its_user(client: Client) -> Client {
    let login = client.get_connection_info().redis_settings();
    match (login.username(), login.password()) {
        (Some(_), None) => with_login(&client, login.clone().set_password("")).unwrap_or(client),
        _ => client,
    }
}

/// Returns a client that logs in as the user `default`, if this one has only a password.
fn as_default_user(client: &Client) -> Option<Client> {
    let login = client.get_connection_info().redis_settings();
    match (login.username(), login.password()) {
        (None, Some(_)) => with_login(client, login.clone().set_username("default")),
        _ => None,
    }
}

fn with_login(client: &Client, login: RedisConnectionInfo) -> Option<Client> {
    Client::open(client.get_connection_info().clone().set_redis_settings(login)).ok()
}

/// Returns the parsed answer, or what its absence means for the connection.
fn answered<A>(
    answer: Result<RedisResult<Value>, Elapsed>,
    read: impl FnOnce(Value) -> Result<A, NodeError>,
    response_timeout: Duration,
) -> Result<A, Failure> {
    match answer {
        Ok(Ok(value)) => read(value).map_err(Failure::Answered),
        Ok(Err(error)) if is_broken(&error) => Err(Failure::Broken(node_error(error))),
        Ok(Err(error)) => Err(Failure::Answered(node_error(error))),
        Err(_) => Err(Failure::Silent(NodeError::no_answer(response_timeout))),
    }
}

/// Creates a plain command.
pub(crate) fn plain(words: &[&str]) -> Cmd {
    let mut command = Cmd::new();
    command.arg(words);
    command
}

/// Returns all strings and numbers of a reply, in order.
pub(crate) fn words(value: Value) -> Result<Vec<String>, NodeError> {
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let several = |values: Vec<Value>| Ok(values.into_iter().map(words).collect::<Result<Vec<_>, _>>()?.concat());
    match value {
        Value::Nil => Ok(Vec::new()),
        Value::BulkString(bytes) => Ok(vec![text(bytes)]),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Ok(vec![text]),
        Value::Int(integer) => Ok(vec![integer.to_string()]),
        Value::Array(values) | Value::Set(values) => several(values),
        Value::Map(pairs) => several(pairs.into_iter().flat_map(|(name, value)| [name, value]).collect()),
        Value::Attribute { data, .. } => words(*data),
        Value::ServerError(error) => Err(node_error(error.into())),
        // Its text may contain a value, which may be a token. So may the text of a failed conversion.
        _ => Err(unexpected()),
    }
}

/// Runs a script by its hash, or by its source if the node does not have it yet. Runs the plain command of a call
/// without a script.
pub(crate) async fn run(connection: &mut impl Sends, call: &Call<'_>) -> RedisResult<Value> {
    let command = call.script().map_or_else(|| set(call), |script| eval("EVALSHA", script.sha1(), call));
    match (connection.send(&command).await.and_then(Value::extract_error), call.script()) {
        (Err(error), Some(script)) if is_no_script(&error) => {
            // Rare, and boxed so that all other commands stay small.
            Box::pin(connection.send(&eval("EVAL", script.source(), call))).await?.extract_error()
        }
        (answer, _) => answer,
    }
}

/// Sends a command and returns its answer, which may be an error in the form of a value.
pub(crate) trait Sends {
    fn send(&mut self, command: &Cmd) -> impl Future<Output = RedisResult<Value>> + Send;
}

impl Sends for MultiplexedConnection {
    // Avoids the box that `ConnectionLike` would put each future into.
    async fn send(&mut self, command: &Cmd) -> RedisResult<Value> {
        self.send_packed_command(command).await
    }
}

/// A connection that sends `ASKING` before each command.
struct Asking(MultiplexedConnection);

impl Sends for Asking {
    async fn send(&mut self, command: &Cmd) -> RedisResult<Value> {
        let mut pipeline = Pipeline::with_capacity(2);
        pipeline.cmd("ASKING").add_command(command.clone());
        let mut answers = self.0.send_packed_commands(&pipeline, 0, 2).await?.into_iter();
        // A user may lack the permission for `ASKING`. The answer to the command would then be a redirect.
        answers.next().map(Value::extract_error).transpose()?;
        Ok(answers.next().unwrap_or(Value::Nil))
    }
}

impl Sends for ConnectionManager {
    async fn send(&mut self, command: &Cmd) -> RedisResult<Value> {
        self.send_packed_command(command).await
    }
}

#[cfg(feature = "cluster")]
impl Sends for redis::cluster_async::ClusterConnection {
    async fn send(&mut self, command: &Cmd) -> RedisResult<Value> {
        redis::aio::ConnectionLike::req_packed_command(self, command).await
    }
}

fn eval(name: &str, script: &str, call: &Call<'_>) -> Cmd {
    let mut command = room_for(call, script.len());
    command.arg(name).arg(script).arg(call.key_count());
    for key in call.keys() {
        command.arg(key.as_str());
    }
    command.arg(call.token().map(Token::as_bytes)).arg(call.numbers());
    for text in call.texts() {
        command.arg(text);
    }
    command
}

fn set(call: &Call<'_>) -> Cmd {
    let mut command = room_for(call, 0);
    command.arg("SET");
    for key in call.keys() {
        command.arg(key.as_str());
    }
    command.arg(call.token().map(Token::as_bytes)).arg("NX").arg("PX").arg(call.numbers());
    command
}

/// Creates a command with enough room, so that it need not grow while it is built.
fn room_for(call: &Call<'_>, script: usize) -> Cmd {
    /// The command's name, the script, the number of keys, the token and the text; `SET` has fewer.
    const WORDS: usize = 5;
    /// The bytes of these words and the numbers, apart from the script, the keys and the token.
    const BYTES: usize = 64;
    let keys: usize = call.keys().map(|key| key.as_str().len()).sum();
    let token = call.token().map_or(0, |token| token.as_bytes().len());
    Cmd::with_capacity(WORDS + call.key_count() + call.numbers().len(), BYTES + script + keys + token)
}

/// Parses an answer. An answer that no script sends is an error of that answer alone: the connection is fine.
pub(crate) fn read(value: Value) -> Result<Reply, NodeError> {
    match value {
        Value::Okay => Ok(Reply::Done),
        Value::Nil => Ok(Reply::Nothing),
        Value::Int(integer) => Ok(Reply::Integer(integer)),
        other => match integers(&other) {
            Some(integers) => Ok(Reply::Integers(integers)),
            None if other.as_sequence().is_some_and(|values| values.len() == 3) => {
                let readers = redis::from_redis_value(other);
                readers.map(|(lines, pttl, count)| Reply::Readers(lines, pttl, count)).map_err(|_| unexpected())
            }
            None => {
                redis::from_redis_value(other).map(|(token, pttl)| Reply::Holder(token, pttl)).map_err(|_| unexpected())
            }
        },
    }
}

fn unexpected() -> NodeError {
    NodeError::new(NodeErrorKind::Other, "unexpected answer: neither a number nor a key's value")
}

fn integers(value: &Value) -> Option<[i64; 3]> {
    match value.as_sequence()? {
        [Value::Int(first), Value::Int(second)] => Some([*first, *second, 0]),
        [Value::Int(first), Value::Int(second), Value::Int(third)] => Some([*first, *second, *third]),
        _ => None,
    }
}

/// Installs a process-wide TLS provider: redis-rs uses rustls' one, and panics if two are built in and none is
/// installed.
#[cfg(feature = "tls")]
fn name_tls_provider(client: &Client) {
    use rustls::crypto::{CryptoProvider, ring};

    if is_tls(client) && CryptoProvider::get_default().is_none() {
        // It fails if another thread has just installed one, which is fine too.
        let _ = ring::default_provider().install_default();
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    #[tokio::test]
    async fn a_user_without_permission_for_asking_gets_a_permission_error() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut said = [0; 4096];
            loop {
                let length = connection.read(&mut said).await.unwrap();
                let text = String::from_utf8_lossy(&said[..length]).into_owned();
                let lines: Vec<_> = text.split("\r\n").collect();
                for command in lines.windows(3).filter(|lines| lines[0].starts_with('*')) {
                    let answer = match command[2] {
                        "ASKING" => "-NOPERM User locker has no permissions to run the 'asking' command\r\n",
                        "GET" => "-MOVED 1 127.0.0.1:7\r\n",
                        _ => "+OK\r\n",
                    };
                    connection.write_all(answer.as_bytes()).await.unwrap();
                }
            }
        });
        let client = Client::open(format!("redis://{address}")).unwrap();
        let connection = client.get_multiplexed_async_connection().await.unwrap();
        let error = Asking(connection).send(redis::cmd("GET").arg("key")).await.unwrap_err();
        assert_eq!(node_error(error).kind(), NodeErrorKind::Permission);
        server.abort();
    }
}
