//! Readers, name servers and nodes that hang delay neither the lock nor the end of the program.

use std::{
    io::{PipeReader, PipeWriter, Write as _, pipe},
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use redlock_tests::lab::eventually;
use tokio::{process::Command, time::Instant};

use crate::stage::{Stage, beat, finished, now, outcome, program, send, until_handled};

const TERM: u32 = 15;

/// Returns a pipe that is full, and that nobody reads.
async fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, writer) = pipe().unwrap();
    let (mut other, written) = (writer.try_clone().unwrap(), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&written);
    thread::spawn(move || {
        while other.write_all(&[b'\n'; 64]).is_ok() {
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    let is_full = async || {
        let before = written.load(Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(100)).await;
        before > 0 && before == written.load(Ordering::Relaxed)
    };
    assert!(eventually(is_full).await, "the pipe is never full");
    (reader, writer)
}

#[tokio::test]
async fn a_stalled_reader_of_standard_error_delays_neither_the_command_nor_the_release() {
    let stage = Stage::new(3).await;
    for option in ["-v", "-vv", "--json"] {
        let (_reader, writer) = full_pipe().await;
        let mut command = stage.run_script("a", &[option], "echo ran; exit 3");
        command.stderr(writer);
        let told = outcome(command).await;
        assert_eq!((told.code, told.stdout.as_str(), stage.holding("a").await), (3, "ran\n", 0), "{option}");
    }
}

#[tokio::test]
async fn a_signal_ends_redlock_while_its_output_is_stalled() {
    let stage = Stage::new(3).await;
    let holder = stage.run("a", &[], &["sleep", "30"]).spawn().unwrap();
    stage.until_held("a").await;
    let waiting = ["run", "a", "-vv", "--wait", "1h", "--", "true"];
    for (arguments, stdout) in
        [(&waiting[..], false), (&["status", "a"], true), (&["man"], true), (&["acquire", "b"], true)]
    {
        let (_reader, writer) = full_pipe().await;
        let mut command = stage.redlock(arguments);
        let command = if stdout { command.stdout(writer) } else { command.stderr(writer) };
        let child = command.spawn().unwrap();
        until_handled(child.id().unwrap(), TERM).await;
        if arguments[0] == "acquire" {
            assert!(eventually(async || stage.holding("b").await > 0).await, "the lock is not acquired");
        }
        send(&child, "TERM");
        assert_eq!(finished(child).await.code, 143, "{arguments:?}");
    }
    assert!(eventually(async || stage.holding("b").await == 0).await, "a token that nobody read is held");
    send(&holder, "TERM");
    assert_eq!(finished(holder).await.code, 143);
}

#[tokio::test]
async fn a_command_never_starts_when_its_lock_has_expired() {
    let stage = Stage::new(3).await;
    let (reader, writer) = full_pipe().await;
    // A command that is ended because of its lock may have no time to write anything.
    let run = ["run", "a", "-v", "--ttl", "3s", "--on-loss", "warn", "--", "sh", "-c", "date +%s%N > started"];
    let redlock = stage.redlock(run).stderr(writer).spawn().unwrap();
    let is_acquired = async || stage.holding("a").await > 0 || !stage.read("started").is_empty();
    assert!(eventually(is_acquired).await, "the lock is not acquired");
    assert!(eventually(async || stage.holding("a").await == 0).await, "the lock does not expire");
    let free = now();
    // The stalled reader goes away, and everything that waited for it continues.
    drop(reader);
    finished(redlock).await;
    let started = stage.read("started");
    assert!(started.is_empty() || beat(&started) < free, "started {:?} after the lock", beat(&started) - free);
}

#[tokio::test]
async fn a_name_server_that_hangs_does_not_delay_the_end() {
    let stage = Stage::new(2).await;
    let hosts = stage.file("hosts");
    assert!(Command::new("mkfifo").arg(&hosts).status().await.unwrap().success());
    // Nobody ever writes to this file, so a lookup in it waits forever.
    let script = "mount --bind \"$0\" /etc/hosts && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--mount", "sh", "-c", script]).arg(&hosts);
    command.args([&*program(), "run", "a", "--node-timeout", "500ms", "--", "echo", "ran"]);
    command.env("REDLOCK_NODES", format!("{},redis://hangs.test:6379", stage.nodes()));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let told = outcome(command).await;
    assert_eq!((told.code, told.stdout.as_str()), (0, "ran\n"), "{}", told.stderr);
}

#[tokio::test]
async fn a_release_that_a_hung_node_does_not_confirm_is_reported_and_not_waited_for() {
    let stage = Stage::new(3).await;
    stage.servers[2].pause().await.unwrap();
    // Far longer than the end may take on any machine.
    let run = ["run", "a", "--ttl", "5m", "--node-timeout", "25s"];
    let began = Instant::now();
    let told = outcome(stage.redlock([&run[..], &["-v", "--", "true"]].concat())).await;
    assert!(told.code == 0 && told.stderr.contains("not everything was released"), "{}: {}", told.code, told.stderr);
    let told = outcome(stage.redlock([&run[..], &["--", "true"]].concat())).await;
    assert_eq!((told.code, told.stderr.as_str()), (0, ""));
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    stage.servers[2].resume().await.unwrap();
}

#[tokio::test]
async fn a_majority_that_is_slow_for_a_moment_does_not_make_a_job_run_nowhere() {
    let stage = Stage::new(3).await;
    for server in &stage.servers[1..] {
        server.pause().await.unwrap();
    }
    let tried = stage.attempt("a", &["--ttl", "1m"], &["echo", "ran"]).spawn().unwrap();
    // The first round times out after a second.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    for server in &stage.servers[1..] {
        server.resume().await.unwrap();
    }
    let tried = finished(tried).await;
    assert_eq!((tried.code, tried.stdout.as_str()), (0, "ran\n"), "{}", tried.stderr);
}
