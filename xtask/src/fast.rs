//! The fast tests: those that need no server, and judge planted mistakes and coverage.

use crate::workspace::Workspace;

/// The packages whose unit and integration tests they are.
pub(crate) const PACKAGES: &[&str] = &["redlock-core", "redlock-mock"];

/// Not among them: the models that explore all orders of messages take longer than all the others together.
const SLOW: &[&str] = &["model", "fencing_model"];

/// Arguments for `cargo test` after the packages. Without documentation tests, which are compiled one by one.
pub(crate) fn targets(workspace: &Workspace) -> Vec<&str> {
    let packages = workspace.packages.iter().filter(|package| PACKAGES.contains(&package.name.as_str()));
    let tests = packages.flat_map(|package| &package.tests).map(String::as_str).filter(|test| !SLOW.contains(test));
    ["--lib"].into_iter().chain(tests.flat_map(|test| ["--test", test])).collect()
}
