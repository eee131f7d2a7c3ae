//! Opens a new fleet that has a restart guard.

use std::{fmt, sync::Arc};

use futures_util::future::join_all;
use tokio::{runtime::Handle, time::timeout};

use crate::{
    api::Redlock,
    driver::Member,
    names::hash_tag,
    node::{LATE_LIMIT, NodeError, OpenAnswer, OpenRequest},
    report::WithinAsync,
};

impl Redlock {
    /// Opens a new fleet that has a [restart guard](crate::RedlockBuilder::restart_guard), so that its first lock does
    /// not have to wait for the longest TTL.
    ///
    /// Call it for nodes that hold no locks, once, when they are put into service; never at each start of a program. It
    /// opens nothing unless **all** nodes answer and **none** has the guard's marker. So it opens no node that has lost
    /// its memory, unless **all** have lost it. Such a fleet looks new, and would grant locks that are still held.
    ///
    /// ```
    /// use std::time::Duration;
    /// use redlock_core::Redlock;
    /// use redlock_mock::MockNode;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let longest_ttl = Duration::from_secs(30);
    /// let redlock = Redlock::builder().nodes(MockNode::fleet(3)).restart_guard(longest_ttl).build()?;
    /// redlock.initialize().await?;
    /// let lock = redlock.acquire("invoice:42", Duration::from_secs(10)).await?;
    /// # let _ = lock.release().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`InitializeError`]. The call may fail after it has opened some nodes; a second call then finds them [in
    /// use](InitializeError::InUse). Each node that was not opened opens by itself, a longest TTL after its first
    /// acquire.
    ///
    /// # Cancel safety
    ///
    /// If dropped, it may have opened some of the nodes. The others open by themselves.
    ///
    /// # Panics
    ///
    /// If the runtime has no timers (`enable_time`).
    pub async fn initialize(&self) -> Result<(), InitializeError> {
        let guard = self.fleet.guard.as_ref().ok_or(InitializeError::NoGuard)?;
        Handle::try_current().map_err(|_| InitializeError::NoRuntime)?;
        // The marker is in one hash slot, and locks may be in any, unless the prefix of all keys has a hash tag.
        let cluster = self.fleet.members.iter().find(|member| member.node.is_cluster());
        if let Some(cluster) = cluster.filter(|_| hash_tag(&self.fleet.key_prefix).is_none()) {
            return Err(InitializeError::Slots { node: cluster.node.name().to_owned() });
        }
        let ask = |member: &'_ Member, run| {
            let (node, request) = (Arc::clone(&member.node), OpenRequest::new(guard.clone(), run));
            async move { (node.name().to_owned(), in_time(node.open(&request)).await) }
        };
        // 1. Is every node new? And which is the current run of its server?
        let asked = join_all(self.fleet.members.iter().map(|member| ask(member, None))).await;
        let runs = all(asked)?;
        // 2. Then open these nodes, except those that were restarted meanwhile.
        let opening = self.fleet.members.iter().zip(runs).map(|(member, run)| ask(member, run));
        all(join_all(opening).await).map(|_| ())
    }
}

async fn in_time(answer: impl Future<Output = Result<OpenAnswer, NodeError>>) -> Result<OpenAnswer, NodeError> {
    timeout(LATE_LIMIT, answer).await.unwrap_or_else(|_| Err(NodeError::no_answer(LATE_LIMIT)))
}

/// All nodes must answer, and be new or opened. Returns the runs of those that are new.
fn all(answers: Vec<(String, Result<OpenAnswer, NodeError>)>) -> Result<Vec<Option<String>>, InitializeError> {
    let (mut runs, mut failed, mut in_use) = (Vec::new(), Vec::new(), Vec::new());
    for (node, answer) in answers {
        match answer {
            Ok(OpenAnswer::New { run }) => runs.push(Some(run)),
            Ok(OpenAnswer::Opened) => runs.push(None),
            Ok(OpenAnswer::InUse) => in_use.push(node),
            Err(error) => failed.push((node, error)),
        }
    }
    match (failed.is_empty(), in_use.is_empty()) {
        (false, _) => Err(InitializeError::Failed { nodes: failed }),
        (_, false) => Err(InitializeError::InUse { nodes: in_use }),
        _ => Ok(runs),
    }
}

/// A fleet was not opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InitializeError {
    /// There is no restart guard, so there is nothing to open. Nothing was sent.
    #[error("there is no restart guard to initialize: set one with `RedlockBuilder::restart_guard`")]
    NoGuard,
    /// Some nodes have been guarded before, so the fleet is not new, and a node that has lost its memory must not be
    /// opened.
    #[error("the fleet is in use and was not opened: {} guarded already; it opens by itself", Names(.nodes))]
    InUse {
        /// Their names.
        nodes: Vec<String>,
    },
    /// Some nodes failed or did not answer. If they did so late, others may have been opened already.
    #[error("the fleet was not opened: not all nodes answered; {}", Failures(.nodes))]
    Failed {
        /// Their names, and why they failed.
        nodes: Vec<(String, NodeError)>,
    },
    /// A node is a Redis Cluster, and the keys have no common hash slot, so it would refuse each acquire. Nothing was
    /// sent.
    #[error(
        "node {node} is a Redis Cluster, and the restart guard needs all keys in one of its hash slots: set a key prefix \
         with a tag, for example {{tag}}:"
    )]
    Slots {
        /// Its name.
        node: String,
    },
    /// The call was not made on a Tokio runtime. Nothing was sent.
    #[error("there is no Tokio runtime here: call initialize from a task of a runtime with time and io enabled")]
    NoRuntime,
    /// A blocking call was made within async code. Nothing was sent.
    #[error(transparent)]
    WithinAsync(#[from] WithinAsync),
}

struct Names<'a>(&'a [String]);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0.join(", "), if self.0.len() == 1 { "is" } else { "are" })
    }
}

struct Failures<'a>(&'a [(String, NodeError)]);

impl fmt::Display for Failures<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (node, error)) in self.0.iter().enumerate() {
            let separator = if i == 0 { "" } else { ", " };
            write!(f, "{separator}{node} failed ({})", error.chain())?;
        }
        match self.0.iter().find_map(|(_, error)| error.kind().advice()) {
            Some(advice) => write!(f, "; {advice}"),
            None => Ok(()),
        }
    }
}
