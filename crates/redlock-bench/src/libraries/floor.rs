//! The floor: what a client needs for the bare commands of a lock, with nothing around them.
//!
//! `SET NX PX` to all nodes at once, done at quorum; the compare-and-delete script to all, done at quorum. A task
//! finishes the late requests. It checks no TTL, reports no error, and abandons no node.

use std::{
    process,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tokio::time::sleep;

use crate::library::{Library, Tuning};

pub(super) const COMPARE_AND_DELETE: &str =
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0";

/// The same pause as that of the peers when they are set up for a lock that many tasks want.
const PAUSE: Duration = Duration::from_millis(3);

/// One connection to one node. A node that cannot be reached counts as a refusal.
pub(crate) trait BareNode: Clone + Send + Sync + Sized + 'static {
    /// A command that is sent to all nodes.
    type Command: Clone + Send + Sync + 'static;

    fn connect(url: &str) -> impl Future<Output = Result<Self>> + Send;

    fn set(name: &str, token: &str) -> Self::Command;

    fn delete(name: &str, token: &str) -> Self::Command;

    /// Returns whether the node agrees: it answers `OK` or 1.
    fn ask(&self, command: Self::Command) -> impl Future<Output = bool> + Send + 'static;
}

#[derive(Clone)]
pub(crate) struct Floor<N> {
    nodes: Arc<[N]>,
    quorum: usize,
    tuning: Tuning,
}

pub(crate) struct Bare {
    name: String,
    token: String,
}

impl<N: BareNode> Library for Floor<N> {
    type Held = Bare;

    async fn open(urls: &[String], tuning: Tuning) -> Result<Self> {
        let mut nodes = Vec::with_capacity(urls.len());
        for url in urls {
            nodes.push(N::connect(url).await?);
        }
        Ok(Self { quorum: nodes.len() / 2 + 1, nodes: nodes.into(), tuning })
    }

    async fn acquire(&self, name: &str) -> Result<Bare, String> {
        loop {
            let token = token();
            if self.ask_all(&N::set(name, &token)).await {
                return Ok(Bare { name: name.to_owned(), token });
            }
            self.ask_all(&N::delete(name, &token)).await;
            if self.tuning == Tuning::Defaults {
                return Err("no quorum".to_owned());
            }
            sleep(PAUSE).await;
        }
    }

    async fn release(&self, held: Bare) -> Result<(), String> {
        let released = self.ask_all(&N::delete(&held.name, &held.token)).await;
        if released { Ok(()) } else { Err("not held any more".to_owned()) }
    }
}

impl<N: BareNode> Floor<N> {
    /// Returns whether a quorum agrees, as soon as that is certain.
    async fn ask_all(&self, command: &N::Command) -> bool {
        let mut pending: FuturesUnordered<_> = self.nodes.iter().map(|node| node.ask(command.clone())).collect();
        let (mut yes, mut no) = (0, 0);
        while yes < self.quorum && no <= self.nodes.len() - self.quorum {
            match pending.next().await {
                Some(true) => yes += 1,
                Some(false) => no += 1,
                None => break,
            }
        }
        if !pending.is_empty() {
            tokio::spawn(async move { while pending.next().await.is_some() {} });
        }
        yes >= self.quorum
    }
}

/// Returns a new token for each lock, with the usual length.
fn token() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{:020x}{:020x}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}
