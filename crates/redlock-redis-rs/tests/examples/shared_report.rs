//! Tests the example of a report that many may read and one may rewrite.

use std::fs;

use crate::{program::Program, stage::Stage};

#[tokio::test]
async fn no_reader_sees_half_a_report_and_readers_do_not_wait_for_each_other() {
    let stage = Stage::new().await;
    let report = std::env::temp_dir().join(format!("redlock-shared-report-{}", std::process::id()));
    fs::write(&report, "report 0\nend of 0\n").unwrap();
    let path = report.to_str().unwrap();
    let reads = || Program::start_with("shared_report", &stage, [("REPORT", path)]);
    let rewrites = || Program::start_with("shared_report", &stage, [("REPORT", path), ("REWRITE", "1")]);
    let programs = [reads(), reads(), rewrites(), reads(), rewrites(), reads()];
    let mut rewritten = 0;
    for program in programs {
        let ended = program.ended().await;
        assert_eq!((ended.code, ended.lines("read with others").len()), (Some(0), 1), "{ended:?}");
        let number = ended.lines("report ").first().unwrap().replace("report ", "");
        assert_eq!(ended.lines("end of "), [format!("end of {number}")], "{ended:?}");
        rewritten += usize::from(number != "0");
    }
    assert!(rewritten >= 2);
    assert_eq!(stage.tokens("report").await, [""; 0]);
    fs::remove_file(report).unwrap();
}
