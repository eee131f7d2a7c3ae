//! Notifies a waiter by a separate request, if the notifying node failed or this process leaves a wait queue. Otherwise
//! the release itself notifies the next waiter: see `driver/lease/release_on_nodes.rs`.

use std::sync::Arc;

use tokio::time::timeout;

use super::nodes::Nodes;
use crate::{
    names::Resource,
    node::{LATE_LIMIT, NodeError, NodeErrorKind, ReleaseRequest, WakeNext},
};

/// Notifies the first waiter for this key on a node.
pub(crate) async fn notify_first(nodes: &impl Nodes, node: usize, key: Resource) -> Result<(), NodeError> {
    let Some(waiters) = key.waiters() else { return Ok(()) };
    send_wake(nodes, node, key, WakeNext::new([waiters], None)).await
}

/// Leaves the wait queue on a node, because no call of this process waits for the key any more. Notifies the next
/// waiter if the key is free, because this process may have received that notification. If it has (`is_notified`), it
/// does so in any case: the node may execute this request before the release of a lost round.
pub(super) async fn leave(nodes: &impl Nodes, node: usize, key: Resource, is_notified: bool) {
    let (Some(channel), Some(waiters)) = (nodes.subscriptions().own_channel(), key.waiters()) else { return };
    let wake = WakeNext::new([waiters], Some(Arc::clone(channel)));
    let wake = if is_notified { wake } else { wake.if_free() };
    let _ = timeout(LATE_LIMIT, send_wake(nodes, node, key.clone(), wake)).await;
    if nodes.notifier() == Some(node) {
        nodes.queues().left_node(&key);
    }
}

async fn send_wake(nodes: &impl Nodes, node: usize, key: Resource, wake: WakeNext) -> Result<(), NodeError> {
    // Send no unnecessary requests to a node that fails. It removes waiters that are gone by itself.
    let Some(node) = nodes.node(node).filter(|_| !nodes.is_failing(node)) else { return Ok(()) };
    // A new token, so that the release deletes no key.
    let token = nodes.token().map_err(|error| NodeError::new(NodeErrorKind::Other, error))?;
    let mut request = ReleaseRequest::new(key, token);
    request.wake = Some(wake);
    node.release(&request).await.map(drop)
}
