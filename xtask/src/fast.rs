//! The fast tests: those that need no server, and judge mutants and coverage.

/// The packages whose unit and integration tests they are.
pub(crate) const PACKAGES: &[&str] = &["redlock-core", "redlock-mock"];

/// Arguments for a test program that leave out the models, which explore all orders of messages: where they are not
/// optimized, they take longer than all other tests together.
pub(crate) const SKIPPED: &[&str] = &["--skip", "model::"];

/// Arguments for `cargo test` after the packages. Without documentation tests, which are compiled one by one.
pub(crate) const TARGETS: &[&str] = &["--lib", "--test", "it"];
