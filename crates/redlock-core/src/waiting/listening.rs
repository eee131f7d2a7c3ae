//! Being woken: one subscription on each node for all who wait in this process.

use std::{
    fmt::Write as _,
    panic::AssertUnwindSafe,
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use futures_util::FutureExt as _;
use tokio::{
    runtime::Handle,
    select,
    sync::{Notify, watch},
    time::{Instant, sleep, timeout},
};

use crate::{
    fleet::Fleet,
    node::WakeUps,
    node_error::{NodeError, NodeErrorKind},
    request::{ListenRequest, ReleaseRequest, Wake},
    resource::Resource,
    round_trip::LATE_LIMIT,
};

/// The subscriptions of one process. There are none before somebody has to wait.
#[derive(Debug)]
pub(crate) struct Listening {
    channel: OnceLock<Arc<str>>,
    nodes: Box<[Ear]>,
    changed: Notify,
    /// Changed when it is closed, and dropped with the fleet: both end the subscriptions.
    end: watch::Sender<()>,
}

/// Whether a node is listened to.
#[derive(Debug, Default)]
struct Ear(AtomicU8);

impl Ear {
    const CLOSED: u8 = 0;
    const OPENING: u8 = 1;
    const OPEN: u8 = 2;
    /// The node said that this cannot be. If it lacks a permission, it is asked again after a while.
    const DEAF: u8 = 3;

    fn is(&self, state: u8) -> bool {
        self.0.load(Ordering::SeqCst) == state
    }

    fn set(&self, state: u8) {
        self.0.store(state, Ordering::SeqCst);
    }

    /// True for whoever is to open it.
    fn is_to_be_opened(&self) -> bool {
        self.0.compare_exchange(Self::CLOSED, Self::OPENING, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }
}

impl Listening {
    /// How long a waiter waits for subscriptions before it asks without those that are missing.
    const OPENED_WITHIN: Duration = Duration::from_millis(50);

    /// How long a connection lasts at least that is worth to be replaced at once.
    const LASTS: Duration = Duration::from_secs(1);

    /// After how long a node is asked again that does not permit to listen: its permissions may have been corrected.
    const ASKED_AGAIN: Duration = Duration::from_secs(60);

    /// For how long subscriptions are kept when nobody waits any more.
    const LINGER: Duration = Duration::from_secs(10);

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

    /// Listens to all nodes that can be listened to, the last of them a short time later. Whether the one is among them that
    /// is to wake us.
    pub(crate) async fn open(&self, fleet: &Arc<Fleet>, runtime: &Handle, patience: Duration) -> bool {
        if !self.nodes.iter().all(|ear| ear.is(Ear::OPEN) || ear.is(Ear::DEAF)) {
            self.open_others(fleet, runtime, patience.min(Self::OPENED_WITHIN)).await;
        }
        self.waker(fleet).is_some()
    }

    /// Which node is to wake us, if it can.
    pub(crate) fn waker(&self, fleet: &Fleet) -> Option<usize> {
        fleet.waker(None).filter(|node| self.channel(*node).is_some())
    }

    async fn open_others(&self, fleet: &Arc<Fleet>, runtime: &Handle, patience: Duration) {
        let is_first = !self.nodes.iter().any(|ear| ear.is(Ear::OPEN));
        let Some(channel) = self.channel.get().cloned().or_else(|| self.name(fleet)) else { return };
        for (node, (ear, member)) in self.nodes.iter().zip(&fleet.members).enumerate() {
            // The waiters of a cluster hear nothing from its other members.
            if !member.is_failing() && !member.node.is_cluster() && ear.is_to_be_opened() {
                let (fleet, ended) = (Arc::downgrade(fleet), self.end.subscribe());
                runtime.spawn(
                    Subscription {
                        fleet,
                        node,
                        channel: Arc::clone(&channel),
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
                let mut changed = std::pin::pin!(self.changed.notified());
                changed.as_mut().enable();
                if !self.nodes.iter().any(|ear| ear.is(Ear::OPENING)) {
                    return;
                }
                changed.await;
            }
        };
        let _ = timeout(patience, opened).await;
    }

    /// Listens no more, until somebody has to wait again.
    pub(crate) fn close(&self) {
        self.end.send_replace(());
    }

    /// Names the channel. Without randomness there is none, and waiters poll.
    fn name(&self, fleet: &Fleet) -> Option<Arc<str>> {
        let mut random = [0; 16];
        fleet.entropy.fill(&mut random).ok()?;
        let mut channel = format!("{}redlock:wake:", fleet.key_prefix);
        random.iter().for_each(|byte| _ = write!(channel, "{byte:02x}"));
        Some(Arc::clone(self.channel.get_or_init(|| channel.into())))
    }
}

impl Fleet {
    /// Wakes the first who waits for this key on a node.
    pub(crate) async fn wake(&self, node: usize, key: Resource) -> Result<(), NodeError> {
        let Some(waiters) = key.waiters() else { return Ok(()) };
        self.tell_waiters(node, key, Wake::new([waiters], None)).await
    }

    /// Takes this process out of the waiters of a node, since nobody here waits for the key any more. Wakes the next
    /// waiter if the key is free: this process may have been notified of that.
    pub(super) async fn leave(&self, node: usize, key: Resource) {
        let (Some(channel), Some(waiters)) = (self.listening.own_channel(), key.waiters()) else { return };
        let wake = Wake::new([waiters], Some(Arc::clone(channel))).if_free();
        let _ = timeout(LATE_LIMIT, self.tell_waiters(node, key.clone(), wake)).await;
        if self.waker(None) == Some(node) {
            self.lines.left(&key);
        }
    }

    async fn tell_waiters(&self, node: usize, key: Resource, wake: Wake) -> Result<(), NodeError> {
        // A node that fails is not sent more than it has to be. It removes waiters that are gone by itself.
        let Some(member) = self.members.get(node).filter(|member| !member.is_failing()) else { return Ok(()) };
        // Nothing is held by a token that nobody has used.
        let token = self.token().map_err(|error| NodeError::new(NodeErrorKind::Other, error))?;
        let mut request = ReleaseRequest::new(key, token);
        request.wake = Some(wake);
        member.node.release(&request).await.map(drop)
    }
}

/// One subscription, while its fleet lives.
struct Subscription {
    fleet: Weak<Fleet>,
    node: usize,
    channel: Arc<str>,
    /// When it began to be listened to.
    opened: OnceLock<Instant>,
    /// Why the node refused, if it did.
    refused: OnceLock<NodeErrorKind>,
}

impl Subscription {
    async fn run(self, mut ended: watch::Receiver<()>) {
        let listened = async {
            let Some(mut messages) = self.open().await else {
                if self.refused.get() == Some(&NodeErrorKind::Permission) {
                    let _ = timeout(Listening::ASKED_AGAIN, ended.changed()).await;
                }
                return;
            };
            loop {
                let message = select! {
                    biased;
                    _ = ended.changed() => None,
                    message = messages.next() => message,
                    () = sleep(Listening::LINGER) => match self.fleet.upgrade() {
                        Some(fleet) if !fleet.lines.is_idle() => continue,
                        _ => None,
                    },
                };
                let (Some(message), Some(fleet)) = (message, self.fleet.upgrade()) else { return };
                self.pass(&fleet, &message);
            }
        };
        // A backend that panics is a node that is not listened to.
        let _ = AssertUnwindSafe(listened).catch_unwind().await;
    }

    async fn open(&self) -> Option<Box<dyn WakeUps>> {
        let node = {
            let fleet = self.fleet.upgrade()?;
            Arc::clone(&fleet.members.get(self.node)?.node)
        };
        let listening = node.listen(&ListenRequest::new(Arc::clone(&self.channel))).await;
        let fleet = self.fleet.upgrade()?;
        match listening {
            Ok(messages) => {
                let _ = self.opened.set(Instant::now());
                self.becomes(&fleet, Ear::OPEN);
                // It may have taken longer than anybody has waited for it.
                if fleet.listening.waker(&fleet) == Some(self.node) {
                    fleet.lines.look_again();
                }
                Some(messages)
            }
            Err(error) => {
                tracing::debug!(node = node.name(), error = %error.chain(), "waiters poll this node: nobody wakes them");
                if matches!(error.kind(), NodeErrorKind::Unsupported | NodeErrorKind::Permission) {
                    let _ = self.refused.set(error.kind());
                    self.becomes(&fleet, Ear::DEAF);
                }
                None
            }
        }
    }

    /// Tells the first who waits here; or passes the turn on to other processes.
    fn pass(&self, fleet: &Arc<Fleet>, message: &[u8]) {
        let Some(key) = str::from_utf8(message).ok().filter(|key| key.starts_with(&*fleet.key_prefix)) else { return };
        if fleet.lines.woken(key, fleet.clock.now())
            && let (Ok(key), Ok(runtime)) = (Resource::new(key), Handle::try_current())
        {
            let (leaving, node) = (Arc::clone(fleet), self.node);
            fleet.background.spawn(&runtime, async move { leaving.leave(node, key).await });
        }
    }

    fn becomes(&self, fleet: &Fleet, state: u8) {
        if let Some(ear) = fleet.listening.nodes.get(self.node) {
            ear.set(state);
        }
        fleet.listening.changed.notify_waiters();
    }
}

impl Drop for Subscription {
    /// The connection broke, nobody waits any more, or the runtime has ended.
    fn drop(&mut self) {
        let Some(fleet) = self.fleet.upgrade() else { return };
        // A backend that cannot listen never will.
        if self.refused.get() == Some(&NodeErrorKind::Unsupported) {
            return;
        }
        if let Some(ear) = fleet.listening.nodes.get(self.node) {
            ear.set(Ear::CLOSED);
            fleet.listening.changed.notify_waiters();
            // Who counted on it opens another; at once, unless such connections do not last.
            if self.opened.get().is_some_and(|opened| opened.elapsed() >= Listening::LASTS) {
                fleet.lines.look_again();
            }
        }
    }
}
