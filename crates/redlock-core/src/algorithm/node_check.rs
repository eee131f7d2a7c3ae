//! What is wrong with the nodes of a fleet, or may be.

use std::{collections::BTreeMap, time::Duration};

use super::{
    ClockReading, ClusterFacts, Jump, NodeFacts, NodeFinding, NodeFindingKind, NodeRole, ScriptFailure, Severity,
};

/// How nodes are used, and what is known of them besides what they say.
#[derive(Debug, Clone, Copy)]
pub struct NodeUse<'a> {
    /// Clocks that are apart by no more than this are not told, nor those that may be as close as this.
    pub clocks_apart: Duration,
    /// Whether locks have fencing tokens.
    pub fencing: bool,
    /// Whether there is a restart guard.
    pub restart_guard: bool,
    /// Which clocks were seen to jump.
    pub jumps: &'a [(&'a str, Jump)],
}

impl Default for NodeUse<'_> {
    fn default() -> Self {
        Self { clocks_apart: NodeFinding::CLOCKS_APART, fencing: false, restart_guard: false, jumps: &[] }
    }
}

/// What a node told when it was asked what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeAccount {
    /// What it is.
    Facts(Box<NodeFacts>),
    /// It cannot tell: its backend knows no such question.
    CannotTell,
    /// It failed, or did not answer.
    Failed {
        /// Why.
        why: String,
        /// What can be done about it, if anything is known.
        advice: Option<&'static str>,
    },
}

impl NodeFinding {
    /// Everything that is found on these nodes, each with its name; the worst first.
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
                    "look at its role, persistence and eviction by hand",
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
            // A Sentinel runs none, and that is not what is wrong with it.
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

/// What was found so far.
#[derive(Debug, Default)]
struct Findings(Vec<NodeFinding>);

impl Findings {
    /// Adds a finding, or its nodes to one that says the same.
    fn add(&mut self, severity: Severity, kind: NodeFindingKind, nodes: &[&str], cause: String, cure: &str) {
        let names = nodes.iter().map(|name| (*name).to_owned());
        let same = |found: &&mut NodeFinding| found.kind == kind && found.cause == cause && found.cure == cure;
        // Of two findings about several nodes each, each is about its own.
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
            self.add(Severity::Error, NodeFindingKind::SameServer, &names, cause, "give each server once");
        }
    }

    /// Nodes are of one cluster if they know a common member, or each of them one of a third.
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
            // That they are one server has been said already.
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
                "give one cluster as one node, through a client for clusters, or independent servers",
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
             but a clock that is set right later jumps, and keys expire early{fencing}",
            apart / 1_000,
            apart % 1_000
        );
        let cure = "keep all nodes' clocks by NTP, and let it slew them, never step";
        self.add(Severity::Warning, NodeFindingKind::ClocksApart, &[fast, slow], cause, cure);
    }

    fn jumps(&mut self, jumps: &[(&str, Jump)]) {
        for (name, jump) in jumps {
            let cause = format!(
                "its clock has jumped by {jump} since this process first asked it: keys expired early, or late"
            );
            let cure = "keep all nodes' clocks by NTP, and let it slew them, never step";
            self.add(Severity::Warning, NodeFindingKind::ClockJumped, &[name], cause, cure);
        }
    }

    fn role(&mut self, name: &str, role: Option<&NodeRole>) {
        let (severity, kind) = (Severity::Error, NodeFindingKind::NoPrimary);
        let independent = "give a primary's address: each node must be a primary of its own";
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
                "has replicas: one that takes its place has not yet got the newest locks, and they are held twice"
                    .to_owned(),
                "promote none by itself (Sentinel, cluster), or only after the longest ttl",
            ),
            Some(NodeRole::Primary { replicas: 0 }) | None => {}
        }
    }

    fn writes(&mut self, name: &str, stopped: Option<&str>) {
        if let Some(why) = stopped {
            let cause = format!("takes no writes ({why}): it grants no locks");
            let cure = "see to the node's disk, or let it write again";
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
                "give the prefix of the user's keys as the builder's key prefix, or allow the user this key",
            ),
            Some(ScriptFailure { answer, advice, .. }) => self.add(
                Severity::Error,
                NodeFindingKind::NoScripts,
                &[name],
                format!("does not run scripts ({answer}): it grants no locks"),
                advice.unwrap_or("allow EVAL and EVALSHA, or take a server that has them"),
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
                "a Redis Cluster: one node, whatever its size; only one of its members was looked at".to_owned(),
                "check the others by hand",
            );
            return;
        }
        let (severity, cause) = match owners {
            0 | 1 => (Severity::Warning, "a member of a Redis Cluster: once others have slots, it refuses their keys"),
            _ => (Severity::Error, "one of several members of a Redis Cluster: it refuses the keys of the others"),
        };
        let cure = "give the cluster through a client for clusters, with RedisNode::new, or an independent server";
        self.add(severity, NodeFindingKind::ClusterMember, &[name], cause.to_owned(), cure);
    }

    fn eviction(&mut self, name: &str, facts: &NodeFacts) {
        let (Some(1..), Some(policy)) = (facts.maxmemory, &facts.maxmemory_policy) else { return };
        // All others delete keys that have an expiry, as locks have.
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
            // It grants nothing until all that it may have forgotten is over.
            return;
        }
        let cure = "set a restart guard; or appendonly yes and appendfsync always; or keep a node that stopped down for the \
                    longest ttl";
        self.add(severity, NodeFindingKind::Forgets, &[name], cause.to_owned(), cure);
    }

    fn version(&mut self, name: &str, facts: &NodeFacts) {
        if let Some(version) = facts.version.filter(|version| version.is_too_old()) {
            let cause = format!("{version} is older than those that locks are tested on");
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
        let cure = "allow the user +info, +time, +config|get and +cluster|nodes, or look at the rest by hand";
        self.add(Severity::Notice, NodeFindingKind::Unknown, &[name], cause, cure);
    }

    fn number(&mut self, names: &[&str]) {
        let (severity, kind) = (Severity::Notice, NodeFindingKind::FewNodes);
        match names.len() {
            0 => {}
            1 => {
                let cause = "the only node: while it is down, nobody can take a lock".to_owned();
                self.add(severity, kind, names, cause, "use 3 or 5 independent nodes");
            }
            even if even.is_multiple_of(2) => {
                let cause = format!("{even} nodes tolerate no more failures than {}", even - 1);
                self.add(severity, kind, names, cause, "use an odd number of nodes, as 3 or 5");
            }
            _ => {}
        }
    }
}

