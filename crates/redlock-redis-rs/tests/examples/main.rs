//! Tests of the examples, run as real programs on real Redis servers.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod stage;
mod program;
mod http;

mod axum_handler;
mod cron_job;
mod leader;
mod worker_numbers;
mod shared_report;
mod graceful_shutdown;
mod observability;
mod nodes;
