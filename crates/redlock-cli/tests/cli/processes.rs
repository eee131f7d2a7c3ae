//! The command's process group.

use std::{process::Stdio, time::Duration};

use redlock_tests::lab::eventually;
use tokio::process::Child;

use crate::stage::{Stage, backstop_of, beat, beating, children, finished, now, outcome, send, send_to, state};

/// Returns a command that ignores SIGTERM, with children that ignore it, too.
fn deaf() -> String {
    format!("trap '' TERM; echo $$ > pid; ({}) & echo $! > child; {}", beating("beat-of-child"), beating("beat"))
}

async fn until_it_waits(redlock: &Child) {
    let pid = redlock.id().unwrap().to_string();
    assert!(eventually(async || state(&pid) == Some('S')).await, "it never waits");
}

#[tokio::test]
async fn what_the_command_leaves_behind_ends_with_it() {
    let stage = Stage::new(3).await;
    let quiet = "</dev/null >/dev/null 2>&1 &";
    let script = format!("sleep 60 {quiet} echo $! > left; exit 6");
    let ended = outcome(stage.run_script("a", &[], &script)).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (6, ""));
    assert_eq!(state(&stage.read("left")), None);

    let script = format!(
        "(trap '' TERM; echo > deaf; exec sleep 60) {quiet} echo $! > left; until [ -s deaf ]; do sleep 0.01; done"
    );
    let ended = outcome(stage.run_script("a", &["--grace", "300ms"], &script)).await;
    assert_eq!(ended.code, 0);
    assert!(ended.stderr.contains("were killed"), "{}", ended.stderr);
    assert_eq!(state(&stage.read("left")), None);
    assert_eq!(stage.holding("a").await, 0);
}

#[tokio::test]
async fn what_is_dead_and_waited_for_by_nobody_is_not_left_behind() {
    let stage = Stage::new(3).await;
    // Its parent is in a group of its own, and busy with other things.
    let script = "$group = getpgrp;
        if (!fork) {
            close STDOUT; close STDERR; setpgrp(0, 0);
            if (!fork) { setpgrp(0, $group); open F, '>', 'dead'; print F $$; close F; exit }
            sleep 6; exit
        }
        sleep 1; exit 6";
    let ended = outcome(stage.run("a", &["--grace", "1s"], &["perl", "-e", script])).await;
    assert_eq!((ended.code, ended.stderr.contains("were killed")), (6, false), "{}", ended.stderr);
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", stage.read("dead"))).unwrap();
    assert!(stat.contains(") Z "), "{stat}");
}

#[tokio::test]
async fn a_command_that_goes_into_another_group_ends_with_its_lock_all_the_same() {
    let stage = Stage::new(3).await;
    // It joins the group of redlock, for half a minute at most.
    let script = "setpgrp(0, getpgrp(getppid)) or die; open F, '>', 'pid'; print F $$; close F; sleep 30";
    for signal in ["TERM", "KILL"] {
        let redlock = stage.run("a", &["--wait", "20s"], &["perl", "-e", script]).spawn().unwrap();
        stage.until_written("pid").await;
        // The second process knows the command once redlock waits again.
        until_it_waits(&redlock).await;
        send(&redlock, signal);
        assert!(eventually(async || state(&stage.read("pid")).is_none()).await, "{signal}: it is still alive");
        drop(redlock);
        std::fs::remove_file(stage.file("pid")).unwrap();
    }
}

#[tokio::test]
async fn the_command_leads_a_group_of_its_own_unless_it_is_to_be_in_the_foreground() {
    let stage = Stage::new(3).await;
    // The process group according to the kernel, and the process.
    let script = "cut -d' ' -f5 /proc/$$/stat; echo $$";
    for (options, leads) in [(&[][..], true), (&["--foreground"], false)] {
        let outcome = outcome(stage.run_script("a", options, script)).await;
        let told: Vec<_> = outcome.stdout.lines().collect();
        assert_eq!(told[0] == told[1], leads, "{options:?}: {told:?}");
        assert_eq!(outcome.code, 0);
    }
}

#[tokio::test]
async fn a_redlock_that_is_killed_takes_the_command_with_it() {
    let stage = Stage::new(3).await;
    for (options, killed) in [(&[][..], &["pid", "child"][..]), (&["--foreground"], &["pid"])] {
        let mut redlock = stage.run_script("a", &[options, &["--wait", "20s"]].concat(), &deaf()).spawn().unwrap();
        stage.until_written("beat-of-child").await;
        stage.until_held("a").await;
        until_it_waits(&redlock).await;
        redlock.kill().await.unwrap();
        for file in killed {
            assert!(eventually(async || state(&stage.read(file)).is_none()).await, "{options:?}: {file} is alive");
        }
        // In the foreground, the command is responsible for its own children.
        let _ = std::process::Command::new("kill")
            .args(["-KILL", stage.read("child").trim()])
            .stderr(Stdio::null())
            .status();
        for file in ["pid", "child", "beat", "beat-of-child"] {
            // A process that was killed early may not have written its own PID yet.
            let _ = std::fs::remove_file(stage.file(file));
        }
    }
}

