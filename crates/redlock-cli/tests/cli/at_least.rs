//! `--at-least`: a name is locked until its time is over, and no longer.

use std::{fs, time::Duration};

use tokio::time::Instant;

use crate::stage::{Stage, finished, outcome, send};

/// A job that two hosts start in the same minute, with a TTL that is much longer than the minute.
const MINUTE: [&str; 4] = ["--at-least", "6s", "-E", "0"];

#[tokio::test]
async fn of_several_minutes_each_runs_once_however_long_the_job_takes() {
    let stage = Stage::new(3).await;
    for (minute, job) in ["true", "sleep 3", "sleep 8", "true"].into_iter().enumerate() {
        let minute = format!("minute-{minute}");
        let script = format!("echo ran >> {minute}; {job}");
        let first = stage.attempt("job", &MINUTE, &["sh", "-c", &script]).spawn().unwrap();
        // The clock of the second host reaches the minute before the minute of the first host is over.
        stage.until_written(&minute).await;
        let second = outcome(stage.attempt("job", &MINUTE, &["sh", "-c", &script])).await;
        assert!(second.code == 0 && second.stderr.contains("held by"), "{}", second.stderr);
        assert_eq!(finished(first).await.code, 0);
        assert_eq!((stage.read(&minute).as_str(), stage.holding("job").await), ("ran\n", 0));
    }
}

#[tokio::test]
async fn a_short_command_holds_the_lock_until_the_time_is_over_and_says_for_how_long() {
    let stage = Stage::new(3).await;
    for (ttl, options) in [("1m", &[][..]), ("5m", &[]), ("4s", &["--max-lifetime", "1m"])] {
        let began = Instant::now();
        let held = ["run", "a", "-v", "--at-least", "6s", "--node-timeout", "500ms", "--ttl", ttl];
        let held = outcome(stage.redlock([&held[..], options, &["--", "sh", "-c", "exit 3"]].concat())).await;
        assert!(began.elapsed() >= Duration::from_secs(6), "{:?}", began.elapsed());
        // The next holder gets the lock long before the TTL of one minute is over.
        let next = outcome(stage.attempt("a", &[], &["true"])).await;
        assert!(next.code == 0 && began.elapsed() < Duration::from_secs(40), "{:?}: {next:?}", began.elapsed());
        assert_eq!((held.code, stage.holding("a").await), (3, 0), "{ttl}: {}", held.stderr);
        let told =
            held.stderr.lines().find_map(|line| line.split_once("the lock is held for ")?.1.split_once(" ms more"));
        let told: u64 = told.unwrap_or_else(|| panic!("{}", held.stderr)).0.parse().unwrap();
        assert!(told <= 6000 && held.stderr.contains("released \"a\""), "{}", held.stderr);
    }
}

#[tokio::test]
async fn a_signal_ends_the_wait_and_the_nodes_keep_the_lock() {
    let stage = Stage::new(3).await;
    let mut command = stage.run_script("a", &["--at-least", "60s", "-v"], "exit 3");
    let child = command.stderr(stage.log("log")).spawn().unwrap();
    stage.until_said("log", "the lock is held for").await;
    // These signals are for the command, which has ended.
    for signal in ["WINCH", "USR1", "USR2", "TSTP"] {
        send(&child, signal);
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!stage.read("log").contains("the lock expires in"), "{}", stage.read("log"));
    send(&child, "TERM");
    assert_eq!(finished(child).await.code, 3, "{}", stage.read("log"));
    assert!(stage.read("log").contains("the lock expires in"), "{}", stage.read("log"));
    // A late node may not have got the last extend, but a quorum has.
    let mut keeping = 0;
    for server in &stage.servers {
        keeping += usize::from(server.command(&["PTTL", "a"]).await.unwrap().integer().unwrap() > 40_000);
    }
    assert!(keeping >= 2, "{keeping} nodes keep the lock");
}

#[tokio::test]
async fn a_signal_that_ends_the_command_ends_the_wait_too() {
    let stage = Stage::new(3).await;
    let script = "trap 'exit 5' TERM; echo > ready; while :; do sleep 0.02; done";
    let mut command = stage.run_script("a", &["--at-least", "10m", "-v"], script);
    let child = command.stderr(stage.log("log")).spawn().unwrap();
    stage.until_written("ready").await;
    send(&child, "TERM");
    assert_eq!(finished(child).await.code, 5, "{}", stage.read("log"));
    assert!(stage.read("log").contains("the lock expires in"), "{}", stage.read("log"));
    assert!(stage.holding("a").await >= 2);
}

#[tokio::test]
async fn a_lock_that_cannot_be_extended_is_left_to_expire_and_not_released() {
    let stage = Stage::new(3).await;
    let script = "trap 'exit 5' TERM; echo > ready; while :; do sleep 0.02; done";
    let run = ["run", "a", "--ttl", "20s", "--node-timeout", "500ms", "--at-least", "10m", "--", "sh", "-c", script];
    let child = stage.redlock(run).stderr(stage.log("log")).spawn().unwrap();
    stage.until_written("ready").await;
    for server in &stage.servers[1..] {
        server.pause().await.unwrap();
    }
    send(&child, "TERM");
    assert_eq!(finished(child).await.code, 5, "{}", stage.read("log"));
    assert!(stage.read("log").contains("before --at-least is over"), "{}", stage.read("log"));
    stage.reconnect().await;
    assert!(stage.holding("a").await >= 2, "the lock was released: {}", stage.read("log"));
}

#[tokio::test]
async fn a_loss_that_may_have_come_before_the_command_had_ended_is_no_success() {
    let stage = Stage::new(3).await;
    for (on_loss, code) in [("kill", 121), ("warn", 3)] {
        let options =
            ["run", "a", "--ttl", "15s", "--node-timeout", "500ms", "--at-least", "10m", "--on-loss", on_loss];
        let script = "echo > ready; until [ -e end ]; do sleep 0.02; done; exit 3";
        let mut command = stage.redlock([&options[..], &["-v", "--", "sh", "-c", script]].concat());
        let child = command.stderr(stage.log("log")).spawn().unwrap();
        stage.until_written("ready").await;
        stage.extended("a", Duration::from_secs(15)).await;
        for server in &stage.servers {
            server.command(&["SET", "a", "another", "PX", "60000"]).await.unwrap();
            server.pause().await.unwrap();
        }
        fs::write(stage.file("end"), "").unwrap();
        stage.until_said("log", "the lock is held for").await;
        stage.reconnect().await;
        assert_eq!(finished(child).await.code, code, "{}", stage.read("log"));
        assert!(stage.read("log").contains("may have held it before the command ended"), "{}", stage.read("log"));
        for file in ["ready", "end"] {
            fs::remove_file(stage.file(file)).unwrap();
        }
        for server in &stage.servers {
            server.command(&["DEL", "a"]).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_lock_that_is_lost_after_the_command_has_ended_is_reported() {
    let stage = Stage::new(3).await;
    let mut command = stage.run_script("a", &["--at-least", "60s", "-v"], "exit 3");
    let child = command.stderr(stage.log("log")).spawn().unwrap();
    stage.until_said("log", "the lock is held for").await;
    for server in &stage.servers {
        server.command(&["SET", "a", "another", "PX", "60000"]).await.unwrap();
    }
    assert_eq!(finished(child).await.code, 3, "{}", stage.read("log"));
    assert!(stage.read("log").contains("could not be held for --at-least"), "{}", stage.read("log"));
    // The lock of the other holder is left alone.
    assert_eq!(stage.holding("a").await, 3);
}
