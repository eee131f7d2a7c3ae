//! Runs the benches: a separate, optimized program, on servers without a container in between where possible.

use std::{
    ffi::{OsStr, OsString},
    process::{Command, ExitCode},
};

use anyhow::{Context, Result};

use crate::{
    command::{cargo, status},
    leftovers,
    servers::{Environment, Plan, Shelf},
    workspace::Workspace,
};

/// `cargo xtask bench`. The arguments go to the bench.
pub(crate) fn run(workspace: &Workspace, args: &[OsString]) -> Result<ExitCode> {
    let starts_no_servers = |arg: &OsString| ["--help", "-h", "--list", "--instructions"].iter().any(|end| arg == end);
    let servers = if args.iter().any(starts_no_servers) { Environment::default() } else { servers(workspace)? };
    let status = status(&mut command(workspace, &servers, args))?;
    // A run that was killed could not clean up after itself.
    leftovers::sweep();
    let code = status.code().with_context(|| format!("the bench was killed ({status})"))?;
    Ok(u8::try_from(code).map_or(ExitCode::FAILURE, ExitCode::from))
}

fn command(workspace: &Workspace, servers: &Environment, args: &[impl AsRef<OsStr>]) -> Command {
    let mut command = cargo(workspace);
    command.args(["run", "--release", "--package", "redlock-bench", "--"]).args(args).envs(servers.iter());
    if !args.iter().any(|arg| arg.as_ref().to_string_lossy().starts_with("--out")) {
        command.arg("--out").arg(workspace.target.join("bench"));
    }
    command
}

/// Returns the servers that the environment names. Otherwise processes, since a container's network takes its share of
/// the time. Otherwise containers.
fn servers(workspace: &Workspace) -> Result<Environment> {
    match Plan::from_env(&[])? {
        Plan::Set(named) => {
            named.check()?;
            Ok(Environment::default())
        }
        Plan::Flavours(flavours) => {
            let flavour = flavours.first().context("no servers are known")?;
            if !Shelf::is_named()
                && let Ok(obtained) = Shelf::of_processes(workspace).obtain(flavour)
            {
                return Ok(obtained.environment());
            }
            let obtained = Shelf::open(workspace).obtain(flavour);
            Ok(obtained.with_context(|| format!("getting {}", flavour.name))?.environment())
        }
    }
}
