//! The commands, and the options that all of them share.

use clap::{Parser, Subcommand};
use clap_complete::Shell;

use super::{AcquireArgs, DoctorArgs, ExtendArgs, ReleaseArgs, RunArgs, StatusArgs, WatchArgs};

/// Run a command under a distributed lock over N independent Redis nodes, and see who holds which lock.
///
/// A lock is held when a majority of the nodes has granted it. `redlock run` acquires a lock, extends it while the
/// command runs, and ends the command before another host can get the lock.
#[derive(Debug, Parser)]
#[command(name = "redlock", version, arg_required_else_help = true, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    /// Print results as JSON. `run` prints its events as JSON, one per line, on standard error [default: text].
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// Print each step on standard error; -vv also the library's log [default: failures and warnings].
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,

    #[command(subcommand)]
    pub(crate) task: Task,
}

// The descriptions are at the arguments of each command: a comment here would replace them.
#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    Run(RunArgs),
    Doctor(DoctorArgs),
    Status(StatusArgs),
    Watch(WatchArgs),
    Acquire(AcquireArgs),
    Extend(ExtendArgs),
    Release(ReleaseArgs),
    #[cfg(feature = "demo")]
    Demo(crate::demo::Args),
    /// Print the completions for a shell: `redlock completions bash > /etc/bash_completion.d/redlock`.
    Completions {
        /// The shell.
        #[arg(value_enum)]
        shell: Shell,
    },
    /// Print the manual in roff, for man(1): `redlock man run > /usr/local/share/man/man1/redlock-run.1`.
    Man {
        /// The command whose page is wanted [default: the page of redlock itself].
        #[arg(value_name = "COMMAND")]
        task: Option<String>,
    },
    /// Kill the command of a `redlock run` that has died. For redlock itself.
    #[command(hide = true)]
    Backstop,
}

const AFTER_HELP: &str = "\
Nodes, in this order: --nodes, REDLOCK_NODES, `nodes` in the file that --config or REDLOCK_CONFIG names.
  export REDLOCK_NODES=redis://10.0.0.1,redis://10.0.0.2,redis://:password@10.0.0.3
Put passwords into the environment or the file: arguments are visible in `ps`. The file is TOML:
  nodes = [\"redis://10.0.0.1\", \"redis://10.0.0.2\", \"redis://:password@10.0.0.3\"]
  key_prefix = \"lock:\"        # all of these may be left out
  node_timeout = \"200ms\"
  owner = \"billing\"
  restart_guard = \"60s\"
  ca = \"/etc/redlock/ca.pem\"  # for rediss:// URLs; likewise cert and key

Examples:
  redlock demo
  redlock doctor
  redlock run nightly --try --at-least 50s -- /usr/local/bin/report
  redlock run migrate --wait 10m -- ./migrate up
  redlock status nightly migrate

Exit codes (those of run are in `redlock run --help`):
    0  done; of doctor: nothing worse than a notice
    1  doctor: a warning; of status: a lock is not held
    2  doctor: an error
  120  another holder has the lock
  121  the lock was lost
  122  too few nodes answered
  125  bad usage, or redlock itself failed

There are no colors if NO_COLOR is set, or if the output is not a terminal.";

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_option_tells_its_default_or_can_have_none() {
        // These are switches, names, secrets, or subjects of the command, which have no default.
        const NONE: &[&str] = &["help", "version", "name", "command", "shell", "nodes", "config"];
        // The demo has its own rules.
        for task in Cli::command().get_subcommands().filter(|task| task.get_name() != "demo") {
            for arg in task.get_arguments().filter(|arg| !NONE.contains(&arg.get_id().as_str())) {
                let help = arg.get_long_help().or(arg.get_help()).map(ToString::to_string).unwrap_or_default();
                let tells = help.contains("[default: ") || !arg.get_default_values().is_empty();
                assert!(tells, "{} --{}: {help}", task.get_name(), arg.get_id());
            }
        }
    }

    #[test]
    fn the_help_names_every_exit_code_that_there_is() {
        let mut cli = Cli::command();
        let own = cli.render_long_help().to_string();
        let run = cli.find_subcommand_mut("run").unwrap().render_long_help().to_string();
        for code in ["120", "121", "122", "125"] {
            assert!(own.contains(code), "{code}");
        }
        assert!(run.contains("SIGKILL before it does"), "{run}");
        for code in ["120", "121", "122", "123", "124", "125", "126", "127", "128+N"] {
            assert!(run.contains(code), "{code}");
        }
    }

    #[test]
    fn every_command_of_the_readme_and_of_the_help_is_understood() {
        let readme = include_str!("../../README.md");
        let workspace = include_str!("../../../../README.md");
        let helps =
            Cli::command().get_subcommands_mut().map(|task| task.render_long_help().to_string()).collect::<String>();
        let text = format!("{readme}\n{workspace}\n{}\n{helps}", Cli::command().render_long_help());
        let mut understood = 0;
        for line in text.lines() {
            let line = line.trim().trim_start_matches("* * * * * /usr/local/bin/");
            let command = line.split("  ").next().unwrap_or_default().trim_end_matches("|| exit").trim();
            if command.starts_with("redlock ") && !command.contains("`") {
                let parsed = Cli::try_parse_from(command.split_whitespace());
                assert!(parsed.is_ok(), "{command}: {}", parsed.unwrap_err());
                understood += 1;
            }
        }
        assert!(understood > 15, "{understood} commands were found");
    }

    #[test]
    fn what_all_commands_share_stands_before_or_behind_the_command() {
        for words in [["redlock", "--json", "-vv", "doctor"], ["redlock", "doctor", "-vv", "--json"]] {
            let cli = Cli::try_parse_from(words).unwrap();
            assert!(cli.json && cli.verbose == 2);
        }
    }
}
