//! How redis-rs listens on a channel.

use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use redis::{RedisResult, aio::PubSub};
use redlock_core::{NodeError, WakeUps};
use tokio::time::timeout;

use crate::{connection::Connector, error::node_error};

/// A connection that listens.
pub(crate) struct Listening(PubSub);

impl Connector {
    /// Listens on a channel, over a connection of its own.
    pub(crate) async fn listen(&self, channel: &str, connect_timeout: Duration) -> Result<Listening, NodeError> {
        let subscribed = async {
            let mut connection = self.0.get_async_pubsub().await?;
            connection.subscribe(channel).await?;
            RedisResult::Ok(Listening(connection))
        };
        match timeout(connect_timeout, subscribed).await {
            Ok(listening) => listening.map_err(node_error),
            Err(_) => Err(NodeError::no_connection(connect_timeout)),
        }
    }
}

#[async_trait]
impl WakeUps for Listening {
    async fn next(&mut self) -> Option<Vec<u8>> {
        let message = self.0.on_message().next().await?;
        Some(message.get_payload_bytes().to_vec())
    }
}
