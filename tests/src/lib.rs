//! The shared parts of the workspace's tests: the backends, the one list of scenarios, and real servers that can be
//! paused, stopped and started.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a scenario that panics is a test that fails"
)]
#![expect(
    clippy::print_stderr,
    reason = "the progress of a long pull is printed on stderr, where the test runner shows it at once"
)]

pub mod backend;
pub mod fenced_stores;
pub mod fenced_story;
pub mod lab;
pub mod log;
pub mod scenarios;
pub mod servers;

/// The README's examples, compiled, and run if they need no servers.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
