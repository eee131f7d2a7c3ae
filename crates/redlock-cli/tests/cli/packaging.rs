//! Follows the files in `packaging/` as they are: the unit for systemd, the job for Kubernetes, the file for Compose.

use std::{fs, path::PathBuf};

use tokio::process::Command;

use crate::stage::{Stage, bare, finished, outcome, send};

/// The job in all of these files.
const JOB: &str = "/usr/local/bin/report";

fn packaged(name: &str) -> String {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("packaging").join(name);
    fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// Returns the value of this key, which occurs once.
fn setting<'a>(text: &'a str, key: &str) -> &'a str {
    let settings: Vec<_> = text.lines().filter_map(|line| line.trim().strip_prefix(key)).collect();
    assert!(settings.len() == 1, "{key}: {settings:?}");
    settings[0].trim()
}

/// Returns a list of words in the syntax of JSON, which both YAML formats here use.
fn words(text: &str, key: &str) -> Vec<String> {
    serde_json::from_str(setting(text, key)).unwrap()
}

/// Returns the program with these arguments, and this script as its job.
fn with_job(stage: &Stage, arguments: &[String], script: &str) -> Command {
    let job = stage.file("report");
    fs::write(&job, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&job, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    assert!(arguments.iter().any(|word| word == JOB), "{arguments:?}");
    let word = |word: &String| if word == JOB { job.display().to_string() } else { word.clone() };
    stage.redlock(arguments.iter().map(word))
}

/// Checks that the job runs on one of two hosts, and that a stop ends it: SIGTERM for the first process only.
async fn runs_and_stops(arguments: &[String], grace: u64) {
    // The command has its own time to end; the processes that it leaves behind get 2 s, and the release one second.
    assert!(grace >= 10, "{grace}");
    let stage = Stage::new(3).await;
    let script = "trap 'echo stopped >> told; exit 143' TERM; echo ran > told; while :; do sleep 0.02; done";
    let child = with_job(&stage, arguments, script).spawn().unwrap();
    stage.until_written("told").await;
    stage.until_held("report").await;
    let skipped = outcome(with_job(&stage, arguments, "echo ran twice")).await;
    assert_eq!((skipped.code, skipped.stdout.as_str()), (0, ""), "{}", skipped.stderr);
    send(&child, "TERM");
    assert_eq!(finished(child).await.code, 143);
    assert_eq!(stage.read("told"), "ran\nstopped\n");
}

#[tokio::test]
async fn the_unit_for_systemd_runs_the_job_on_one_host_and_stops_it_once() {
    let unit = packaged("report.service");
    assert_eq!(setting(&unit, "KillMode="), "mixed");
    assert_eq!(setting(&unit, "EnvironmentFile="), "/etc/redlock.env");
    let line: Vec<_> = setting(&unit, "ExecStart=").split_whitespace().map(str::to_owned).collect();
    assert_eq!(line[0], "/usr/bin/redlock");
    runs_and_stops(&line[1..], setting(&unit, "TimeoutStopSec=").parse().unwrap()).await;
    let timer = packaged("report.timer");
    assert_eq!(setting(&timer, "OnCalendar="), "minutely");
}

#[tokio::test]
async fn the_job_for_kubernetes_runs_on_one_cluster_and_is_not_repeated() {
    let job = packaged("cronjob.yaml");
    assert_eq!((setting(&job, "restartPolicy:"), setting(&job, "backoffLimit:")), ("Never", "0"));
    assert_eq!(words(&job, "command:"), ["redlock"]);
    let grace = setting(&job, "terminationGracePeriodSeconds:").parse().unwrap();
    runs_and_stops(&words(&job, "args:"), grace).await;
}

#[tokio::test]
async fn compose_starts_the_three_servers_that_redlock_uses() {
    let file = packaged("compose.yaml");
    for node in setting(&file, "REDLOCK_NODES:").split(',') {
        let service = node.strip_prefix("redis://").unwrap();
        assert!(file.lines().any(|line| line.trim().starts_with(&format!("{service}:"))), "{service}");
    }
    // Its comment shows how to try it.
    let tried = file.lines().filter_map(|line| line.split_once("compose run --rm redlock "));
    let stage = Stage::new(3).await;
    let mut count = 0;
    for (_, arguments) in tried {
        let arguments = arguments
            .split_whitespace()
            .map(|word| if word == "redlock" { crate::stage::program() } else { word.to_owned() });
        let told = outcome(stage.redlock(arguments)).await;
        assert!(told.code <= 1, "{}", told.stderr);
        count += 1;
    }
    assert_eq!(count, 2);
}

#[tokio::test]
async fn what_is_installed_is_the_version_of_these_files() {
    let told = outcome(bare(["--version"])).await;
    assert_eq!(told.stdout, format!("redlock {}\n", env!("CARGO_PKG_VERSION")));
    let image = format!("redlock:{}", env!("CARGO_PKG_VERSION"));
    assert!(packaged("Dockerfile").contains(&image) && packaged("compose.yaml").contains(&image), "{image}");
}
