//! Node URLs, read once for every Redis client, so that all of them take the same ones.

mod printable;

use std::{convert::Infallible, fmt, time::Duration};

use url::Url;

use self::printable::{UNKNOWN, host_of, is_cut_short, may_hide_password, printable};

/// Where a Redis node is and how to talk to it. For authors of backends; users write the URL.
///
/// ```text
/// redis://[user[:password]@]host[:port][/db][?option=value&...]      port 6379, db 0 by default
/// rediss://...                                                       the same over TLS
/// redis+unix:///path/to.sock[?db=1&user=u&password=p&...]            also unix:///path/to.sock
/// tcp://[:password@]host[:port][/db][?DialTimeout=ns&...]            as redlock-go writes it
/// ```
///
/// | option | meaning | default |
/// |---|---|---|
/// | `connect_timeout` | bound on connecting, as `200ms` or `1s` | 1 s |
/// | `response_timeout` | bound on one answer | 1 s |
/// | `keepalive` | idle time after which TCP checks the connection, or `off` | 30 s |
/// | `DialTimeout`, `ReadTimeout`, `WriteTimeout` | redlock-go's, in nanoseconds; the greater of the last two is the response timeout | |
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeUrl {
    /// Where the node listens.
    pub address: NodeAddress,
    /// The user, for ACLs.
    pub user: Option<String>,
    /// The password. Never printed.
    pub password: Option<String>,
    /// The database number.
    pub db: u32,
    /// The bound on connecting.
    pub connect_timeout: Duration,
    /// The bound on one answer.
    pub response_timeout: Duration,
    /// After how long without traffic TCP checks a connection. None: it never does.
    pub keepalive: Option<Duration>,
}

/// Where a node listens.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum NodeAddress {
    /// A host and a port.
    Tcp {
        /// The name or address, without the brackets of an IPv6 address.
        host: String,
        /// The port.
        port: u16,
        /// Whether to use TLS.
        tls: bool,
    },
    /// The path of a unix socket.
    Unix(String),
}

impl fmt::Display for NodeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port, .. } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port, .. } => write!(f, "{host}:{port}"),
            Self::Unix(path) => f.write_str(path),
        }
    }
}

impl fmt::Debug for NodeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeUrl")
            .field("address", &self.address)
            .field("user", &self.user)
            .field("password", &self.password.as_ref().map(|_| "..."))
            .field("db", &self.db)
            .field("connect_timeout", &self.connect_timeout)
            .field("response_timeout", &self.response_timeout)
            .field("keepalive", &self.keepalive)
            .finish()
    }
}

impl NodeUrl {
    /// The bound on connecting and on one answer, unless the URL says otherwise: long enough for a handshake across
    /// continents, short enough that a hung node is given up within a second. It costs no acquire any time: the
    /// driver goes on after its own, shorter, node timeout.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1);

    /// The time without traffic after which TCP checks a connection, unless the URL says otherwise. It keeps paths open
    /// that forget idle connections, and finds a dead server within a minute.
    pub const DEFAULT_KEEPALIVE: Duration = Duration::from_secs(30);

    /// Reads a URL.
    ///
    /// # Errors
    ///
    /// If it is malformed, or has a scheme or an option that is not listed above. The error never holds the password.
    pub fn parse(text: &str) -> Result<Self, NodeUrlError> {
        Self::read(text).map_err(|error| match (is_cut_short(text), error.why) {
            (true, _) => NodeUrlError { url: host_of(text), why: Why::NotEncoded, number: None },
            (false, why) if may_hide_password(text) => {
                let why = if let Why::Database(_) = why { Why::Database(String::new()) } else { why };
                NodeUrlError { url: UNKNOWN.to_owned(), why, number: None }
            }
            (false, why) => NodeUrlError { why, ..error },
        })
    }

