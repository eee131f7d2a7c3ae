//! The log lines of the driver.

use std::time::Duration;

use redlock_core::{Redlock, testing::TokioClock};
use redlock_mock::{Memory, MockNode};

use crate::support::log::{Log, capture};

const TTL: Duration = Duration::from_secs(10);

#[tokio::test(start_paused = true)]
async fn a_node_that_fails_is_logged_once_and_once_more_when_it_recovers() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _log = capture(subscriber);

    let nodes = MockNode::fleet(3);
    let builder = Redlock::builder().nodes(nodes.clone()).clock(TokioClock::default());
    let redlock = builder.build().unwrap();
    nodes[2].stop();
    for _ in 0..5 {
        let _ = redlock.acquire("line\nbreak", TTL).await.unwrap().release().await.unwrap();
    }
    nodes[2].start(Memory::Lost);
    drop(redlock.acquire("line\nbreak", TTL).await.unwrap());
    redlock.close().await.unwrap();

    let text = log.text();
    let count = |needle: &str| text.matches(needle).count();
    assert_eq!(count("node fails, a quorum must do without it"), 1, "{text}");
    assert_eq!(count("node answers again"), 1, "{text}");
    assert_eq!(count("node-3"), 2, "{text}");
    // No name can forge a log line.
    assert!(text.contains(r#"redlock.acquire{resource="line\nbreak" ttl_ms=10000"#), "{text}");
    assert!(text.lines().all(|line| line.contains("redlock_core")), "{text}");

    // Every request for a key that is not a lock is logged, but its node does not count as failing.
    nodes[2].set_list("line\nbreak");
    for _ in 0..2 {
        let _ = redlock.acquire("line\nbreak", TTL).await.unwrap().release().await.unwrap();
    }
    redlock.close().await.unwrap();
    let more = log.text().split_off(text.len());
    assert_eq!(more.matches("a key is not a lock").count(), 4, "{more}");
    assert!(!more.contains("node fails") && !more.contains("node answers again"), "{more}");
}
