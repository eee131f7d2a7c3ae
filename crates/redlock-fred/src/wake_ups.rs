//! Listens on a channel with fred.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use fred::{
    interfaces::{EventInterface as _, PubsubInterface as _},
    types::Message,
};
use redlock_core::{
    NodeError,
    backend::{Connect as _, WakeUps},
};
use tokio::{
    sync::broadcast::{Receiver, error::RecvError},
    time::{MissedTickBehavior, interval, timeout},
};

use crate::{
    connection::{Connected, Connector},
    error::node_error,
};

/// A connection that listens on a channel.
pub(crate) struct Listening {
    connected: Arc<Connected>,
    messages: Receiver<Message>,
}

impl Connector {
    /// Listens on a channel, over a separate connection.
    pub(crate) async fn listen(&self, channel: &str, connect_timeout: Duration) -> Result<Listening, NodeError> {
        let connected = self.connect(connect_timeout).await?;
        let messages = connected.client.message_rx();
        match timeout(connect_timeout, connected.client.subscribe(channel)).await {
            Ok(subscribed) => subscribed.map_err(node_error)?,
            Err(_) => return Err(NodeError::no_connection(connect_timeout)),
        }
        Ok(Listening { connected, messages })
    }
}

#[async_trait]
impl WakeUps for Listening {
    async fn next(&mut self) -> Option<Vec<u8>> {
        // fred keeps the channel open when the connection breaks, so this looks at the connection too.
        let mut look = interval(Duration::from_secs(1));
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                message = self.messages.recv() => match message {
                    Ok(message) => return Some(message.value.as_bytes().unwrap_or_default().to_vec()),
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return None,
                },
                _ = look.tick() => if Connector::is_broken(&self.connected) {
                    return None;
                },
            }
        }
    }
}
