//! The step `rust-version`: the published crates compile with the oldest Rust that they promise to support.

use std::process::Command;

use anyhow::{Context, Result, bail};

use super::Release;
use crate::{
    command::{complete, output},
    report::Done,
};

pub(super) fn check(release: &Release<'_>) -> Result<Done> {
    let promised = release.version()?.rust_version.as_deref().context("no `rust-version`: see the step `manifests`")?;
    // Without rustup there is none to find.
    let installed = output(Command::new("rustup").args(["toolchain", "list"])).unwrap_or_default();
    let Some(toolchain) = find(&installed, promised) else {
        let missing = format!("Rust {promised} is missing: `rustup toolchain install {promised}`");
        if release.selection.allow_missing {
            return Ok(Done::NotRun(missing));
        }
        bail!("{missing}, or --allow-missing");
    };
    let mut command = Command::new("rustup");
    command.current_dir(&release.workspace.root).args([
        "run",
        toolchain,
        "cargo",
        "check",
        "--locked",
        "--all-features",
    ]);
    // The compiler that cargo runs is that of the toolchain.
    command.args(release.packages()).env_remove("RUSTC");
    complete(&mut command)?;
    Ok(format!("compiles with {toolchain}").into())
}

/// Returns the toolchain of this version, whatever its patch number and its platform are.
fn find<'a>(installed: &'a str, promised: &str) -> Option<&'a str> {
    let of_version =
        |name: &&str| name.strip_prefix(promised).is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '.']));
    installed.lines().filter_map(|line| line.split_whitespace().next()).find(of_version)
}

#[cfg(test)]
mod tests {
    use super::*;

    const INSTALLED: &str = "stable-x86_64-unknown-linux-gnu (active, default)\nnightly-x86_64-unknown-linux-gnu\n\
        1.88.0-x86_64-unknown-linux-gnu\n1.95-x86_64-unknown-linux-gnu\n1.100.1\n";

    #[test]
    fn a_toolchain_is_found_by_its_version() {
        assert_eq!(find(INSTALLED, "1.88"), Some("1.88.0-x86_64-unknown-linux-gnu"));
        assert_eq!(find(INSTALLED, "1.88.0"), Some("1.88.0-x86_64-unknown-linux-gnu"));
        assert_eq!(find(INSTALLED, "1.95"), Some("1.95-x86_64-unknown-linux-gnu"));
        assert_eq!(find(INSTALLED, "1.100"), Some("1.100.1"));
    }

    #[test]
    fn a_similar_version_is_not_the_same() {
        for other in ["1.8", "1.10", "1.88.1", "1.90", "95"] {
            assert_eq!(find(INSTALLED, other), None, "{other}");
        }
        assert_eq!(find("", "1.88"), None);
    }
}
