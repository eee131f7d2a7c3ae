//! A member's manifest, as cargo understands it.

use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::workspace;

/// The parts of a manifest that matter for a release.
#[derive(Debug, Clone, Default)]
pub(super) struct Manifest {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) folder: PathBuf,
    /// Whether it does not say `publish = false`.
    pub(super) publishable: bool,
    pub(super) has_library: bool,
    pub(super) description: Option<String>,
    pub(super) license: Option<String>,
    pub(super) repository: Option<String>,
    pub(super) homepage: Option<String>,
    pub(super) documentation: Option<String>,
    pub(super) readme: Option<String>,
    pub(super) rust_version: Option<String>,
    pub(super) categories: Vec<String>,
    pub(super) keywords: Vec<String>,
    /// Whether docs.rs documents all features.
    pub(super) documents_all_features: bool,
    pub(super) dependencies: Vec<Dependency>,
}

/// One line of a table of dependencies, under the crate's own name.
#[derive(Debug, Clone, Default)]
pub(super) struct Dependency {
    pub(super) name: String,
    /// `^1.2` for `1.2`; `*` if no version is given.
    pub(super) requirement: String,
    pub(super) for_tests_only: bool,
}

/// The requirement that cargo reports for a dependency without a version.
pub(super) const NO_VERSION: &str = "*";

impl Manifest {
    pub(super) fn all() -> Result<Vec<Self>> {
        let metadata = workspace::metadata()?;
        let packages = metadata.get("packages").and_then(Value::as_array).context("cargo metadata has no packages")?;
        packages
            .iter()
            .map(|package| Self::parse(package).context("the output of cargo metadata has an unknown form"))
            .collect()
    }

    fn parse(package: &Value) -> Option<Self> {
        let text = |key: &str| Some(package.get(key)?.as_str()?.to_owned());
        let list = |key: &str| {
            let words = package.get(key)?.as_array()?.iter().map(|word| word.as_str().map(str::to_owned));
            words.collect::<Option<Vec<_>>>()
        };
        let is_library = |target: &Value| target.get("kind").is_some_and(|kind| kind == &serde_json::json!(["lib"]));
        Some(Self {
            name: text("name")?,
            version: text("version")?,
            folder: PathBuf::from(text("manifest_path")?).parent()?.to_owned(),
            publishable: package.get("publish")?.as_array().is_none_or(|registries| !registries.is_empty()),
            has_library: package.get("targets")?.as_array()?.iter().any(is_library),
            description: text("description"),
            license: text("license"),
            repository: text("repository"),
            homepage: text("homepage"),
            documentation: text("documentation"),
            readme: text("readme"),
            rust_version: text("rust_version"),
            categories: list("categories")?,
            keywords: list("keywords")?,
            documents_all_features: package.pointer("/metadata/docs/rs/all-features") == Some(&Value::Bool(true)),
            dependencies: package
                .get("dependencies")?
                .as_array()?
                .iter()
                .map(Dependency::parse)
                .collect::<Option<_>>()?,
        })
    }
}

impl Dependency {
    fn parse(dependency: &Value) -> Option<Self> {
        Some(Self {
            name: dependency.get("name")?.as_str()?.to_owned(),
            requirement: dependency.get("req")?.as_str()?.to_owned(),
            for_tests_only: dependency.get("kind")?.as_str() == Some("dev"),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn package() -> Value {
        json!({
            "name": "a", "version": "0.1.0", "manifest_path": "/w/crates/a/Cargo.toml", "publish": null,
            "targets": [{ "kind": ["lib"] }, { "kind": ["test"] }],
            "description": "A.", "license": "MIT", "repository": null,
            "homepage": "https://a.example", "documentation": "https://docs.rs/a", "readme": "README.md",
            "rust_version": "1.88",
            "categories": ["concurrency"], "keywords": ["lock"],
            "metadata": { "docs": { "rs": { "all-features": true } } },
            "dependencies": [
                { "name": "b", "req": "^0.1.0", "kind": null },
                { "name": "c", "req": "*", "kind": "dev" },
            ],
        })
    }

    #[test]
    fn a_manifest_is_read() {
        let manifest = Manifest::parse(&package()).unwrap();
        assert_eq!(manifest.folder, PathBuf::from("/w/crates/a"));
        assert!(manifest.publishable && manifest.has_library && manifest.documents_all_features);
        assert_eq!(manifest.readme.as_deref(), Some("README.md"));
        assert_eq!(manifest.repository, None);
        assert_eq!(manifest.homepage.as_deref(), Some("https://a.example"));
        assert_eq!(manifest.documentation.as_deref(), Some("https://docs.rs/a"));
        assert_eq!(manifest.keywords, ["lock"]);
        let [b, c] = &manifest.dependencies[..] else { panic!("{manifest:?}") };
        assert!((b.requirement.as_str(), b.for_tests_only) == ("^0.1.0", false));
        assert!((c.requirement.as_str(), c.for_tests_only) == (NO_VERSION, true));
    }

    #[test]
    fn a_program_that_is_not_published_is_recognized() {
        let mut package = package();
        package["publish"] = json!([]);
        package["targets"] = json!([{ "kind": ["bin"] }]);
        package["metadata"] = Value::Null;
        let manifest = Manifest::parse(&package).unwrap();
        assert!(!manifest.publishable && !manifest.has_library && !manifest.documents_all_features);
    }

    #[test]
    fn a_crate_for_another_registry_is_publishable() {
        let mut package = package();
        package["publish"] = json!(["elsewhere"]);
        assert!(Manifest::parse(&package).unwrap().publishable);
    }
}
