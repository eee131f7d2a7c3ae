//! The fast tests: those that need no server, and judge planted mistakes and coverage.

/// The packages whose unit and integration tests they are.
pub(crate) const PACKAGES: &[&str] = &["redlock-core", "redlock-mock"];

/// Arguments for `cargo test` after the packages: all but documentation tests, which are compiled one by one.
pub(crate) const TARGETS: &[&str] = &["--lib", "--tests"];
