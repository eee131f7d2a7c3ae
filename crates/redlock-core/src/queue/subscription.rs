//! Subscribes to the messages of the nodes: once on each node, for all waiters of this process.

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, OnceLock, Weak},
    time::Duration,
};

use futures_util::FutureExt as _;
use tokio::{
    runtime::Handle,
    select,
    sync::watch,
    time::{Instant, sleep, timeout},
};

use super::{nodes::Nodes, subscriptions::SubscriptionState, wake_request::leave};
use crate::{
    names::Resource,
    node::{ListenRequest, NodeErrorKind, WakeUps},
};

/// How long a waiter waits for subscriptions before it continues without the missing ones.
const OPENED_WITHIN: Duration = Duration::from_millis(50);

/// Subscribes to all nodes that permit it. Slow subscriptions are completed later. Returns whether the node that
/// notifies this process is among them.
pub(crate) async fn subscribe<N: Nodes>(nodes: &Arc<N>, runtime: &Handle, patience: Duration) -> bool {
    if !nodes.subscriptions().is_open() {
        open_others(nodes, runtime, patience.min(OPENED_WITHIN)).await;
    }
    nodes.notified_by().is_some()
}

async fn open_others<N: Nodes>(nodes: &Arc<N>, runtime: &Handle, patience: Duration) {
    let subscriptions = nodes.subscriptions();
    let is_first = !subscriptions.nodes.iter().any(|subscription| subscription.is(SubscriptionState::OPEN));
    let Some(channel) = subscriptions.name(nodes.key_prefix(), nodes.entropy()) else { return };
    for (node, subscription) in subscriptions.nodes.iter().enumerate() {
        // A message of one server of a cluster does not reach subscribers on the others.
        let is_cluster = || nodes.node(node).is_none_or(|node| node.is_cluster());
        if !nodes.is_failing(node) && !is_cluster() && subscription.begin_opening() {
            let (nodes, ended) = (Arc::downgrade(nodes), subscriptions.end.subscribe());
            runtime.spawn(
                Subscription {
                    nodes,
                    node,
                    channel: Arc::clone(channel),
                    opened: OnceLock::new(),
                    refused: OnceLock::new(),
                }
                .run(ended),
            );
        }
    }
    if !is_first {
        return;
    }
    let opened = async {
        loop {
            let mut changed = std::pin::pin!(subscriptions.changed.notified());
            changed.as_mut().enable();
            if !subscriptions.nodes.iter().any(|subscription| subscription.is(SubscriptionState::OPENING)) {
                return;
            }
            changed.await;
        }
    };
    let _ = timeout(patience, opened).await;
}

/// One subscription, while its nodes are in use.
struct Subscription<N: Nodes> {
    nodes: Weak<N>,
    node: usize,
    channel: Arc<str>,
    /// When the subscription was made.
    opened: OnceLock<Instant>,
    /// The reason why the node refused, if it did.
    refused: OnceLock<NodeErrorKind>,
}

impl<N: Nodes> Subscription<N> {
    /// A subscription that has lasted this long is renewed immediately when its connection breaks.
    const LASTS: Duration = Duration::from_secs(1);

    /// How long the process waits before it tries again on a node that lacks a permission, which may have been added
    /// since.
    const ASKED_AGAIN: Duration = Duration::from_secs(60);

    /// How long subscriptions are kept without a waiter.
    const LINGER: Duration = Duration::from_secs(10);

    async fn run(self, mut ended: watch::Receiver<()>) {
        let listened = async {
            let Some(mut messages) = self.open().await else {
                if self.refused.get() == Some(&NodeErrorKind::Permission) {
                    let _ = timeout(Self::ASKED_AGAIN, ended.changed()).await;
                }
                return;
            };
            loop {
                let message = select! {
                    biased;
                    _ = ended.changed() => None,
                    message = messages.next() => message,
                    () = sleep(Self::LINGER) => match self.nodes.upgrade() {
                        Some(nodes) if !nodes.queues().is_idle() => continue,
                        _ => None,
                    },
                };
                let (Some(message), Some(nodes)) = (message, self.nodes.upgrade()) else { return };
                self.pass(&nodes, &message);
            }
        };
        // A backend that panics counts as a node without subscriptions.
        let _ = AssertUnwindSafe(listened).catch_unwind().await;
    }

    async fn open(&self) -> Option<Box<dyn WakeUps>> {
        let node = {
            let nodes = self.nodes.upgrade()?;
            Arc::clone(nodes.node(self.node)?)
        };
        let subscriptions = node.listen(&ListenRequest::new(Arc::clone(&self.channel))).await;
        let nodes = self.nodes.upgrade()?;
        match subscriptions {
            Ok(messages) => {
                let _ = self.opened.set(Instant::now());
                self.becomes(&nodes, SubscriptionState::OPEN);
                // The waiters may have stopped waiting for the subscription and sent their requests without it.
                if nodes.notified_by() == Some(self.node) {
                    nodes.queues().ask_again();
                }
                Some(messages)
            }
            Err(error) => {
                tracing::debug!(node = node.name(), error = %error.chain(), "waiters poll: no notifications");
                if matches!(error.kind(), NodeErrorKind::Unsupported | NodeErrorKind::Permission) {
                    let _ = self.refused.set(error.kind());
                    self.becomes(&nodes, SubscriptionState::REFUSED);
                }
                None
            }
        }
    }

    /// Notifies the first waiter of this process, or passes the message on to other processes.
    fn pass(&self, nodes: &Arc<N>, message: &[u8]) {
        let Some(key) = str::from_utf8(message).ok().filter(|key| key.starts_with(nodes.key_prefix())) else { return };
        if nodes.queues().notified(key, nodes.now())
            && let (Ok(key), Ok(runtime)) = (Resource::new(key), Handle::try_current())
        {
            let (releasing, node) = (Arc::clone(nodes), self.node);
            nodes.spawn(&runtime, async move { leave(&*releasing, node, key, false).await });
        }
    }

    fn becomes(&self, nodes: &N, state: u8) {
        if let Some(subscription) = nodes.subscriptions().nodes.get(self.node) {
            subscription.set(state);
        }
        nodes.subscriptions().changed.notify_waiters();
    }
}

impl<N: Nodes> Drop for Subscription<N> {
    /// The connection broke, there are no more waiters, or the runtime has ended.
    fn drop(&mut self) {
        let Some(nodes) = self.nodes.upgrade() else { return };
        // A backend without subscriptions never gets any.
        if self.refused.get() == Some(&NodeErrorKind::Unsupported) {
            return;
        }
        if let Some(subscription) = nodes.subscriptions().nodes.get(self.node) {
            subscription.set(SubscriptionState::CLOSED);
            nodes.subscriptions().changed.notify_waiters();
            // A waiter that relied on it subscribes again: immediately, unless such connections do not last.
            if self.opened.get().is_some_and(|opened| opened.elapsed() >= Self::LASTS) {
                nodes.queues().ask_again();
            }
        }
    }
}
