//! What the nodes hold under one name.

use std::{fmt, time::Duration};

use super::holder::Holder;
use crate::{
    algorithm::{Finding, KeyView, Quorum, Readable},
    driver::Fleet,
    names::{Named, Resource},
    node::{InspectAnswer, NodeError, NodeErrorKind, Reader},
};

/// What the nodes held under one name when [`Redlock::inspect`](crate::Redlock::inspect) asked them.
///
/// It may be out of date when it is read, and decides nothing: to do something only if nobody else does it,
/// [acquire](crate::Redlock::try_acquire).
///
/// Printed, it is a line on the whole and one for each node; tokens are cut, and what others have set is escaped:
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

/// What one node holds.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct NodeKeyState {
    /// The node's [name](crate::LockNode::name).
    pub node: String,
    /// What it holds.
    pub state: KeyState,
}

/// What a node holds, or why that is not known.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum KeyState {
    /// There is no such key.
    Absent,
    /// The key is there.
    Held(Holder),
    /// Readers share it.
    Shared {
        /// Some of the readers, those that stay longest first: at most 100.
        readers: Vec<Holder>,
        /// How many there are.
        count: usize,
    },
    /// The node answered with an error, or could not be asked.
    Failed(NodeError),
    /// The node did not answer in time.
    Silent {
        /// How long it was waited for.
        after: Duration,
    },
}

impl Inspection {
    /// What each node answered, if it did within the node timeout. All of it `took` so long.
    pub(crate) fn new(
        fleet: &Fleet,
        resource: Resource,
        answers: impl IntoIterator<Item = Option<Result<InspectAnswer, NodeError>>>,
        took: Duration,
        node_timeout: Duration,
    ) -> Self {
        let state = |answer| match answer {
            Some(Ok(InspectAnswer::Absent)) => KeyState::Absent,
            // A node was asked at the start or later. So much is left of its key at least.
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

    /// What was looked at.
    #[must_use]
    pub fn resource(&self) -> &str {
        self.resource.as_str()
    }

    /// What every node holds, in the order in which the nodes were given.
    #[must_use]
    pub fn nodes(&self) -> &[NodeKeyState] {
        &self.nodes
    }

    /// How many nodes must hold one token, for somebody to hold the lock.
    #[must_use]
    pub fn needed(&self) -> usize {
        self.quorum.needed()
    }

    /// What the nodes hold on the whole. Of a holder, `remaining` is how long a quorum still holds it.
    #[must_use]
    pub fn finding(&self) -> &Finding<Holder> {
        &self.finding
    }

    /// Who holds the lock on a quorum of the nodes, and for how long a quorum does; nothing if nobody is known to.
    #[must_use]
    pub fn holder(&self) -> Option<&Holder> {
        match &self.finding {
            Finding::Held(holder) => Some(holder),
            _ => None,
        }
    }

    /// How many readers share the lock on a quorum of the nodes: 0 if it is not shared. Of more than 100 on one node, at
    /// least those.
    #[must_use]
    pub fn readers(&self) -> usize {
        match self.finding {
            Finding::Shared { readers, .. } => readers,
            _ => 0,
        }
    }

    /// Whether a quorum of the nodes holds one token, or one reader. `None` if too few nodes answered.
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
                write!(f, "unknown whether {name} is held: {answered} of {nodes} nodes answered, too few to tell")
            }
        }
    }

    /// What an operator can do: about the first failed node for which there is something to do.
    fn advice(&self) -> Option<&'static str> {
        self.nodes.iter().find_map(|node| match &node.state {
            KeyState::Failed(error) => error.kind().advice(),
            KeyState::Silent { .. } => NodeErrorKind::Timeout.advice(),
            KeyState::Absent | KeyState::Held(_) | KeyState::Shared { .. } => None,
        })
    }
}

impl KeyState {
    /// Who holds the key on this node, if anybody is known to.
    #[must_use]
    pub fn holder(&self) -> Option<&Holder> {
        match self {
            Self::Held(holder) => Some(holder),
            _ => None,
        }
    }

    /// The readers that share the key on this node: their tokens, and for how long each of them still does.
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

/// An inspection on one line, for errors.
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
                /// How many are shown.
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

/// How many readers there are, in words.
struct Count(usize);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0, if self.0 == 1 { "reader" } else { "readers" })
    }
}

/// A holder and for how long.
struct Remaining<'a>(&'a Holder);

impl fmt::Display for Remaining<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.remaining() {
            Some(remaining) => write!(f, "{} ({} left)", self.0, Readable(remaining)),
            None => write!(f, "{} (no expiry)", self.0),
        }
    }
}
