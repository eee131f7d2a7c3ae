//! The rule on dependencies between crates.

use super::{Violation, source::Source};
use crate::workspace::Package;

const RULE: &str = "arrows";

/// The crates of clients and engines, and the only member that may use each.
const OWNERS: &[(&str, &str)] =
    &[("redis", "redlock-redis-rs"), ("fred", "redlock-fred"), ("testcontainers", "redlock-tests")];

/// The backends. The core is the only member that they may use.
const BACKENDS: &[&str] = &["redlock-mock", "redlock-redis-rs", "redlock-fred"];

/// Not published, so they may use crates that are not published: the benches start the servers of the tests.
const UNPUBLISHED: &[&str] = &["redlock-tests", "redlock-bench"];

/// Published crates must not use these.
const NOT_FOR_USE: &[&str] = &["redlock-tests", "redlock-bench", "xtask"];

/// Dependencies point one way: your code to the core, backends to the core, tests to all, xtask to nothing.
pub(super) fn one_way(packages: &[Package], manifests: &[Source]) -> Vec<Violation> {
    let mut violations = Vec::new();
    let is_member = |name: &str| packages.iter().any(|package| package.name == name);
    for package in packages {
        for dependency in &package.dependencies {
            let to = dependency.name.as_str();
            let what = match package.name.as_str() {
                from if OWNERS.iter().any(|&(owned, owner)| owned == to && owner != from) => {
                    let owner = OWNERS.iter().find(|(owned, _)| *owned == to).map_or("", |(_, owner)| owner);
                    format!("only {owner} may depend on {to}: use what it exports")
                }
                // The command is tested on real servers, and so are the examples of a backend. A path without a version
                // is left out of the published package.
                "redlock-cli" | "redlock-redis-rs" if to == "redlock-tests" && dependency.for_tests_only => continue,
                // Examples in the core's docs and tests need a node.
                "redlock-core" if to == "redlock-mock" && dependency.for_tests_only => continue,
                "redlock-core" if is_member(to) => {
                    format!("the core depends on no crate of the workspace, and not on {to}")
                }
                "xtask" if is_member(to) => format!("xtask has to build when {to} does not"),
                from if BACKENDS.contains(&from) && is_member(to) && to != "redlock-core" => {
                    format!("a backend knows the core and not {to}")
                }
                from if from.starts_with("redlock-")
                    && !(UNPUBLISHED.contains(&from) && to != "xtask")
                    && NOT_FOR_USE.contains(&to) =>
                {
                    format!("{to} is not published")
                }
                _ => continue,
            };
            violations.push(at(package, to, manifests, what));
        }
    }
    violations
}

fn at(package: &Package, dependency: &str, manifests: &[Source], what: String) -> Violation {
    let manifest = manifests.iter().find(|source| package.manifest.ends_with(&source.path));
    let names_it = |line: &str| {
        let line = line.trim_start();
        line.strip_prefix(dependency).is_some_and(|rest| rest.starts_with([' ', '.', '=']))
            || line.contains(&format!("\"{dependency}\""))
    };
    let line = manifest.and_then(|source| source.text.lines().position(names_it)).unwrap_or(0);
    let file = manifest.map_or_else(|| package.name.clone(), |source| source.path.clone());
    Violation { file, line: line + 1, rule: RULE, what }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Dependency;

    fn package(name: &str, dependencies: &[&str]) -> Package {
        let dependency = |text: &&str| {
            let name = text.trim_end_matches(" (dev)");
            Dependency { name: name.to_owned(), for_tests_only: name != *text }
        };
        Package {
            name: name.to_owned(),
            manifest: format!("/w/crates/{name}/Cargo.toml").into(),
            dependencies: dependencies.iter().map(dependency).collect(),
        }
    }

    fn found(packages: &[Package]) -> Vec<String> {
        one_way(packages, &[]).iter().map(|violation| format!("{} {}", violation.file, violation.what)).collect()
    }

    fn members() -> Vec<Package> {
        vec![
            package("redlock-core", &["tokio", "redlock-mock (dev)"]),
            package("redlock-mock", &["redlock-core"]),
            package("redlock-redis-rs", &["redlock-core", "redis", "axum (dev)", "redlock-tests (dev)"]),
            package("redlock-fred", &["redlock-core", "fred"]),
            package("redlock-tests", &["redlock-core", "redlock-fred", "testcontainers"]),
            package("redlock-bench", &["redlock-core", "redlock-fred", "redlock-tests"]),
            package("redlock-cli", &["redlock-core", "redlock-fred", "redlock-tests (dev)"]),
            package("xtask", &["clap"]),
        ]
    }

    #[test]
    fn the_designed_dependencies_pass() {
        assert_eq!(found(&members()), Vec::<String>::new());
    }

    #[test]
    fn every_dependency_in_the_wrong_direction_is_found() {
        for (from, to) in [
            ("redlock-core", "redlock-mock"),
            ("redlock-core", "redlock-fred (dev)"),
            ("redlock-core", "redis"),
            ("redlock-core", "fred (dev)"),
            ("redlock-mock", "redis"),
            ("redlock-mock", "redlock-fred"),
            ("redlock-fred", "redis"),
            ("redlock-redis-rs", "fred"),
            ("redlock-redis-rs", "testcontainers (dev)"),
            ("redlock-tests", "redis (dev)"),
            ("redlock-bench", "redis"),
            ("redlock-bench", "xtask"),
            ("redlock-core", "redlock-bench"),
            ("redlock-simulation", "redlock-tests"),
            ("redlock-cli", "redlock-tests"),
            ("redlock-cli", "redlock-bench (dev)"),
            ("redlock-redis-rs", "redlock-tests"),
            ("redlock-redis-rs", "redlock-mock (dev)"),
            ("redlock-fred", "redlock-tests (dev)"),
            ("xtask", "redlock-core"),
        ] {
            let mut packages = members();
            packages.push(package(from, &[to]));
            assert_eq!(found(&packages).len(), 1, "{from} -> {to}");
        }
    }

    #[test]
    fn the_line_of_the_dependency_is_reported() {
        let mut packages = members();
        packages.push(package("redlock-mock", &["fred"]));
        let text = "[dependencies]\nfredericks = \"1\"\nfred.workspace = true\n".to_owned();
        let manifest = Source { path: "crates/redlock-mock/Cargo.toml".into(), text };
        let violations = one_way(&packages, &[manifest]);
        assert_eq!(
            violations[0].to_string(),
            "crates/redlock-mock/Cargo.toml:3: arrows: only redlock-fred may depend on fred: use what it exports"
        );
    }
}
