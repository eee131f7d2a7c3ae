//! Runs other programs, each in its own process group, so that all of it can be ended.

use std::{
    cell::RefCell,
    env,
    ffi::OsStr,
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};

use crate::{
    interrupt,
    report::{Failures, Tally},
    silence::{self, Silence},
    workspace::Workspace,
};

/// Set for all commands. A server process that still has it at the end of a run was left behind.
pub(crate) const RUN: &str = "REDLOCK_TEST_RUN";

/// Returns the cargo that runs this program, in the workspace's root.
pub(crate) fn cargo(workspace: &Workspace) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(&workspace.root);
    // `cargo run` sets these for this package. If they are passed on, build scripts that read them run again.
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy();
        if ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"].iter().any(|own| name.starts_with(own)) {
            command.env_remove(&*name);
        }
    }
    command
}

/// Returns the same command, but with lower priority than tests that run at the same time and wait for a TTL to pass.
pub(crate) fn cargo_behind(workspace: &Workspace) -> Command {
    let mut command = behind(&cargo(workspace));
    // If everything is compiled only once, incremental compilation is wasted.
    if env::var_os("CI").is_some() && env::var_os("CARGO_INCREMENTAL").is_none() {
        command.env("CARGO_INCREMENTAL", "0");
    }
    command
}

