//! Helpers that several modules share.

pub(crate) mod log;
