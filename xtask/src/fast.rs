//! The fast tests: those that need no server, and judge mutants and coverage.

/// The packages whose unit and integration tests they are.
pub(crate) const PACKAGES: &[&str] = &["redlock-core", "redlock-mock"];

/// Filters for the models, which explore all orders of messages: they take longer than all other tests together.
pub(crate) const MODELS: &[&str] = &["model::", "fencing_model::"];

/// Arguments for a test program that leave the models out.
pub(crate) const SKIPPED: &[&str] = &["--skip", "model::", "--skip", "fencing_model::"];

/// Arguments for `cargo test` after the packages. Without documentation tests, which are compiled one by one.
pub(crate) const TARGETS: &[&str] = &["--lib", "--test", "it"];
