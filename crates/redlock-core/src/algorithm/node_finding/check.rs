//! Finds actual and possible problems of the nodes of a fleet.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::{NodeFinding, NodeFindingKind, Severity};
use crate::algorithm::{ClockReading, ClusterFacts, Jump, NodeAccount, NodeFacts, NodeRole, NodeUse, ScriptFailure};

impl NodeFinding {
    /// Returns all findings on these nodes, each with its name; the worst first.
    #[must_use]
    pub fn all(nodes: &[(&str, NodeAccount)], usage: &NodeUse<'_>) -> Vec<Self> {
        let mut findings = Findings::default();
        let mut told: Vec<(&str, &NodeFacts)> = Vec::new();
        for (name, account) in nodes {
            match account {
                NodeAccount::Facts(facts) => told.push((name, facts)),
                NodeAccount::Failed { why, advice } => {
                    let cause = format!("{why}: its vote is missing");
                    findings.add(Severity::Error, NodeFindingKind::Unavailable, &[name], cause, advice.unwrap_or(""));
                }
                NodeAccount::CannotTell => findings.add(
                    Severity::Notice,
                    NodeFindingKind::Unknown,
                    &[name],
                    "cannot tell what it is".to_owned(),
                    "check its role, persistence and eviction by hand",
                ),
            }
        }
        findings.same_servers(&told);
        findings.same_clusters(&told);
        findings.clocks(&told, usage);
        findings.jumps(usage.jumps);
        for (name, facts) in &told {
            findings.role(name, facts.role.as_ref());
            findings.writes(name, facts.writes_stopped.as_deref());
            // A Sentinel runs no scripts, but that is not what is wrong with it.
            let no_script = facts.no_script.as_ref().filter(|_| facts.role != Some(NodeRole::Sentinel));
            findings.scripts(name, no_script);
            findings.cluster(name, facts.cluster.as_ref());
            findings.eviction(name, facts);
            findings.persistence(name, facts, usage.restart_guard);
            findings.version(name, facts);
            findings.untold(name, facts);
        }
        let names: Vec<_> = nodes.iter().map(|(name, _)| *name).collect();
        findings.number(&names);
        findings.0.sort_by_key(|finding| (std::cmp::Reverse(finding.severity), finding.kind));
        findings.0
    }
}

/// The findings so far.
#[derive(Debug, Default)]
struct Findings(Vec<NodeFinding>);

impl Findings {
    /// Adds a finding, or adds its nodes to an earlier finding with the same text.
    fn add(&mut self, severity: Severity, kind: NodeFindingKind, nodes: &[&str], cause: String, cure: &str) {
        let names = nodes.iter().map(|name| (*name).to_owned());
        let same = |found: &&mut NodeFinding| found.kind == kind && found.cause == cause && found.cure == cure;
        // Findings that are each about several nodes remain separate.
        match self.0.iter_mut().find(same).filter(|_| nodes.len() == 1) {
            Some(found) => found.nodes.extend(names),
            None => self.0.push(NodeFinding { severity, kind, nodes: names.collect(), cause, cure: cure.to_owned() }),
        }
    }

    fn same_servers(&mut self, told: &[(&str, &NodeFacts)]) {
        let mut servers = BTreeMap::<&str, Vec<&str>>::new();
        for (name, facts) in told {
            if let Some(run_id) = &facts.run_id {
                servers.entry(run_id).or_default().push(name);
            }
        }
        let order = |name: &str| told.iter().position(|(other, _)| *other == name);
        let mut several: Vec<_> = servers.into_values().filter(|names| names.len() > 1).collect();
        several.sort_by_key(|names| names.first().and_then(|name| order(name)));
        for names in several {
            let cause = format!("one and the same server (run_id): it votes {}", times(names.len()));
            self.add(Severity::Error, NodeFindingKind::SameServer, &names, cause, "list each server once");
        }
    }

    /// Nodes belong to the same cluster if they know a common member, or if both share a member with a third one.
    fn same_clusters(&mut self, told: &[(&str, &NodeFacts)]) {
        let mut clusters: Vec<(Vec<usize>, Vec<&ClusterFacts>)> = Vec::new();
        for (index, (_, facts)) in told.iter().enumerate() {
            let Some(cluster) = &facts.cluster else { continue };
            let mut merged = (vec![index], vec![cluster]);
            clusters.retain_mut(|(nodes, known)| {
                let common = known.iter().any(|other| !other.members.is_disjoint(&cluster.members));
                if common {
                    merged.0.append(nodes);
                    merged.1.append(known);
                }
                !common
            });
            clusters.push(merged);
        }
        for (mut nodes, _) in clusters.into_iter().filter(|(nodes, _)| nodes.len() > 1) {
            nodes.sort_unstable();
            let names: Vec<_> = nodes.iter().filter_map(|index| Some(told.get(*index)?.0)).collect();
            // That they are one server is reported already.
            let run_id = |index: &usize| told.get(*index).and_then(|(_, facts)| facts.run_id.as_deref());
            let first = nodes.first().and_then(run_id);
            if first.is_some() && nodes.iter().all(|index| run_id(index) == first) {
                continue;
            }
            self.add(
                Severity::Error,
                NodeFindingKind::SameCluster,
                &names,
                "members of one Redis Cluster: it fails over and forgets as one, and is one node".to_owned(),
                "use one cluster as one node, through a client for clusters, or independent servers",
            );
        }
    }

