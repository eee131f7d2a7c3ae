//! The step `tarballs`: packs each crate and builds it from its package, together with the packages of the others.

use std::fs;

use anyhow::{Context, Result, ensure};

use super::Release;
use crate::command::{cargo, complete, output};

/// Before, cargo could build packed crates only if their dependencies were already on crates.io.
const OLDEST_CARGO: (u32, u32) = (1, 90);

/// In bytes, compressed: nobody should have to wait for the download of a lock. crates.io accepts 10 MiB.
const LARGEST: u64 = 512 * KIB;

const KIB: u64 = 1024;

pub(super) fn check(release: &Release<'_>) -> Result<String> {
    let version = output(cargo(release.workspace).arg("--version"))?;
    let (major, minor) = OLDEST_CARGO;
    let is_recent = number(&version).is_some_and(|number| number >= OLDEST_CARGO);
    ensure!(is_recent, "needs cargo {major}.{minor} or later, and this is {}", version.trim());
    // Then everything is there, and the build uses what Cargo.lock says.
    complete(cargo(release.workspace).args(["fetch", "--locked"]))?;
    let mut package = cargo(release.workspace);
    package.args(["package", "--offline", "--all-features"]).args(release.packages());
    if release.selection.allow_dirty {
        package.arg("--allow-dirty");
    }
    complete(&mut package).context("not committed, or does not build from what was packed")?;
    let folder = release.workspace.target.join("package");
    let mut sizes = Vec::new();
    for member in release.published() {
        let path = folder.join(format!("{}-{}.crate", member.name, member.version));
        let size = fs::metadata(&path).with_context(|| format!("looking for {}", path.display()))?.len();
        sizes.push((member.name.as_str(), size));
    }
    judge(&sizes)
}

/// Returns `(1, 95)` for `cargo 1.95.0 (...)`.
fn number(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.split_whitespace().nth(1)?.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

fn judge(sizes: &[(&str, u64)]) -> Result<String> {
    let (name, size) = sizes.iter().max_by_key(|(_, size)| *size).context("nothing was packed")?;
    ensure!(*size <= LARGEST, "{name} has {} KiB, more than {}: see `include`", size.div_ceil(KIB), LARGEST / KIB);
    let all: u64 = sizes.iter().map(|(_, size)| size).sum();
    Ok(format!("{} crates, {} KiB; the largest is {name}", sizes.len(), all.div_ceil(KIB)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_cargo_is_read() {
        assert_eq!(number("cargo 1.95.0 (f2d3ce0bd 2026-03-21)\n"), Some((1, 95)));
        assert_eq!(number("cargo 1.97.0-nightly\n"), Some((1, 97)));
        assert!(number("cargo 2.0.0") > Some(OLDEST_CARGO) && number("cargo 1.89.0") < Some(OLDEST_CARGO));
        assert_eq!(number("cargo"), None);
    }

    #[test]
    fn a_crate_that_is_too_large_and_no_crate_at_all_are_failures() {
        assert_eq!(judge(&[("a", LARGEST), ("b", KIB + 1)]).unwrap(), "2 crates, 514 KiB; the largest is a");
        assert!(judge(&[("a", 1), ("b", LARGEST + 1)]).unwrap_err().to_string().starts_with("b has 513 KiB"));
        assert!(judge(&[]).is_err());
    }
}
