//! Tests the example of a job that several hosts start, and only one runs.

use crate::{program::Program, stage::Stage};

#[tokio::test]
async fn one_of_four_hosts_runs_the_job_and_the_others_are_quiet() {
    let stage = Stage::new().await;
    let host = || Program::start_with("cron_job", &stage, [("AT_LEAST", "8")]);
    let mut ran = 0;
    for host in [host(), host(), host(), host()] {
        let ended = host.ended().await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let reports = ended.lines("the report is written").len();
        assert_eq!(ended.said.len(), reports, "{ended:?}");
        ran += reports;
    }
    assert_eq!(ran, 1);
    assert_eq!(stage.tokens("report").await, [""; 0]);
}

#[tokio::test]
async fn a_late_host_finds_the_job_locked_although_it_is_done() {
    let stage = Stage::new().await;
    let host = || Program::start_with("cron_job", &stage, [("AT_LEAST", "10")]);
    let first = host();
    first.until_said("the report is written").await;
    let late = host().ended().await;
    assert_eq!((late.code, late.said.as_slice()), (Some(0), [].as_slice()));
    assert_eq!(first.ended().await.code, Some(0));
}

#[tokio::test]
async fn without_a_quorum_the_job_fails_with_a_reason() {
    let stage = Stage::new().await;
    stage.stop(2).await;
    let ended = Program::start("cron_job", &stage).ended().await;
    assert_eq!(ended.code, Some(1));
    let reasons = ended.lines("could not lock \"report\": timed out");
    assert_eq!((reasons.len(), ended.lines("the report is written").len()), (1, 0), "{ended:?}");
}
