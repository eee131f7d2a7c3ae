//! `redlock run --permits`: a command in up to N places at the same time.

use serde_json::Value;

use crate::stage::{Stage, finished, outcome};

#[tokio::test]
async fn as_many_commands_run_as_there_are_permits_each_with_a_slot_of_its_own() {
    let stage = Stage::new(3).await;
    let mut holders = Vec::new();
    for number in 0..2 {
        let script = format!("echo $REDLOCK_SLOT > {number}; sleep 60");
        let options = ["--permits", "2", "--owner", "web-3"];
        holders.push(stage.run("jobs", &options, &["sh", "-c", &script]).kill_on_drop(true).spawn().unwrap());
        stage.until_written(&number.to_string()).await;
    }
    let mut slots = [stage.read("0"), stage.read("1")].map(|slot| slot.trim().to_owned());
    slots.sort();
    assert_eq!(slots, ["0", "1"]);

    let refused = outcome(stage.run("jobs", &["--permits", "2", "--try"], &["true"])).await;
    assert_eq!(refused.code, 120, "{refused:?}");
    assert!(refused.stderr.contains("2 of 2 permits of \"jobs\" are held"), "{refused:?}");
    let mistaken = outcome(stage.run("jobs", &["--permits", "3", "--try"], &["true"])).await;
    assert_eq!(mistaken.code, 125, "{mistaken:?}");
    assert!(mistaken.stderr.contains("the permits of \"jobs\" are 2, not 3"), "{mistaken:?}");

    for words in [vec!["status", "jobs"], vec!["status"]] {
        let status = outcome(stage.redlock(words)).await;
        assert_eq!(status.code, 0, "{status:?}");
        assert!(status.stdout.contains("2 of 2 permits of \"jobs\" are held\n  slot 0"), "{status:?}");
        assert!(status.stdout.matches("of \"web-3\"").count() == 2 && !status.stdout.contains("is free"), "{status:?}");
    }
    let report = outcome(stage.redlock(["status", "--json", "jobs"])).await;
    let report: Value = serde_json::from_str(&report.stdout).unwrap();
    let permits = &report["permits"][0];
    assert_eq!((&permits["permits"], &permits["held"]), (&Value::from(2), &Value::from(2)), "{report}");
    assert_eq!(permits["holders"][1]["owner"], "web-3", "{report}");
    drop(holders);
}

#[tokio::test]
async fn a_command_releases_its_permit_and_a_lock_has_no_slot() {
    let stage = Stage::new(3).await;
    for _ in 0..3 {
        let ran = stage.run_script("jobs", &["--permits", "1"], "echo slot $REDLOCK_SLOT").spawn().unwrap();
        let ran = finished(ran).await;
        assert_eq!((ran.code, ran.stdout.as_str()), (0, "slot 0\n"), "{ran:?}");
    }
    let mut lock = stage.run_script("jobs", &[], "echo slot $REDLOCK_SLOT");
    let lock = outcome({
        lock.env("REDLOCK_SLOT", "of a lock around it");
        lock
    })
    .await;
    assert_eq!((lock.code, lock.stdout.as_str()), (0, "slot\n"), "{lock:?}");
    let status = outcome(stage.redlock(["status", "jobs"])).await;
    assert!(status.code == 1 && status.stdout.contains("\"jobs\" is free"), "{status:?}");
}
