//! `redlock status` and `redlock watch`.

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};

use crate::stage::{Stage, finished, outcome, send};

#[tokio::test]
async fn a_holder_is_told_with_its_label_its_time_and_its_nodes_and_no_token() {
    let stage = Stage::new(3).await;
    let holder = stage.run("a", &["--owner", "web-3"], &["sleep", "5"]).spawn().unwrap();
    stage.until_held("a").await;
    let token = stage.servers[0].command(&["GET", "a"]).await.unwrap().text().unwrap();

    let told = outcome(stage.redlock(["status", "a", "b"])).await;
    assert_eq!(told.code, 0, "{}", told.stderr);
    assert!(told.stdout.contains("\"a\" is held by") && told.stdout.contains("of \"web-3\""), "{}", told.stdout);
    assert!(
        told.stdout.contains("on 3 of 3 nodes, 2 needed") && told.stdout.contains("\"b\" is free"),
        "{}",
        told.stdout
    );

    let told_as_data = outcome(stage.redlock(["status", "--json", "a", "b"])).await;
    let status: Value = serde_json::from_str(&told_as_data.stdout).unwrap();
    assert_eq!((status[0]["state"].as_str(), status[0]["owner"].as_str()), (Some("held"), Some("web-3")));
    assert_eq!((status[0]["agreeing"].as_u64(), status[0]["needed"].as_u64()), (Some(3), Some(2)));
    assert!((1..=3000).contains(&status[0]["remaining_ms"].as_u64().unwrap()));
    assert_eq!((status[1]["state"].as_str(), status[1]["owner"].as_str()), (Some("free"), None));
    assert_eq!(status[1]["nodes"].as_array().unwrap().len(), 3);

    for output in [told, told_as_data] {
        assert!(!output.stdout.contains(&token[..40]), "{}", output.stdout);
    }
    assert_eq!(finished(holder).await.code, 0);
}

#[tokio::test]
async fn without_a_name_all_locks_are_told_that_are_held() {
    let stage = Stage::new(3).await;
    let told = outcome(stage.redlock(["status"])).await;
    assert_eq!((told.code, told.stdout.as_str()), (0, "no locks are held\n"), "{}", told.stderr);
    let holders = ["a", "b"].map(|name| stage.run(name, &[], &["sleep", "5"]).spawn().unwrap());
    stage.until_held("a").await;
    stage.until_held("b").await;
    stage.servers[0].command(&["SET", "data", "of another"]).await.unwrap();
    let told = outcome(stage.redlock(["status", "--json"])).await;
    let status: Value = serde_json::from_str(&told.stdout).unwrap();
    let names: Vec<_> = status.as_array().unwrap().iter().map(|lock| lock["resource"].as_str().unwrap()).collect();
    assert_eq!((told.code, names), (0, vec!["a", "b"]), "{}", told.stderr);
    stage.servers[1].stop().await.unwrap();
    stage.servers[2].stop().await.unwrap();
    let told = outcome(stage.redlock(["status"])).await;
    assert_eq!(told.code, 122, "{told:?}");
    assert!(told.stderr.contains("there may be more locks") && told.stderr.contains("unreachable"), "{}", told.stderr);
    drop(holders);
}

#[tokio::test]
async fn without_a_quorum_nothing_is_guessed() {
    let stage = Stage::new(3).await;
    stage.servers[0].stop().await.unwrap();
    assert_eq!(outcome(stage.redlock(["status", "a"])).await.code, 0);
    stage.servers[1].stop().await.unwrap();
    let told = outcome(stage.redlock(["status", "a"])).await;
    assert_eq!(told.code, 122);
    assert!(
        told.stdout.contains("unknown whether \"a\" is held") && told.stdout.contains("unreachable"),
        "{}",
        told.stdout
    );
    let told = outcome(stage.redlock(["status", "a", "--json"])).await;
    let status: Value = serde_json::from_str(&told.stdout).unwrap();
    assert_eq!((told.code, status[0]["state"].as_str()), (122, Some("unknown")));
}

#[tokio::test]
async fn a_watch_tells_each_change_once() {
    let stage = Stage::new(3).await;
    let mut watch = stage.redlock(["watch", "a", "--every", "100ms", "--json"]).spawn().unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    assert_eq!(next(&mut lines).await, "free");
    let holder = stage.run("a", &[], &["sleep", "2"]).spawn().unwrap();
    assert_eq!(until_else(&mut lines, "free").await, "held");
    assert_eq!(finished(holder).await.code, 0);
    assert_eq!(until_else(&mut lines, "held").await, "free");
    // For a while there is nothing to tell.
    assert!(tokio::time::timeout(Duration::from_millis(500), lines.next_line()).await.is_err());
    send(&watch, "INT");
    assert_eq!(finished(watch).await.code, 0);
}

/// A look may fall between two nodes: then the same is told of the whole, and something else of a node.
async fn until_else(lines: &mut Lines<impl tokio::io::AsyncBufRead + Unpin>, state: &str) -> String {
    loop {
        match next(lines).await {
            same if same == state || same == "split" => {}
            other => return other,
        }
    }
}

async fn next(lines: &mut Lines<impl tokio::io::AsyncBufRead + Unpin>) -> String {
    let line = tokio::time::timeout(Duration::from_secs(10), lines.next_line()).await.unwrap().unwrap().unwrap();
    let status: Value = serde_json::from_str(&line).unwrap();
    status["state"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_watch_ends_on_ctrl_c_also_while_nodes_are_waited_for() {
    let stage = Stage::new(3).await;
    let mut watch = stage.redlock(["watch", "a", "--every", "100ms", "--node-timeout", "2s", "--json"]);
    let mut watch = watch.spawn().unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    assert_eq!(next(&mut lines).await, "free");
    for server in &stage.servers {
        server.pause().await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    send(&watch, "INT");
    assert_eq!(finished(watch).await.code, 0);
}

#[tokio::test]
async fn a_watch_that_would_keep_the_nodes_busy_is_refused() {
    let stage = Stage::new(1).await;
    let told = outcome(stage.redlock(["watch", "a", "--every", "1ms"])).await;
    assert_eq!(told.code, 125);
    assert!(told.stderr.contains("give 100ms at least"), "{}", told.stderr);
}
