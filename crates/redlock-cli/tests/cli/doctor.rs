//! `redlock doctor`.

use redlock_tests::servers::ServerOptions;
use serde_json::Value;

use crate::stage::{Stage, bare, outcome};

/// Nodes with nothing to find but what every machine of tests has.
async fn sound() -> Stage {
    Stage::with(3, &ServerOptions::new().args(["--appendonly", "yes", "--appendfsync", "always"])).await
}

#[tokio::test]
async fn sound_nodes_are_listed_with_their_latency_and_exit_0() {
    let stage = sound().await;
    let told = outcome(stage.redlock(["doctor"])).await;
    assert_eq!(told.code, 0, "{}", told.stdout);
    assert!(told.stdout.starts_with("3 nodes checked"), "{}", told.stdout);
    for server in &stage.servers {
        let name = format!("127.0.0.1:{}", server.port());
        let line = told.stdout.lines().find(|line| line.trim().starts_with(&name)).unwrap();
        assert!(line.contains("answers") && line.contains(" ms") && line.contains("primary"), "{line}");
    }
    assert!(!told.stdout.contains('\x1b'), "colours in a pipe");

    let told = outcome(stage.redlock(["doctor", "--json"])).await;
    let report: Value = serde_json::from_str(&told.stdout).unwrap();
    let nodes = report["nodes"].as_array().unwrap();
    assert!(
        nodes.len() == 3 && nodes.iter().all(|node| node["answers"] == true && node["latency_ms"].as_f64() > Some(0.0))
    );
}

#[tokio::test]
async fn nodes_that_forget_are_a_warning_and_exit_1() {
    let stage = Stage::with(3, &ServerOptions::new().args(["--save", "", "--appendonly", "no"])).await;
    let told = outcome(stage.redlock(["doctor"])).await;
    assert_eq!(told.code, 1, "{}", told.stdout);
    assert!(told.stdout.contains("\nwarning: "), "{}", told.stdout);
    let told = outcome(stage.redlock(["doctor", "--json"])).await;
    let report: Value = serde_json::from_str(&told.stdout).unwrap();
    assert_eq!((told.code, report["worst"].as_str(), report["exit_code"].as_u64()), (1, Some("warning"), Some(1)));
    let kinds: Vec<_> =
        report["findings"].as_array().unwrap().iter().map(|finding| finding["kind"].as_str().unwrap()).collect();
    assert!(kinds.contains(&"forgets"), "{kinds:?}");
}

#[tokio::test]
async fn one_server_under_two_names_and_a_node_that_is_down_are_errors_and_exit_2() {
    let stage = sound().await;
    stage.servers[2].stop().await.unwrap();
    let twice = stage.servers[0].url().replace("127.0.0.1", "localhost");
    let nodes = format!("{},{twice}", stage.nodes());
    let told = outcome(bare(["doctor", "--nodes", &nodes])).await;
    assert_eq!(told.code, 2, "{}{}", told.stdout, told.stderr);
    for what in ["one and the same server", "give each server once", "silent", "its vote is missing"] {
        assert!(told.stdout.contains(what), "{what}: {}", told.stdout);
    }
    let told = outcome(bare(["doctor", "--json", "--nodes", &nodes])).await;
    let report: Value = serde_json::from_str(&told.stdout).unwrap();
    assert_eq!(report["worst"], "error");
    assert_eq!(
        (report["nodes"][2]["answers"].as_bool(), report["nodes"][2]["latency_ms"].as_f64()),
        (Some(false), None)
    );
}
