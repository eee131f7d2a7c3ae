//! `cargo xtask dist`: builds the packages of `redlock` with their checksums, and tests them by installing them.

mod debian_package;
mod image;
mod program;

use std::{
    fs,
    path::PathBuf,
    process::{Command, ExitCode},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{
    built::Built,
    command::{RUN, output},
    interrupt,
    report::{Done, Report},
    servers::{Environment, Shelf},
    workspace::{Workspace, metadata},
};

/// The options of `cargo xtask dist`.
#[derive(Debug, clap::Args)]
pub(crate) struct Selection {
    /// Install them and run them on three real servers: the Debian package below `target/`, the image with Compose.
    #[arg(long)]
    check: bool,
}

/// Where packages are built.
struct Dist<'a> {
    workspace: &'a Workspace,
    /// What users get: `target/dist`.
    folder: PathBuf,
    version: String,
}

/// `cargo xtask dist`.
pub(crate) fn run(workspace: &Workspace, selection: &Selection) -> Result<ExitCode> {
    let dist = Dist::new(workspace)?;
    let mut report = Report::default();
    report.step("Debian package".to_owned(), || debian_package::build(&dist));
    report.step("image".to_owned(), || image::build(&dist));
    report.step("checksums".to_owned(), || dist.checksums());
    if selection.check && report.failed() == 0 {
        let (built, servers) = (Built::package(workspace, "redlock-cli")?, Shelf::default_servers(workspace)?);
        report.step("Debian package, installed".to_owned(), || debian_package::check(&dist, &built, &servers));
        report.step("image, started".to_owned(), || image::check(&dist, &servers));
    }
    println!("\n{report}\nThe packages are in {}", dist.folder.display());
    Ok(match report.failed() {
        _ if interrupt::is_set() => interrupt::exit_code(),
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

/// Does the same as one step of `test-all`, with the tests that are built already.
pub(crate) fn run_built(workspace: &Workspace, built: &Built, servers: &Environment) -> Result<Done> {
    let dist = Dist::new(workspace)?;
    let mut done = Vec::new();
    for step in [
        debian_package::build(&dist)?,
        image::build(&dist)?,
        debian_package::check(&dist, built, servers)?,
        image::check(&dist, servers)?,
    ] {
        done.push(match step {
            Done::Passed(what) => what,
            Done::NotRun(why) => format!("not run: {why}"),
        });
    }
    Ok(done.join(", ").into())
}

impl<'a> Dist<'a> {
    /// Starts with an empty folder, so that files of an earlier version are not mistaken for those of this one.
    fn new(workspace: &'a Workspace) -> Result<Self> {
        let folder = workspace.target.join("dist");
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        let metadata = metadata()?;
        let packages = metadata.get("packages").and_then(Value::as_array).context("no packages")?;
        let is_it = |package: &&Value| package.get("name").is_some_and(|name| name == "redlock-cli");
        let version = packages.iter().find(is_it).and_then(|package| package.get("version")?.as_str());
        let version = version.context("redlock-cli has no version")?.to_owned();
        Ok(Self { workspace, folder, version })
    }

    /// Returns the files from which packages are made.
    fn packaging(&self) -> PathBuf {
        self.workspace.root.join("crates/redlock-cli/packaging")
    }

    /// For `sha256sum --check SHA256SUMS`.
    fn checksums(&self) -> Result<Done> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                names.push(entry.file_name());
            }
        }
        names.sort();
        let sums = output(Command::new("sha256sum").current_dir(&self.folder).arg("--").args(&names))?;
        fs::write(self.folder.join("SHA256SUMS"), &sums)?;
        print!("{sums}");
        Ok(format!("{} files", names.len()).into())
    }
}

/// Runs a program to its end, without a caller's settings, and compares its exit code.
fn exits(command: &mut Command, code: i32) -> Result<String> {
    for setting in ["REDLOCK_CONFIG", "REDLOCK_TOKEN"] {
        command.env_remove(setting);
    }
    let ended = command.env(RUN, std::process::id().to_string()).output()?;
    let text = format!("{}{}", String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    if ended.status.code() != Some(code) {
        bail!("{command:?} ended with {} instead of {code}: {text}", ended.status);
    }
    Ok(text)
}
