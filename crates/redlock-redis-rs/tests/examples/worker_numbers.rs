//! Tests the example of processes with worker numbers of their own in their IDs.

use std::collections::BTreeSet;

use crate::{
    program::Program,
    stage::{Stage, until},
};

/// Returns the number after this name in the output of a program.
fn number(line: &str, name: &str) -> u64 {
    let digits = line.rsplit_once(&format!("{name}=")).unwrap().1;
    digits.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap()
}

#[tokio::test]
async fn workers_have_different_numbers_and_make_different_ids() {
    let stage = Stage::new().await;
    let workers: Vec<_> = (0..3).map(|_| Program::start("worker_numbers", &stage)).collect();
    let (mut numbers, mut ids) = (BTreeSet::new(), BTreeSet::new());
    for worker in &workers {
        let worker_number = number(&worker.until_said("is a worker").await, "number");
        assert!(numbers.insert(worker_number), "{worker_number} twice");
        until("it makes IDs", async || worker.said("made").len() >= 3).await;
        for line in worker.said("made") {
            let id = number(&line, "id");
            assert_eq!(id >> 12 & 1023, worker_number, "{line}");
            assert!(ids.insert(id), "{id} twice");
        }
    }
    for worker in workers {
        worker.send("TERM");
        let ended = worker.ended().await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }
    for number in numbers {
        assert_eq!(stage.tokens(&format!("{{id-workers}}:permit:{number}")).await, [""; 0]);
    }
}

#[tokio::test]
async fn a_worker_that_loses_its_number_gets_another_one() {
    let stage = Stage::new().await;
    let worker = Program::start("worker_numbers", &stage);
    let lost = number(&worker.until_said("is a worker").await, "number");
    let slot = format!("{{id-workers}}:permit:{lost}");
    stage.until_held(&slot).await;
    for server in &stage.servers {
        server.command(&["SET", &slot, "another", "PX", "60000"]).await.unwrap();
    }
    worker.until_said("has lost its number").await;
    until("it has another number", async || worker.said("is a worker").len() == 2).await;
    let numbers: BTreeSet<_> = worker.said("is a worker").iter().map(|line| number(line, "number")).collect();
    assert_eq!(numbers.len(), 2, "{numbers:?}");
    worker.send("TERM");
    assert_eq!(worker.ended().await.code, Some(0));
}
