//! Names and tokens: what is locked, how its keys are named, and who holds it.

mod resource;
mod resources;
mod permit_keys;
mod slots_error;
mod hash_slot;
mod token;
mod owner;

pub use self::{
    hash_slot::hash_slot,
    owner::{Owner, OwnerError},
    resource::{Resource, ResourceError},
    resources::Resources,
    slots_error::SlotsError,
    token::Token,
};
pub(crate) use self::{hash_slot::hash_tag, permit_keys::PermitKeys, resource::Named};
