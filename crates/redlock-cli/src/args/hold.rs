//! The arguments of `redlock acquire`, `extend` and `release`.

use std::time::Duration;

use clap::Args;

use super::{FleetArgs, TakeArgs, parse};

/// Acquire a lock for a script and print its token.
///
/// Prints the token, and with --fencing the fencing token on a second line. Nothing extends the lock: it expires with
/// its TTL unless `redlock extend` is called before. If you can run a command under the lock, `redlock run` is safer:
/// it ends the command when the lock is lost.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  REDLOCK_TOKEN=$(redlock acquire deploy --ttl 5m) || exit
  export REDLOCK_TOKEN
  ...
  redlock extend deploy --ttl 5m || exit
  ...
  redlock release deploy")]
pub(crate) struct AcquireArgs {
    /// The name of the lock.
    pub(crate) name: String,

    #[command(flatten)]
    pub(crate) take: TakeArgs,

    #[command(flatten)]
    pub(crate) fleet: FleetArgs,
}

/// Extend a lock that `acquire` has acquired, for its TTL from now.
///
/// Reads the token from REDLOCK_TOKEN, because arguments are visible in `ps`, and the fencing token, if there is one,
/// from REDLOCK_FENCING_TOKEN. A lost lock is not revived. Prints for how long the lock is valid, in milliseconds.
#[derive(Debug, Args)]
pub(crate) struct ExtendArgs {
    /// The name of the lock.
    pub(crate) name: String,

    /// The time, from now, after which the nodes delete the lock.
    #[arg(long, value_name = "TIME", value_parser = parse::duration, default_value = "30s")]
    pub(crate) ttl: Duration,

    #[command(flatten)]
    pub(crate) fleet: FleetArgs,
}

/// Release a lock that `acquire` has acquired.
///
/// Reads the token from REDLOCK_TOKEN, because arguments are visible in `ps`. Releases only the lock with that token,
/// never that of another holder.
#[derive(Debug, Args)]
pub(crate) struct ReleaseArgs {
    /// The name of the lock.
    pub(crate) name: String,

    /// Release the lock of any holder, after a question. Needs no token. [default: no]
    ///
    /// For a holder that is known to be dead. A holder that still works does not notice before its next extend.
    #[arg(long)]
    pub(crate) force: bool,

    /// With --force: do not ask. [default: ask, on a terminal]
    #[arg(long, requires = "force")]
    pub(crate) yes: bool,

    #[command(flatten)]
    pub(crate) fleet: FleetArgs,
}

#[cfg(test)]
mod tests {
    use clap::{Parser as _, error::ErrorKind};

    use super::*;
    use crate::args::{Cli, Task};

    fn parse(words: &[&str]) -> Result<Task, ErrorKind> {
        let cli = Cli::try_parse_from(["redlock"].iter().chain(words));
        cli.map(|cli| cli.task).map_err(|error| error.kind())
    }

    #[test]
    fn a_lock_is_taken_as_by_run() {
        let Ok(Task::Acquire(args)) = parse(&["acquire", "a", "--ttl", "5m", "--fencing"]) else { panic!() };
        assert!(args.name == "a" && args.take.fencing && args.take.ttl == Duration::from_secs(300));
        let Ok(Task::Extend(args)) = parse(&["extend", "a"]) else { panic!() };
        assert_eq!(args.ttl, Duration::from_secs(30));
        let Ok(Task::Extend(args)) = parse(&["extend", "a", "--ttl", "1m"]) else { panic!() };
        assert_eq!(args.ttl, Duration::from_secs(60));
    }

    #[test]
    fn a_lock_is_taken_from_another_only_if_that_is_said() {
        let Ok(Task::Release(args)) = parse(&["release", "a"]) else { panic!() };
        assert!(!args.force && !args.yes);
        let Ok(Task::Release(args)) = parse(&["release", "a", "--force", "--yes"]) else { panic!() };
        assert!(args.force && args.yes);
        assert_eq!(parse(&["release", "a", "--yes"]).unwrap_err(), ErrorKind::MissingRequiredArgument);
    }
}
