//! The arguments of `redlock run`.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};
use redlock_core::Owner;

use super::{FleetArgs, parse};

/// Run a command under a lock.
///
/// Acquires the lock, runs the command with the standard input, output and error of redlock, extends the lock while the
/// command runs, and releases it. If the lock cannot be extended, redlock ends the command while the lock is still
/// valid: SIGTERM a grace time before the validity ends, SIGKILL before it does. So no two hosts run it at the same
/// time.
///
/// The command's environment contains REDLOCK_RESOURCE, REDLOCK_TOKEN (a secret: a process that knows it can release
/// the lock), REDLOCK_VALID_UNTIL (the second since 1970 until which the lock is valid if it is never extended), with
/// --fencing REDLOCK_FENCING_TOKEN, and with --permits REDLOCK_SLOT.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct RunArgs {
    /// The name of the lock.
    pub(crate) name: String,

    #[command(flatten)]
    pub(crate) take: TakeArgs,

    /// Share the lock with other readers: any number of commands run at the same time with --shared, and none without
    /// it next to them, like `flock -s`. [default: an exclusive lock]
    #[arg(short = 's', long, conflicts_with_all = ["fencing", "permits"])]
    pub(crate) shared: bool,

    /// Run the command in up to this many places at the same time: get one of N permits instead of the lock.
    /// [default: one lock]
    ///
    /// Everybody who uses this name must use the same number, 1 to 4096. The command's environment then contains
    /// REDLOCK_SLOT, a number from 0 to N-1 that no other holder has.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub(crate) permits: Option<u32>,

    /// Hold the lock until this time after it was acquired, even if the command ends sooner. [default: 0s]
    ///
    /// For a cron job on several hosts: without it, a short job would end on one host before the clock of another host
    /// starts the same job again. If the command ends sooner, redlock waits and then releases the lock. A signal that
    /// ends redlock (SIGTERM, SIGINT, SIGHUP, SIGQUIT) also ends this wait. Then nothing releases the lock: it expires
    /// when the time is over, or up to one TTL after the signal if that is later.
    #[arg(long, value_name = "TIME", value_parser = parse::duration)]
    pub(crate) at_least: Option<Duration>,

    /// Wait for a random time up to this before requesting the lock, so that jobs of many hosts do not all start in the
    /// same second. [default: 0s]
    #[arg(long, value_name = "TIME", value_parser = parse::duration)]
    pub(crate) jitter: Option<Duration>,

    /// Add this run to counters in a file, for the textfile collector of the Prometheus node exporter. The name of the
    /// file has to end with `.prom`. [default: none]
    #[arg(long, value_name = "FILE")]
    pub(crate) metrics_file: Option<PathBuf>,

    /// The longest time to hold the lock. The command is ended by then; with `--on-loss warn` it continues without the
    /// lock.
    /// [default: no limit]
    #[arg(long, value_name = "TIME", value_parser = parse::duration)]
    pub(crate) max_lifetime: Option<Duration>,

    /// How a lost lock affects the command.
    #[arg(long, value_enum, value_name = "WHAT", default_value_t)]
    pub(crate) on_loss: OnLoss,

    /// The time between SIGTERM and SIGKILL, when the lock cannot be extended. At most half the TTL less the margin of
    /// SIGKILL. [default: a sixth of the TTL, at most 10s]
    ///
    /// SIGKILL is sent a tenth of the TTL before the validity ends; not less than 100ms, not more than 1s.
    #[arg(long, value_name = "TIME", value_parser = parse::duration)]
    pub(crate) grace: Option<Duration>,

    /// Leave the command in redlock's own process group, so that it can read from the terminal. Then only the command
    /// gets signals, not the processes that it started, like timeout(1). [default: a process group of its own]
    #[arg(long)]
    pub(crate) foreground: bool,

    /// The exit code if another holder has the lock. Use 0 if that is not a failure, for example in a cron job on
    /// several hosts.
    #[arg(short = 'E', long, value_name = "CODE", default_value_t = 120)]
    pub(crate) conflict_exit_code: u8,

    /// Print nothing if another holder has the lock. [default: a line on standard error]
    #[arg(short, long)]
    pub(crate) quiet: bool,

    #[command(flatten)]
    pub(crate) fleet: FleetArgs,

    /// The command and its arguments. Options of redlock come before it. If it could be taken for one, put `--` before
    /// it.
    #[arg(required = true, trailing_var_arg = true, value_name = "CMD")]
    pub(crate) command: Vec<OsString>,
}

