//! The step `semver`: the public API still has what users call, or the version says that it may not.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::Release;
use crate::{
    command::{complete, output},
    report::Done,
    tool::Tool,
    workspace::Workspace,
};

/// It reads the output of rustdoc of Rust 1.93 and later; each later Rust may need a later version.
const SEMVER_CHECKS: Tool = Tool { name: "cargo-semver-checks", version: "0.51.0", built: None };

/// Compares the libraries with an earlier revision, which is the newest release unless one is named.
///
/// It passes without comparing only if there was no release.
pub(super) fn check(release: &Release<'_>) -> Result<Done> {
    let workspace = release.workspace;
    let baseline = match &release.selection.baseline {
        Some(named) => named.clone(),
        None => match newest_release(workspace)? {
            Some(tag) => tag,
            None => return Ok(Done::NotRun("no release to compare with: there is no earlier tag `v*`".to_owned())),
        },
    };
    let commit = git(workspace, &["rev-parse", "--verify", &format!("{baseline}^{{commit}}")])
        .with_context(|| format!("git knows no revision {baseline}"))?;
    let commit = commit.trim();
    let names = git(workspace, &["grep", "-h", "^name = ", commit, "--", "*Cargo.toml"])?;
    let libraries = release.published().filter(|member| member.has_library);
    let (old, new): (Vec<_>, Vec<_>) =
        libraries.map(|member| member.name.as_str()).partition(|library| has_package(&names, library));
    ensure!(!old.is_empty(), "{baseline} has none of the libraries: name a revision that has");
    let mut command = Command::new(SEMVER_CHECKS.obtain(workspace)?);
    command.current_dir(&workspace.root).args(["semver-checks", "check-release", "--all-features"]);
    command.args(["--baseline-rev", commit]).args(old.iter().flat_map(|library| ["--package", library]));
    complete(&mut command).context("the API does not fit the version, or could not be compared")?;
    Ok(told(&baseline, &old, &new).into())
}

/// Returns the tag of the newest release before this commit, if there is one.
fn newest_release(workspace: &Workspace) -> Result<Option<String>> {
    // A release candidate is older than its release. The tag of this very commit would compare it with itself, and a
    // tag on another branch with code that it never was.
    let list = ["-c", "versionsort.suffix=-", "tag", "--list", "v*", "--sort=-version:refname"];
    let tags = git(workspace, &[&list[..], &["--merged", "HEAD", "--no-contains", "HEAD"]].concat())?;
    let newest = tags.lines().next().map(str::to_owned);
    if newest.is_none() {
        // A shallow clone need not have the tags.
        let shallow = git(workspace, &["rev-parse", "--is-shallow-repository"])?;
        ensure!(
            shallow.trim() == "false",
            "a shallow clone may lack the tags of releases: `git fetch --unshallow --tags`"
        );
    }
    Ok(newest)
}

/// Returns git in this workspace, even if a hook of another repository has started this.
fn git(workspace: &Workspace, args: &[&str]) -> Result<String> {
    let mut command = Command::new("git");
    command.env_remove("GIT_DIR").env_remove("GIT_WORK_TREE").env_remove("GIT_INDEX_FILE");
    output(command.current_dir(&workspace.root).args(args))
}

/// Returns whether a line `name = "..."` of any manifest is this package's.
fn has_package(names: &str, package: &str) -> bool {
    names.lines().any(|line| line.trim_end() == format!("name = \"{package}\""))
}

fn told(baseline: &str, old: &[&str], new: &[&str]) -> String {
    let new = if new.is_empty() { String::new() } else { format!("; new since: {}", new.join(", ")) };
    format!("{} libraries compared with {baseline}{new}", old.len())
}

#[cfg(test)]
mod tests {
    use std::{env, fs, process};

    use super::*;

    #[test]
    fn a_package_is_known_by_its_whole_name() {
        let names = "name = \"redlock\"\nname = \"redlock-core-more\"\nname = \"redlock-fred\"\r\n";
        assert!(has_package(names, "redlock-fred"));
        assert!(!has_package(names, "redlock-core"));
    }

    #[test]
    fn new_libraries_are_reported_and_not_counted() {
        assert_eq!(told("v0.1.0", &["a", "b"], &[]), "2 libraries compared with v0.1.0");
        assert_eq!(told("v0.1.0", &["a"], &["b", "c"]), "1 libraries compared with v0.1.0; new since: b, c");
    }

    /// Two commits, the first of them with tags.
    struct Repository(Workspace);

    impl Repository {
        fn with_tags(name: &str, tags: &[&str]) -> Self {
            let root = env::temp_dir().join(format!("redlock-xtask-{}-{name}", process::id()));
            fs::create_dir_all(&root).unwrap();
            let repository = Self(Workspace { target: root.clone(), root, packages: Vec::new() });
            repository.git(&["init", "--quiet"]);
            repository.commit("first");
            tags.iter().for_each(|tag| repository.git(&["tag", tag]));
            repository.commit("second");
            repository
        }

        fn git(&self, args: &[&str]) {
            let own = ["user.name=a", "user.email=a@example.org", "commit.gpgsign=false", "tag.gpgsign=false"];
            git(&self.0, &[&own.map(|own| ["-c", own]).concat(), args].concat()).unwrap();
        }

        fn commit(&self, message: &str) {
            self.git(&["commit", "--quiet", "--allow-empty", "--message", message]);
        }
    }

    impl Drop for Repository {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0.root);
        }
    }

    #[test]
    fn the_newest_release_is_found_by_its_number_and_is_not_this_commit() {
        let repository = Repository::with_tags("tags", &["v0.9.0", "v0.10.0", "v0.10.0-rc.1", "w1"]);
        assert_eq!(newest_release(&repository.0).unwrap().as_deref(), Some("v0.10.0"));
        repository.git(&["tag", "v0.11.0"]);
        repository.git(&["checkout", "--quiet", "-b", "other", "v0.9.0"]);
        repository.commit("beside the second");
        repository.git(&["tag", "v0.12.0"]);
        repository.git(&["checkout", "--quiet", "-"]);
        assert_eq!(newest_release(&repository.0).unwrap().as_deref(), Some("v0.10.0"));
    }

    #[test]
    fn without_a_release_there_is_no_tag_and_a_shallow_clone_is_an_error() {
        let repository = Repository::with_tags("no-tags", &["w1"]);
        assert_eq!(newest_release(&repository.0).unwrap(), None);
        let root = &repository.0.root;
        repository.git(&["clone", "--quiet", "--depth", "1", &format!("file://{}", root.display()), "clone"]);
        let clone = Workspace { root: root.join("clone"), target: root.clone(), packages: Vec::new() };
        assert!(newest_release(&clone).unwrap_err().to_string().contains("shallow"));
    }
}
