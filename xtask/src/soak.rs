//! The soak: many processes on real servers that fail. It is a program of the package `redlock-tests`.

use std::{
    ffi::{OsStr, OsString},
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result};

use crate::{
    built::Built,
    command::{run as run_command, status},
    leftovers,
    servers::{Environment, Shelf},
    workspace::Workspace,
};

/// `cargo xtask soak`: on the servers on which `test-all` runs all tests. The arguments go to the soak.
pub(crate) fn run(workspace: &Workspace, args: &[OsString]) -> Result<ExitCode> {
    let wants_help = args.iter().any(|arg| arg == "--help" || arg == "-h");
    let servers = if wants_help { Environment::default() } else { Shelf::default_servers(workspace)? };
    let built = Built::all(workspace)?;
    let status = status(&mut command(workspace, &built, &servers, args)?)?;
    // A run that was killed could not clean up after itself.
    leftovers::sweep();
    let code = status.code().with_context(|| format!("the soak was killed ({status})"))?;
    Ok(u8::try_from(code).map_or(ExitCode::FAILURE, ExitCode::from))
}

/// Runs two short soaks, for `test-all`: one with every fault, and one with long TTLs, which show keys without an
/// owner.
pub(crate) fn briefly(workspace: &Workspace, built: &Built, servers: &Environment, minutes: &str) -> Result<String> {
    run_command(&mut command(workspace, built, servers, &["--minutes", minutes])?)?;
    let out = workspace.target.join("soak-rolling").display().to_string();
    let rolling = ["--minutes", minutes, "--nodes", "3", "--rolling", "--longest-ttl", "60", "--idle-limit", "8"];
    run_command(command(workspace, built, servers, &rolling)?.arg("--out").arg(out))?;
    Ok(format!("{}", workspace.target.join("soak/timeline.svg").display()))
}

/// Built as part of the tests, with their profile and features. So nothing is compiled twice, and the soak is slow
/// because of its servers and its waiting, not because of its code.
fn command(workspace: &Workspace, built: &Built, servers: &Environment, args: &[impl AsRef<OsStr>]) -> Result<Command> {
    let mut command = built.program("redlock-tests", "soak")?.command();
    // Where the caller is: `--out` may be relative.
    command.current_dir(".");
    // Before the arguments, which may override it.
    command.arg("--out").arg(workspace.target.join("soak")).args(args).envs(servers.iter());
    Ok(command)
}
