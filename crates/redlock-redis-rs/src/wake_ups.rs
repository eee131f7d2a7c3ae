//! Listens on a channel with redis-rs.

use std::{convert::Infallible, time::Duration};

use async_trait::async_trait;
use redis::{Client, ProtocolVersion, PushInfo, PushKind, RedisResult, Value, aio::MultiplexedConnection};
use redlock_core::{NodeError, Resource, backend::WakeUps};
use tokio::{
    sync::mpsc::{self, Receiver},
    time::timeout,
};

use crate::{
    connection::{Connector, unbounded},
    error::node_error,
};

/// A connection that listens on a channel.
pub(crate) struct Listening {
    messages: Receiver<Vec<u8>>,
    /// The connection ends when this is dropped.
    _connection: MultiplexedConnection,
}

impl Listening {
    /// How many messages are buffered. Messages that do not fit, or are too long for a key, are dropped: anyone may
    /// publish, and a waiter that is not notified polls. redis-rs' own `PubSub` buffers without a bound.
    const BUFFERED: usize = 1024;
}

impl Connector {
    /// Listens on a channel, over a separate connection.
    pub(crate) async fn listen(&self, channel: &str, connect_timeout: Duration) -> Result<Listening, NodeError> {
        let (sender, messages) = mpsc::channel(Listening::BUFFERED);
        let buffer = move |push: PushInfo| {
            if let (PushKind::Message, Some(Value::BulkString(message))) = (push.kind, push.data.into_iter().nth(1))
                && message.len() <= Resource::MAX_LEN
            {
                let _ = sender.try_send(message);
            }
            Result::<(), Infallible>::Ok(())
        };
        let subscribed = async {
            let info = self.client(connect_timeout).await?.get_connection_info().clone();
            // Earlier protocol versions have no messages besides answers.
            let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
            let client = Client::open(info.set_redis_settings(settings))?;
            let config = unbounded().set_push_sender(buffer);
            let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
            connection.subscribe(channel).await?;
            RedisResult::Ok(Listening { messages, _connection: connection })
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
        self.messages.recv().await
    }
}