/// How a lock is acquired.
#[derive(Debug, Args)]
pub(crate) struct TakeArgs {
    /// The time after which the nodes delete the lock if nobody extends it, for example because this host has crashed.
    /// For `run`, at least 1s.
    #[arg(long, value_name = "TIME", value_parser = parse::duration, default_value = "30s")]
    pub(crate) ttl: Duration,

    /// How long to wait while another holder has the lock, or nodes fail; 0s is the same as --try. [default: forever]
    #[arg(long, value_name = "TIME", value_parser = parse::duration)]
    pub(crate) wait: Option<Duration>,

    /// Do not wait if another holder has the lock. [default: wait]
    ///
    /// If several hosts try at the same moment and none gets a majority, they retry until one of them has the lock.
    #[arg(long = "try", conflicts_with = "wait")]
    pub(crate) once: bool,

    /// Get a fencing token: a number that grows with each holder of this name. [default: none]
    ///
    /// Everybody who locks this name must use --fencing. The storage has to refuse writes with a number below the
    /// greatest number that it has seen.
    #[arg(long)]
    pub(crate) fencing: bool,

    /// The owner of the lock, for `redlock status`: up to 64 printable bytes.
    /// [default: the file's, or host and process ID]
    #[arg(long, value_name = "TEXT", value_parser = parse::owner)]
    pub(crate) owner: Option<Owner>,
}

/// How a lost lock affects the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum OnLoss {
    /// It is ended, before the validity of the lock ends.
    #[default]
    Kill,
    /// It continues without the lock, and redlock prints a warning.
    Warn,
}

const AFTER_HELP: &str = "\
Examples:
  redlock run migrate --wait 10m -- ./migrate up
  redlock run nightly --try --at-least 50s -E 0 -q -- /usr/local/bin/report     in the crontab of five hosts
  redlock run import --fencing -- sh -c 'load --fence \"$REDLOCK_FENCING_TOKEN\"'
  redlock run reports --permits 5 -- ./report
  redlock run report --shared -- ./read-report
  redlock run shell --foreground -- bash

Exit codes:
  0..  that of the command
  120  another holder has the lock; the command did not run (-E sets another code)
  121  the lock was lost: the command was ended, did not run, or may have overlapped with that of another holder
  122  too few nodes answered; the command did not run
  123  the lock was lost, and redlock was not permitted to end the command (it runs as another user)
  124  --max-lifetime was over: the command was ended
  125  bad usage, or redlock itself failed; the command did not run
  126  the command cannot be executed
  127  the command was not found
  128+N  signal N ended the command, or redlock while it waited

Signals: redlock forwards SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2 and SIGWINCH to the command, except those that
the terminal has already sent to it. Signals that are ignored when redlock starts stay ignored, as under nohup. If redlock is
stopped by SIGTSTP (Ctrl-Z), so is the command; it continues only if the lock is still valid then.

When the command ends, redlock also ends the processes that are left in its process group, because they would run without
the lock. Processes that left the group keep running: redlock names them. If redlock itself is killed, or is stopped until
the validity ends, a second process kills the command. A command in a process group of its own is stopped when it reads from
the terminal (SIGTTIN): use --foreground.";

#[cfg(test)]
mod tests {
    use clap::{Parser as _, error::ErrorKind};

    use super::*;
    use crate::args::{Cli, Task};