    fn clocks(&mut self, told: &[(&str, &NodeFacts)], usage: &NodeUse<'_>) {
        let ahead = |facts: &NodeFacts| facts.clock.as_ref().map(ClockReading::ahead);
        let readings = || told.iter().filter_map(|(name, facts)| Some((*name, ahead(facts)?)));
        let Some((fast, (at_least, _))) = readings().max_by_key(|(_, (at_least, _))| *at_least) else { return };
        let Some((slow, (_, at_most))) = readings().min_by_key(|(_, (_, at_most))| *at_most) else { return };
        let apart = u64::try_from(at_least.saturating_sub(at_most) / 1_000_000).unwrap_or_default();
        if u128::from(apart) <= usage.clocks_apart.as_millis() {
            return;
        }
        let fencing = if usage.fencing { ", and a fencing counter that is lost there begins with it" } else { "" };
        let cause = format!(
            "the clock of {fast} is ahead of that of {slow} by {}.{:03} s or more; locks do not need clocks that agree, \
             but a clock that is corrected later jumps, and keys expire early{fencing}",
            apart / 1_000,
            apart % 1_000
        );
        let cure = "keep all nodes' clocks by NTP, and let it slew them, never step";
        self.add(Severity::Warning, NodeFindingKind::ClocksApart, &[fast, slow], cause, cure);
    }

    fn jumps(&mut self, jumps: &[(&str, Jump)]) {
        for (name, jump) in jumps {
            let cause = format!(
                "its clock has jumped by {jump} since this process first queried it: keys expired early, or late"
            );
            let cure = "keep all nodes' clocks by NTP, and let it slew them, never step";
            self.add(Severity::Warning, NodeFindingKind::ClockJumped, &[name], cause, cure);
        }
    }

    fn role(&mut self, name: &str, role: Option<&NodeRole>) {
        let (severity, kind) = (Severity::Error, NodeFindingKind::NoPrimary);
        let independent = "use a primary's address: each node must be a separate primary";
        match role {
            Some(NodeRole::Replica { of, linked }) => {
                let of = of.as_ref().map(|of| format!(" of {of}")).unwrap_or_default();
                let cut = if *linked { "" } else { ", which it does not reach" };
                let cause = format!("a replica{of}{cut}: it grants no locks, and has no vote of its own");
                self.add(severity, kind, &[name], cause, independent);
            }
            Some(NodeRole::Sentinel) => {
                let cause = "a Sentinel, which keeps no locks".to_owned();
                self.add(severity, kind, &[name], cause, independent);
            }
            Some(NodeRole::Primary { replicas: 1.. }) => self.add(
                Severity::Notice,
                NodeFindingKind::HasReplicas,
                &[name],
                "has replicas: one that takes its place may lack the newest locks, which are then granted again"
                    .to_owned(),
                "do not promote them automatically (Sentinel, cluster), or only after the longest TTL",
            ),
            Some(NodeRole::Primary { replicas: 0 }) | None => {}
        }
    }

    fn writes(&mut self, name: &str, stopped: Option<&str>) {
        if let Some(why) = stopped {
            let cause = format!("accepts no writes ({why}): it grants no locks");
            let cure = "check the node's disk, or let it write again";
            self.add(Severity::Error, NodeFindingKind::WritesStopped, &[name], cause, cure);
        }
    }

    fn scripts(&mut self, name: &str, failure: Option<&ScriptFailure>) {
        match failure {
            None => {}
            Some(ScriptFailure { only_this_key: true, key, .. }) => self.add(
                Severity::Notice,
                NodeFindingKind::Unknown,
                &[name],
                format!("whether it runs scripts is unknown: the user may not use the key {key:?} that was tried"),
                "set the prefix of the user's keys as the builder's key prefix, or allow the user this key",
            ),
            Some(ScriptFailure { answer, advice, .. }) => self.add(
                Severity::Error,
                NodeFindingKind::NoScripts,
                &[name],
                format!("does not run scripts ({answer}): it grants no locks"),
                advice.unwrap_or("allow EVAL and EVALSHA, or use a server that supports them"),
            ),
        }
    }