    fn read(text: &str) -> Result<Self, NodeUrlError> {
        let malformed = |error: url::ParseError| Why::Malformed(error.to_string());
        let url = Url::parse(text).map_err(|error| NodeUrlError {
            url: host_of(text),
            why: malformed(error),
            number: None,
        })?;
        let fail = |why| NodeUrlError { url: printable(&url), why, number: None };
        let mut node = Self {
            address: address(&url).map_err(fail)?,
            user: decoded(url.username()).map_err(fail)?,
            password: decoded(url.password().unwrap_or_default()).map_err(fail)?,
            db: 0,
            connect_timeout: Self::DEFAULT_TIMEOUT,
            response_timeout: Self::DEFAULT_TIMEOUT,
            keepalive: Some(Self::DEFAULT_KEEPALIVE),
        };
        if let NodeAddress::Tcp { .. } = node.address {
            match url.path().trim_matches('/') {
                "" => {}
                db => node.db = db.parse().map_err(|_| fail(not_a_database(db)))?,
            }
        }
        let mut go_response_timeout = None;
        for (name, value) in url.query_pairs() {
            let bad = |()| fail(Why::Timeout);
            match &*name {
                "connect_timeout" => node.connect_timeout = duration(&value).map_err(bad)?,
                "response_timeout" => node.response_timeout = duration(&value).map_err(bad)?,
                "keepalive" if value == "off" => node.keepalive = None,
                "keepalive" => node.keepalive = Some(duration(&value).map_err(bad)?),
                "DialTimeout" => node.connect_timeout = nanoseconds(&value).map_err(bad)?,
                "ReadTimeout" | "WriteTimeout" => {
                    go_response_timeout = go_response_timeout.max(Some(nanoseconds(&value).map_err(bad)?));
                }
                "db" => node.db = value.parse().map_err(|_| fail(not_a_database(&value)))?,
                "user" => node.user = Some(value.into_owned()),
                "password" | "pass" => node.password = Some(value.into_owned()),
                _ => return Err(fail(Why::Option)),
            }
        }
        node.response_timeout = go_response_timeout.unwrap_or(node.response_timeout);
        Ok(node)
    }

    /// Reads the URLs of one fleet.
    ///
    /// # Errors
    ///
    /// If one of them cannot be used, or two name the same server: one server must not vote twice.
    pub fn parse_all<U>(urls: impl IntoIterator<Item = U>) -> Result<Vec<Self>, NodeUrlError>
    where
        U: TryInto<Self>,
        NodeUrlError: From<U::Error>,
    {
        let mut nodes: Vec<Self> = Vec::new();
        for (index, url) in urls.into_iter().enumerate() {
            let number = |error: NodeUrlError| NodeUrlError { number: Some(index + 1), ..error };
            let node = url.try_into().map_err(|error| number(error.into()))?;
            if nodes.iter().any(|other| other.address == node.address) {
                return Err(number(node.error(Why::Twice)));
            }
            nodes.push(node);
        }
        Ok(nodes)
    }

    /// Bounds connecting.
    #[must_use]
    pub fn with_connect_timeout(self, connect_timeout: Duration) -> Self {
        Self { connect_timeout, ..self }
    }

    /// Bounds one answer.
    #[must_use]
    pub fn with_response_timeout(self, response_timeout: Duration) -> Self {
        Self { response_timeout, ..self }
    }

    /// Sets after how long without traffic TCP checks a connection.
    #[must_use]
    pub fn with_keepalive(self, keepalive: Option<Duration>) -> Self {
        Self { keepalive, ..self }
    }

    /// Checks what the setters were given, for backends to call when they open a node.
    ///
    /// # Errors
    ///
    /// If a timeout is zero, or TLS is asked for and `tls` is false: the backend was built without it.
    pub fn check(&self, tls: bool) -> Result<(), NodeUrlError> {
        if self.connect_timeout.is_zero()
            || self.response_timeout.is_zero()
            || self.keepalive.is_some_and(|it| it.is_zero())
        {
            return Err(self.error(Why::ZeroTimeout));
        }
        match self.address {
            NodeAddress::Tcp { tls: true, .. } if !tls => Err(self.error(Why::NoTls)),
            _ => Ok(()),
        }
    }

    /// The Redis client does not take the URL, for the `reason` it gives. For backends.
    #[must_use]
    pub fn rejected(&self, reason: impl fmt::Display) -> NodeUrlError {
        self.error(Why::Rejected(reason.to_string()))
    }

    fn error(&self, why: Why) -> NodeUrlError {
        NodeUrlError { url: self.name(), why, number: None }
    }

    /// The address, as errors and logs print it. Two URLs of one server have one name, whatever their databases: a
    /// database number does not make a second, independent node.
    #[must_use]
    pub fn name(&self) -> String {
        self.address.to_string()
    }
}

