//! The errors of node URLs.

use std::fmt;

/// A node URL that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot use node url {}`{url}`: {why}", Number(*number))]
pub struct NodeUrlError {
    /// As much of the URL as may be printed.
    pub(super) url: String,
    pub(super) why: Why,
    /// The position of the URL in a list, starting at 1.
    pub(super) number: Option<usize>,
}

impl NodeUrlError {
    /// Returns the feature of the backend crate that the URL needs and that is off: `tls`, `sentinel` or `cluster`.
    #[must_use]
    pub fn missing_feature(&self) -> Option<&'static str> {
        match self.why {
            Why::Feature(feature) => Some(feature),
            _ => None,
        }
    }
}

/// The environment names no usable nodes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FromEnvError {
    /// The variable is not set, or empty.
    #[error("no nodes are named: set REDLOCK_NODES=redis://a,redis://b,redis://c")]
    NotSet,
    /// The variable is not UTF-8.
    #[error("REDLOCK_NODES is not UTF-8")]
    NotText,
    /// A URL cannot be used.
    #[error("REDLOCK_NODES: {0}")]
    Url(#[from] NodeUrlError),
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
pub(super) enum Why {
    #[error("{0}; write it as `redis://host:6379`")]
    Malformed(String),
    #[error(
        "the scheme is not one of redis, rediss, redis+sentinel, rediss+sentinel, redis-cluster, rediss-cluster, \
         redis+unix, unix, tcp, valkey, valkeys"
    )]
    Scheme,
    #[error("a percent-encoded part is not UTF-8")]
    Encoding,
    #[error("the host is percent-encoded: do not encode the `@` after user and password")]
    HostEncoded,
    #[error("the zone of the IPv6 address is not the name of an interface: write it as `[fe80::1%25eth0]`")]
    Zone,
    #[error("TLS needs an address without a zone, since no certificate names a zone: use a host name")]
    ZoneOfTls,
    #[error("there is no host or path")]
    NoHost,
    #[error("the same server is given twice; one server must not vote twice")]
    Twice,
    #[error("a timeout is zero")]
    ZeroTimeout,
    #[error("this needs the feature `{0}` of the backend crate, which is off")]
    Feature(&'static str),
    #[error("there are several hosts: only redis+sentinel and redis-cluster URLs may have more than one")]
    Hosts,
    #[error("there is no service: write its name after the sentinels, for example `redis+sentinel://a,b,c/mymaster`")]
    NoService,
    #[error("{0}")]
    Rejected(String),
    /// Empty if it may not be printed.
    #[error("the database {}is not a number", Quoted(.0))]
    Database(String),
    #[error("the user or the password seems to contain `#`, `/` or `?`: percent-encode them, for example `/` as `%2F`")]
    NotEncoded,
    #[error(
        "an option is not one of connect_timeout, response_timeout, keepalive, idle_limit, db, user, password, \
         DialTimeout, ReadTimeout, WriteTimeout, and with sentinels sentinel_user, sentinel_password"
    )]
    Option,
    #[error("a timeout is not a positive duration, for example `200ms` (redlock-go's: a number of nanoseconds)")]
    Timeout,
}
