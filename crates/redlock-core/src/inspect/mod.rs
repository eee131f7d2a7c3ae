//! Shows who holds a lock, and which locks are held at all.

mod one_lock;
mod permits;
mod inspection;
mod holder;
mod list;

pub use self::{
    holder::Holder,
    inspection::{Inspection, KeyState, NodeKeyState},
    list::Listing,
    one_lock::InspectError,
    permits::PermitsInspection,
};
