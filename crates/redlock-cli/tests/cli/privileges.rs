//! A command that runs as another user, whom the test's user may not signal. These tests need root: otherwise they
//! check nothing.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, chown},
    process::Stdio,
    time::Duration,
};

use tokio::process::Command;

use crate::stage::{Stage, finished, program, send_to, state};

/// The user and the group of nobody.
const NOBODY: u32 = 65534;

/// Returns a program that becomes root no matter who starts it, like sudo(8). `None` if the tests do not run as root.
fn becomes_root(stage: &Stage) -> Option<String> {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    if !status.contains("\nUid:\t0\t0\t") {
        return None;
    }
    // Only root and the group of the tests may access it.
    let folder = stage.file("only-for-the-tests");
    fs::create_dir(&folder).unwrap();
    chown(&folder, None, Some(NOBODY)).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o750)).unwrap();
    let program = folder.join("as-root");
    fs::copy("/usr/bin/setpriv", &program).unwrap();
    // Changing the owner clears the bit that makes it run as root.
    chown(&program, None, Some(NOBODY)).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o4750)).unwrap();
    Some(program.to_str().unwrap().to_owned())
}

/// Returns the program, run by a user other than root.
fn as_nobody(stage: &Stage, ttl: &str, command: &[&str]) -> Command {
    chown(stage.file("."), None, Some(NOBODY)).unwrap();
    fs::set_permissions(stage.file("."), fs::Permissions::from_mode(0o770)).unwrap();
    let mut redlock = Command::new("setpriv");
    redlock.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", &program()]);
    redlock.args(["run", "a", "--ttl", ttl, "--node-timeout", "250ms", "--"]).args(command);
    redlock.env("REDLOCK_NODES", stage.nodes()).current_dir(stage.file("."));
    redlock.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    redlock
}

#[tokio::test]
async fn a_command_of_another_user_is_not_said_to_be_ended() {
    let stage = Stage::new(3).await;
    // A user other than root has no program of another user to start.
    let Some(root) = becomes_root(&stage) else { return };
    let script = "echo $$ > pid; exec sleep 60";
    for wrapper in [&[][..], &["sh", "-c", "\"$@\" & wait", "sh"]] {
        let command = [wrapper, &[&root, "--reuid", "0", "sh", "-c", script]].concat();
        let mut redlock = as_nobody(&stage, "3s", &command);
        let redlock = redlock.stderr(stage.log("log")).spawn().unwrap();
        stage.until_written("pid").await;
        stage.until_held("a").await;
        for server in &stage.servers {
            server.command(&["SET", "a", "another", "PX", "60000"]).await.unwrap();
        }
        let what = if wrapper.is_empty() { "not permitted to signal" } else { "cannot be ended" };
        stage.until_said("log", what).await;
        let pid: u32 = stage.read("pid").trim().parse().unwrap();
        assert!(state(&pid.to_string()).is_some());
        send_to(pid, "KILL");
        let ended = finished(redlock).await;
        let log = stage.read("log");
        assert_eq!((ended.code, log.contains("was ended")), (123, false), "{log}");
        assert!(log.contains("may have run without the lock"), "{log}");
        fs::remove_file(stage.file("pid")).unwrap();
        for server in &stage.servers {
            server.command(&["DEL", "a"]).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_signal_that_cannot_be_forwarded_is_reported() {
    let stage = Stage::new(3).await;
    let Some(root) = becomes_root(&stage) else { return };
    let script = "echo $$ > pid; until [ -e end ]; do sleep 0.02; done; exit 3";
    let mut redlock = as_nobody(&stage, "3s", &[&root, "--reuid", "0", "sh", "-c", script]);
    let redlock = redlock.stderr(stage.log("log")).spawn().unwrap();
    stage.until_written("pid").await;
    send_to(redlock.id().unwrap(), "TERM");
    stage.until_said("log", "`sudo --preserve-env=REDLOCK_NODES redlock run`").await;
    fs::write(stage.file("end"), "").unwrap();
    assert_eq!(finished(redlock).await.code, 3, "{}", stage.read("log"));
}

#[tokio::test]
async fn redlock_is_not_stopped_if_it_may_not_stop_the_command() {
    let stage = Stage::new(3).await;
    let Some(root) = becomes_root(&stage) else { return };
    let script = "echo $$ > pid; until [ -e end ]; do sleep 0.02; done; exit 3";
    let mut redlock = as_nobody(&stage, "3s", &[&root, "--reuid", "0", "sh", "-c", script]);
    let redlock = redlock.stderr(stage.log("log")).spawn().unwrap();
    stage.until_written("pid").await;
    send_to(redlock.id().unwrap(), "TSTP");
    stage.until_said("log", "not permitted to signal").await;
    fs::write(stage.file("end"), "").unwrap();
    assert_eq!(finished(redlock).await.code, 3, "{}", stage.read("log"));
}

#[tokio::test]
async fn a_command_that_cannot_be_ended_keeps_its_lock_if_the_nodes_answer_again() {
    let stage = Stage::new(3).await;
    let Some(root) = becomes_root(&stage) else { return };
    let script = "echo $$ > pid; until [ -e end ]; do sleep 0.02; done; exit 3";
    let mut redlock = as_nobody(&stage, "12s", &[&root, "--reuid", "0", "sh", "-c", script]);
    let redlock = redlock.stderr(stage.log("log")).spawn().unwrap();
    stage.until_written("pid").await;
    for server in &stage.servers {
        server.pause().await.unwrap();
    }
    stage.until_said("log", "not permitted to signal").await;
    // Three seconds of the validity are left.
    stage.reconnect().await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    fs::write(stage.file("end"), "").unwrap();
    assert_eq!(finished(redlock).await.code, 3, "{}", stage.read("log"));
}
