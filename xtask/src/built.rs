//! The test programs as cargo has built them, to run them without cargo: it would make them wait for its own lock while
//! it compiles something else.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{
    command::{behind, cargo_behind, follow},
    silence,
    workspace::Workspace,
};

/// All programs of one build of all tests.
#[derive(Debug, Default)]
pub(crate) struct Built(Vec<Program>);

/// One executable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Program {
    pub(crate) package: String,
    /// `lib`, `bin`, `test` or `example`.
    pub(crate) kind: String,
    pub(crate) name: String,
    /// Whether it runs tests. Otherwise it is the program itself.
    pub(crate) is_test: bool,
    path: PathBuf,
    folder: PathBuf,
}

impl Built {
    /// Builds all tests, and the programs and examples that they start, with all features: one build for all steps.
    pub(crate) fn all(workspace: &Workspace) -> Result<Self> {
        Self::build(workspace, &["--workspace"])
    }

    /// Builds the tests of one package, and its programs.
    pub(crate) fn package(workspace: &Workspace, name: &str) -> Result<Self> {
        Self::build(workspace, &["--package", name])
    }

    fn build(workspace: &Workspace, packages: &[&str]) -> Result<Self> {
        let mut build = cargo_behind(workspace);
        build.arg("test").args(packages).args(["--all-features", "--no-run"]);
        build.arg("--message-format=json-render-diagnostics");
        let mut built = Self::default();
        let status = follow(&mut build, Some(silence::BOUND), |line| {
            built.0.extend(Program::parse(&String::from_utf8_lossy(line), workspace));
            Ok(())
        })?;
        ensure!(status.success(), "the tests do not build");
        Ok(built)
    }

    /// Returns the programs for which `wanted` is true; at least one.
    pub(crate) fn those(&self, wanted: impl Fn(&Program) -> bool) -> Result<Vec<&Program>> {
        let found: Vec<_> = self.0.iter().filter(|program| wanted(program)).collect();
        ensure!(!found.is_empty(), "cargo has built no such test");
        Ok(found)
    }

    /// Returns one integration test of one package.
    pub(crate) fn test(&self, package: &str, name: &str) -> Result<&Program> {
        let is_it = |program: &&Program| program.is_test && program.package == package && program.name == name;
        self.0.iter().find(is_it).with_context(|| format!("cargo has built no test {name} of {package}"))
    }

    /// Returns one program of one package.
    pub(crate) fn program(&self, package: &str, name: &str) -> Result<&Program> {
        let is_it = |program: &&Program| !program.is_test && program.package == package && program.name == name;
        self.0.iter().find(is_it).with_context(|| format!("cargo has built no program {name} of {package}"))
    }
}

impl Program {
    /// Returns the program that this line of cargo's messages announces.
    fn parse(line: &str, workspace: &Workspace) -> Option<Self> {
        let message: Value = serde_json::from_str(line).ok()?;
        let path = message.get("executable")?.as_str()?.into();
        let target = message.get("target")?;
        let manifest = Path::new(message.get("manifest_path")?.as_str()?);
        let package = workspace.packages.iter().find(|package| package.manifest == manifest)?;
        Some(Self {
            package: package.name.clone(),
            kind: target.get("kind")?.get(0)?.as_str()?.to_owned(),
            name: target.get("name")?.as_str()?.to_owned(),
            is_test: message.get("profile")?.get("test")?.as_bool()?,
            path,
            folder: manifest.parent()?.to_owned(),
        })
    }

    /// Returns a command that runs the program where cargo would run it.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.current_dir(&self.folder).env("CARGO_MANIFEST_DIR", &self.folder);
        command
    }

    /// Returns the same command, but with lower priority than tests that run at the same time and wait for a TTL to
    /// pass.
    pub(crate) fn command_behind(&self) -> Command {
        behind(&self.command())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Package;

    fn workspace() -> Workspace {
        let package = Package { name: "a".into(), manifest: "/w/crates/a/Cargo.toml".into(), ..Package::default() };
        Workspace { root: "/w".into(), target: "/w/target".into(), packages: vec![package] }
    }

    fn line(kind: &str, test: bool, executable: Option<&str>) -> String {
        let target = serde_json::json!({ "kind": [kind], "name": "it" });
        serde_json::json!({
            "reason": "compiler-artifact", "manifest_path": "/w/crates/a/Cargo.toml",
            "target": target, "profile": { "test": test }, "executable": executable,
        })
        .to_string()
    }

    #[test]
    fn programs_are_found_among_the_messages_of_cargo() {
        let test = Program::parse(&line("test", true, Some("/w/target/debug/deps/it-1")), &workspace()).unwrap();
        assert_eq!((&*test.package, &*test.kind, test.is_test), ("a", "test", true));
        assert_eq!(test.command().get_current_dir(), Some(Path::new("/w/crates/a")));
        assert_eq!(Program::parse(&line("lib", false, None), &workspace()), None);
        assert_eq!(Program::parse("{\"reason\":\"build-finished\",\"success\":true}", &workspace()), None);
        assert_eq!(Program::parse("warning: not JSON", &workspace()), None);
    }

    #[test]
    fn a_missing_program_is_named() {
        let built = Built(vec![Program::parse(&line("bin", false, Some("/p")), &workspace()).unwrap()]);
        assert!(built.program("a", "it").is_ok());
        assert!(built.test("a", "it").unwrap_err().to_string().contains("no test it of a"));
        assert!(built.those(|program| program.is_test).is_err());
    }
}