impl TryFrom<&str> for NodeUrl {
    type Error = NodeUrlError;

    fn try_from(text: &str) -> Result<Self, NodeUrlError> {
        Self::parse(text)
    }
}

impl TryFrom<&String> for NodeUrl {
    type Error = NodeUrlError;

    fn try_from(text: &String) -> Result<Self, NodeUrlError> {
        Self::parse(text)
    }
}

impl TryFrom<String> for NodeUrl {
    type Error = NodeUrlError;

    fn try_from(text: String) -> Result<Self, NodeUrlError> {
        Self::parse(&text)
    }
}

/// A `NodeUrl` is taken where a URL is, and that cannot fail.
impl From<Infallible> for NodeUrlError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

fn address(url: &Url) -> Result<NodeAddress, Why> {
    let tls = match url.scheme() {
        "redis" | "tcp" | "valkey" => false,
        "rediss" | "valkeys" => true,
        "redis+unix" | "unix" => {
            let path = decoded(url.path())?.filter(|path| path != "/").ok_or(Why::NoHost)?;
            return Ok(NodeAddress::Unix(path));
        }
        _ => return Err(Why::Scheme),
    };
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or(Why::NoHost)?;
    if host.contains('%') {
        return Err(Why::HostEncoded);
    }
    let host = host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    Ok(NodeAddress::Tcp { host, port: url.port().unwrap_or(6379), tls })
}

fn decoded(text: &str) -> Result<Option<String>, Why> {
    let text = percent_encoding::percent_decode_str(text).decode_utf8().map_err(|_| Why::Encoding)?;
    Ok(Some(text.into_owned()).filter(|text| !text.is_empty()))
}

fn duration(text: &str) -> Result<Duration, ()> {
    humantime::parse_duration(text).ok().filter(|duration| !duration.is_zero()).ok_or(())
}

fn nanoseconds(text: &str) -> Result<Duration, ()> {
    text.parse().ok().filter(|nanoseconds| *nanoseconds > 0).map(Duration::from_nanos).ok_or(())
}

/// The database is not a number. It is printed only if it is short and has no special characters: it may be part of a
/// password that is not percent-encoded.
fn not_a_database(db: &str) -> Why {
    /// The longest that is printed, in bytes.
    const LONGEST: usize = 5;
    let digits = db.strip_prefix('-').unwrap_or(db);
    let is_harmless = db.len() <= LONGEST && digits.chars().all(|char| char.is_ascii_alphanumeric());
    Why::Database(if is_harmless { db.to_owned() } else { String::new() })
}

/// A node URL that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot use node url {}`{url}`: {why}", Number(*number))]
pub struct NodeUrlError {
    /// As much of the URL as may be printed.
    url: String,
    why: Why,
    /// Which of several URLs it is, from 1.
    number: Option<usize>,
}

/// The number of a URL, if it is one of several.
struct Number(Option<usize>);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |number| write!(f, "number {number}, "))
    }
}

/// A text in quotes, if there is one.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, "{:?} ", self.0) }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Why {
    #[error("{0}; write it as `redis://host:6379`")]
    Malformed(String),
    #[error("the scheme is none of redis, rediss, redis+unix, unix, tcp, valkey, valkeys")]
    Scheme,
    #[error("a percent-encoded part is not UTF-8")]
    Encoding,
    #[error("the host is percent-encoded: write `@` after user and password as it is")]
    HostEncoded,
    #[error("there is no host or path")]
    NoHost,
    #[error("the same server is given twice; one server must not vote twice")]
    Twice,
    #[error("a timeout is zero")]
    ZeroTimeout,
    #[error("TLS is not built in: switch on the feature `tls` of the backend crate")]
    NoTls,
    #[error("{0}")]
    Rejected(String),
    /// Empty if it may not be printed.
    #[error("the database {}is not a number", Quoted(.0))]
    Database(String),
    #[error("the user or the password seems to contain `#`, `/` or `?`: percent-encode them, for example `/` as `%2F`")]
    NotEncoded,
    #[error(
        "an option is none of connect_timeout, response_timeout, keepalive, db, user, password, DialTimeout, ReadTimeout, \
         WriteTimeout"
    )]
    Option,
    #[error("a timeout is no positive duration, as `200ms` (redlock-go's: a number of nanoseconds)")]
    Timeout,
}

#[cfg(test)]
mod tests;
