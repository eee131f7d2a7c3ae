//! The examples as they are run: the real programs, on real Redis servers.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod stage;
mod program;
mod http;

mod axum_handler;
mod cron_job;
mod leader;
mod shared_report;
mod graceful_shutdown;
mod observability;
mod nodes;
