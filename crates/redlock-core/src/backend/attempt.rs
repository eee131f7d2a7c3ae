//! A connection that is being made, and then is there or has failed.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

use super::Connect;
use crate::node::NodeError;

/// For how long a command waits for a connection that its client should have given up already. The client's own error
/// says more.
const GRACE: Duration = Duration::from_millis(50);

/// A connection that is being made, and then is there or has failed. All commands that arrive meanwhile share it, so
/// that they make one connection and fail together.
///
/// The sender lives in the task that connects. Once connected, that task stays until nobody holds the attempt any more,
/// and ends earlier only with its runtime: if the channel is closed and holds no error, the connection is gone.
pub(super) struct Attempt<C: Connect>(watch::Receiver<Option<Outcome<C>>>);

/// The connection, or why there is none and when to try again.
type Outcome<C> = Result<<C as Connect>::Connection, (NodeError, Instant)>;

impl<C: Connect> Attempt<C> {
    /// Starts to connect. Sets `has_tried` when that has succeeded or failed.
    pub(super) fn start(client: &C, connect_timeout: Duration, has_tried: &Arc<AtomicBool>) -> Self {
        let (sender, receiver) = watch::channel(None);
        let connecting = client.connect(connect_timeout);
        let (has_tried, pause) = (Arc::clone(has_tried), client.pause());
        tokio::spawn(async move {
            let connection = connecting.await.map_err(|error| (error, Instant::now() + pause));
            has_tried.store(true, Ordering::Relaxed);
            let connected = connection.is_ok();
            sender.send_replace(Some(connection));
            if connected {
                sender.closed().await;
            }
        });
        Self(receiver)
    }

    /// The connection, or why there is none. `None` if the runtime ended while it connected.
    pub(super) async fn connection(&mut self, connect_timeout: Duration) -> Option<Result<C::Connection, NodeError>> {
        let connected = self.0.borrow().clone();
        let connected = match connected {
            Some(connected) => connected,
            // Rare: in a box, so that all other commands are smaller.
            None => match Box::pin(timeout(connect_timeout + GRACE, self.0.wait_for(Option::is_some))).await {
                Ok(connected) => connected.ok()?.clone()?,
                // The runtime that connects may stand still, and then nothing there ends it in time.
                Err(_) => return Some(Err(NodeError::no_connection(connect_timeout))),
            },
        };
        Some(connected.map_err(|(error, _)| error))
    }

    /// Waits until it has connected; for ever if it fails.
    pub(super) async fn connected(&mut self) {
        if self.0.wait_for(|outcome| matches!(outcome, Some(Ok(_)))).await.is_err() {
            pending().await
        }
    }

    /// Whether it has neither connected nor failed yet. After the connect timeout, its runtime stands still.
    pub(super) fn is_unsettled(&self) -> bool {
        self.0.borrow().is_none()
    }

    /// Whether a new command has to make a connection.
    pub(super) fn is_gone(&self) -> bool {
        let is_closed = self.0.has_changed().is_err();
        match &*self.0.borrow() {
            Some(Ok(connection)) => is_closed || C::is_broken(connection),
            Some(Err((_, next))) => Instant::now() >= *next,
            None => is_closed,
        }
    }

    pub(super) fn is(&self, other: &Self) -> bool {
        self.0.same_channel(&other.0)
    }
}

impl<C: Connect> Clone for Attempt<C> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}
