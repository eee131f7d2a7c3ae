//! `redlock status` and `redlock watch`.

use std::{process::Stdio, time::Duration};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::Command,
    time::timeout,
};

use crate::stage::{Stage, finished, outcome, program, send};

#[tokio::test]
async fn a_holder_is_told_with_its_label_its_time_and_its_nodes_and_no_token() {
    let stage = Stage::new(3).await;
    let holder = stage.run("a", &["--owner", "web-3"], &["sleep", "5"]).spawn().unwrap();
    stage.until_held("a").await;
    let token = stage.servers[0].command(&["GET", "a"]).await.unwrap().text().unwrap();

    let told = outcome(stage.redlock(["status", "a", "b"])).await;
    assert_eq!(told.code, 1, "{}", told.stderr);
    assert!(told.stdout.contains("\"a\" is held by") && told.stdout.contains("of \"web-3\""), "{}", told.stdout);
    assert!(
        told.stdout.contains("on 3 of 3 nodes, 2 needed") && told.stdout.contains("\"b\" is free"),
        "{}",
        told.stdout
    );

    let told_as_data = outcome(stage.redlock(["status", "--json", "a", "b"])).await;
    let status = locks(&told_as_data.stdout);
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

/// Returns the locks in a report, which must say that the list is complete.
fn locks(report: &str) -> Value {
    let mut report: Value = serde_json::from_str(report).unwrap();
    assert_eq!(report["complete"], true, "{report}");
    report["locks"].take()
}

#[tokio::test]
async fn a_semaphore_whose_holders_are_unknown_does_not_count_as_held() {
    let stage = Stage::new(3).await;
    for server in &stage.servers {
        server.command(&["SET", "{a}:permits", "1", "PX", "60000"]).await.unwrap();
        server.command(&["RPUSH", "{a}:permit:0", "of another program"]).await.unwrap();
    }
    let told = outcome(stage.redlock(["status", "a"])).await;
    assert!(told.stdout.starts_with("0 of 1 permits of \"a\" are held, 1 unknown"), "{}", told.stdout);
    assert_eq!(told.code, 122, "{}", told.stderr);
}

#[tokio::test]
async fn without_a_name_all_locks_are_listed_that_are_held() {
    let stage = Stage::new(3).await;
    let told = outcome(stage.redlock(["status"])).await;
    assert_eq!((told.code, told.stdout.as_str()), (0, "no locks are held\n"), "{}", told.stderr);
    let holders = ["a", "b"].map(|name| stage.run(name, &["--owner", "web-3"], &["sleep", "60"]).spawn().unwrap());
    stage.until_held("a").await;
    stage.until_held("b").await;
    stage.servers[0].command(&["SET", "data", "of another"]).await.unwrap();
    let told = outcome(stage.redlock(["status", "--json"])).await;
    let status = locks(&told.stdout);
    let names: Vec<_> = status.as_array().unwrap().iter().map(|lock| lock["resource"].as_str().unwrap()).collect();
    assert_eq!((told.code, names), (0, vec!["a", "b"]), "{}", told.stderr);

    let table = outcome(stage.redlock(["status"])).await.stdout;
    let rows: Vec<Vec<_>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["NAME", "HOLDER", "LEFT", "NODES"], "{table}");
    for (row, name) in rows[1..].iter().zip(["a", "b"]) {
        assert!(row[..2] == [name, "web-3"] && row[row.len() - 3..] == ["3", "of", "3"], "{table}");
    }
    let details = outcome(stage.redlock(["status", "-v"])).await.stdout;
    assert!(details.contains("\"a\" is held by") && details.contains("on 3 of 3 nodes, 2 needed"), "{details}");
    drop(holders);
}

#[tokio::test]
async fn a_list_that_is_incomplete_says_so() {
    let stage = Stage::new(3).await;
    let fill = "for i = 1, 20000 do redis.call('SET', 'other:' .. i, i) end";
    for server in &stage.servers {
        server.command(&["EVAL", fill, "0"]).await.unwrap();
    }
    let holder = stage.redlock(["acquire", "a", "--key-prefix", "lock:"]);
    assert_eq!(outcome(holder).await.code, 0);
    let says_so = async |command: Command, what: &str| {
        let told = outcome(command).await;
        assert!(told.code == 122 && told.stdout.contains("the list is incomplete: "), "{told:?}");
        assert!(told.stdout.contains(what) && !told.stdout.contains("no locks are held"), "{told:?}");
    };
    says_so(stage.redlock(["status", "--list-timeout", "0s"]), "raise --list-timeout").await;
    let data = outcome(stage.redlock(["status", "--list-timeout", "0s", "--json"])).await;
    let report: Value = serde_json::from_str(&data.stdout).unwrap();
    assert_eq!((data.code, &report["complete"]), (122, &Value::from(false)), "{report}");
    // With enough time, the list is complete.
    for prefix in ["lock:", ""] {
        let arguments = ["status", "--json", "--list-timeout", "1m", "--key-prefix", prefix];
        let status = locks(&outcome(stage.redlock(arguments)).await.stdout);
        assert_eq!(status.as_array().unwrap().len(), 1, "{prefix}: {status}");
    }

    for server in &stage.servers {
        let user = ["ACL", "SETUSER", "clerk", "on", ">hunter2", "~*", "&*", "+@all", "-scan"];
        server.command(&user).await.unwrap();
    }
    let as_clerk = || {
        let mut command = stage.redlock(["status"]);
        command.env("REDLOCK_NODES", stage.nodes().replace("redis://", "redis://clerk:hunter2@"));
        command
    };
    says_so(as_clerk(), "too many nodes failed").await;
    stage.servers[1].stop().await.unwrap();
    stage.servers[2].stop().await.unwrap();
    says_so(stage.redlock(["status"]), "failed: ").await;
}

