//! If the lock cannot be extended, the command is dead before another holder can get the lock.

use std::time::Duration;

use tokio::time::Instant;

use crate::stage::{Stage, backstop_of, beat, beating, finished, now, outcome, send_to, state};

const TTL: Duration = Duration::from_secs(3);

#[tokio::test]
async fn nodes_that_are_cut_off_have_the_command_killed_before_its_keys_expire() {
    killed_in_time(true).await;
}

#[tokio::test]
async fn so_they_have_without_the_second_process() {
    killed_in_time(false).await;
}

async fn killed_in_time(backstop: bool) {
    let stage = Stage::new(3).await;
    // Neither the command nor its children react to SIGTERM.
    let script =
        format!("trap '' TERM; echo $$ > pid; ({}) & echo $! > child; {}", beating("beat-of-child"), beating("beat"));
    let holder = stage.run_script("a", &[], &script).spawn().unwrap();
    stage.until_written("beat-of-child").await;
    stage.until_held("a").await;
    if !backstop {
        send_to(backstop_of(holder.id().unwrap()).unwrap().parse().unwrap(), "KILL");
    }

    let expiry = stage.cut_off("a", TTL).await;
    let mut dead = None;
    while now() < expiry + Duration::from_millis(500) {
        if dead.is_none() && state(&stage.read("pid")).is_none() && state(&stage.read("child")).is_none() {
            dead = Some(now());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let dead = dead.unwrap_or_else(|| panic!("the command has outlived its lock"));
    assert!(dead < expiry, "dead {:?} after the first key expired", dead.saturating_sub(expiry));
    // It was not ended too early either: until then the nodes might have come back.
    assert!(dead > expiry - TTL / 2, "dead {:?} before the first key expired", expiry - dead);
    for file in ["beat", "beat-of-child"] {
        assert!(beat(&stage.read(file)) < expiry, "{file}");
    }
    let outcome = finished(holder).await;
    assert_eq!(outcome.code, 121, "{}", outcome.stderr);
    for what in ["could not be extended", "SIGTERM", "SIGKILL", "its lock could not be extended"] {
        assert!(outcome.stderr.contains(what), "{what}: {}", outcome.stderr);
    }
    stage.reconnect().await;
}

#[tokio::test]
async fn the_next_holder_begins_after_the_last_has_ended_whatever_the_nodes_do() {
    let stage = Stage::new(3).await;
    let script = format!("trap '' TERM; {}", beating("beat"));
    let holder = stage.run_script("a", &[], &script).spawn().unwrap();
    stage.until_written("beat").await;
    stage.until_held("a").await;
    let next = stage.run_script("a", &["--wait", "40s"], "date +%s%N > next").spawn().unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;

    let expiry = stage.cut_off("a", TTL).await;
    // The nodes are back right after the keys have expired: the waiter gets the lock as early as possible.
    tokio::time::sleep(expiry.saturating_sub(now())).await;
    stage.reconnect().await;
    assert_eq!(finished(holder).await.code, 121);
    let next = finished(next).await;
    assert_eq!(next.code, 0, "{}", next.stderr);
    assert!(beat(&stage.read("beat")) < beat(&stage.read("next")));
}

#[tokio::test]
async fn a_command_has_the_grace_to_end_by_itself() {
    let stage = Stage::new(3).await;
    let script = "trap 'date +%s%N > told; sleep 0.3; date +%s%N > ended; exit 0' TERM; while :; do sleep 0.02; done";
    let holder = stage.run_script("a", &["--grace", "1s"], script).spawn().unwrap();
    stage.until_held("a").await;
    let expiry = stage.cut_off("a", TTL).await;
    let outcome = finished(holder).await;
    // Although it ended with success, the exit code reports the loss, because redlock ended it.
    assert_eq!(outcome.code, 121, "{}", outcome.stderr);
    assert!(!outcome.stderr.contains("SIGKILL"), "{}", outcome.stderr);
    let (told, ended) = (beat(&stage.read("told")), beat(&stage.read("ended")));
    assert!(told > expiry - Duration::from_millis(1500) && ended < expiry, "{told:?} {ended:?} {expiry:?}");
    stage.reconnect().await;
}

#[tokio::test]
async fn a_command_is_told_to_end_though_nobody_reads_what_redlock_says_of_it() {
    let stage = Stage::new(3).await;
    // Standard error is full, and is only read at the very end.
    let script = "exec 3>&2 2>/dev/null; trap 'date +%s%N > told; exit 3' TERM; yes >&3 & echo > ready; while :; do sleep 0.02; done";
    let holder = stage.run_script("a", &["--grace", "1s"], script).spawn().unwrap();
    stage.until_written("ready").await;
    stage.until_held("a").await;
    let expiry = stage.cut_off("a", TTL).await;
    tokio::time::sleep(expiry.saturating_sub(now())).await;
    assert!(!stage.read("told").is_empty(), "it got no SIGTERM");
    assert!(beat(&stage.read("told")) < expiry);
    stage.reconnect().await;
    assert_eq!(finished(holder).await.code, 121);
}

#[tokio::test]
async fn nodes_that_come_back_in_time_cost_the_command_nothing() {
    let stage = Stage::new(3).await;
    let holder =
        stage.redlock(["run", "a", "--ttl", "6s", "--node-timeout", "250ms", "--", "sleep", "9"]).spawn().unwrap();
    stage.until_held("a").await;
    // Extends fail for a while, and SIGTERM is not due yet.
    stage.cut_off("a", Duration::from_secs(6)).await;
    tokio::time::sleep(Duration::from_millis(2200)).await;
    stage.reconnect().await;
    let outcome = finished(holder).await;
    assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""));
}

