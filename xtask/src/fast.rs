//! The fast tests: they need no server, and are used for mutants and coverage.

/// The packages that contain these unit and integration tests.
pub(crate) const PACKAGES: &[&str] = &["redlock-core", "redlock-mock"];

/// Arguments for a test program that skip the models, which explore all orders of messages. Without optimization they
/// take longer than all other tests together.
pub(crate) const SKIPPED: &[&str] = &["--skip", "model::"];

/// Arguments for `cargo test` after the packages. Without documentation tests, which are compiled one by one.
pub(crate) const TARGETS: &[&str] = &["--lib", "--test", "it"];
