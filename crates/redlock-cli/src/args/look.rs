//! The arguments of `redlock doctor`, `status` and `watch`.

use std::time::Duration;

use clap::Args;

use super::{FleetArgs, parse};

/// Check the nodes: which problems they have, why, and what to do about them.
///
/// Finds, for example, two URLs of one server, replicas, and nodes that may evict locks or lose them at a restart.
/// Changes nothing. Exits with 0 if there is nothing worse than a notice, with 1 for a warning and with 2 for an error.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    pub(crate) fleet: FleetArgs,
}

/// Show who holds locks, for how long, and on how many nodes.
///
/// Changes nothing, and never prints a whole token. Without names, lists all locks that are held: each node goes
/// through its keys, limited to the key prefix if there is one. The user of the nodes then needs SCAN and GETRANGE. The
/// output says if the list is incomplete.
///
/// Exit codes: with names, 0 if all these locks are held and 1 if one of them is not; without names, 0. In both cases
/// 122 if too few nodes answered.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// The names of the locks [default: all that are held].
    #[arg(value_name = "NAME")]
    pub(crate) name: Vec<String>,

    /// Print nothing: the exit code has the answer. [default: print]
    #[arg(short, long)]
    pub(crate) quiet: bool,

    /// The maximum time for a node to list its locks.
    #[arg(long, value_name = "TIME", value_parser = parse::duration, default_value = "10s")]
    pub(crate) list_timeout: Duration,

    #[command(flatten)]
    pub(crate) fleet: FleetArgs,
}

/// Show who holds locks, over and over, until Ctrl-C.
///
/// On a terminal, the view is drawn in place, with the latest changes below. Otherwise, and with --json, each change is
/// a line.
#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    /// The names of the locks.
    #[arg(required = true, value_name = "NAME")]
    pub(crate) name: Vec<String>,

    /// The time between two updates; at least 100ms.
    #[arg(long, value_name = "TIME", value_parser = parse::duration, default_value = "1s")]
    pub(crate) every: Duration,

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
    fn a_watch_needs_a_name_and_a_look_or_a_check_of_the_nodes_needs_none() {
        assert!(matches!(parse(&["doctor"]), Ok(Task::Doctor(_))));
        assert!(matches!(parse(&["status"]), Ok(Task::Status(args)) if args.name.is_empty()));
        assert_eq!(parse(&["watch"]).unwrap_err(), ErrorKind::MissingRequiredArgument);
        let Ok(Task::Status(args)) = parse(&["status", "a", "b"]) else { panic!() };
        assert_eq!(args.name, ["a", "b"]);
    }

    #[test]
    fn a_watch_looks_every_second_unless_told_otherwise() {
        let Ok(Task::Watch(args)) = parse(&["watch", "a"]) else { panic!() };
        assert_eq!((args.name, args.every), (vec!["a".to_owned()], Duration::from_secs(1)));
        let Ok(Task::Watch(args)) = parse(&["watch", "a", "--every", "200ms"]) else { panic!() };
        assert_eq!(args.every, Duration::from_millis(200));
    }
}
