//! Node URLs, parsed once for every Redis client, so that all of them accept the same URLs.

mod address;
mod env;
mod error;
mod printable;

use std::{convert::Infallible, fmt, time::Duration};

use url::Url;

pub use self::{
    address::NodeAddress,
    error::{FromEnvError, NodeUrlError},
};
use self::{
    address::{Hosts, address, decoded, split},
    error::Why,
    printable::{UNKNOWN, host_of, is_cut_short, may_hide_password, printable},
};

/// Where a Redis node is and how to talk to it. For authors of backends; users write the URL.
///
/// ```text
/// redis://[user[:password]@]host[:port][/db][?option=value&...]      port 6379, db 0 by default
/// rediss://...                                                       the same over TLS
/// redis+unix:///path/to.sock[?db=1&user=u&password=p&...]            also unix:///path/to.sock
/// tcp://[:password@]host[:port][/db][?DialTimeout=ns&...]            as redlock-go writes it
/// redis+sentinel://[user[:password]@]host[:port],...,host[:port]/service[/db][?...]      port 26379 by default
/// redis-cluster://[user[:password]@]host[:port],...,host[:port][?...]
/// ```
///
/// A service behind Redis Sentinel is one node, and so is a Redis Cluster. The hosts of `redis+sentinel` are sentinels;
/// user and password are those of the Redis servers. The hosts of `redis-cluster` are members, which report the others.
/// With TLS: `rediss+sentinel` (to the sentinels too) and `rediss-cluster`.
///
/// | option | meaning | default |
/// |---|---|---|
/// | `connect_timeout` | maximum time to connect, for example `200ms` or `1s` | 1 s |
/// | `response_timeout` | maximum time to wait for an answer | 1 s |
/// | `keepalive` | idle time after which TCP probes the connection, or `off` | 30 s |
/// | `idle_limit` | time without an answer after which the next command is also sent over a new connection, unless the old one answers before that is made; or `off` | 1 min |
/// | `sentinel_user`, `sentinel_password` | the login to the sentinels; also `sentinelUsername`, `sentinelPassword` | none |
/// | `DialTimeout`, `ReadTimeout`, `WriteTimeout` | redlock-go's, in nanoseconds; the response timeout is the greater of the last two | |
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeUrl {
    /// Where the node listens.
    pub address: NodeAddress,
    /// The user, for ACLs.
    pub user: Option<String>,
    /// The password. Never printed.
    pub password: Option<String>,
    /// The user of the sentinels, for ACLs.
    pub sentinel_user: Option<String>,
    /// The password of the sentinels. Never printed.
    pub sentinel_password: Option<String>,
    /// The database number.
    pub db: u32,
    /// The maximum time to connect.
    pub connect_timeout: Duration,
    /// The maximum time to wait for an answer.
    pub response_timeout: Duration,
    /// Idle time after which TCP probes a connection. `None`: it never does.
    pub keepalive: Option<Duration>,
    /// Time without an answer after which a connection is not relied on alone. `None`: it always is.
    pub idle_limit: Option<Duration>,
}

impl fmt::Debug for NodeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeUrl")
            .field("address", &self.address)
            .field("user", &self.user)
            .field("password", &self.password.as_ref().map(|_| "..."))
            .field("sentinel_user", &self.sentinel_user)
            .field("sentinel_password", &self.sentinel_password.as_ref().map(|_| "..."))
            .field("db", &self.db)
            .field("connect_timeout", &self.connect_timeout)
            .field("response_timeout", &self.response_timeout)
            .field("keepalive", &self.keepalive)
            .field("idle_limit", &self.idle_limit)
            .finish()
    }
}

impl NodeUrl {
    /// The maximum time to connect and to wait for an answer, unless the URL says otherwise: long enough for a
    /// handshake across continents, short enough to give up a hung node within a second. It does not delay an acquire:
    /// the driver continues after its own, shorter, node timeout.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1);

    /// The idle time after which TCP probes a connection, unless the URL says otherwise. It keeps network paths open
    /// that forget idle connections, and detects a dead server within a minute.
    pub const DEFAULT_KEEPALIVE: Duration = Duration::from_secs(30);

