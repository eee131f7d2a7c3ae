//! The benches: this library, its peers and the bare commands, side by side on real servers.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool talks on both")]

mod args;

mod contender;
mod library;
mod libraries;

mod clock;
mod contention;
mod holds;
mod statistics;

mod run;
mod stage;
mod monitor;
mod rounds;
mod progress;
mod workloads;
mod child;

mod results;
mod machine;
mod table;
mod html;
mod chart;

use std::process::ExitCode;

use clap::Parser as _;

use crate::args::{Args, Role};

fn main() -> ExitCode {
    let args = Args::parse();
    let ended = match &args.role {
        Some(Role::Child(child)) => child::run(child),
        None => run::run(&args),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
