//! Which nodes this process subscribes to, and on which channel.

use std::{
    fmt::Write as _,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU8, Ordering},
    },
};

use tokio::sync::{Notify, watch};

use crate::node::Entropy;

/// The subscriptions of one process. There are none until a call has to wait.
#[derive(Debug)]
pub(crate) struct Subscriptions {
    channel: OnceLock<Arc<str>>,
    pub(super) nodes: Box<[SubscriptionState]>,
    /// Notified when a subscription changes.
    pub(super) changed: Notify,
    /// Changed by a close, and dropped with the fleet. Both end the subscriptions.
    pub(super) end: watch::Sender<()>,
}

/// Whether this process is subscribed to a node.
#[derive(Debug, Default)]
pub(super) struct SubscriptionState(AtomicU8);

impl SubscriptionState {
    pub(super) const CLOSED: u8 = 0;
    pub(super) const OPENING: u8 = 1;
    pub(super) const OPEN: u8 = 2;
    /// The node has refused. If a permission is missing, the process tries again after a while.
    pub(super) const REFUSED: u8 = 3;

    pub(super) fn is(&self, state: u8) -> bool {
        self.0.load(Ordering::SeqCst) == state
    }

    pub(super) fn set(&self, state: u8) {
        self.0.store(state, Ordering::SeqCst);
    }

    /// Returns true to the caller that has to open the subscription.
    pub(super) fn begin_opening(&self) -> bool {
        self.0.compare_exchange(Self::CLOSED, Self::OPENING, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }
}

impl Subscriptions {
    pub(crate) fn new(nodes: usize) -> Self {
        Self {
            channel: OnceLock::new(),
            nodes: (0..nodes).map(|_| SubscriptionState::default()).collect(),
            changed: Notify::new(),
            end: watch::channel(()).0,
        }
    }

    /// Returns the channel of this process, if a call ever had to wait.
    pub(crate) fn own_channel(&self) -> Option<&Arc<str>> {
        self.channel.get()
    }

    /// Returns the channel of this process, if it is subscribed to the node.
    pub(crate) fn channel(&self, node: usize) -> Option<&Arc<str>> {
        self.channel
            .get()
            .filter(|_| self.nodes.get(node).is_some_and(|subscription| subscription.is(SubscriptionState::OPEN)))
    }

    /// Ends the subscriptions until a call has to wait again.
    pub(crate) fn close(&self) {
        self.end.send_replace(());
    }

    /// Returns the channel of this process. Without randomness there is none, and waiters poll.
    pub(super) fn name(&self, key_prefix: &str, entropy: &dyn Entropy) -> Option<&Arc<str>> {
        if let Some(channel) = self.channel.get() {
            return Some(channel);
        }
        let mut random = [0; 16];
        entropy.fill(&mut random).ok()?;
        let mut channel = format!("{key_prefix}redlock:wake:");
        random.iter().for_each(|byte| _ = write!(channel, "{byte:02x}"));
        Some(self.channel.get_or_init(|| channel.into()))
    }

    /// Returns whether each node is subscribed to or has refused.
    pub(super) fn is_open(&self) -> bool {
        self.nodes
            .iter()
            .all(|subscription| subscription.is(SubscriptionState::OPEN) || subscription.is(SubscriptionState::REFUSED))
    }
}
