//! The tests of the whole crate in one program: the driver on nodes of the mock, nearly always in virtual time.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod support;

// A lock from its acquire to its release.
mod promises;
mod time;
mod answers;
mod waiting;
mod cancel;
mod owed;
mod bounds;
mod using;
mod shared;
mod auto_extend;
mod hand_over;
mod lead;
mod named;
mod permits;
#[cfg(feature = "blocking")]
mod blocking;

// Nodes that restart, clocks that jump, and everything else that broke other implementations.
mod fencing;
mod restart_guard;
mod clock;
mod slots;
mod clusters;
mod regressions;

// Views for operators.
mod inspect;
mod lasting;
mod check;
mod observer;
mod observer_alarms;
#[cfg(feature = "metrics")]
mod metrics;
mod log;
mod traces;

// A node over any Redis client.
mod backend_connection;
mod backend_cluster;
mod backend_node;
mod backend_facts;
mod backend_listing;

// The numbers in the guide.
mod guide;

// Every order of messages.
mod model;
mod fencing_model;
