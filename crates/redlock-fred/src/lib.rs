//! [Redlock](redlock_core) nodes over [fred].
#![doc = include_str!("../README.md")]
//!
//! The [guide](redlock_core::guide) explains how to lock, with which TTL, and with how many nodes.
//!
//! # Connections
//!
//! A node has one connection, which its first operation makes and all clones of the node share. If a node is down, an
//! operation fails as soon as its connection is refused, and the first operation at least 10 ms after the last failed
//! connect tries again. An operation ends within the connect timeout plus the response timeout, 1 s each unless the URL
//! says otherwise. The connection lives on the Tokio runtime of the operation that made it; when that runtime is gone,
//! the next operation makes a new one.
//!
//! A node that does not answer, while connecting or later, is reported as
//! [`Timeout`](redlock_core::NodeErrorKind::Timeout); a node that refuses or breaks the connection, cannot be found or
//! fails TLS is reported as [`Unreachable`](redlock_core::NodeErrorKind::Unreachable). The client's own error is the
//! source. A connection on which nothing was answered for 2 s is replaced. So is a connection to a server that reports
//! that it is a replica, is loading, or requires a password, at most once a second: its host name may lead to another
//! server by now.
//!
//! fred's own reconnecting is not used: it would send commands again long after they were given up, tries a dead node
//! forever, and does not report to a command why there is no connection.

mod address;
mod client;
mod connection;
mod servers;
mod error;
mod wake_ups;

pub use fred;

pub use self::client::RedisClient;

/// One independent Redis node, reached through fred. Clones share one connection.
pub type RedisNode = redlock_core::backend::Node<RedisClient>;

#[cfg(test)]
mod tests {
    use redlock_core::{LockNode, Resource, backend::InspectRequest};

    use super::*;

    #[test]
    fn a_node_is_opened_without_a_runtime_and_named_after_its_address() {
        let nodes = RedisNode::open_all(["redis://:hunter2@10.0.0.1", "tcp://:hunter2@[::1]:7000/2"]).unwrap();
        let names: Vec<_> = nodes.iter().map(LockNode::name).collect();
        assert_eq!(names, ["10.0.0.1:6379", "[::1]:7000"]);
        assert!(!format!("{nodes:?}").contains("hunter2"));
    }

    #[test]
    fn a_fleet_cannot_contain_a_server_twice() {
        assert!(RedisNode::open_all(["redis://a", "redis://a/2"]).is_err());
    }

    #[test]
    fn tls_requires_the_feature() {
        assert_eq!(RedisNode::open("rediss://a").is_ok(), cfg!(feature = "tls"));
    }

    #[test]
    fn sentinels_and_clusters_require_their_features() {
        let opened = |url: &str| match RedisNode::open(url) {
            Ok(node) => Ok(node.name().to_owned()),
            Err(error) => Err(error.missing_feature()),
        };
        let told = |name: &str, feature, is_on| if is_on { Ok(name.to_owned()) } else { Err(Some(feature)) };
        let (sentinel, cluster) = (cfg!(feature = "sentinel"), cfg!(feature = "cluster"));
        assert_eq!(
            opened("redis+sentinel://:p@a,b/s?sentinel_password=q"),
            told("a:26379,b:26379/s", "sentinel", sentinel)
        );
        assert_eq!(opened("redis-cluster://:p@a,b:7000"), told("a:6379,b:7000", "cluster", cluster));
    }

    #[tokio::test]
    async fn a_node_that_is_down_is_unreachable_at_once() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let node = RedisNode::open(format!("redis://:hunter2@{free}")).unwrap();
        let error = node.inspect(&InspectRequest::new(Resource::new("a").unwrap())).await.unwrap_err();
        assert_eq!(error.kind(), redlock_core::NodeErrorKind::Unreachable);
        assert!(!format!("{error:?}").contains("hunter2"));
    }
}
