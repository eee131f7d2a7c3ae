//! `redlock`: a command under a distributed lock, and what operators and scripts need beside it.

#[cfg(not(unix))]
compile_error!("redlock needs signals and process groups: build it for a Unix");

mod args;
mod exit;

mod run;
mod doctor;
mod status;
mod watch;
mod hold;
mod force;
mod pages;

mod fleet;
mod config;

mod attempt;
mod say;
mod paint;
mod secret;
mod failure;

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use clap::{Parser as _, error::ErrorKind};

use crate::{
    args::{Cli, Task},
    exit::Exit,
    failure::Failure,
    say::Say,
};

// One thread: the command is this thread's child, and signals, the lock and the clock are looked at in turn.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(answer) => {
            // Asked-for help is no failure. That nobody reads it is none either.
            let _ = match answer.kind() {
                ErrorKind::UnknownArgument
                | ErrorKind::InvalidSubcommand
                | ErrorKind::InvalidValue
                | ErrorKind::ValueValidation => {
                    // It tells the word that is wrong, which may be a URL in a wrong place.
                    write!(io::stderr(), "{}", secret::hidden(&answer.render().to_string()))
                }
                _ => answer.print(),
            };
            return if answer.use_stderr() { Exit::FAILED } else { Exit::SUCCESS }.into();
        }
    };
    let say = Say::new(cli.json, cli.verbose);
    say.log();
    perform(cli, &say).await.unwrap_or_else(|failure| say.failure(&failure)).into()
}

async fn perform(cli: Cli, say: &Say) -> Result<Exit, Failure> {
    match cli.task {
        // On the heap: the runs of all tasks would share one large frame otherwise.
        Task::Run(args) => Box::pin(run::run(args, say)).await,
        Task::Doctor(args) => Box::pin(doctor::run(&args, say)).await,
        Task::Status(args) => Box::pin(status::run(&args, say)).await,
        Task::Watch(args) => Box::pin(watch::run(&args, say)).await,
        Task::Acquire(args) => Box::pin(hold::acquire(args, say)).await,
        Task::Extend(args) => Box::pin(hold::extend(&args, say)).await,
        Task::Release(args) if args.force => Box::pin(force::release(&args, say)).await,
        Task::Release(args) => Box::pin(hold::release(&args, say)).await,
        #[cfg(feature = "demo")]
        Task::Demo(_) if say.is_json() => {
            Err(Failure::new(Exit::FAILED, "the demo is for people and tells nothing as JSON: leave out `--json`"))
        }
        // It has threads of its own.
        #[cfg(feature = "demo")]
        Task::Demo(args) => {
            let shown = tokio::task::spawn_blocking(|| redlock_demo::run(args)).await;
            shown.map(Exit).map_err(|error| Failure::of(&error))
        }
        Task::Completions { shell } => pages::completions(shell),
        Task::Backstop => Ok(run::backstop()),
        Task::Man { task } => pages::manual(task.as_deref()),
    }
}
