//! Passwords are shown nowhere.

use std::{fs, os::unix::fs::PermissionsExt as _};

use redlock_tests::servers::{Server, ServerOptions};

use crate::stage::{Outcome, Stage, bare, finished, outcome};

const PASSWORD: &str = "hunter2hunter2";

async fn stage() -> Stage {
    Stage::with(3, &ServerOptions::new().args(["--requirepass", PASSWORD])).await
}

fn urls(stage: &Stage, password: &str) -> Vec<String> {
    let url = |server: &Server| server.url().replace("redis://", &format!("redis://:{password}@"));
    stage.servers.iter().map(url).collect()
}

fn shows(outcome: &Outcome, text: &str) -> bool {
    outcome.stdout.contains(text) || outcome.stderr.contains(text)
}

#[tokio::test]
async fn a_password_from_the_environment_is_in_no_output_and_in_no_argument_of_a_process() {
    let stage = stage().await;
    let mut command = bare(["run", "a", "-vv", "--ttl", "5s", "--", "sh", "-c", "echo > ready; sleep 1"]);
    command.env("REDLOCK_NODES", urls(&stage, PASSWORD).join(",")).current_dir(stage.file("."));
    let child = command.spawn().unwrap();
    stage.until_written("ready").await;
    let mut seen = 0;
    for process in fs::read_dir("/proc").unwrap().flatten() {
        let arguments = fs::read_to_string(process.path().join("cmdline")).unwrap_or_default();
        let is_ours = arguments.contains("redlock\0run\0a\0-vv");
        seen += usize::from(is_ours);
        assert!(!is_ours || !arguments.contains(PASSWORD), "{arguments}");
    }
    assert!(seen > 0, "redlock is not among the processes");
    let outcome = finished(child).await;
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    assert!(!shows(&outcome, PASSWORD) && !outcome.stderr.contains("warning"), "{}", outcome.stderr);
}

#[tokio::test]
async fn no_failure_shows_a_password() {
    let stage = stage().await;
    let wrong = urls(&stage, "wrongwrong").join(",");
    let malformed = format!("redis://:{PASSWORD}@:x,redis://:{PASSWORD}@b?no_such=option");
    for (nodes, code) in [(wrong.as_str(), 122), (malformed.as_str(), 125)] {
        for arguments in [
            &["run", "a", "--try", "-vv", "--", "true"][..],
            &["acquire", "a", "--try", "--json"],
            &["status", "a"],
            &["status", "a", "--json"],
        ] {
            let mut command = bare(arguments);
            command.env("REDLOCK_NODES", nodes);
            let outcome = outcome(command).await;
            assert_eq!(outcome.code, code, "{arguments:?}: {}{}", outcome.stdout, outcome.stderr);
            assert!(!shows(&outcome, PASSWORD) && !shows(&outcome, "wrongwrong"), "{arguments:?}: {}", outcome.stderr);
        }
        for arguments in [&["doctor"][..], &["doctor", "--json"]] {
            let mut command = bare(arguments);
            command.env("REDLOCK_NODES", nodes);
            let outcome = outcome(command).await;
            assert!(outcome.code != 0 && !shows(&outcome, PASSWORD) && !shows(&outcome, "wrongwrong"), "{outcome:?}");
        }
    }
}

#[tokio::test]
async fn bad_usage_shows_no_password_either() {
    let url = format!("redis://:{PASSWORD}@127.0.0.1:1");
    let other = format!("--every={url}");
    for wrong in [
        &["run", "a", &url, "--", "true"][..],
        &["acquire", "a", &url],
        &["watch", "a", &other],
        &["run", "a", "--wait", &url, "--", "true"],
        &["run", "a", "--on-loss", &url, "--", "true"],
        &["completions", &url],
        &[&url],
    ] {
        let told = outcome(bare(wrong)).await;
        assert!(told.code == 125 && !told.stderr.is_empty() && !shows(&told, PASSWORD), "{wrong:?}: {told:?}");
    }
    assert!(outcome(bare(["--help"])).await.stdout.contains("redis://:password@"));
}

#[tokio::test]
async fn a_password_where_others_can_see_it_is_warned_of() {
    let stage = stage().await;
    let nodes = urls(&stage, PASSWORD).join(",");
    let given = outcome(bare(["run", "a", "--nodes", &nodes, "--", "true"])).await;
    assert_eq!(given.code, 0, "{}", given.stderr);
    assert!(given.stderr.contains("the password in --nodes shows in `ps`"), "{}", given.stderr);
    assert!(!shows(&given, PASSWORD));

    let file = stage.file("redlock.toml");
    fs::write(&file, format!("nodes = {:?}\n", urls(&stage, PASSWORD))).unwrap();
    for (mode, warned) in [(0o644, true), (0o640, false)] {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        let read = outcome(bare(["run", "a", "--config", file.to_str().unwrap(), "--", "true"])).await;
        assert_eq!(read.code, 0, "{}", read.stderr);
        assert_eq!(read.stderr.contains("all users can read the configuration file"), warned, "{}", read.stderr);
        assert!(!shows(&read, PASSWORD));
    }
    // Without a password there is nothing to hide.
    let plain = outcome(bare(["status", "a", "--nodes", "redis://127.0.0.1:1"])).await;
    assert!(!plain.stderr.contains("warning"), "{}", plain.stderr);
}
