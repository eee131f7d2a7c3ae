//! An attempt to connect to a node, shared by all commands that need the connection.

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

/// How much longer than the connect timeout a command waits for a connection. The client should have given up by then,
/// and its own error says more.
const GRACE: Duration = Duration::from_millis(50);

/// A connection attempt that is pending, has succeeded or has failed. All commands that arrive while it is pending
/// share it, so that they make one connection and fail together.
///
/// The sender lives in the task that connects. After a successful connect, that task stays alive until nothing holds
/// the attempt any more, and ends earlier only if its runtime does: if the channel is closed and holds no error, the
/// connection is gone.
pub(super) struct Attempt<C: Connect>(watch::Receiver<Option<Outcome<C>>>);

/// The connection, or the error and the earliest time of the next attempt.
type Outcome<C> = Result<<C as Connect>::Connection, (NodeError, Instant)>;

impl<C: Connect> Attempt<C> {
    /// Starts connecting. Sets `has_tried` once the attempt has succeeded or failed.
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

    /// Returns the connection, or why there is none. Returns `None` if the runtime ended while connecting.
    pub(super) async fn connection(&mut self, connect_timeout: Duration) -> Option<Result<C::Connection, NodeError>> {
        let connected = self.0.borrow().clone();
        let connected = match connected {
            Some(connected) => connected,
            // Rare, and boxed so that all other commands stay small.
            None => match Box::pin(timeout(connect_timeout + GRACE, self.0.wait_for(Option::is_some))).await {
                Ok(connected) => connected.ok()?.clone()?,
                // If the runtime that connects has stalled, nothing there ends the attempt in time.
                Err(_) => return Some(Err(NodeError::no_connection(connect_timeout))),
            },
        };
        Some(connected.map_err(|(error, _)| error))
    }

    /// Waits until the attempt has connected; never returns if it fails.
    pub(super) async fn connected(&mut self) {
        if self.0.wait_for(|outcome| matches!(outcome, Some(Ok(_)))).await.is_err() {
            pending().await
        }
    }

    /// Returns whether the attempt is still pending. After the connect timeout, that means that its runtime has
    /// stalled.
    pub(super) fn is_unsettled(&self) -> bool {
        self.0.borrow().is_none()
    }

    /// Returns whether there is no connection, and this attempt will not make one.
    pub(super) fn has_failed(&self) -> bool {
        let is_closed = self.0.has_changed().is_err();
        match &*self.0.borrow() {
            Some(Ok(connection)) => is_closed || C::is_broken(connection),
            Some(Err(_)) => true,
            None => is_closed,
        }
    }

    /// Returns whether a new command has to start a new attempt.
    pub(super) fn is_gone(&self) -> bool {
        let next = self.0.borrow().as_ref().and_then(|outcome| outcome.as_ref().err()).map(|(_, next)| *next);
        next.map_or_else(|| self.has_failed(), |next| Instant::now() >= next)
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