/// Returns the same program with lower priority.
pub(crate) fn behind(program: &Command) -> Command {
    let mut command = Command::new("nice");
    command.args(["-n", "19"]).arg(program.get_program()).args(program.get_args());
    if let Some(folder) = program.get_current_dir() {
        command.current_dir(folder);
    }
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

/// Returns the demo, as the README runs it.
pub(crate) fn demo(workspace: &Workspace, args: &[impl AsRef<OsStr>]) -> Command {
    let mut command = cargo(workspace);
    command.args(["run", "--package", "redlock-cli", "--features", "demo", "--", "demo"]).args(args);
    command
}

/// Returns the simulation. The default profile optimizes what it needs.
pub(crate) fn simulation(workspace: &Workspace, args: &[impl AsRef<OsStr>]) -> Command {
    let mut command = cargo(workspace);
    command.args(["run", "--package", "redlock-simulation", "--"]).args(args);
    command
}

thread_local! {
    /// The prefix of each line that commands of this thread print.
    static PREFIX: RefCell<String> = const { RefCell::new(String::new()) };
}

/// From now on, each line that commands of this thread print begins with `prefix`: several threads run commands.
pub(crate) fn set_prefix(prefix: &str) {
    PREFIX.with_borrow_mut(|own| prefix.clone_into(own));
}

/// Runs a command to the end with its output shown, and counts the tests that it reports. Ends a command that hangs.
/// The error says which tests failed, and why.
pub(crate) fn run(command: &mut Command) -> Result<Tally> {
    let mut tally = Tally::default();
    let mut failures = Failures::default();
    let status = show(command, Some(silence::BOUND), |line| {
        tally.read_line(line);
        failures.read_line(line);
    })?;
    if !status.success() {
        bail!("`{}` failed ({status}){failures}", text(command));
    }
    Ok(tally)
}

/// Runs a command to the end with its output shown, however long it is silent.
pub(crate) fn complete(command: &mut Command) -> Result<()> {
    let status = status(command)?;
    if !status.success() {
        bail!("`{}` failed ({status})", text(command));
    }
    Ok(())
}

/// Runs a command to the end with its output shown, and returns how it ended.
pub(crate) fn status(command: &mut Command) -> Result<ExitStatus> {
    show(command, None, |_| {})
}

fn show(command: &mut Command, silence: Option<Duration>, mut read: impl FnMut(&str)) -> Result<ExitStatus> {
    let prefix = PREFIX.with_borrow(Clone::clone);
    follow(command, silence, |line| {
        print(io::stdout(), &prefix, line)?;
        read(&String::from_utf8_lossy(line));
        Ok(())
    })
}

/// Writes one line at once.
fn print(mut to: impl Write, prefix: &str, line: &[u8]) -> Result<()> {
    to.write_all(&[prefix.as_bytes(), line].concat())?;
    Ok(to.flush()?)
}

/// Runs a command to the end, whether or not it succeeds, and passes on each line of output as it comes. Ends it after
/// this much `silence`, if there is a limit.
pub(crate) fn follow(
    command: &mut Command,
    silence: Option<Duration>,
    mut each: impl FnMut(&[u8]) -> Result<()>,
) -> Result<ExitStatus> {
    if silence.is_some() {
        command.stderr(Stdio::piped());
    }
    let mut child = spawn(command.stdout(Stdio::piped()))?;
    let covers = interrupt::Covers::group(child.id());
    let silence = silence.map(|bound| (Silence::ends(child.id(), bound), bound));
    let output = child.stdout.take().context("no output")?;
    let errors = child.stderr.take();
    let prefix = PREFIX.with_borrow(Clone::clone);
    thread::scope(|scope| {
        let heard = || silence.iter().for_each(|(silence, _)| silence.is_broken());
        // There cargo reports what it compiles.
        let complaints = errors.map(|errors| {
            scope.spawn(move || {
                lines(errors, |line| {
                    heard();
                    print(io::stderr(), &prefix, line)
                })
            })
        });
        lines(output, |line| {
            heard();
            each(line)
        })?;
        complaints.map_or(Ok(()), |complaints| complaints.join().unwrap_or(Ok(())))
    })?;
    let status = child.wait()?;
    if let Some((silence, bound)) = silence
        && silence.was_too_long()
    {
        bail!("`{}` hung: it printed nothing for {} s", text(command), bound.as_secs());
    }
    until_all_have_ended(&child);
    drop(covers);
    if interrupt::is_set() {
        bail!("interrupted");
    }
    Ok(status)
}

/// Passes on each line as it comes.
fn lines(from: impl Read, mut each: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    while from.read_until(b'\n', &mut line)? > 0 {
        each(&line)?;
        line.clear();
    }
    Ok(())
}

/// Runs a command to the end and returns its output. The error contains its last error messages.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let mut child = spawn(command.stdout(Stdio::piped()).stderr(Stdio::piped()))?;
    let covers = interrupt::Covers::group(child.id());
    let mut errors = child.stderr.take().context("no output")?;
    let errors = thread::spawn(move || {
        let mut bytes = Vec::new();
        errors.read_to_end(&mut bytes).map(|_| bytes)
    });
    let mut bytes = Vec::new();
    child.stdout.take().context("no output")?.read_to_end(&mut bytes)?;
    let errors = errors.join().ok().and_then(Result::ok).unwrap_or_default();
    let status = child.wait()?;
    drop(covers);
    if interrupt::is_set() {
        bail!("interrupted");
    }
    if !status.success() {
        let errors = String::from_utf8_lossy(&errors);
        let mut last: Vec<_> = errors.lines().map(str::trim).filter(|line| !line.is_empty()).rev().take(5).collect();
        last.reverse();
        bail!("`{}` failed ({status}): {}", text(command), last.join("; "));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Returns the command line as a person would type it, without the environment.
fn text(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words = [program].into_iter().chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

fn spawn(command: &mut Command) -> Result<Child> {
    if interrupt::is_set() {
        bail!("interrupted");
    }
    command.env(RUN, std::process::id().to_string()).stdin(Stdio::null()).process_group(0);
    command.spawn().with_context(|| format!("running {}", command.get_program().to_string_lossy()))
}

/// Cargo ends at once when it is interrupted; the tests that it has started clean up first.
fn until_all_have_ended(leader: &Child) {
    let Some(group) = i32::try_from(leader.id()).ok().and_then(Pid::from_raw) else { return };
    let started = Instant::now();
    while interrupt::is_set() && test_kill_process_group(group).is_ok() {
        if started.elapsed() > Duration::from_secs(10) {
            let _ = kill_process_group(group, Signal::KILL);
            return;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(line: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", line]);
        command
    }

    #[test]
    fn a_command_that_hangs_is_ended_with_all_that_it_has_started() {
        let started = Instant::now();
        let hung = follow(&mut shell("echo begun; sleep 60 & wait"), Some(Duration::from_millis(200)), |_| Ok(()));
        assert!(hung.unwrap_err().to_string().contains("hung"));
        assert!(started.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn a_command_that_prints_now_and_then_does_not_hang() {
        let lines = "for i in 1 2 3 4; do echo $i; sleep 0.1; done";
        let status = follow(&mut shell(lines), Some(Duration::from_secs(5)), |_| Ok(()));
        assert!(status.unwrap().success());
    }

    #[test]
    fn a_command_that_prints_errors_now_and_then_does_not_hang() {
        let lines = "for i in 1 2 3 4 5 6; do echo $i >&2; sleep 0.5; done";
        let status = follow(&mut shell(lines), Some(Duration::from_secs(2)), |_| Ok(()));
        assert!(status.unwrap().success());
    }
}
