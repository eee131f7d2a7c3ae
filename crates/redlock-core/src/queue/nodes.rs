//! The wait queue's requirements on the nodes and on the process.

use std::{fmt, sync::Arc, time::Duration};

use tokio::runtime::Handle;

use super::{local_queues::LocalQueues, subscriptions::Subscriptions};
use crate::{
    names::Token,
    node::{Entropy, EntropyError, LockNode},
};

/// The nodes whose wait queues this process can join, and the wait queues of this process.
pub(crate) trait Nodes: fmt::Debug + Send + Sync + 'static {
    /// The lock that a holder hands off to the next waiter of its process.
    type Offer: fmt::Debug + Send + Sync + 'static;

    fn queues(&self) -> &Arc<LocalQueues<Self::Offer>>;

    fn subscriptions(&self) -> &Subscriptions;

    fn node(&self, number: usize) -> Option<&Arc<dyn LockNode>>;

    /// Returns whether the last request to the node failed.
    fn is_failing(&self, number: usize) -> bool;

    /// Returns whether no answer of the node is overdue and the last request did not fail.
    fn is_prompt(&self, number: usize) -> bool;

    /// Returns the node that notifies the first waiter after a release.
    fn notifier(&self) -> Option<usize>;

    fn now(&self) -> Duration;

    fn entropy(&self) -> &dyn Entropy;

    /// Returns a token that nobody has used before.
    fn token(&self) -> Result<Token, EntropyError>;

    fn key_prefix(&self) -> &str;

    /// Runs `work` in the background.
    fn spawn(&self, runtime: &Handle, work: impl Future<Output = ()> + Send + 'static);

    /// Returns the node that notifies this process, if it is subscribed to it.
    fn notified_by(&self) -> Option<usize> {
        self.notifier().filter(|node| self.subscriptions().channel(*node).is_some())
    }
}
