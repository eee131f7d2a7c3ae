//! What `redlock acquire`, `extend` and `release` ask for.

use std::time::Duration;

use clap::Args;

use super::{FleetArgs, TakeArgs, parse};

/// Take a lock for a script and print its token.
///
/// Prints the token, and with --fencing the fencing token on a second line. Nothing extends the lock: it ends with its ttl
/// unless `redlock extend` is called before. Where a command can be run under the lock, `redlock run` is safer: it ends the
/// command when the lock cannot be kept.
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
    /// What is locked.
    pub(crate) name: String,

    #[command(flatten)]
    pub(crate) take: TakeArgs,

    #[command(flatten)]
    pub(crate) fleet: FleetArgs,
}

/// Extend a lock that `acquire` has taken, for its ttl from now.
///
/// The token is taken from REDLOCK_TOKEN, since an argument shows in `ps`; and of a lock with a fencing token that too, from
/// REDLOCK_FENCING_TOKEN. A lock that is lost is not revived. Prints for how long the lock is valid, in milliseconds.
#[derive(Debug, Args)]
pub(crate) struct ExtendArgs {
    /// What is locked.
    pub(crate) name: String,

    /// How long the nodes keep the lock from now on.
    #[arg(long, value_name = "TIME", value_parser = parse::duration, default_value = "30s")]
    pub(crate) ttl: Duration,

    #[command(flatten)]
    pub(crate) fleet: FleetArgs,
}

/// Give a lock back that `acquire` has taken.
///
/// The token is taken from REDLOCK_TOKEN, since an argument shows in `ps`. Only the lock with that token is given back, and
/// never that of another.
#[derive(Debug, Args)]
pub(crate) struct ReleaseArgs {
    /// What is locked.
    pub(crate) name: String,

    /// Take the lock from whoever holds it, after a question. No token is needed. [default: no]
    ///
    /// For a holder that is known to be gone. One that works on does not notice before its next extend.
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
