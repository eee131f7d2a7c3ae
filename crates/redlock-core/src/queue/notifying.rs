//! Notifies the first waiter on a node, and takes this process out of the waiters there.

use std::sync::Arc;

use tokio::time::timeout;

use super::nodes::Nodes;
use crate::{
    names::Resource,
    node::{LATE_LIMIT, NodeError, NodeErrorKind, ReleaseRequest, Wake},
};

/// Wakes the first who waits for this key on a node.
pub(crate) async fn wake(nodes: &impl Nodes, node: usize, key: Resource) -> Result<(), NodeError> {
    let Some(waiters) = key.waiters() else { return Ok(()) };
    tell_waiters(nodes, node, key, Wake::new([waiters], None)).await
}

/// Takes this process out of the waiters of a node, since nobody here waits for the key any more. Wakes the next
/// waiter if the key is free: this process may have been notified of that.
pub(super) async fn leave(nodes: &impl Nodes, node: usize, key: Resource) {
    let (Some(channel), Some(waiters)) = (nodes.listening().own_channel(), key.waiters()) else { return };
    let wake = Wake::new([waiters], Some(Arc::clone(channel))).if_free();
    let _ = timeout(LATE_LIMIT, tell_waiters(nodes, node, key.clone(), wake)).await;
    if nodes.wakes() == Some(node) {
        nodes.lines().left(&key);
    }
}

async fn tell_waiters(nodes: &impl Nodes, node: usize, key: Resource, wake: Wake) -> Result<(), NodeError> {
    // A node that fails is not sent more than it has to be. It removes waiters that are gone by itself.
    let Some(asked) = nodes.node(node).filter(|_| !nodes.is_failing(node)) else { return Ok(()) };
    // Nothing is held by a token that nobody has used.
    let token = nodes.token().map_err(|error| NodeError::new(NodeErrorKind::Other, error))?;
    let mut request = ReleaseRequest::new(key, token);
    request.wake = Some(wake);
    asked.release(&request).await.map(drop)
}
