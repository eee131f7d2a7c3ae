//! `redlock acquire`, `extend` and `release`.

use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;

use crate::stage::{Stage, finished, outcome, program, send};

/// Returns a command that has the token in its environment.
fn with_token(stage: &Stage, token: &str, args: &[&str]) -> Command {
    let mut command = stage.redlock(args);
    command.env("REDLOCK_TOKEN", token);
    command
}

#[tokio::test]
async fn a_script_takes_extends_and_gives_back() {
    let stage = Stage::new(3).await;
    let taken = outcome(stage.redlock(["acquire", "a", "--ttl", "20s"])).await;
    assert_eq!((taken.code, taken.stderr.as_str()), (0, ""));
    let token = taken.stdout.trim();
    let key = stage.servers[0].command(&["GET", "a"]).await.unwrap().text().unwrap();
    assert_eq!(key, token);
    assert_eq!(outcome(stage.redlock(["acquire", "a", "--try"])).await.code, 120);

    let extended = outcome(with_token(&stage, token, &["extend", "a", "--ttl", "60s"])).await;
    assert_eq!(extended.code, 0, "{}", extended.stderr);
    let valid: u64 = extended.stdout.trim().parse().unwrap();
    assert!((55_000..60_000).contains(&valid), "{valid}");
    for server in &stage.servers {
        assert!(server.command(&["PTTL", "a"]).await.unwrap().integer().unwrap() > 55_000);
    }
    let extended = outcome(with_token(&stage, token, &["extend", "a", "--ttl", "70s", "--json"])).await;
    let data: Value = serde_json::from_str(&extended.stdout).unwrap();
    assert!(data["valid_ms"].as_u64().unwrap() > 60_000 && data["ttl_ms"] == 70_000);

    let released = outcome(with_token(&stage, token, &["release", "a"])).await;
    assert_eq!((released.code, released.stdout.as_str(), released.stderr.as_str()), (0, "", ""));
    assert_eq!(stage.holding("a").await, 0);
    for again in [&["release", "a"][..], &["extend", "a"]] {
        let late = outcome(with_token(&stage, token, again)).await;
        assert_eq!(late.code, 121, "{again:?}: {}", late.stderr);
        assert!(late.stderr.contains("is lost"), "{}", late.stderr);
    }
    assert_eq!(stage.holding("a").await, 0);
}

#[tokio::test]
async fn the_script_of_the_help_works_as_it_is() {
    let stage = Stage::new(3).await;
    let script = "set -e
        PATH=$FOLDER:$PATH
        REDLOCK_TOKEN=$(redlock acquire deploy --ttl 5m) || exit
        export REDLOCK_TOKEN
        redlock extend deploy --ttl 5m || exit
        redlock status deploy
        redlock release deploy";
    let redlock = std::path::PathBuf::from(program());
    let mut shell = Command::new("sh");
    shell.args(["-c", script]).env("REDLOCK_NODES", stage.nodes()).env("FOLDER", redlock.parent().unwrap());
    let output = shell.output().await.unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && printed.contains("\"deploy\" is held by"), "{output:?}");
    // The label is that of the script's process, which still exists when `acquire` has ended.
    assert!(printed.contains(" of \""), "{printed}");
    assert_eq!(stage.holding("deploy").await, 0);
}

#[tokio::test]
async fn a_fencing_token_is_printed_and_goes_along() {
    let stage = Stage::new(3).await;
    let taken = outcome(stage.redlock(["acquire", "a", "--fencing"])).await;
    let lines: Vec<_> = taken.stdout.lines().collect();
    let (token, fencing_token) = (lines[0], lines[1].parse::<u64>().unwrap());
    let mut extend = with_token(&stage, token, &["extend", "a"]);
    extend.env("REDLOCK_FENCING_TOKEN", lines[1]);
    assert_eq!(outcome(extend).await.code, 0);
    assert_eq!(outcome(with_token(&stage, token, &["release", "a"])).await.code, 0);
    let taken = outcome(stage.redlock(["acquire", "a", "--fencing", "--json"])).await;
    let data: Value = serde_json::from_str(&taken.stdout).unwrap();
    assert!(data["fencing_token"].as_u64().unwrap() > fencing_token);
    assert!(data["token"].as_str().unwrap().len() > 40 && data["valid_ms"].as_u64().unwrap() < 30_000);
}

