//! The report on the nodes, for people and for checks at start-up.

use std::fmt;

use crate::{
    algorithm::{NodeAccount, NodeFacts, NodeFinding, Severity},
    report::WithinAsync,
};

/// The findings of [`Redlock::check_nodes`](crate::Redlock::check_nodes).
///
/// Its `Display` prints a summary line and, for each finding, one line with the problem and one with the solution:
///
/// ```text
/// 3 nodes checked: 1 error, 1 warning
/// error: localhost:6379, 127.0.0.1:6379: one and the same server (run_id): it votes twice
///   list each server once
/// warning: 10.0.0.3:6379: may evict locks: maxmemory is set, and its policy is allkeys-lru
///   set maxmemory-policy noeviction, or give the locks nodes of their own
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodesReport {
    nodes: Vec<(String, Option<Box<NodeFacts>>)>,
    findings: Vec<NodeFinding>,
}

impl NodesReport {
    pub(crate) fn new(accounts: &[(&str, NodeAccount)], findings: Vec<NodeFinding>) -> Self {
        let facts = |account: &NodeAccount| match account {
            NodeAccount::Facts(facts) => Some(facts.clone()),
            NodeAccount::CannotTell | NodeAccount::Failed { .. } => None,
        };
        let nodes = accounts.iter().map(|(name, account)| ((*name).to_owned(), facts(account))).collect();
        Self { nodes, findings }
    }

    /// Returns the findings, the worst first.
    #[must_use]
    pub fn findings(&self) -> &[NodeFinding] {
        &self.findings
    }

    /// Returns how bad the worst finding is, or `None` if there are no findings.
    #[must_use]
    pub fn worst(&self) -> Option<Severity> {
        self.findings.iter().map(|finding| finding.severity).max()
    }

    /// Returns the facts of each node by its name, in the order in which the nodes were passed. `None` for nodes that
    /// failed or cannot report any.
    pub fn nodes(&self) -> impl Iterator<Item = (&str, Option<&NodeFacts>)> {
        self.nodes.iter().map(|(name, facts)| (name.as_str(), facts.as_deref()))
    }

    /// Returns the report, if no finding is this bad or worse.
    ///
    /// # Errors
    ///
    /// [`NodesError::Rejected`], with the whole report, if a finding is this bad or worse.
    pub fn fail_on(self, from: Severity) -> Result<Self, NodesError> {
        if self.worst() >= Some(from) { Err(NodesError::Rejected(Box::new(self))) } else { Ok(self) }
    }

    fn summary(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes = self.nodes.len();
        write!(f, "{nodes} node{} checked: ", if nodes == 1 { "" } else { "s" })?;
        let mut separator = "";
        for severity in [Severity::Error, Severity::Warning, Severity::Notice] {
            let count = self.findings.iter().filter(|finding| finding.severity == severity).count();
            if count > 0 {
                write!(f, "{separator}{count} {severity}{}", if count == 1 { "" } else { "s" })?;
                separator = ", ";
            }
        }
        if self.findings.is_empty() { f.write_str("nothing found") } else { Ok(()) }
    }
}

impl fmt::Display for NodesReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.summary(f)?;
        self.findings.iter().try_for_each(|finding| write!(f, "\n{finding}"))
    }
}

/// Prints a report on one line, for errors.
struct OnOneLine<'a>(&'a NodesReport);

impl fmt::Display for OnOneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(report) = self;
        report.summary(f)?;
        for NodeFinding { severity, nodes, cause, cure, .. } in &report.findings {
            write!(f, "; {severity}: {}: {cause}", nodes.join(", "))?;
            if !cure.is_empty() {
                write!(f, " ({cure})")?;
            }
        }
        Ok(())
    }
}

/// The nodes are not fit for the caller, or were not checked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodesError {
    /// A finding is too bad for the caller: see [`NodesReport::fail_on`].
    #[error("the nodes have problems: {}", OnOneLine(.0))]
    Rejected(Box<NodesReport>),
    /// The call was not made on a Tokio runtime. Nothing was sent.
    #[error("there is no Tokio runtime here: call check_nodes from a task of a runtime with time and io enabled")]
    NoRuntime,
    /// A blocking call was made within async code. Nothing was sent.
    #[error(transparent)]
    WithinAsync(#[from] WithinAsync),
}
