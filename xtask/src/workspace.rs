//! The workspace as cargo reports it: its packages and their dependencies.

use std::{env, path::PathBuf, process::Command};

use anyhow::{Context, Result};
use serde_json::Value;

/// The workspace to which this program belongs.
#[derive(Debug)]
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    pub(crate) target: PathBuf,
    pub(crate) packages: Vec<Package>,
}

/// One member.
#[derive(Debug, Clone, Default)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) manifest: PathBuf,
    pub(crate) dependencies: Vec<Dependency>,
}

/// One line of a `[dependencies]` table, under the crate's own name even if it is renamed.
#[derive(Debug, Clone)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    pub(crate) for_tests_only: bool,
}

impl Workspace {
    pub(crate) fn load() -> Result<Self> {
        Self::parse(&metadata()?).context("the output of cargo metadata has an unknown form")
    }

    fn parse(metadata: &Value) -> Option<Self> {
        let packages = metadata.get("packages")?.as_array()?.iter().map(Package::parse).collect::<Option<_>>()?;
        Some(Self {
            root: text(metadata, "workspace_root")?.into(),
            target: text(metadata, "target_directory")?.into(),
            packages,
        })
    }
}

impl Package {
    fn parse(package: &Value) -> Option<Self> {
        let dependency = |dependency: &Value| {
            let for_tests_only = dependency.get("kind")?.as_str() == Some("dev");
            Some(Dependency { name: text(dependency, "name")?, for_tests_only })
        };
        Some(Self {
            name: text(package, "name")?,
            manifest: text(package, "manifest_path")?.into(),
            dependencies: package.get("dependencies")?.as_array()?.iter().map(dependency).collect::<Option<_>>()?,
        })
    }
}

/// Returns the members as cargo describes them, without their dependencies.
pub(crate) fn metadata() -> Result<Value> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--format-version", "1", "--manifest-path", manifest])
        .stderr(std::process::Stdio::inherit())
        .output()
        .context("running cargo metadata")?;
    anyhow::ensure!(output.status.success(), "cargo metadata failed ({})", output.status);
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn text(value: &Value, key: &str) -> Option<String> {
    value.get(key)?.as_str().map(str::to_owned)
}
