//! Tests that all examples read their nodes in the same way.

use std::fs;

use crate::program::Program;

#[tokio::test]
async fn an_example_without_nodes_says_what_to_set() {
    let files = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/examples")).unwrap();
    let files = files.map(|file| file.unwrap().path()).filter(|file| file.extension().is_some_and(|end| end == "rs"));
    let names: Vec<_> = files.map(|file| file.file_stem().unwrap().display().to_string()).collect();
    assert!(names.len() >= 4, "{names:?}");
    for name in names {
        let ended = Program::start_without_nodes(&name).ended().await;
        assert_eq!((ended.code, ended.lines("set REDLOCK_NODES=").len()), (Some(1), 1), "{name}: {ended:?}");
    }
}
