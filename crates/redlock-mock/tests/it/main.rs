//! Tests of the mock by itself: what a node answers, what each fault does, and histories of faults.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod semantics;
mod faults;
mod connections;
mod histories;
