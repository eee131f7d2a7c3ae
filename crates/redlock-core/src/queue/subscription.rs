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

use super::{listening::Ear, nodes::Nodes, notifying::leave};
use crate::{
    names::Resource,
    node::{ListenRequest, NodeErrorKind, WakeUps},
};

/// How long a waiter waits for subscriptions before it asks without those that are missing.
const OPENED_WITHIN: Duration = Duration::from_millis(50);

/// Listens to all nodes that can be listened to, the last of them a short time later. Whether the one is among them that
/// is to wake us.
pub(crate) async fn listen<N: Nodes>(nodes: &Arc<N>, runtime: &Handle, patience: Duration) -> bool {
    if !nodes.listening().is_open() {
        open_others(nodes, runtime, patience.min(OPENED_WITHIN)).await;
    }
    nodes.heard_on().is_some()
}

async fn open_others<N: Nodes>(nodes: &Arc<N>, runtime: &Handle, patience: Duration) {
    let listening = nodes.listening();
    let is_first = !listening.nodes.iter().any(|ear| ear.is(Ear::OPEN));
    let Some(channel) = listening.name(nodes.key_prefix(), nodes.entropy()) else { return };
    for (node, ear) in listening.nodes.iter().enumerate() {
        // The waiters of a cluster hear nothing from its other members.
        let is_cluster = || nodes.node(node).is_none_or(|node| node.is_cluster());
        if !nodes.is_failing(node) && !is_cluster() && ear.is_to_be_opened() {
            let (nodes, ended) = (Arc::downgrade(nodes), listening.end.subscribe());
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
            let mut changed = std::pin::pin!(listening.changed.notified());
            changed.as_mut().enable();
            if !listening.nodes.iter().any(|ear| ear.is(Ear::OPENING)) {
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
    /// When it began to be listened to.
    opened: OnceLock<Instant>,
    /// Why the node refused, if it did.
    refused: OnceLock<NodeErrorKind>,
}

impl<N: Nodes> Subscription<N> {
    /// How long a connection lasts at least that is worth to be replaced at once.
    const LASTS: Duration = Duration::from_secs(1);

    /// After how long a node is asked again that does not permit to listen: its permissions may have been corrected.
    const ASKED_AGAIN: Duration = Duration::from_secs(60);

    /// For how long subscriptions are kept when nobody waits any more.
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
                        Some(nodes) if !nodes.lines().is_idle() => continue,
                        _ => None,
                    },
                };
                let (Some(message), Some(nodes)) = (message, self.nodes.upgrade()) else { return };
                self.pass(&nodes, &message);
            }
        };
        // A backend that panics is a node that is not listened to.
        let _ = AssertUnwindSafe(listened).catch_unwind().await;
    }

    async fn open(&self) -> Option<Box<dyn WakeUps>> {
        let node = {
            let nodes = self.nodes.upgrade()?;
            Arc::clone(nodes.node(self.node)?)
        };
        let listening = node.listen(&ListenRequest::new(Arc::clone(&self.channel))).await;
        let nodes = self.nodes.upgrade()?;
        match listening {
            Ok(messages) => {
                let _ = self.opened.set(Instant::now());
                self.becomes(&nodes, Ear::OPEN);
                // It may have taken longer than anybody has waited for it.
                if nodes.heard_on() == Some(self.node) {
                    nodes.lines().look_again();
                }
                Some(messages)
            }
            Err(error) => {
                tracing::debug!(node = node.name(), error = %error.chain(), "waiters poll this node: nobody wakes them");
                if matches!(error.kind(), NodeErrorKind::Unsupported | NodeErrorKind::Permission) {
                    let _ = self.refused.set(error.kind());
                    self.becomes(&nodes, Ear::DEAF);
                }
                None
            }
        }
    }

    /// Tells the first who waits here; or passes the turn on to other processes.
    fn pass(&self, nodes: &Arc<N>, message: &[u8]) {
        let Some(key) = str::from_utf8(message).ok().filter(|key| key.starts_with(nodes.key_prefix())) else { return };
        if nodes.lines().woken(key, nodes.now())
            && let (Ok(key), Ok(runtime)) = (Resource::new(key), Handle::try_current())
        {
            let (leaving, node) = (Arc::clone(nodes), self.node);
            nodes.spawn(&runtime, async move { leave(&*leaving, node, key).await });
        }
    }

    fn becomes(&self, nodes: &N, state: u8) {
        if let Some(ear) = nodes.listening().nodes.get(self.node) {
            ear.set(state);
        }
        nodes.listening().changed.notify_waiters();
    }
}

impl<N: Nodes> Drop for Subscription<N> {
    /// The connection broke, nobody waits any more, or the runtime has ended.
    fn drop(&mut self) {
        let Some(nodes) = self.nodes.upgrade() else { return };
        // A backend that cannot listen never will.
        if self.refused.get() == Some(&NodeErrorKind::Unsupported) {
            return;
        }
        if let Some(ear) = nodes.listening().nodes.get(self.node) {
            ear.set(Ear::CLOSED);
            nodes.listening().changed.notify_waiters();
            // Who counted on it opens another; at once, unless such connections do not last.
            if self.opened.get().is_some_and(|opened| opened.elapsed() >= Self::LASTS) {
                nodes.lines().look_again();
            }
        }
    }
}
