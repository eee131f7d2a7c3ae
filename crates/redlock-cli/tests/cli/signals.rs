//! Signals are forwarded to the command.

use std::time::Duration;

use redlock_tests::lab::eventually;

use crate::stage::{Stage, backstop_of, finished, outcome, program, send, send_to, state};

#[tokio::test]
async fn signals_go_on_to_the_command_and_its_answer_is_redlock_s() {
    let stage = Stage::new(3).await;
    for (signal, code) in [("TERM", 11), ("INT", 12), ("HUP", 13), ("QUIT", 14), ("USR1", 15), ("USR2", 16)] {
        let script = format!("trap 'exit {code}' {signal}; echo > ready-{signal}; while :; do sleep 0.02; done");
        let child = stage.run_script("a", &[], &script).spawn().unwrap();
        stage.until_written(&format!("ready-{signal}")).await;
        send(&child, signal);
        let outcome = finished(child).await;
        // The shell itself may report the `sleep` that has got the signal, too.
        assert_eq!((outcome.code, outcome.stderr.contains("redlock")), (code, false), "{signal}: {}", outcome.stderr);
        assert_eq!(stage.holding("a").await, 0, "{signal}");
    }
}

#[tokio::test]
async fn a_signal_reaches_all_in_the_group_and_their_end_is_told_as_by_a_shell() {
    let stage = Stage::new(3).await;
    let script = "sleep 60 & echo $! > child; sleep 60 & echo $! > ready; wait";
    let child = stage.run_script("a", &[], script).spawn().unwrap();
    stage.until_written("ready").await;
    send(&child, "TERM");
    assert_eq!(finished(child).await.code, 143);
    assert_eq!((state(&stage.read("child")), state(&stage.read("ready"))), (None, None));
    assert_eq!(stage.holding("a").await, 0);
}

#[tokio::test]
async fn a_signal_while_it_waits_ends_redlock_and_leaves_nothing_behind() {
    let stage = Stage::new(3).await;
    let holder = stage.run_script("a", &[], "sleep 3").spawn().unwrap();
    stage.until_held("a").await;
    for (signal, code) in [("TERM", 143), ("INT", 130)] {
        let waiter = stage.run("a", &["--wait", "30s"], &["touch", "ran"]).spawn().unwrap();
        tokio::time::sleep(Duration::from_millis(400)).await;
        send(&waiter, signal);
        assert_eq!(finished(waiter).await.code, code);
    }
    assert_eq!(finished(holder).await.code, 0);
    assert_eq!(stage.holding("a").await, 0);
    assert!(!stage.file("ran").exists());
    // No waiter that has left is still in the queue.
    assert_eq!(outcome(stage.attempt("a", &[], &["true"])).await.code, 0);
}

#[tokio::test]
async fn a_signal_that_was_ignored_at_the_start_stays_so() {
    let stage = Stage::new(3).await;
    let redlock = program();
    let script = format!("trap '' HUP; exec {redlock} run a -- sh -c 'echo > ready; sleep 1; exit 9'");
    let mut shell = tokio::process::Command::new("sh");
    shell.args(["-c", &script]).env("REDLOCK_NODES", stage.nodes()).current_dir(stage.file("."));
    let child = shell.kill_on_drop(true).spawn().unwrap();
    stage.until_written("ready").await;
    send(&child, "HUP");
    assert_eq!(finished(child).await.code, 9);
}

#[tokio::test]
async fn stopped_and_continued_in_time_all_goes_on() {
    let stage = Stage::new(3).await;
    // In the background, because a shell that is stopped while it starts a process in the foreground waits for that,
    // and is not in state `T`.
    let script = "sleep 2.5 & echo $$ > pid; wait; echo done";
    let child = stage.run_script("a", &[], script).spawn().unwrap();
    stage.until_written("pid").await;
    let (pid, redlock) = (stage.read("pid"), child.id().unwrap());
    send(&child, "TSTP");
    assert!(eventually(async || state(&pid) == Some('T') && state(&redlock.to_string()) == Some('T')).await);
    tokio::time::sleep(Duration::from_millis(500)).await;
    send_to(redlock, "CONT");
    assert!(eventually(async || state(&pid) != Some('T')).await);
    let outcome = finished(child).await;
    assert_eq!((outcome.code, outcome.stdout.as_str(), outcome.stderr.as_str()), (0, "done\n", ""));
}

#[tokio::test]
async fn stopped_past_the_validity_the_command_never_runs_again() {
    let stage = Stage::new(3).await;
    let names = ["a", "b", "c", "d", "e", "f"];
    let mut stopped = Vec::new();
    for name in names {
        // Several busy loops: if they get any CPU time at all, one of them uses it.
        let script = format!(
            "trap '' TERM; echo $$ > pid-{name}
            for i in 1 2 3 4; do while :; do echo >> work-{name}-$i; done & done; wait"
        );
        let child = stage.run_script(name, &[], &script).spawn().unwrap();
        for i in 1..=4 {
            stage.until_written(&format!("work-{name}-{i}")).await;
        }
        // It must not depend on the second process for that.
        send_to(backstop_of(child.id().unwrap()).unwrap().parse().unwrap(), "KILL");
        send(&child, "TSTP");
        let pid = stage.read(&format!("pid-{name}"));
        assert!(eventually(async || state(&pid) == Some('T')).await);
        stopped.push((name, child, pid));
    }
    tokio::time::sleep(Duration::from_secs(4)).await;
    let work = |name| [1, 2, 3, 4].map(|i| stage.read(&format!("work-{name}-{i}")).len());
    for (name, child, pid) in stopped {
        let done = work(name);
        // Another holder has it by now.
        assert_eq!(outcome(stage.attempt(name, &[], &["true"])).await.code, 0);
        send(&child, "CONT");
        let outcome = finished(child).await;
        assert_eq!(outcome.code, 121, "{}", outcome.stderr);
        assert!(outcome.stderr.contains("SIGKILL"), "{}", outcome.stderr);
        assert_eq!(work(name), done, "{name} continued to work after its lock had ended");
        assert_eq!(state(&pid), None);
    }
}
