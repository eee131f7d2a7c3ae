//! Receives the messages that a node publishes, for a process.

use std::time::Duration;

use async_trait::async_trait;
use redlock_core::backend::WakeUps;
use tokio::{
    sync::mpsc::Receiver,
    time::{sleep, sleep_until},
};

use crate::link::Link;

/// A connection on which a process listens. Messages travel like answers: they may be late, or lost.
pub(crate) struct Listening {
    messages: Receiver<Vec<u8>>,
    link: Option<Link>,
}

impl Listening {
    pub(crate) fn new(messages: Receiver<Vec<u8>>, link: Option<Link>) -> Self {
        Self { messages, link }
    }
}

#[async_trait]
impl WakeUps for Listening {
    async fn next(&mut self) -> Option<Vec<u8>> {
        let Some(link) = &self.link else { return self.messages.recv().await };
        loop {
            let message = link.gate.follow(self.messages.recv()).await?;
            if let Some(back) = link.journey().back() {
                if back > Duration::ZERO {
                    link.gate.follow(sleep(back)).await;
                }
                let Some(arrives) = link.arrival() else { continue };
                sleep_until(arrives).await;
                return Some(message);
            }
        }
    }
}
