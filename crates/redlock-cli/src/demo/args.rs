//! The command line.

use std::time::Duration;

use clap::{CommandFactory as _, Parser, error::ErrorKind};

/// Many workers add 1 to a plain file, over and over, under one Redlock, while nodes are stopped and hung on the way.
///
/// Reading, pausing and writing a file loses updates unless one worker at a time does it. So the counter in the file
/// shows at the end whether the lock worked. Runs on five in-memory nodes, or on your Redis servers with --nodes.
///
/// With --rolling-restart it is one job instead, which keeps its lock while every node is restarted empty.
#[derive(Debug, Parser)]
#[command(name = "demo", version, after_help = EXAMPLES)]
pub(crate) struct Args {
    /// URLs of independent Redis nodes, 3 or 5 of them, instead of nodes in memory.
    ///
    /// Your servers are not harmed: nodes fail only on the demo's side of the connections, and the demo sets only one
    /// key, which is deleted again or expires after a second.
    #[arg(long, value_name = "URL,URL,...", value_delimiter = ',', conflicts_with = "without_lock")]
    pub(crate) nodes: Vec<String>,

    /// Do the same work without the lock, and watch it go wrong.
    #[arg(long)]
    pub(crate) without_lock: bool,

    /// Restart every node empty, one after the other, while one job keeps its lock by automatic extends.
    ///
    /// Each node in turn is stopped and comes back without its keys, like a Redis without persistence; the next extend
    /// sets the lock there again. Rivals try to acquire the lock now and then, and must never get it.
    ///
    /// This works only if, after a node is back, one auto-extend period passes before the next one is stopped, by
    /// default a third of the TTL. The demo ensures that, and waits until the node has the lock again. While nodes
    /// forget, the lock excludes rivals only if the restarts are far enough apart: if a majority of the nodes forgets
    /// within one period, a rival can get the lock. A rival's attempt also sets its key, for a moment, on a node that
    /// is empty at that time: an extend that arrives at that moment does not set the lock there, and the next one does.
    /// So the rivals try rarely. The lasting remedy is persistence (appendonly yes, appendfsync always): nodes that do
    /// not forget.
    #[arg(long, conflicts_with_all = ["without_lock", "workers", "sections", "no_faults"])]
    pub(crate) rolling_restart: bool,

    /// With --rolling-restart: do not extend the lock, and see who gets it when it ends.
    #[arg(long, requires = "rolling_restart")]
    pub(crate) without_extend: bool,

    /// The number of workers. They are spread over up to 4 hosts, each with its own connections.
    #[arg(long, value_name = "NUMBER", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=256))]
    workers: u16,

    /// How long they work, in seconds [default: 8, and 3 without the lock or without extends].
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u16).range(1..=3600))]
    seconds: Option<u16>,

    /// Stop earlier, after this many critical sections in total.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    sections: Option<u64>,

    /// Let no node fail.
    #[arg(long)]
    pub(crate) no_faults: bool,
}

const EXAMPLES: &str = "\
Examples:
  (nothing)                             five nodes in memory; two of them are down most of the time
  --without-lock                        what happens without the lock
  --rolling-restart                     a lock that is extended outlives the restart of every node
  --rolling-restart --without-extend    one that is not is taken by a rival
  --nodes redis://10.0.0.1,redis://10.0.0.2:7000,redis://:password@10.0.0.3
  --workers 64 --seconds 30

Exit codes:
  0 all as it should be    1 it is not    2 bad input    130 interrupted";

impl Args {
    /// Returns an error if the arguments contradict each other.
    pub(crate) fn checked(self) -> Result<Self, clap::Error> {
        if self.rolling_restart && !self.nodes.is_empty() {
            let why = "--rolling-restart empties nodes, and your servers must not be harmed: without --nodes it runs on \
                       nodes in memory";
            return Err(Self::command().error(ErrorKind::ArgumentConflict, why));
        }
        Ok(self)
    }

    pub(crate) fn workers(&self) -> usize {
        self.workers.into()
    }

    /// Returns the number of critical sections to do, if it is limited.
    pub(crate) fn sections(&self) -> Option<u64> {
        self.sections
    }

    pub(crate) fn run_for(&self) -> Duration {
        let default = if self.without_lock || self.without_extend { 3 } else { 8 };
        Duration::from_secs(self.seconds.unwrap_or(default).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Args, ErrorKind> {
        let parsed = Args::try_parse_from(["demo"].iter().chain(args)).and_then(Args::checked);
        parsed.map_err(|error| error.kind())
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Args::command().debug_assert();
    }

    #[test]
    fn everything_has_a_default_that_ends_in_time() {
        let args = parse(&[]).unwrap();
        assert!(args.nodes.is_empty() && args.workers() == 16 && args.sections().is_none());
        assert!(args.run_for() < Duration::from_secs(10));
        assert!(parse(&["--without-lock"]).unwrap().run_for() < args.run_for());
    }

    #[test]
    fn nodes_are_separated_by_commas() {
        assert_eq!(parse(&["--nodes", "redis://a,redis://b"]).unwrap().nodes, ["redis://a", "redis://b"]);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for bad in [["--workers", "0"], ["--workers", "x"], ["--seconds", "0"], ["--sections", "0"]] {
            assert_eq!(parse(&bad).unwrap_err(), ErrorKind::ValueValidation, "{bad:?}");
        }
        assert_eq!(parse(&["--without-lock", "--nodes", "redis://a"]).unwrap_err(), ErrorKind::ArgumentConflict);
    }
    #[test]
    fn a_rolling_restart_is_a_demo_of_its_own() {
        let args = parse(&["--rolling-restart"]).unwrap();
        assert!(args.rolling_restart && !args.without_extend && args.run_for() == Duration::from_secs(8));
        let args = parse(&["--rolling-restart", "--without-extend", "--seconds", "5"]).unwrap();
        assert!(args.without_extend && args.run_for() == Duration::from_secs(5));
        for other in [&["--without-lock"][..], &["--workers", "4"], &["--sections", "9"], &["--no-faults"]] {
            let both = [&["--rolling-restart"], other].concat();
            assert_eq!(parse(&both).unwrap_err(), ErrorKind::ArgumentConflict, "{both:?}");
        }
        assert_eq!(parse(&["--without-extend"]).unwrap_err(), ErrorKind::MissingRequiredArgument);
    }

    #[test]
    fn servers_are_not_restarted() {
        let error = Args::try_parse_from(["demo", "--rolling-restart", "--nodes", "redis://a,redis://b"]);
        let error = error.and_then(Args::checked).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ArgumentConflict);
        assert!(error.to_string().contains("your servers must not be harmed"), "{error}");
    }
}
