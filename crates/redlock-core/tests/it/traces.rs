//! The spans of a trace.

use std::time::Duration;

use redlock_core::{Redlock, testing::TokioClock};
use redlock_mock::MockNode;
use tracing_subscriber::{filter::LevelFilter, fmt::format::FmtSpan};

use crate::support::log::{Log, capture};

const TTL: Duration = Duration::from_secs(10);

#[tokio::test(start_paused = true)]
async fn each_call_has_a_span_that_contains_a_span_for_each_request_to_a_node() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_max_level(LevelFilter::DEBUG);
    let subscriber = subscriber.with_span_events(FmtSpan::CLOSE).with_writer(move || writer.clone()).finish();
    let _log = capture(subscriber);

    let nodes: Vec<_> = (1..=3).map(|host| MockNode::new(format!("10.0.0.{host}:6379"))).collect();
    nodes[2].stop();
    let redlock = Redlock::builder().nodes(nodes).clock(TokioClock::default()).build().unwrap();
    let mut lock = redlock.acquire("r", TTL).await.unwrap();
    assert!(redlock.try_acquire("r", TTL).await.unwrap().is_none());
    lock.extend(TTL).await.unwrap();
    let _ = lock.release().await.unwrap();
    redlock.close().await.unwrap();

    let text = log.text();
    let closed: Vec<_> = text.lines().filter(|line| line.contains(": close")).collect();
    let count = |words: &[&str]| closed.iter().filter(|line| words.iter().all(|word| line.contains(word))).count();
    for call in ["redlock.acquire", "redlock.extend", "redlock.release"] {
        let within = format!("{call}{{resource=\"r\"");
        let node = format!(
            "redlock.node{{otel.name=\"{call}\" otel.kind=\"client\" db.system.name=\"redis\" db.operation.name=\"{call}\" \
             server.address=\"10.0.0.1\" server.port=6379 redlock.outcome=\"done\"}}: redlock_core"
        );
        assert_eq!(count(&[&within, &node]), 1, "{call}: {text}");
        let failed = "server.address=\"10.0.0.3\" server.port=6379 redlock.outcome=\"failed\" error.type=\"unreachable\" \
             otel.status_code=\"ERROR\"}";
        // A node that nothing was sent to needs no release.
        assert_eq!(count(&[&within, failed]) >= 1, call != "redlock.release", "{call}: {text}");
    }
    assert_eq!(
        count(&["server.address=\"10.0.0.1\"", "redlock.outcome=\"refused\""]),
        2,
        "an acquire and its release: {text}"
    );
}
