//! The real servers of a test, and the locks on them.

use std::time::Duration;

use redlock_tests::servers::{Reply, Server, ServerOptions, Servers};
use tokio::time::{sleep, timeout};

/// The servers that programs lock on.
pub(crate) struct Stage {
    pub(crate) servers: Vec<Server>,
}

impl Stage {
    pub(crate) async fn new() -> Self {
        let servers = Servers::from_env().await.unwrap().start(3, &ServerOptions::new()).await.unwrap();
        Self { servers }
    }

    /// Returns the URLs of all nodes, in the format of `REDLOCK_NODES`.
    pub(crate) fn nodes(&self) -> String {
        self.servers.iter().map(Server::url).collect::<Vec<_>>().join(",")
    }

    /// Returns the tokens in this key, one for each node that has the key.
    pub(crate) async fn tokens(&self, key: &str) -> Vec<String> {
        let mut tokens = Vec::new();
        for server in &self.servers {
            if let Reply::Bulk(token) = server.command(&["GET", key]).await.unwrap() {
                tokens.push(String::from_utf8(token).unwrap());
            }
        }
        tokens
    }

    /// Waits until all nodes hold this key, and returns its token.
    pub(crate) async fn until_held(&self, key: &str) -> String {
        until(&format!("{key} is held"), async || self.tokens(key).await.len() == self.servers.len()).await;
        self.tokens(key).await.pop().unwrap()
    }

    /// Returns whether a waiter listens on one of the nodes.
    pub(crate) async fn is_listened_to(&self) -> bool {
        for server in &self.servers {
            if server.command(&["PUBSUB", "CHANNELS"]).await.unwrap() != Reply::Array(Vec::new()) {
                return true;
            }
        }
        false
    }

    pub(crate) async fn stop(&self, servers: usize) {
        for server in self.servers.iter().take(servers) {
            server.stop().await.unwrap();
        }
    }
}

/// Waits until a condition holds, however slow the machine is.
pub(crate) async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let holds = async {
        while !condition().await {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(60), holds).await.unwrap_or_else(|_| panic!("never: {what}"));
}
