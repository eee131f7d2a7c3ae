//! The state of the nodes under one name.

use std::{fmt, time::Duration};

use super::holder::Holder;
use crate::{
    algorithm::{Finding, KeyView, Quorum, Readable},
    driver::Fleet,
    names::{Named, Resource},
    node::{InspectAnswer, NodeError, NodeErrorKind, Reader},
};

/// The state of the nodes under one name, when [`Redlock::inspect`](crate::Redlock::inspect) queried them.
///
/// It may be out of date when you read it, so do not base decisions on it. To do something only if nobody else does it,
/// [acquire](crate::Redlock::try_acquire).
///
/// Its `Display` prints a summary line and one line for each node. Tokens are shortened, and values that other programs
/// have set are escaped:
///
/// ```text
/// "invoice:42" is held by 5f0c6c1b... of "web-3:4711" (8.2s left): on 2 of 3 nodes, 2 needed
///   10.0.0.1:6379  5f0c6c1b... of "web-3:4711" (8.2s left)
///   10.0.0.2:6379  5f0c6c1b... of "web-3:4711" (8.2s left)
///   10.0.0.3:6379  absent
/// ```
#[derive(Debug, Clone)]
pub struct Inspection {
    resource: Resource,
    quorum: Quorum,
    nodes: Vec<NodeKeyState>,
    finding: Finding<Holder>,
}

/// The state of one node.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct NodeKeyState {
    /// The node's [name](crate::LockNode::name).
    pub node: String,
    /// The state of its key.
    pub state: KeyState,
}

/// The state of a key on a node, or why it is not known.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum KeyState {
    /// The key does not exist.
    Absent,
    /// The key exists.
    Held(Holder),
    /// Readers share the key.
    Shared {
        /// Some of the readers, in order of the remaining time, the longest first: at most 100.
        readers: Vec<Holder>,
        /// The number of readers.
        count: usize,
    },
    /// The node answered with an error, or the request could not be sent.
    Failed(NodeError),
    /// The node did not answer in time.
    Silent {
        /// How long the call waited for it.
        after: Duration,
    },
}

impl Inspection {
    /// Collects the answers that arrived within the node timeout. The whole call `took` this long.
    pub(crate) fn new(
        fleet: &Fleet,
        resource: Resource,
        answers: impl IntoIterator<Item = Option<Result<InspectAnswer, NodeError>>>,
        took: Duration,
        node_timeout: Duration,
    ) -> Self {
        let state = |answer| match answer {
            Some(Ok(InspectAnswer::Absent)) => KeyState::Absent,
            // The node was queried at the start or later, so its key has at least this much left.
            Some(Ok(InspectAnswer::Held { token, remaining })) => {
                KeyState::Held(Holder::new(token, remaining.map(|remaining| remaining.saturating_sub(took))))
            }
            Some(Ok(InspectAnswer::Shared { readers, count, .. })) => {
                let left = |reader: &Reader| Some(reader.remaining.saturating_sub(took));
                let readers = readers.into_iter().map(|reader| Holder::new(&*reader.token, left(&reader))).collect();
                KeyState::Shared { readers, count }
            }
            Some(Err(error)) => KeyState::Failed(error),
            None => KeyState::Silent { after: node_timeout },
        };
        let view = |(name, answer)| NodeKeyState { node: name, state: state(answer) };
        let names = fleet.names().map(str::to_owned);
        let nodes: Vec<_> = names.zip(answers).map(view).collect();
        let sharing: Vec<_> = nodes.iter().map(|node| node.state.sharing()).collect();
        let seen = nodes.iter().zip(&sharing).map(|(node, sharing)| node.state.seen(sharing));
        let found = Finding::of(fleet.quorum, seen);
        let finding = found.map(|(value, remaining)| Holder::new(value, remaining));
        Self { resource, quorum: fleet.quorum, nodes, finding }
    }

    /// Returns the inspected resource.
    #[must_use]
    pub fn resource(&self) -> &str {
        self.resource.as_str()
    }

    /// Returns what every node holds, in the order in which the nodes were passed.
    #[must_use]
    pub fn nodes(&self) -> &[NodeKeyState] {
        &self.nodes
    }

    /// Returns the number of nodes that must hold the same token for somebody to hold the lock.
    #[must_use]
    pub fn needed(&self) -> usize {
        self.quorum.needed()
    }

    /// Returns the finding on all nodes together. For a holder, `remaining` is how long a quorum still holds the key.
    #[must_use]
    pub fn finding(&self) -> &Finding<Holder> {
        &self.finding
    }

    /// Returns the holder on a quorum of the nodes, and for how long a quorum holds the lock. `None` if no holder is
    /// known.
    #[must_use]
    pub fn holder(&self) -> Option<&Holder> {
        match &self.finding {
            Finding::Held(holder) => Some(holder),
            _ => None,
        }
    }

    /// Returns the number of readers that share the lock on a quorum of the nodes: 0 if it is not shared. If one node
    /// has more than 100, the result is a lower bound.
    #[must_use]
    pub fn readers(&self) -> usize {
        match self.finding {
            Finding::Shared { readers, .. } => readers,
            _ => 0,
        }
    }