    fn cluster(&mut self, name: &str, cluster: Option<&ClusterFacts>) {
        let Some(ClusterFacts { owners, reached_as_cluster, .. }) = cluster else { return };
        if *reached_as_cluster {
            self.add(
                Severity::Notice,
                NodeFindingKind::Cluster,
                &[name],
                "a Redis Cluster: one node, whatever its size; only one of its members was checked".to_owned(),
                "check the others by hand",
            );
            return;
        }
        let (severity, cause) = match owners {
            0 | 1 => (Severity::Warning, "a member of a Redis Cluster: once others have slots, it refuses their keys"),
            _ => (Severity::Error, "one of several members of a Redis Cluster: it refuses the keys of the others"),
        };
        let cure = "use a client for clusters, with RedisNode::new, or an independent server";
        self.add(severity, NodeFindingKind::ClusterMember, &[name], cause.to_owned(), cure);
    }

    fn eviction(&mut self, name: &str, facts: &NodeFacts) {
        let (Some(1..), Some(policy)) = (facts.maxmemory, &facts.maxmemory_policy) else { return };
        // All other policies delete keys that have an expiry, as locks do.
        if policy != "noeviction" {
            let cause = format!("may evict locks: maxmemory is set, and its policy is {policy}");
            let cure = "set maxmemory-policy noeviction, or give the locks nodes of their own";
            self.add(Severity::Warning, NodeFindingKind::Evicts, &[name], cause, cure);
        }
    }

    fn persistence(&mut self, name: &str, facts: &NodeFacts, restart_guard: bool) {
        let (severity, cause) = match (facts.append_only, facts.append_sync.as_deref(), facts.snapshots) {
            (Some(false), _, Some(true)) => (
                Severity::Warning,
                "writes snapshots only: a restart forgets all locks since the last one, and they are granted again",
            ),
            (Some(false), _, Some(false)) => {
                (Severity::Warning, "writes nothing to disk: a restart forgets all locks, and they are granted again")
            }
            (Some(false), _, None) => (
                Severity::Warning,
                "writes no append-only file: a restart forgets all locks, or those since the last snapshot",
            ),
            (Some(true), Some("everysec"), _) => (
                Severity::Notice,
                "syncs its append-only file every second: a machine that fails may forget the locks of the last one or two",
            ),
            (Some(true), Some("no"), _) => (
                Severity::Warning,
                "leaves it to the system when its append-only file is on disk: a machine that fails forgets many locks",
            ),
            _ => return,
        };
        if restart_guard {
            // It grants nothing until all locks that it may have forgotten are over.
            return;
        }
        let cure = "set a restart guard; or appendonly yes and appendfsync always; or keep a node that stopped down for the \
                    longest TTL";
        self.add(severity, NodeFindingKind::Forgets, &[name], cause.to_owned(), cure);
    }

    fn version(&mut self, name: &str, facts: &NodeFacts) {
        if let Some(version) = facts.version.filter(|version| version.is_too_old()) {
            let cause = format!("{version} is older than the versions that locks are tested on");
            let cure = "use Redis 6.2 or Valkey 7.2, or a later one";
            self.add(Severity::Warning, NodeFindingKind::OldServer, &[name], cause, cure);
        }
    }

    fn untold(&mut self, name: &str, facts: &NodeFacts) {
        if facts.untold.is_empty() {
            return;
        }
        let commands: Vec<_> = facts.untold.iter().copied().collect();
        let cause = format!("not everything is known: it did not answer {}", commands.join(", "));
        let cure = "allow the user +info, +time, +config|get and +cluster|nodes, or check the rest by hand";
        self.add(Severity::Notice, NodeFindingKind::Unknown, &[name], cause, cure);
    }

    fn number(&mut self, names: &[&str]) {
        let (severity, kind) = (Severity::Notice, NodeFindingKind::FewNodes);
        match names.len() {
            0 => {}
            1 => {
                let cause = "the only node: while it is down, nobody can acquire a lock".to_owned();
                self.add(severity, kind, names, cause, "use 3 or 5 independent nodes");
            }
            even if even.is_multiple_of(2) => {
                let cause = format!("{even} nodes tolerate no more failures than {}", even - 1);
                self.add(severity, kind, names, cause, "use an odd number of nodes, for example 3 or 5");
            }
            _ => {}
        }
    }
}

fn times(count: usize) -> String {
    if count == 2 { "twice".to_owned() } else { format!("{count} times") }
}
