//! What is logged. Alone in its process: a subscriber sees only the events that nobody without one has met before.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    io::Write,
    sync::{Arc, Mutex},
    time::Duration,
};

use redlock_core::{Redlock, TokioClock};
use redlock_mock::{Memory, MockNode};

const TTL: Duration = Duration::from_secs(10);

#[tokio::test(start_paused = true)]
async fn a_node_that_fails_is_told_once_and_again_when_it_is_back() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _log = tracing::subscriber::set_default(subscriber);

    let nodes = MockNode::fleet(3);
    let builder = Redlock::builder().nodes(nodes.clone()).clock(TokioClock::default());
    let redlock = builder.build().unwrap();
    nodes[2].stop();
    for _ in 0..5 {
        redlock.acquire("line\nbreak", TTL).await.unwrap().release().await.unwrap();
    }
    nodes[2].start(Memory::Lost);
    drop(redlock.acquire("line\nbreak", TTL).await.unwrap());
    redlock.close().await.unwrap();

    let text = log.text();
    let count = |needle: &str| text.matches(needle).count();
    assert_eq!(count("node fails, a quorum must do without it"), 1, "{text}");
    assert_eq!(count("node answers again"), 1, "{text}");
    assert_eq!(count("node-3"), 2, "{text}");
    // No name can forge a line of its own.
    assert!(text.contains(r#"redlock.acquire{resource="line\nbreak" ttl_ms=10000"#), "{text}");
    assert!(text.lines().all(|line| line.contains("redlock_core")), "{text}");

    // Of a key that is no lock each request is told, and its node is not taken for a failing one.
    nodes[2].set_list("line\nbreak");
    for _ in 0..2 {
        redlock.acquire("line\nbreak", TTL).await.unwrap().release().await.unwrap();
    }
    redlock.close().await.unwrap();
    let more = log.text().split_off(text.len());
    assert_eq!(more.matches("a key is not a lock").count(), 4, "{more}");
    assert!(!more.contains("node fails") && !more.contains("node answers again"), "{more}");
}

#[derive(Debug, Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Log {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
