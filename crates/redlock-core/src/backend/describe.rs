//! Collects what a node reports about itself, and whether it runs scripts.

use std::collections::BTreeSet;

use super::{
    Call, Node, RedisClient,
    facts::{read_cluster, read_info, read_parameter, read_time, snapshot_failed},
};
use crate::{
    algorithm::{ClockReading, NodeFacts, ScriptFailure},
    names::Resource,
    node::{DescribeRequest, InspectRequest, NodeError, NodeErrorKind},
};

impl<C: RedisClient> Node<C> {
    /// Returns everything that the node reports, in as few steps as possible: first a script, which connects; then what
    /// every server has; then what only members of a cluster have.
    pub(super) async fn facts(&self, request: &DescribeRequest) -> Result<NodeFacts, NodeError> {
        let mut facts = NodeFacts { no_script: self.try_script(&request.probe).await?, ..NodeFacts::default() };

        let sent = request.asked.elapsed();
        let clock = async { (self.ask(&["TIME"]).await, request.asked.elapsed()) };
        let (clock, info, sync, save, stop) = tokio::join!(
            clock,
            self.ask(&["INFO"]),
            self.ask(&["CONFIG", "GET", "appendfsync"]),
            self.ask(&["CONFIG", "GET", "save"]),
            self.ask(&["CONFIG", "GET", "stop-writes-on-bgsave-error"]),
        );
        let (time, answered) = clock;
        let untold = &mut facts.untold;
        let time = told("TIME", time, untold)?;
        let info = told("INFO", info, untold)?.unwrap_or_default().concat();
        let [sync, save, stop] = [
            told("CONFIG GET", sync, untold)?.unwrap_or_default(),
            told("CONFIG GET", save, untold)?.unwrap_or_default(),
            told("CONFIG GET", stop, untold)?.unwrap_or_default(),
        ];
        facts.clock = time.and_then(|time| Some(ClockReading::new(read_time(&time)?, sent, answered)));
        read_info(&mut facts, &info);
        facts.append_sync = read_parameter(&sync).map(str::to_owned);
        facts.snapshots = read_parameter(&save).map(|save| !save.is_empty());
        let stops = facts.snapshots == Some(true) && read_parameter(&stop) == Some("yes");
        if stops && snapshot_failed(&info) {
            facts.writes_stopped.get_or_insert("it cannot write its snapshot".to_owned());
        }

        if facts.cluster.is_some() || self.client().is_cluster() {
            let nodes = self.ask(&["CLUSTER", "NODES"]).await;
            let mut cluster =
                read_cluster(&told("CLUSTER NODES", nodes, &mut facts.untold)?.unwrap_or_default().concat());
            cluster.reached_as_cluster = self.client().is_cluster();
            facts.cluster = Some(cluster);
        }
        Ok(facts)
    }

    /// Runs the script that looks at a key. Returns why it did not run, if the node answered.
    async fn try_script(&self, probe: &Resource) -> Result<Option<ScriptFailure>, NodeError> {
        let request = InspectRequest::new(probe.clone());
        let error = match self.call(&Call::inspect(&request)).await {
            Ok(_) => return Ok(None),
            // The script ran.
            Err(error) if error.kind() == NodeErrorKind::WrongType => return Ok(None),
            Err(error) => answer(error)?,
        };
        let chain = error.chain();
        let mut failure = ScriptFailure::new(probe.as_str(), chain.clone());
        failure.advice = match error.kind() {
            NodeErrorKind::Unsupported => None,
            // redis-rs has its own name for this error.
            NodeErrorKind::Other if chain.to_uppercase().contains("CLUSTERDOWN") => {
                Some("look at the cluster: a member is down, or hash slots have no owner")
            }
            kind => kind.advice().or(Some("see what the server answers")),
        };
        failure.only_this_key = forbids_key(&error);
        Ok(Some(failure))
    }
}

/// Returns the answer, or `None` if only this command failed; its name is then added to `untold`.
fn told(
    command: &'static str,
    answered: Result<Vec<String>, NodeError>,
    untold: &mut BTreeSet<&'static str>,
) -> Result<Option<Vec<String>>, NodeError> {
    match answered {
        Ok(words) => Ok(Some(words)),
        Err(error) => {
            answer(error)?;
            untold.insert(command);
            Ok(None)
        }
    }
}

/// Returns whether the user may not access that key. A user that may not run the command gets another error.
pub(super) fn forbids_key(error: &NodeError) -> bool {
    let chain = error.chain();
    // Redis writes `one of the keys`, or `a key`.
    error.kind() == NodeErrorKind::Permission && chain.contains("access") && chain.contains("key")
}

/// Returns an error that concerns only this command. Fails with any other error: it concerns the whole node.
fn answer(error: NodeError) -> Result<NodeError, NodeError> {
    match error.kind() {
        NodeErrorKind::Timeout
        | NodeErrorKind::Unreachable
        | NodeErrorKind::Rejected
        | NodeErrorKind::Database
        | NodeErrorKind::Authentication
        | NodeErrorKind::Loading => Err(error),
        _ => Ok(error),
    }
}
