//! Checks the nodes: queries each for its facts, and reports the problems.

use std::sync::Arc;

use tokio::runtime::Handle;

use super::nodes_report::{NodesError, NodesReport};
use crate::{
    algorithm::{NodeAccount, NodeFacts, NodeFinding, NodeUse, Readable},
    api::Redlock,
    driver::{Exchange, Requests},
    node::{DescribeRequest, LATE_LIMIT, NodeError, NodeErrorKind},
};

impl Redlock {
    /// Queries every node for its facts, and reports actual and possible problems: one server behind two names, a
    /// replica, a node that may evict locks or forgets them when it restarts, clocks that are apart. Changes nothing.
    /// Use it as a check at start-up, and for people.
    ///
    /// Waits for each node until it answers or its client gives up, after 2 s by default, and never for longer than 5
    /// s. A node that fails is a finding. Facts that the user has no permission to read are reported as unknown: the
    /// guide lists the [permissions](crate::guide::servers#permissions).
    ///
    /// ```
    /// use redlock_core::{NodeFindingKind, Redlock, Severity};
    /// use redlock_mock::MockNode;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let mut nodes = MockNode::fleet(2);
    /// nodes.push(nodes[0].clone().with_name("another name"));
    /// let redlock = Redlock::new(nodes)?;
    ///
    /// let report = redlock.check_nodes().await?;
    /// println!("{report}");
    /// // 3 nodes checked: 1 error
    /// // error: node-1, another name: one and the same server (run_id): it votes twice
    /// //   list each server once
    /// assert_eq!(report.findings()[0].kind, NodeFindingKind::SameServer);
    ///
    /// // At start-up: errors end the program, the rest is up to you.
    /// let rejected = report.fail_on(Severity::Error).unwrap_err();
    /// assert!(rejected.to_string().contains("another name"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// If the call is not made on a Tokio runtime. The [`NodesReport`] lists nodes that fail.
    ///
    /// # Cancel safety
    ///
    /// If dropped, it has no effect.
    ///
    /// # Panics
    ///
    /// If the runtime has no timers (`enable_time`).
    pub async fn check_nodes(&self) -> Result<NodesReport, NodesError> {
        Handle::try_current().map_err(|_| NodesError::NoRuntime)?;
        let fleet = &self.fleet;
        // The time that each node returns is compared with the time from here on.
        let request = fleet.probe().map(DescribeRequest::new);

        // 1. Send to all nodes at once.
        let requests = Requests::new(fleet, |member| {
            let (fleet, request) = (Arc::clone(fleet), request.clone());
            Box::pin(async move { fleet.describe(member, request).await })
        });
        let patience = fleet.node_timeout.without_ttl();

        // 2. Wait for all answers that come in time.
        let answers = Exchange::new(requests, LATE_LIMIT, patience, LATE_LIMIT).all().await;

        // 3. Find the problems of the nodes.
        let accounts: Vec<_> = fleet.names().zip(answers.into_iter().map(account)).collect();
        let jumps = fleet.members.iter().filter_map(|member| Some((member.node.name(), member.jumped()?.0)));
        let jumps: Vec<_> = jumps.collect();
        let usage = NodeUse {
            fencing: fleet.fencing,
            restart_guard: fleet.guard.is_some(),
            jumps: &jumps,
            ..NodeUse::default()
        };
        let findings = NodeFinding::all(&accounts, &usage);
        Ok(NodesReport::new(&accounts, findings))
    }
}

fn account(answer: Option<Result<NodeFacts, NodeError>>) -> NodeAccount {
    match answer {
        Some(Ok(facts)) => NodeAccount::Facts(Box::new(facts)),
        Some(Err(error)) if error.kind() == NodeErrorKind::Unsupported => NodeAccount::CannotTell,
        Some(Err(error)) => NodeAccount::Failed { why: error.chain(), advice: error.kind().advice() },
        None => NodeAccount::Failed {
            why: format!("did not answer within {}", Readable(LATE_LIMIT)),
            advice: NodeErrorKind::Timeout.advice(),
        },
    }
}
