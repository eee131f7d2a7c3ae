//! `cargo xtask release-check`: checks what a release needs, in steps. Each of them is run, whether or not others fail.

mod manifest;
mod manifests;
mod changelog;
mod contents;
mod tarballs;
mod semver;
mod rust_version;

use std::{fs, process::ExitCode};

use anyhow::{Context, Result, bail};

use self::manifest::Manifest;
use crate::{
    command::{cargo, complete},
    deny, interrupt,
    report::{Done, Report},
    workspace::Workspace,
};

/// The published crates. Every other one says `publish = false`.
const PUBLISHED: &[&str] = &["redlock-core", "redlock-mock", "redlock-redis-rs", "redlock-fred", "redlock-cli"];

/// The checks to run, and the release to compare with.
#[derive(Debug, clap::Args)]
pub(crate) struct Selection {
    /// Compare the public API with that of this git revision. Default: the newest tag `v*` of an earlier release.
    #[arg(long, value_name = "REVISION")]
    baseline: Option<String>,

    /// Pass if the oldest supported Rust is not installed; the table says that the step was not run.
    #[arg(long)]
    allow_missing: bool,

    /// Also pack files that are not committed.
    #[arg(long)]
    allow_dirty: bool,

    /// Run only this step; may be given several times.
    #[arg(long, value_name = "STEP", value_parser = names())]
    only: Vec<String>,
}

/// The data that the steps share.
struct Release<'a> {
    workspace: &'a Workspace,
    selection: &'a Selection,
    /// All members, including those that are not published.
    members: Vec<Manifest>,
}

type Work = fn(&Release<'_>) -> Result<Done>;

/// The steps that fail quickly come first.
const STEPS: &[(&str, Work)] = &[
    ("manifests", |release| Ok(manifests::check(&release.members)?.into())),
    ("changelog", |release| {
        let text = fs::read_to_string(release.workspace.root.join(changelog::FILE)).context(changelog::FILE)?;
        Ok(changelog::judge(&text, &release.version()?.version)?.into())
    }),
    ("contents", |release| Ok(contents::check(release)?.into())),
    ("licenses", |release| Ok(deny::run(release.workspace)?.into())),
    ("docs", docs),
    ("rust-version", rust_version::check),
    ("tarballs", |release| Ok(tarballs::check(release)?.into())),
    ("semver", semver::check),
];

fn names() -> Vec<&'static str> {
    STEPS.iter().map(|(name, _)| *name).collect()
}

pub(crate) fn run(workspace: &Workspace, selection: &Selection) -> Result<ExitCode> {
    let release = Release { workspace, selection, members: Manifest::all()? };
    let mut report = Report::default();
    for (name, work) in STEPS {
        if interrupt::is_set() {
            report.add_not_run((*name).to_owned(), "");
        } else if selection.only.is_empty() || selection.only.iter().any(|only| only == name) {
            report.step((*name).to_owned(), || work(&release));
        } else {
            report.add_not_run((*name).to_owned(), "not selected");
        }
    }
    println!("\n{report}");
    Ok(match report.failed() {
        _ if interrupt::is_set() => interrupt::exit_code(),
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

impl Release<'_> {
    /// Returns the members that are published.
    fn published(&self) -> impl Iterator<Item = &Manifest> {
        self.members.iter().filter(|member| PUBLISHED.contains(&member.name.as_str()))
    }

    /// Returns a published member; all have the same version.
    fn version(&self) -> Result<&Manifest> {
        self.published().next().context("no crate is published")
    }

    /// Returns `--package` for each published crate.
    fn packages(&self) -> impl Iterator<Item = &str> {
        self.published().flat_map(|member| ["--package", member.name.as_str()])
    }
}

/// Builds the docs as docs.rs does, and requires a description of every public item.
fn docs(release: &Release<'_>) -> Result<Done> {
    let mut command = cargo(release.workspace);
    command.args(["doc", "--no-deps", "--all-features"]).args(release.packages());
    command.env("RUSTDOCFLAGS", "-D warnings -D missing_docs");
    complete(&mut command)?;
    Ok(format!("{} crates", release.published().count()).into())
}

/// Returns all violations in one error, one line for each.
fn none(violations: &[String]) -> Result<()> {
    if !violations.is_empty() {
        bail!("{}", violations.join("\n"));
    }
    Ok(())
}
