//! The nodes, each behind a link that can fail and that counts the node's answers.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use redlock_core::{
    CloseError, LockNode, NodeError, NodeErrorKind, Redlock, Resource,
    backend::{
        AcquireAnswer, AcquireRequest, ExtendAnswer, ExtendRequest, InspectAnswer, InspectRequest, ReleaseAnswer,
        ReleaseRequest, Timed,
    },
    testing::Clock,
};
use redlock_mock::MockNode;
use redlock_redis_rs::RedisNode;
use tokio::{sync::watch, time::timeout};

use crate::demo::{args::Args, console::Console, faults::Condition, tally::Count};

/// The nodes as all hosts see them.
#[derive(Debug)]
pub(crate) struct Fleet {
    pub(crate) links: Vec<Arc<Link>>,
    /// One `Redlock` per host. They share only the nodes, as if each were a process of its own.
    hosts: Vec<Redlock>,
    /// The first host's nodes, to query them one by one.
    nodes: Vec<Arc<dyn LockNode>>,
}

impl Fleet {
    /// The number of hosts that the workers are spread over.
    pub(crate) const HOSTS: usize = 4;

    /// Creates the nodes that the command line specifies. Connects to nothing yet.
    pub(crate) fn open(args: &Args) -> anyhow::Result<Self> {
        let mut fleet = Self { links: Vec::new(), hosts: Vec::new(), nodes: Vec::new() };
        if args.without_lock {
            return Ok(fleet);
        }
        let servers = MockNode::fleet(5);
        for host in 0..Self::HOSTS as u64 {
            if args.nodes.is_empty() {
                fleet.add_host(seen_from(host, &servers))?;
            } else {
                fleet.add_host(RedisNode::open_all(&args.nodes)?)?;
            }
        }
        Ok(fleet)
    }

    fn add_host(&mut self, nodes: impl IntoIterator<Item = impl LockNode>) -> anyhow::Result<()> {
        let nodes: Vec<Arc<dyn LockNode>> = nodes.into_iter().map(|node| Arc::new(node) as _).collect();
        if self.links.is_empty() {
            self.links = nodes.iter().map(|node| Arc::new(Link::new(node.name()))).collect();
            self.nodes = nodes.clone();
        }
        let linked = nodes.into_iter().zip(&self.links).map(|(node, link)| Linked { node, link: Arc::clone(link) });
        self.hosts.push(Redlock::new(linked)?);
        Ok(())
    }

    /// Returns the host that a worker runs on. `None` if there is no lock.
    pub(crate) fn host_of(&self, worker: usize) -> Option<&Redlock> {
        self.hosts.get(worker % Self::HOSTS)
    }

    /// Checks whether each node answers, and prints the nodes that do not.
    pub(crate) async fn probe(&self, console: &mut Console) -> anyhow::Result<Vec<bool>> {
        let question = InspectRequest::new(Resource::new("redlock-demo")?);
        let ask = |node: &Arc<dyn LockNode>| {
            let (node, question) = (Arc::clone(node), question.clone());
            tokio::spawn(async move { node.inspect(&question).await })
        };
        let asked: Vec<_> = self.nodes.iter().map(ask).collect();
        let mut answers = Vec::new();
        for (node, asked) in self.nodes.iter().zip(asked) {
            let answer = asked.await?;
            if let Err(error) = &answer {
                console.line(&console.bad(&format!("{} is out of use: {error}", node.name())));
                if let Some(advice) = error.kind().advice() {
                    console.line(&format!("  {advice}"));
                }
            }
            answers.push(answer.is_ok());
        }
        Ok(answers)
    }

    /// Ends all faults.
    pub(crate) fn heal(&self) {
        self.links.iter().for_each(|link| link.set(Condition::Up));
    }

    /// Waits until everything is released.
    pub(crate) async fn close(&self) -> Result<(), CloseError> {
        for redlock in &self.hosts {
            redlock.close().await?;
        }
        Ok(())
    }
}

/// Returns nodes in memory as one host reaches them: it is near to some and far from others.
pub(crate) fn seen_from(host: u64, servers: &[MockNode]) -> impl Iterator<Item = MockNode> {
    let latency = move |node: u64| Duration::from_millis(1 + (host + 2 * node) % 4);
    (0..).zip(servers).map(move |(node, server)| server.clone().with_latency(latency(node)))
}