    fn parse(words: &str) -> Result<RunArgs, ErrorKind> {
        match Cli::try_parse_from(["redlock", "run"].into_iter().chain(words.split(' '))) {
            Ok(Cli { task: Task::Run(args), .. }) => Ok(args),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error.kind()),
        }
    }

    #[test]
    fn a_name_and_a_command_are_enough() {
        let args = parse("a -- true").unwrap();
        assert_eq!((args.name.as_str(), args.command.as_slice()), ("a", &["true".into()][..]));
        assert_eq!((args.take.ttl, args.take.wait), (Duration::from_secs(30), None));
        assert!(!args.take.once && !args.take.fencing && !args.foreground && !args.quiet && args.take.owner.is_none());
        assert!(!args.shared);
        assert_eq!((args.at_least, args.max_lifetime, args.grace, args.permits), (None, None, None, None));
        assert_eq!((args.on_loss, args.conflict_exit_code), (OnLoss::Kill, 120));
    }

    #[test]
    fn every_option_is_read() {
        let args = parse(
            "--ttl 1m --try --fencing --owner me --at-least 50s --max-lifetime 2h --on-loss warn --grace 3s --foreground \
             -E 0 -q a -- true",
        )
        .unwrap();
        assert!(args.take.once && args.take.fencing && args.foreground && args.quiet);
        assert_eq!(args.take.ttl, Duration::from_secs(60));
        assert_eq!(args.take.owner, Some(Owner::new("me").unwrap()));
        let (at_least, lifetime) = (Duration::from_secs(50), Duration::from_secs(7200));
        assert_eq!((args.at_least, args.max_lifetime), (Some(at_least), Some(lifetime)));
        assert_eq!((args.grace, args.on_loss), (Some(Duration::from_secs(3)), OnLoss::Warn));
        assert_eq!(args.conflict_exit_code, 0);
        assert_eq!(parse("a --wait 1s -- true").unwrap().take.wait, Some(Duration::from_secs(1)));
        assert_eq!(parse("a --permits 5 -- true").unwrap().permits, Some(5));
        assert!(parse("a --shared -- true").unwrap().shared && parse("-s a -- true").unwrap().shared);
    }

    #[test]
    fn options_of_the_command_are_its_own() {
        let args = parse("a --ttl 2s -- cmd --ttl -x -- y").unwrap();
        assert_eq!(args.command, ["cmd", "--ttl", "-x", "--", "y"]);
        assert_eq!(args.take.ttl, Duration::from_secs(2));
        let args = parse("--try a --ttl 2s cmd --ttl -x -- y").unwrap();
        assert_eq!(args.command, ["cmd", "--ttl", "-x", "--", "y"]);
        assert!(args.take.ttl == Duration::from_secs(2) && args.take.once && args.name == "a");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert_eq!(parse("a").unwrap_err(), ErrorKind::MissingRequiredArgument);
        assert_eq!(parse("a --no-such-option true").unwrap_err(), ErrorKind::UnknownArgument);
        assert_eq!(parse("--try --wait 1s a -- true").unwrap_err(), ErrorKind::ArgumentConflict);
        assert_eq!(parse("--ttl 30 a -- true").unwrap_err(), ErrorKind::ValueValidation);
        assert_eq!(parse("--shared --permits 5 a -- true").unwrap_err(), ErrorKind::ArgumentConflict);
        assert_eq!(parse("--shared --fencing a -- true").unwrap_err(), ErrorKind::ArgumentConflict);
        assert_eq!(parse("--permits 0 a -- true").unwrap_err(), ErrorKind::ValueValidation);
        assert_eq!(parse("--permits 4097 a -- true").unwrap_err(), ErrorKind::ValueValidation);
        assert_eq!(parse("-E 256 a -- true").unwrap_err(), ErrorKind::ValueValidation);
        assert_eq!(parse("--on-loss pray a -- true").unwrap_err(), ErrorKind::InvalidValue);
    }
}
