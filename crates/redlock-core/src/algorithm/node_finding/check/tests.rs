//! Tests of what a check finds on nodes.

use std::time::Duration;

use proptest::prelude::*;

use super::{NodeFindingKind as Kind, *};
use crate::algorithm::ServerVersion;

const SECOND: Duration = Duration::from_secs(1);

/// Returns a node without problems.
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

/// Returns the findings on the first of three nodes, of which the others have no problems.
fn about(change: impl FnOnce(&mut NodeFacts)) -> Vec<(Severity, Kind)> {
    let mut nodes = [sound("1"), sound("2"), sound("3")];
    change(&mut nodes[0]);
    let findings = check(nodes);
    assert!(findings.iter().all(|found| found.nodes == ["a"] && !found.cure.is_empty()), "{findings:?}");
    findings.iter().map(|found| (found.severity, found.kind)).collect()
}

fn brief(findings: &[NodeFinding]) -> Vec<(Severity, Kind, Vec<&str>)> {
    let nodes = |found: &NodeFinding| NAMES.into_iter().filter(|name| found.nodes.iter().any(|n| n == name)).collect();
    findings.iter().map(|found| (found.severity, found.kind, nodes(found))).collect()
}

#[test]
fn sound_nodes_have_no_findings() {
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
    // A node that reports no name is not the same server as another.
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
fn a_cluster_is_a_node_and_one_of_its_members_is_not() {
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
    // The keys of the locks may be permitted.
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
fn data_that_a_restart_loses_is_reported() {
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
fn servers_older_than_the_tested_ones_are_reported() {
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
fn unknown_facts_are_reported_as_unknown() {
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
            "notice: a: cannot tell what it is\n  check its role, persistence and eviction by hand"
        ]
    );
}

#[test]
fn fleets_that_tolerate_too_few_failures_are_reported() {
    for (nodes, told) in [(1, true), (2, true), (3, false), (4, true), (5, false)] {
        let found = brief(&check((0..nodes).map(|id| sound(&id.to_string())))).len();
        assert_eq!(found, usize::from(told), "{nodes}");
    }
    assert_eq!(NodeFinding::all(&[], &NodeUse::default()), []);
}

#[test]
fn equal_findings_are_reported_once_and_the_worst_comes_first() {
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
fn a_clock_that_has_jumped_is_reported() {
    let nodes = ["a", "b", "c"].map(|name| (name, NodeAccount::Facts(Box::new(sound(name)))));
    let jumps = [("b", Jump::Forwards(Duration::from_secs(3_600)))];
    let findings = NodeFinding::all(&nodes, &NodeUse { jumps: &jumps, ..NodeUse::default() });
    assert_eq!(brief(&findings), [(Severity::Warning, Kind::ClockJumped, vec!["b"])]);
    assert!(findings[0].cause.contains("+3600s"), "{}", findings[0].cause);
}

#[test]
fn clocks_are_reported_as_apart_only_if_that_is_certain() {
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
    // The delay may come from the network.
    assert_eq!(apart([reading(9_000, 0, 10), reading(10_500, 0, 2_000), None]), []);
    assert_eq!(apart([None, reading(10_500, 0, 10), None]), []);
    // Neither is proven by the clock that may be further ahead or behind, since its answer was slow.
    let findings = apart([reading(9_000, 0, 10), reading(12_000, 0, 10), reading(14_000, 0, 9_000)]);
    assert_eq!(brief(&findings), [(Severity::Warning, Kind::ClocksApart, vec!["a", "b"])]);
    // A later request finds a later time.
    assert_eq!(apart([reading(9_000, 0, 10), reading(19_000, 10_000, 10_010), None]), []);
}

proptest! {
    /// However long the answers took, clocks that are no further apart than is allowed are never reported.
    #[test]
    fn clocks_that_agree_are_never_reported_as_apart(
        nodes in prop::collection::vec((0_u64..1_000, 0_u64..60_000, 0_u64..5_000, 0_u64..5_000), 2..5),
    ) {
        let facts = nodes.iter().enumerate().map(|(id, (ahead, sent, there, back))| {
            let reads = 1_000_000 + ahead + sent + there;
            NodeFacts { clock: reading(reads, *sent, sent + there + back), ..sound(&id.to_string()) }
        });
        prop_assert!(check(facts).iter().all(|found| found.kind != Kind::ClocksApart));
    }
}
