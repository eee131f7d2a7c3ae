//! Checks of the nodes themselves: the findings, and what nodes do not report.

use std::{collections::BTreeSet, time::Duration};

use redlock_core::{LockNode, NodeFindingKind as Kind, NodesReport, Redlock, Release, Severity};

use crate::{
    lab::{Lab, eventually},
    servers::{Server, ServerOptions},
};

const TTL: Duration = Duration::from_secs(30);

async fn check(nodes: impl IntoIterator<Item = impl LockNode>) -> NodesReport {
    let report = Redlock::new(nodes).unwrap().check_nodes().await.unwrap();
    assert!(!format!("{report} {report:?}").contains("hunter2"), "{report}");
    report
}

/// Lists the nodes with a finding of this kind, and its severity.
fn of(report: &NodesReport, kind: Kind) -> Vec<(Severity, String)> {
    let findings = report.findings().iter().filter(|found| found.kind == kind);
    findings.map(|found| (found.severity, found.nodes.join(" "))).collect()
}

/// Checks that this kind has exactly one finding, on this node.
fn is_told(report: &NodesReport, kind: Kind, severity: Severity, node: &dyn LockNode) {
    assert_eq!(of(report, kind), [(severity, node.name().to_owned())], "{report}");
}

pub(super) async fn nodes_describe_themselves_and_nothing_changes(lab: &Lab) {
    let redlock = lab.redlock(3);
    let lock = redlock.acquire("r", TTL).await.unwrap();
    lab.until_held_by(3, "r").await;
    let report = redlock.check_nodes().await.unwrap();
    let facts: Vec<_> = report.nodes().map(|(_, facts)| facts.unwrap().clone()).collect();
    let run_ids: BTreeSet<_> = facts.iter().map(|facts| facts.run_id.clone().unwrap()).collect();
    assert_eq!(run_ids.len(), 3);
    for facts in facts {
        assert!(facts.version.is_some() && facts.role.is_some() && facts.clock.is_some(), "{facts:?}");
        assert!(facts.maxmemory_policy.is_some() && facts.append_only.is_some(), "{facts:?}");
        assert!(facts.append_sync.is_some() && facts.snapshots.is_some(), "{facts:?}");
        assert!(facts.untold.is_empty() && facts.no_script.is_none(), "{facts:?}");
    }
    // The test servers keep no data, which is a finding. They share a clock.
    let others = report.findings().iter().find(|found| found.kind != Kind::Forgets);
    assert_eq!(others, None, "{report}");
    assert_eq!(lab.holding("r").await, 3);
    assert_eq!(lock.release().await.unwrap(), Release::Released);
}

pub(super) async fn one_server_behind_two_names_is_an_error(lab: &Lab) {
    let mut nodes = lab.nodes(2);
    nodes.push(lab.alias(1));
    let names = format!("{} {}", nodes[1].name(), nodes[2].name());
    let report = check(nodes).await;
    assert_eq!(of(&report, Kind::SameServer), [(Severity::Error, names)], "{report}");
    report.fail_on(Severity::Error).unwrap_err();
}

pub(super) async fn nodes_that_are_down_or_hung_are_reported_without_delay(lab: &Lab) {
    let redlock = lab.redlock(5);
    // The node is connected before it hangs.
    redlock.check_nodes().await.unwrap();
    lab.stop(1).await;
    lab.hang(4).await;
    let report = tokio::time::timeout(Duration::from_secs(10), redlock.check_nodes()).await.unwrap().unwrap();
    let failed: Vec<_> = report.nodes().filter(|(_, facts)| facts.is_none()).map(|(name, _)| name.to_owned()).collect();
    let told: Vec<_> = of(&report, Kind::Unavailable).into_iter().map(|(_, node)| node).collect();
    assert_eq!((told, failed.len()), (failed, 2), "{report}");
    let printed = report.to_string();
    assert!(printed.contains("unreachable") && printed.contains("no answer in time"), "{printed}");
    lab.mend(4).await;
    redlock.close().await.unwrap();
}

pub(super) async fn a_replica_is_reported_with_its_primary(lab: &Lab) {
    let server = lab.server(&ServerOptions::new()).await;
    let primary = server.port().to_string();
    let replica = lab.server(&ServerOptions::new().args(["--replicaof", "127.0.0.1", &primary])).await;
    let (node, copy) = (lab.open(&server.url()), lab.open(&replica.url()));
    let linked = async || {
        let report = check([node.clone(), copy.clone(), lab.node(0)]).await;
        !of(&report, Kind::HasReplicas).is_empty() && !report.to_string().contains("does not reach")
    };
    assert!(eventually(linked).await);
    let report = check([node.clone(), copy.clone(), lab.node(0)]).await;
    is_told(&report, Kind::NoPrimary, Severity::Error, &copy);
    is_told(&report, Kind::HasReplicas, Severity::Notice, &node);
    assert!(report.to_string().contains(&format!("a replica of 127.0.0.1:{primary}: ")), "{report}");
}

pub(super) async fn a_node_that_may_evict_locks_is_reported(lab: &Lab) {
    let server = lab.server(&ServerOptions::new()).await;
    let node = lab.open(&server.url());
    let nodes = || [lab.node(0), lab.node(1), node.clone()];
    for (maxmemory, policy, told) in [
        ("100mb", "noeviction", false),
        ("100mb", "allkeys-lru", true),
        ("100mb", "volatile-ttl", true),
        ("0", "allkeys-lru", false),
    ] {
        server.command(&["CONFIG", "SET", "maxmemory", maxmemory]).await.unwrap();
        server.command(&["CONFIG", "SET", "maxmemory-policy", policy]).await.unwrap();
        let report = check(nodes()).await;
        if told {
            is_told(&report, Kind::Evicts, Severity::Warning, &node);
            assert!(report.to_string().contains(policy), "{report}");
        } else {
            assert_eq!(of(&report, Kind::Evicts), [], "{report}");
        }
    }
}