    /// The time without an answer after which a connection is not relied on alone, unless the URL says otherwise.
    /// Network paths forget idle connections after some minutes, and a keepalive may be lost or switched off.
    pub const DEFAULT_IDLE_LIMIT: Duration = Duration::from_secs(60);

    /// Parses a URL.
    ///
    /// # Errors
    ///
    /// If it is malformed, or has a scheme or an option that is not listed above. The error never contains the
    /// password.
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
        let hosts = Hosts::of(text);
        let url = Url::parse(&hosts.first_only).map_err(|error| NodeUrlError {
            url: host_of(text),
            why: if hosts.are_unexpected { Why::Hosts } else { Why::Malformed(error.to_string()) },
            number: None,
        })?;
        let fail = |why| NodeUrlError { url: printable(&url), why, number: None };
        let (address, db) = address(&url, &hosts).map_err(fail)?;
        let mut node = Self {
            address,
            user: decoded(url.username()).map_err(fail)?,
            password: decoded(url.password().unwrap_or_default()).map_err(fail)?,
            sentinel_user: None,
            sentinel_password: None,
            db: 0,
            connect_timeout: Self::DEFAULT_TIMEOUT,
            response_timeout: Self::DEFAULT_TIMEOUT,
            keepalive: Some(Self::DEFAULT_KEEPALIVE),
            idle_limit: Some(Self::DEFAULT_IDLE_LIMIT),
        };
        if !db.is_empty() {
            node.db = db.parse().map_err(|_| fail(not_a_database(db)))?;
        }
        let has_sentinels = matches!(node.address, NodeAddress::Sentinel { .. });
        let mut go_response_timeout = None;
        for (name, value) in url.query_pairs() {
            let bad = |()| fail(Why::Timeout);
            match &*name {
                "connect_timeout" => node.connect_timeout = duration(&value).map_err(bad)?,
                "response_timeout" => node.response_timeout = duration(&value).map_err(bad)?,
                "keepalive" if value == "off" => node.keepalive = None,
                "keepalive" => node.keepalive = Some(duration(&value).map_err(bad)?),
                "idle_limit" if value == "off" => node.idle_limit = None,
                "idle_limit" => node.idle_limit = Some(duration(&value).map_err(bad)?),
                "DialTimeout" => node.connect_timeout = nanoseconds(&value).map_err(bad)?,
                "ReadTimeout" | "WriteTimeout" => {
                    go_response_timeout = go_response_timeout.max(Some(nanoseconds(&value).map_err(bad)?));
                }
                "db" => node.db = value.parse().map_err(|_| fail(not_a_database(&value)))?,
                "user" => node.user = Some(value.into_owned()),
                "password" | "pass" => node.password = Some(value.into_owned()),
                "sentinel_user" | "sentinelUsername" if has_sentinels => node.sentinel_user = Some(value.into_owned()),
                "sentinel_password" | "sentinelPassword" if has_sentinels => {
                    node.sentinel_password = Some(value.into_owned());
                }
                _ => return Err(fail(Why::Option)),
            }
        }
        node.response_timeout = go_response_timeout.unwrap_or(node.response_timeout);
        Ok(node)
    }

    /// Splits a list of URLs, for example the value of an environment variable, at white space and at commas. A comma
    /// between the hosts of a `redis+sentinel` or `redis-cluster` URL belongs to the URL.
    ///
    /// ```
    /// use redlock_core::backend::NodeUrl;
    ///
    /// let urls = NodeUrl::split("redis://a,redis+sentinel://b,c,d/mymaster,redis://e");
    /// assert_eq!(urls, ["redis://a", "redis+sentinel://b,c,d/mymaster", "redis://e"]);
    /// ```
    #[must_use]
    pub fn split(list: &str) -> Vec<String> {
        split(list)
    }

    /// Parses the URLs of one fleet.
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
            if nodes.iter().any(|other| other.address.is_same_node(&node.address)) {
                return Err(number(node.error(Why::Twice)));
            }
            nodes.push(node);
        }
        Ok(nodes)
    }

    /// Sets the maximum time to connect.
    #[must_use]
    pub fn with_connect_timeout(self, connect_timeout: Duration) -> Self {
        Self { connect_timeout, ..self }
    }

    /// Sets the maximum time to wait for an answer.
    #[must_use]
    pub fn with_response_timeout(self, response_timeout: Duration) -> Self {
        Self { response_timeout, ..self }
    }

    /// Sets the idle time after which TCP probes a connection.
    #[must_use]
    pub fn with_keepalive(self, keepalive: Option<Duration>) -> Self {
        Self { keepalive, ..self }
    }

    /// Sets the time without an answer after which a connection is not relied on alone.
    #[must_use]
    pub fn with_idle_limit(self, idle_limit: Option<Duration>) -> Self {
        Self { idle_limit, ..self }
    }

    /// Checks the values that the setters got, and whether the backend was built with what the URL needs. For backends,
    /// which call it when they open a node.
    ///
    /// # Errors
    ///
    /// If a timeout is zero, or a feature of the backend crate is missing: [`NodeUrlError::missing_feature`] names it.
    pub fn check(&self, features: UrlFeatures) -> Result<(), NodeUrlError> {
        if self.connect_timeout.is_zero()
            || self.response_timeout.is_zero()
            || [self.keepalive, self.idle_limit].into_iter().flatten().any(|it| it.is_zero())
        {
            return Err(self.error(Why::ZeroTimeout));
        }
        let (is_sentinel, is_cluster, has_tls) = match self.address {
            NodeAddress::Tcp { tls, .. } => (false, false, tls),
            NodeAddress::Sentinel { tls, .. } => (true, false, tls),
            NodeAddress::Cluster { tls, .. } => (false, true, tls),
            NodeAddress::Unix(_) => (false, false, false),
        };
        let needed = [
            ("sentinel", is_sentinel && !features.sentinel),
            ("cluster", is_cluster && !features.cluster),
            ("tls", has_tls && !features.tls),
        ];
        match needed.into_iter().find(|(_, is_missing)| *is_missing) {
            Some((feature, _)) => Err(self.error(Why::Feature(feature))),
            None => Ok(()),
        }
    }

    /// Returns the error for a URL that the Redis client rejects, with its `reason`. For backends.
    #[must_use]
    pub fn rejected(&self, reason: impl fmt::Display) -> NodeUrlError {
        self.error(Why::Rejected(reason.to_string()))
    }

    fn error(&self, why: Why) -> NodeUrlError {
        NodeUrlError { url: self.name(), why, number: None }
    }

    /// Returns the address, as errors and logs print it. All URLs of one server have the same name, whatever their
    /// databases: another database number does not make another independent node. Behind sentinels, the service is part
    /// of the name.
    #[must_use]
    pub fn name(&self) -> String {
        self.address.to_string()
    }
}