fn times(count: usize) -> String {
    if count == 2 { "twice".to_owned() } else { format!("{count} times") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{NodeFindingKind as Kind, *};
    use crate::algorithm::node_facts::ServerVersion;

    const SECOND: Duration = Duration::from_secs(1);

    /// A node about which there is nothing to say.
    fn sound(run_id: &str) -> NodeFacts {
        NodeFacts {
            run_id: Some(run_id.to_owned()),
            version: Some(ServerVersion::Redis(7, 4, 0)),
            role: Some(NodeRole::Primary { replicas: 0 }),
            maxmemory: Some(0),
            maxmemory_policy: Some("noeviction".to_owned()),
            append_only: Some(true),
            append_sync: Some("always".to_owned()),
            snapshots: Some(true),
            ..NodeFacts::default()
        }
    }

    const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

    fn check(nodes: impl IntoIterator<Item = NodeFacts>) -> Vec<NodeFinding> {
        let account = |facts| NodeAccount::Facts(Box::new(facts));
        let nodes: Vec<_> = NAMES.into_iter().zip(nodes.into_iter().map(account)).collect();
        NodeFinding::all(&nodes, &NodeUse::default())
    }

    /// What is found on the first of three nodes, of which the others are sound.
    fn about(change: impl FnOnce(&mut NodeFacts)) -> Vec<(Severity, Kind)> {
        let mut nodes = [sound("1"), sound("2"), sound("3")];
        change(&mut nodes[0]);
        let findings = check(nodes);
        assert!(findings.iter().all(|found| found.nodes == ["a"] && !found.cure.is_empty()), "{findings:?}");
        findings.iter().map(|found| (found.severity, found.kind)).collect()
    }

    fn brief(findings: &[NodeFinding]) -> Vec<(Severity, Kind, Vec<&str>)> {
        let nodes =
            |found: &NodeFinding| NAMES.into_iter().filter(|name| found.nodes.iter().any(|n| n == name)).collect();
        findings.iter().map(|found| (found.severity, found.kind, nodes(found))).collect()
    }

    #[test]
    fn of_sound_nodes_there_is_nothing_to_tell() {
        assert_eq!(check([sound("1"), sound("2"), sound("3")]), []);
        assert_eq!(about(|_| {}), []);
    }

    #[test]
    fn one_server_behind_several_names_is_an_error() {
        let findings = check([sound("1"), sound("2"), sound("1"), sound("1"), sound("2")]);
        let error = Severity::Error;
        assert_eq!(
            brief(&findings),
            [(error, Kind::SameServer, vec!["a", "c", "d"]), (error, Kind::SameServer, vec!["b", "e"])]
        );
        assert!(findings[0].cause.ends_with("votes 3 times") && findings[1].cause.ends_with("votes twice"));
        let findings = check([sound("2"), sound("1"), sound("3"), sound("1"), sound("2")]);
        assert_eq!(
            brief(&findings),
            [(error, Kind::SameServer, vec!["a", "e"]), (error, Kind::SameServer, vec!["b", "d"])]
        );
        // Who tells no name is nobody's double.
        let silent = || NodeFacts { run_id: None, ..sound("") };
        assert_eq!(check([silent(), silent(), silent()]), []);
    }

    fn member(run_id: &str, members: &[&str]) -> NodeFacts {
        let mut cluster = ClusterFacts::new(members.iter().map(|id| (*id).to_owned()), 1);
        cluster.reached_as_cluster = true;
        NodeFacts { cluster: Some(cluster), ..sound(run_id) }
    }

    #[test]
    fn members_of_one_cluster_are_one_node() {
        let of_cluster = |findings: &[NodeFinding]| {
            let same = findings.iter().filter(|found| found.kind == Kind::SameCluster);
            same.map(|found| (found.severity, found.nodes.concat())).collect::<Vec<_>>()
        };
        let same = |nodes: &str| vec![(Severity::Error, nodes.to_owned())];
        assert_eq!(of_cluster(&check([member("1", &["x"]), sound("2"), member("3", &["x", "y"])])), same("ac"));
        // Two that do not know each other, and a third that knows both.
        let (x, y, both) = (member("1", &["x"]), member("2", &["y"]), member("3", &["x", "y"]));
        assert_eq!(of_cluster(&check([x.clone(), y.clone(), both])), same("abc"));
        assert_eq!(of_cluster(&check([x.clone(), y, sound("3")])), []);
        assert_eq!(of_cluster(&check([member("1", &[]), member("2", &[]), sound("3")])), []);
        // One member twice is one server twice.
        let findings = check([x.clone(), x.clone(), sound("3")]);
        assert_eq!(of_cluster(&findings), []);
        assert_eq!(findings[0].kind, Kind::SameServer);
        let anonymous = NodeFacts { run_id: None, ..x };
        assert_eq!(of_cluster(&check([anonymous.clone(), anonymous, sound("3")])), same("ab"));
    }

    #[test]
    fn a_cluster_is_a_node_and_a_member_is_none() {
        let cluster = |owners, reached_as_cluster| {
            about(|facts| {
                let cluster = ClusterFacts::new(["x".to_owned(), "y".to_owned()], owners);
                facts.cluster = Some(ClusterFacts { reached_as_cluster, ..cluster });
            })
        };
        assert_eq!(cluster(1, false), [(Severity::Warning, Kind::ClusterMember)]);
        assert_eq!(cluster(2, false), [(Severity::Error, Kind::ClusterMember)]);
        assert_eq!(cluster(2, true), [(Severity::Notice, Kind::Cluster)]);
    }

    #[test]
    fn only_a_primary_that_takes_writes_is_a_node() {
        let replica = |of: Option<&str>, linked| {
            let role = NodeRole::Replica { of: of.map(str::to_owned), linked };
            check([NodeFacts { role: Some(role), ..sound("1") }, sound("2"), sound("3")])
        };
        let findings = replica(Some("10.0.0.9:6379"), true);
        assert_eq!(brief(&findings), [(Severity::Error, Kind::NoPrimary, vec!["a"])]);
        assert!(findings[0].cause.starts_with("a replica of 10.0.0.9:6379: "), "{findings:?}");
        assert!(replica(None, false)[0].cause.starts_with("a replica, which it does not reach: "));
        assert_eq!(about(|facts| facts.role = Some(NodeRole::Sentinel)), [(Severity::Error, Kind::NoPrimary)]);
        assert_eq!(
            about(|facts| facts.role = Some(NodeRole::Primary { replicas: 1 })),
            [(Severity::Notice, Kind::HasReplicas)]
        );
        assert_eq!(
            about(|facts| facts.writes_stopped = Some("no disk".to_owned())),
            [(Severity::Error, Kind::WritesStopped)]
        );
    }

    #[test]
    fn a_node_that_runs_no_scripts_has_no_vote() {
        let failure = ScriptFailure::new("probe", "permission denied: NOPERM");
        let mut one_key = failure.clone();
        one_key.only_this_key = true;
        assert_eq!(about(|facts| facts.no_script = Some(failure)), [(Severity::Error, Kind::NoScripts)]);
        let sentinel = |facts: &mut NodeFacts| {
            facts.role = Some(NodeRole::Sentinel);
            facts.no_script = Some(ScriptFailure::new("probe", "ERR unknown command 'EVALSHA'"));
        };
        assert_eq!(about(sentinel), [(Severity::Error, Kind::NoPrimary)]);
        // The locks' keys may be others.
        assert_eq!(about(|facts| facts.no_script = Some(one_key)), [(Severity::Notice, Kind::Unknown)]);
    }

    #[test]
    fn only_a_bound_and_a_policy_together_evict() {
        let evicting = |maxmemory, policy: &str| {
            about(|facts| {
                facts.maxmemory = Some(maxmemory);
                facts.maxmemory_policy = Some(policy.to_owned());
            })
        };
        for policy in ["allkeys-lru", "allkeys-lfu", "allkeys-random", "volatile-ttl", "volatile-lru"] {
            assert_eq!(evicting(1, policy), [(Severity::Warning, Kind::Evicts)], "{policy}");
            assert_eq!(evicting(0, policy), []);
        }
        assert_eq!(evicting(1, "noeviction"), []);
    }

    #[test]
    fn what_a_restart_forgets_is_told() {
        let warning = [(Severity::Warning, Kind::Forgets)];
        for (append_only, sync, snapshots, found) in [
            (false, Some("always"), Some(false), &warning[..]),
            (false, Some("always"), Some(true), &warning),
            (false, None, None, &warning),
            (true, Some("no"), Some(true), &warning),
            (true, Some("everysec"), Some(true), &[(Severity::Notice, Kind::Forgets)]),
            (true, Some("always"), Some(false), &[]),
            (true, None, None, &[]),
        ] {
            let facts = about(|facts| {
                facts.append_only = Some(append_only);
                facts.append_sync = sync.map(str::to_owned);
                facts.snapshots = snapshots;
            });
            assert_eq!(facts, found, "{append_only} {sync:?} {snapshots:?}");
        }
    }

    #[test]
    fn servers_older_than_the_tested_ones_are_told() {
        for (version, old) in [
            (ServerVersion::Redis(6, 0, 16), true),
            (ServerVersion::Redis(6, 2, 0), false),
            (ServerVersion::Redis(5, 3, 0), true),
            (ServerVersion::Valkey(7, 1, 9), true),
            (ServerVersion::Valkey(7, 2, 0), false),
            (ServerVersion::Valkey(8, 0, 0), false),
        ] {
            let found = about(|facts| facts.version = Some(version));
            assert_eq!(found == [(Severity::Warning, Kind::OldServer)], old, "{version}");
        }
    }

    #[test]
    fn what_is_not_known_is_told_as_such() {
        let untold = about(|facts| facts.untold.extend(["TIME", "CONFIG GET"]));
        assert_eq!(untold, [(Severity::Notice, Kind::Unknown)]);
        assert_eq!(check([NodeFacts::default(), NodeFacts::default(), NodeFacts::default()]), []);
        let nodes = [
            ("a", NodeAccount::CannotTell),
            ("b", NodeAccount::Failed { why: "unreachable: refused".to_owned(), advice: Some("start it") }),
            ("c", NodeAccount::Facts(Box::new(sound("3")))),
        ];
        let findings = NodeFinding::all(&nodes, &NodeUse { clocks_apart: SECOND, ..NodeUse::default() });
        let told: Vec<_> = findings.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "error: b: unreachable: refused: its vote is missing\n  start it",
                "notice: a: cannot tell what it is\n  look at its role, persistence and eviction by hand"
            ]
        );
    }

    #[test]
    fn fleets_that_tolerate_too_little_are_told() {
        for (nodes, told) in [(1, true), (2, true), (3, false), (4, true), (5, false)] {
            let found = brief(&check((0..nodes).map(|id| sound(&id.to_string())))).len();
            assert_eq!(found, usize::from(told), "{nodes}");
        }
        assert_eq!(NodeFinding::all(&[], &NodeUse::default()), []);
    }

    #[test]
    fn what_is_the_same_on_several_nodes_is_told_once_and_the_worst_first() {
        let mut nodes = [sound("1"), sound("2"), sound("3"), sound("4"), sound("5")];
        for facts in &mut nodes[1..4] {
            facts.append_sync = Some("everysec".to_owned());
        }
        nodes[2].maxmemory = Some(1);
        nodes[2].maxmemory_policy = Some("volatile-lru".to_owned());
        nodes[3].role = Some(NodeRole::Sentinel);
        assert_eq!(
            brief(&check(nodes)),
            [
                (Severity::Error, Kind::NoPrimary, vec!["d"]),
                (Severity::Warning, Kind::Evicts, vec!["c"]),
                (Severity::Notice, Kind::Forgets, vec!["b", "c", "d"]),
            ]
        );
    }

    fn reading(reads: u64, sent: u64, answered: u64) -> Option<ClockReading> {
        let millis = Duration::from_millis;
        Some(ClockReading::new(millis(reads), millis(sent), millis(answered)))
    }

    #[test]
    fn a_restart_guard_makes_up_for_lost_memory_and_for_nothing_else() {
        let mut facts = sound("a");
        facts.append_only = Some(false);
        facts.maxmemory = Some(1);
        facts.maxmemory_policy = Some("allkeys-lru".to_owned());
        let nodes = [("a", NodeAccount::Facts(Box::new(facts)))];
        let kinds = |restart_guard| {
            let findings = NodeFinding::all(&nodes, &NodeUse { restart_guard, ..NodeUse::default() });
            findings.into_iter().map(|found| found.kind).collect::<Vec<_>>()
        };
        assert_eq!(kinds(false), [Kind::Evicts, Kind::Forgets, Kind::FewNodes]);
        assert_eq!(kinds(true), [Kind::Evicts, Kind::FewNodes]);
    }

    #[test]
    fn a_clock_that_has_jumped_is_told() {
        let nodes = ["a", "b", "c"].map(|name| (name, NodeAccount::Facts(Box::new(sound(name)))));
        let jumps = [("b", Jump::Forwards(Duration::from_secs(3_600)))];
        let findings = NodeFinding::all(&nodes, &NodeUse { jumps: &jumps, ..NodeUse::default() });
        assert_eq!(brief(&findings), [(Severity::Warning, Kind::ClockJumped, vec!["b"])]);
        assert!(findings[0].cause.contains("+3600s"), "{}", findings[0].cause);
    }

    #[test]
    fn clocks_are_told_apart_only_if_they_surely_are() {
        let apart = |readings: [Option<ClockReading>; 3]| {
            let facts = readings.into_iter().enumerate();
            check(facts.map(|(id, clock)| NodeFacts { clock, ..sound(&id.to_string()) }))
        };
        // At least 1001 ms, however long the answers took.
        let findings = apart([reading(9_000, 0, 10), reading(10_021, 10, 20), reading(9_500, 0, 10)]);
        assert_eq!(brief(&findings), [(Severity::Warning, Kind::ClocksApart, vec!["a", "b"])]);
        assert!(findings[0].cause.starts_with("the clock of b is ahead of that of a by 1.001 s or more"));
        assert_eq!(findings[0].nodes, ["b", "a"]);
        assert_eq!(apart([reading(9_000, 0, 10), reading(10_020, 10, 20), None]), []);
        // It may have been the way.
        assert_eq!(apart([reading(9_000, 0, 10), reading(10_500, 0, 2_000), None]), []);
        assert_eq!(apart([None, reading(10_500, 0, 10), None]), []);
        // Neither is shown by the one that may be further ahead, or further behind, since its answer was slow.
        let findings = apart([reading(9_000, 0, 10), reading(12_000, 0, 10), reading(14_000, 0, 9_000)]);
        assert_eq!(brief(&findings), [(Severity::Warning, Kind::ClocksApart, vec!["a", "b"])]);
        // A later question finds a later time.
        assert_eq!(apart([reading(9_000, 0, 10), reading(19_000, 10_000, 10_010), None]), []);
    }

    proptest! {
        /// Whatever the answers took, clocks that are no further apart than is allowed are never told.
        #[test]
        fn clocks_that_agree_are_never_told_apart(
            nodes in prop::collection::vec((0_u64..1_000, 0_u64..60_000, 0_u64..5_000, 0_u64..5_000), 2..5),
        ) {
            let facts = nodes.iter().enumerate().map(|(id, (ahead, sent, there, back))| {
                let reads = 1_000_000 + ahead + sent + there;
                NodeFacts { clock: reading(reads, *sent, sent + there + back), ..sound(&id.to_string()) }
            });
            prop_assert!(check(facts).iter().all(|found| found.kind != Kind::ClocksApart));
        }
    }
}
