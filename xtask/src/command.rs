//! Running other programs: each in a process group of its own, so that all of it can be ended.

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

/// Set for all commands; a server process that still has it when all is over was left behind.
pub(crate) const RUN: &str = "REDLOCK_TEST_RUN";

/// Cargo, the one that runs this program, in the workspace's root.
pub(crate) fn cargo(workspace: &Workspace) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(&workspace.root);
    // `cargo run` sets these for this package. Passed on, they make build scripts that look at them run again.
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy();
        if ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"].iter().any(|own| name.starts_with(own)) {
            command.env_remove(&*name);
        }
    }
    command
}

/// Cargo, where tests that wait for a TTL to pass run beside it and must get the processor first.
pub(crate) fn cargo_behind(workspace: &Workspace) -> Command {
    let mut command = behind(&cargo(workspace));
    // Where everything is compiled once, what incremental compilation prepares is never used.
    if env::var_os("CI").is_some() && env::var_os("CARGO_INCREMENTAL").is_none() {
        command.env("CARGO_INCREMENTAL", "0");
    }
    command
}

/// The same program, which leaves the processor to others.
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

/// The demo, as the README runs it.
pub(crate) fn demo(workspace: &Workspace, args: &[impl AsRef<OsStr>]) -> Command {
    let mut command = cargo(workspace);
    command.args(["run", "--package", "redlock-cli", "--features", "demo", "--", "demo"]).args(args);
    command
}

/// The simulation. The default profile optimizes what it needs.
pub(crate) fn simulation(workspace: &Workspace, args: &[impl AsRef<OsStr>]) -> Command {
    let mut command = cargo(workspace);
    command.args(["run", "--package", "redlock-simulation", "--"]).args(args);
    command
}

thread_local! {
    /// What stands in front of each line that commands of this thread print.
    static PREFIX: RefCell<String> = const { RefCell::new(String::new()) };
}

/// From now on the lines that commands of this thread print begin with `prefix`: several threads run commands.
pub(crate) fn set_prefix(prefix: &str) {
    PREFIX.with_borrow_mut(|own| prefix.clone_into(own));
}

/// Runs to the end with the output shown, and counts the tests that it tells of. What hangs is ended. The error says
/// which tests failed, and why.
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

/// Runs to the end with the output shown, however long it is silent.
pub(crate) fn complete(command: &mut Command) -> Result<()> {
    let status = status(command)?;
    if !status.success() {
        bail!("`{}` failed ({status})", text(command));
    }
    Ok(())
}

/// Runs to the end with the output shown, and tells how it ended.
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

/// One line, in one piece.
fn print(mut to: impl Write, prefix: &str, line: &[u8]) -> Result<()> {
    to.write_all(&[prefix.as_bytes(), line].concat())?;
    Ok(to.flush()?)
}

/// Runs to the end, however that is, and hands over each line of output as it comes. Ends it after so much `silence`, if
/// there is a bound.
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
        // There cargo tells what it compiles.
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
        bail!("`{}` hung: nothing was heard of it for {} s", text(command), bound.as_secs());
    }
    until_all_have_ended(&child);
    drop(covers);
    if interrupt::is_set() {
        bail!("interrupted");
    }
    Ok(status)
}

/// Hands over each line as it comes.
fn lines(from: impl Read, mut each: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    while from.read_until(b'\n', &mut line)? > 0 {
        each(&line)?;
        line.clear();
    }
    Ok(())
}

/// Runs to the end and gives what it printed; what it complained of is in the error.
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

/// The command line as a person would type it, without the environment.
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

/// Cargo ends at once when it is interrupted; the tests it has started clean up first.
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
    fn what_hangs_is_ended_with_all_that_it_has_started() {
        let started = Instant::now();
        let hung = follow(&mut shell("echo begun; sleep 60 & wait"), Some(Duration::from_millis(200)), |_| Ok(()));
        assert!(hung.unwrap_err().to_string().contains("hung"));
        assert!(started.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn what_speaks_now_and_then_does_not_hang() {
        let lines = "for i in 1 2 3 4; do echo $i; sleep 0.1; done";
        let status = follow(&mut shell(lines), Some(Duration::from_secs(5)), |_| Ok(()));
        assert!(status.unwrap().success());
    }

    #[test]
    fn what_complains_now_and_then_does_not_hang() {
        let lines = "for i in 1 2 3 4 5 6; do echo $i >&2; sleep 0.5; done";
        let status = follow(&mut shell(lines), Some(Duration::from_secs(2)), |_| Ok(()));
        assert!(status.unwrap().success());
    }
}
