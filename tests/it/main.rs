//! Tests on real servers that are not scenarios of the conformance suite, and tests of the servers themselves.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may panic")]

mod servers;

mod swap;
mod blocking;
mod cluster;
mod cluster_failures;
mod sentinel;
mod sentinel_failures;
mod tls;
mod interop;
mod clock;
mod differential;

mod fenced_stores;
mod fenced_story;