#[tokio::test]
async fn a_minority_that_is_cut_off_costs_the_command_nothing() {
    let stage = Stage::new(3).await;
    let holder = stage.run_script("a", &[], "sleep 6; echo done").spawn().unwrap();
    stage.until_held("a").await;
    stage.servers[1].pause().await.unwrap();
    let outcome = finished(holder).await;
    assert_eq!((outcome.code, outcome.stdout.as_str(), outcome.stderr.as_str()), (0, "done\n", ""));
    stage.servers[1].resume().await.unwrap();
}

#[tokio::test]
async fn a_lock_that_the_nodes_say_is_another_s_ends_the_command_at_once() {
    let stage = Stage::new(3).await;
    let script = format!("trap '' TERM; echo $$ > pid; {}", beating("beat"));
    let holder = stage.run_script("a", &[], &script).spawn().unwrap();
    stage.until_held("a").await;
    stage.until_written("beat").await;
    for server in &stage.servers {
        server.command(&["SET", "a", "another", "PX", "60000"]).await.unwrap();
    }
    let taken = Instant::now();
    let outcome = finished(holder).await;
    // An extend a third of the TTL later notices it, and a tenth of the TTL is left for SIGTERM.
    assert!(taken.elapsed() < Duration::from_millis(2500), "{:?}", taken.elapsed());
    assert_eq!(outcome.code, 121, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("is lost") && outcome.stderr.contains("SIGKILL"), "{}", outcome.stderr);
    assert_eq!(state(&stage.read("pid")), None);
    // The key of another holder is left alone.
    assert_eq!(stage.holding("a").await, 3);
}

#[tokio::test]
async fn a_lock_that_was_gone_when_the_command_ended_is_told_as_lost() {
    let stage = Stage::new(3).await;
    // With such a long TTL, no extend comes in between.
    let script = "until [ -e gone ]; do sleep 0.02; done";
    let holder = stage.redlock(["run", "a", "--", "sh", "-c", script]).spawn().unwrap();
    stage.until_held("a").await;
    for server in &stage.servers {
        server.command(&["DEL", "a"]).await.unwrap();
    }
    std::fs::write(stage.file("gone"), "").unwrap();
    let outcome = finished(holder).await;
    assert_eq!(outcome.code, 121, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("another may have held it"), "{}", outcome.stderr);
}

#[tokio::test]
async fn a_lock_that_is_another_s_is_told_as_lost_though_it_was_to_be_left() {
    let stage = Stage::new(3).await;
    for (on_loss, code) in [("kill", 121), ("warn", 4)] {
        let script = format!("until [ -e {on_loss} ]; do sleep 0.02; done; exit 4");
        let run = ["run", "a", "--at-least", "5m", "--on-loss", on_loss, "--", "sh", "-c", &script];
        let holder = stage.redlock(run).spawn().unwrap();
        stage.until_held("a").await;
        for server in &stage.servers {
            server.command(&["SET", "a", "another", "PX", "60000"]).await.unwrap();
        }
        std::fs::write(stage.file(on_loss), "").unwrap();
        let outcome = finished(holder).await;
        assert_eq!(outcome.code, code, "{on_loss}: {}", outcome.stderr);
        assert!(outcome.stderr.contains("is lost"), "{on_loss}: {}", outcome.stderr);
        for server in &stage.servers {
            server.command(&["DEL", "a"]).await.unwrap();
        }
    }
}

#[tokio::test]
async fn with_on_loss_warn_the_command_goes_on_and_a_warning_is_told() {
    let stage = Stage::new(3).await;
    let holder = stage.run_script("a", &["--on-loss", "warn"], "sleep 5; echo done; exit 4").spawn().unwrap();
    stage.until_held("a").await;
    stage.cut_off("a", TTL).await;
    let outcome = finished(holder).await;
    assert_eq!((outcome.code, outcome.stdout.as_str()), (4, "done\n"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("warning") && outcome.stderr.contains("continues without"), "{}", outcome.stderr);
    stage.reconnect().await;
}

#[tokio::test]
async fn nodes_that_are_gone_when_the_command_ends_do_not_hold_redlock_up() {
    let stage = Stage::new(3).await;
    let script = "until [ -e paused ]; do sleep 0.02; done; exit 5";
    let holder = stage.run_script("a", &[], script).spawn().unwrap();
    stage.until_held("a").await;
    stage.cut_off("a", TTL).await;
    let began = Instant::now();
    std::fs::write(stage.file("paused"), "").unwrap();
    let ended = finished(holder).await;
    assert_eq!(ended.code, 5, "{}", ended.stderr);
    assert!(ended.stderr.contains("unknown whether") && began.elapsed() < Duration::from_secs(5), "{}", ended.stderr);
    stage.reconnect().await;
    // The name is free again.
    assert_eq!(outcome(stage.run("a", &["--wait", "10s"], &["true"])).await.code, 0);
}

#[tokio::test]
async fn a_command_that_does_not_listen_is_killed_though_the_nodes_come_back() {
    let stage = Stage::new(3).await;
    let script = format!("trap 'echo > told' TERM; echo $$ > pid; {}", beating("beat"));
    let holder = stage.run_script("a", &["--grace", "1s"], &script).spawn().unwrap();
    stage.until_held("a").await;
    let expiry = stage.cut_off("a", TTL).await;
    stage.until_written("told").await;
    stage.reconnect().await;
    // It has got SIGTERM: nothing extends its time any more.
    let outcome = finished(holder).await;
    assert_eq!(outcome.code, 121, "{}", outcome.stderr);
    assert!(beat(&stage.read("beat")) < expiry + TTL && state(&stage.read("pid")).is_none());
}
