//! The nodes that are restarted: in memory, and seen from several hosts.

use std::time::Duration;

use redlock_core::{Redlock, Token};
use redlock_mock::{Memory, MockNode};

use crate::demo::nodes::seen_from;

/// Nodes in memory, which can be stopped and emptied without harm.
#[derive(Debug)]
pub(crate) struct Nodes(Vec<MockNode>);

/// The holder of the key on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holds {
    Nothing,
    /// The given token, for this remaining time.
    This(Duration),
    Another,
}

impl Nodes {
    pub(crate) const COUNT: usize = 5;

    pub(crate) fn new() -> Self {
        Self(MockNode::fleet(Self::COUNT))
    }

    /// Returns a `Redlock` with a host's own connections to the nodes. Hosts share nothing else.
    pub(crate) fn host(&self, host: u64) -> anyhow::Result<Redlock> {
        Ok(Redlock::new(seen_from(host, &self.0))?)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = String> {
        (1..=self.0.len()).map(|number| format!("node-{number}"))
    }

    pub(crate) fn stop(&self, node: usize) {
        self.0.get(node).inspect(|node| node.stop());
    }

    /// Starts it like a node without persistence: with no keys.
    pub(crate) fn start_empty(&self, node: usize) {
        self.0.get(node).inspect(|node| node.start(Memory::Lost));
    }

    /// Returns the holder of this resource on the node. Sends no request, so it disturbs nothing.
    pub(crate) fn holds(&self, node: usize, resource: &str, token: Option<Token>) -> Holds {
        let Some(node) = self.0.get(node) else { return Holds::Nothing };
        match (node.peek(resource), token) {
            (None, _) => Holds::Nothing,
            (Some(held), Some(token)) if held == token.as_bytes() => {
                Holds::This(node.remaining(resource).unwrap_or_default())
            }
            (Some(_), _) => Holds::Another,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_node_that_is_started_holds_nothing() {
        let nodes = Nodes::new();
        let redlock = nodes.host(0).unwrap();
        let lock = redlock.try_acquire("r", Duration::from_secs(10)).await.unwrap().unwrap();
        let (token, other) = (Some(*lock.token()), Some(Token::from_bytes([7; 20])));
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert!(matches!(nodes.holds(4, "r", token), Holds::This(_)));
        assert_eq!((nodes.holds(4, "r", other), nodes.holds(4, "r", None)), (Holds::Another, Holds::Another));
        nodes.stop(4);
        nodes.start_empty(4);
        assert_eq!(nodes.holds(4, "r", token), Holds::Nothing);
    }
}
