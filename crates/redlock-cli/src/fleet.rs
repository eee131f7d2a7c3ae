//! The nodes: where they are configured, and the `Redlock` over them.

use std::{env, ffi::OsString, fmt, path::PathBuf, sync::Arc, time::Duration};

use redlock_core::{
    BuildError, FromEnvError, LockNode, NodeUrlError, Owner, Redlock, RedlockBuilder, algorithm::Ttl, backend::NodeUrl,
};

use crate::{
    args::FleetArgs,
    config::{self, Config, ConfigError},
    failure::Failure,
    say::Say,
    tls::{Tls, TlsError, TlsFiles},
};

/// The configured nodes.
#[derive(Debug)]
pub(crate) struct Fleet {
    nodes: Vec<Arc<dyn LockNode>>,
    key_prefix: String,
    node_timeout: Option<Duration>,
    restart_guard: Option<Duration>,
    owner: Option<Owner>,
}

impl Fleet {
    /// Opens the nodes, and warns of passwords that others can see. Sends nothing.
    pub(crate) fn open(args: &FleetArgs, say: &Say) -> Result<Self, FleetError> {
        let file = args.config.clone().or_else(|| set("REDLOCK_CONFIG").map(PathBuf::from));
        let config = file.as_deref().map(Config::read).transpose()?.unwrap_or_default();
        let (urls, source) = if !args.nodes.is_empty() {
            let urls = args.nodes.iter().flat_map(|nodes| NodeUrl::split(nodes));
            (NodeUrl::parse_all(urls), Source::Argument)
        } else {
            match NodeUrl::from_env() {
                Ok(urls) => (Ok(urls), Source::Environment),
                Err(FromEnvError::Url(error)) => (Err(error), Source::Environment),
                // A variable without a URL is a mistake, so no other nodes must be used instead.
                Err(FromEnvError::NotSet) if set("REDLOCK_NODES").is_some() => return Err(FleetError::NoNodes),
                Err(FromEnvError::NotSet) => (NodeUrl::parse_all(config.nodes), Source::File),
                Err(error) => return Err(error.into()),
            }
        };
        let urls = urls.map_err(|error| FleetError::Url { error, place: source })?;
        if urls.is_empty() {
            return Err(FleetError::NoNodes);
        }
        let is_open = || file.as_deref().is_some_and(config::is_open_to_all);
        match source {
            _ if !urls.iter().any(|url| url.password.is_some() || url.sentinel_password.is_some()) => {}
            Source::Argument => {
                say.warning(
                    "the password in --nodes shows in `ps`: put the URLs into REDLOCK_NODES or the file of --config",
                );
            }
            Source::File if is_open() => {
                say.warning("all users can read the configuration file, which holds a password: chmod o-r it");
            }
            Source::Environment | Source::File => {}
        }
        let files = TlsFiles { ca: args.ca.clone(), cert: args.cert.clone(), key: args.key.clone() };
        let tls = files.or(TlsFiles { ca: config.ca, cert: config.cert, key: config.key }).read()?;
        let nodes = open(urls, tls.as_ref(), args, source)?;
        Ok(Self {
            nodes,
            key_prefix: args.key_prefix.clone().or(config.key_prefix).unwrap_or_default(),
            node_timeout: args.node_timeout.or(config.node_timeout),
            restart_guard: config.restart_guard,
            owner: config.owner,
        })
    }

    /// Returns the longest time for which the nodes keep a lock that nobody extends.
    pub(crate) fn longest_ttl(&self) -> Duration {
        self.restart_guard.unwrap_or(Ttl::MAX).min(Ttl::MAX)
    }

    /// Returns the nodes, for requests to each of them.
    pub(crate) fn nodes(&self) -> &[Arc<dyn LockNode>] {
        &self.nodes
    }

    /// Returns a `Redlock` over the nodes that only inspects locks.
    pub(crate) fn redlock(&self) -> Result<Redlock, BuildError> {
        self.builder().build()
    }

    /// Returns a `Redlock` over the nodes that acquires locks, with an owner.
    pub(crate) fn holder(&self, owner: Option<Owner>, default: Owner) -> Result<Redlock, BuildError> {
        self.builder().owner(owner.or_else(|| self.owner.clone()).unwrap_or(default)).build()
    }

    fn builder(&self) -> RedlockBuilder {
        let builder = Redlock::builder().nodes(self.nodes.iter().cloned()).key_prefix(self.key_prefix.as_str());
        let builder = match self.node_timeout {
            Some(node_timeout) => builder.node_timeout(node_timeout),
            None => builder,
        };
        match self.restart_guard {
            Some(longest_ttl) => builder.restart_guard(longest_ttl),
            None => builder,
        }
    }
}

/// Returns an environment variable, if it is set and not empty.
fn set(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|text| !text.is_empty())
}

#[cfg_attr(not(feature = "fred"), expect(unused_variables, reason = "there is only one client"))]
fn open(
    urls: Vec<NodeUrl>,
    tls: Option<&Tls>,
    args: &FleetArgs,
    place: Source,
) -> Result<Vec<Arc<dyn LockNode>>, FleetError> {
    let fail = |error| FleetError::Url { error, place };
    #[cfg(feature = "fred")]
    if args.client == crate::args::RedisClient::Fred {
        return match tls {
            Some(_) => Err(TlsError::Client.into()),
            None => Ok(shared(redlock_fred::RedisNode::open_all(urls).map_err(fail)?)),
        };
    }
    let open = |url: NodeUrl| match tls {
        Some(tls) => tls.open(&url),
        None => redlock_redis_rs::RedisNode::open(url),
    };
    Ok(shared(urls.into_iter().map(open).collect::<Result<_, _>>().map_err(fail)?))
}

fn shared(nodes: Vec<impl LockNode>) -> Vec<Arc<dyn LockNode>> {
    nodes.into_iter().map(|node| Arc::new(node) as Arc<dyn LockNode>).collect()
}

/// The place where the nodes are configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Argument,
    Environment,
    File,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Argument => "--nodes",
            Self::Environment => "REDLOCK_NODES",
            Self::File => "`nodes` in the configuration file",
        })
    }
}

/// The nodes cannot be used as configured. The error contains no password.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FleetError {
    #[error(
        "no nodes are named: set REDLOCK_NODES=redis://a,redis://b,redis://c, or give --nodes, or `nodes` in the file of \
         --config"
    )]
    NoNodes,
    #[error(transparent)]
    Environment(#[from] FromEnvError),
    #[error("{place}: {error}")]
    Url { error: NodeUrlError, place: Source },
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl From<FleetError> for Failure {
    fn from(error: FleetError) -> Self {
        Self::of(&error)
    }
}
