//! Deliberately broken variants, to show that each oracle can find something.

use std::sync::Arc;

use async_trait::async_trait;
use redlock_core::{
    AcquireAnswer, AcquireRequest, Drift, ExtendAnswer, ExtendRequest, LockNode, NodeError, RedlockBuilder,
    ReleaseAnswer, ReleaseRequest, Timed,
};
use redlock_mock::{MockNode, Process};
use std::time::Duration;

/// What is broken on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sabotage {
    /// Nothing.
    None,
    /// Nothing is kept of the ttl for clocks that drift.
    NoDriftAllowance,
    /// Processes go on for a fifth longer than their lock is valid.
    HoldsTooLong,
    /// A node's release deletes the key, whoever holds it.
    ReleasesOthers,
    /// A node's acquire takes the key, whoever holds it.
    TakesOver,
    /// A node says that it has granted, and has not.
    GrantsNothing,
    /// A node says that it has extended, and has not.
    ExtendsNothing,
    /// A node that has lost a key does not take it again.
    NeverHeals,
    /// Of its loss a process is told some milliseconds after the validity has ended.
    TellsLate,
    /// A node says that it has released, and has not.
    ReleasesNothing,
    /// A node says that it did not hold what it has released.
    DeniesRelease,
    /// A node sets keys without an expiry.
    NeverExpires,
    /// A majority of the nodes is down.
    DeadMajority,
    /// A node leaves a task behind with every request.
    LeavesTasks,
    /// A node's task panics, and nobody waits for that task.
    PanicsUnheard,
    /// Processes go on using the nodes after they were closed.
    WorksOn,
}

impl Sabotage {
    /// The `Redlock` of a process, in this variant.
    pub(crate) fn builder(self, process: &Process) -> RedlockBuilder {
        let builder = match self {
            Self::None => process.redlock(),
            _ => {
                let nodes = process.nodes().iter().cloned().map(|node| Arc::new(Saboteur { node, sabotage: self }));
                redlock_core::Redlock::builder()
                    .nodes(nodes)
                    .clock(process.clock().clone())
                    .entropy(process.entropy().clone())
            }
        };
        match (self, Drift::new(0.0, Duration::ZERO)) {
            (Self::NoDriftAllowance, Ok(none)) => builder.drift(none),
            _ => builder,
        }
    }

    /// For how long a process holds on to a lock that is valid for so long.
    pub(crate) fn believed(self, validity: Duration) -> Duration {
        if self == Self::HoldsTooLong { validity + validity / 5 } else { validity }
    }

    pub(crate) fn before(self, nodes: &[MockNode]) {
        if self == Self::DeadMajority {
            nodes.iter().skip((nodes.len() - 1) / 2).for_each(MockNode::stop);
        }
    }
}

/// A node that is broken in one way.
#[derive(Debug)]
struct Saboteur {
    node: MockNode,
    sabotage: Sabotage,
}

#[async_trait]
impl LockNode for Saboteur {
    fn name(&self) -> &str {
        self.node.name()
    }

    async fn acquire(&self, request: &AcquireRequest) -> Result<Timed<AcquireAnswer>, NodeError> {
        match self.sabotage {
            Sabotage::GrantsNothing => return Ok(AcquireAnswer::granted().into()),
            Sabotage::TakesOver => request.keys.iter().for_each(|key| self.node.remove(key.as_str())),
            Sabotage::LeavesTasks => drop(tokio::spawn(std::future::pending::<()>())),
            _ => {}
        }
        let answer = self.node.acquire(request).await;
        if self.sabotage == Sabotage::NeverExpires && answer.is_ok() {
            request.keys.iter().for_each(|key| self.node.set(key.as_str(), request.token.as_bytes(), None));
        }
        answer
    }

    async fn extend(&self, request: &ExtendRequest) -> Result<Timed<ExtendAnswer>, NodeError> {
        match self.sabotage {
            Sabotage::ExtendsNothing => Ok(ExtendAnswer::Extended.into()),
            Sabotage::NeverHeals if request.keys.iter().any(|key| self.node.peek(key.as_str()).is_none()) => {
                Ok(ExtendAnswer::held(None).into())
            }
            _ => self.node.extend(request).await,
        }
    }

    #[expect(clippy::panic, reason = "on purpose")]
    async fn release(&self, request: &ReleaseRequest) -> Result<ReleaseAnswer, NodeError> {
        match self.sabotage {
            Sabotage::ReleasesOthers => request.keys.iter().for_each(|key| self.node.remove(key.as_str())),
            Sabotage::ReleasesNothing => return Ok(ReleaseAnswer::Released),
            Sabotage::PanicsUnheard => drop(tokio::spawn(async { panic!("on purpose") })),
            _ => {}
        }
        match (self.sabotage, self.node.release(request).await?) {
            (Sabotage::DeniesRelease, _) => Ok(ReleaseAnswer::NotHeld),
            (_, answer) => Ok(answer),
        }
    }
}