    /// Returns whether a quorum of the nodes holds the same token, or readers share the lock on a quorum. `None` if too
    /// few nodes answered to decide.
    #[must_use]
    pub fn is_locked(&self) -> Option<bool> {
        self.finding.is_locked()
    }

    fn summary(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, nodes, needed) = (Named(&self.resource), self.nodes.len(), self.needed());
        let silent = |node: &&NodeKeyState| matches!(node.state, KeyState::Failed(_) | KeyState::Silent { .. });
        let answered = nodes - self.nodes.iter().filter(silent).count();
        let holders = || self.nodes.iter().filter_map(|node| node.state.holder());
        let sharing = self.nodes.iter().filter(|node| matches!(node.state, KeyState::Shared { .. })).count();
        let holding = holders().count() + sharing;
        match &self.finding {
            Finding::Held(holder) => {
                let agree = holders().filter(|on_node| on_node.value() == holder.value()).count();
                write!(f, "{name} is held by {}: on {agree} of {nodes} nodes, {needed} needed", Remaining(holder))
            }
            Finding::Shared { readers, remaining } => {
                let (readers, left) = (Count(*readers), Readable(*remaining));
                write!(f, "{name} is shared by {readers} ({left} left): on {sharing} of {nodes} nodes, {needed} needed")
            }
            Finding::Free => write!(f, "{name} is free: {answered} of {nodes} nodes answered, {holding} with a token"),
            Finding::Split => {
                write!(f, "{name} is held by nobody: {holding} of {nodes} nodes hold tokens, no {needed} the same")
            }
            Finding::Unknown => {
                write!(f, "unknown whether {name} is held: {answered} of {nodes} nodes answered, too few to decide")
            }
        }
    }

    /// Returns what an operator can do about the first failed node for which there is advice.
    fn advice(&self) -> Option<&'static str> {
        self.nodes.iter().find_map(|node| match &node.state {
            KeyState::Failed(error) => error.kind().advice(),
            KeyState::Silent { .. } => NodeErrorKind::Timeout.advice(),
            KeyState::Absent | KeyState::Held(_) | KeyState::Shared { .. } => None,
        })
    }
}

impl KeyState {
    /// Returns the holder of the key on this node, if one is known.
    #[must_use]
    pub fn holder(&self) -> Option<&Holder> {
        match self {
            Self::Held(holder) => Some(holder),
            _ => None,
        }
    }

    /// Returns the tokens of the readers that share the key on this node, and how long it still holds the key for each
    /// of them.
    fn sharing(&self) -> Vec<(&[u8], Duration)> {
        let readers = match self {
            Self::Shared { readers, .. } => readers.as_slice(),
            _ => &[],
        };
        readers.iter().map(|reader| (reader.value(), reader.remaining().unwrap_or_default())).collect()
    }

    fn seen<'a>(&'a self, sharing: &'a [(&'a [u8], Duration)]) -> KeyView<'a> {
        match self {
            Self::Shared { .. } => KeyView::Shared(sharing),
            Self::Absent => KeyView::Absent,
            Self::Held(holder) => KeyView::Held { by: holder.value(), remaining: holder.remaining() },
            Self::Failed(_) | Self::Silent { .. } => KeyView::Unknown,
        }
    }
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.summary(f)?;
        let width = self.nodes.iter().map(|view| view.node.chars().count()).max().unwrap_or_default();
        for NodeKeyState { node, state } in &self.nodes {
            write!(f, "\n  {node:width$}  {state}")?;
        }
        self.advice().map_or(Ok(()), |advice| write!(f, "\n{advice}"))
    }
}

/// Prints an inspection on one line, for errors.
pub(crate) struct OnOneLine<'a>(pub(crate) &'a Inspection);

impl fmt::Display for OnOneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(inspection) = self;
        inspection.summary(f)?;
        for (i, NodeKeyState { node, state }) in inspection.nodes.iter().enumerate() {
            let separator = if i == 0 { ": " } else { ", " };
            write!(f, "{separator}{node} {state}")?;
        }
        inspection.advice().map_or(Ok(()), |advice| write!(f, "; {advice}"))
    }
}

impl fmt::Display for KeyState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("absent"),
            Self::Held(holder) => Remaining(holder).fmt(f),
            Self::Shared { readers, count } => {
                /// The number of readers that are shown.
                const SHOWN: usize = 5;
                write!(f, "{}", Count(*count))?;
                for (number, reader) in readers.iter().take(SHOWN).enumerate() {
                    write!(f, "{} {}", if number == 0 { ":" } else { "," }, Remaining(reader))?;
                }
                if *count > SHOWN { f.write_str(", ...") } else { Ok(()) }
            }
            Self::Failed(error) => write!(f, "failed ({})", error.chain()),
            Self::Silent { after } => write!(f, "did not answer within {}", Readable(*after)),
        }
    }
}

/// Prints the number of readers in words.
struct Count(usize);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0, if self.0 == 1 { "reader" } else { "readers" })
    }
}

/// Prints a holder and for how long it holds the key.
pub(super) struct Remaining<'a>(pub(super) &'a Holder);

impl fmt::Display for Remaining<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.remaining() {
            Some(remaining) => write!(f, "{} ({} left)", self.0, Readable(remaining)),
            None => write!(f, "{} (no expiry)", self.0),
        }
    }
}