#[tokio::test]
async fn a_redlock_that_is_killed_as_its_command_starts_takes_the_command_with_it() {
    let stage = Stage::new(3).await;
    let mut commands = Vec::new();
    for number in 0..40 {
        let mut redlock = stage.run(&format!("a{number}"), &[], &["sleep", "60"]).spawn().unwrap();
        // As soon as there is a second child: the first one is the second process of redlock.
        let begun = loop {
            let begun = children(redlock.id().unwrap());
            if begun.len() > 1 || redlock.try_wait().unwrap().is_some() {
                break begun;
            }
            std::hint::spin_loop();
        };
        redlock.kill().await.unwrap();
        commands.extend(begun);
    }
    assert!(commands.len() >= 80, "{commands:?}");
    let run = |pid: &u32| state(&pid.to_string()).is_some();
    assert!(eventually(async || !commands.iter().any(run)).await, "a command is still alive");
}

#[tokio::test]
async fn a_redlock_that_stands_still_has_its_command_killed_before_the_keys_expire() {
    let stage = Stage::new(3).await;
    let redlock = stage.run_script("a", &[], &deaf()).spawn().unwrap();
    stage.until_written("beat-of-child").await;
    stage.until_held("a").await;
    let expiry = stage.extended("a", Duration::from_secs(3)).await;
    // No process can catch this signal.
    send(&redlock, "STOP");
    tokio::time::sleep(expiry.saturating_sub(now()) + Duration::from_millis(300)).await;
    assert_eq!((state(&stage.read("pid")), state(&stage.read("child"))), (None, None));
    for file in ["beat", "beat-of-child"] {
        assert!(beat(&stage.read(file)) < expiry, "{file}");
    }
    // Another holder has the lock, and the stopped process notices that.
    assert_eq!(outcome(stage.attempt("a", &[], &["true"])).await.code, 0);
    send(&redlock, "CONT");
    let outcome = finished(redlock).await;
    assert_eq!(outcome.code, 121, "{}", outcome.stderr);
}

#[tokio::test]
async fn a_second_process_that_was_stopped_for_long_leaves_the_command_of_a_valid_lock_alone() {
    let stage = Stage::new(3).await;
    let script = "echo > ready; until [ -e end ]; do sleep 0.02; done; exit 3";
    let redlock = stage.run_script("a", &[], script).spawn().unwrap();
    stage.until_written("ready").await;
    let backstop: u32 = backstop_of(redlock.id().unwrap()).unwrap().parse().unwrap();
    send_to(backstop, "STOP");
    // Longer than the lock would be valid without extends.
    tokio::time::sleep(Duration::from_secs(4)).await;
    send_to(backstop, "CONT");
    // It handles the message, and waits again.
    assert!(eventually(async || state(&backstop.to_string()) == Some('S')).await);
    tokio::time::sleep(Duration::from_millis(500)).await;
    std::fs::write(stage.file("end"), "").unwrap();
    let ended = finished(redlock).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (3, ""));
}

#[tokio::test]
async fn the_second_process_has_a_name_in_ps() {
    let stage = Stage::new(3).await;
    let redlock = stage.run_script("a", &[], "echo > ready; sleep 60").spawn().unwrap();
    stage.until_written("ready").await;
    let backstop = backstop_of(redlock.id().unwrap()).unwrap();
    let name = || std::fs::read_to_string(format!("/proc/{backstop}/comm")).unwrap_or_default();
    assert!(eventually(async || name() == "redlock-watch\n").await, "{}", name());
    send(&redlock, "TERM");
    assert_eq!(finished(redlock).await.code, 143);
}

#[tokio::test]
async fn nothing_of_redlock_is_left_when_it_has_ended() {
    let stage = Stage::new(3).await;
    let child = stage.run_script("a", &[], "echo > ready; sleep 1").spawn().unwrap();
    stage.until_written("ready").await;
    let backstop = backstop_of(child.id().unwrap()).unwrap();
    assert!(state(&backstop).is_some());
    assert_eq!(finished(child).await.code, 0);
    assert_eq!(state(&backstop), None);
}

#[tokio::test]
async fn a_command_that_is_stopped_for_the_terminal_is_told_how_to_have_it() {
    let stage = Stage::new(3).await;
    // Like the terminal does to a group in the background that reads from it.
    let script = "(sleep 3; kill -CONT $$) & kill -TTIN $$; echo went on";
    let told = outcome(stage.run_script("a", &[], script)).await;
    assert_eq!((told.code, told.stdout.as_str()), (0, "went on\n"));
    assert_eq!(told.stderr.matches("use --foreground").count(), 1, "{}", told.stderr);
}
