//! Which nodes this process listens to, and on which channel.

use std::{
    fmt::Write as _,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU8, Ordering},
    },
};

use tokio::sync::{Notify, watch};

use crate::node::Entropy;

/// The subscriptions of one process. There are none before somebody has to wait.
#[derive(Debug)]
pub(crate) struct Listening {
    channel: OnceLock<Arc<str>>,
    pub(super) nodes: Box<[Ear]>,
    /// A node is listened to, or no longer.
    pub(super) changed: Notify,
    /// Changed when it is closed, and dropped with the fleet: both end the subscriptions.
    pub(super) end: watch::Sender<()>,
}

/// Whether a node is listened to.
#[derive(Debug, Default)]
pub(super) struct Ear(AtomicU8);

impl Ear {
    pub(super) const CLOSED: u8 = 0;
    pub(super) const OPENING: u8 = 1;
    pub(super) const OPEN: u8 = 2;
    /// The node said that this cannot be. If it lacks a permission, it is asked again after a while.
    pub(super) const DEAF: u8 = 3;

    pub(super) fn is(&self, state: u8) -> bool {
        self.0.load(Ordering::SeqCst) == state
    }

    pub(super) fn set(&self, state: u8) {
        self.0.store(state, Ordering::SeqCst);
    }

    /// True for whoever is to open it.
    pub(super) fn is_to_be_opened(&self) -> bool {
        self.0.compare_exchange(Self::CLOSED, Self::OPENING, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }
}

impl Listening {
    pub(crate) fn new(nodes: usize) -> Self {
        Self {
            channel: OnceLock::new(),
            nodes: (0..nodes).map(|_| Ear::default()).collect(),
            changed: Notify::new(),
            end: watch::channel(()).0,
        }
    }

    /// The channel of this process, if it ever had to wait.
    pub(crate) fn own_channel(&self) -> Option<&Arc<str>> {
        self.channel.get()
    }

    /// The channel of this process, if the node is listened to.
    pub(crate) fn channel(&self, node: usize) -> Option<&Arc<str>> {
        self.channel.get().filter(|_| self.nodes.get(node).is_some_and(|ear| ear.is(Ear::OPEN)))
    }

    /// Listens no more, until somebody has to wait again.
    pub(crate) fn close(&self) {
        self.end.send_replace(());
    }

    /// The channel of this process. Without randomness there is none, and waiters poll.
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

    /// Whether each node is listened to, or cannot be.
    pub(super) fn is_open(&self) -> bool {
        self.nodes.iter().all(|ear| ear.is(Ear::OPEN) || ear.is(Ear::DEAF))
    }
}
