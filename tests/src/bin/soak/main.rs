//! The soak: many processes acquire locks on real servers, nodes and processes fail, and a judge reads the log.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool talks on both")]

mod args;

mod stage;
mod faults;
mod crew;
mod worker;

mod log;
mod hold;
mod judge;
mod liveness;

mod report;
mod picture;

use std::process::ExitCode;

use clap::Parser as _;

use crate::args::{Args, Role};

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let ended = match &args.role {
        Some(Role::Worker(worker)) => worker::run(worker).await.map(|()| ExitCode::SUCCESS),
        None => stage::run(&args).await,
    };
    ended.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

/// Formats a duration for people: `4.1 ms`, `180 ms`, `1.02 s`, `2.5 min`.
fn readable(duration: std::time::Duration) -> String {
    let seconds = duration.as_secs_f64();
    match seconds {
        ..0.01 => format!("{:.1} ms", seconds * 1e3),
        ..1.0 => format!("{:.0} ms", seconds * 1e3),
        ..120.0 => format!("{seconds:.2} s"),
        _ => format!("{:.1} min", seconds / 60.0),
    }
}
