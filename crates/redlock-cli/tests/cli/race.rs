//! Hosts that race for one job.

use tokio::{process::Child, task::JoinSet};

use crate::stage::{Stage, finished, outcome, send_to};

/// Runs a crontab's line on one host.
fn cron(stage: &Stage, minute: &str, log: &str) -> Child {
    let script = format!("echo ran >> {minute}");
    // This many hosts at the same time make a machine slow, and late nodes are not part of this race.
    let run =
        ["run", minute, "--ttl", "15s", "--node-timeout", "2s", "--try", "--at-least", "30s", "-E", "0", "-q", "-v"];
    stage.redlock([&run[..], &["--", "sh", "-c", &script]].concat()).stderr(stage.log(log)).spawn().unwrap()
}

/// Starts the same job on this many hosts at the same time. The host that runs it holds the lock until all others have
/// skipped it.
async fn race(stage: &Stage, hosts: usize, minute: &str) {
    let (mut running, mut pids) = (JoinSet::new(), Vec::new());
    for number in 0..hosts {
        let log = format!("{minute}-{number}");
        let host = cron(stage, minute, &log);
        let pid = host.id().unwrap();
        pids.push((pid, log.clone()));
        running.spawn(async move { (pid, log, finished(host).await) });
    }
    while let Some(host) = running.join_next().await {
        let (pid, log, host) = host.unwrap();
        let log = stage.read(&log);
        assert!(host.code == 0 && !log.contains("warning"), "{}: {log}", host.code);
        pids.retain(|(other, _)| *other != pid);
        if let [(last, log)] = &pids[..] {
            stage.until_said(log, "the lock is held for").await;
            send_to(*last, "TERM");
        }
    }
    assert_eq!(stage.read(minute), "ran\n", "{minute}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_hosts_exactly_one_runs_a_cron_minute() {
    let stage = Stage::new(3).await;
    for minute in 0..12 {
        race(&stage, 2, &format!("minute-{minute}")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn five_hosts_tie_and_one_runs_all_the_same() {
    let stage = Stage::new(5).await;
    for minute in 0..4 {
        race(&stage, 5, &format!("minute-{minute}")).await;
    }
}

#[tokio::test]
async fn where_nobody_has_it_those_who_try_ask_again() {
    let stage = Stage::new(3).await;
    // This is the state while two hosts tie: no quorum holds the same token, and no node is free.
    for (server, token) in [(0, "one"), (1, "other")] {
        stage.servers[server].command(&["SET", "a", token, "PX", "900"]).await.unwrap();
    }
    let tried = outcome(stage.attempt("a", &[], &["echo", "ran"])).await;
    assert_eq!((tried.code, tried.stdout.as_str()), (0, "ran\n"), "{}", tried.stderr);
}