/// The features of a backend crate that URLs may need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UrlFeatures {
    /// `rediss://` and other URLs with TLS.
    pub tls: bool,
    /// `redis+sentinel://`.
    pub sentinel: bool,
    /// `redis-cluster://`.
    pub cluster: bool,
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

/// Lets functions that accept a URL also accept a `NodeUrl`, which cannot fail.
impl From<Infallible> for NodeUrlError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

fn duration(text: &str) -> Result<Duration, ()> {
    humantime::parse_duration(text).ok().filter(|duration| !duration.is_zero()).ok_or(())
}

fn nanoseconds(text: &str) -> Result<Duration, ()> {
    text.parse().ok().filter(|nanoseconds| *nanoseconds > 0).map(Duration::from_nanos).ok_or(())
}

/// Returns the error for a database that is not a number. The text is printed only if it is short and has no special
/// characters: it may be part of a password that is not percent-encoded.
fn not_a_database(db: &str) -> Why {
    /// The longest text that is printed, in bytes.
    const LONGEST: usize = 5;
    let digits = db.strip_prefix('-').unwrap_or(db);
    let is_harmless = db.len() <= LONGEST && digits.chars().all(|char| char.is_ascii_alphanumeric());
    Why::Database(if is_harmless { db.to_owned() } else { String::new() })
}

#[cfg(test)]
mod tests;
