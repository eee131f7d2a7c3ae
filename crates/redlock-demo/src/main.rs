//! The demo as a program of its own, for `cargo xtask demo`.

use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _};
use redlock_demo::Args;

fn main() -> ExitCode {
    let command = Args::command().bin_name("cargo xtask demo");
    match Args::from_arg_matches(&command.get_matches()) {
        Ok(args) => redlock_demo::run(args).into(),
        Err(error) => error.exit(),
    }
}