pub(super) async fn missing_persistence_is_reported(lab: &Lab) {
    for (options, told, text) in [
        (ServerOptions::new(), Some(Severity::Warning), "writes nothing to disk"),
        (
            ServerOptions::new().args(["--appendonly", "yes", "--appendfsync", "no"]),
            Some(Severity::Warning),
            "the system",
        ),
        (
            ServerOptions::new().args(["--appendonly", "yes", "--appendfsync", "everysec"]),
            Some(Severity::Notice),
            "every second",
        ),
        (ServerOptions::new().keep_memory(), None, ""),
    ] {
        let server = lab.server(&options).await;
        let report = check([lab.open(&server.url())]).await;
        let severities: Vec<_> = of(&report, Kind::Forgets).into_iter().map(|(severity, _)| severity).collect();
        assert_eq!(severities, Vec::from_iter(told), "{report}");
        assert!(report.to_string().contains(text), "{report}");
    }
}

pub(super) async fn persistence_by_snapshots_alone_is_reported(lab: &Lab) {
    let server = lab.server(&ServerOptions::new()).await;
    server.command(&["CONFIG", "SET", "save", "3600 1"]).await.unwrap();
    let node = lab.open(&server.url());
    let report = check([node.clone()]).await;
    is_told(&report, Kind::Forgets, Severity::Warning, &node);
    assert!(report.to_string().contains("snapshots only"), "{report}");
}

pub(super) async fn a_wrong_password_is_reported(lab: &Lab) {
    let server = lab.server(&ServerOptions::new().args(["--requirepass", "swordfish"])).await;
    let node = lab.open(&format!("redis://:hunter2@127.0.0.1:{}", server.port()));
    let report = check([lab.node(0), node.clone(), lab.node(1)]).await;
    is_told(&report, Kind::Unavailable, Severity::Error, &node);
    let printed = report.to_string();
    assert!(
        printed.contains("authentication failed") && printed.contains("the password in the node's URL"),
        "{printed}"
    );
}

pub(super) async fn facts_that_a_user_may_not_query_are_reported_as_unknown(lab: &Lab) {
    let server = lab.server(&ServerOptions::new()).await;
    let node = || lab.open(&format!("redis://clerk:hunter2@127.0.0.1:{}", server.port()));
    let allow = async |rules: &[&str]| {
        let user = ["ACL", "SETUSER", "clerk", "reset", "on", ">hunter2", "~lock:*"];
        server.command(&[&user[..], rules].concat()).await.unwrap();
        let redlock = Redlock::builder().nodes([node()]).key_prefix("lock:").build().unwrap();
        redlock.check_nodes().await.unwrap()
    };
    const LOCKS: &[&str] = &["+eval", "+evalsha", "+set", "+getrange", "+del", "+pttl"];
    const LOOKS: &[&str] = &["+info", "+time", "+config|get", "+cluster|nodes"];
    let report = allow(LOCKS).await;
    is_told(&report, Kind::Unknown, Severity::Notice, &node());
    assert!(report.to_string().contains("it did not answer CONFIG GET, INFO, TIME"), "{report}");
    assert_eq!(report.worst(), Some(Severity::Notice), "{report}");

    let report = allow(&[LOCKS, LOOKS].concat()).await;
    assert_eq!(of(&report, Kind::Unknown), [], "{report}");
    assert_eq!(of(&report, Kind::NoScripts), [], "{report}");

    // The key for the check does not match the user's keys.
    let report = check([node()]).await;
    is_told(&report, Kind::Unknown, Severity::Notice, &node());
    assert!(report.to_string().contains("may not use the key \"redlock:check_nodes\""), "{report}");

    let report = allow(LOOKS).await;
    is_told(&report, Kind::NoScripts, Severity::Error, &node());
    let printed = report.to_string();
    assert!(printed.contains("no permissions to run") && printed.contains("allow the user EVAL, EVALSHA"), "{printed}");
}

async fn cluster_member(lab: &Lab) -> Server {
    let options = ServerOptions::new()
        .args(["--cluster-enabled", "yes", "--cluster-config-file", "{folder}/nodes.conf"])
        .args(["--cluster-announce-ip", "127.0.0.1"]);
    // Members communicate over the port 10,000 above their own, which any connection of this machine may be using.
    for _ in 0..9 {
        if let Ok(server) = lab.try_server(&options).await {
            return server;
        }
    }
    lab.server(&options).await
}

pub(super) async fn members_of_one_cluster_are_reported(lab: &Lab) {
    let (one, other) = (cluster_member(lab).await, cluster_member(lab).await);
    let nodes = || [lab.open(&one.url()), lab.node(0), lab.open(&other.url())];
    let report = check(nodes()).await;
    assert_eq!(of(&report, Kind::SameCluster), [], "{report}");
    let names = format!("{} {}", nodes()[0].name(), nodes()[2].name());
    assert_eq!(of(&report, Kind::ClusterMember), [(Severity::Warning, names.clone())], "{report}");
    // Neither of them has slots.
    let printed = report.to_string();
    assert!(printed.contains("hash slots have no owner") && !printed.contains("allow EVAL"), "{printed}");

    one.command(&["CLUSTER", "MEET", "127.0.0.1", &other.port().to_string()]).await.unwrap();
    let told = async || of(&check(nodes()).await, Kind::SameCluster) == [(Severity::Error, names.clone())];
    assert!(eventually(told).await);
}
