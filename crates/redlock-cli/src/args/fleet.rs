//! The nodes, and how to connect to them.

use std::{path::PathBuf, time::Duration};

use clap::Args;

use super::parse;

/// The nodes, and how to connect to them.
#[derive(Debug, Args)]
#[command(next_help_heading = "Nodes")]
pub(crate) struct FleetArgs {
    /// URLs of independent Redis nodes, usually 3 or 5. They replace those of REDLOCK_NODES and of the file.
    ///
    /// Arguments are visible in `ps`: put URLs with a password into the environment variable REDLOCK_NODES, or into the
    /// file.
    ///
    /// `redis+sentinel://host,host,host/service` is a service behind Redis Sentinel, and `redis-cluster://host,host` a
    /// Redis Cluster: each is one node. A comma between their hosts does not end the URL.
    #[arg(long, value_name = "URL,URL,...")]
    pub(crate) nodes: Vec<String>,

    /// The configuration file; `redlock --help` shows one. REDLOCK_CONFIG names it too.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// The prefix of all keys on the nodes. It must be the same on all hosts that exclude each other.
    /// [default: the file's, or none]
    #[arg(long, value_name = "TEXT")]
    pub(crate) key_prefix: Option<String>,

    /// How long to wait for the answer of a node.
    /// [default: the file's, or a fiftieth of the TTL, within 50ms and 500ms]
    #[arg(long, value_name = "TIME", value_parser = parse::duration)]
    pub(crate) node_timeout: Option<Duration>,

    /// For rediss:// URLs: a PEM file with the authorities to trust; `system` trusts those of the system.
    /// [default: the file's, or the public authorities of Mozilla]
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,

    /// For rediss:// URLs: a PEM file with the client certificate. [default: the file's, or none]
    #[arg(long, value_name = "FILE")]
    pub(crate) cert: Option<PathBuf>,

    /// For rediss:// URLs: a PEM file with the key of the client certificate. [default: the file's, or none]
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,

    /// How long to wait at the end for nodes that have not confirmed a release yet. A lock that they do not release
    /// expires with its TTL; -v reports it.
    #[arg(long, value_name = "TIME", value_parser = parse::duration, default_value = "200ms")]
    pub(crate) close_timeout: Duration,

    /// The Redis client.
    #[cfg(feature = "fred")]
    #[arg(long, value_enum, default_value_t, value_name = "NAME")]
    pub(crate) client: RedisClient,
}

/// The Redis clients that are built in.
#[cfg(feature = "fred")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum RedisClient {
    /// redis-rs.
    #[default]
    RedisRs,
    /// fred.
    Fred,
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Only {
        #[command(flatten)]
        fleet: FleetArgs,
    }

    fn parse(words: &[&str]) -> FleetArgs {
        Only::try_parse_from(["redlock"].iter().chain(words)).unwrap().fleet
    }

    #[test]
    fn nodes_are_given_in_one_list_or_one_by_one() {
        assert_eq!(parse(&["--nodes", "redis://a,redis://b"]).nodes, ["redis://a,redis://b"]);
        assert_eq!(parse(&["--nodes", "redis://a", "--nodes", "redis://b"]).nodes, ["redis://a", "redis://b"]);
    }

    #[test]
    fn everything_about_nodes_may_be_left_to_the_environment_and_the_file() {
        let fleet = parse(&[]);
        assert!(fleet.nodes.is_empty() && fleet.config.is_none());
        assert!(fleet.key_prefix.is_none() && fleet.node_timeout.is_none());
        let fleet = parse(&["--config", "f.toml", "--key-prefix", "lock:", "--node-timeout", "200ms"]);
        assert_eq!(fleet.config, Some("f.toml".into()));
        assert_eq!(
            (fleet.key_prefix.as_deref(), fleet.node_timeout),
            (Some("lock:"), Some(Duration::from_millis(200)))
        );
    }

    #[cfg(feature = "fred")]
    #[test]
    fn the_client_is_redis_rs_unless_another_is_asked_for() {
        assert_eq!(parse(&[]).client, RedisClient::RedisRs);
        assert_eq!(parse(&["--client", "fred"]).client, RedisClient::Fred);
    }
}
