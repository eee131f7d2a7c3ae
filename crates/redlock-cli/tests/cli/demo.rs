//! `redlock demo`, which needs no nodes.

use crate::stage::{bare, outcome};

#[tokio::test]
async fn the_demo_shows_a_lock_that_holds_on_nodes_in_memory() {
    let told = outcome(bare(["demo", "--seconds", "2"])).await;
    assert_eq!(told.code, 0, "{told:?}");
    assert!(told.stdout.contains("critical sections"), "{told:?}");
    let told = outcome(bare(["demo", "--help"])).await;
    assert!(told.code == 0 && told.stdout.contains("Usage: redlock demo [OPTIONS]"), "{told:?}");
    let told = outcome(bare(["demo", "--rolling-restart", "--nodes", "redis://a"])).await;
    assert!(told.code == 2 && told.stderr.contains("must not be harmed"), "{told:?}");
    let told = outcome(bare(["demo", "--json"])).await;
    assert!(told.code == 125 && told.stdout.is_empty() && told.stderr.contains("leave out `--json`"), "{told:?}");
}
