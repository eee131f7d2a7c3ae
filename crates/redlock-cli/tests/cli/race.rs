//! Hosts that race for one job.

use std::time::Duration;

use tokio::{process::Child, task::JoinSet};

use crate::stage::{Stage, finished, outcome};

/// A crontab's line, on one host.
fn cron(stage: &Stage, minute: &str) -> Child {
    let script = format!("echo ran >> {minute}");
    // So many at once make a machine slow: that a node is late is no part of this race.
    let run = ["run", minute, "--ttl", "15s", "--node-timeout", "2s", "--try", "--at-least", "20s", "-E", "0", "-q"];
    stage.redlock([&run[..], &["--", "sh", "-c", &script]].concat()).spawn().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_hosts_exactly_one_runs_a_cron_minute() {
    let stage = Stage::new(3).await;
    for minute in 0..12 {
        let minute = format!("minute-{minute}");
        let mut hosts = JoinSet::new();
        for _ in 0..2 {
            hosts.spawn(finished(cron(&stage, &minute)));
        }
        while let Some(host) = hosts.join_next().await {
            let host = host.unwrap();
            assert_eq!((host.code, host.stderr.as_str()), (0, ""));
        }
        assert_eq!(stage.read(&minute), "ran\n", "{minute}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn five_hosts_tie_and_one_runs_all_the_same() {
    let stage = Stage::new(5).await;
    for minute in 0..4 {
        let minute = format!("minute-{minute}");
        let mut hosts = JoinSet::new();
        for _ in 0..5 {
            hosts.spawn(finished(cron(&stage, &minute)));
        }
        while let Some(host) = hosts.join_next().await {
            let host = host.unwrap();
            assert_eq!((host.code, host.stderr.as_str()), (0, ""));
        }
        assert_eq!(stage.read(&minute), "ran\n", "{minute}");
    }
}

#[tokio::test]
async fn a_host_whose_clock_is_late_does_not_run_the_minute_again() {
    let stage = Stage::new(3).await;
    let at_least = ["--try", "--at-least", "6s"];
    let first = outcome(stage.run_script("minute", &at_least, "echo ran >> minute; exit 3")).await;
    // Its exit code is told at once: redlock does not wait for the six seconds.
    assert_eq!(first.code, 3, "{}", first.stderr);
    assert_eq!(stage.holding("minute").await, 3);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let late = outcome(stage.run_script("minute", &at_least, "echo ran >> minute")).await;
    assert_eq!((late.code, stage.read("minute").as_str()), (120, "ran\n"));
    // The next minute is another's as well as the first one's.
    stage.until_free("minute").await;
    assert_eq!(outcome(stage.attempt("minute", &[], &["true"])).await.code, 0);
}

#[tokio::test]
async fn where_nobody_has_it_those_who_try_ask_again() {
    let stage = Stage::new(3).await;
    // As two that ask at the same moment leave it for a moment: no quorum holds one token, and none is free.
    for (server, token) in [(0, "one"), (1, "other")] {
        stage.servers[server].command(&["SET", "a", token, "PX", "900"]).await.unwrap();
    }
    let tried = outcome(stage.attempt("a", &[], &["echo", "ran"])).await;
    assert_eq!((tried.code, tried.stdout.as_str()), (0, "ran\n"), "{}", tried.stderr);
}
