//! The program with the process ID 1, as in a container, and processes that outlive their parents.

use std::process::Stdio;

use redlock_tests::lab::eventually;
use tokio::process::{Child, Command};

use crate::stage::{Stage, children, finished, outcome, program, send_to, until_handled};

/// Returns the program as the first process of a new PID namespace.
fn as_init(stage: &Stage, arguments: &[&str]) -> Command {
    let mut unshare = Command::new("unshare");
    unshare.args(["--map-root-user", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    unshare.args(["env", "--default-signal", &program()]).args(arguments);
    unshare.env("REDLOCK_NODES", stage.nodes()).current_dir(stage.file("."));
    unshare.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    unshare
}

/// Returns the process ID of the program, once it handles signals.
async fn first_process(unshare: &Child) -> u32 {
    let unshare = unshare.id().unwrap();
    assert!(eventually(async || !children(unshare).is_empty()).await, "it does not start");
    let redlock = children(unshare)[0];
    for signal in [2, 15] {
        until_handled(redlock, signal).await;
    }
    redlock
}

/// Ten processes whose parents end before them; then counts the zombies until there are none, for a few seconds.
const ORPHANS: &str = "
    for i in 1 2 3 4 5 6 7 8 9 10; do (sleep 0.1 &); done
    for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        sleep 0.2
        if ! grep -qs '^Name:.sleep' /proc/[0-9]*/status; then echo all reaped; exit 3; fi
    done";

#[tokio::test]
async fn as_the_first_process_it_waits_for_orphans() {
    let stage = Stage::new(3).await;
    let told = outcome(as_init(&stage, &["run", "a", "--", "sh", "-c", ORPHANS])).await;
    assert_eq!((told.code, told.stdout.as_str()), (3, "all reaped\n"), "{}", told.stderr);
}

#[tokio::test]
async fn as_the_first_process_it_ends_by_the_signals_of_a_container() {
    let stage = Stage::new(3).await;
    let holder = stage.run("a", &[], &["sleep", "60"]).spawn().unwrap();
    stage.until_held("a").await;
    for (signal, watch, wait) in [("TERM", 0, 143), ("INT", 0, 130)] {
        for (arguments, code) in [(&["watch", "a"][..], watch), (&["run", "a", "--wait", "1h", "--", "true"], wait)] {
            let child = as_init(&stage, arguments).spawn().unwrap();
            send_to(first_process(&child).await, signal);
            assert_eq!(finished(child).await.code, code, "{signal} {arguments:?}");
        }
    }
    // `docker stop` while the command runs.
    let child = as_init(&stage, &["run", "b", "--", "sh", "-c", "echo > ready; exec sleep 60"]).spawn().unwrap();
    stage.until_written("ready").await;
    send_to(first_process(&child).await, "TERM");
    assert_eq!(finished(child).await.code, 143);
    assert_eq!(stage.holding("b").await, 0);
    send_to(holder.id().unwrap(), "TERM");
    assert_eq!(finished(holder).await.code, 143);
}

#[tokio::test]
async fn a_process_that_left_the_group_and_still_runs_is_reported() {
    let stage = Stage::new(3).await;
    let script = "setsid sh -c 'echo $$ > pid; exec sleep 60' >&- 2>&- & until [ -s pid ]; do sleep 0.02; done; exit 3";
    let told = outcome(stage.run_script("a", &[], script)).await;
    let pid = stage.read("pid");
    send_to(pid.trim().parse().unwrap(), "KILL");
    let what = format!("still running, without the lock: sleep (process {})", pid.trim());
    assert!(told.code == 3 && told.stderr.contains(&what), "{}: {}", told.code, told.stderr);
}

#[tokio::test]
async fn processes_of_the_shell_that_became_redlock_are_not_the_command_s() {
    let stage = Stage::new(3).await;
    let redlock = program();
    let script = format!("sleep 60 >&- 2>&- & echo $! > pid; exec {redlock} run a --node-timeout 500ms -- true");
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]).env("REDLOCK_NODES", stage.nodes()).current_dir(stage.file("."));
    shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let told = outcome(shell).await;
    send_to(stage.read("pid").trim().parse().unwrap(), "KILL");
    assert_eq!((told.code, told.stderr.as_str()), (0, ""));
}
