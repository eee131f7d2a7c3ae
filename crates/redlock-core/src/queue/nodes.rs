//! What the wait queue requires of the nodes and of the process.

use std::{fmt, sync::Arc, time::Duration};

use tokio::runtime::Handle;

use super::{lines::Lines, listening::Listening};
use crate::{
    names::Token,
    node::{Entropy, EntropyError, LockNode},
};

/// The nodes among whose waiters this process can be, and the lines of this process.
pub(crate) trait Nodes: fmt::Debug + Send + Sync + 'static {
    /// What a holder leaves to the next in line of its process.
    type Offer: fmt::Debug + Send + Sync + 'static;

    fn lines(&self) -> &Arc<Lines<Self::Offer>>;

    fn listening(&self) -> &Listening;

    fn node(&self, number: usize) -> Option<&Arc<dyn LockNode>>;

    /// Whether the node failed when it was last heard of.
    fn is_failing(&self, number: usize) -> bool;

    /// Whether the node has answered all that it should have by now, and did not fail.
    fn is_prompt(&self, number: usize) -> bool;

    /// Which node wakes the first waiter after a release.
    fn wakes(&self) -> Option<usize>;

    fn now(&self) -> Duration;

    fn entropy(&self) -> &dyn Entropy;

    /// A token that nobody has used before.
    fn token(&self) -> Result<Token, EntropyError>;

    fn key_prefix(&self) -> &str;

    /// Runs `work` in the background.
    fn spawn(&self, runtime: &Handle, work: impl Future<Output = ()> + Send + 'static);

    /// Which node is to wake us, if it can.
    fn heard_on(&self) -> Option<usize> {
        self.wakes().filter(|node| self.listening().channel(*node).is_some())
    }
}
