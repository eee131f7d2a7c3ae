//! The soak: many processes on real servers that fail. It is a program of the package `redlock-tests`.

use std::{
    ffi::{OsStr, OsString},
    process::{Command, ExitCode},
};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::{
    command::{cargo, output, run as run_command, status},
    leftovers,
    servers::{Environment, Plan, Shelf},
    workspace::Workspace,
};

/// `cargo xtask soak`: on the servers that `test-all` runs all tests on. The arguments are the soak's own.
pub(crate) fn run(workspace: &Workspace, args: &[OsString]) -> Result<ExitCode> {
    let wants_help = args.iter().any(|arg| arg == "--help" || arg == "-h");
    let servers = if wants_help { Environment::default() } else { servers(workspace)? };
    let status = status(&mut command(workspace, &servers, args)?)?;
    // One that was killed could not clean up after itself.
    leftovers::sweep();
    let code = status.code().with_context(|| format!("the soak was killed ({status})"))?;
    Ok(u8::try_from(code).map_or(ExitCode::FAILURE, ExitCode::from))
}

/// A short one, for `test-all`.
pub(crate) fn briefly(workspace: &Workspace, servers: &Environment) -> Result<String> {
    run_command(&mut command(workspace, servers, &["--minutes", "0.4"])?)?;
    Ok(format!("{}", workspace.target.join("soak/timeline.svg").display()))
}

/// Built as part of the tests, in their profile and with their features: nothing is compiled twice, and the soak is
/// slow by its servers and its waiting, not by its code. Built alone it would get other features of what it depends
/// on, and thirty more crates to compile.
fn command(workspace: &Workspace, servers: &Environment, args: &[impl AsRef<OsStr>]) -> Result<Command> {
    let mut build = cargo(workspace);
    build.args(["test", "--quiet", "--workspace", "--all-features", "--no-run", "--test", "servers"]);
    let messages = output(build.arg("--message-format=json-render-diagnostics")).context("building the soak")?;
    let program = messages.lines().find_map(program).context("cargo has built no program `soak`")?;
    let mut command = Command::new(program);
    command.args(args).envs(servers.iter());
    if !args.iter().any(|arg| arg.as_ref().to_string_lossy().starts_with("--out")) {
        command.arg("--out").arg(workspace.target.join("soak"));
    }
    Ok(command)
}

/// The program of the soak, if this line of cargo's tells of it.
fn program(line: &str) -> Option<String> {
    let message: Value = serde_json::from_str(line).ok()?;
    let target = message.get("target")?;
    let is_program = target.get("kind")? == &serde_json::json!(["bin"]) && target.get("name")? == "soak";
    let executable = message.get("executable")?.as_str()?;
    is_program.then(|| executable.to_owned())
}

fn servers(workspace: &Workspace) -> Result<Environment> {
    match Plan::from_env(&[])? {
        Plan::Set(named) => {
            named.check()?;
            Ok(Environment::default())
        }
        Plan::Flavours(flavours) => {
            let flavour = flavours.first().context("no servers are known")?;
            let obtained = Shelf::open(workspace).obtain(flavour);
            Ok(obtained.with_context(|| format!("getting {}", flavour.name))?.environment())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_found_among_what_cargo_tells() {
        let line = |kind, name, executable| {
            let target = serde_json::json!({ "kind": [kind], "name": name });
            serde_json::json!({ "reason": "compiler-artifact", "target": target, "executable": executable }).to_string()
        };
        assert_eq!(program(&line("bin", "soak", Some("/t/debug/soak"))), Some("/t/debug/soak".to_owned()));
        assert_eq!(program(&line("bin", "xtask", Some("/t/debug/xtask"))), None);
        assert_eq!(program(&line("test", "soak", Some("/t/debug/deps/soak"))), None);
        assert_eq!(program(&line("bin", "soak", None)), None);
        assert_eq!(program("{\"reason\":\"build-finished\",\"success\":true}"), None);
        assert_eq!(program("warning: not JSON"), None);
    }
}