#[tokio::test]
async fn nobody_gives_back_or_extends_what_is_another_s() {
    let stage = Stage::new(3).await;
    let held = outcome(stage.redlock(["acquire", "a"])).await.stdout;
    let (first, last) = held.trim().split_at(1);
    let other = format!("{}{last}", if first == "0" { "1" } else { "0" });
    for task in ["release", "extend"] {
        let refused = outcome(with_token(&stage, &other, &[task, "a"])).await;
        assert_eq!(refused.code, 121, "{task}: {}", refused.stderr);
        assert_eq!(stage.holding("a").await, 3);
        let without = outcome(stage.redlock([task, "a"])).await;
        assert_eq!(without.code, 125);
        assert!(without.stderr.contains("REDLOCK_TOKEN is not set"), "{}", without.stderr);
        let malformed = outcome(with_token(&stage, "secret-that-is-none", &[task, "a"])).await;
        assert_eq!(malformed.code, 125);
        assert!(
            malformed.stderr.contains("is not a token") && !malformed.stderr.contains("secret-that"),
            "{}",
            malformed.stderr
        );
        let mut fenced = with_token(&stage, held.trim(), &[task, "a"]);
        fenced.env("REDLOCK_FENCING_TOKEN", "zero");
        let fenced = outcome(fenced).await;
        assert!(fenced.code == 125 && fenced.stderr.contains("is not a fencing token"), "{}", fenced.stderr);
    }
}

#[tokio::test]
async fn too_few_answers_are_told_apart_from_a_loss() {
    let stage = Stage::new(3).await;
    let token = outcome(stage.redlock(["acquire", "a"])).await.stdout;
    for server in &stage.servers[1..] {
        server.stop().await.unwrap();
    }
    for task in ["release", "extend"] {
        let unknown = outcome(with_token(&stage, token.trim(), &[task, "a"])).await;
        assert_eq!(unknown.code, 122, "{task}: {}", unknown.stderr);
    }
}

#[tokio::test]
async fn a_lock_is_taken_from_its_holder_only_by_force_and_after_a_question() {
    let stage = Stage::new(3).await;
    outcome(stage.redlock(["acquire", "a", "--ttl", "60s"])).await;
    let asked = outcome(stage.redlock(["release", "a", "--force"])).await;
    assert_eq!(asked.code, 125);
    assert!(asked.stderr.contains("no terminal to ask on: pass --yes"), "{}", asked.stderr);
    assert_eq!(stage.holding("a").await, 3);

    let forced = outcome(stage.redlock(["release", "a", "--force", "--yes"])).await;
    assert_eq!(forced.code, 0, "{}", forced.stderr);
    assert!(forced.stderr.contains("released \"a\" by force"), "{}", forced.stderr);
    assert_eq!(stage.holding("a").await, 0);
    // There is nothing left to release.
    assert_eq!(outcome(stage.redlock(["release", "a", "--force"])).await.code, 0);
}

#[tokio::test]
async fn what_a_crashed_holder_left_on_a_minority_is_removed_by_force_too() {
    let stage = Stage::new(3).await;
    outcome(stage.redlock(["acquire", "a", "--ttl", "60s"])).await;
    for server in &stage.servers[1..] {
        server.command(&["DEL", "a"]).await.unwrap();
    }
    assert_eq!(outcome(stage.redlock(["release", "a", "--force", "--yes"])).await.code, 0);
    assert_eq!(stage.holding("a").await, 0);
}

#[tokio::test]
async fn what_no_redlock_has_set_is_left_alone_even_by_force() {
    let stage = Stage::new(3).await;
    for server in &stage.servers {
        server.command(&["SET", "a", "data of somebody"]).await.unwrap();
    }
    let refused = outcome(stage.redlock(["release", "a", "--force", "--yes"])).await;
    assert_eq!(refused.code, 125);
    assert!(refused.stderr.contains("which this library has not set"), "{}", refused.stderr);
    assert_eq!(stage.holding("a").await, 3);
}

#[tokio::test]
async fn a_token_that_nobody_gets_leaves_no_lock() {
    let stage = Stage::new(3).await;
    let mut full = stage.redlock(["acquire", "a", "--ttl", "60s"]);
    full.stdout(std::fs::File::create("/dev/full").unwrap());
    let told = outcome(full).await;
    assert!(told.code == 125 && told.stderr.contains("the token cannot be printed"), "{}", told.stderr);
    assert_eq!(stage.holding("a").await, 0);
}

#[tokio::test]
async fn a_wait_that_is_interrupted_leaves_no_lock() {
    let stage = Stage::new(3).await;
    let token = outcome(stage.redlock(["acquire", "a", "--ttl", "60s"])).await.stdout;
    let waiter = stage.redlock(["acquire", "a", "--wait", "30s"]).spawn().unwrap();
    tokio::time::sleep(Duration::from_millis(400)).await;
    send(&waiter, "INT");
    let interrupted = finished(waiter).await;
    assert_eq!((interrupted.code, interrupted.stdout.as_str()), (130, ""));
    assert_eq!(outcome(with_token(&stage, token.trim(), &["release", "a"])).await.code, 0);
    assert_eq!(stage.holding("a").await, 0);
}
