//! The image of the static program, and its test with three servers as in the Compose file.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command, thread, time::Duration};

use anyhow::{Context, Result, ensure};

use super::{Dist, exits, program};
use crate::{
    command::{complete, output},
    report::Done,
    servers::Environment,
};

/// The project's name for Compose, and the beginning of the names of its containers.
const PROJECT: &str = "redlock-dist";

pub(super) fn build(dist: &Dist<'_>) -> Result<Done> {
    if !answers(&["docker", "version"]) {
        return Ok(Done::NotRun("no container engine answers: install and start Docker".to_owned()));
    }
    let program = program::without_libraries(dist)?;
    let (context, root) = (dist.folder.join("image"), dist.folder.join("image/root"));
    fs::create_dir_all(root.join("usr/bin"))?;
    // For the demo, which writes files.
    fs::create_dir(root.join("tmp"))?;
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777))?;
    output(Command::new("strip").arg("-o").arg(root.join("usr/bin/redlock")).arg(program))?;
    let mut build = Command::new("docker");
    build.args(["build", "--quiet", "--tag", &image(dist), "--file"]).arg(dist.packaging().join("Dockerfile"));
    complete(build.arg(&context))?;
    let archive = format!("redlock-{}-image.tar", dist.version);
    output(Command::new("docker").args(["save", "--output"]).arg(dist.folder.join(&archive)).arg(image(dist)))?;
    fs::remove_dir_all(context)?;
    let size = fs::metadata(dist.folder.join(&archive))?.len().div_ceil(1024);
    Ok(format!("{archive}, {size} KiB").into())
}

/// Starts the archive's image with Compose: it checks the servers, runs a command under a lock, and ends by `docker
/// stop`, as the first process of its container.
pub(super) fn check(dist: &Dist<'_>, servers: &Environment) -> Result<Done> {
    let tools = [&["docker", "compose"][..], &["docker-compose"]];
    let Some(tool) = tools.into_iter().find(|tool| answers(&[*tool, &["version"]].concat())) else {
        return Ok(Done::NotRun("it needs Docker Compose".to_owned()));
    };
    let Some((_, redis)) = servers.iter().find(|(name, _)| *name == "REDLOCK_TEST_IMAGE") else {
        return Ok(Done::NotRun("the servers of the tests are no containers".to_owned()));
    };
    output(
        Command::new("docker")
            .args(["load", "--input"])
            .arg(dist.folder.join(format!("redlock-{}-image.tar", dist.version))),
    )?;
    let file = dist.packaging().join("compose.yaml");
    let compose = |arguments: &[&str]| {
        let (program, rest) = tool.split_first().unwrap_or((&"docker-compose", &[]));
        let mut compose = Command::new(program);
        compose.args(rest).arg("--file").arg(&file).args(["--project-name", PROJECT]).args(arguments);
        compose.env("REDIS_IMAGE", redis).env("REDLOCK_IMAGE", image(dist));
        compose
    };
    let down = || output(&mut compose(&["down", "--volumes", "--timeout", "0"]));
    down()?;
    let checked = with_servers(&compose);
    down()?;
    checked?;
    Ok("run with three servers in containers".to_owned().into())
}

fn with_servers(compose: &impl Fn(&[&str]) -> Command) -> Result<()> {
    let run = |arguments: &[&str], code| exits(&mut compose(&[&["run", "--rm", "redlock"], arguments].concat()), code);
    output(&mut compose(&["up", "--detach", "redis-1", "redis-2", "redis-3"]))?;
    let mut checked = run(&["doctor"], 0);
    // The servers have just started.
    for _ in 0..20 {
        if checked.is_ok() {
            break;
        }
        thread::sleep(Duration::from_millis(200));
        checked = run(&["doctor"], 0);
    }
    checked?;
    // While the command runs, its lock is held; then it is free.
    let seen = run(&["run", "report", "--", "redlock", "status", "report"], 0)?;
    ensure!(seen.contains("report"), "{seen}");
    run(&["status", "report"], 1)?;
    run(&["run", "report", "--", "no-such-command"], 127)?;
    run(&["demo", "--seconds", "2"], 0)?;

    // `docker stop` reaches the first process, which forwards the signal and releases the lock.
    let name = format!("{PROJECT}-stopped");
    // Its command waits for the lock, which its own parent holds.
    let command = ["run", "report", "--", "redlock", "run", "report", "--wait", "1h", "--", "redlock"];
    output(&mut compose(&[&["run", "--detach", "--name", &name, "redlock"], &command[..]].concat()))?;
    let held = (0..100).any(|_| {
        thread::sleep(Duration::from_millis(200));
        run(&["status", "--quiet", "report"], 0).is_ok()
    });
    ensure!(held, "the container does not get the lock");
    output(Command::new("docker").args(["stop", "--time", "30", &name]))?;
    let inspect = ["inspect", "--format", "{{.State.ExitCode}}", &name];
    let code = output(Command::new("docker").args(inspect))?;
    let log = output(Command::new("docker").args(["logs", &name]))?;
    output(Command::new("docker").args(["rm", &name]))?;
    ensure!(code.trim() == "143", "after `docker stop` it exits with {}: {log}", code.trim());
    run(&["status", "--quiet", "report"], 1).context("`docker stop` has left the lock")?;
    Ok(())
}

fn image(dist: &Dist<'_>) -> String {
    format!("redlock:{}", dist.version)
}

fn answers(command: &[&str]) -> bool {
    let Some((program, arguments)) = command.split_first() else { return false };
    output(Command::new(Path::new(program)).args(arguments)).is_ok()
}
