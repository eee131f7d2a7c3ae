//! Getting the Redis servers that the tests run against: pulled, built locally, or already there.

mod flavour;
mod plan;
mod shelf;

mod debian;
mod engine;
mod tree;

pub(crate) use flavour::{FLAVOURS, Flavour};
pub(crate) use plan::{Environment, Plan};
pub(crate) use shelf::Shelf;