#[tokio::test]
async fn whether_a_lock_is_held_is_the_exit_code() {
    let stage = Stage::new(3).await;
    assert_eq!(outcome(stage.redlock(["acquire", "a", "--ttl", "5m"])).await.code, 0);
    for (names, code) in [(&["a"][..], 0), (&["b"], 1), (&["a", "b"], 1), (&["a", "a"], 0)] {
        let told = outcome(stage.redlock([&["status", "-q"], names].concat())).await;
        assert_eq!((told.code, told.stdout.as_str(), told.stderr.as_str()), (code, "", ""), "{names:?}");
        assert_eq!(outcome(stage.redlock([&["status"], names].concat())).await.code, code);
    }
    stage.servers[0].stop().await.unwrap();
    stage.servers[1].stop().await.unwrap();
    assert_eq!(outcome(stage.redlock(["status", "-q", "a"])).await.code, 122);
}

#[tokio::test]
async fn without_a_quorum_nothing_is_guessed() {
    let stage = Stage::new(3).await;
    stage.servers[0].stop().await.unwrap();
    assert_eq!(outcome(stage.redlock(["status", "a"])).await.code, 1);
    stage.servers[1].stop().await.unwrap();
    let told = outcome(stage.redlock(["status", "a"])).await;
    assert_eq!(told.code, 122);
    assert!(
        told.stdout.contains("unknown whether \"a\" is held") && told.stdout.contains("unreachable"),
        "{}",
        told.stdout
    );
    let told = outcome(stage.redlock(["status", "a", "--json"])).await;
    let status = locks(&told.stdout);
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
    // The nodes may be released one moment after the other, which changes only the answer of one node each time.
    for _ in 0..2 {
        if timeout(Duration::from_millis(500), async { assert_eq!(next(&mut lines).await, "free") }).await.is_err() {
            break;
        }
    }
    // After that, there is nothing to report for a while.
    assert!(timeout(Duration::from_millis(500), lines.next_line()).await.is_err());
    send(&watch, "INT");
    assert_eq!(finished(watch).await.code, 0);
}

#[tokio::test]
async fn a_watch_on_a_terminal_shows_several_locks_the_latest_changes_and_how_to_quit() {
    let stage = Stage::new(3).await;
    let line = format!("exec {} watch a b --every 100ms", program());
    let mut terminal = Command::new("env");
    terminal.args(["--default-signal", "script", "-qfec", &line]).arg(stage.file("screen"));
    terminal.env("REDLOCK_NODES", stage.nodes()).env("SHELL", "/bin/sh");
    let terminal = terminal.stdin(Stdio::piped()).stdout(Stdio::null()).kill_on_drop(true).spawn().unwrap();
    stage.until_said("screen", "Ctrl-C quits").await;
    stage.until_said("screen", "a     free    -     0 of 3").await;
    let holder = stage.run("b", &["--owner", "web-3"], &["sleep", "60"]).spawn().unwrap();
    stage.until_said("screen", "b  held by web-3").await;
    stage.until_said("screen", "3 of 3").await;
    drop((terminal, holder));
}

/// Waits for a different report. An inspection may happen between the changes of two nodes: then the overall result is
/// the same, and that of one node differs.
async fn until_else(lines: &mut Lines<impl tokio::io::AsyncBufRead + Unpin>, state: &str) -> String {
    loop {
        match next(lines).await {
            same if same == state || same == "split" => {}
            other => return other,
        }
    }
}

async fn next(lines: &mut Lines<impl tokio::io::AsyncBufRead + Unpin>) -> String {
    let line = timeout(Duration::from_secs(10), lines.next_line()).await.unwrap().unwrap().unwrap();
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
    assert!(told.stderr.contains("use at least 100ms"), "{}", told.stderr);
}
