//! `cargo xtask release-check`: what is to be known before a release, in steps; each of them is run, whatever the others
//! came to.

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

/// The crates that are published. Any other says `publish = false`.
const PUBLISHED: &[&str] = &["redlock-core", "redlock-mock", "redlock-redis-rs", "redlock-fred", "redlock-cli"];

/// What to check, and against what.
#[derive(Debug, clap::Args)]
pub(crate) struct Selection {
    /// Compare the public API with that of this git revision. Default: the newest tag `v*` of an earlier release.
    #[arg(long, value_name = "REVISION")]
    baseline: Option<String>,

    /// Pass where the oldest supported Rust is not installed; the table says that the step was not run.
    #[arg(long)]
    allow_missing: bool,

    /// Pack files that are not committed.
    #[arg(long)]
    allow_dirty: bool,

    /// Run this step only; may be given several times.
    #[arg(long, value_name = "STEP", value_parser = names())]
    only: Vec<String>,
}

/// What the steps share.
struct Release<'a> {
    workspace: &'a Workspace,
    selection: &'a Selection,
    /// All members, also those that are not published.
    members: Vec<Manifest>,
}

type Work = fn(&Release<'_>) -> Result<Done>;

/// Those that are quick to fail come first.
const STEPS: &[(&str, Work)] = &[
    ("manifests", |release| Ok(manifests::check(&release.members)?.into())),
    ("changelog", |release| {
        let text = fs::read_to_string(release.workspace.root.join(changelog::FILE)).context(changelog::FILE)?;
        Ok(changelog::judge(&text, &release.version()?.version)?.into())
    }),
    ("contents", |release| Ok(contents::check(release)?.into())),
    ("licences", |release| Ok(deny::run(release.workspace)?.into())),
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
            report.add_not_run((*name).to_owned(), "not asked for");
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
    /// The members that are published.
    fn published(&self) -> impl Iterator<Item = &Manifest> {
        self.members.iter().filter(|member| PUBLISHED.contains(&member.name.as_str()))
    }

    /// The one whose version all have.
    fn version(&self) -> Result<&Manifest> {
        self.published().next().context("no crate is published")
    }

    /// `--package` for each of the crates that are published.
    fn packages(&self) -> impl Iterator<Item = &str> {
        self.published().flat_map(|member| ["--package", member.name.as_str()])
    }
}

/// As docs.rs builds them, with every public item described.
fn docs(release: &Release<'_>) -> Result<Done> {
    let mut command = cargo(release.workspace);
    command.args(["doc", "--no-deps", "--all-features"]).args(release.packages());
    command.env("RUSTDOCFLAGS", "-D warnings -D missing_docs");
    complete(&mut command)?;
    Ok(format!("{} crates", release.published().count()).into())
}

/// All violations in one error, a line for each.
fn none(violations: &[String]) -> Result<()> {
    if !violations.is_empty() {
        bail!("{}", violations.join("\n"));
    }
    Ok(())
}
