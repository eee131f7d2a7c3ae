//! `redlock`: runs a command under a distributed lock, and has further commands for operators and scripts.

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
#[cfg(feature = "demo")]
mod demo;

mod fleet;
mod tls;
mod config;

mod attempt;
mod close;
mod say;
mod stderr;
mod paint;
mod table;
mod secret;
mod failure;

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use clap::{Parser as _, error::ErrorKind};
use tokio::{runtime::Builder, select};
#[cfg(feature = "demo")]
use tokio::{
    signal::unix::{SignalKind, signal},
    task::spawn_blocking,
};

use crate::{
    args::{Cli, Task},
    exit::Exit,
    failure::Failure,
    run::Signals,
    say::Say,
};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(answer) => {
            // Requested help is not a failure. Neither is a reader that is gone.
            let _ = match answer.kind() {
                ErrorKind::UnknownArgument
                | ErrorKind::InvalidSubcommand
                | ErrorKind::InvalidValue
                | ErrorKind::ValueValidation => {
                    // It contains the wrong word, which may be a URL in the wrong place.
                    write!(io::stderr(), "{}", secret::hidden(&answer.render().to_string()))
                }
                _ => answer.print(),
            };
            return if answer.use_stderr() { Exit::FAILED } else { Exit::SUCCESS }.into();
        }
    };
    let say = Say::new(cli.json, cli.verbose);
    say.log();
    let exit = work(cli, &say).unwrap_or_else(|failure| say.failure(&failure));
    say.flush();
    exit.into()
}

fn work(cli: Cli, say: &Say) -> Result<Exit, Failure> {
    // One thread: the command is this thread's child, and signals, the lock and the clock are checked in turn.
    let runtime = Builder::new_current_thread().enable_all().build().map_err(|error| Failure::of(&error))?;
    let done = runtime.block_on(perform(cli, say));
    // A name server that hangs, or a reader that is stalled, must not delay the end.
    runtime.shutdown_background();
    done
}

async fn perform(cli: Cli, say: &Say) -> Result<Exit, Failure> {
    match cli.task {
        // These handle signals themselves. Boxed, because all tasks would share one large frame otherwise.
        Task::Run(args) => Box::pin(run::run(args, say)).await,
        Task::Acquire(args) => Box::pin(hold::acquire(args, say)).await,
        Task::Watch(args) => Box::pin(watch::run(&args, say)).await,
        Task::Backstop => Ok(run::backstop()),
        // It has threads of its own, and handles Ctrl-C.
        #[cfg(feature = "demo")]
        Task::Demo(args) => show_demo(args, say).await,
        Task::Doctor(args) => until_signal(doctor::run(&args, say)).await,
        Task::Status(args) => until_signal(status::run(&args, say)).await,
        Task::Extend(args) => until_signal(hold::extend(&args, say)).await,
        Task::Release(args) if args.force => until_signal(force::release(&args, say)).await,
        Task::Release(args) => until_signal(hold::release(&args, say)).await,
        Task::Completions { shell } => until_signal(pages::completions(shell)).await,
        Task::Man { task } => until_signal(pages::manual(task.as_deref())).await,
    }
}

/// Runs this unless a signal comes first. Without a handler, a process with the ID 1 would not get the signal.
async fn until_signal(task: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    let mut signals = Signals::listen().map_err(|error| Failure::of(&error))?;
    select! {
        biased;
        done = Box::pin(task) => done,
        signal = signals.next() => Ok(Exit::of_signal(signal.as_raw())),
    }
}

#[cfg(feature = "demo")]
async fn show_demo(args: demo::Args, say: &Say) -> Result<Exit, Failure> {
    if say.is_json() {
        return Err(Failure::new(Exit::FAILED, "the demo is for people and has no JSON output: leave out `--json`"));
    }
    let terminate = SignalKind::terminate();
    let mut terminated = signal(terminate).map_err(|error| Failure::of(&error))?;
    select! {
        shown = spawn_blocking(|| demo::run(args)) => shown.map(Exit).map_err(|error| Failure::of(&error)),
        _ = terminated.recv() => Ok(Exit::of_signal(terminate.as_raw_value())),
    }
}