/// How long a hung link holds a request, like a client with a response timeout.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The connection of all hosts to one node.
///
/// Faults happen here, on the demo's own side: the server behind it never notices.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) name: String,
    condition: watch::Sender<Condition>,
    pub(crate) granted: Count,
    pub(crate) held: Count,
    pub(crate) released: Count,
    pub(crate) refused: Count,
    pub(crate) unanswered: Count,
    pub(crate) failed: Count,
}

impl Link {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            condition: watch::Sender::default(),
            granted: Count::default(),
            held: Count::default(),
            released: Count::default(),
            refused: Count::default(),
            unanswered: Count::default(),
            failed: Count::default(),
        }
    }

    pub(crate) fn condition(&self) -> Condition {
        *self.condition.borrow()
    }

    pub(crate) fn set(&self, condition: Condition) {
        self.condition.send_replace(condition);
    }

    /// Returns once the link is up.
    async fn pass(&self) -> Result<(), NodeError> {
        let mut condition = self.condition.subscribe();
        let goes_on = condition.wait_for(|condition| *condition != Condition::Hung);
        match timeout(RESPONSE_TIMEOUT, goes_on).await.map(|condition| condition.map(|condition| *condition)) {
            Ok(Ok(Condition::Up)) => Ok(()),
            Ok(_) => Err(NodeError::new(NodeErrorKind::Unreachable, "the demo has stopped it")),
            Err(_) => Err(NodeError::new(NodeErrorKind::Timeout, "the demo has hung it")),
        }
    }

    /// Forwards the request, and its answer back: either may be lost.
    async fn carry<A>(&self, request: impl Future<Output = Result<A, NodeError>>) -> Result<A, NodeError> {
        let answer = async {
            self.pass().await?;
            let answer = request.await;
            self.pass().await?;
            answer
        };
        let answer = answer.await;
        match answer.as_ref().map_err(NodeError::kind) {
            Ok(_) => {}
            Err(NodeErrorKind::Unreachable) => self.refused.add_one(),
            Err(NodeErrorKind::Timeout) => self.unanswered.add_one(),
            Err(_) => self.failed.add_one(),
        }
        answer
    }
}

/// A node behind its link.
#[derive(Debug)]
struct Linked {
    node: Arc<dyn LockNode>,
    link: Arc<Link>,
}

#[async_trait]
impl LockNode for Linked {
    fn name(&self) -> &str {
        self.node.name()
    }

    fn clock(&self) -> Option<Arc<dyn Clock>> {
        self.node.clock()
    }

    async fn acquire(&self, request: &AcquireRequest) -> Result<Timed<AcquireAnswer>, NodeError> {
        let answer = self.link.carry(self.node.acquire(request)).await?;
        match answer.answer {
            AcquireAnswer::Held { .. } => self.link.held.add_one(),
            _ => self.link.granted.add_one(),
        }
        Ok(answer)
    }

    async fn extend(&self, request: &ExtendRequest) -> Result<Timed<ExtendAnswer>, NodeError> {
        self.link.carry(self.node.extend(request)).await
    }

    async fn release(&self, request: &ReleaseRequest) -> Result<ReleaseAnswer, NodeError> {
        let answer = self.link.carry(self.node.release(request)).await?;
        if answer.is_released() {
            self.link.released.add_one();
        }
        Ok(answer)
    }

    async fn inspect(&self, request: &InspectRequest) -> Result<InspectAnswer, NodeError> {
        self.link.carry(self.node.inspect(request)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ask(link: &Link) -> Result<u8, NodeErrorKind> {
        link.carry(async { Ok(1) }).await.map_err(|error| error.kind())
    }

    #[tokio::test(start_paused = true)]
    async fn a_link_fails_as_it_is_told() {
        let link = Link::new("a");
        assert_eq!(ask(&link).await, Ok(1));
        link.set(Condition::Stopped);
        assert_eq!(ask(&link).await, Err(NodeErrorKind::Unreachable));
        link.set(Condition::Hung);
        assert_eq!(ask(&link).await, Err(NodeErrorKind::Timeout));
        link.set(Condition::Up);
        assert_eq!(ask(&link).await, Ok(1));
        assert_eq!((link.refused.get(), link.unanswered.get(), link.failed.get()), (1, 1, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_goes_on_when_its_hung_link_does() {
        let link = Arc::new(Link::new("a"));
        link.set(Condition::Hung);
        let asked = tokio::spawn({
            let link = Arc::clone(&link);
            async move { ask(&link).await }
        });
        tokio::time::sleep(RESPONSE_TIMEOUT / 2).await;
        link.set(Condition::Up);
        assert_eq!(asked.await.unwrap(), Ok(1));
    }
}
