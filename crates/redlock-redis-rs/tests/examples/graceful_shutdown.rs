//! Tests the example of a queue consumer that shuts down gracefully.

use crate::{program::Program, stage::Stage};

#[tokio::test]
async fn on_sigterm_the_current_order_is_finished_and_no_other_is_begun() {
    let stage = Stage::new().await;
    let consumer = Program::start("graceful_shutdown", &stage);
    consumer.until_said("is being packed order=0").await;
    consumer.send("TERM");
    let ended = consumer.ended().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(ended.lines("is handed to the carrier order=0").len(), 1, "{ended:?}");
    assert_eq!(ended.lines("is being packed").len(), 1, "{ended:?}");
    assert_eq!(stage.tokens("order:0").await, [""; 0]);
}
