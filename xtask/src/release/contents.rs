//! The step `contents`: checks which files are packed for each crate.

use std::{fs, path::Path};

use anyhow::{Context, Result};

use super::{Release, none};
use crate::command::{cargo, output};

/// The licenses, which are copies of those in the workspace's root.
const LICENCES: &[&str] = &["LICENSE-MIT", "LICENSE-APACHE"];

/// The files in every crate besides its source and its licenses.
const BESIDE: &[&str] = &["Cargo.toml", "README.md"];

/// The files that cargo adds.
const CARGO: &[&str] = &["Cargo.toml.orig", "Cargo.lock", ".cargo_vcs_info.json"];

/// The kinds of source files: also scripts, and the pages of the guide.
const SOURCE: &[&str] = &["rs", "lua", "md"];

pub(super) fn check(release: &Release<'_>) -> Result<String> {
    let (mut violations, mut files) = (Vec::new(), 0);
    for member in release.published() {
        let mut list = cargo(release.workspace);
        // Packing shows whether everything is committed.
        list.args(["package", "--list", "--allow-dirty", "--package", &member.name]);
        let list = output(&mut list)?;
        files += list.lines().count();
        let mut found = judge(&list);
        for licence in LICENCES {
            if !same(&release.workspace.root.join(licence), &member.folder.join(licence))? {
                found.push(format!("{licence} is not that of the workspace: copy it"));
            }
        }
        violations.extend(found.into_iter().map(|what| format!("{}: {what}", member.name)));
    }
    none(&violations)?;
    Ok(format!("{files} files"))
}

/// Returns what is missing in a list of files, and what should not be there.
fn judge(list: &str) -> Vec<String> {
    let expected = || LICENCES.iter().chain(BESIDE);
    let missing = expected().filter(|name| list.lines().all(|line| line != **name));
    let missing = missing.map(|name| format!("{name} is not packed"));
    let is_source = |line: &str| {
        let source = Path::new(line.strip_prefix("src/")?).extension()?.to_str()?;
        SOURCE.contains(&source).then_some(())
    };
    let stray =
        list.lines().filter(|line| is_source(line).is_none() && !expected().chain(CARGO).any(|name| name == line));
    missing.chain(stray.map(|line| format!("{line} is packed: see `include` in Cargo.toml"))).collect()
}

/// Also true for a checkout with other line endings. A missing file is different.
fn same(a: &Path, b: &Path) -> Result<bool> {
    let text = fs::read_to_string(a).with_context(|| format!("reading {}", a.display()))?;
    Ok(fs::read_to_string(b).is_ok_and(|copy| copy.lines().eq(text.lines())))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = ".cargo_vcs_info.json\nCargo.lock\nCargo.toml\nCargo.toml.orig\nLICENSE-APACHE\nLICENSE-MIT\n\
        README.md\nsrc/lib.rs\nsrc/script/open.lua\nsrc/guide/ttl.md\n";

    #[test]
    fn source_readme_and_licenses_are_packed() {
        assert_eq!(judge(LIST), [""; 0]);
    }

    #[test]
    fn missing_files_are_named() {
        for name in ["LICENSE-MIT", "LICENSE-APACHE", "README.md", "Cargo.toml"] {
            let list = LIST.replacen(&format!("{name}\n"), "", 1);
            assert_eq!(judge(&list), [format!("{name} is not packed")]);
        }
    }

    #[test]
    fn files_that_should_not_be_packed_are_named() {
        for stray in [
            "proptest-regressions/retry.txt",
            "src/lib.rs.orig",
            "src/notes",
            "benches/lock.rs",
            "target/debug/a.rs",
            "tests/time.rs",
            "docs/README.md",
        ] {
            assert_eq!(judge(&format!("{LIST}{stray}\n")), [format!("{stray} is packed: see `include` in Cargo.toml")]);
        }
    }

    #[test]
    fn a_license_that_differs_or_is_missing_is_found() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let [mit, apache] = ["LICENSE-MIT", "LICENSE-APACHE"].map(|name| root.join(name));
        assert!(same(&mit, &mit).unwrap());
        assert!(!same(&mit, &apache).unwrap());
        assert!(!same(&mit, &root.join("LICENSE-NONE")).unwrap());
        assert!(same(&root.join("LICENSE-NONE"), &mit).is_err());
    }
}
